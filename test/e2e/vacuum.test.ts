/**
 * History is removed while a cluster runs: under a steady load of updates the disk use of every node levels off; a primary goes on reading
 * blocks that it has not touched since its start, long after the horizon has passed that; a new compute starts from what is left.
 */
import { strict as assert } from 'node:assert';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadSecret } from '../../src/net/secret.js';
import type { NodeStatus } from '../../src/net/node-status.js';
import { StorageClient } from '../../src/net/storage-client.js';
import { parseLsn } from '../../src/engine/lsn.js';
import { eventually, TestCluster } from '../helpers/cluster.js';
import { withStorageSettings } from '../helpers/storage-settings.js';

const MIB = 1024 * 1024;
/** Log that each of two loads writes at least, and how long it runs at least. */
const LOAD_BYTES = Number(process.env['LOAD_MIB'] ?? 20) * MIB;
const LOAD_MS = Number(process.env['LOAD_MS'] ?? 5000);
const RETAINED_BYTES = 16 * MIB;

const SETTINGS = {
  retention: { timeMs: 2000, bytes: RETAINED_BYTES, leaseMs: 3000, peerMs: 60_000 },
  vacuum: { enabled: true, intervalMs: 250, dutyPercent: 50, passBytes: 4 * MIB, passMs: 2000 },
  logFileBytes: 2 * MIB,
  // Small, so that what RocksDB keeps before it merges is small beside the load.
  pages: { memtableBytes: 4 * MIB },
};

const mib = (bytes: number): string => (bytes / MIB).toFixed(0).padStart(4);

