/**
 * BRIN pages of PostgreSQL 18 (access/brin_page.h, brin_tuple.h): special area, metapage, range map, summary tuples. Little-endian, but
 * block numbers inside a tid are two u16, high half first.
 *
 * Special area, 8 bytes at 8184: flags u16 @4, page type u16 @6. Block 0 is the metapage: magic u32 @24, version u32 @28,
 * pages per range u32 @32, last block of the range map u32 @36; pd_lower 40. Blocks from 1 on are the range map: 1360 tids
 * from byte 24 on, which lie in the "hole" of the page, because pd_lower stays 24. All others hold summary tuples:
 * first heap block u32 @0, info u8 @4 (bits 0-4 offset of the values, 0x20 range without rows, 0x40 placeholder, 0x80 nulls).
 */
import { DbError } from '../errors.js';
import { BLCKSZ } from './constants.js';
import { checkPageBounds, PAGE_HEADER_SIZE, pageInit, pdSpecial, setPdLower } from './header.js';
import { item, itemCount, itemFlags, LP_UNUSED } from './itemid.js';

export const BRIN_SPECIAL_SIZE = 8;
export const BRIN_SPECIAL = BLCKSZ - BRIN_SPECIAL_SIZE;
const FLAGS = BRIN_SPECIAL + 4;
const TYPE = BRIN_SPECIAL + 6;

export const BrinPageType = { meta: 0xf091, revmap: 0xf092, regular: 0xf093 } as const;

/** Set while tuples are moved off a page that is to become part of the range map. Not logged. */
export const BRIN_EVACUATE_PAGE = 0x1;

export const BRIN_META_MAGIC = 0xa8109cfa;
export const BRIN_META_BLKNO = 0;
const META_END = PAGE_HEADER_SIZE + 16;

export const REVMAP_TID_SIZE = 6;
/** REVMAP_PAGE_MAXITEMS: page ranges that one page of the range map covers. */
export const REVMAP_PAGE_ITEMS = 1360;

/** Smallest summary tuple: the fields in front of its null bitmap. */
export const BRIN_TUPLE_HEADER_SIZE = 5;
const TUPLE_OFFSET_MASK = 0x1f;
const TUPLE_EMPTY_RANGE = 0x20;
const TUPLE_PLACEHOLDER = 0x40;
const TUPLE_NULLS = 0x80;

export function brinPageType(page: Buffer): number {
  return page[TYPE]! | (page[TYPE + 1]! << 8);
}
export function brinFlags(page: Buffer): number {
  return page[FLAGS]! | (page[FLAGS + 1]! << 8);
}
export function setBrinFlags(page: Buffer, flags: number): void {
  page[FLAGS] = flags;
  page[FLAGS + 1] = flags >>> 8;
}

/** brin_page_init. */
export function brinPageInit(page: Buffer, type: number): void {
  pageInit(page, BRIN_SPECIAL_SIZE);
  page.writeUInt16LE(type, TYPE);
}

/** brin_metapage_init: an index without a range map yet. */
export function brinMetaInit(page: Buffer, pagesPerRange: number, version: number): void {
  brinPageInit(page, BrinPageType.meta);
  page.writeUInt32LE(BRIN_META_MAGIC, 24);
  page.writeUInt32LE(version, 28);
  page.writeUInt32LE(pagesPerRange, 32);
  setLastRevmapPage(page, 0);
}

export function lastRevmapPage(page: Buffer): number {
  return page.readUInt32LE(36);
}
/** Sets pd_lower too: metapages made before PostgreSQL 11 had a wrong one. */
export function setLastRevmapPage(page: Buffer, blkno: number): void {
  page.writeUInt32LE(blkno, 36);
  setPdLower(page, META_END);
}

/** Throws REDO_BAD_PAGE unless the page has sane bounds and is a BRIN page of that type. */
export function checkBrinPage(page: Buffer, type: number): void {
  checkPageBounds(page);
  if (pdSpecial(page) !== BRIN_SPECIAL || brinPageType(page) !== type) {
    throw new DbError(
      'REDO_BAD_PAGE',
      `not a BRIN page of type ${hex(type)}: its special area starts at ${pdSpecial(page)}, its type is ${hex(brinPageType(page))}`,
    );
  }
}

function hex(type: number): string {
  return `0x${type.toString(16)}`;
}

