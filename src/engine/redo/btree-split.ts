/** Page splits and deduplication: btree_xlog_split and btree_xlog_dedup of nbtxlog.c, PostgreSQL 18. */
import {
  BTP_HAS_GARBAGE,
  BTP_INCOMPLETE_SPLIT,
  BTP_LEAF,
  btFlags,
  checkBtreePage,
  btPageInit,
  firstDataKey,
  setBtCycleId,
  setBtFlags,
  setBtLevel,
  setBtNext,
  setBtPrev,
} from '../page/btree.js';
import { item } from '../page/items.js';
import type { BlockRef, WalRecord } from '../wal/types.js';
import { clearIncompleteSplit, restoreItems } from './btree-pages.js';
import { swapPosting, tupleSpan } from './btree-posting.js';
import { PageRebuild } from './btree-rebuild.js';
import { redoError, type PageRedo } from './types.js';

const rebuild = new PageRebuild();

/** Block number of another block of the same record; `none` when the record has no such block. */
function blknoOf(rec: WalRecord, id: number, none: number): number {
  for (const block of rec.blocks) if (block.id === id) return block.blkno;
  return none;
}

/**
 * xl_btree_split { level u32, firstrightoff u16, newitemoff u16, postingoff u16 }. Blocks: 0 the page that was split, which becomes the left
 * half; 1 the new right half; 2 the page after that, if any; 3 the child whose split is completed by this one, above the leaf level.
 */
function redoSplit(page: Buffer, rec: WalRecord, block: BlockRef, newItemOnLeft: boolean): void {
  const level = rec.mainData.readUInt32LE(0);
  switch (block.id) {
    case 0:
      splitLeftHalf(page, rec, block.data, newItemOnLeft);
      setBtFlags(page, BTP_INCOMPLETE_SPLIT | (level === 0 ? BTP_LEAF : 0));
      setBtNext(page, blknoOf(rec, 1, 0));
      setBtCycleId(page, 0);
      return;
    case 1:
      btPageInit(page);
      setBtPrev(page, blknoOf(rec, 0, 0));
      setBtNext(page, blknoOf(rec, 2, 0));
      setBtLevel(page, level);
      setBtFlags(page, level === 0 ? BTP_LEAF : 0);
      restoreItems(page, block.data);
      return;
    case 2:
      checkBtreePage(page);
      setBtPrev(page, blknoOf(rec, 1, 0));
      return;
    default:
      clearIncompleteSplit(page);
  }
}

/**
 * Block data: the new tuple (if it goes left, or if it splits a posting list that stays left), then the new high key. The left half is the high
 * key and the old items before `firstrightoff`, with the new tuple and the changed posting list at their places.
 */
function splitLeftHalf(page: Buffer, rec: WalRecord, data: Buffer, newItemOnLeft: boolean): void {
  const firstRight = rec.mainData.readUInt16LE(4);
  const newItemOff = rec.mainData.readUInt16LE(6);
  const postingOff = rec.mainData.readUInt16LE(8);
  rebuild.start(page);
  let highKey = 0;
  let newItem: Buffer | null = null;
  let posting: Buffer | null = null;
  if (newItemOnLeft || postingOff !== 0) {
    highKey = tupleSpan(data, 0);
    newItem = data.subarray(0, highKey);
  }
  if (newItem !== null && postingOff !== 0) {
    newItem = Buffer.from(newItem);
    posting = Buffer.from(item(page, newItemOff - 1));
    swapPosting(newItem, posting, postingOff, newItemOff - 1);
  }
  const highKeySize = tupleSpan(data, highKey);
  if (highKey + highKeySize !== data.length) {
    throw redoError(
      'REDO_BAD_RECORD',
      `split: ${data.length} bytes of data do not end with the left high key`,
    );
  }
  const first = firstDataKey(page);
  if (firstRight < first || firstRight > rebuild.oldCount + 1) {
    throw redoError(
      'REDO_BAD_RECORD',
      `split before item ${firstRight} of a page with ${rebuild.oldCount} items`,
    );
  }
  if (newItemOnLeft && (newItemOff < first || newItemOff > firstRight)) {
    throw redoError('REDO_BAD_RECORD', `split: new item ${newItemOff} is not left of item ${firstRight}`);
  }
  rebuild.append(data, highKey, highKeySize);
  for (let off = first; off < firstRight; off++) {
    if (posting !== null && off === newItemOff - 1) {
      rebuild.append(posting, 0, posting.length);
      continue;
    }
    if (newItemOnLeft && off === newItemOff) rebuild.append(newItem!, 0, newItem!.length);
    rebuild.keep(off);
  }
  if (newItemOnLeft && newItemOff === firstRight) rebuild.append(newItem!, 0, newItem!.length);
  rebuild.finish(page);
}

export const redoSplitLeft: PageRedo = (page, rec, block) => redoSplit(page, rec, block, true);
export const redoSplitRight: PageRedo = (page, rec, block) => redoSplit(page, rec, block, false);

/**
 * xl_btree_dedup { nintervals u16 }; block data { baseoff u16, nitems u16 } per interval, ascending: these runs of items become one
 * posting list tuple each, all other items stay as they are.
 */
export const redoDedup: PageRedo = (page, rec, block) => {
  const intervals = rec.mainData.readUInt16LE(0);
  const data = block.data;
  if (data.length !== intervals * 4) {
    throw redoError('REDO_BAD_RECORD', `dedup: ${data.length} bytes of data for ${intervals} intervals`);
  }
  rebuild.start(page);
  const count = rebuild.oldCount;
  const first = firstDataKey(page);
  let offnum = 1;
  for (let at = 0; at < data.length; at += 4) {
    const base = data.readUInt16LE(at);
    const items = data.readUInt16LE(at + 2);
    if (base < offnum || base < first || items < 2 || base + items > count + 1) {
      throw redoError(
        'REDO_BAD_RECORD',
        `dedup: items ${base} to ${base + items - 1} of ${count} cannot be merged`,
      );
    }
    while (offnum < base) rebuild.keep(offnum++);
    rebuild.merge(base, items);
    offnum = base + items;
  }
  while (offnum <= count) rebuild.keep(offnum++);
  rebuild.finish(page);
  setBtFlags(page, btFlags(page) & ~BTP_HAS_GARBAGE);
};
