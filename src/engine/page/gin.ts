/**
 * GIN pages of PostgreSQL 18 (access/ginblock.h). Little-endian, but block numbers inside tids and posting items are two u16, high
 * half first.
 *
 * Special area, 8 bytes at 8184: rightlink u32 @0 (0xFFFFFFFF = none), maxoff u16 @4 (posting items of an internal data page; heap
 * rows of a list page), flags u16 @6. Block 0 is the metapage, block 1 the root of the entry tree.
 *
 *   entry page   line pointers and index tuples. Leaf: tid offset 0xFFFF = block field is the root of a posting tree; else number of
 *                tids, with the byte offset of the posting list in the block field (0x80000000 = compressed). Internal: downlink.
 *   data page    (posting tree) right bound tid @24, content @32. Leaf: compressed posting lists up to pd_lower (gin-posting.ts); before
 *                9.4 an array of maxoff tids, pd_lower meaningless. Internal: maxoff posting items of 10 bytes { child 4, key tid 6 }.
 *   list page    (pending list) line pointers and index tuples that carry the heap tid.
 */
import { DbError } from '../errors.js';
import { setTidBlock, tidBlock, tupleSize, INDEX_TUPLE_HEADER_SIZE, type Tid } from './btree.js';
import { BLCKSZ } from './constants.js';
import { checkPageBounds, pageInit, pdLower, pdPruneXid, pdSpecial, setPdLower } from './header.js';
import { item, itemCount } from './itemid.js';
import { decodePostingList, postingListSize, putItem } from './gin-posting.js';

export const GIN_SPECIAL_SIZE = 8;
/** Position of the special area on every GIN page. */
export const GIN_SPECIAL = BLCKSZ - GIN_SPECIAL_SIZE;

export const GIN_DATA = 0x1;
export const GIN_LEAF = 0x2;
export const GIN_DELETED = 0x4;
export const GIN_META = 0x8;
export const GIN_LIST = 0x10;
export const GIN_LIST_FULLROW = 0x20;
export const GIN_INCOMPLETE_SPLIT = 0x40;
export const GIN_COMPRESSED = 0x80;

export const GIN_METAPAGE = 0;
/** GinMetaPageData, which starts at byte 24 of block 0, its padding included. */
export const GIN_META_AT = 24;
export const GIN_META_SIZE = 56;
/** Where posting lists or posting items start on a data page, and how many bytes there are. */
export const GIN_DATA_AT = 32;
export const GIN_DATA_MAX = GIN_SPECIAL - GIN_DATA_AT;
export const POSTING_ITEM_SIZE = 10;
export const GIN_MAX_POSTING_ITEMS = Math.floor(GIN_DATA_MAX / POSTING_ITEM_SIZE);
export const NO_BLOCK = 0xffffffff;

const RIGHT_BOUND_AT = 24;
const TREE_POSTING = 0xffff;
const POSTING_COMPRESSED = 0x80000000;

export function ginRightlink(page: Buffer): number {
  return page.readUInt32LE(GIN_SPECIAL);
}
export function ginMaxoff(page: Buffer): number {
  return page[GIN_SPECIAL + 4]! | (page[GIN_SPECIAL + 5]! << 8);
}
export function ginFlags(page: Buffer): number {
  return page[GIN_SPECIAL + 6]! | (page[GIN_SPECIAL + 7]! << 8);
}
export function setGinRightlink(page: Buffer, blkno: number): void {
  page.writeUInt32LE(blkno, GIN_SPECIAL);
}
export function setGinMaxoff(page: Buffer, maxoff: number): void {
  page[GIN_SPECIAL + 4] = maxoff;
  page[GIN_SPECIAL + 5] = maxoff >>> 8;
}
export function setGinFlags(page: Buffer, flags: number): void {
  page[GIN_SPECIAL + 6] = flags;
  page[GIN_SPECIAL + 7] = flags >>> 8;
}

/** GinInitPage: an empty page without a right sibling. */
export function ginPageInit(page: Buffer, flags: number): void {
  pageInit(page, GIN_SPECIAL_SIZE);
  setGinRightlink(page, NO_BLOCK);
  setGinFlags(page, flags);
}

/** Throws REDO_BAD_PAGE unless the page has a special area of GIN size. Its other bounds may be unset on data pages from before 9.4. */
export function checkGinPage(page: Buffer): void {
  if (pdSpecial(page) !== GIN_SPECIAL) {
    throw new DbError('REDO_BAD_PAGE', `not a GIN page: its special area starts at ${pdSpecial(page)}`);
  }
}

