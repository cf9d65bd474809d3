/**
 * RM_BTREE_ID (access/nbtree/nbtxlog.c, PostgreSQL 18): the table of all record types. Which page a handler changes is told by the block id; the
 * form check has made sure that only the ids of the record type occur, so the last case of each handler needs no test.
 */
import {
  BTP_LEAF,
  BTP_ROOT,
  btPageInit,
  checkBtreePage,
  setBtFlags,
  setBtLevel,
  tupleSize,
} from '../page/btree.js';
import { addItem, addItemBytes, item } from '../page/items.js';
import { Rmgr, type WalRecord } from '../wal/types.js';
import { redoDelete, redoMarkHalfDead, redoUnlinkPage, redoVacuum } from './btree-delete.js';
import { clearIncompleteSplit, restoreItems, restoreMeta } from './btree-pages.js';
import { swapPosting } from './btree-posting.js';
import { redoDedup, redoSplitLeft, redoSplitRight } from './btree-split.js';
import { B0, B1, B2, B3, B4, formedOp, type RecordForm } from './record-form.js';
import { noPageEffect, redoError, type PageRedo, type RmgrTable } from './types.js';

export { maskBtree } from './btree-mask.js';

/**
 * btree_xlog_insert: xl_btree_insert { offnum u16 }. Blocks: 0 the page, its data the tuple; 1 the child whose split the new downlink
 * completes; 2 the metapage.
 */
const redoInsert: PageRedo = (page, rec, block) => {
  switch (block.id) {
    case 0: {
      const data = block.data;
      checkBtreePage(page);
      checkWholeTuple(data, 0);
      addItem(page, data, rec.mainData.readUInt16LE(0));
      return;
    }
    case 1:
      clearIncompleteSplit(page);
      return;
    default:
      restoreMeta(page, block);
  }
};

/**
 * The same with a posting list split. Block data: postingoff u16, then the tuple as the client inserted it; item offnum - 1 is the posting list
 * that its tid belongs into.
 */
const redoInsertPost: PageRedo = (page, rec, block) => {
  const offnum = rec.mainData.readUInt16LE(0);
  checkBtreePage(page);
  checkWholeTuple(block.data, 2);
  const newItem = Buffer.from(block.data.subarray(2));
  swapPosting(newItem, item(page, offnum - 1), block.data.readUInt16LE(0), offnum - 1);
  addItemBytes(page, newItem, 0, newItem.length, offnum);
};

function checkWholeTuple(data: Buffer, at: number): void {
  if (data.length < at + 8 || tupleSize(data, at) !== data.length - at) {
    throw redoError('REDO_BAD_RECORD', `${data.length} bytes of block data are not one index tuple`);
  }
}

/** xl_btree_newroot { rootblk u32, level u32 }. Blocks: 0 the root; 1 its left child, above the leaf level; 2 the metapage. */
const redoNewRoot: PageRedo = (page, rec, block) => {
  switch (block.id) {
    case 0: {
      const level = rec.mainData.readUInt32LE(4);
      btPageInit(page);
      setBtFlags(page, BTP_ROOT | (level === 0 ? BTP_LEAF : 0));
      setBtLevel(page, level);
      if (level > 0) restoreItems(page, block.data);
      return;
    }
    case 1:
      clearIncompleteSplit(page);
      return;
    default:
      restoreMeta(page, block);
  }
};

const redoMetaCleanup: PageRedo = (page, _rec, block) => restoreMeta(page, block);

const split: RecordForm = {
  main: 10,
  need: B0 | B1,
  init: B1,
  // The page to the right of the split may or may not exist: only its block reference tells.
  also: (rec) => (rec.blocks.some((b) => b.id === 2) ? B2 : 0) | (rec.mainData.readUInt32LE(0) > 0 ? B3 : 0),
};

function unlinkBlocks(rec: WalRecord): number {
  return (rec.mainData.readUInt32LE(0) !== 0 ? B1 : 0) | (rec.mainData.readUInt32LE(8) > 0 ? B3 : 0);
}

export const btreeTable: RmgrTable = {
  rmid: Rmgr.Btree,
  name: 'Btree',
  opMask: 0xf0,
  ops: {
    0x00: formedOp('INSERT_LEAF', redoInsert, { main: 2, need: B0 }),
    0x10: formedOp('INSERT_UPPER', redoInsert, { main: 2, need: B0 | B1 }),
    0x20: formedOp('INSERT_META', redoInsert, { main: 2, need: B0 | B1 | B2, init: B2 }),
    0x30: formedOp('SPLIT_L', redoSplitLeft, split),
    0x40: formedOp('SPLIT_R', redoSplitRight, split),
    0x50: formedOp('INSERT_POST', redoInsertPost, { main: 2, need: B0 }),
    0x60: formedOp('DEDUP', redoDedup, { main: 2, need: B0 }),
    0x70: formedOp('DELETE', redoDelete, { main: 9, need: B0 }),
    0x80: formedOp('UNLINK_PAGE', redoUnlinkPage, {
      main: 36,
      need: B0 | B2,
      init: B0 | B3,
      also: unlinkBlocks,
    }),
    0x90: formedOp('UNLINK_PAGE_META', redoUnlinkPage, {
      main: 36,
      need: B0 | B2 | B4,
      init: B0 | B3 | B4,
      also: unlinkBlocks,
    }),
    0xa0: formedOp('NEWROOT', redoNewRoot, {
      main: 8,
      need: B0 | B2,
      init: B0 | B2,
      also: (rec) => (rec.mainData.readUInt32LE(4) > 0 ? B1 : 0),
    }),
    0xb0: formedOp('MARK_PAGE_HALFDEAD', redoMarkHalfDead, { main: 20, need: B0 | B1, init: B0 }),
    0xc0: formedOp('VACUUM', redoVacuum, { main: 4, need: B0 }),
    0xd0: formedOp('REUSE_PAGE', noPageEffect, { main: 25, need: 0 }),
    0xe0: formedOp('META_CLEANUP', redoMetaCleanup, { main: 0, need: B0, init: B0 }),
  },
};
