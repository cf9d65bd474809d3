/**
 * What rots on one node's disk is found, named and put right from the others while clients work: a page with a right checksum and wrong content, a block
 * or a file of RocksDB, the log. Where no majority says what is right, nothing is changed until there is one.
 */
import { strict as assert } from 'node:assert';
import {
  closeSync,
  existsSync,
  openSync,
  promises as fs,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import type pg from 'pg';
import { parseLsn, type Lsn } from '../../src/engine/lsn.js';
import { basePages, baseSlruPages } from '../../src/engine/pages/base.js';
import { Kind, PageVersionKey, SlruVersionKey, type VersionedKey } from '../../src/engine/pages/keys.js';
import { PageStore } from '../../src/engine/pages/store.js';
import { decodeImage, encodeImage } from '../../src/engine/pages/values.js';
import type { NodeStatus } from '../../src/net/node-status.js';
import { auditBank, createBank, runBank, type BankResult } from '../helpers/bank.js';
import { eventually, TestCluster } from '../helpers/cluster.js';
import { withStorageSettings } from '../helpers/storage-settings.js';

const SETTINGS = {
  scrub: { intervalMs: 2000, pagesIntervalMs: 200, dutyPercent: 60 },
  // Small, so that there are files to damage.
  pages: { memtableBytes: 1024 * 1024 },
  logFileBytes: 1024 * 1024,
};

interface Rel {
  spcOid: number;
  dbOid: number;
  relNumber: number;
}

describe('e2e: scrub', function () {
  this.timeout(400_000);
  let cluster: TestCluster;
  let watcher: pg.Client;
  let load: Promise<BankResult>;
  let quiet: Rel;
  const stop = new AbortController();

  before(async () => {
    cluster = await withStorageSettings(SETTINGS, () => TestCluster.start());
    watcher = await cluster.client();
    await createBank(watcher);
    await watcher.query(
      `create table quiet as select g as id, repeat(md5(g::text), 10) as filler from generate_series(1, 8000) g; checkpoint`,
    );
    const { rows } = await watcher.query(
      `select 1663 as "spcOid", oid::int as "dbOid", pg_relation_filenode('quiet')::int as "relNumber" from pg_database where datname = 'postgres'`,
    );
    quiet = rows[0] as Rel;
    const clients = await Promise.all(Array.from({ length: 2 }, () => cluster.client()));
    load = runBank(clients, 1_000_000, stop.signal);
  });
  after(async () => {
    stop.abort();
    await cluster?.destroy();
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await cluster?.logs());
  });

  const folder = (id: string): string => cluster.storageNodes.find((node) => node.id === id)!.dir;
  const start = (id: string): Promise<void> => withStorageSettings(SETTINGS, () => cluster.startStorage(id));

  const status = (id: string): Promise<NodeStatus> => cluster.withNode(id, (client) => client.status());

  async function untilStatus(
    id: string,
    what: string,
    condition: (status: NodeStatus) => boolean,
  ): Promise<NodeStatus> {
    return eventually(
      `node ${id}: ${what}`,
      async () => {
        const now = await status(id);
        return condition(now) && now;
      },
      120_000,
    );
  }

  /** Block 5 of the quiet table as of `lsn`, as the node serves it. */
  async function block(id: string, lsn: Lsn): Promise<Buffer> {
    return cluster.withNode(id, async (client) => {
      await client.waitApplied({ lsn, timeoutMs: 60_000 });
      return client.getPages({ ...quiet, fork: 0, blkno: 5, count: 1, lsn });
    });
  }

  /** Whether two nodes serve it alike, as of one LSN: a vacuum may come by between two. */
  async function same(one: string, other: string): Promise<boolean> {
    const at = parseLsn((await cluster.status()).volume.commitLsn!);
    return (await block(one, at)).equals(await block(other, at));
  }

  /** One bit of a stored page, or the size of a relation, the checksums of RocksDB put right. The node must not run. */
  async function rot(id: string, what: 'block' | 'clog' | 'size'): Promise<void> {
    const store = await PageStore.open(path.join(folder(id), 'pages'));
    try {
      const at = store.appliedLsn;
      const batch = store.parts.db.batch();
      if (what === 'size') {
        const fork = store.parts.forks.current(0, quiet, 0);
        fork.grow(fork.nblocks + 1, at);
        store.parts.forks.put(batch, fork);
        batch.write(true);
        return;
      }
      const [found] =
        what === 'block' ? basePages(store, quiet, 0, 5, 1, at) : baseSlruPages(store, 'xact', 0, 1, at);
      const key: VersionedKey =
        what === 'block'
          ? new PageVersionKey().setPage(0, quiet, 0, 5)
          : new SlruVersionKey().setPage(0, 'xact', 0);
      const page = Buffer.alloc(8192);
      decodeImage(found!.image, page);
      page[8000]! ^= 0x10;
      batch.put(key.set(found!.version, Kind.coalesced), encodeImage(page));
      batch.write(true);
    } finally {
      await store.close();
    }
  }

  function flip(file: string, at: number): void {
    const fd = openSync(file, 'r+');
    const byte = Buffer.alloc(1);
    readSync(fd, byte, 0, 1, at);
    byte[0]! ^= 0x40;
    writeSync(fd, byte, 0, 1, at);
    closeSync(fd);
  }

  async function largest(dir: string, pattern: RegExp): Promise<string> {
    const names = (await fs.readdir(dir))
      .filter((name) => pattern.test(name))
      .map((name) => path.join(dir, name));
    assert.ok(names.length > 0, `no ${pattern} in ${dir}`);
    return names.sort((a, b) => statSync(b).size - statSync(a).size)[0]!;
  }

  /** The node says why, never ceases to vote, copies its pages from a peer, and ends with the same ones and nothing set aside. */
  async function rebuilt(id: string, why: RegExp): Promise<void> {
    await untilStatus(id, 'pages made anew', ({ voter, rebuild, metrics, appliedLsn }) => {
      assert.ok(voter, 'it does not vote');
      return metrics['rebuildBytes']! > 0 && rebuild === null && appliedLsn > 0;
    });
    assert.match(await fs.readFile(path.join(cluster.layout.root, 'log', `storage-${id}.log`), 'utf8'), why);
    assert.ok(!existsSync(path.join(folder(id), 'pages.damaged')), 'the damaged pages are still there');
    assert.ok(await same(id, '2'));
  }

  it('compares pages that change all the time, and finds no difference', async () => {
    for (const id of ['1', '2', '3']) {
      const { scrub } = await untilStatus(id, 'a pass', (s) => s.scrub.passes >= 1);
      assert.deepEqual([scrub.pagesDiffering, scrub.lastError, scrub.findings], [0, null, []]);
      assert.ok(scrub.pagesCompared > 500 && scrub.bytesVerified > 1024 * 1024, JSON.stringify(scrub));
      assert.ok(Date.now() - Date.parse(scrub.lastPassAt!) < 60_000);
    }
  });

  it('names a page that is wrong on one node, and repairs it from the majority', async () => {
    await cluster.killStorage('2', 'SIGTERM');
    await rot('2', 'block');
    await rot('2', 'clog');
    await start('2');
    const { scrub, metrics } = await untilStatus('2', 'two repairs', (s) => s.scrub.pagesRepaired >= 2);
    const named = scrub.findings.map(({ what, nodes, verdict }) => [what, nodes.join(), verdict]);
    const { spcOid, dbOid, relNumber } = quiet;
    assert.ok(named.some((f) => f.join() === `relation ${spcOid}/${dbOid}/${relNumber} fork 0 block 5,2,repaired`), JSON.stringify(named)); // prettier-ignore
    assert.ok(
      named.some((f) => f.join() === 'page 0 of xact,2,repaired'),
      JSON.stringify(named),
    );
    assert.equal(metrics['scrubPagesRepaired'], 2);
    assert.ok(await same('2', '1'));
    const later = await untilStatus('2', 'another pass', (s) => s.scrub.passes >= scrub.passes + 2);
    assert.equal(later.scrub.pagesDiffering, 2, 'it differed again');
  });

  it('changes nothing while no majority says what is right, and does so once there is one', async () => {
    await cluster.killStorage('2', 'SIGTERM');
    await rot('2', 'block');
    await cluster.killStorage('3', 'SIGTERM');
    await start('2');
    const wrong = await untilStatus('2', 'a dispute', (s) => s.scrub.pagesDisputed >= 1);
    assert.deepEqual(wrong.scrub.findings[0]!.nodes.toSorted(), ['1', '2']);
    assert.equal(wrong.scrub.pagesRepaired, 0);
    assert.ok(!(await same('2', '1')));
    await untilStatus('1', 'the dispute', (s) => s.scrub.pagesDisputed >= 1);
    const reports = (await cluster.status()).storage;
    for (const id of ['1', '2'])
      assert.match(reports.find((r) => r.id === id)!.problem!, /block 5 .* no majority tells which is right/);
    await start('3');
    await untilStatus('2', 'the repair', (s) => s.scrub.pagesRepaired === 1);
    for (const id of ['1', '2']) await untilStatus(id, 'no dispute', (s) => s.scrub.disputed.length === 0);
    assert.ok(await same('2', '3'));
  });

  it('rebuilds the pages of a node with a damaged block, which votes on meanwhile', async () => {
    await cluster.killStorage('3', 'SIGTERM');
    const file = await largest(path.join(folder('3'), 'pages'), /\.sst$/);
    flip(file, Math.floor(statSync(file).size / 2));
    await start('3');
    await rebuilt('3', /are made anew from node \d: .*damaged: Corruption/);
  });

  it('makes the pages of a node anew whose list of relations is not that of the majority', async () => {
    await cluster.killStorage('3', 'SIGTERM');
    await rot('3', 'size');
    await start('3');
    await rebuilt(
      '3',
      /are made anew from node \d: the lists of relations and facts as of \S+ differ: node 3 /,
    );
  });

  it('rebuilds the pages of a node whose store cannot even be opened', async () => {
    await cluster.killStorage('1', 'SIGKILL');
    rmSync(await largest(path.join(folder('1'), 'pages'), /\.sst$/));
    await start('1');
    await rebuilt('1', /are rebuilt from its peers: .*damaged: /);
    await cluster.killStorage('1', 'SIGKILL');
    flip(await largest(path.join(folder('1'), 'pages'), /^MANIFEST/), 40);
    await start('1');
    await rebuilt('1', /are rebuilt from its peers: .*damaged: Corruption/);
  });

  it('heals the log of a node that goes on running', async () => {
    const { logStart, scl } = await status('2');
    assert.ok(scl - logStart > 3 * 1024 * 1024);
    const [oldest] = (await fs.readdir(path.join(folder('2'), 'log'))).sort();
    flip(path.join(folder('2'), 'log', oldest!), 500_000);
    const { damaged } = await untilStatus(
      '2',
      'healed',
      (s) => s.catchUp.healedBytes > 0 && s.damaged.length === 0,
    );
    assert.deepEqual(damaged, []);
  });

  it('without an error at any client, and nothing is lost', async () => {
    stop.abort();
    const { acknowledged, unknown, errors } = await load;
    assert.deepEqual(errors, []);
    await auditBank(watcher, acknowledged, unknown);
  });
});
