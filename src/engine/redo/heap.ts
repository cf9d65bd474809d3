/** RM_HEAP_ID (access/heap/heapam_xlog.c, PostgreSQL 18): inserts, updates, deletes and row locks. */
import { pageInit } from '../page/header.js';
import {
  heapTupleAt,
  HEAP_HOT_UPDATED,
  HEAP_TUPLE_HEADER_SIZE,
  HEAP_XMAX_EXCL_LOCK,
  HEAP_XMAX_IS_MULTI,
  HEAP_XMAX_KEYSHR_LOCK,
  HEAP_XMAX_LOCK_ONLY,
  INVALID_BLOCK,
  MOVED_PARTITIONS_OFFSET,
  T_HOFF,
  T_XMAX,
  T_XMIN,
  writeCtid,
} from '../page/heap.js';
import { itemLength } from '../page/items.js';
import { Rmgr, type BlockRef, type WalRecord } from '../wal/types.js';
import {
  ALL_VISIBLE_CLEARED,
  checkBlocks,
  checkFlags,
  checkInfobits,
  checkMainData,
  DELETE_FLAG,
  HEAP_OP,
  INIT_PAGE,
  INSERT_FLAG,
  LOCK_ALL_FROZEN_CLEARED,
  SIZE_OF_HEAP_HEADER,
  UPDATE_FLAG,
} from './heap-records.js';
import {
  addNewTuple,
  checkTupleFits,
  clearCid,
  newTuple,
  setInfomask2Bit,
  setPageAllVisible,
  setPrunable,
  setXmaxInfobits,
} from './heap-tuple.js';
import { noEffect } from './no-effect.js';
import { redoError, type RmgrTable } from './types.js';

/** xl_heap_insert { offnum u16, flags u8 }. */
function checkInsert(rec: WalRecord): void {
  checkBlocks(rec, 1, (rec.info & INIT_PAGE) !== 0);
  checkMainData(rec, 3);
  const { IS_SPECULATIVE, CONTAINS_NEW_TUPLE, ON_TOAST } = INSERT_FLAG;
  checkFlags(rec.mainData[2]!, ALL_VISIBLE_CLEARED | IS_SPECULATIVE | CONTAINS_NEW_TUPLE | ON_TOAST);
}

/** heap_xlog_insert. A speculative insertion's token is not logged: t_ctid points at the tuple itself from the start. */
function redoInsert(page: Buffer, rec: WalRecord, block: BlockRef): void {
  const { data } = block;
  if (data.length <= SIZE_OF_HEAP_HEADER)
    throw redoError('REDO_BAD_RECORD', `tuple data of ${data.length} bytes`);
  const length = HEAP_TUPLE_HEADER_SIZE + data.length - SIZE_OF_HEAP_HEADER;
  checkTupleFits(length);
  if (block.willInit) pageInit(page, 0);
  data.copy(newTuple, HEAP_TUPLE_HEADER_SIZE, SIZE_OF_HEAP_HEADER);
  addNewTuple(page, length, data, 0, rec.xid, 0, block.blkno, rec.mainData.readUInt16LE(0));
  if (rec.mainData[2]! & ALL_VISIBLE_CLEARED) setPageAllVisible(page, false);
}

/** xl_heap_delete { xmax u32, offnum u16, infobits_set u8, flags u8 }, then perhaps the old tuple or its key, for decoding only. */
function checkDelete(rec: WalRecord): void {
  checkBlocks(rec, 1);
  checkMainData(rec, 8, true);
  const flags = rec.mainData[7]!;
  checkFlags(
    flags,
    ALL_VISIBLE_CLEARED | DELETE_FLAG.CONTAINS_OLD | DELETE_FLAG.IS_SUPER | DELETE_FLAG.IS_PARTITION_MOVE,
  );
  checkInfobits(rec.mainData[6]!);
  if ((flags & DELETE_FLAG.CONTAINS_OLD) === 0) checkMainData(rec, 8);
}

