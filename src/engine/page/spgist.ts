/**
 * SP-GiST pages of PostgreSQL 18 (access/spgist_private.h): special area, tuples, metapage. Little-endian, but block numbers inside a
 * tid are two u16, high half first.
 *
 * Special area, 8 bytes at 8184: flags u16 @0, redirects on the page u16 @2, placeholders on the page u16 @4, page id 0xFF82 @6.
 * Block 0 is the metapage, block 1 the root, block 2 the root of the tree of nulls. A root holds unchained leaf tuples until it is split;
 * from then on it is an inner page with exactly one tuple.
 *
 * Bits 0-1 of every tuple are its state. Sizes include the header and are multiples of 8, 16 or more.
 *   inner tuple      u32 @0: state, all-the-same bit 2, nodes 3-15, prefix size 16-31; size u16 @4; prefix @8; then the nodes, which have
 *                    index tuple headers (tid = downlink, offset 0 = none yet; t_info bits 0-12 = size)
 *   leaf tuple       u32 @0: state, size 2-31; next u16 @4 (bits 0-13 offset of the next tuple of the chain, 0x8000 has a null mask);
 *                    heap tid @6
 *   any other state  u32 @0 as a leaf's; tid @6 where a redirect leads to; xid u32 @12 of the transaction that made it
 */
import { DbError } from '../errors.js';
import { setTidBlock, setTidOffset, tidBlock, tupleSize, type Tid } from './btree.js';
import { BLCKSZ } from './constants.js';
import { checkPageBounds, pageInit, pdSpecial } from './header.js';
import { item, itemCount } from './itemid.js';

export const SPGIST_SPECIAL_SIZE = 8;
/** Position of the special area on every SP-GiST page. */
export const SPGIST_SPECIAL = BLCKSZ - SPGIST_SPECIAL_SIZE;
export const SPGIST_PAGE_ID = 0xff82;

export const SPGIST_META = 0x1;
/** Never set by current versions. */
export const SPGIST_DELETED = 0x2;
export const SPGIST_LEAF = 0x4;
export const SPGIST_NULLS = 0x8;

export const SPGIST_META_BLKNO = 0;
export const SPGIST_ROOT_BLKNO = 1;
export const SPGIST_NULL_BLKNO = 2;

export const SPGIST_MAGIC = 0xba0babee;
/** The metapage's magic number, at byte 24; behind it lastUsedPages: eight times { block u32, free bytes i32 }. */
export const SPGIST_META_START = 24;
export const SPGIST_LAST_USED_START = 28;
export const SPGIST_META_END = 92;

/** Tuple states. */
export const SPGIST_LIVE = 0;
export const SPGIST_REDIRECT = 1;
export const SPGIST_DEAD = 2;
export const SPGIST_PLACEHOLDER = 3;

/** SGDTSIZE: size of a tuple that is not live, and the least size of any other. */
export const SPGIST_DEAD_SIZE = 16;
/** SGITHDRSZ: where the prefix of an inner tuple starts. */
export const SPGIST_INNER_HEADER = 8;
const NODE_HEADER = 8;
/** SGLTHDRSZ: 12 bytes of header, then the null mask of 4 bytes or as much padding. */
const LEAF_HEADER = 16;
const HAS_NULL_MASK = 0x8000;
const NEXT_MASK = 0x3fff;

const FLAGS = SPGIST_SPECIAL;
const REDIRECTS = SPGIST_SPECIAL + 2;
const PLACEHOLDERS = SPGIST_SPECIAL + 4;
const PAGE_ID = SPGIST_SPECIAL + 6;

export function spgFlags(page: Buffer): number {
  return page.readUInt16LE(FLAGS);
}
/** How many tuples of the page are redirects, as its special area has it. */
export function spgRedirects(page: Buffer): number {
  return page.readUInt16LE(REDIRECTS);
}
/** How many tuples of the page are placeholders, as its special area has it. */
export function spgPlaceholders(page: Buffer): number {
  return page.readUInt16LE(PLACEHOLDERS);
}

/** Changes both counters. Throws REDO_BAD_PAGE when one would leave its range: the page was miscounted before. */
export function countTuples(page: Buffer, redirects: number, placeholders: number): void {
  const newRedirects = spgRedirects(page) + redirects;
  const newPlaceholders = spgPlaceholders(page) + placeholders;
  if (newRedirects < 0 || newPlaceholders < 0 || newRedirects > 0xffff || newPlaceholders > 0xffff) {
    throw new DbError(
      'REDO_BAD_PAGE',
      `an SP-GiST page cannot have ${newRedirects} redirects and ${newPlaceholders} placeholders`,
    );
  }
  page.writeUInt16LE(newRedirects, REDIRECTS);
  page.writeUInt16LE(newPlaceholders, PLACEHOLDERS);
}

