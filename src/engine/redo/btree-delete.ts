/** Removal of index tuples and of whole pages: VACUUM, DELETE, MARK_PAGE_HALFDEAD, UNLINK_PAGE of nbtxlog.c, PostgreSQL 18. */
import {
  BTP_HAS_GARBAGE,
  BT_MAX_ITEM_SIZE,
  INDEX_ALT_TID,
  INDEX_SIZE_MASK,
  INDEX_TUPLE_HEADER_SIZE,
  TID_SIZE,
  btFlags,
  checkBtreePage,
  checkPosting,
  postingCount,
  setBtCycleId,
  setBtFlags,
  setBtNext,
  setBtPrev,
} from '../page/btree.js';
import { indexMultiDelete, indexTupleDelete, indexTupleOverwrite, item } from '../page/items.js';
import { buildDeletedPage, buildHalfDeadLeaf, restoreMeta } from './btree-pages.js';
import { setPostingHeader, setTupleInfo } from './btree-rebuild.js';
import { redoError, type PageRedo } from './types.js';

/** Where a shrunken posting list tuple is put together; no tuple on a page is larger than a page. */
const draft = Buffer.alloc(BT_MAX_ITEM_SIZE);

/** xl_btree_vacuum { ndeleted u16, nupdated u16 }: also clears the vacuum cycle id. */
export const redoVacuum: PageRedo = (page, rec, block) => {
  removeTids(page, block.data, rec.mainData.readUInt16LE(0), rec.mainData.readUInt16LE(2));
  setBtCycleId(page, 0);
};

/** xl_btree_delete { snapshotConflictHorizon u32, ndeleted u16, nupdated u16, isCatalogRel u8 }: keeps the cycle id. */
export const redoDelete: PageRedo = (page, rec, block) => {
  removeTids(page, block.data, rec.mainData.readUInt16LE(4), rec.mainData.readUInt16LE(6));
};

/**
 * Block data: u16[ndeleted] items that go; u16[nupdated] posting list tuples that lose some tids; for each of these { n u16, u16[n] } the
 * ascending indexes of the tids to drop. Updates come first: they do not change item numbers.
 */
function removeTids(page: Buffer, data: Buffer, deleted: number, updated: number): void {
  checkBtreePage(page);
  let at = (deleted + updated) * 2;
  if (at > data.length) {
    throw redoError(
      'REDO_BAD_RECORD',
      `${data.length} bytes of data for ${deleted} deleted and ${updated} updated items`,
    );
  }
  for (let i = 0; i < updated; i++) at = shrinkPosting(page, data.readUInt16LE((deleted + i) * 2), data, at);
  if (at !== data.length)
    throw redoError('REDO_BAD_RECORD', `${data.length - at} bytes after the last updated item`);
  if (deleted > 0) {
    const offnums = new Uint16Array(deleted);
    for (let i = 0; i < deleted; i++) offnums[i] = data.readUInt16LE(i * 2);
    indexMultiDelete(page, offnums);
  }
  setBtFlags(page, btFlags(page) & ~BTP_HAS_GARBAGE);
}

/**
 * btree_xlog_updates, _bt_update_posting: item `offnum` without the tids whose indexes follow at `at` of `data`; a plain tuple when one
 * tid is left. Returns where the next update starts.
 */
function shrinkPosting(page: Buffer, offnum: number, data: Buffer, at: number): number {
  const drop = at + 2 <= data.length ? data.readUInt16LE(at) : -1;
  const end = at + 2 + drop * 2;
  if (drop < 1 || end > data.length)
    throw redoError('REDO_BAD_RECORD', `update of item ${offnum} is cut off`);
  const tuple = item(page, offnum);
  if (tuple.length < INDEX_TUPLE_HEADER_SIZE)
    throw redoError('REDO_BAD_ITEM', `item ${offnum} is no index tuple`);
  const keySize = checkPosting(tuple, 0, tuple.length, offnum);
  const count = postingCount(tuple, 0);
  const left = count - drop;
  const size = left > 1 ? (keySize + left * TID_SIZE + 7) & ~7 : keySize;
  if (left < 1 || size > BT_MAX_ITEM_SIZE) {
    throw redoError('REDO_BAD_RECORD', `cannot drop ${drop} of the ${count} tids of item ${offnum}`);
  }
  tuple.copy(draft, 0, 0, keySize);
  draft.fill(0, keySize, size);
  const info = tuple.readUInt16LE(6);
  if (left > 1) setPostingHeader(draft, 0, keySize, size, left);
  else setTupleInfo(draft, 0, (info & ~(INDEX_SIZE_MASK | INDEX_ALT_TID)) | size);
  let to = left > 1 ? keySize : 0;
  let from = keySize;
  let previous = -1;
  for (let i = at + 2; i <= end; i += 2) {
    const index = i < end ? data.readUInt16LE(i) : count;
    if (index <= previous || (i < end && index >= count)) {
      throw redoError(
        'REDO_BAD_RECORD',
        `tid ${index} of item ${offnum} cannot be dropped: it has ${count} tids`,
      );
    }
    const stop = keySize + index * TID_SIZE;
    tuple.copy(draft, to, from, stop);
    to += stop - from;
    from = stop + TID_SIZE;
    previous = index;
  }
  indexTupleOverwrite(page, offnum, draft.subarray(0, size));
  return end;
}

/**
 * xl_btree_mark_page_halfdead { poffset u16, pad, leafblk, leftblk, rightblk, topparent: u32 }. Block 0: the leaf, rebuilt as half-dead;
 * block 1: the parent of the subtree to delete, where the downlink at poffset is led to the right sibling, whose own downlink goes.
 */
export const redoMarkHalfDead: PageRedo = (page, rec, block) => {
  const main = rec.mainData;
  if (block.id === 0) {
    buildHalfDeadLeaf(page, main.readUInt32LE(8), main.readUInt32LE(12), main.readUInt32LE(16));
    return;
  }
  checkBtreePage(page);
  const offnum = main.readUInt16LE(0);
  const target = item(page, offnum);
  const next = item(page, offnum + 1);
  if (target.length < INDEX_TUPLE_HEADER_SIZE || next.length < INDEX_TUPLE_HEADER_SIZE) {
    throw redoError('REDO_BAD_ITEM', `items ${offnum} and ${offnum + 1} are not both downlinks`);
  }
  next.copy(target, 0, 0, 4);
  indexTupleDelete(page, offnum + 1);
};

/**
 * xl_btree_unlink_page { leftsib, rightsib, level: u32, pad, safexid u64, leafleftsib, leafrightsib, leaftopparent: u32 }. Blocks: 0 the
 * target; 1, 2 its siblings (no left one if leftsib is 0); 3 the half-dead leaf below an internal target; 4 the metapage.
 */
export const redoUnlinkPage: PageRedo = (page, rec, block) => {
  const main = rec.mainData;
  const left = main.readUInt32LE(0);
  const right = main.readUInt32LE(4);
  switch (block.id) {
    case 0:
      buildDeletedPage(page, left, right, main.readUInt32LE(8), main.subarray(16, 24));
      return;
    case 1:
      checkBtreePage(page);
      setBtNext(page, right);
      return;
    case 2:
      checkBtreePage(page);
      setBtPrev(page, left);
      return;
    case 3:
      buildHalfDeadLeaf(page, main.readUInt32LE(24), main.readUInt32LE(28), main.readUInt32LE(32));
      return;
    default:
      restoreMeta(page, block);
  }
};