/** Block of the range map that has the entry of a heap block. */
export function revmapBlockOf(pagesPerRange: number, heapBlk: number): number {
  return Math.floor(heapBlk / pagesPerRange / REVMAP_PAGE_ITEMS) + 1;
}

/** Byte position of the entry of a heap block on its page of the range map. */
export function revmapEntryOf(pagesPerRange: number, heapBlk: number): number {
  const index = Math.floor(heapBlk / pagesPerRange) % REVMAP_PAGE_ITEMS;
  return PAGE_HEADER_SIZE + index * REVMAP_TID_SIZE;
}

/** First heap block of the range that a summary tuple describes. */
export function brinTupleHeapBlk(tuple: Buffer): number {
  return tuple.readUInt32LE(0);
}

export interface BrinTuple {
  readonly offnum: number;
  readonly heapBlk: number;
  /** Made in advance by a summarisation that is, or was, under way. */
  readonly placeholder: boolean;
  readonly emptyRange: boolean;
  readonly hasNulls: boolean;
  /** Summary values as stored. A view of the page. */
  readonly values: Buffer;
}

export interface BrinPageInfo {
  readonly type: 'meta' | 'revmap' | 'regular';
  readonly evacuating: boolean;
  readonly meta: {
    readonly version: number;
    readonly pagesPerRange: number;
    readonly lastRevmapPage: number;
  } | null;
  /** Of the range map: entries that point to a tuple, by index on the page. */
  readonly entries: readonly { readonly index: number; readonly block: number; readonly offset: number }[];
  readonly tuples: readonly BrinTuple[];
}

/** Everything on a BRIN page, for inspection. Throws REDO_BAD_PAGE, REDO_BAD_ITEM. */
export function parseBrinPage(page: Buffer): BrinPageInfo {
  const mark = brinPageType(page);
  const type = mark === BrinPageType.meta ? 'meta' : mark === BrinPageType.revmap ? 'revmap' : 'regular';
  checkBrinPage(page, BrinPageType[type]);
  return {
    type,
    evacuating: (brinFlags(page) & BRIN_EVACUATE_PAGE) !== 0,
    meta: type === 'meta' ? parseMeta(page) : null,
    entries: type === 'revmap' ? parseRevmap(page) : [],
    tuples: type === 'regular' ? parseTuples(page) : [],
  };
}

function parseMeta(page: Buffer): BrinPageInfo['meta'] {
  if (page.readUInt32LE(24) !== BRIN_META_MAGIC)
    throw new DbError('REDO_BAD_PAGE', 'BRIN metapage without its magic');
  return {
    version: page.readUInt32LE(28),
    pagesPerRange: page.readUInt32LE(32),
    lastRevmapPage: lastRevmapPage(page),
  };
}

function parseRevmap(page: Buffer): { index: number; block: number; offset: number }[] {
  const entries = [];
  for (let index = 0; index < REVMAP_PAGE_ITEMS; index++) {
    const at = PAGE_HEADER_SIZE + index * REVMAP_TID_SIZE;
    const offset = page.readUInt16LE(at + 4);
    const block = page.readUInt16LE(at) * 0x1_0000 + page.readUInt16LE(at + 2);
    if (offset !== 0) entries.push({ index, block, offset });
  }
  return entries;
}

function parseTuples(page: Buffer): BrinTuple[] {
  const tuples: BrinTuple[] = [];
  for (let offnum = 1; offnum <= itemCount(page); offnum++) {
    if (itemFlags(page, offnum) === LP_UNUSED) continue;
    const tuple = item(page, offnum);
    const info = tuple[4] ?? 0;
    const start = info & TUPLE_OFFSET_MASK;
    if (tuple.length < BRIN_TUPLE_HEADER_SIZE || start < BRIN_TUPLE_HEADER_SIZE || start > tuple.length)
      throw new DbError('REDO_BAD_ITEM', `item ${offnum}: ${tuple.length} bytes are no summary tuple`);
    tuples.push({
      offnum,
      heapBlk: brinTupleHeapBlk(tuple),
      placeholder: (info & TUPLE_PLACEHOLDER) !== 0,
      emptyRange: (info & TUPLE_EMPTY_RANGE) !== 0,
      hasNulls: (info & TUPLE_NULLS) !== 0,
      values: tuple.subarray(start),
    });
  }
  return tuples;
}
