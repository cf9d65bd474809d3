/**
 * npm run soak:mixed: everything at once for a long time (transfers and appends, reads, DDL, vacuum, bulk loads, a storage node that is started
 * anew now and then), while memory and file descriptors of each daemon are measured. Both must be flat in the second half; restarts of nodes are
 * in the first, for a process that is new has a warm-up to grow in.
 *
 *   npm run soak:mixed -- --minutes 30 [--every 10] [--seed 1] [--write]     (--write: into docs/RELIABILITY.md)
 */
import { readdirSync, readFileSync } from 'node:fs';
import os from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type pg from 'pg';
import { parseLsn } from '../../src/engine/lsn.js';
import { TestCluster } from '../helpers/cluster.js';
import { assertSamePages } from '../helpers/same-pages.js';
import { onInterrupt } from './interrupt.js';
import { writeSection } from './report.js';
import { Random } from './random.js';
import { chart, flatness, type Flatness, type Point } from './series.js';
import { SCHEMA, Workload } from './workload.js';

const MIB = 1024 * 1024;
const CLIENTS = 4;
const BULK_ROWS = 20_000;
/** Growth of the second half of a long run; a short one is still warming up, and is allowed more. */
const LONG_MINUTES = 20;
const RSS = { share: 0.1, slack: 16 * MIB, shortShare: 0.6, shortSlack: 64 * MIB };
const FDS = { share: 0.1, slack: 16, shortShare: 0.5, shortSlack: 32 };

const { values: flags } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    every: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
    write: { type: 'boolean', default: false },
  },
});
const minutes = Number(flags.minutes);
const everyMs = Number(flags.every) * 1000;
if (!(minutes > 0) || !(everyMs > 0)) throw new Error('--minutes and --every are numbers above 0');

interface Series {
  rss: Point[];
  fds: Point[];
  /** A process that was started anew begins a series anew. */
  pid: number;
}

/** Resident memory of a process: all of it, or what it shares with no file and no other process. */
function residentBytes(pid: number, field: 'VmRSS' | 'RssAnon'): number {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024;
}

const openFiles = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

class Soak {
  private readonly random = new Random(Number(flags.seed));
  private readonly stop = new AbortController();
  private readonly series = new Map<string, Series>();
  private readonly begun = performance.now();
  private readonly totals = { ddl: 0, vacuums: 0, bulkLoads: 0, restarts: 0 };
  private lastSaid = '';

  constructor(private readonly cluster: TestCluster) {}

  async run(): Promise<string[]> {
    const { cluster, totals } = this;
    await cluster.sql(SCHEMA);
    await cluster.sql('create table bulk (id int, filler text)');
    const wal = async (): Promise<number> =>
      parseLsn((await cluster.sql('select pg_current_wal_lsn()::text as at'))[0]!['at'] as string);
    const from = await wal();
    const load = new Workload(() => cluster.client(), CLIENTS, Number(flags.seed));
    load.start();
    const loops = [this.ddl(), this.vacuum(), this.bulk(), this.restarts()];
    // A loop that fails ends the soak at once.
    const failed = Promise.all(loops).then(() => new Promise<never>(() => undefined));
    failed.catch(() => undefined); // raced, and awaited below
    await Promise.race([this.sample(minutes * 60_000), failed]).finally(() => this.stop.abort());
    await Promise.all(loops);
    const report = await load.end();
    const client = await cluster.client();
    const rows = await load.audit(client);
    if (report.errors.length > 0)
      throw new Error(`clients saw errors, the first: ${report.errors[0]!.message}`);
    const pages = await assertSamePages(cluster);
    const log = ((await wal()) - from) / MIB;
    console.log(`checked: ${rows} rows, ${pages} pages alike on all nodes`);
    return this.judge(
      `${report.acknowledged} transactions (none lost, no error at a client), ${report.reads} checked reads, ${totals.ddl} rounds of DDL, ${totals.vacuums} vacuums, ${totals.bulkLoads} bulk loads, ${totals.restarts} restarts of a storage node, ${Math.round(log)} MiB of log`,
    );
  }

  private async sample(forMs: number): Promise<void> {
    for (let due = everyMs; due <= forMs; due += everyMs) {
      await sleep(Math.max(0, this.begun + due - performance.now()));
      const atMs = performance.now() - this.begun;
      for (const { id } of this.cluster.storageNodes)
        this.note(`storage ${id}`, this.cluster.storagePid(id), atMs, (pid) => [
          residentBytes(pid, 'VmRSS'),
          openFiles(pid),
        ]);
      this.note('compute', this.cluster.computePid(), atMs, (pid) => [
        residentBytes(pid, 'VmRSS'),
        openFiles(pid),
      ]);
      this.note('postgres', this.cluster.postgresPid(), atMs, (pid) => {
        const family = [
          pid,
          ...readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
        ];
        let [bytes, files] = [0, 0];
        for (const member of family)
          try {
            // Shared buffers would count once for each process.
            bytes += residentBytes(member, 'RssAnon');
            files += openFiles(member);
          } catch (err) {
            if (!['ENOENT', 'ESRCH'].includes((err as NodeJS.ErrnoException).code ?? '')) throw err;
          }
        return [bytes, files];
      });
      this.say(atMs);
    }
  }

