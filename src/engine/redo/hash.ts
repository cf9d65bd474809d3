/**
 * RM_HASH_ID (access/hash/hash_xlog.c, PostgreSQL 18): the table of all record types, and the handlers of those that make an index and fill it.
 * Which page a handler changes is told by the block id; the form check has made sure that only the ids of the record type occur.
 */
import {
  HASH_BITMAP_BYTES,
  INVALID_BLOCK,
  LH_BITMAP_PAGE,
  LH_BUCKET_PAGE,
  LH_META_PAGE,
  LH_OVERFLOW_PAGE,
  HASH_TUPLE_SIZE,
  addHashBitmap,
  addHashSpares,
  checkHashPageType,
  hashBitmapInit,
  hashMaxBucket,
  hashMetaInit,
  hashPageInit,
  hashTuples,
  setBitmapBit,
  setHashFirstFree,
  setHashNext,
  setHashTuples,
} from '../page/hash.js';
import { addItem } from '../page/items.js';
import { Rmgr, type WalRecord } from '../wal/types.js';
import { deleteTuples, vacuumOnePage } from './hash-delete.js';
import { badRecord, blockOf, boolAt, checkHashTuple, hasBlock, hashOp } from './hash-form.js';
import { splitAllocatePage, splitCleanup, splitComplete, splitPage } from './hash-split.js';
import { movePageContents, squeezePage } from './hash-squeeze.js';
import { B0, B1, B2, B3, B4 } from './record-form.js';
import { redoError, type PageRedo, type RmgrTable } from './types.js';

export { maskHash } from './hash-mask.js';

/** xl_hash_init_meta_page { num_tuples f64, procid u32, ffactor u16 }. Block 0: the metapage, of the main or the init fork. */
const redoInitMeta: PageRedo = (page, rec) => {
  const main = rec.mainData;
  hashMetaInit(page, main.readDoubleLE(0), main.readUInt32LE(8), main.readUInt16LE(12));
};

/** _hash_init never asks for fewer rows a bucket. */
const MIN_FFACTOR = 10;

function checkInitMeta(rec: WalRecord): void {
  const tuples = rec.mainData.readDoubleLE(0);
  const ffactor = rec.mainData.readUInt16LE(12);
  if (!(tuples >= 0) || ffactor < MIN_FFACTOR)
    throw badRecord(`a hash index of ${tuples} tuples, ${ffactor} a bucket`);
  if (rec.blocks[0]!.blkno !== 0) throw badRecord(`block ${rec.blocks[0]!.blkno} as metapage`);
}

/** xl_hash_init_bitmap_page { bmsize u16 }. Blocks: 0 the bitmap page, right after the first buckets; 1 the metapage. */
const redoInitBitmap: PageRedo = (page, _rec, block) => {
  if (block.id === 0) {
    hashBitmapInit(page);
    return;
  }
  checkHashPageType(page, LH_META_PAGE);
  addHashBitmap(page, (hashMaxBucket(page) + 2) >>> 0);
};

function checkBitmapSize(rec: WalRecord): void {
  const bytes = rec.mainData.readUInt16LE(0);
  if (bytes !== HASH_BITMAP_BYTES)
    throw redoError(
      'REDO_UNKNOWN_RECORD',
      `a hash bitmap of ${bytes} bytes; pages of 8 kB have ${HASH_BITMAP_BYTES}`,
    );
}

/** xl_hash_insert { offnum u16 }. Blocks: 0 the bucket or overflow page, its data the tuple; 1 the metapage. */
const redoInsert: PageRedo = (page, rec, block) => {
  if (block.id === 0) {
    checkHashPageType(page, LH_BUCKET_PAGE | LH_OVERFLOW_PAGE);
    checkHashTuple(block.data, 0);
    addItem(page, block.data, rec.mainData.readUInt16LE(0));
    return;
  }
  checkHashPageType(page, LH_META_PAGE);
  setHashTuples(page, hashTuples(page) + 1);
};

