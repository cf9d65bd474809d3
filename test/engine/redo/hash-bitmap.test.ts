/**
 * What this proves: redo of hash indexes is right beyond the first bitmap page too, and hash pages are read as PostgreSQL's pageinspect reads them.
 * A second bitmap page is due after 32767 overflow pages, 13 million rows. So a stopped server's empty index is made to believe that it
 * has them, in the server's file and in the base of the replay alike; from there on everything is PostgreSQL's own doing.
 */
import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { readPageLsn } from '../../../src/engine/lsn.js';
import { parseHashPage } from '../../../src/engine/page/hash.js';
import { comparePages } from '../../../src/engine/redo/verify.js';
import { Rmgr } from '../../../src/engine/wal/types.js';
import { startPlainPostgres, type PlainPostgres } from '../../helpers/plain-postgres.js';
import { PageMap } from '../../helpers/redo-pages.js';
import { CTX } from '../../helpers/redo-records.js';
import { coverageTable, replay, shutdownCheckpoint } from '../../helpers/redo-replay.js';

/** Bits of a bitmap page; as many overflow pages, the bitmap page itself one of them, the index claims to have. */
const BITS = 32768;
/** Metapage, two buckets, then the overflow pages: the block that the second bitmap page must become. */
const SECOND_BITMAP = 3 + BITS;
const SPARES_1 = 24 + 52 + 4;
const FIRST_FREE = 24 + 40;

describe('hash redo beyond the first bitmap page', function () {
  this.timeout(60_000);
  let server: PlainPostgres;
  const settings = {
    autovacuum: 'off',
    full_page_writes: 'off',
    wal_consistency_checking: 'all',
    max_wal_size: '8GB',
    wal_keep_size: '8GB',
  };
  before(async () => {
    server = await startPlainPostgres({ settings });
  });
  after(async () => {
    await server.destroy();
  });

  it('makes the same pages', async () => {
    await server.sql('CREATE EXTENSION pageinspect');
    await server.sql('CREATE TABLE crowd (k int, n int)');
    await server.sql('VACUUM crowd');
    await server.sql('CREATE INDEX crowd_k ON crowd USING hash (k)');
    const [where] = await server.sql("SELECT pg_relation_filepath('crowd_k') AS file");
    const file = path.join(server.dataDir, String(where!['file']));
    const fork = `1663/${String(where!['file']).split('/').slice(1).join('/')}/0`;
    await server.stop();
    const from = await shutdownCheckpoint(server.dataDir);
    const pages = await PageMap.fromDataDir(server.dataDir);
    const index = pages.forks.get(fork)!;
    await pretend(file, index);

    await server.start();
    const fill = 'INSERT INTO crowd SELECT 1, n FROM generate_series(1, 427) n';
    await server.sql(fill);
    await server.sql('DELETE FROM crowd WHERE n > 400');
    await server.sql('VACUUM crowd');
    await server.sql(fill.replace('1, 427', '501, 620'));
    await comparePageinspect(server);
    await server.sql('DELETE FROM crowd WHERE n > 507');
    await server.sql('VACUUM crowd');
    await server.stop();

    const report = await replay(server.dataDir, pages, from, await shutdownCheckpoint(server.dataDir), CTX);
    assert.equal(report.mismatchCount, 0, report.mismatches.join('\n'));
    for (const trait of ['Hash/ADD_OVFL_PAGE with a bitmap page', 'Hash/ADD_OVFL_PAGE of a free page'])
      assert.ok(report.traits.has(trait), `${trait} not seen:\n${coverageTable(report)}`);
    assert.deepEqual(parseHashPage(index[0]!).meta!.bitmaps, [3, SECOND_BITMAP]);
    assert.equal(parseHashPage(index[SECOND_BITMAP]!).freePages, 1);
    // The mask hides a free page.
    assert.ok(index[SECOND_BITMAP + 1]!.equals(await readBlock(file, SECOND_BITMAP + 1)));
    for (const blkno of [0, 1, 2, 3, SECOND_BITMAP, SECOND_BITMAP + 1]) {
      const theirs = await readBlock(file, blkno);
      assert.equal(comparePages(Rmgr.Hash, index[blkno]!, theirs, blkno), null, `block ${blkno}`);
      assert.equal(readPageLsn(index[blkno]!), readPageLsn(theirs), `LSN of block ${blkno}`);
    }
  });
});

