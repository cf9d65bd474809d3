/**
 * B-tree pages of PostgreSQL 18 (access/nbtree.h): special area, tuple headers, metapage. Little-endian, but block numbers
 * inside a tid are two u16, high half first.
 *
 * Special area, 16 bytes at 8176: prev u32 @0, next u32 @4 (0 = none), level u32 @8, flags u16 @12, vacuum cycle id u16 @14.
 * Index tuple: tid (block hi u16, lo u16, offset u16) @0, t_info u16 @6 (bits 0-12 size, 0x2000 "the tid is something else").
 * With 0x2000 set, the tid's offset field tells what: 0x2000 there = posting list tuple (low 12 bits: number of tids; block field: byte
 * offset of their array), else pivot tuple (low 12 bits: key attributes, 0x1000 = a heap tid ends it; block field: downlink).
 */
import { DbError } from '../errors.js';
import { BLCKSZ } from './constants.js';
import { checkPageBounds, pageInit, pdSpecial } from './header.js';
import { item, itemCount, itemFlags } from './itemid.js';

export const BT_SPECIAL_SIZE = 16;
/** Position of the special area on every B-tree page. */
export const BT_SPECIAL = BLCKSZ - BT_SPECIAL_SIZE;

export const BTP_LEAF = 0x1;
export const BTP_ROOT = 0x2;
export const BTP_DELETED = 0x4;
export const BTP_META = 0x8;
export const BTP_HALF_DEAD = 0x10;
export const BTP_SPLIT_END = 0x20;
export const BTP_HAS_GARBAGE = 0x40;
export const BTP_INCOMPLETE_SPLIT = 0x80;
export const BTP_HAS_FULLXID = 0x100;

export const BTREE_MAGIC = 0x053162;
/** sizeof(BTMetaPageData), which starts at byte 24 of block 0. */
export const BT_META_SIZE = 48;
/** BTMaxItemSize: largest tuple of a B-tree page in bytes. */
export const BT_MAX_ITEM_SIZE = 2704;

export const INDEX_TUPLE_HEADER_SIZE = 8;
export const INDEX_SIZE_MASK = 0x1fff;
export const INDEX_ALT_TID = 0x2000;
export const BT_OFFSET_MASK = 0x0fff;
export const BT_PIVOT_HEAP_TID = 0x1000;
export const BT_IS_POSTING = 0x2000;
export const TID_SIZE = 6;

export function btPrev(page: Buffer): number {
  return page.readUInt32LE(BT_SPECIAL);
}
/** Right sibling; 0 on the rightmost page of a level, which then has no high key. */
export function btNext(page: Buffer): number {
  return page.readUInt32LE(BT_SPECIAL + 4);
}
/** 0 for leaves. */
export function btLevel(page: Buffer): number {
  return page.readUInt32LE(BT_SPECIAL + 8);
}
export function btFlags(page: Buffer): number {
  return page[BT_SPECIAL + 12]! | (page[BT_SPECIAL + 13]! << 8);
}
export function btCycleId(page: Buffer): number {
  return page[BT_SPECIAL + 14]! | (page[BT_SPECIAL + 15]! << 8);
}
export function setBtPrev(page: Buffer, blkno: number): void {
  page.writeUInt32LE(blkno, BT_SPECIAL);
}
export function setBtNext(page: Buffer, blkno: number): void {
  page.writeUInt32LE(blkno, BT_SPECIAL + 4);
}
export function setBtLevel(page: Buffer, level: number): void {
  page.writeUInt32LE(level, BT_SPECIAL + 8);
}
export function setBtFlags(page: Buffer, flags: number): void {
  page[BT_SPECIAL + 12] = flags;
  page[BT_SPECIAL + 13] = flags >>> 8;
}
export function setBtCycleId(page: Buffer, cycleId: number): void {
  page[BT_SPECIAL + 14] = cycleId;
  page[BT_SPECIAL + 15] = cycleId >>> 8;
}

/** _bt_pageinit: an empty page with a zeroed special area. */
export function btPageInit(page: Buffer): void {
  pageInit(page, BT_SPECIAL_SIZE);
}