  private note(
    name: string,
    pid: number | null,
    atMs: number,
    measure: (pid: number) => [number, number],
  ): void {
    if (pid === null) return; // it is being started anew
    let series = this.series.get(name);
    if (series?.pid !== pid) this.series.set(name, (series = { rss: [], fds: [], pid }));
    const [bytes, files] = measure(pid);
    series.rss.push({ atMs, value: bytes });
    series.fds.push({ atMs, value: files });
  }

  /** A line every so often; in a log of thirty minutes, nobody reads one every ten seconds. */
  private say(atMs: number): void {
    const minute = `${Math.floor(atMs / 60_000)} min`;
    if (minute === this.lastSaid) return;
    this.lastSaid = minute;
    const now = [...this.series].map(
      ([name, { rss, fds }]) => `${name} ${Math.round(rss.at(-1)!.value / MIB)} MiB/${fds.at(-1)!.value}`,
    );
    console.log(`${minute.padStart(6)}: ${now.join(', ')}`);
  }

  private async loop(everyMsAtLeast: number, work: (client: pg.Client) => Promise<void>): Promise<void> {
    const { signal } = this.stop;
    const client = await this.cluster.client();
    try {
      while (!signal.aborted) {
        await work(client);
        await sleep(everyMsAtLeast, undefined, { signal }).catch(() => undefined);
      }
    } finally {
      await client.end();
    }
  }

  private ddl(): Promise<void> {
    return this.loop(2000, async (client) => {
      await client.query('create table passing as select id, balance from account');
      await client.query('create index on passing (balance)');
      await client.query('alter table passing add column more text default md5(random()::text)');
      await client.query('create view passing_view as select * from passing where balance > 0');
      await client.query('drop table passing cascade');
      this.totals.ddl++;
    });
  }

  private vacuum(): Promise<void> {
    return this.loop(15_000, async (client) => {
      await client.query('vacuum (analyze) account');
      await client.query('vacuum (analyze) entry');
      await client.query('vacuum (truncate) bulk');
      this.totals.vacuums++;
    });
  }

  private bulk(): Promise<void> {
    return this.loop(10_000, async (client) => {
      await client.query(
        `insert into bulk select g, repeat(md5(g::text), 4) from generate_series(1, ${BULK_ROWS}) g`,
      );
      // The table is emptied one way or the other, so that the database does not grow.
      await client.query(this.random.below(2) === 0 ? 'truncate bulk' : 'delete from bulk');
      this.totals.bulkLoads++;
    });
  }

  /** All in the first half; see above. */
  private async restarts(): Promise<void> {
    const { signal } = this.stop;
    for (const share of [0.1, 0.2, 0.3]) {
      const waitMs = this.begun + share * minutes * 60_000 - performance.now();
      await sleep(Math.max(0, waitMs), undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      const id = String(1 + this.random.below(3));
      await this.cluster.killStorage(id, this.random.below(2) === 0 ? 'SIGKILL' : 'SIGTERM');
      await sleep(3000);
      await this.cluster.startStorage(id);
      this.totals.restarts++;
    }
  }

  private judge(summary: string): string[] {
    const long = minutes >= LONG_MINUTES;
    const lines = [
      `${summary}.`,
      '',
      '| daemon | memory, second half | its growth over that half (allowed) | most | open files, second half | growth (allowed) | most |',
      '|---|---|---|---|---|---|---|',
    ];
    const charts: string[] = [];
    const bad: string[] = [];
    for (const [name, { rss, fds }] of this.series) {
      const memory = long
        ? flatness(rss, RSS.share, RSS.slack)
        : flatness(rss, RSS.shortShare, RSS.shortSlack);
      const files = long
        ? flatness(fds, FDS.share, FDS.slack)
        : flatness(fds, FDS.shortShare, FDS.shortSlack);
      lines.push(
        `| ${[name, ...cells(memory, (n) => `${Math.round(n / MIB)} MiB`), ...cells(files, (n) => n.toFixed(0))].join(' | ')} |`,
      );
      charts.push(`${name.padEnd(10)} ${chart(rss)} memory, up to ${Math.round(memory.max / MIB)} MiB`);
      charts.push(`${''.padEnd(10)} ${chart(fds)} open files, up to ${files.max}`);
      if (!memory.flat)
        bad.push(`memory of ${name} grows: by ${Math.round(memory.growth / MIB)} MiB in the second half`);
      if (!files.flat)
        bad.push(`open files of ${name} grow: by ${Math.round(files.growth)} in the second half`);
    }
    lines.push('', '```', ...charts, '```');
    if (bad.length > 0) {
      console.error(lines.join('\n'));
      throw new Error(bad.join('; '));
    }
    return lines;
  }
}

const cells = ({ medianOfHalf, growth, allowed, max }: Flatness, print: (n: number) => string): string[] => [
  print(medianOfHalf),
  `${print(growth)} (${print(allowed)})`,
  print(max),
];

const cluster = await TestCluster.start();
onInterrupt(() => cluster.destroy());
try {
  const lines = await new Soak(cluster).run();
  console.log(`\n${lines.join('\n')}`);
  const machine = `${os.cpus().length} cores, ${Math.round(os.totalmem() / 2 ** 30)} GiB of memory, Node.js ${process.version}`;
  if (flags.write)
    writeSection('soak', [
      `Made by \`npm run soak:mixed -- --minutes ${minutes} --write\`, on ${machine}.`,
      ...lines,
    ]);
} catch (err) {
  console.error(await cluster.logs());
  throw err;
} finally {
  await cluster.destroy();
}
