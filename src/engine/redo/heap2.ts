/**
 * RM_HEAP2_ID (access/heap/heapam_xlog.c, PostgreSQL 18): multi-insert, visibility map, locks on later row versions.
 * Pruning is in heap-prune.ts.
 */
import { writePageLsn } from '../lsn.js';
import { isNewPage, pageInit } from '../page/header.js';
import { heapTupleAt, HEAP_TUPLE_HEADER_SIZE, T_XMAX } from '../page/heap.js';
import { vmBitsOf, vmBlockOf, vmByteOf, vmShiftOf, VM_VALID_BITS } from '../page/vm.js';
import { ForkNumber, Rmgr, type BlockRef, type WalRecord } from '../wal/types.js';
import { checkLock } from './heap.js';
import { checkPrune, redoPrune } from './heap-prune.js';
import {
  ALL_VISIBLE_CLEARED,
  checkBlocks,
  checkFlags,
  checkMainData,
  HEAP2_OP,
  INIT_PAGE,
  INSERT_FLAG,
  SIZE_OF_MULTI_INSERT_TUPLE,
  VISIBLE_CATALOG_REL,
} from './heap-records.js';
import { addNewTuple, checkTupleFits, newTuple, setPageAllVisible, setXmaxInfobits } from './heap-tuple.js';
import { noEffect } from './no-effect.js';
import { redoError, type RedoContext, type RmgrTable } from './types.js';

/** xl_heap_visible { snapshotConflictHorizon u32, flags u8 }. Block 0 is the map page, block 1 the heap page. */
function checkVisible(rec: WalRecord): void {
  checkBlocks(rec, 2);
  checkMainData(rec, 5);
  checkFlags(rec.mainData[4]!, VM_VALID_BITS | VISIBLE_CATALOG_REL);
  const [map, heap] = rec.blocks as [BlockRef, BlockRef];
  if (map.fork !== ForkNumber.vm || heap.fork !== ForkNumber.main || vmBlockOf(heap.blkno) !== map.blkno)
    throw redoError(
      'REDO_BAD_RECORD',
      `block ${map.blkno} of fork ${map.fork} does not hold the visibility bits of heap block ${heap.blkno}`,
    );
}

/**
 * heap_xlog_visible. The heap page is stamped only where hint bits are WAL-logged: otherwise the record carries no image of it, and
 * a newer LSN would keep later images from being taken. The map page is stamped when its bits change (visibilitymap_set).
 */
function redoVisible(page: Buffer, rec: WalRecord, block: BlockRef, ctx: RedoContext): void {
  if (block.id === 1) {
    setPageAllVisible(page, true);
    if (ctx.walLogHints || ctx.checksums) writePageLsn(page, rec.endLsn);
    return;
  }
  if (isNewPage(page)) pageInit(page, 0);
  const heapBlk = rec.blocks[1]!.blkno;
  const bits = rec.mainData[4]! & VM_VALID_BITS;
  if (vmBitsOf(page, heapBlk) === bits) return;
  const at = vmByteOf(heapBlk);
  page[at] = page[at]! | (bits << vmShiftOf(heapBlk));
  writePageLsn(page, rec.endLsn);
}

/** xl_heap_multi_insert { flags u8, pad, ntuples u16, offsets u16[ntuples] }; no offsets when the page is built from scratch. */
function checkMultiInsert(rec: WalRecord): void {
  const init = (rec.info & INIT_PAGE) !== 0;
  checkBlocks(rec, 1, init);
  checkMainData(rec, 4, true);
  checkMainData(rec, init ? 4 : 4 + 2 * rec.mainData.readUInt16LE(2));
  const { LAST_IN_MULTI, CONTAINS_NEW_TUPLE, ON_TOAST, ALL_FROZEN_SET } = INSERT_FLAG;
  checkFlags(
    rec.mainData[0]!,
    ALL_VISIBLE_CLEARED | LAST_IN_MULTI | CONTAINS_NEW_TUPLE | ON_TOAST | ALL_FROZEN_SET,
  );
}

/** heap_xlog_multi_insert. Each tuple's header begins on an even position of the block data. */
function redoMultiInsert(page: Buffer, rec: WalRecord, block: BlockRef): void {
  const { mainData } = rec;
  const { data } = block;
  const flags = mainData[0]!;
  const count = mainData.readUInt16LE(2);
  if (block.willInit) pageInit(page, 0);
  let pos = 0;
  for (let i = 0; i < count; i++) {
    const offnum = block.willInit ? i + 1 : mainData.readUInt16LE(4 + 2 * i);
    const header = (pos + 1) & ~1;
    const start = header + SIZE_OF_MULTI_INSERT_TUPLE;
    const size = data.readUInt16LE(header);
    pos = start + size;
    if (pos > data.length)
      throw redoError('REDO_BAD_RECORD', `tuple ${i + 1} of ${count} exceeds the block data`);
    checkTupleFits(HEAP_TUPLE_HEADER_SIZE + size);
    data.copy(newTuple, HEAP_TUPLE_HEADER_SIZE, start, pos);
    addNewTuple(page, HEAP_TUPLE_HEADER_SIZE + size, data, header + 2, rec.xid, 0, block.blkno, offnum);
  }
  if (pos !== data.length)
    throw redoError(
      'REDO_BAD_RECORD',
      `${count} tuples take ${pos} bytes of ${data.length} bytes of block data`,
    );
  if (flags & ALL_VISIBLE_CLEARED) setPageAllVisible(page, false);
  if (flags & INSERT_FLAG.ALL_FROZEN_SET) setPageAllVisible(page, true);
}

/** heap_xlog_lock_updated: a lock passed on to a newer version of the row, whose own update stays as it is. */
function redoLockUpdated(page: Buffer, rec: WalRecord): void {
  const at = heapTupleAt(page, rec.mainData.readUInt16LE(4));
  setXmaxInfobits(page, at, rec.mainData[6]!);
  page.writeUInt32LE(rec.mainData.readUInt32LE(0), at + T_XMAX);
}

export const heap2Table: RmgrTable = {
  rmid: Rmgr.Heap2,
  name: 'Heap2',
  opMask: 0x70,
  ops: {
    // Writes a file for logical decoding across a rewrite of a catalog, no page.
    [HEAP2_OP.REWRITE]: noEffect('REWRITE'),
    // One redo routine: the opcodes only tell who pruned.
    [HEAP2_OP.PRUNE_ON_ACCESS]: { name: 'PRUNE_ON_ACCESS', check: checkPrune, redo: redoPrune },
    [HEAP2_OP.PRUNE_VACUUM_SCAN]: { name: 'PRUNE_VACUUM_SCAN', check: checkPrune, redo: redoPrune },
    [HEAP2_OP.PRUNE_VACUUM_CLEANUP]: { name: 'PRUNE_VACUUM_CLEANUP', check: checkPrune, redo: redoPrune },
    [HEAP2_OP.VISIBLE]: {
      name: 'VISIBLE',
      check: checkVisible,
      redo: redoVisible,
      keepsLsn: true,
      createsBlock: 0,
    },
    [HEAP2_OP.MULTI_INSERT]: {
      name: 'MULTI_INSERT',
      infoBits: INIT_PAGE,
      check: checkMultiInsert,
      redo: redoMultiInsert,
    },
    [HEAP2_OP.LOCK_UPDATED]: { name: 'LOCK_UPDATED', check: checkLock, redo: redoLockUpdated },
    // Command ids of catalog rows, for logical decoding.
    [HEAP2_OP.NEW_CID]: noEffect('NEW_CID'),
  },
};
