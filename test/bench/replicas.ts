/**
 * npm run bench:replicas: OpenAurora with replicas beside PostgreSQL with streaming standbys, one after the other on this machine in one run.
 * How soon a new reader answers, for a small and a large database, and what was copied for it; what the primary does with so many readers;
 * how far behind a reader is under the same load, and under all that the primary can do.
 * SECONDS_EACH (15), ROUNDS (2; the best throughput counts), WARM_SECONDS (60: load before these, in which readers fill their caches), SCALE (20), CLIENTS (8), RATE (400 transactions a second: the same load),
 * REPLICAS ("0,1"), STANDBYS ("0,1"), SIZES_MB ("10,1000"), CREATIONS (3 of each; the median counts), PROBES (400).
 * "" leaves a part out. Prints Markdown for docs/PERFORMANCE.md.
 */
import os from 'node:os';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { load, pgbench } from './pgbench.js';
import { auroraWithReplicas, postgresWithStandbys, type Creation, type Replicated } from './replicated.js';
import { connect } from './servers.js';

const numbers = (name: string, otherwise: string): number[] =>
  (process.env[name] ?? otherwise).split(',').filter(Boolean).map(Number);
const seconds = Number(process.env['SECONDS_EACH'] ?? 15);
const rounds = Number(process.env['ROUNDS'] ?? 2);
const warmSeconds = Number(process.env['WARM_SECONDS'] ?? 60);
const scale = Number(process.env['SCALE'] ?? 20);
const clients = Number(process.env['CLIENTS'] ?? 8);
const rate = Number(process.env['RATE'] ?? 400);
const sizesMb = numbers('SIZES_MB', '10,1000');
const creations = Number(process.env['CREATIONS'] ?? 3);
const probesMax = Number(process.env['PROBES'] ?? 400);
/** Rows of filler in a megabyte. */
const ROWS_PER_MB = 1000;
/** Rows of one statement while filler is made. */
const ROWS_AT_ONCE = 100_000;
/** Lags are seen to be over this late at most. */
const POLL_MS = 1;

const SYSTEMS = [
  { make: auroraWithReplicas, counts: numbers('REPLICAS', '0,1') },
  { make: postgresWithStandbys, counts: numbers('STANDBYS', '0,1') },
];

const say = (line: string): void => void process.stderr.write(`${line}\n`);
const sorted = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b);
const quantile = (values: readonly number[], q: number): number =>
  values[Math.min(values.length - 1, Math.floor(values.length * q))]!;
const seconds2 = (ms: number): string => (ms / 1000).toFixed(2);

/** Makes and removes readers of a database that grows: one row of the table for each size. */
async function creation(system: Replicated): Promise<string[]> {
  const lines: string[] = [];
  const primary = await connect(system);
  await primary.query('create table filler (id int primary key, v text not null)');
  let rows = 0;
  for (const mb of sizesMb) {
    for (; rows < mb * ROWS_PER_MB; rows += ROWS_AT_ONCE) {
      const upTo = Math.min(rows + ROWS_AT_ONCE, mb * ROWS_PER_MB);
      await primary.query(
        `insert into filler select g, repeat(md5(g::text), 30) from generate_series(${rows + 1}, ${upTo}) g`,
      );
    }
    rows = mb * ROWS_PER_MB;
    await primary.query('vacuum analyze filler');
    await primary.query('checkpoint');
    await system.settle();
    const made: Creation[] = [];
    for (let i = 0; i < creations; i++) {
      made.push(await system.add(`select v from filler where id = ${mb * ROWS_PER_MB}`));
      await system.remove();
    }
    const times = sorted(made.map(({ ms }) => ms));
    const size = await primary.query('select pg_database_size(current_database()) as n');
    const disk = quantile(sorted(made.map(({ diskBytes }) => diskBytes)), 0.5);
    const cpu = made.flatMap(({ cpuMs }) => cpuMs ?? []);
    const cpuText = cpu.length > 0 ? `${seconds2(quantile(sorted(cpu), 0.5))} s` : '-';
    lines.push(
      `| ${(Number(size.rows[0].n) / 1e6).toFixed(0)} MB | ${system.name} | ${seconds2(quantile(times, 0.5))} s (${seconds2(times[0]!)} to ${seconds2(times.at(-1)!)}) | ${cpuText} | ${(disk / 1e6).toFixed(1)} MB |`,
    );
    say(lines.at(-1)!);
  }
  await primary.end();
  return lines;
}