describe('e2e: vacuum', function () {
  this.timeout(900_000 + 2 * LOAD_MS);
  let cluster: TestCluster;

  before(async () => {
    cluster = await withStorageSettings(SETTINGS, () =>
      TestCluster.start({ settings: { autovacuum: 'off', checkpoint_timeout: '30s' } }),
    );
  });
  after(async () => cluster?.destroy());
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await cluster?.logs());
  });

  async function nodes(): Promise<NodeStatus[]> {
    const secret = loadSecret(cluster.layout.secret);
    const { volume, storage } = await cluster.status();
    return Promise.all(
      storage.map(async ({ host, port }) => {
        const options = { secret, volumeId: volume.id, role: 'tool', clientId: 'test' } as const;
        const client = await StorageClient.connect({ host, port }, options);
        try {
          return await client.status();
        } finally {
          client.close();
        }
      }),
    );
  }

  /** What the node with the most bytes has on disk, and how many versions of pages, forks and facts. */
  async function diskUse(): Promise<{ log: number; pages: number; all: number; versions: number }> {
    const of = (await nodes()).map(({ vacuum: { disk }, metrics }) => ({
      log: disk.logBytes,
      pages: disk.pagesBytes,
      all: disk.logBytes + disk.pagesBytes,
      versions: metrics['versions']!,
    }));
    return of.reduce((most, node) => (node.all > most.all ? node : most));
  }

  async function fingerprint(): Promise<unknown> {
    const [row] = await cluster.sql(`select
      (select md5(string_agg(t::text, ',' order by id)) from cold t) as cold,
      (select md5(string_agg(t::text, ',' order by id)) from part t) as part,
      (select md5(string_agg(t::text, ',' order by id)) from hot t) as hot,
      (select md5(string_agg(relname || relpages, ',' order by oid)) from pg_class) as catalog`);
    return row;
  }

  it('levels off, and the past that it takes is nobody’s', async () => {
    await cluster.sql(`create table cold as select g as id, repeat(md5(g::text), 20) as filler from generate_series(1, 4000) g;
      create table part as select g as id, repeat(md5(g::text), 20) as filler from generate_series(1, 4000) g;
      create table gone as select g as id, repeat(md5(g::text), 20) as filler from generate_series(1, 4000) g;
      create table cut as select g as id, repeat(md5(g::text), 20) as filler from generate_series(1, 4000) g;
      create table hot (id int primary key, n int not null, filler text not null) with (fillfactor = 50);
      insert into hot select g, 0, repeat('x', 100) from generate_series(1, 3000) g`);
    await cluster.stop();
    cluster.eraseCompute();
    await withStorageSettings(SETTINGS, () => cluster.start());
    const startLsn = parseLsn((await cluster.status()).computes[0]!.startLsn!);

    // Half of it is read, so present; the rest stays absent until the horizon is far beyond the start.
    await cluster.sql("select count(filler) from part where ctid < '(100,1)'");
    await cluster.sql('select count(filler) from gone where id < 10');
    await cluster.sql('drop table gone');
    await cluster.sql('delete from cut where id > 100');

    const load = await cluster.client();
    const position = async (): Promise<number> =>
      parseLsn((await load.query('select pg_current_wal_lsn() as at')).rows[0].at as string);
    const from = await position();
    const curve: string[] = [];
    const loadBegun = performance.now();
    const note = async (what: string): Promise<number> => {
      const written = (await position()) - from;
      const { log, pages, all, versions } = await diskUse();
      const seconds = ((performance.now() - loadBegun) / 1000).toFixed(0).padStart(5);
      curve.push(
        `| ${seconds} | ${mib(written)} | ${mib(log)} | ${mib(pages)} | ${mib(all)} | ${String(versions).padStart(8)} | ${what} |`,
      );
      return all;
    };
    let round = 0;
    /** Updates until so much log is written; then waits until the vacuum has nothing to do, and gives the bytes on disk of the largest node. */
    const loadAndSettle = async (): Promise<number> => {
      const begun = performance.now();
      const wanted = (await position()) + LOAD_BYTES;
      for (
        let noted = performance.now();
        performance.now() - begun < LOAD_MS || (await position()) < wanted;
        round++
      ) {
        await load.query('update hot set n = n + 1');
        if (round % 5 === 0) await load.query('vacuum hot');
        if (round % 20 === 7) await load.query('create table passing as select * from hot');
        if (round % 20 === 17) await load.query('drop table passing');
        if (round === 40) await load.query('vacuum (truncate) cut');
        if (performance.now() - noted < Math.max(2000, LOAD_MS / 15)) continue;
        noted = performance.now();
        await note('load');
      }
      const end = await position();
      await eventually(
        'the vacuum to be done',
        async () => {
          const all = await nodes();
          return all.every(({ gcLsn, vacuum }) => gcLsn + MIB > end && vacuum.state === 'idle');
        },
        120_000,
      );
      await sleep(1500); // RocksDB merges, and the nodes measure
      return note('settled');
    };
    const first = await loadAndSettle();
    const second = await loadAndSettle();
    console.log(
      `      The node with the most on disk, in MiB:\n        |     s | written | log | pages | all | versions | phase |\n        ${curve.join('\n        ')}`,
    );
    const wal = (await position()) - from;
    assert.ok(
      second < first * 1.3 + 8 * MIB,
      `disk use goes on growing: ${mib(first)} MiB, then ${mib(second)} MiB`,
    );
    assert.ok(second < wal, `${mib(second)} MiB on disk after ${mib(wal)} MiB of log`);

    for (const { id, gcLsn, logStart, vacuum } of await nodes()) {
      assert.ok(gcLsn > startLsn, `node ${id}: the horizon ${gcLsn} is not beyond the start ${startLsn}`);
      assert.ok(logStart > from, `node ${id}: its log begins at ${logStart}`);
      assert.equal(vacuum.lastError, null);
    }
    // A lease of three seconds may lapse for a moment on a machine that is busy with something else.
    await eventually('every node knows of one lease, the primary’s', async () =>
      (await nodes()).every(
        ({ vacuum: { leases } }) => leases.length === 1 && /^primary, epoch \d+$/.test(leases[0]!.name),
      ),
    );
    // Blocks of these tables are absent still, and asked for at the start LSN.
    const { pages } = (await cluster.status()).computes[0]!;
    const seen = await fingerprint();
    assert.equal((await cluster.sql('select count(*)::int as n, min(filler) = repeat(md5(\'1\'), 20) as first from cut where id = 1'))[0]!['n'], 1); // prettier-ignore
    const after = (await cluster.status()).computes[0]!.pages!;
    assert.ok(after.blocksServed > pages!.blocksServed + 300, 'the cold tables were not absent any more');
    assert.equal(after.errors, 0);

    await cluster.stop();
    cluster.eraseCompute();
    await withStorageSettings(SETTINGS, () => cluster.start());
    assert.deepEqual(await fingerprint(), seen, 'a new compute reads something else');
    await cluster.sql('create extension if not exists amcheck');
    await cluster.sql(`select bt_index_check(c.oid, c.relname !~ '^pg_') from pg_class c where c.relkind = 'i' and c.relpersistence <> 't'`); // prettier-ignore
  });
});