/** First item that is not the high key (P_FIRSTDATAKEY). */
export function firstDataKey(page: Buffer): number {
  return btNext(page) === 0 ? 1 : 2;
}

/** Throws REDO_BAD_PAGE unless the page has sane bounds and a special area of B-tree size. */
export function checkBtreePage(page: Buffer): void {
  checkPageBounds(page);
  if (pdSpecial(page) !== BT_SPECIAL) {
    throw new DbError('REDO_BAD_PAGE', `not a B-tree page: its special area starts at ${pdSpecial(page)}`);
  }
}

/** Size in the tuple's own header, in bytes (IndexTupleSize). `at` is the tuple's position in `buf`. */
export function tupleSize(buf: Buffer, at: number): number {
  return (buf[at + 6]! | (buf[at + 7]! << 8)) & INDEX_SIZE_MASK;
}
function tidOffsetField(buf: Buffer, at: number): number {
  return buf[at + 4]! | (buf[at + 5]! << 8);
}
export function isPosting(buf: Buffer, at: number): boolean {
  return (buf[at + 7]! & (INDEX_ALT_TID >>> 8)) !== 0 && (buf[at + 5]! & (BT_IS_POSTING >>> 8)) !== 0;
}
export function isPivot(buf: Buffer, at: number): boolean {
  return (buf[at + 7]! & (INDEX_ALT_TID >>> 8)) !== 0 && (buf[at + 5]! & (BT_IS_POSTING >>> 8)) === 0;
}
/** Number of tids of a posting list tuple. */
export function postingCount(buf: Buffer, at: number): number {
  return tidOffsetField(buf, at) & BT_OFFSET_MASK;
}
/** Bytes from the start of a posting list tuple to its tids, which is also the size of its key part. */
export function postingOffset(buf: Buffer, at: number): number {
  return tidBlock(buf, at);
}
/** Block number of the tid at `at`: of a pivot tuple, its downlink. */
export function tidBlock(buf: Buffer, at: number): number {
  return buf[at + 2]! + buf[at + 3]! * 0x100 + buf[at]! * 0x1_0000 + buf[at + 1]! * 0x100_0000;
}
/** Writes the block number of a tid and leaves its offset alone (ItemPointerSetBlockNumber). */
export function setTidBlock(buf: Buffer, at: number, blkno: number): void {
  buf[at] = blkno >>> 16;
  buf[at + 1] = blkno >>> 24;
  buf[at + 2] = blkno;
  buf[at + 3] = blkno >>> 8;
}
export function setTidOffset(buf: Buffer, at: number, offset: number): void {
  buf[at + 4] = offset;
  buf[at + 5] = offset >>> 8;
}

export interface Tid {
  readonly block: number;
  readonly offset: number;
}

export interface BtreeTuple {
  readonly offnum: number;
  /** The line pointer is marked dead: a hint that the tids lead to no visible row. */
  readonly dead: boolean;
  readonly kind: 'plain' | 'posting' | 'pivot';
  /** Heap rows that the tuple leads to: one, or the posting list; of a pivot, its tie-breaking heap tid if it has one. */
  readonly tids: readonly Tid[];
  /** Of a pivot: the child page (on a half-dead leaf: the top of the subtree to delete; of a leaf's high key: meaningless). */
  readonly downlink: number | null;
  /** Of a pivot: how many key columns are left after suffix truncation. */
  readonly attributes: number | null;
  /** Null bitmap, if any, and column values as stored. A view of the page. */
  readonly key: Buffer;
}

export interface BtreeMeta {
  readonly version: number;
  readonly root: number;
  readonly level: number;
  readonly fastRoot: number;
  readonly fastLevel: number;
  readonly lastCleanupDeletedPages: number;
  readonly allEqualImage: boolean;
}

export interface BtreePageInfo {
  readonly prev: number;
  readonly next: number;
  readonly level: number;
  readonly flags: number;
  readonly cycleId: number;
  readonly meta: BtreeMeta | null;
  /** Of a deleted page: the full transaction id after which it may be reused. */
  readonly safeXid: bigint | null;
  readonly highKey: BtreeTuple | null;
  /** Items after the high key, in key order. */
  readonly items: readonly BtreeTuple[];
}