/** heap_xlog_delete. A super-deletion takes back a speculative insertion: xmin 0 makes the tuple dead at once. */
function redoDelete(page: Buffer, rec: WalRecord, block: BlockRef): void {
  const offnum = rec.mainData.readUInt16LE(4);
  const flags = rec.mainData[7]!;
  const at = heapTupleAt(page, offnum);
  setXmaxInfobits(page, at, rec.mainData[6]!);
  setInfomask2Bit(page, at, HEAP_HOT_UPDATED, false);
  if (flags & DELETE_FLAG.IS_SUPER) page.writeUInt32LE(0, at + T_XMIN);
  else page.writeUInt32LE(rec.mainData.readUInt32LE(0), at + T_XMAX);
  clearCid(page, at);
  setPrunable(page, rec.xid);
  if (flags & ALL_VISIBLE_CLEARED) setPageAllVisible(page, false);
  if (flags & DELETE_FLAG.IS_PARTITION_MOVE) writeCtid(page, at, INVALID_BLOCK, MOVED_PARTITIONS_OFFSET);
  else writeCtid(page, at, block.blkno, offnum);
}

/**
 * xl_heap_update { old_xmax u32, old_offnum u16, old_infobits_set u8, flags u8, new_xmax u32, new_offnum u16 }, then perhaps the old
 * tuple or its key. Block 0 gets the new version; block 1 holds the old one and is there only when it is another page. What is taken
 * from the old version, and HOT, need one page; a page built from scratch cannot hold the old version.
 */
function checkUpdate(rec: WalRecord): void {
  const init = (rec.info & INIT_PAGE) !== 0;
  const twoPages = rec.blocks.length === 2;
  checkBlocks(rec, twoPages ? 2 : 1, init);
  checkMainData(rec, 14, true);
  const flags = rec.mainData[7]!;
  checkFlags(flags, 0x7f);
  checkInfobits(rec.mainData[6]!);
  if ((flags & UPDATE_FLAG.CONTAINS_OLD) === 0) checkMainData(rec, 14);
  const hot = (rec.info & 0x70) === HEAP_OP.HOT_UPDATE;
  const needsOnePage = hot || (flags & (UPDATE_FLAG.PREFIX_FROM_OLD | UPDATE_FLAG.SUFFIX_FROM_OLD)) !== 0;
  if (
    (needsOnePage && twoPages) ||
    (init && !twoPages) ||
    (twoPages && sameBlock(rec.blocks[0]!, rec.blocks[1]!))
  )
    throw redoError(
      'REDO_BAD_RECORD',
      `update flags 0x${flags.toString(16)} contradict its ${rec.blocks.length} block(s)`,
    );
}

function sameBlock(a: BlockRef, b: BlockRef): boolean {
  return (
    a.blkno === b.blkno &&
    a.relNumber === b.relNumber &&
    a.dbOid === b.dbOid &&
    a.spcOid === b.spcOid &&
    a.fork === b.fork
  );
}

/** heap_xlog_update(record, false). */
function redoUpdate(page: Buffer, rec: WalRecord, block: BlockRef): void {
  updateBlock(page, rec, block, false);
}

/** heap_xlog_update(record, true): old and new version on one page, linked by a heap-only tuple. */
function redoHotUpdate(page: Buffer, rec: WalRecord, block: BlockRef): void {
  updateBlock(page, rec, block, true);
}

function updateBlock(page: Buffer, rec: WalRecord, block: BlockRef, hot: boolean): void {
  const onePage = rec.blocks.length === 1;
  const oldAt = onePage || block.id === 1 ? markOldVersion(page, rec, hot) : -1;
  if (block.id === 0) addNewVersion(page, rec, block, oldAt);
}

