/** What may differ between a replayed B-tree page and the primary's: btree_mask of nbtxlog.c and access/common/bufmask.c. */
import {
  BTP_HAS_GARBAGE,
  BTP_LEAF,
  BTP_SPLIT_END,
  btFlags,
  checkBtreePage,
  setBtCycleId,
  setBtFlags,
} from '../page/btree.js';
import {
  PD_ALL_VISIBLE,
  PD_HAS_FREE_LINES,
  PD_PAGE_FULL,
  pdFlags,
  pdLower,
  pdUpper,
  setPdFlags,
  setPdPruneXid,
} from '../page/header.js';
import { itemCount, itemLength, itemOffset, setItemId } from '../page/items.js';

/**
 * Masks `page` in place, for comparison only: LSN, checksum, header hints and the hole; dead marks of leaf items;
 * the garbage hint; and what the redo of a split does not restore (SPLIT_END, vacuum cycle id). Throws REDO_BAD_PAGE.
 */
export function maskBtree(page: Buffer, _blkno: number): void {
  checkBtreePage(page);
  page.fill(0, 0, 10);
  setPdPruneXid(page, 0);
  setPdFlags(page, pdFlags(page) & ~(PD_HAS_FREE_LINES | PD_PAGE_FULL | PD_ALL_VISIBLE));
  page.fill(0, pdLower(page), pdUpper(page));
  const flags = btFlags(page);
  if ((flags & BTP_LEAF) !== 0) {
    const count = itemCount(page);
    for (let i = 1; i <= count; i++) setItemId(page, i, itemOffset(page, i), 0, itemLength(page, i));
  }
  setBtFlags(page, flags & ~(BTP_HAS_GARBAGE | BTP_SPLIT_END));
  setBtCycleId(page, 0);
}
