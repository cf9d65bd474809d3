/**
 * What may differ between a replayed page and the primary's (rm_mask of each resource manager and common/bufmask.c,
 * PostgreSQL 18): hint bits, command ids, unused space. Used to compare pages with consistency images, never for serving them.
 */
import { DbError } from '../errors.js';
import { BLCKSZ } from '../page/constants.js';
import {
  HEAP_TUPLE_HEADER_SIZE,
  HEAP_XACT_MASK,
  HEAP_XMAX_COMMITTED,
  HEAP_XMAX_INVALID,
  HEAP_XMIN_FROZEN,
  SPECULATIVE_TOKEN_OFFSET,
  T_CID,
  T_CTID,
  T_INFOMASK,
  writeCtid,
} from '../page/heap.js';
import { itemCount, itemFlags, itemLength, itemOffset, LP_NORMAL } from '../page/items.js';
import { Rmgr } from '../wal/types.js';
import { maskBrin } from './brin.js';
import { maskBtree } from './btree.js';
import { maskGeneric } from './generic.js';
import { maskGin } from './gin.js';
import { maskGist } from './gist.js';
import { maskHash } from './hash.js';
import { maskHintBits, maskLsnAndChecksum, maskUnusedSpace } from './mask-common.js';
import { maskSpgist } from './spgist.js';

/** heap_mask. Serves visibility map pages too: to it they are pages whose map lies in the hole, so their bits are not compared. */
function maskHeap(page: Buffer, blkno: number): void {
  maskLsnAndChecksum(page);
  maskHintBits(page);
  maskUnusedSpace(page);
  const count = itemCount(page);
  for (let offnum = 1; offnum <= count; offnum++) {
    const at = itemOffset(page, offnum);
    const len = itemLength(page, offnum);
    if (itemFlags(page, offnum) === LP_NORMAL) {
      if (at + Math.max(len, HEAP_TUPLE_HEADER_SIZE) > BLCKSZ)
        throw new DbError('REDO_BAD_PAGE', `tuple ${offnum} of ${len} bytes at ${at} is not on the page`);
      maskTuple(page, at, blkno, offnum);
    }
    if (len !== 0) page.fill(0, Math.min(at + len, BLCKSZ), Math.min(at + ((len + 7) & ~7), BLCKSZ));
  }
}

function maskTuple(page: Buffer, at: number, blkno: number, offnum: number): void {
  const infomask = page.readUInt16LE(at + T_INFOMASK);
  const frozen = (infomask & HEAP_XMIN_FROZEN) === HEAP_XMIN_FROZEN;
  page.writeUInt16LE(
    infomask & ~(frozen ? HEAP_XMAX_INVALID | HEAP_XMAX_COMMITTED : HEAP_XACT_MASK),
    at + T_INFOMASK,
  );
  page.writeUInt32LE(0, at + T_CID);
  if (page.readUInt16LE(at + T_CTID + 4) === SPECULATIVE_TOKEN_OFFSET) writeCtid(page, at, blkno, offnum);
}

/** seq_mask. */
function maskSequence(page: Buffer): void {
  maskLsnAndChecksum(page);
  maskUnusedSpace(page);
}

/**
 * Zeroes in place what may differ on a page of that resource manager; `blkno` is the page's own block number. Returns false for
 * resource managers without a mask, for which PostgreSQL writes no consistency images. Throws REDO_BAD_PAGE.
 */
export function maskPage(rmid: number, page: Buffer, blkno: number): boolean {
  const mask = masks.get(rmid);
  mask?.(page, blkno);
  return mask !== undefined;
}

const masks = new Map<number, (page: Buffer, blkno: number) => void>([
  [Rmgr.Heap, maskHeap],
  [Rmgr.Heap2, maskHeap],
  [Rmgr.Btree, maskBtree],
  [Rmgr.Hash, maskHash],
  [Rmgr.Gin, maskGin],
  [Rmgr.Gist, maskGist],
  [Rmgr.Sequence, maskSequence],
  [Rmgr.SPGist, maskSpgist],
  [Rmgr.BRIN, maskBrin],
  [Rmgr.Generic, maskGeneric],
]);
