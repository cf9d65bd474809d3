/**
 * RM_GIST_ID (access/gist/gistxlog.c, PostgreSQL 18): the table of all record types. The form checks have made sure that only the block ids of the
 * record type occur, so the last case of each handler needs no test.
 */
import {
  GIST_HAS_GARBAGE,
  GIST_LEAF,
  GIST_TUPLES_DELETED,
  checkGistPage,
  gistFlags,
  gistPageSetDeleted,
  setGistFlags,
} from '../page/gist.js';
import { indexMultiDelete, indexTupleDelete, indexTupleOverwrite, itemCount } from '../page/items.js';
import { Rmgr, type BlockRef, type WalRecord } from '../wal/types.js';
import { checkPageSplit, clearFollowRight, redoPageSplit } from './gist-split.js';
import { appendTuples, tupleEnd } from './gist-tuples.js';
import { B0, B1, formedOp, type RecordForm } from './record-form.js';
import { noPageEffect, redoError, type PageRedo, type RmgrTable } from './types.js';

export { maskGist } from './gist-mask.js';

/**
 * gistxlogPageUpdate { ntodelete u16, ntoinsert u16 }. Blocks: 0 the page, its data u16[ntodelete] items that go and then ntoinsert tuples;
 * 1 the left half of a split that the new downlink completes.
 */
const redoPageUpdate: PageRedo = (page, rec, block) => {
  if (block.id === 0) updatePage(page, rec, block);
  else clearFollowRight(page, rec);
};

function updatePage(page: Buffer, rec: WalRecord, block: BlockRef): void {
  const { data } = block;
  const toDelete = rec.mainData.readUInt16LE(0);
  const toInsert = rec.mainData.readUInt16LE(2);
  checkGistPage(page);
  const tuples = toDelete * 2;
  if (tuples > data.length)
    throw redoError('REDO_BAD_RECORD', `${data.length} bytes of data for ${toDelete} deleted items`);
  if (toDelete === 1 && toInsert === 1) {
    // One for one keeps its item number and place on the page; delete and append would not.
    if (tupleEnd(data, tuples) !== data.length)
      throw redoError('REDO_BAD_RECORD', `${data.length} bytes of data for one tuple`);
    indexTupleOverwrite(page, data.readUInt16LE(0), data.subarray(tuples));
    return;
  }
  if (toDelete > 0) deleteItems(page, data, 0, toDelete);
  appendTuples(page, data, tuples, toInsert);
}

/** Removes the items whose u16 numbers start at `at` of `list`; a leaf remembers that it lost some. */
function deleteItems(page: Buffer, list: Buffer, at: number, count: number): void {
  const offnums = new Uint16Array(count);
  for (let i = 0; i < count; i++) offnums[i] = list.readUInt16LE(at + i * 2);
  indexMultiDelete(page, offnums);
  const flags = gistFlags(page);
  if ((flags & GIST_LEAF) !== 0) setGistFlags(page, flags | GIST_TUPLES_DELETED);
}

/** gistxlogDelete { snapshotConflictHorizon u32, ntodelete u16, isCatalogRel u8, pad, offsets u16[ntodelete] }: dead items of a leaf go. */
const redoDelete: PageRedo = (page, rec) => {
  checkGistPage(page);
  if ((gistFlags(page) & GIST_LEAF) === 0)
    throw redoError('REDO_BAD_PAGE', 'dead items to delete from an inner page');
  deleteItems(page, rec.mainData, 8, rec.mainData.readUInt16LE(4));
  setGistFlags(page, gistFlags(page) & ~GIST_HAS_GARBAGE);
};

/** gistxlogPageDelete { deleteXid u64, downlinkOffset u16 }. Blocks: 0 the leaf, which is empty; 1 its parent. */
const redoPageDelete: PageRedo = (page, rec, block) => {
  checkGistPage(page);
  if (block.id === 0) {
    if ((gistFlags(page) & GIST_LEAF) === 0 || itemCount(page) > 0)
      throw redoError('REDO_BAD_PAGE', `page to delete is no empty leaf: it has ${itemCount(page)} items`);
    gistPageSetDeleted(page, rec.mainData);
  } else {
    indexTupleDelete(page, rec.mainData.readUInt16LE(8));
  }
};

const pageUpdate: RecordForm = {
  main: 4,
  need: B0,
  // Only its block reference tells whether this completes a split.
  also: (rec) => {
    if (rec.mainData.readUInt32LE(0) === 0)
      throw redoError('REDO_BAD_RECORD', 'page update without items to delete or insert');
    return rec.blocks.some((b) => b.id === 1) ? B1 : 0;
  },
};

function deleteList(rec: WalRecord): number {
  const count = rec.mainData.readUInt16LE(4);
  if (count === 0 || rec.mainData.length !== 8 + count * 2)
    throw redoError('REDO_BAD_RECORD', `${rec.mainData.length} bytes of main data for ${count} dead items`);
  return 0;
}

export const gistTable: RmgrTable = {
  rmid: Rmgr.Gist,
  name: 'Gist',
  opMask: 0xf0,
  ops: {
    0x00: formedOp('PAGE_UPDATE', redoPageUpdate, pageUpdate, { afterImage: B1 }),
    0x10: formedOp('DELETE', redoDelete, { main: 8, longer: true, need: B0, also: deleteList }),
    0x20: formedOp('PAGE_REUSE', noPageEffect, { main: 25, need: 0 }),
    0x30: { name: 'PAGE_SPLIT', redo: redoPageSplit, check: checkPageSplit, afterImage: B0 },
    0x60: formedOp('PAGE_DELETE', redoPageDelete, { main: 10, need: B0 | B1 }),
    0x70: formedOp('ASSIGN_LSN', noPageEffect, { main: 4, need: 0 }),
  },
};