/** Everything on a B-tree page, for inspection. Throws REDO_BAD_PAGE, REDO_BAD_ITEM. */
export function parseBtreePage(page: Buffer): BtreePageInfo {
  checkBtreePage(page);
  const flags = btFlags(page);
  const hasItems = (flags & (BTP_META | BTP_DELETED)) === 0;
  const tuples: BtreeTuple[] = [];
  for (let offnum = 1; hasItems && offnum <= itemCount(page); offnum++) tuples.push(parseTuple(page, offnum));
  const highKey = hasItems && btNext(page) !== 0 ? (tuples.shift() ?? null) : null;
  return {
    prev: btPrev(page),
    next: btNext(page),
    level: btLevel(page),
    flags,
    cycleId: btCycleId(page),
    meta: (flags & BTP_META) !== 0 ? parseMeta(page) : null,
    safeXid: (flags & BTP_HAS_FULLXID) !== 0 ? page.readBigUInt64LE(24) : null,
    highKey,
    items: tuples,
  };
}

function parseMeta(page: Buffer): BtreeMeta {
  if (page.readUInt32LE(24) !== BTREE_MAGIC)
    throw new DbError('REDO_BAD_PAGE', 'B-tree metapage without its magic');
  return {
    version: page.readUInt32LE(28),
    root: page.readUInt32LE(32),
    level: page.readUInt32LE(36),
    fastRoot: page.readUInt32LE(40),
    fastLevel: page.readUInt32LE(44),
    lastCleanupDeletedPages: page.readUInt32LE(48),
    allEqualImage: page[64] !== 0,
  };
}

function parseTuple(page: Buffer, offnum: number): BtreeTuple {
  const tuple = item(page, offnum);
  if (tuple.length < INDEX_TUPLE_HEADER_SIZE || tupleSize(tuple, 0) > tuple.length) {
    throw new DbError('REDO_BAD_ITEM', `item ${offnum}: ${tuple.length} bytes cannot hold its index tuple`);
  }
  const dead = itemFlags(page, offnum) === 3;
  const size = tupleSize(tuple, 0);
  const header = INDEX_TUPLE_HEADER_SIZE;
  if (isPivot(tuple, 0)) {
    const field = tidOffsetField(tuple, 0);
    // The tie-breaking tid takes the last 6 bytes, padded in front to a multiple of 8.
    const heapTid = (field & BT_PIVOT_HEAP_TID) !== 0 && size >= header + 8;
    return {
      offnum, dead, kind: 'pivot', downlink: tidBlock(tuple, 0), attributes: field & BT_OFFSET_MASK,
      tids: heapTid ? [tidAt(tuple, size - TID_SIZE)] : [],
      key: tuple.subarray(header, heapTid ? size - 8 : size),
    }; // prettier-ignore
  }
  if (!isPosting(tuple, 0)) {
    const key = tuple.subarray(header, size);
    return { offnum, dead, kind: 'plain', downlink: null, attributes: null, tids: [tidAt(tuple, 0)], key };
  }
  const keySize = checkPosting(tuple, 0, size, offnum);
  const tids = Array.from({ length: postingCount(tuple, 0) }, (_, i) => tidAt(tuple, keySize + i * TID_SIZE));
  const key = tuple.subarray(header, keySize);
  return { offnum, dead, kind: 'posting', downlink: null, attributes: null, tids, key };
}

function tidAt(buf: Buffer, at: number): Tid {
  return { block: tidBlock(buf, at), offset: tidOffsetField(buf, at) };
}

/** Checks that a posting list lies inside its tuple, and returns where it starts. Throws REDO_BAD_ITEM. */
export function checkPosting(buf: Buffer, at: number, length: number, offnum: number): number {
  const keySize = postingOffset(buf, at);
  const count = postingCount(buf, at);
  const fits =
    keySize >= INDEX_TUPLE_HEADER_SIZE && (keySize & 7) === 0 && keySize + count * TID_SIZE <= length;
  if (!isPosting(buf, at) || count < 2 || !fits) {
    throw new DbError('REDO_BAD_ITEM', `item ${offnum} is not a sound posting list tuple`);
  }
  return keySize;
}
