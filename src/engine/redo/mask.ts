/**
 * What may differ between a replayed page and the primary's (rm_mask of each resource manager and common/bufmask.c,
 * PostgreSQL 18): hint bits, command ids, unused space. Used to compare pages with consistency images, never for serving them.
 */
import { DbError } from '../errors.js';
import { BLCKSZ } from '../page/constants.js';
import {
  PAGE_HEADER_SIZE,
  PD_ALL_VISIBLE,
  PD_HAS_FREE_LINES,
  PD_PAGE_FULL,
  pdFlags,
  pdLower,
  pdSpecial,
  pdUpper,
  setPdFlags,
  setPdPruneXid,
} from '../page/header.js';
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
import { maskBtree } from './btree.js';

/** mask_page_lsn_and_checksum. */
function maskLsnAndChecksum(page: Buffer): void {
  page.fill(0, 0, 10);
}

/** mask_page_hint_bits: pd_prune_xid, and PAGE_FULL, HAS_FREE_LINES, ALL_VISIBLE of pd_flags. */
function maskHintBits(page: Buffer): void {
  setPdPruneXid(page, 0);
  setPdFlags(page, pdFlags(page) & ~(PD_PAGE_FULL | PD_HAS_FREE_LINES | PD_ALL_VISIBLE));
}

/** mask_unused_space: the hole between line pointers and tuples. Throws REDO_BAD_PAGE. */
function maskUnusedSpace(page: Buffer): void {
  const lower = pdLower(page);
  const upper = pdUpper(page);
  const special = pdSpecial(page);
  if (lower > upper || special < upper || lower < PAGE_HEADER_SIZE || special > BLCKSZ)
    throw new DbError(
      'REDO_BAD_PAGE',
      `invalid page: lower = ${lower}, upper = ${upper}, special = ${special}`,
    );
  page.fill(0, lower, upper);
}

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
  switch (rmid) {
    case Rmgr.Heap:
    case Rmgr.Heap2:
      maskHeap(page, blkno);
      return true;
    case Rmgr.Btree:
      maskBtree(page, blkno);
      return true;
    case Rmgr.Sequence:
      maskSequence(page);
      return true;
    default:
      return false;
  }
}
