/** One round of the matrix: a fault comes over a target while clients work; then everything that was promised is checked. */
import { strict as assert } from 'node:assert';
import type pg from 'pg';
import { assertSamePages } from '../helpers/same-pages.js';
import { PRIMARY, type ChaosCluster } from './cluster.js';
import { groupsOf, worksDuring, type Fault, type FaultContext, type Target } from './faults.js';
import { Random } from './random.js';
import { healed, Watch, type Detection } from './watch.js';
import { SCHEMA, Workload, type LoadReport } from './workload.js';

export const CLIENTS = 6;
const HEAL_MS = 180_000;
/** While a write quorum lives nobody waits longer for a commit, on a machine however loaded. */
const WAIT_MS_MAX = 20_000;
const TABLES = ['account', 'entry', 'ballast'];

export interface RoundOptions {
  readonly seed: number;
  readonly short: boolean;
  /** Checks every index, heap and page of every database, not those of the load's tables alone. */
  readonly checksAll: boolean;
  readonly log: (line: string) => void;
}

export interface RoundResult {
  acknowledged: number;
  lost: number;
  errors: number;
  excusedErrors: number;
  longestWaitMs: number;
  /** The slowest of the groups; null: nothing that an operator looks at named it. */
  detection: Detection | null;
  healMs: number;
}

/** Prepares what rounds work on: once for each cluster. */
export async function openBooks(cluster: ChaosCluster, seed: number): Promise<Workload> {
  await cluster.base.sql(SCHEMA);
  return new Workload(() => cluster.base.client(), CLIENTS, seed);
}

/** A round's story as it happens, for the one who has to find out why it failed. */
export function storyTeller(log: (line: string) => void): (what: string) => void {
  const begun = performance.now();
  return (what) => log(`    ${((performance.now() - begun) / 1000).toFixed(1).padStart(5)} s  ${what}`);
}

/** What one fault showed. */
export interface Hit {
  detection: Detection | null;
  healMs: number;
}

/** A fault over a target. Throws when anything that was promised to clients does not hold. */
export async function runRound(
  cluster: ChaosCluster,
  load: Workload,
  fault: Fault,
  target: Target,
  options: RoundOptions,
): Promise<RoundResult> {
  return conduct(cluster, load, options, async (context) => {
    const groups = groupsOf(target, fault, cluster, context.random);
    const hits: Hit[] = [];
    for (const group of groups) {
      if (hits.length > 0) await load.progress(context.random.between(50, 200));
      hits.push(await hit(context, load, fault, group));
    }
    return { hits, alwaysWorks: groups.every((group) => worksDuring(group, fault)) };
  });
}

/** Clients work while `script` breaks and mends; then everything is checked. */
export async function conduct(
  cluster: ChaosCluster,
  load: Workload,
  options: RoundOptions,
  script: (context: FaultContext) => Promise<{ hits: Hit[]; alwaysWorks: boolean }>,
): Promise<RoundResult> {
  const random = new Random(options.seed);
  const tell = storyTeller(options.log);
  load.start();
  let done: { hits: Hit[]; alwaysWorks: boolean };
  try {
    await load.progress(random.between(50, 300));
    done = await script({ cluster, random, short: options.short, tell });
    await load.progress(100);
  } catch (err) {
    cluster.healEverything();
    await load.end().catch(() => undefined); // the first failure is the one to tell
    throw err;
  }
  const report = await load.end();
  tell(
    `load: ${report.acknowledged} acknowledged, ${report.errors.length} errors, ${report.excusedErrors} excused`,
  );
  await check(cluster, load, report, options.checksAll, tell);
  if (done.alwaysWorks)
    assert.ok(
      report.longestWaitMs < WAIT_MS_MAX,
      `a client waited ${Math.round(report.longestWaitMs)} ms for a commit while a write quorum was alive`,
    );
  const detections = done.hits.map(({ detection }) => detection);
  return {
    acknowledged: report.acknowledged,
    lost: 0,
    errors: report.errors.length,
    excusedErrors: report.excusedErrors,
    longestWaitMs: report.longestWaitMs,
    detection: detections.some((one) => one === null)
      ? null
      : detections.reduce((last, one) => (last && last.afterMs > one!.afterMs ? last : one), null),
    healMs: Math.max(...done.hits.map(({ healMs }) => healMs)),
  };
}

async function hit(context: FaultContext, load: Workload, fault: Fault, group: string[]): Promise<Hit> {
  context.tell(`${fault.name}: ${group.join(', ')}`);
  return watched(context, load, group, fault, {
    async harm() {
      await Promise.all(group.map((party) => fault.begin(context, party)));
      if (worksDuring(group, fault)) await Promise.all([fault.hold(context, group), load.progress(50)]);
      else await fault.hold(context, group);
    },
    async mend() {
      for (const party of group) await fault.end(context, party);
    },
  });
}

/** Harms and mends `parties`; measures how long it took until that was seen, and until all was well again. */
export async function watched(
  { cluster, tell }: FaultContext,
  load: Workload,
  parties: string[],
  { endsSessions, namedBy }: Pick<Fault, 'endsSessions' | 'namedBy'>,
  { harm, mend }: { harm(): Promise<void>; mend(): Promise<void> },
): Promise<Hit> {
  const watch = new Watch(cluster, parties, namedBy);
  const over = endsSessions && parties.includes(PRIMARY) ? load.outage() : null;
  try {
    await harm();
    tell('mended');
    const ended = performance.now();
    await mend();
    await healed(cluster, HEAL_MS);
    const healMs = performance.now() - ended;
    tell(`healed after ${Math.round(healMs)} ms`);
    over?.();
    await load.progress(20);
    return { detection: await watch.stop(), healMs };
  } finally {
    over?.();
    await watch.stop();
    for (const [line, atMs] of watch.seen) tell(`seen after ${Math.round(atMs)} ms: ${line}`);
  }
}

/** What was acknowledged is there, once; indexes and heaps are sound; all nodes hold the same pages; everything is well again. */
async function check(
  cluster: ChaosCluster,
  load: Workload,
  report: LoadReport,
  checksAll: boolean,
  tell: (what: string) => void,
): Promise<void> {
  assert.deepEqual(
    report.errors.slice(0, 5).map(({ client, message }) => `${client}: ${message}`),
    [],
    'clients saw errors while a write quorum and the compute were alive',
  );
  const client = await cluster.base.client();
  try {
    const rows = await load.audit(client);
    const { indexes } = checksAll ? await cluster.base.amcheck() : await checkIndexes(client);
    const pages = await assertSamePages(cluster.base, checksAll ? null : TABLES);
    await healed(cluster, HEAL_MS);
    tell(`checked: ${rows} rows, ${indexes} indexes, ${pages} pages alike on all nodes`);
  } finally {
    await client.end();
  }
}

/** B-trees of the load's own tables. */
async function checkIndexes(client: pg.Client): Promise<{ indexes: number }> {
  await client.query('create extension if not exists amcheck');
  const { rows } = await client.query(
    `select count(*)::int as n from (select bt_index_check(i.indexrelid, true) from pg_index i join pg_class c on c.oid = i.indexrelid
     where c.relam = 403 and i.indrelid = any($1::text[]::regclass[])) s`,
    [TABLES],
  );
  return { indexes: rows[0].n as number };
}
