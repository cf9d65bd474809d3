/** B-tree pages as redo builds them from scratch, and what several record types share (nbtxlog.c, PostgreSQL 18). */
import { DbError } from '../errors.js';
import {
  BTP_DELETED,
  BTP_HALF_DEAD,
  BTP_HAS_FULLXID,
  BTP_INCOMPLETE_SPLIT,
  BTP_LEAF,
  BTP_META,
  BTREE_MAGIC,
  BT_META_SIZE,
  INDEX_ALT_TID,
  INDEX_TUPLE_HEADER_SIZE,
  btFlags,
  btPageInit,
  checkBtreePage,
  setBtFlags,
  setBtLevel,
  setBtNext,
  setBtPrev,
  setTidBlock,
} from '../page/btree.js';
import { PAGE_HEADER_SIZE, pdUpper, setPdLower, setPdUpper } from '../page/header.js';
import { ITEM_ID_SIZE, LP_NORMAL, MAX_INDEX_TUPLES_PER_PAGE, addItem, setItemId } from '../page/items.js';
import type { BlockRef } from '../wal/types.js';
import { tupleSpan } from './btree-posting.js';
import { setTupleInfo } from './btree-rebuild.js';
import { redoError } from './types.js';

/** sizeof(xl_btree_metadata), three bytes of padding at its end included. */
const METADATA_SIZE = 28;

/** _bt_clear_incomplete_split: the page's right sibling now has a downlink. */
export function clearIncompleteSplit(page: Buffer): void {
  checkBtreePage(page);
  setBtFlags(page, btFlags(page) & ~BTP_INCOMPLETE_SPLIT);
}

/**
 * _bt_restore_meta: the metapage from xl_btree_metadata { version, root, level, fastroot, fastlevel, last_cleanup_num_delpages: u32 each,
 * allequalimage u8 }. The number of heap tuples at the last cleanup is not logged and becomes -1.
 */
export function restoreMeta(page: Buffer, block: BlockRef): void {
  const data = block.data;
  if (data.length !== METADATA_SIZE || block.blkno !== 0) {
    throw redoError('REDO_BAD_RECORD', `${data.length} bytes of B-tree metadata for block ${block.blkno}`);
  }
  btPageInit(page);
  page.writeUInt32LE(BTREE_MAGIC, PAGE_HEADER_SIZE);
  data.copy(page, PAGE_HEADER_SIZE + 4, 0, 24);
  page.writeDoubleLE(-1, PAGE_HEADER_SIZE + 32);
  page[PAGE_HEADER_SIZE + 40] = data[24]!;
  setBtFlags(page, BTP_META);
  setPdLower(page, PAGE_HEADER_SIZE + BT_META_SIZE);
}

/**
 * _bt_restore_page: fills an empty page from a copy of another page's tuple space, where the tuple of the highest item comes first. The
 * tuples have aligned sizes, so their new place is one copy; only the line pointers are built one by one.
 */
export function restoreItems(page: Buffer, data: Buffer): void {
  let count = 0;
  for (let at = 0; at < data.length; at += tupleSpan(data, at)) count++;
  const start = pdUpper(page) - data.length;
  const lower = PAGE_HEADER_SIZE + count * ITEM_ID_SIZE;
  if (start < lower || count > MAX_INDEX_TUPLES_PER_PAGE) {
    throw new DbError('REDO_ADD_ITEM', `${count} tuples of ${data.length} bytes do not fit on an empty page`);
  }
  let offnum = count;
  for (let at = 0; at < data.length; offnum--) {
    const span = tupleSpan(data, at);
    setItemId(page, offnum, start + at, LP_NORMAL, span);
    at += span;
  }
  data.copy(page, start);
  setPdLower(page, lower);
  setPdUpper(page, start);
}

/** A leaf that waits for its deletion: no items but a high key without columns that names the top of the subtree to delete. */
export function buildHalfDeadLeaf(page: Buffer, prev: number, next: number, topParent: number): void {
  btPageInit(page);
  setBtPrev(page, prev);
  setBtNext(page, next);
  setBtFlags(page, BTP_HALF_DEAD | BTP_LEAF);
  const highKey = Buffer.alloc(INDEX_TUPLE_HEADER_SIZE);
  setTidBlock(highKey, 0, topParent);
  setTupleInfo(highKey, 0, INDEX_TUPLE_HEADER_SIZE | INDEX_ALT_TID);
  addItem(page, highKey, 1);
}

/** BTPageSetDeleted on an empty page: no items, only the full transaction id (8 bytes) after which it may be reused. */
export function buildDeletedPage(
  page: Buffer,
  prev: number,
  next: number,
  level: number,
  safeXid: Buffer,
): void {
  btPageInit(page);
  setBtPrev(page, prev);
  setBtNext(page, next);
  setBtLevel(page, level);
  setBtFlags(page, BTP_DELETED | BTP_HAS_FULLXID | (level === 0 ? BTP_LEAF : 0));
  setPdLower(page, PAGE_HEADER_SIZE + 8);
  safeXid.copy(page, PAGE_HEADER_SIZE, 0, 8);
}
