/**
 * B-tree redo against a real PostgreSQL: for a workload that makes it write every record type, each replayed page equals the image that
 * PostgreSQL logged for it after the change (wal_consistency_checking), and at the end the files on disk; and damaged records or pages give a
 * coded error, nothing else.
 */
import { strict as assert } from 'node:assert';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { isDbError } from '../../../src/engine/errors.js';
import { parseLsn, type Lsn } from '../../../src/engine/lsn.js';
import {
  BTP_HAS_GARBAGE,
  BTP_INCOMPLETE_SPLIT,
  BTP_LEAF,
  BTP_ROOT,
  BTP_SPLIT_END,
  btCycleId,
  btFlags,
  parseBtreePage,
  setBtCycleId,
  setBtFlags,
} from '../../../src/engine/page/btree.js';
import { BLCKSZ } from '../../../src/engine/page/constants.js';
import { applyRecord } from '../../../src/engine/redo/apply.js';
import { btreeTable } from '../../../src/engine/redo/btree.js';
import { comparePages } from '../../../src/engine/redo/verify.js';
import { Rmgr, type BlockRef, type WalRecord } from '../../../src/engine/wal/types.js';
import { startPlainPostgres, type PlainPostgres } from '../../helpers/plain-postgres.js';
import { CONTEXT, replayBtree, type Replay, type Sample } from './btree-log.js';
import { runBtreeWorkload } from './btree-workload.js';

const TYPES = Object.values(btreeTable.ops).map((op) => op.name);

/** Forms of records that take different paths, beyond the types themselves. */
const FORMS = [
  'SPLIT_L page', 'SPLIT_L page at the split', 'SPLIT_L page with posting list', 'SPLIT_L level 0', 'SPLIT_L level 2',
  'SPLIT_R page', 'SPLIT_R page at the split', 'SPLIT_R page with posting list at the split', 'SPLIT_R level 0', 'SPLIT_R level 2',
  'NEWROOT level 0', 'NEWROOT level 1', 'NEWROOT level 2', 'NEWROOT level 3', 'UNLINK_PAGE level 0', 'UNLINK_PAGE level 1',
  'UNLINK_PAGE level 2', 'UNLINK_PAGE leftmost', 'UNLINK_PAGE inner', 'UNLINK_PAGE_META level 0', 'UNLINK_PAGE_META level 1',
  'DELETE few deletions', 'DELETE many deletions', 'DELETE no deletions and updates', 'DELETE many deletions and updates',
  'VACUUM few deletions', 'VACUUM many deletions', 'VACUUM no deletions and updates', 'VACUUM many deletions and updates',
]; // prettier-ignore