/** From a commit's return on the primary to its row on the reader, in ms, for as long as `load` runs. */
async function lags(primary: pg.Client, reader: pg.Client, underLoad: Promise<unknown>): Promise<number[]> {
  const found: number[] = [];
  let over = false;
  const end = underLoad.finally(() => (over = true));
  for (let i = 0; i < probesMax && !over; i++) {
    await primary.query('insert into probe values ($1)', [i]);
    const committed = performance.now();
    while ((await reader.query('select 1 from probe where id = $1', [i])).rowCount === 0)
      await sleep(POLL_MS);
    found.push(performance.now() - committed);
  }
  await end;
  await primary.query('truncate probe');
  return sorted(found);
}

const lagText = (found: readonly number[]): string =>
  `${quantile(found, 0.5).toFixed(1)} / ${quantile(found, 0.99).toFixed(1)} ms`;

/** One row of the table for each number of readers. */
async function underLoad(system: Replicated, counts: readonly number[]): Promise<string[]> {
  await pgbench(system, ['-i', '-q', '-s', String(scale)]);
  const primary = await connect(system);
  await primary.query('create table probe (id int primary key)');
  await primary.query('checkpoint');
  await system.settle();
  await load(system, { clients, seconds: 5 }); // warms up
  const lines: string[] = [];
  let have = 0;
  for (const count of counts) {
    for (; have < count; have++) await system.add('select 1');
    await system.settle();
    const first = (await load(system, { clients, seconds })).tps;
    if (warmSeconds > 0) await load(system, { clients, seconds: warmSeconds });
    let best = 0;
    for (let round = 0; round < rounds; round++) {
      await system.settle();
      best = Math.max(best, (await load(system, { clients, seconds })).tps);
    }
    const text: string[] = [];
    if (have > 0) {
      const reader = await system.reader();
      for (const at of [rate, undefined]) {
        await system.settle();
        const running = load(system, { clients, seconds, ...(at === undefined ? {} : { rate: at }) });
        const found = await lags(primary, reader, running);
        const { tps } = await running;
        text.push(`${lagText(found)} (${found.length} probes, ${tps.toFixed(0)} tps)`);
      }
      await reader.end();
    }
    lines.push(
      `| ${system.name} | ${have} | ${first.toFixed(0)} | ${best.toFixed(0)} | ${text.join(' | ') || '- | -'} |`,
    );
    say(lines.at(-1)!);
  }
  await primary.end();
  return lines;
}

async function inOne(
  make: () => Promise<Replicated>,
  use: (system: Replicated) => Promise<string[]>,
): Promise<string[]> {
  const system = await make();
  try {
    return await use(system);
  } finally {
    await system.destroy();
  }
}

const created: string[] = [];
const loaded: string[] = [];
for (const { make, counts } of SYSTEMS) {
  if (sizesMb.length > 0) created.push(...(await inOne(make, creation)));
  if (counts.length > 0) loaded.push(...(await inOne(make, (system) => underLoad(system, counts))));
}
process.stdout.write(
  [
    `Machine: ${os.cpus().length} x ${os.cpus()[0]?.model ?? 'unknown'}, ${Math.round(os.totalmem() / 2 ** 30)} GiB, Linux ${os.release()}, Node ${process.version}; load average ${os.loadavg()[1]!.toFixed(1)} over the last 5 minutes.`,
    '',
    `| database | system | first query on a new reader: median of ${creations} | processor time of it | on its disk by then |`,
    '|---|---|---|---|---|',
    ...created,
    '',
    `| system | readers | primary, TPC-B tps (${clients} clients, scale ${scale}), first ${seconds} s with them | ${warmSeconds} s later | lag p50 / p99 at ${rate} tps | lag p50 / p99 at full speed |`,
    '|---|---|---|---|---|---|',
    ...loaded,
    '',
  ].join('\n'),
);