/** Sets the counters of the metapage, and lets file and base have the blocks in between, which nobody will read. */
async function pretend(file: string, index: Buffer[]): Promise<void> {
  const meta = index[0]!;
  meta.writeUInt32LE(BITS, SPARES_1);
  meta.writeUInt32LE(BITS, FIRST_FREE);
  const zero = Buffer.alloc(8192);
  while (index.length < SECOND_BITMAP) index.push(zero);
  const handle = await fs.open(file, 'r+');
  await handle.write(meta, 0, 8192, 0);
  await handle.truncate(SECOND_BITMAP * 8192);
  await handle.close();
}

async function readBlock(file: string, blkno: number): Promise<Buffer> {
  const handle = await fs.open(file, 'r');
  const { buffer } = await handle.read(Buffer.alloc(8192), 0, 8192, blkno * 8192);
  await handle.close();
  return buffer;
}

async function comparePageinspect(server: PlainPostgres): Promise<void> {
  const raw = async (blkno: number): Promise<Buffer> =>
    (await server.sql(`SELECT get_raw_page('crowd_k', ${blkno}) AS page`))[0]!['page'] as Buffer;
  const numbers = (value: unknown): number[] => (value as (string | number)[]).map(Number);

  const { meta } = parseHashPage(await raw(0));
  const [info] = await server.sql("SELECT * FROM hash_metapage_info(get_raw_page('crowd_k', 0))");
  assert.deepEqual(
    [meta!.version, meta!.tuples, meta!.fillFactor, meta!.maxBucket, meta!.highMask, meta!.lowMask],
    ['version', 'ntuples', 'ffactor', 'maxbucket', 'highmask', 'lowmask'].map((column) =>
      Number(info![column]),
    ),
  );
  assert.deepEqual(
    [meta!.splitpointPhase, meta!.firstFree, meta!.procOid, meta!.bitmaps.length],
    ['ovflpoint', 'firstfree', 'procid', 'nmaps'].map((column) => Number(info![column])),
  );
  assert.deepEqual(meta!.spares, numbers(info!['spares']).slice(0, meta!.spares.length));
  assert.deepEqual(meta!.bitmaps, numbers(info!['mapp']).slice(0, meta!.bitmaps.length));

  const [{ blkno }] = (await server.sql(
    "SELECT b AS blkno FROM generate_series(1, 2) b WHERE (hash_page_stats(get_raw_page('crowd_k', b))).live_items > 0",
  )) as [{ blkno: number }];
  for (const block of [blkno, SECOND_BITMAP + 1]) {
    const page = parseHashPage(await raw(block));
    const [stats] = await server.sql(`SELECT * FROM hash_page_stats(get_raw_page('crowd_k', ${block}))`);
    assert.deepEqual(
      [page.items.length, page.prev, page.next, page.bucket, page.flags],
      ['live_items', 'hasho_prevblkno', 'hasho_nextblkno', 'hasho_bucket', 'hasho_flag'].map((c) =>
        Number(stats![c]),
      ),
    );
    assert.equal(page.type, block === blkno ? 'bucket' : 'overflow');
    const items = await server.sql(
      `SELECT ctid::text, data FROM hash_page_items(get_raw_page('crowd_k', ${block}))`,
    );
    assert.deepEqual(
      page.items.map(({ tid, hash }) => [`(${tid.block},${tid.offset})`, hash]),
      items.map((row) => [row['ctid'], Number(row['data'])]),
    );
  }
  const bitmap = parseHashPage(await raw(SECOND_BITMAP));
  assert.equal(bitmap.type, 'bitmap');
  assert.equal(bitmap.freePages, 0);
}
