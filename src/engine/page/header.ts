/**
 * PageHeaderData of PostgreSQL (bufpage.h), the first 24 bytes of every page with a standard layout. Little-endian.
 *
 *   0 pd_lsn u32 high, u32 low   8 pd_checksum u16   10 pd_flags u16   12 pd_lower u16   14 pd_upper u16
 *  16 pd_special u16            18 size|version u16  20 pd_prune_xid u32   24 line pointers, u32 each
 *
 * The accessors index bytes instead of calling the Buffer read methods: they run several times per replayed record.
 * They do not check; `checkPageBounds` does, and everything that moves bytes calls it first.
 */
import { DbError } from '../errors.js';
import { BLCKSZ } from './constants.js';

export const PAGE_HEADER_SIZE = 24;

/** pd_flags. The first two are hints that replay keeps on a best-effort basis, as PostgreSQL does. */
export const PD_HAS_FREE_LINES = 0x1;
export const PD_PAGE_FULL = 0x2;
export const PD_ALL_VISIBLE = 0x4;

/** pd_pagesize_version: page size ORed with layout version 4. */
export const PAGE_SIZE_VERSION = BLCKSZ | 4;

export function pdChecksum(page: Buffer): number {
  return page[8]! | (page[9]! << 8);
}
export function pdFlags(page: Buffer): number {
  return page[10]! | (page[11]! << 8);
}
/** End of the line pointers (or of the metadata), in bytes from the start of the page. */
export function pdLower(page: Buffer): number {
  return page[12]! | (page[13]! << 8);
}
/** Start of the tuple space; 0 on a page that was never initialised. */
export function pdUpper(page: Buffer): number {
  return page[14]! | (page[15]! << 8);
}
/** Start of the access method's special area; 8192 when there is none. */
export function pdSpecial(page: Buffer): number {
  return page[16]! | (page[17]! << 8);
}
export function pdPruneXid(page: Buffer): number {
  return page.readUInt32LE(20);
}

export function setPdChecksum(page: Buffer, value: number): void {
  page[8] = value;
  page[9] = value >>> 8;
}
export function setPdFlags(page: Buffer, value: number): void {
  page[10] = value;
  page[11] = value >>> 8;
}
export function setPdLower(page: Buffer, value: number): void {
  page[12] = value;
  page[13] = value >>> 8;
}
export function setPdUpper(page: Buffer, value: number): void {
  page[14] = value;
  page[15] = value >>> 8;
}
export function setPdSpecial(page: Buffer, value: number): void {
  page[16] = value;
  page[17] = value >>> 8;
}
export function setPdPruneXid(page: Buffer, xid: number): void {
  page.writeUInt32LE(xid, 20);
}

/** PageIsNew: never initialised (all-zero, as a file extension leaves it). Such a page carries no LSN. */
export function isNewPage(page: Buffer): boolean {
  return pdUpper(page) === 0;
}

/** PageInit of bufpage.c: zeroes all 8192 bytes, LSN included, then sets the bounds for a special area of that size. */
export function pageInit(page: Buffer, specialSize: number): void {
  const special = BLCKSZ - ((specialSize + 7) & ~7);
  page.fill(0);
  setPdLower(page, PAGE_HEADER_SIZE);
  setPdUpper(page, special);
  setPdSpecial(page, special);
  page[18] = PAGE_SIZE_VERSION & 0xff;
  page[19] = PAGE_SIZE_VERSION >>> 8;
}

/**
 * The test that bufpage.c makes before it moves bytes: 24 <= lower <= upper <= special <= 8192, special on a multiple
 * of 8. Throws REDO_BAD_PAGE: replaying onto such a page would spread the damage.
 */
export function checkPageBounds(page: Buffer): void {
  const lower = pdLower(page);
  const upper = pdUpper(page);
  const special = pdSpecial(page);
  if (
    lower < PAGE_HEADER_SIZE ||
    lower > upper ||
    upper > special ||
    special > BLCKSZ ||
    (special & 7) !== 0
  ) {
    throw new DbError(
      'REDO_BAD_PAGE',
      `corrupted page pointers: lower = ${lower}, upper = ${upper}, special = ${special}`,
    );
  }
}
