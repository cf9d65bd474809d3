/**
 * GiST pages of PostgreSQL 18 (access/gist.h): special area, index tuples, deleted pages. Little-endian; the root is block 0, and there
 * is no metapage.
 *
 * Special area, 16 bytes at 8176: nsn u32 high, u32 low @0 (like pd_lsn; when the page was last split), rightlink u32 @8
 * (0xFFFFFFFF = none), flags u16 @12, page id u16 @14 (0xFF81).
 * Index tuple: tid (block hi u16, lo u16, offset u16) @0, t_info u16 @6 (bits 0-12 size). On an inner page the tid's block is the
 * downlink, and its offset is 0xFFFF; 0xFFFE there marks a tuple that a crash before PostgreSQL 9.1 left behind.
 * A deleted page has no items: pd_lower is 32, and the full transaction id after which it may be reused is at 24.
 */
import { DbError } from '../errors.js';
import { readPageLsn, writePageLsn, type Lsn } from '../lsn.js';
import { INDEX_TUPLE_HEADER_SIZE, tidBlock, tupleSize, type Tid } from './btree.js';
import { BLCKSZ } from './constants.js';
import { PAGE_HEADER_SIZE, checkPageBounds, pageInit, pdLower, pdSpecial, setPdLower } from './header.js';
import { item, itemCount, itemFlags, LP_DEAD } from './itemid.js';

export const GIST_SPECIAL_SIZE = 16;
/** Position of the special area on every GiST page. */
export const GIST_SPECIAL = BLCKSZ - GIST_SPECIAL_SIZE;
export const GIST_PAGE_ID = 0xff81;
export const GIST_ROOT_BLOCK = 0;
/** InvalidBlockNumber, as rightlink of the last page of a level. */
export const GIST_NO_RIGHTLINK = 0xffffffff;

export const GIST_LEAF = 0x1;
export const GIST_DELETED = 0x2;
/** Some tuples were removed since the page was last split: a bulk insertion may find room here. */
export const GIST_TUPLES_DELETED = 0x4;
/** The page was split, and the right half has no downlink yet: scans must follow the rightlink. */
export const GIST_FOLLOW_RIGHT = 0x8;
/** Some items are marked dead: a hint. */
export const GIST_HAS_GARBAGE = 0x10;

/** pd_lower of a deleted page: the header and a full transaction id. */
const DELETED_PD_LOWER = PAGE_HEADER_SIZE + 8;
const INVALID_TUPLE_OFFSET = 0xfffe;

/** Node sequence number: the LSN of the last split that the parent knows of; 0 or 1 since the index was built. */
export function gistNsn(page: Buffer): Lsn {
  return readPageLsn(page, GIST_SPECIAL);
}
export function gistRightlink(page: Buffer): number {
  return page.readUInt32LE(GIST_SPECIAL + 8);
}
export function gistFlags(page: Buffer): number {
  return page[GIST_SPECIAL + 12]! | (page[GIST_SPECIAL + 13]! << 8);
}
export function setGistNsn(page: Buffer, nsn: Lsn | number): void {
  writePageLsn(page, nsn, GIST_SPECIAL);
}
export function setGistRightlink(page: Buffer, blkno: number): void {
  page.writeUInt32LE(blkno, GIST_SPECIAL + 8);
}
export function setGistFlags(page: Buffer, flags: number): void {
  page[GIST_SPECIAL + 12] = flags;
  page[GIST_SPECIAL + 13] = flags >>> 8;
}

/** gistinitpage: an empty page, without right sibling, never split. */
export function gistPageInit(page: Buffer, flags: number): void {
  pageInit(page, GIST_SPECIAL_SIZE);
  setGistRightlink(page, GIST_NO_RIGHTLINK);
  setGistFlags(page, flags);
  page.writeUInt16LE(GIST_PAGE_ID, GIST_SPECIAL + 14);
}

/** GistPageSetDeleted. `deleteXid` is a full transaction id of 8 bytes, as logged. Whoever calls this knows that no items are left. */
export function gistPageSetDeleted(page: Buffer, deleteXid: Buffer): void {
  setGistFlags(page, gistFlags(page) | GIST_DELETED);
  setPdLower(page, DELETED_PD_LOWER);
  deleteXid.copy(page, PAGE_HEADER_SIZE, 0, 8);
}

/** Throws REDO_BAD_PAGE unless the page has sane bounds and a special area of GiST size. */
export function checkGistPage(page: Buffer): void {
  checkPageBounds(page);
  if (pdSpecial(page) !== GIST_SPECIAL) {
    throw new DbError('REDO_BAD_PAGE', `not a GiST page: its special area starts at ${pdSpecial(page)}`);
  }
}

export interface GistTuple {
  readonly offnum: number;
  /** The line pointer is marked dead: a hint that the tid leads to no visible row. */
  readonly dead: boolean;
  /** Of a leaf: the heap row. */
  readonly tid: Tid | null;
  /** Of an inner page: the child page. */
  readonly downlink: number | null;
  /** Of an inner page: left behind by a crash before PostgreSQL 9.1, and good for nothing. */
  readonly invalid: boolean;
  /** Null bitmap, if any, and column values as stored. A view of the page. */
  readonly key: Buffer;
}

export interface GistPageInfo {
  readonly nsn: Lsn;
  /** Null on the last page of a level. */
  readonly rightlink: number | null;
  readonly flags: number;
  /** Of a deleted page: the full transaction id after which it may be reused; null when an old release deleted it. */
  readonly deleteXid: bigint | null;
  readonly items: readonly GistTuple[];
}

/** Everything on a GiST page, for inspection. Throws REDO_BAD_PAGE, REDO_BAD_ITEM. */
export function parseGistPage(page: Buffer): GistPageInfo {
  checkGistPage(page);
  if (page.readUInt16LE(GIST_SPECIAL + 14) !== GIST_PAGE_ID)
    throw new DbError(
      'REDO_BAD_PAGE',
      'not a GiST page: its special area does not end with the GiST page id',
    );
  const flags = gistFlags(page);
  const deleted = (flags & GIST_DELETED) !== 0;
  const items: GistTuple[] = [];
  for (let offnum = 1; !deleted && offnum <= itemCount(page); offnum++)
    items.push(parseTuple(page, offnum, (flags & GIST_LEAF) !== 0));
  const rightlink = gistRightlink(page);
  return {
    nsn: gistNsn(page),
    rightlink: rightlink === GIST_NO_RIGHTLINK ? null : rightlink,
    flags,
    deleteXid: deleted && pdLower(page) >= DELETED_PD_LOWER ? page.readBigUInt64LE(PAGE_HEADER_SIZE) : null,
    items,
  };
}

function parseTuple(page: Buffer, offnum: number, leaf: boolean): GistTuple {
  const tuple = item(page, offnum);
  if (tuple.length < INDEX_TUPLE_HEADER_SIZE || tupleSize(tuple, 0) > tuple.length) {
    throw new DbError('REDO_BAD_ITEM', `item ${offnum}: ${tuple.length} bytes cannot hold its index tuple`);
  }
  const block = tidBlock(tuple, 0);
  const offset = tuple.readUInt16LE(4);
  return {
    offnum,
    dead: itemFlags(page, offnum) === LP_DEAD,
    tid: leaf ? { block, offset } : null,
    downlink: leaf ? null : block,
    invalid: !leaf && offset === INVALID_TUPLE_OFFSET,
    key: tuple.subarray(INDEX_TUPLE_HEADER_SIZE, tupleSize(tuple, 0)),
  };
}
