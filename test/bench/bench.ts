/**
 * npm run bench: OpenAurora beside plain PostgreSQL, one after the other on this machine in one run, as ratios.
 * SECONDS_EACH (20), SCALE (40), CLIENTS ("8,32"), ROUNDS (1; the best of each counts), COLD_MB ("10,1024"; "" leaves it out).
 * Prints Markdown for docs/PERFORMANCE.md and ends with status 1 when a goal is missed.
 */
import os from 'node:os';
import { formatLsn } from '../../src/engine/lsn.js';
import { controlRequest } from '../../src/cluster/control-client.js';
import { controlSocketPath } from '../../src/compute/control-path.js';
import type { ComputeStatus } from '../../src/compute/status.js';
import { eventually } from '../helpers/cluster.js';
import { coldStarts, type ColdStart } from './cold-start.js';
import { load, pgbench, type PgbenchResult } from './pgbench.js';
import { connect, openAurora, singlePostgres, withTwoStandbys, type Target } from './servers.js';

const seconds = Number(process.env['SECONDS_EACH'] ?? 20);
const scale = Number(process.env['SCALE'] ?? 40);
const clients = (process.env['CLIENTS'] ?? '8,32').split(',').map(Number);
const rounds = Number(process.env['ROUNDS'] ?? 1);
const coldMb = (process.env['COLD_MB'] ?? '10,1024').split(',').filter(Boolean).map(Number);

interface Figures {
  name: string;
  tpcb: Map<number, PgbenchResult>;
  select: PgbenchResult;
  walPerTransaction: number;
  extra: Record<string, number>;
}

const say = (line: string): void => void process.stderr.write(`${line}\n`);

async function measure(
  target: Target,
  after?: (transactions: number) => Promise<Record<string, number>>,
  settle?: () => Promise<number>,
): Promise<Figures> {
  say(`-- ${target.name}`);
  await pgbench(target, ['-i', '-q', '-s', String(scale)]);
  const client = await connect(target);
  await client.query('checkpoint');
  // Each set-up starts from rest: dirty pages written, log of the initial load worked off. How long that takes is told, too.
  const settleMs = await settle?.();
  await load(target, { clients: 8, seconds: 5 }); // warms up
  const tpcb = new Map<number, PgbenchResult>();
  let transactions = 0;
  const lsnBefore = await walLsn(client);
  for (const n of clients) {
    for (let round = 0; round < rounds; round++) {
      const result = await load(target, { clients: n, seconds });
      transactions += result.transactions;
      if (result.failed > 0) throw new Error(`${result.failed} transactions failed on ${target.name}`);
      if ((tpcb.get(n)?.tps ?? 0) < result.tps) tpcb.set(n, result);
      say(`   TPC-B ${n} clients: ${result.tps.toFixed(0)} tps, ${result.latencyMs.toFixed(1)} ms`);
    }
  }
  const walPerTransaction = ((await walLsn(client)) - lsnBefore) / transactions;
  const extra = { ...(await after?.(transactions)), settleMs: settleMs ?? 0 };
  await settle?.();
  let select: PgbenchResult | null = null;
  await load(target, { clients: 8, seconds: 3, selectOnly: true }); // warms up
  for (let round = 0; round < rounds; round++) {
    const result = await load(target, { clients: 8, seconds, selectOnly: true });
    if ((select?.tps ?? 0) < result.tps) select = result;
    say(`   select-only 8 clients: ${result.tps.toFixed(0)} tps`);
  }
  await client.end();
  return { name: target.name, tpcb, select: select!, walPerTransaction, extra };
}

async function walLsn(client: Awaited<ReturnType<typeof connect>>): Promise<number> {
  const { rows } = await client.query(
    `select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint::text as at`,
  );
  return Number(rows[0].at);
}

async function measureAurora(): Promise<Figures> {
  const target = await openAurora();
  try {
    const status = (): Promise<ComputeStatus> =>
      controlRequest<ComputeStatus>(controlSocketPath(target.host, 'primary'), 'GET', '/status', 5000);
    /** Milliseconds until every node has applied all that is committed now. */
    const caughtUp = async (): Promise<number> => {
      const begun = performance.now();
      const commit = await commitLsn(target);
      await eventually(
        `every node has applied ${formatLsn(commit)}`,
        async () => {
          const { storage } = await target.cluster.status();
          return storage.every((node) => node.applied !== null && lsnNumber(node.applied) >= commit);
        },
        300_000,
      );
      return performance.now() - begun;
    };
    const figures = await measure(
      target,
      async () => {
        const lagMs = await caughtUp();
        const { sentBytes, walBytes } = await status();
        return { lagMs, sentPerWal: sentBytes / walBytes };
      },
      caughtUp,
    );
    return figures;
  } finally {
    await target.destroy();
  }
}

