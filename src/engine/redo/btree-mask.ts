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
import { maskHintBits, maskLpFlags, maskLsnAndChecksum, maskUnusedSpace } from './mask-common.js';

/**
 * Masks `page` in place, for comparison only: LSN, checksum, header hints and the hole; dead marks of leaf items;
 * the garbage hint; and what the redo of a split does not restore (SPLIT_END, vacuum cycle id). Throws REDO_BAD_PAGE.
 */
export function maskBtree(page: Buffer, _blkno: number): void {
  checkBtreePage(page);
  maskLsnAndChecksum(page);
  maskHintBits(page);
  maskUnusedSpace(page);
  const flags = btFlags(page);
  if ((flags & BTP_LEAF) !== 0) maskLpFlags(page);
  setBtFlags(page, flags & ~(BTP_HAS_GARBAGE | BTP_SPLIT_END));
  setBtCycleId(page, 0);
}
