/** What the Heap and Heap2 handlers share: building a tuple from a record, and marking one locked, deleted or updated. */
import { pdFlags, pdPruneXid, PD_ALL_VISIBLE, setPdFlags, setPdPruneXid } from '../page/header.js';
import {
  HEAP_COMBOCID,
  HEAP_KEYS_UPDATED,
  HEAP_MOVED,
  HEAP_TUPLE_HEADER_SIZE,
  HEAP_XMAX_BITS,
  HEAP_XMAX_EXCL_LOCK,
  HEAP_XMAX_IS_MULTI,
  HEAP_XMAX_KEYSHR_LOCK,
  HEAP_XMAX_LOCK_ONLY,
  MAX_HEAP_TUPLE_SIZE,
  T_CID,
  T_HOFF,
  T_INFOMASK,
  T_INFOMASK2,
  T_XMAX,
  T_XMIN,
  writeCtid,
  xidPrecedes,
} from '../page/heap.js';
import { addItemBytes, type AddItemOptions } from '../page/items.js';
import { INFOBIT } from './heap-records.js';
import { redoError } from './types.js';

/** A new tuple is assembled here and then copied to its page: redo is synchronous, and a buffer per tuple would cost more. */
export const newTuple = Buffer.alloc(MAX_HEAP_TUPLE_SIZE);

/** Line pointers are reused in place, and heap pages have a limit of them. */
const HEAP_ADD: AddItemOptions = { overwrite: true, heap: true };

/** Room in `newTuple` for `length` bytes, header included. Throws REDO_BAD_RECORD. */
export function checkTupleFits(length: number): void {
  if (length > MAX_HEAP_TUPLE_SIZE)
    throw redoError('REDO_BAD_RECORD', `tuple of ${length} bytes, at most ${MAX_HEAP_TUPLE_SIZE} fit`);
}

/** Throws REDO_BAD_RECORD unless a tuple of `length` bytes, header included, can lie on a page and has its data inside. */
function checkTupleSize(length: number, hoff: number): void {
  if (length > MAX_HEAP_TUPLE_SIZE || hoff < HEAP_TUPLE_HEADER_SIZE || hoff > length)
    throw redoError('REDO_BAD_RECORD', `tuple of ${length} bytes with its data at ${hoff}`);
}

/**
 * Completes the tuple in `newTuple`, whose bytes from t_bits on are in place already, and adds it to the page as item `offnum`.
 * `data` holds t_infomask2, t_infomask and t_hoff at `headerAt`, as each record does. t_cid is 0 as in PostgreSQL's redo: command
 * ids matter only inside the inserting transaction and are not logged.
 */
export function addNewTuple(
  page: Buffer,
  length: number,
  data: Buffer,
  headerAt: number,
  xmin: number,
  xmax: number,
  blkno: number,
  offnum: number,
): void {
  checkTupleSize(length, data[headerAt + 4]!);
  newTuple.writeUInt32LE(xmin, T_XMIN);
  newTuple.writeUInt32LE(xmax, T_XMAX);
  newTuple.writeUInt32LE(0, T_CID);
  writeCtid(newTuple, 0, blkno, offnum);
  newTuple.writeUInt16LE(data.readUInt16LE(headerAt), T_INFOMASK2);
  newTuple.writeUInt16LE(data.readUInt16LE(headerAt + 2) & ~HEAP_COMBOCID, T_INFOMASK);
  newTuple[T_HOFF] = data[headerAt + 4]!;
  addItemBytes(page, newTuple, 0, length, offnum, HEAP_ADD);
}

/**
 * Replaces the xmax bits of the tuple at `at` by those of a record's infobits_set (fix_infomask_from_infobits).
 * Returns the new t_infomask.
 */
export function setXmaxInfobits(page: Buffer, at: number, infobits: number): number {
  let infomask = page.readUInt16LE(at + T_INFOMASK) & ~(HEAP_XMAX_BITS | HEAP_MOVED);
  if (infobits & INFOBIT.IS_MULTI) infomask |= HEAP_XMAX_IS_MULTI;
  if (infobits & INFOBIT.LOCK_ONLY) infomask |= HEAP_XMAX_LOCK_ONLY;
  if (infobits & INFOBIT.EXCL_LOCK) infomask |= HEAP_XMAX_EXCL_LOCK;
  if (infobits & INFOBIT.KEYSHR_LOCK) infomask |= HEAP_XMAX_KEYSHR_LOCK;
  page.writeUInt16LE(infomask, at + T_INFOMASK);
  const infomask2 = page.readUInt16LE(at + T_INFOMASK2) & ~HEAP_KEYS_UPDATED;
  page.writeUInt16LE(
    infobits & INFOBIT.KEYS_UPDATED ? infomask2 | HEAP_KEYS_UPDATED : infomask2,
    at + T_INFOMASK2,
  );
  return infomask;
}

/** HeapTupleHeaderSetCmax(tuple, FirstCommandId, false). */
export function clearCid(page: Buffer, at: number): void {
  page.writeUInt32LE(0, at + T_CID);
  page.writeUInt16LE(page.readUInt16LE(at + T_INFOMASK) & ~HEAP_COMBOCID, at + T_INFOMASK);
}

export function setInfomask2Bit(page: Buffer, at: number, bit: number, on: boolean): void {
  const infomask2 = page.readUInt16LE(at + T_INFOMASK2);
  page.writeUInt16LE(on ? infomask2 | bit : infomask2 & ~bit, at + T_INFOMASK2);
}

/** PageSetPrunable: keeps the oldest xid whose end would make pruning worth while. */
export function setPrunable(page: Buffer, xid: number): void {
  const old = pdPruneXid(page);
  if (old === 0 || xidPrecedes(xid, old)) setPdPruneXid(page, xid);
}

export function setPageAllVisible(page: Buffer, on: boolean): void {
  setPdFlags(page, on ? pdFlags(page) | PD_ALL_VISIBLE : pdFlags(page) & ~PD_ALL_VISIBLE);
}