/** Returns where the old version lies. */
function markOldVersion(page: Buffer, rec: WalRecord, hot: boolean): number {
  const at = heapTupleAt(page, rec.mainData.readUInt16LE(4));
  setXmaxInfobits(page, at, rec.mainData[6]!);
  setInfomask2Bit(page, at, HEAP_HOT_UPDATED, hot);
  page.writeUInt32LE(rec.mainData.readUInt32LE(0), at + T_XMAX);
  clearCid(page, at);
  writeCtid(page, at, rec.blocks[0]!.blkno, rec.mainData.readUInt16LE(12));
  setPrunable(page, rec.xid);
  if (rec.mainData[7]! & UPDATE_FLAG.OLD_ALL_VISIBLE_CLEARED) setPageAllVisible(page, false);
  return at;
}

/**
 * Block data: [prefix length u16] [suffix length u16] xl_heap_header, then the tuple from t_bits on without what it shares with
 * the old version: `prefix` bytes from the start of the user data and `suffix` bytes at its end.
 */
function addNewVersion(page: Buffer, rec: WalRecord, block: BlockRef, oldAt: number): void {
  const { data } = block;
  const flags = rec.mainData[7]!;
  let pos = 0;
  let prefix = 0;
  let suffix = 0;
  if (flags & UPDATE_FLAG.PREFIX_FROM_OLD) {
    prefix = data.readUInt16LE(pos);
    pos += 2;
  }
  if (flags & UPDATE_FLAG.SUFFIX_FROM_OLD) {
    suffix = data.readUInt16LE(pos);
    pos += 2;
  }
  const headerAt = pos;
  pos += SIZE_OF_HEAP_HEADER;
  const logged = data.length - pos;
  const length = HEAP_TUPLE_HEADER_SIZE + logged + prefix + suffix;
  if (logged < 0) throw redoError('REDO_BAD_RECORD', `tuple data of ${data.length} bytes`);
  checkTupleFits(length);
  if (block.willInit) pageInit(page, 0);
  let to = HEAP_TUPLE_HEADER_SIZE;
  if (prefix > 0) {
    const bitmap = data[headerAt + 4]! - HEAP_TUPLE_HEADER_SIZE;
    const oldHoff = page[oldAt + T_HOFF]!;
    if (bitmap < 0 || bitmap > logged || oldHoff + prefix > itemLength(page, rec.mainData.readUInt16LE(4)))
      throw redoError(
        'REDO_BAD_RECORD',
        `prefix of ${prefix} bytes, null bitmap of ${bitmap}, exceed the old tuple or the record`,
      );
    to += data.copy(newTuple, to, pos, pos + bitmap);
    pos += bitmap;
    to += page.copy(newTuple, to, oldAt + oldHoff, oldAt + oldHoff + prefix);
  }
  to += data.copy(newTuple, to, pos);
  if (suffix > 0) {
    const oldLength = itemLength(page, rec.mainData.readUInt16LE(4));
    if (suffix > oldLength)
      throw redoError('REDO_BAD_RECORD', `suffix of ${suffix} bytes from a tuple of ${oldLength}`);
    page.copy(newTuple, to, oldAt + oldLength - suffix, oldAt + oldLength);
  }
  addNewTuple(
    page,
    length,
    data,
    headerAt,
    rec.xid,
    rec.mainData.readUInt32LE(8),
    block.blkno,
    rec.mainData.readUInt16LE(12),
  );
  if (flags & UPDATE_FLAG.NEW_ALL_VISIBLE_CLEARED) setPageAllVisible(page, false);
}

/** xl_heap_confirm { offnum u16 }. */
function checkConfirm(rec: WalRecord): void {
  checkBlocks(rec, 1);
  checkMainData(rec, 2);
}

/** heap_xlog_confirm: a speculative insertion became real, so its t_ctid points at itself. */
function redoConfirm(page: Buffer, rec: WalRecord, block: BlockRef): void {
  const offnum = rec.mainData.readUInt16LE(0);
  writeCtid(page, heapTupleAt(page, offnum), block.blkno, offnum);
}