/** SpGistInitPage: an empty page with these flags. */
export function spgPageInit(page: Buffer, flags: number): void {
  pageInit(page, SPGIST_SPECIAL_SIZE);
  page.writeUInt16LE(flags, FLAGS);
  page.writeUInt16LE(SPGIST_PAGE_ID, PAGE_ID);
}

/** Throws REDO_BAD_PAGE unless the page has sane bounds and the special area of an SP-GiST page. */
export function checkSpgistPage(page: Buffer): void {
  checkPageBounds(page);
  if (pdSpecial(page) !== SPGIST_SPECIAL || page.readUInt16LE(PAGE_ID) !== SPGIST_PAGE_ID) {
    throw new DbError('REDO_BAD_PAGE', 'not an SP-GiST page: special area or page id are others');
  }
}

export function tupleState(buf: Buffer, at: number): number {
  return buf[at]! & 3;
}
/** Size in the header of a leaf tuple or one that is not live, in bytes. */
export function leafTupleSize(buf: Buffer, at: number): number {
  return buf.readUInt32LE(at) >>> 2;
}
export function innerTupleSize(buf: Buffer, at: number): number {
  return buf.readUInt16LE(at + 4);
}
export function nodeCount(buf: Buffer, at: number): number {
  return (buf.readUInt16LE(at) >>> 3) & 0x1fff;
}
export function prefixSize(buf: Buffer, at: number): number {
  return buf.readUInt16LE(at + 2);
}
/** Offset number of the next tuple of a leaf tuple's chain, 0 at its end. */
export function nextOffset(buf: Buffer, at: number): number {
  return buf.readUInt16LE(at + 4) & NEXT_MASK;
}
export function setNextOffset(buf: Buffer, at: number, offnum: number): void {
  buf.writeUInt16LE((buf.readUInt16LE(at + 4) & ~NEXT_MASK) | (offnum & NEXT_MASK), at + 4);
}

/** A tuple of the page, at least as long as a dead one: every header field can be read. Throws REDO_BAD_ITEM. */
export function spgTuple(page: Buffer, offnum: number): Buffer {
  const tuple = item(page, offnum);
  if (tuple.length < SPGIST_DEAD_SIZE) {
    throw new DbError('REDO_BAD_ITEM', `item ${offnum}: ${tuple.length} bytes are no SP-GiST tuple`);
  }
  return tuple;
}

/** spgFormDeadTuple: a redirect to `tid`, made by transaction `xid`; any other state leads nowhere and knows no transaction. */
export function formDeadTuple(state: number, tid: Tid, xid: number): Buffer {
  const tuple = Buffer.alloc(SPGIST_DEAD_SIZE);
  tuple.writeUInt32LE((SPGIST_DEAD_SIZE << 2) | state, 0);
  const redirect = state === SPGIST_REDIRECT;
  setTid(tuple, 6, redirect ? tid : NOWHERE);
  tuple.writeUInt32LE(redirect ? xid : 0, 12);
  return tuple;
}

/** ItemPointerSetInvalid. */
export const NOWHERE: Tid = { block: 0xffffffff, offset: 0 };

export function setTid(buf: Buffer, at: number, tid: Tid): void {
  setTidBlock(buf, at, tid.block);
  setTidOffset(buf, at, tid.offset);
}
function tidAt(buf: Buffer, at: number): Tid {
  return { block: tidBlock(buf, at), offset: buf.readUInt16LE(at + 4) };
}

/** Position of node `index` within a live inner tuple. Throws REDO_BAD_ITEM. */
export function nodeAt(tuple: Buffer, index: number): number {
  const nodes = nodeCount(tuple, 0);
  let at = SPGIST_INNER_HEADER + prefixSize(tuple, 0);
  if (index < nodes) {
    for (let i = 0; at + NODE_HEADER <= tuple.length; i++) {
      const size = tupleSize(tuple, at);
      if (size < NODE_HEADER || at + size > tuple.length) break;
      if (i === index) return at;
      at += size;
    }
  }
  throw new DbError('REDO_BAD_ITEM', `no node ${index} in an SP-GiST tuple with ${nodes} nodes`);
}

export interface SpgistNode {
  /** Where the node leads to; null when nothing was ever put there. */
  readonly downlink: Tid | null;
  /** Without a label, PostgreSQL marks the node as null. */
  readonly label: Buffer | null;
}

