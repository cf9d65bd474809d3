/** Tuples that go: DELETE (of VACUUM and of a split's cleanup) and VACUUM_ONE_PAGE of hash_xlog.c, PostgreSQL 18. */
import {
  LH_BUCKET_PAGE,
  LH_META_PAGE,
  LH_OVERFLOW_PAGE,
  LH_PAGE_HAS_DEAD_TUPLES,
  checkHashPageType,
  hashFlags,
  hashTuples,
  setHashFlags,
  setHashTuples,
} from '../page/hash.js';
import { indexMultiDelete } from '../page/items.js';
import type { WalRecord } from '../wal/types.js';
import { badRecord, boolAt, hashOp, offsetNumbers } from './hash-form.js';
import { B0, B1 } from './record-form.js';
import type { PageRedo, RedoOp } from './types.js';

function clearDeadMark(page: Buffer): void {
  setHashFlags(page, hashFlags(page) & ~LH_PAGE_HAS_DEAD_TUPLES);
}

/**
 * xl_hash_delete { clear_dead_marking bool, is_primary_bucket_page bool }. Blocks: 0 the primary bucket page for its lock, if it is
 * not 1, the page that loses tuples; data of the latter: the item numbers, u16 each.
 */
const redoDelete: PageRedo = (page, rec, block) => {
  checkHashPageType(page, LH_BUCKET_PAGE | LH_OVERFLOW_PAGE);
  indexMultiDelete(page, offsetNumbers(block.data));
  if (boolAt(rec, 0)) clearDeadMark(page);
};

/** Bytes of item numbers: their count is not logged, but there is one. */
function deletedBytes(rec: WalRecord): Record<number, number> {
  const block = rec.blocks.find((b) => b.id === 1);
  const bytes = block === undefined || block.applyImage ? 0 : block.data.length;
  if (block?.applyImage === false && (bytes === 0 || bytes % 2 !== 0))
    throw badRecord(`${bytes} bytes of item numbers to delete`);
  return { 1: bytes };
}

export const deleteTuples: RedoOp = hashOp(
  'DELETE',
  redoDelete,
  {
    main: 2,
    need: B1,
    also: (rec) => (boolAt(rec, 1) ? 0 : B0),
    lockOnly: B0,
    data: deletedBytes,
    more: (rec) => void boolAt(rec, 0),
  },
  { leaves: (_rec, block) => block.id === 0 },
);

const SIZE_OF_VACUUM_ONE_PAGE = 8;

/**
 * xl_hash_vacuum_one_page { snapshotConflictHorizon u32, ntuples u16, isCatalogRel bool, padding, offsets u16[ntuples] }. Blocks: 0 the page that
 * an insertion found full of dead tuples, 1 the metapage.
 */
const redoVacuumOnePage: PageRedo = (page, rec, block) => {
  if (block.id === 0) {
    checkHashPageType(page, LH_BUCKET_PAGE | LH_OVERFLOW_PAGE);
    indexMultiDelete(page, offsetNumbers(rec.mainData, SIZE_OF_VACUUM_ONE_PAGE));
    clearDeadMark(page);
    return;
  }
  checkHashPageType(page, LH_META_PAGE);
  setHashTuples(page, hashTuples(page) - rec.mainData.readUInt16LE(4));
};

export const vacuumOnePage: RedoOp = hashOp('VACUUM_ONE_PAGE', redoVacuumOnePage, {
  main: SIZE_OF_VACUUM_ONE_PAGE,
  longer: true,
  need: B0 | B1,
  more(rec) {
    const count = rec.mainData.readUInt16LE(4);
    boolAt(rec, 6);
    if (count === 0 || rec.mainData.length !== SIZE_OF_VACUUM_ONE_PAGE + count * 2)
      throw badRecord(`${rec.mainData.length} bytes of main data for ${count} items to delete`);
  },
});
