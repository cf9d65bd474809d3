/**
 * Tuples that move towards the front of a bucket's chain, and overflow pages that become free by it: MOVE_PAGE_CONTENTS and
 * SQUEEZE_PAGE of hash_xlog.c, PostgreSQL 18. In both, block 0 is the primary bucket page, referenced for its lock only and not at all if
 * it is the page that is written to; block 1 is that "write" page, its data u16[n] item numbers, then the n tuples for them.
 */
import {
  HASH_TUPLE_SIZE,
  INVALID_BLOCK,
  LH_BITMAP_PAGE,
  LH_BUCKET_PAGE,
  LH_META_PAGE,
  LH_OVERFLOW_PAGE,
  LH_UNUSED_PAGE,
  checkHashPageType,
  hashPageInit,
  setBitmapBit,
  setHashFirstFree,
  setHashNext,
  setHashPrev,
} from '../page/hash.js';
import { addItemBytes, indexMultiDelete } from '../page/items.js';
import type { WalRecord } from '../wal/types.js';
import { badRecord, blockOf, boolAt, checkHashTuple, hasBlock, hashOp, offsetNumbers } from './hash-form.js';
import { B0, B1, B2, B3, B4, B5, B6 } from './record-form.js';
import type { PageRedo, RedoOp } from './types.js';

const IN_CHAIN = LH_BUCKET_PAGE | LH_OVERFLOW_PAGE;

/** Bytes that `count` tuples and their item numbers take. */
function movedBytes(count: number): number {
  return count * (2 + HASH_TUPLE_SIZE);
}

function addMoved(page: Buffer, data: Buffer, count: number): void {
  for (let i = 0; i < count; i++) {
    const at = count * 2 + i * HASH_TUPLE_SIZE;
    checkHashTuple(data, at);
    addItemBytes(page, data, at, HASH_TUPLE_SIZE, data.readUInt16LE(i * 2));
  }
}

/** xl_hash_move_page_contents { ntups u16, is_prim_bucket_same_wrt bool }. Block 2: the page that gives, its data the items that go. */
const redoMove: PageRedo = (page, rec, block) => {
  checkHashPageType(page, IN_CHAIN);
  if (block.id === 1) addMoved(page, block.data, rec.mainData.readUInt16LE(0));
  else indexMultiDelete(page, offsetNumbers(block.data));
};

export const movePageContents: RedoOp = hashOp(
  'MOVE_PAGE_CONTENTS',
  redoMove,
  {
    main: 3,
    need: B1 | B2,
    also: (rec) => (boolAt(rec, 2) ? 0 : B0),
    lockOnly: B0,
    data(rec) {
      const count = rec.mainData.readUInt16LE(0);
      if (count === 0) throw badRecord('no tuples are moved');
      return { 1: movedBytes(count), 2: count * 2 };
    },
  },
  { leaves: (_rec, block) => block.id === 0 },
);

interface Squeeze {
  readonly prev: number;
  readonly next: number;
  readonly count: number;
  /** The write page is the primary bucket page. */
  readonly primary: boolean;
  /** The write page is the one before the page that becomes free. */
  readonly adjacent: boolean;
}

/** xl_hash_squeeze_page { prevblkno u32, nextblkno u32, ntups u16, is_prim_bucket_same_wrt bool, is_prev_bucket_same_wrt bool }. */
function parseSqueeze(rec: WalRecord): Squeeze {
  const main = rec.mainData;
  return {
    prev: main.readUInt32LE(0),
    next: main.readUInt32LE(4),
    count: main.readUInt16LE(8),
    primary: boolAt(rec, 10),
    adjacent: boolAt(rec, 11),
  };
}

/**
 * Blocks from 2 on: the page that becomes free; the one before it, unless that is the write page; the one after it, if any; its
 * bitmap page, data the bit u32; the metapage if the first free page changes, data its number u32. The write page is referenced
 * when it changes, or for its lock when it is the primary page.
 */
const redoSqueeze: PageRedo = (page, rec, block) => {
  const squeeze = parseSqueeze(rec);
  switch (block.id) {
    case 1:
      checkHashPageType(page, IN_CHAIN);
      addMoved(page, block.data, squeeze.count);
      if (squeeze.adjacent) setHashNext(page, squeeze.next);
      return;
    case 2:
      hashPageInit(page, LH_UNUSED_PAGE);
      return;
    case 3:
      checkHashPageType(page, IN_CHAIN);
      setHashNext(page, squeeze.next);
      return;
    case 4:
      checkHashPageType(page, LH_OVERFLOW_PAGE);
      setHashPrev(page, squeeze.prev);
      return;
    case 5:
      checkHashPageType(page, LH_BITMAP_PAGE);
      setBitmapBit(page, block.data.readUInt32LE(0), false);
      return;
    default:
      checkHashPageType(page, LH_META_PAGE);
      setHashFirstFree(page, block.data.readUInt32LE(0));
  }
};

function squeezeBlocks(rec: WalRecord): number {
  const { next, count, primary, adjacent } = parseSqueeze(rec);
  return (
    (primary ? 0 : B0) |
    (count > 0 || primary || adjacent ? B1 : 0) |
    (adjacent ? 0 : B3) |
    (next !== INVALID_BLOCK ? B4 : 0) |
    (hasBlock(rec, 6) ? B6 : 0)
  );
}

/** The chain as the main data tells it and as the block references do. */
function checkNeighbours(rec: WalRecord): void {
  const { prev, next, adjacent } = parseSqueeze(rec);
  if (
    blockOf(rec, adjacent ? 1 : 3).blkno !== prev ||
    (next !== INVALID_BLOCK && blockOf(rec, 4).blkno !== next)
  )
    throw badRecord(`the pages before and after the free one are not ${prev} and ${next}`);
}

export const squeezePage: RedoOp = hashOp(
  'SQUEEZE_PAGE',
  redoSqueeze,
  {
    main: 12,
    need: B2 | B5,
    also: squeezeBlocks,
    lockOnly: B0,
    data: (rec) => ({ 1: movedBytes(rec.mainData.readUInt16LE(8)), 5: 4, 6: 4 }),
    more: checkNeighbours,
  },
  {
    // PostgreSQL stamps the write page only if it got tuples or a new successor.
    leaves(rec, block) {
      if (block.id > 1) return false;
      return block.id === 0 || (rec.mainData.readUInt16LE(8) === 0 && rec.mainData[11] === 0);
    },
  },
);
