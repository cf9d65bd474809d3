/**
 * Line pointers (ItemIdData): little-endian u32s from byte 24 of a page on, bits 0-14 lp_off, 15-16 lp_flags, 17-31 lp_len.
 * Offset numbers count from 1. The plain accessors allocate nothing and do not check the offset number; whoever takes one
 * from a record or from a page checks it with `checkOffset` or reads through `item`.
 */
import { DbError } from '../errors.js';
import { BLCKSZ } from './constants.js';
import { PAGE_HEADER_SIZE, pdLower, pdSpecial, pdUpper } from './header.js';

export const LP_UNUSED = 0;
export const LP_NORMAL = 1;
export const LP_REDIRECT = 2;
export const LP_DEAD = 3;

/** sizeof(ItemIdData). */
export const ITEM_ID_SIZE = 4;

export interface ItemId {
  /** Byte position on the page; of a redirect, the offset number it leads to. */
  readonly off: number;
  readonly flags: number;
  /** Bytes of the tuple, without the padding up to the next multiple of 8. */
  readonly len: number;
}

/** Number of line pointers (PageGetMaxOffsetNumber), whatever their state. */
export function itemCount(page: Buffer): number {
  const lower = pdLower(page);
  return lower <= PAGE_HEADER_SIZE ? 0 : (lower - PAGE_HEADER_SIZE) >>> 2;
}

/** The raw line pointer as a signed 32-bit integer; take it apart with >>>. */
export function itemWord(page: Buffer, offnum: number): number {
  const at = PAGE_HEADER_SIZE + (offnum - 1) * ITEM_ID_SIZE;
  return page[at]! | (page[at + 1]! << 8) | (page[at + 2]! << 16) | (page[at + 3]! << 24);
}

export function itemOffset(page: Buffer, offnum: number): number {
  const at = PAGE_HEADER_SIZE + (offnum - 1) * ITEM_ID_SIZE;
  return page[at]! | ((page[at + 1]! & 0x7f) << 8);
}
export function itemFlags(page: Buffer, offnum: number): number {
  return (itemWord(page, offnum) >>> 15) & 3;
}
export function itemLength(page: Buffer, offnum: number): number {
  return itemWord(page, offnum) >>> 17;
}
/** All three at once, for inspection. */
export function itemId(page: Buffer, offnum: number): ItemId {
  const word = itemWord(page, offnum);
  return { off: word & 0x7fff, flags: (word >>> 15) & 3, len: word >>> 17 };
}

export function setItemId(page: Buffer, offnum: number, off: number, flags: number, len: number): void {
  const at = PAGE_HEADER_SIZE + (offnum - 1) * ITEM_ID_SIZE;
  page[at] = off;
  page[at + 1] = ((off >>> 8) & 0x7f) | ((flags & 1) << 7);
  page[at + 2] = ((flags >>> 1) & 1) | ((len & 0x7f) << 1);
  page[at + 3] = len >>> 7;
}

/** Moves an item's lp_off by `delta` bytes within its 15 bits; flags and length stay. */
export function shiftItemOffset(page: Buffer, offnum: number, delta: number): void {
  const at = PAGE_HEADER_SIZE + (offnum - 1) * ITEM_ID_SIZE;
  const high = page[at + 1]!;
  const off = (page[at]! | ((high & 0x7f) << 8)) + delta;
  page[at] = off;
  page[at + 1] = ((off >>> 8) & 0x7f) | (high & 0x80);
}

/** Throws REDO_BAD_ITEM unless 1 <= offnum <= itemCount(page) and the line pointer lies on the page. */
export function checkOffset(page: Buffer, offnum: number): void {
  const count = itemCount(page);
  if (!(offnum >= 1 && offnum <= count) || pdLower(page) > BLCKSZ) {
    throw new DbError('REDO_BAD_ITEM', `no item ${offnum} on a page with ${count} items`);
  }
}

/** Position of the tuple of an item with storage, checked to lie in the tuple space. Throws REDO_BAD_ITEM. */
export function checkedItemOffset(page: Buffer, offnum: number): number {
  checkOffset(page, offnum);
  const word = itemWord(page, offnum);
  const off = word & 0x7fff;
  const len = word >>> 17;
  if (len === 0 || off < pdUpper(page) || off + len > pdSpecial(page) || off + len > BLCKSZ) {
    throw badLinePointer(offnum, off, len);
  }
  return off;
}

/** A view of the item's tuple bytes (lp_len of them). Throws REDO_BAD_ITEM. */
export function item(page: Buffer, offnum: number): Buffer {
  const off = checkedItemOffset(page, offnum);
  return page.subarray(off, off + itemLength(page, offnum));
}

export function badLinePointer(offnum: number, off: number, len: number): DbError {
  return new DbError(
    'REDO_BAD_ITEM',
    `corrupted line pointer of item ${offnum}: offset = ${off}, size = ${len}`,
  );
}