async function commitLsn(target: Target): Promise<number> {
  const client = await connect(target);
  const at = await walLsn(client);
  await client.end();
  return at;
}

function lsnNumber(text: string): number {
  const [high, low] = text.split('/');
  return parseInt(high!, 16) * 2 ** 32 + parseInt(low!, 16);
}

async function withTarget(make: () => Promise<Target>): Promise<Figures> {
  const target = await make();
  try {
    return await measure(target);
  } finally {
    await target.destroy();
  }
}

function report(single: Figures, standbys: Figures, aurora: Figures, cold: ColdStart[]): boolean {
  const lines: string[] = [];
  const goals: [string, boolean][] = [];
  const cpu = os.cpus()[0]?.model ?? 'unknown';
  lines.push(
    `Machine: ${os.cpus().length} x ${cpu}, ${Math.round(os.totalmem() / 2 ** 30)} GiB, Linux ${os.release()}, Node ${process.version}. Scale ${scale}, ${seconds} s each, best of ${rounds}, prepared statements, shared_buffers 512MB.`,
    '',
  );
  lines.push(
    '| | PostgreSQL single, fsync | PostgreSQL + 2 sync standbys | OpenAurora 3 nodes 2/3 | vs standbys | vs single |',
    '|---|---|---|---|---|---|',
  );
  const row = (name: string, pick: (f: Figures) => number, digits = 0): [number, number] => {
    const [s, t, a] = [pick(single), pick(standbys), pick(aurora)];
    lines.push(
      `| ${name} | ${s.toFixed(digits)} | ${t.toFixed(digits)} | ${a.toFixed(digits)} | ${(a / t).toFixed(2)} | ${(a / s).toFixed(2)} |`,
    );
    return [a / t, a / s];
  };
  for (const n of clients) {
    const [versusStandbys] = row(`TPC-B, ${n} clients, tps`, (f) => f.tpcb.get(n)!.tps);
    row(`TPC-B, ${n} clients, mean latency ms`, (f) => f.tpcb.get(n)!.latencyMs, 1);
    goals.push([`TPC-B with ${n} clients at least 0.5x of two standbys`, versusStandbys >= 0.5]);
  }
  const [, versusSingle] = row('select-only, 8 clients, tps', (f) => f.select.tps);
  goals.push(['select-only at least 0.9x of single PostgreSQL', versusSingle >= 0.9]);
  row('WAL bytes per transaction', (f) => f.walPerTransaction);
  const { lagMs, sentPerWal, settleMs } = aurora.extra;
  lines.push(
    '',
    `Ingest: all three nodes had applied everything ${((lagMs ?? 0) / 1000).toFixed(2)} s after the load's end (after the bulk load of pgbench -i: ${((settleMs ?? 0) / 1000).toFixed(1)} s).`,
  );
  lines.push(
    `Bytes sent by the compute: ${(aurora.walPerTransaction * (sentPerWal ?? 0)).toFixed(0)} per transaction to all three nodes together (${(sentPerWal ?? 0).toFixed(2)} x its WAL); a physical standby's stream carries PostgreSQL's ${standbys.walPerTransaction.toFixed(0)} per transaction to each standby.`,
  );
  goals.push(['applied LSN catches up within 5 s', (lagMs ?? Infinity) < 5000]);
  if (cold.length > 0) {
    lines.push(
      '',
      '| WAL since creation | OpenAurora: start to first answer, s | PostgreSQL: crash recovery to first answer, s |',
      '|---|---|---|',
    );
    for (const c of cold) {
      lines.push(
        `| ${c.walMb} MB | ${(c.auroraMs / 1000).toFixed(2)} | ${(c.postgresMs / 1000).toFixed(2)} |`,
      );
      goals.push([`cold start with ${c.walMb} MB of WAL under 3 s`, c.auroraMs < 3000]);
    }
  }
  lines.push('', ...goals.map(([goal, met]) => `- ${met ? 'met' : '**missed**'}: ${goal}`));
  process.stdout.write(`${lines.join('\n')}\n`);
  return goals.every(([, met]) => met);
}

const single = await withTarget(singlePostgres);
const standbys = await withTarget(withTwoStandbys);
const aurora = await measureAurora();
const cold: ColdStart[] = [];
for (const mb of coldMb) cold.push(await coldStarts(mb, say));
process.exitCode = report(single, standbys, aurora, cold) ? 0 : 1;