/**
 * xl_hash_add_ovfl_page { bmsize u16, bmpage_found bool }. Blocks: 0 the overflow page, data its bucket u32; 1 the page before it; 2 the bitmap page
 * in which it was free (bmpage_found), data the bit u32; else perhaps 3, a new bitmap page; 4 the metapage, data hashm_firstfree u32.
 */
const redoAddOverflow: PageRedo = (page, rec, block) => {
  switch (block.id) {
    case 0:
      hashPageInit(page, LH_OVERFLOW_PAGE, blockOf(rec, 1).blkno, block.data.readUInt32LE(0));
      return;
    case 1:
      checkHashPageType(page, LH_BUCKET_PAGE | LH_OVERFLOW_PAGE);
      setHashNext(page, blockOf(rec, 0).blkno);
      return;
    case 2:
      checkHashPageType(page, LH_BITMAP_PAGE);
      setBitmapBit(page, block.data.readUInt32LE(0), true);
      return;
    case 3:
      hashBitmapInit(page);
      return;
    default:
      checkHashPageType(page, LH_META_PAGE);
      setHashFirstFree(page, block.data.readUInt32LE(0));
      if (boolAt(rec, 2)) return;
      addHashSpares(page, 1);
      if (!hasBlock(rec, 3)) return;
      addHashBitmap(page, blockOf(rec, 3).blkno);
      addHashSpares(page, 1);
  }
};

function checkAddOverflow(rec: WalRecord): void {
  checkBitmapSize(rec);
  const overflow = blockOf(rec, 0);
  const bucket = overflow.data.readUInt32LE(0);
  if (bucket === INVALID_BLOCK || overflow.blkno === blockOf(rec, 1).blkno)
    throw badRecord(`overflow page ${overflow.blkno} of bucket ${bucket} follows itself or none`);
}

/** xl_hash_update_meta_page { ntuples f64 }. Block 0: the metapage. */
const redoUpdateMeta: PageRedo = (page, rec) => {
  checkHashPageType(page, LH_META_PAGE);
  setHashTuples(page, rec.mainData.readDoubleLE(0));
};

/** Named here, because they are looked up for every record. */
const INSERT_DATA = { 0: HASH_TUPLE_SIZE };
const OVERFLOW_DATA = { 0: 4, 2: 4, 4: 4 };
const insertData = (): Record<number, number> => INSERT_DATA;
const overflowData = (): Record<number, number> => OVERFLOW_DATA;

export const hashTable: RmgrTable = {
  rmid: Rmgr.Hash,
  name: 'Hash',
  opMask: 0xf0,
  ops: {
    0x00: hashOp('INIT_META_PAGE', redoInitMeta, { main: 14, need: B0, init: B0, more: checkInitMeta }),
    0x10: hashOp('INIT_BITMAP_PAGE', redoInitBitmap, {
      main: 2,
      need: B0 | B1,
      init: B0,
      more: checkBitmapSize,
    }),
    0x20: hashOp('INSERT', redoInsert, { main: 2, need: B0 | B1, data: insertData }),
    0x30: hashOp('ADD_OVFL_PAGE', redoAddOverflow, {
      main: 3,
      need: B0 | B1 | B4,
      init: B0 | B3,
      also(rec) {
        if (boolAt(rec, 2)) return B2;
        return hasBlock(rec, 3) ? B3 : 0;
      },
      data: overflowData,
      more: checkAddOverflow,
    }),
    0x40: splitAllocatePage,
    0x50: splitPage,
    0x60: splitComplete,
    0x70: movePageContents,
    0x80: squeezePage,
    0x90: deleteTuples,
    0xa0: splitCleanup,
    0xb0: hashOp('UPDATE_META_PAGE', redoUpdateMeta, { main: 8, need: B0 }),
    0xc0: vacuumOnePage,
  },
};
