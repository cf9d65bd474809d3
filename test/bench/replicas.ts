/**
 * npm run bench:replicas: how soon a replica answers its first query, for a small and a larger database; what the primary does with 0, 1,
 * 2 and 5 replicas; how far behind a replica is under that load. SECONDS_EACH (15), SCALE (20), CLIENTS (8), REPLICAS ("0,1,2,5"),
 * SIZES_MB ("10,300"), PROBES (200). Prints Markdown for docs/PERFORMANCE.md.
 */
import type pg from 'pg';
import { performance } from 'node:perf_hooks';
import { TestCluster } from '../helpers/cluster.js';
import { caughtUp, Computes } from '../helpers/computes.js';
import { load, pgbench } from './pgbench.js';

const seconds = Number(process.env['SECONDS_EACH'] ?? 15);
const scale = Number(process.env['SCALE'] ?? 20);
const clients = Number(process.env['CLIENTS'] ?? 8);
const counts = (process.env['REPLICAS'] ?? '0,1,2,5').split(',').map(Number);
const sizesMb = (process.env['SIZES_MB'] ?? '10,300').split(',').filter(Boolean).map(Number);
const probes = Number(process.env['PROBES'] ?? 200);
/** Rows of filler in a megabyte. */
const ROWS_PER_MB = 1000;

const say = (line: string): void => void process.stderr.write(`${line}\n`);
const quantile = (sorted: number[], q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]!;

/** Time from the wish for a replica to the answer of its first query, and what had to be fetched for that. */
async function creation(cluster: TestCluster, computes: Computes): Promise<string[]> {
  const lines: string[] = [];
  const primary = await cluster.client();
  let rows = 0;
  for (const mb of sizesMb) {
    await primary.query('create table if not exists filler (id int primary key, v text not null)');
    await primary.query(
      `insert into filler select g, repeat(md5(g::text), 30) from generate_series(${rows + 1}, ${mb * ROWS_PER_MB}) g`,
    );
    rows = mb * ROWS_PER_MB;
    await primary.query('checkpoint');
    await caughtUpStorage(cluster);
    const begun = performance.now();
    await computes.add(`c${mb}`);
    const replica = await computes.client(`c${mb}`);
    await replica.query('select v from filler where id = 7');
    const tookMs = performance.now() - begun;
    const { pages } = await computes.report(`c${mb}`);
    const size = await primary.query('select pg_database_size(current_database()) as n');
    lines.push(
      `| ${(Number(size.rows[0].n) / 1e6).toFixed(0)} MB | ${(tookMs / 1000).toFixed(2)} s | ${((pages!.blocksServed * 8192) / 1e6).toFixed(1)} MB |`,
    );
    say(lines.at(-1)!);
    await computes.kill(`c${mb}`);
  }
  return lines;
}

async function caughtUpStorage(cluster: TestCluster): Promise<void> {
  for (;;) {
    const { volume } = await cluster.status();
    if (volume.appliedLsn === volume.commitLsn) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** From a commit's return on the primary to its row on the replica, in ms, under load. */
async function lags(primary: pg.Client, replica: pg.Client): Promise<number[]> {
  const found: number[] = [];
  for (let i = 0; i < probes; i++) {
    await primary.query('insert into probe values ($1)', [i]);
    const committed = performance.now();
    for (;;) {
      const { rowCount } = await replica.query('select 1 from probe where id = $1', [i]);
      if (rowCount === 1) break;
    }
    found.push(performance.now() - committed);
  }
  await primary.query('truncate probe');
  return found.sort((a, b) => a - b);
}

const cluster = await TestCluster.start({ settings: { shared_buffers: '256MB', max_wal_size: '4GB' } });
const computes = new Computes(cluster);
try {
  const created = await creation(cluster, computes);
  const target = { name: 'OpenAurora', host: cluster.socketDir, port: cluster.port, user: cluster.superuser };
  await pgbench(target as Parameters<typeof pgbench>[0], ['-i', '-q', '-s', String(scale)]);
  const primary = await cluster.client();
  await primary.query('create table probe (id int primary key)');
  await load(target as Parameters<typeof load>[0], { clients, seconds: 3 });
  const lines: string[] = [];
  let have = 0;
  for (const count of counts) {
    while (have < count) await computes.add(`r${++have}`);
    await caughtUpStorage(cluster);
    const running = load(target as Parameters<typeof load>[0], { clients, seconds });
    let text = '- | -';
    if (have > 0) {
      const replica = await computes.client('r1');
      await caughtUp(primary, replica);
      const sorted = await lags(primary, replica);
      text = `${quantile(sorted, 0.5).toFixed(1)} ms | ${quantile(sorted, 0.99).toFixed(1)} ms`;
      await replica.end();
    }
    const { tps } = await running;
    lines.push(`| ${have} | ${tps.toFixed(0)} | ${text} |`);
    say(lines.at(-1)!);
  }
  process.stdout.write(
    [
      '| database | first query on a new replica | fetched until then |',
      '|---|---|---|',
      ...created,
      '',
      `| replicas | primary, TPC-B tps (${clients} clients, scale ${scale}) | lag p50 | lag p99 |`,
      '|---|---|---|---|',
      ...lines,
      '',
    ].join('\n'),
  );
} finally {
  await computes.close();
  await cluster.destroy();
}