/** End of the posting lists on a compressed leaf. Throws REDO_BAD_PAGE if it lies outside the page's content. */
export function postingListsEnd(page: Buffer): number {
  const end = pdLower(page);
  if (end < GIN_DATA_AT || end > GIN_SPECIAL)
    throw new DbError('REDO_BAD_PAGE', `posting lists end at byte ${end}`);
  return end;
}

/** Number of posting items of an internal data page. Throws REDO_BAD_PAGE if they would not fit on it. */
export function postingItemCount(page: Buffer): number {
  const count = ginMaxoff(page);
  if (count > GIN_MAX_POSTING_ITEMS) throw new DbError('REDO_BAD_PAGE', `${count} posting items on a page`);
  return count;
}

/** Position of posting item `offnum`, which counts from 1. */
export function postingItemAt(offnum: number): number {
  return GIN_DATA_AT + (offnum - 1) * POSTING_ITEM_SIZE;
}
export function postingItemChild(page: Buffer, offnum: number): number {
  return tidBlock(page, postingItemAt(offnum));
}
export function setPostingItemChild(page: Buffer, offnum: number, blkno: number): void {
  setTidBlock(page, postingItemAt(offnum), blkno);
}

/** Sets the number of posting items, and pd_lower to their end, as every change of an internal data page does. */
export function setPostingItemCount(page: Buffer, count: number): void {
  setGinMaxoff(page, count);
  setPdLower(page, postingItemAt(count + 1));
}

export interface GinMeta {
  /** Pending list: first and last page, null when it is empty. */
  readonly head: number | null;
  readonly tail: number | null;
  readonly tailFreeBytes: number;
  readonly pendingPages: number;
  readonly pendingHeapTuples: bigint;
  /** As of the last VACUUM. */
  readonly totalPages: number;
  readonly entryPages: number;
  readonly dataPages: number;
  readonly entries: bigint;
  readonly version: number;
}

export interface GinTuple {
  readonly offnum: number;
  /** Of an internal entry: the child page. */
  readonly downlink: number | null;
  /** Of a leaf entry whose tids did not fit beside its key. */
  readonly postingTree: number | null;
  /** Of a leaf entry without a posting tree; of a pending entry the one row it belongs to. */
  readonly tids: readonly Tid[];
  /** Null bitmap if any, column number if the index has several columns, key, null category if any. A view of the page. */
  readonly key: Buffer;
}

export interface GinSegment {
  /** Bytes on the page. */
  readonly size: number;
  readonly tids: readonly Tid[];
}

export interface GinPostingItem {
  readonly child: number;
  readonly key: Tid;
}

export interface GinPageInfo {
  readonly kind: 'meta' | 'entry' | 'data' | 'list' | 'deleted';
  readonly leaf: boolean;
  readonly flags: number;
  readonly rightlink: number | null;
  readonly maxoff: number;
  readonly meta: GinMeta | null;
  /** Of a deleted page: the transaction after whose end it may be reused; 0 for pages of the pending list, which may be at once. */
  readonly deleteXid: number | null;
  /** Of a data page; 0/0 on pages without a right sibling. */
  readonly rightBound: Tid | null;
  readonly tuples: readonly GinTuple[];
  readonly segments: readonly GinSegment[];
  readonly postingItems: readonly GinPostingItem[];
}

/** Everything on a GIN page, for inspection. Throws REDO_BAD_PAGE, REDO_BAD_ITEM. */
export function parseGinPage(page: Buffer): GinPageInfo {
  checkGinPage(page);
  const flags = ginFlags(page);
  const leaf = (flags & GIN_LEAF) !== 0;
  const kind = kindOf(flags);
  const data = kind === 'data';
  return {
    kind,
    leaf,
    flags,
    rightlink: orNull(ginRightlink(page)),
    maxoff: ginMaxoff(page),
    meta: kind === 'meta' ? parseMeta(page) : null,
    deleteXid: kind === 'deleted' ? pdPruneXid(page) : null,
    rightBound: data ? tidAt(page, RIGHT_BOUND_AT) : null,
    tuples: kind === 'entry' || kind === 'list' ? parseTuples(page, kind === 'list' ? 'list' : leaf) : [],
    segments: data && leaf ? parseSegments(page, flags) : [],
    postingItems: data && !leaf ? parsePostingItems(page) : [],
  };
}

function kindOf(flags: number): GinPageInfo['kind'] {
  if ((flags & GIN_DELETED) !== 0) return 'deleted';
  if ((flags & GIN_META) !== 0) return 'meta';
  if ((flags & GIN_LIST) !== 0) return 'list';
  return (flags & GIN_DATA) !== 0 ? 'data' : 'entry';
}

