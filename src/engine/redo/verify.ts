/**
 * Compares a replayed page with the image that PostgreSQL puts into each record under wal_consistency_checking
 * (xlogrecovery.c, verifyBackupPageConsistency): the page as it was on the primary after the change.
 */
import { readPageLsn } from '../lsn.js';
import { BLCKSZ } from '../page/constants.js';
import { isNewPage, pdLower, pdSpecial, pdUpper } from '../page/header.js';
import { itemCount, itemLength, itemOffset } from '../page/items.js';
import { restoreImage } from '../wal/image.js';
import type { BlockRef, WalRecord } from '../wal/types.js';
import { maskPage } from './mask.js';

export interface PageMismatch {
  /** First byte that differs, from the start of the page. */
  readonly offset: number;
  /** How many bytes differ. */
  readonly bytes: number;
  /** What lies at `offset`, e.g. `header`, `line pointer 3`, `item 7 + 20`. */
  readonly what: string;
  /** Both pages, masked. */
  readonly ours: Buffer;
  readonly theirs: Buffer;
}

/**
 * Null when `page`, to which `rec` was just applied, equals the record's image of `block` after masking both, or when there is
 * nothing to compare: no image, an image that redo applied itself, or a page that already holds later changes.
 * Throws REDO_BAD_PAGE when either page cannot be masked, WAL_* when the image is damaged.
 */
export function compareWithImage(page: Buffer, rec: WalRecord, block: BlockRef): PageMismatch | null {
  if (!isComparable(page, rec, block)) return null;
  return comparePages(rec.rmid, page, restoreImage(block, rec.startLsn), block.blkno);
}

/** Whether compareWithImage() would compare at all; for counting. */
export function isComparable(page: Buffer, rec: WalRecord, block: BlockRef): boolean {
  return block.hasImage && !block.applyImage && readPageLsn(page) <= rec.endLsn;
}

/** Compares two versions of a page after masking copies of both as that resource manager does; new pages as they are. */
export function comparePages(
  rmid: number,
  page: Buffer,
  expected: Buffer,
  blkno: number,
): PageMismatch | null {
  const ours = Buffer.from(page);
  const theirs = Buffer.from(expected);
  if (!isNewPage(ours)) maskPage(rmid, ours, blkno);
  if (!isNewPage(theirs)) maskPage(rmid, theirs, blkno);
  if (ours.equals(theirs)) return null;
  let offset = -1;
  let bytes = 0;
  for (let i = 0; i < BLCKSZ; i++) {
    if (ours[i] === theirs[i]) continue;
    if (offset < 0) offset = i;
    bytes++;
  }
  return { offset, bytes, what: placeName(theirs, offset), ours, theirs };
}

/** Names a position by the layout of the page as it should be. */
function placeName(page: Buffer, offset: number): string {
  if (offset < 24) return 'header';
  if (offset < pdLower(page)) return `line pointer ${((offset - 24) >>> 2) + 1}`;
  if (offset >= pdSpecial(page)) return `special + ${offset - pdSpecial(page)}`;
  if (offset < pdUpper(page)) return 'unused space';
  for (let i = 1; i <= itemCount(page); i++) {
    const within = offset - itemOffset(page, i);
    if (within >= 0 && within < ((itemLength(page, i) + 7) & ~7)) return `item ${i} + ${within}`;
  }
  return 'between items';
}