interface TupleBase {
  readonly offnum: number;
}
export interface SpgistInnerTuple extends TupleBase {
  readonly kind: 'inner';
  readonly allTheSame: boolean;
  readonly prefix: Buffer;
  readonly nodes: readonly SpgistNode[];
}
export interface SpgistLeafTuple extends TupleBase {
  readonly kind: 'leaf';
  readonly heapTid: Tid;
  /** Next tuple of the chain on the same page, 0 at its end. */
  readonly next: number;
  readonly hasNullMask: boolean;
  /** What the operator class keeps of the value, then included columns. A view of the page. */
  readonly data: Buffer;
}
export interface SpgistDeadTuple extends TupleBase {
  readonly kind: 'redirect' | 'dead' | 'placeholder';
  /** Of a redirect: where the tuple went, and the transaction that moved it (0 when it had no id). */
  readonly target: Tid | null;
  readonly xid: number | null;
}
export type SpgistTuple = SpgistInnerTuple | SpgistLeafTuple | SpgistDeadTuple;

export interface SpgistPageInfo {
  readonly flags: number;
  readonly redirects: number;
  readonly placeholders: number;
  /** Of the metapage: pages with room, as some backend last saw them. Never logged, so it may be old. */
  readonly lastUsed: readonly { readonly blkno: number; readonly freeBytes: number }[] | null;
  readonly tuples: readonly SpgistTuple[];
}

/** Everything on an SP-GiST page, for inspection. Throws REDO_BAD_PAGE, REDO_BAD_ITEM. */
export function parseSpgistPage(page: Buffer): SpgistPageInfo {
  checkSpgistPage(page);
  const flags = spgFlags(page);
  const meta = (flags & SPGIST_META) !== 0;
  const tuples: SpgistTuple[] = [];
  for (let offnum = 1; !meta && offnum <= itemCount(page); offnum++)
    tuples.push(parseTuple(page, offnum, (flags & SPGIST_LEAF) !== 0));
  return {
    flags,
    redirects: spgRedirects(page),
    placeholders: spgPlaceholders(page),
    lastUsed: meta ? parseLastUsed(page) : null,
    tuples,
  };
}

function parseLastUsed(page: Buffer): { blkno: number; freeBytes: number }[] {
  if (page.readUInt32LE(SPGIST_META_START) !== SPGIST_MAGIC)
    throw new DbError('REDO_BAD_PAGE', 'SP-GiST metapage without its magic');
  const pages: { blkno: number; freeBytes: number }[] = [];
  for (let at = SPGIST_LAST_USED_START; at < SPGIST_META_END; at += 8)
    pages.push({ blkno: page.readUInt32LE(at), freeBytes: page.readInt32LE(at + 4) });
  return pages;
}

const DEAD_KINDS = ['redirect', 'dead', 'placeholder'] as const;

function parseTuple(page: Buffer, offnum: number, leaf: boolean): SpgistTuple {
  const tuple = spgTuple(page, offnum);
  const state = tupleState(tuple, 0);
  if (state !== SPGIST_LIVE) {
    const redirect = state === SPGIST_REDIRECT;
    return {
      offnum,
      kind: DEAD_KINDS[state - 1]!,
      target: redirect ? tidAt(tuple, 6) : null,
      xid: redirect ? tuple.readUInt32LE(12) : null,
    };
  }
  const size = leaf ? leafTupleSize(tuple, 0) : innerTupleSize(tuple, 0);
  if (size !== tuple.length) {
    throw new DbError('REDO_BAD_ITEM', `item ${offnum}: a tuple of ${size} bytes in ${tuple.length}`);
  }
  if (leaf) {
    return {
      offnum,
      kind: 'leaf',
      heapTid: tidAt(tuple, 6),
      next: nextOffset(tuple, 0),
      hasNullMask: (tuple.readUInt16LE(4) & HAS_NULL_MASK) !== 0,
      data: tuple.subarray(LEAF_HEADER),
    };
  }
  return {
    offnum,
    kind: 'inner',
    allTheSame: (tuple[0]! & 4) !== 0,
    prefix: tuple.subarray(SPGIST_INNER_HEADER, SPGIST_INNER_HEADER + prefixSize(tuple, 0)),
    nodes: Array.from({ length: nodeCount(tuple, 0) }, (_, i) => parseNode(tuple, nodeAt(tuple, i))),
  };
}

function parseNode(tuple: Buffer, at: number): SpgistNode {
  const hasLabel = (tuple.readUInt16LE(at + 6) & 0x8000) === 0;
  const downlink = tidAt(tuple, at);
  return {
    downlink: downlink.offset === 0 ? null : downlink,
    label: hasLabel ? tuple.subarray(at + NODE_HEADER, at + tupleSize(tuple, at)) : null,
  };
}
