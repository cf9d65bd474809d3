/** Bucket splits: SPLIT_ALLOCATE_PAGE, SPLIT_PAGE, SPLIT_COMPLETE, SPLIT_CLEANUP of hash_xlog.c, PostgreSQL 18. */
import {
  LH_BUCKET_BEING_POPULATED,
  LH_BUCKET_BEING_SPLIT,
  LH_BUCKET_NEEDS_SPLIT_CLEANUP,
  LH_BUCKET_PAGE,
  LH_META_PAGE,
  LH_PAGE_HAS_DEAD_TUPLES,
  checkHashPageType,
  hashFlags,
  hashPageInit,
  setHashFlags,
  setHashMasks,
  setHashMaxBucket,
  setHashPrev,
  setHashSplitpoint,
} from '../page/hash.js';
import type { WalRecord } from '../wal/types.js';
import { badRecord, hashOp } from './hash-form.js';
import { B0, B1, B2 } from './record-form.js';
import { redoError, type PageRedo, type RedoOp } from './types.js';

/** Flags of xl_hash_split_allocate_page: which fields of the metapage follow as data of block 2. */
const UPDATE_MASKS = 0x1;
const UPDATE_SPLITPOINT = 0x2;

/**
 * xl_hash_split_allocate_page { new_bucket u32, old_bucket_flag u16, new_bucket_flag u16, flags u8 }. Blocks: 0 the old bucket, 1 the new
 * one, 2 the metapage; data of the latter: { lowmask u32, highmask u32 } and { ovflpoint u32, its spares u32 } as flags say.
 */
const redoSplitAllocate: PageRedo = (page, rec, block) => {
  const main = rec.mainData;
  const newBucket = main.readUInt32LE(0);
  switch (block.id) {
    case 0:
      checkHashPageType(page, LH_BUCKET_PAGE);
      setHashFlags(page, main.readUInt16LE(4));
      setHashPrev(page, newBucket);
      return;
    case 1:
      hashPageInit(page, main.readUInt16LE(6), newBucket, newBucket);
      return;
    default: {
      checkHashPageType(page, LH_META_PAGE);
      const flags = main[8]!;
      const { data } = block;
      let at = 0;
      setHashMaxBucket(page, newBucket);
      if ((flags & UPDATE_MASKS) !== 0) {
        setHashMasks(page, data.readUInt32LE(0), data.readUInt32LE(4));
        at = 8;
      }
      if ((flags & UPDATE_SPLITPOINT) !== 0)
        setHashSplitpoint(page, data.readUInt32LE(at), data.readUInt32LE(at + 4));
    }
  }
};

function metaUpdateLength(rec: WalRecord): Record<number, number> {
  const flags = rec.mainData[8]!;
  if ((flags & ~(UPDATE_MASKS | UPDATE_SPLITPOINT)) !== 0)
    throw redoError('REDO_UNKNOWN_RECORD', `unknown flags of a bucket split: 0x${flags.toString(16)}`);
  return { 2: ((flags & UPDATE_MASKS) !== 0 ? 8 : 0) + ((flags & UPDATE_SPLITPOINT) !== 0 ? 8 : 0) };
}

/** Throws REDO_UNKNOWN_RECORD unless a primary bucket page may have these flags then; dead tuples may be around at any time. */
function checkBucketFlags(flags: number, expected: number): void {
  if ((flags & ~LH_PAGE_HAS_DEAD_TUPLES) !== (LH_BUCKET_PAGE | expected))
    throw redoError('REDO_UNKNOWN_RECORD', `flags 0x${flags.toString(16)} for a bucket`);
}

/** xl_hash_split_complete { old_bucket_flag u16, new_bucket_flag u16 }. Blocks: 0 the old bucket, 1 the new one. */
const redoSplitComplete: PageRedo = (page, rec, block) => {
  checkHashPageType(page, LH_BUCKET_PAGE);
  setHashFlags(page, rec.mainData.readUInt16LE(block.id * 2));
};

/** No main data. Block 0: the bucket whose tuples of the new bucket are gone. */
const redoSplitCleanup: PageRedo = (page) => {
  checkHashPageType(page, LH_BUCKET_PAGE);
  setHashFlags(page, hashFlags(page) & ~LH_BUCKET_NEEDS_SPLIT_CLEANUP);
};

/** A full page of the new bucket, always as an image: there is no delta. */
const redoSplitPage: PageRedo = () => {
  throw badRecord('a page of a bucket split without an image');
};

export const splitAllocatePage: RedoOp = hashOp(
  'SPLIT_ALLOCATE_PAGE',
  redoSplitAllocate,
  {
    main: 9,
    need: B0 | B1 | B2,
    init: B1,
    data: metaUpdateLength,
    more(rec) {
      checkBucketFlags(rec.mainData.readUInt16LE(4), LH_BUCKET_BEING_SPLIT);
      checkBucketFlags(rec.mainData.readUInt16LE(6), LH_BUCKET_BEING_POPULATED);
    },
  },
  { afterImage: B0 },
);

export const splitPage: RedoOp = hashOp('SPLIT_PAGE', redoSplitPage, {
  main: 0,
  need: B0,
  more(rec) {
    if (!rec.blocks[0]!.applyImage) throw badRecord('a page of a bucket split without an image');
  },
});

export const splitComplete: RedoOp = hashOp(
  'SPLIT_COMPLETE',
  redoSplitComplete,
  {
    main: 4,
    need: B0 | B1,
    more(rec) {
      checkBucketFlags(rec.mainData.readUInt16LE(0), LH_BUCKET_NEEDS_SPLIT_CLEANUP);
      checkBucketFlags(rec.mainData.readUInt16LE(2), 0);
    },
  },
  { afterImage: B0 | B1 },
);

export const splitCleanup: RedoOp = hashOp('SPLIT_CLEANUP', redoSplitCleanup, { main: 0, need: B0 });