function orNull(blkno: number): number | null {
  return blkno === NO_BLOCK ? null : blkno;
}

function tidAt(buf: Buffer, at: number): Tid {
  return { block: tidBlock(buf, at), offset: buf.readUInt16LE(at + 4) };
}

function parseMeta(page: Buffer): GinMeta {
  return {
    head: orNull(page.readUInt32LE(GIN_META_AT)),
    tail: orNull(page.readUInt32LE(GIN_META_AT + 4)),
    tailFreeBytes: page.readUInt32LE(GIN_META_AT + 8),
    pendingPages: page.readUInt32LE(GIN_META_AT + 12),
    pendingHeapTuples: page.readBigInt64LE(GIN_META_AT + 16),
    totalPages: page.readUInt32LE(GIN_META_AT + 24),
    entryPages: page.readUInt32LE(GIN_META_AT + 28),
    dataPages: page.readUInt32LE(GIN_META_AT + 32),
    entries: page.readBigInt64LE(GIN_META_AT + 40),
    version: page.readInt32LE(GIN_META_AT + 48),
  };
}

function parseTuples(page: Buffer, where: boolean | 'list'): GinTuple[] {
  checkPageBounds(page);
  return Array.from({ length: itemCount(page) }, (_, i) => {
    const tuple = item(page, i + 1);
    const size = tuple.length < INDEX_TUPLE_HEADER_SIZE ? 0 : tupleSize(tuple, 0);
    if (size < INDEX_TUPLE_HEADER_SIZE || size > tuple.length) {
      throw new DbError('REDO_BAD_ITEM', `item ${i + 1}: ${tuple.length} bytes cannot hold its index tuple`);
    }
    return parseTuple(tuple.subarray(0, size), i + 1, where);
  });
}

function parseTuple(tuple: Buffer, offnum: number, where: boolean | 'list'): GinTuple {
  const { block, offset } = tidAt(tuple, 0);
  const key = tuple.subarray(INDEX_TUPLE_HEADER_SIZE);
  if (where === 'list') return { offnum, downlink: null, postingTree: null, tids: [{ block, offset }], key };
  if (!where) return { offnum, downlink: block, postingTree: null, tids: [], key };
  if (offset === TREE_POSTING) return { offnum, downlink: null, postingTree: block, tids: [], key };
  const compressed = block >= POSTING_COMPRESSED;
  const at = compressed ? block - POSTING_COMPRESSED : block;
  if (at < INDEX_TUPLE_HEADER_SIZE || at > tuple.length || (!compressed && at + offset * 6 > tuple.length))
    throw new DbError('REDO_BAD_ITEM', `item ${offnum}: its posting list is not inside the tuple`);
  const rawTids = (): Tid[] => Array.from({ length: offset }, (_, i) => tidAt(tuple, at + i * 6));
  const tids = offset === 0 ? [] : compressed ? decodeTids(tuple, at, tuple.length) : rawTids();
  return { offnum, downlink: null, postingTree: null, tids, key: tuple.subarray(8, at) };
}

function decodeTids(buf: Buffer, at: number, end: number): Tid[] {
  const items = new Float64Array(BLCKSZ);
  const count = decodePostingList(buf, at, end, items, 0);
  const tid = Buffer.alloc(6);
  return Array.from(items.subarray(0, count), (value) => {
    putItem(tid, 0, value);
    return tidAt(tid, 0);
  });
}

function parseSegments(page: Buffer, flags: number): GinSegment[] {
  if ((flags & GIN_COMPRESSED) === 0) {
    const count = ginMaxoff(page);
    if (count === 0) return [];
    if (count * 6 > GIN_DATA_MAX) throw new DbError('REDO_BAD_PAGE', `${count} tids on a page`);
    const tids = Array.from({ length: count }, (_, i) => tidAt(page, GIN_DATA_AT + i * 6));
    return [{ size: count * 6, tids }];
  }
  const end = postingListsEnd(page);
  const segments: GinSegment[] = [];
  for (let at = GIN_DATA_AT; at < end; at += postingListSize(page, at, end)) {
    segments.push({ size: postingListSize(page, at, end), tids: decodeTids(page, at, end) });
  }
  return segments;
}

function parsePostingItems(page: Buffer): GinPostingItem[] {
  return Array.from({ length: postingItemCount(page) }, (_, i) => ({
    child: postingItemChild(page, i + 1),
    key: tidAt(page, postingItemAt(i + 1) + 4),
  }));
}