/** xl_heap_lock { xmax u32, offnum u16, infobits_set u8, flags u8 }; xl_heap_lock_updated is the same. */
export function checkLock(rec: WalRecord): void {
  checkBlocks(rec, 1);
  checkMainData(rec, 8);
  checkFlags(rec.mainData[7]!, LOCK_ALL_FROZEN_CLEARED);
  checkInfobits(rec.mainData[6]!);
}

/** heap_xlog_lock. Where xmax now only locks, an older update's traces (HOT flag, forward link) go. */
function redoLock(page: Buffer, rec: WalRecord, block: BlockRef): void {
  const offnum = rec.mainData.readUInt16LE(4);
  const at = heapTupleAt(page, offnum);
  const infomask = setXmaxInfobits(page, at, rec.mainData[6]!);
  if (isLockedOnly(infomask)) {
    setInfomask2Bit(page, at, HEAP_HOT_UPDATED, false);
    writeCtid(page, at, block.blkno, offnum);
  }
  page.writeUInt32LE(rec.mainData.readUInt32LE(0), at + T_XMAX);
  clearCid(page, at);
}

/** HEAP_XMAX_IS_LOCKED_ONLY. The second form is how releases before 9.3 wrote FOR UPDATE. */
function isLockedOnly(infomask: number): boolean {
  const kind = HEAP_XMAX_IS_MULTI | HEAP_XMAX_EXCL_LOCK | HEAP_XMAX_KEYSHR_LOCK;
  return (infomask & HEAP_XMAX_LOCK_ONLY) !== 0 || (infomask & kind) === HEAP_XMAX_EXCL_LOCK;
}

/** xl_heap_inplace { offnum u16, pad 2, dbId u32, tsId u32, relcacheInitFileInval u8, pad 3, nmsgs i32 }, 16 bytes a message. */
function checkInplace(rec: WalRecord): void {
  checkBlocks(rec, 1);
  checkMainData(rec, 20, true);
  checkMainData(rec, 20 + 16 * rec.mainData.readUInt32LE(16));
}

/** heap_xlog_inplace: overwrites the user data of a tuple with as many bytes. */
function redoInplace(page: Buffer, rec: WalRecord, block: BlockRef): void {
  const offnum = rec.mainData.readUInt16LE(0);
  const at = heapTupleAt(page, offnum);
  const hoff = page[at + T_HOFF]!;
  const size = itemLength(page, offnum) - hoff;
  if (size !== block.data.length)
    throw redoError(
      'REDO_BAD_RECORD',
      `${block.data.length} bytes to replace ${size} bytes of tuple ${offnum}`,
    );
  block.data.copy(page, at + hoff);
}

export const heapTable: RmgrTable = {
  rmid: Rmgr.Heap,
  name: 'Heap',
  opMask: 0x70,
  ops: {
    [HEAP_OP.INSERT]: { name: 'INSERT', infoBits: INIT_PAGE, check: checkInsert, redo: redoInsert },
    [HEAP_OP.DELETE]: { name: 'DELETE', check: checkDelete, redo: redoDelete },
    [HEAP_OP.UPDATE]: { name: 'UPDATE', infoBits: INIT_PAGE, check: checkUpdate, redo: redoUpdate },
    // The file operations have records of their own (Storage); this one is for logical decoding.
    [HEAP_OP.TRUNCATE]: noEffect('TRUNCATE'),
    [HEAP_OP.HOT_UPDATE]: {
      name: 'HOT_UPDATE',
      infoBits: INIT_PAGE,
      check: checkUpdate,
      redo: redoHotUpdate,
    },
    [HEAP_OP.CONFIRM]: { name: 'HEAP_CONFIRM', check: checkConfirm, redo: redoConfirm },
    [HEAP_OP.LOCK]: { name: 'LOCK', check: checkLock, redo: redoLock },
    [HEAP_OP.INPLACE]: { name: 'INPLACE', check: checkInplace, redo: redoInplace },
  },
};
