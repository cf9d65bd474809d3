/** What the masks of all resource managers are made of (access/common/bufmask.c, PostgreSQL 18). MASK_MARKER is 0. */
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
  setPdLower,
  setPdPruneXid,
  setPdUpper,
} from '../page/header.js';
import { itemCount, itemLength, itemOffset, LP_UNUSED, setItemId } from '../page/items.js';

/** mask_page_lsn_and_checksum. */
export function maskLsnAndChecksum(page: Buffer): void {
  page.fill(0, 0, 10);
}

/** mask_page_hint_bits: pd_prune_xid, and PAGE_FULL, HAS_FREE_LINES, ALL_VISIBLE of pd_flags. */
export function maskHintBits(page: Buffer): void {
  setPdPruneXid(page, 0);
  setPdFlags(page, pdFlags(page) & ~(PD_PAGE_FULL | PD_HAS_FREE_LINES | PD_ALL_VISIBLE));
}

/** mask_unused_space: the hole between line pointers and tuples. Throws REDO_BAD_PAGE. */
export function maskUnusedSpace(page: Buffer): void {
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

/** mask_lp_flags: the flags of every line pointer in use. */
export function maskLpFlags(page: Buffer): void {
  const count = itemCount(page);
  for (let i = 1; i <= count; i++) setItemId(page, i, itemOffset(page, i), LP_UNUSED, itemLength(page, i));
}

/** mask_page_content: all but the header, and pd_lower and pd_upper with it. */
export function maskPageContent(page: Buffer): void {
  page.fill(0, PAGE_HEADER_SIZE);
  setPdLower(page, 0);
  setPdUpper(page, 0);
}