describe('B-tree redo against PostgreSQL', function () {
  this.timeout(60_000);
  let pg: PlainPostgres;
  let files: Map<number, string>;
  let replay: Replay;

  before(async () => {
    pg = await startPlainPostgres({
      settings: {
        wal_consistency_checking: 'btree',
        full_page_writes: 'off',
        autovacuum: 'off',
        max_wal_size: '8GB',
        wal_keep_size: '8GB',
        checkpoint_timeout: '1h',
      },
    });
    const start = await walPosition(pg);
    files = await runBtreeWorkload(pg);
    await pg.sql('CHECKPOINT');
    replay = await replayBtree(pg.dataDir, new Set(files.keys()), start, await walPosition(pg), 6);
  });

  after(async () => {
    await pg.destroy();
  });

  it('gives the page that PostgreSQL had, after every record', () => {
    assert.deepEqual(replay.mismatches, []);
    assert.ok(replay.compared > 20_000, `only ${replay.compared} pages were compared`);
  });

  it('was tried with every record type, and the forms of each that take different paths', () => {
    const missing = [...TYPES, ...FORMS].filter((form) => !replay.seen.has(form));
    assert.deepEqual(missing, [], `of ${[...replay.seen].map(([form, n]) => `${form}: ${n}`).join(', ')}`);
  });

  it('ends with the pages that PostgreSQL has on disk', async () => {
    const [row] = await pg.sql('SELECT oid FROM pg_database WHERE datname = current_database()');
    for (const [file, name] of files) {
      const disk = await fs.readFile(path.join(pg.dataDir, 'base', String(row!['oid']), String(file)));
      for (let blkno = 0; blkno * BLCKSZ < disk.length; blkno++) {
        const theirs = disk.subarray(blkno * BLCKSZ, (blkno + 1) * BLCKSZ);
        const ours = replay.pages.get(`${file}/${blkno}`) ?? Buffer.alloc(BLCKSZ);
        const difference = comparePages(Rmgr.Btree, ours, theirs, blkno);
        assert.equal(difference, null, `${name} block ${blkno}: ${difference?.what}`);
      }
    }
  });

  it('reads pages as pageinspect does', async () => {
    await pg.sql('CREATE EXTENSION IF NOT EXISTS pageinspect');
    for (const [file, name] of files) {
      await sameMetapage(pg, name);
      for (const blkno of [1, 2, 3, 5].filter((b) => replay.pages.has(`${file}/${b}`))) {
        await sameAsPageinspect(pg, name, blkno);
      }
    }
  });

  it('treats the vacuum cycle id and the garbage hint, which no image shows, as PostgreSQL does', () => {
    const outcome = (type: string): { cycleId: number; flags: number } => {
      const sample = replay.samples.find((s) => s.type === type)!;
      const page = Buffer.from(sample.before);
      setBtCycleId(page, 77);
      setBtFlags(page, btFlags(page) | BTP_HAS_GARBAGE | BTP_SPLIT_END);
      applyRecord(page, sample.rec, sample.block, CONTEXT);
      return { cycleId: btCycleId(page), flags: btFlags(page) & ~BTP_ROOT };
    };
    const untouched = BTP_LEAF | BTP_HAS_GARBAGE | BTP_SPLIT_END;
    assert.deepEqual(outcome('INSERT_LEAF block 0'), { cycleId: 77, flags: untouched });
    assert.deepEqual(outcome('DELETE block 0'), { cycleId: 77, flags: BTP_LEAF | BTP_SPLIT_END });
    assert.deepEqual(outcome('DEDUP block 0'), { cycleId: 77, flags: BTP_LEAF | BTP_SPLIT_END });
    assert.deepEqual(outcome('VACUUM block 0'), { cycleId: 0, flags: BTP_LEAF | BTP_SPLIT_END });
    assert.deepEqual(outcome('SPLIT_R block 0'), { cycleId: 0, flags: BTP_LEAF | BTP_INCOMPLETE_SPLIT });
  });

  it('refuses damaged records and pages with a coded error', () => {
    const samples = replay.samples;
    assert.ok(samples.length > 60, `${samples.length} samples`);
    const outcomes = { changed: 0, refused: 0 };
    const damage = fc.record({
      sample: fc.nat(samples.length - 1),
      where: fc.constantFrom('main', 'data', 'header', 'pointers', 'page', 'cut' as const),
      edits: fc.array(fc.tuple(fc.nat(BLCKSZ - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
    });
    fc.assert(
      fc.property(damage, ({ sample, where, edits }) => {
        outcomes[applyDamaged(samples[sample]!, where, edits)]++;
      }),
      { numRuns: 20_000 },
    );
    assert.ok(outcomes.refused > 1000 && outcomes.changed > 1000, JSON.stringify(outcomes));
  });
});

async function walPosition(pg: PlainPostgres): Promise<Lsn> {
  const [row] = await pg.sql('SELECT pg_current_wal_insert_lsn() AS lsn');
  return parseLsn(String(row!['lsn']));
}

type Edits = [number, number][];

/** Applies a sample with bytes of record or page changed, on a page that lies between guard bytes. */
function applyDamaged(sample: Sample, where: string, edits: Edits): 'changed' | 'refused' {
  const around = Buffer.alloc(BLCKSZ + 128, 0xa5);
  const page = around.subarray(64, 64 + BLCKSZ);
  if (sample.block.willInit) page.fill(0);
  else sample.before.copy(page);
  const { rec, block } = damaged(sample, where, edits, page);
  const op = btreeTable.ops[rec.info & btreeTable.opMask]!;
  try {
    op.check?.(rec);
    op.redo(page, rec, block, CONTEXT);
    return 'changed';
  } catch (err) {
    assert.ok(isDbError(err) && /^(REDO|WAL)_/.test(err.code), `${sample.type}: ${String(err)}`);
    return 'refused';
  } finally {
    assert.ok(
      around.subarray(0, 64).every((b) => b === 0xa5) && around.subarray(-64).every((b) => b === 0xa5),
    );
  }
}

function damaged(
  sample: Sample,
  where: string,
  edits: Edits,
  page: Buffer,
): { rec: WalRecord; block: BlockRef } {
  const main = Buffer.from(sample.rec.mainData);
  let data = Buffer.from(sample.block.data);
  const spots: Record<string, [Buffer, number, number]> = {
    main: [main, 0, main.length],
    data: [data, 0, data.length],
    header: [page, 8, 16],
    pointers: [page, 24, 400],
    page: [page, 0, BLCKSZ],
  };
  const spot = spots[where];
  if (spot === undefined) data = data.subarray(0, data.length === 0 ? 0 : edits[0]![0] % data.length);
  else if (spot[2] > 0) for (const [at, byte] of edits) spot[0][spot[1] + (at % spot[2])] = byte;
  const block = { ...sample.block, data };
  const blocks = sample.rec.blocks.map((b) => (b.id === block.id ? block : b));
  return { rec: { ...sample.rec, mainData: main, blocks }, block };
}

async function sameMetapage(pg: PlainPostgres, index: string): Promise<void> {
  const [raw] = await pg.sql(`SELECT get_raw_page('${index}', 0) AS page`);
  const [meta] = await pg.sql(
    `SELECT version, root::int, level::int, fastroot::int AS "fastRoot", fastlevel::int AS "fastLevel",
            last_cleanup_num_delpages::int AS "lastCleanupDeletedPages", allequalimage AS "allEqualImage"
       FROM bt_metap('${index}')`,
  );
  assert.deepEqual(parseBtreePage(raw!['page'] as Buffer).meta, { ...meta }, index);
}

async function sameAsPageinspect(pg: PlainPostgres, index: string, blkno: number): Promise<void> {
  const [raw] = await pg.sql(`SELECT get_raw_page('${index}', ${blkno}) AS page`);
  const page = raw!['page'] as Buffer;
  const info = parseBtreePage(page);
  const [stats] = await pg.sql(
    `SELECT btpo_prev::int AS prev, btpo_next::int AS next, btpo_level::int AS level, btpo_flags AS flags, type
       FROM bt_page_stats('${index}', ${blkno})`,
  );
  assert.deepEqual(
    { prev: info.prev, next: info.next, level: info.level },
    { prev: stats!['prev'], next: stats!['next'], level: stats!['level'] },
    `${index} ${blkno}`,
  );
  if (stats!['type'] === 'd' || stats!['type'] === 'D') return;
  const rows = await pg.sql(
    `SELECT itemoffset, coalesce(dead, false) AS dead, coalesce(tids, ARRAY[htid])::text AS tids, data
       FROM bt_page_items(get_raw_page('${index}', ${blkno}))`,
  );
  const ours = [...(info.highKey ? [info.highKey] : []), ...info.items].map((t) => ({
    itemoffset: t.offnum,
    dead: t.dead,
    tids:
      t.tids.length === 0 ? '{NULL}' : `{${t.tids.map((tid) => `"(${tid.block},${tid.offset})"`).join()}}`,
    data: t.key.toString('hex').replace(/..(?=.)/g, '$& '),
  }));
  assert.deepEqual(ours, rows, `${index} ${blkno}`);
}
