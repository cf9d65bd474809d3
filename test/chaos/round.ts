/** One round of the matrix: a fault comes over a target while clients work; then everything that was promised is checked. */
import { strict as assert } from 'node:assert';
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

export interface RoundOptions {
  readonly seed: number;
  readonly short: boolean;
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

/** Throws when anything that was promised to clients does not hold. */
export async function runRound(
  cluster: ChaosCluster,
  load: Workload,
  fault: Fault,
  target: Target,
  options: RoundOptions,
): Promise<RoundResult> {
  const random = new Random(options.seed);
  const tell = storyTeller(options.log);
  const context: FaultContext = { cluster, random, short: options.short, tell };
  const groups = groupsOf(target, fault, cluster, random);
  const alwaysWorks = groups.every((group) => worksDuring(group, fault));
  let detection: Detection | null = null;
  let healMs = 0;
  load.start();
  try {
    for (const group of groups) {
      await load.progress(random.between(50, 300));
      const one = await hit(context, load, fault, group);
      if (!detection || (one.detection && one.detection.afterMs > detection.afterMs))
        detection = one.detection;
      healMs = Math.max(healMs, one.healMs);
    }
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
  await check(cluster, load, report, tell);
  if (alwaysWorks)
    assert.ok(
      report.longestWaitMs < WAIT_MS_MAX,
      `a client waited ${Math.round(report.longestWaitMs)} ms for a commit while a write quorum was alive`,
    );
  return {
    acknowledged: report.acknowledged,
    lost: 0,
    errors: report.errors.length,
    excusedErrors: report.excusedErrors,
    longestWaitMs: report.longestWaitMs,
    detection,
    healMs,
  };
}

async function hit(
  context: FaultContext,
  load: Workload,
  fault: Fault,
  group: string[],
): Promise<{ detection: Detection | null; healMs: number }> {
  const { cluster, tell } = context;
  tell(`${fault.name}: ${group.join(', ')}`);
  const watch = new Watch(cluster, group);
  const over = fault.endsSessions && group.includes(PRIMARY) ? load.outage() : null;
  try {
    await Promise.all(group.map((party) => fault.begin(context, party)));
    if (worksDuring(group, fault)) await Promise.all([fault.hold(context, group), load.progress(50)]);
    else await fault.hold(context, group);
    tell('mended');
    const ended = performance.now();
    for (const party of group) await fault.end(context, party);
    await healed(cluster, HEAL_MS);
    const healMs = performance.now() - ended;
    over?.();
    await load.progress(20);
    for (const [line, atMs] of watch.seen) tell(`seen after ${Math.round(atMs)} ms: ${line}`);
    tell(`healed ${Math.round(healMs)} ms after it was mended`);
    return { detection: watch.detection, healMs };
  } finally {
    over?.();
    await watch.stop();
  }
}

/** What was acknowledged is there, once; indexes and heaps are sound; all nodes hold the same pages; everything is well again. */
export async function check(
  cluster: ChaosCluster,
  load: Workload,
  report: LoadReport,
  tell: (what: string) => void,
): Promise<void> {
  assert.deepEqual(
    report.errors.slice(0, 5).map(({ client, message }) => `${client}: ${message}`),
    [],
    'clients saw errors while a write quorum and the compute were alive',
  );
  const client = await cluster.base.client();
  const rows = await load.audit(client);
  await client.end();
  const { indexes } = await cluster.base.amcheck();
  const pages = await assertSamePages(cluster.base);
  await healed(cluster, HEAL_MS);
  tell(`checked: ${rows} rows, ${indexes} indexes, ${pages} pages alike on all nodes`);
}
