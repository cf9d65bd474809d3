/** What the SP-GiST record types share: tuples in records, and changes to pages that keep every other tuple's offset (PostgreSQL 18). */
import {
  NOWHERE,
  SPGIST_DEAD_SIZE,
  SPGIST_INNER_HEADER,
  SPGIST_LEAF,
  SPGIST_LIVE,
  SPGIST_NULLS,
  SPGIST_PLACEHOLDER,
  SPGIST_REDIRECT,
  checkSpgistPage,
  countTuples,
  formDeadTuple,
  innerTupleSize,
  leafTupleSize,
  nodeAt,
  prefixSize,
  setTid,
  spgFlags,
  spgPageInit,
  spgTuple,
  tupleState,
} from '../page/spgist.js';
import type { Tid } from '../page/btree.js';
import { addItem, addItemBytes, indexMultiDelete, indexTupleDelete, itemCount } from '../page/items.js';
import type { WalRecord } from '../wal/types.js';
import { redoError } from './types.js';

/** Block number of another block of the same record. The form check has made sure that it is there. */
export function blknoOf(rec: WalRecord, id: number): number {
  for (const block of rec.blocks) if (block.id === id) return block.blkno;
  throw redoError('REDO_BAD_RECORD', `no block reference ${id}`);
}

/** A C bool in the record. Throws REDO_UNKNOWN_RECORD for what a bool cannot be. */
export function flagAt(data: Buffer, at: number): boolean {
  const byte = data[at]!;
  if (byte > 1) throw redoError('REDO_UNKNOWN_RECORD', `flag byte ${at} of the main data is ${byte}`);
  return byte === 1;
}

/**
 * spgxlogState { redirectXid u32, isBuild bool }. Refuses records of an index build: PostgreSQL 18 logs whole pages at its end instead
 * (spgbuild), so that their placeholders in the place of redirects never come.
 */
export function checkState(data: Buffer, at: number): void {
  if (flagAt(data, at + 4))
    throw redoError('REDO_UNKNOWN_RECORD', 'record of an SP-GiST index build, which is not logged');
}

/** Size of the live leaf tuple at `at` of the main data. Throws REDO_BAD_RECORD unless it is whole. */
export function leafSpan(data: Buffer, at: number): number {
  return checkSpan(data, at, at + 4 <= data.length ? leafTupleSize(data, at) : 0);
}

/** Size of the live inner tuple at `at` of the main data. Throws REDO_BAD_RECORD unless it is whole. */
export function innerSpan(data: Buffer, at: number): number {
  const size = checkSpan(data, at, at + 6 <= data.length ? innerTupleSize(data, at) : 0);
  if (SPGIST_INNER_HEADER + prefixSize(data, at) > size)
    throw redoError('REDO_BAD_RECORD', `inner tuple of ${size} bytes is shorter than its prefix`);
  return size;
}

function checkSpan(data: Buffer, at: number, size: number): number {
  if (size < SPGIST_DEAD_SIZE || (size & 7) !== 0 || at + size > data.length) {
    throw redoError(
      'REDO_BAD_RECORD',
      `no whole SP-GiST tuple at byte ${at} of ${data.length} bytes of main data`,
    );
  }
  if (tupleState(data, at) !== SPGIST_LIVE)
    throw redoError('REDO_BAD_RECORD', `the tuple at byte ${at} of the main data is not a live one`);
  return size;
}

/** Throws REDO_BAD_RECORD unless exactly `count` leaf tuples fill the main data from `at` on. */
export function checkLeafTuples(data: Buffer, at: number, count: number): void {
  for (let i = 0; i < count; i++) at += leafSpan(data, at);
  checkEnd(data, at);
}

/** Throws REDO_BAD_RECORD unless the main data ends at `end`. */
export function checkEnd(data: Buffer, end: number): void {
  if (data.length !== end)
    throw redoError('REDO_BAD_RECORD', `${data.length} bytes of main data instead of ${end}`);
}

/** Makes an empty leaf page. */
export function initLeafPage(page: Buffer, storesNulls: boolean): void {
  spgPageInit(page, SPGIST_LEAF | (storesNulls ? SPGIST_NULLS : 0));
}

/** Makes an empty inner page. */
export function initInnerPage(page: Buffer, storesNulls: boolean): void {
  spgPageInit(page, storesNulls ? SPGIST_NULLS : 0);
}

export function checkLeafPage(page: Buffer): void {
  checkSpgistPage(page);
  if ((spgFlags(page) & SPGIST_LEAF) === 0) throw redoError('REDO_BAD_PAGE', 'not an SP-GiST leaf page');
}

export function checkInnerPage(page: Buffer): void {
  checkSpgistPage(page);
  if ((spgFlags(page) & SPGIST_LEAF) !== 0) throw redoError('REDO_BAD_PAGE', 'not an SP-GiST inner page');
}

/**
 * addOrReplaceTuple of spgxlog.c: adds the tuple at [start, start + length) of `data` as item `offnum`, which is either one past the
 * last item or a placeholder, whose place it takes.
 */
export function addOrReplace(
  page: Buffer,
  data: Buffer,
  start: number,
  length: number,
  offnum: number,
): void {
  if (offnum <= itemCount(page)) {
    if (tupleState(spgTuple(page, offnum), 0) !== SPGIST_PLACEHOLDER)
      throw redoError('REDO_BAD_ITEM', `item ${offnum}, which is to be replaced, is no placeholder`);
    countTuples(page, 0, -1);
    indexTupleDelete(page, offnum);
  }
  addItemBytes(page, data, start, length, offnum);
}

/** Puts a tuple in the place of item `offnum`, whatever that is. */
export function replaceTuple(
  page: Buffer,
  data: Buffer,
  start: number,
  length: number,
  offnum: number,
): void {
  indexTupleDelete(page, offnum);
  addItemBytes(page, data, start, length, offnum);
}

/** What spgPageIndexMultiDelete leaves in the place of the first of its tuples. */
export interface Remnant {
  readonly state: number;
  /** Of a redirect. */
  readonly target: Tid;
  readonly xid: number;
}

/**
 * spgPageIndexMultiDelete of spgdoinsert.c: replaces the tuples listed in `count` u16 of `data` from `at` on. Where the first one of the
 * list was, `first` stays; the others become `restState`. The list need not ascend, but the new tuples are added as if it did.
 */
export function multiDelete(
  page: Buffer,
  data: Buffer,
  at: number,
  count: number,
  first: Remnant,
  restState: number,
): void {
  if (count === 0) return;
  const offnums = offsetList(data, at, count);
  const firstOffnum = offnums[0]!;
  offnums.sort();
  indexMultiDelete(page, offnums);
  const firstTuple = formDeadTuple(first.state, first.target, first.xid);
  const restTuple = formDeadTuple(restState, NOWHERE, 0);
  for (const offnum of offnums) addItem(page, offnum === firstOffnum ? firstTuple : restTuple, offnum);
  const redirects = first.state === SPGIST_REDIRECT ? 1 : 0;
  const placeholders =
    (first.state === SPGIST_PLACEHOLDER ? 1 : 0) + (restState === SPGIST_PLACEHOLDER ? count - 1 : 0);
  countTuples(page, redirects, placeholders);
}

/** `count` offset numbers, u16 each, from `at` on; a copy. Throws RangeError when they do not fit into `data`. */
export function offsetList(data: Buffer, at: number, count: number): Uint16Array {
  const offnums = new Uint16Array(count);
  for (let i = 0; i < count; i++) offnums[i] = data.readUInt16LE(at + 2 * i);
  return offnums;
}

/** The leaf tuples of `data`, from `at` on, go where `offsets` says: u16 each from that byte on. `take` picks the ones for this page. */
export function addLeafTuples(
  page: Buffer,
  data: Buffer,
  at: number,
  count: number,
  offsets: number,
  take: (i: number) => boolean,
): void {
  for (let i = 0; i < count; i++) {
    const size = leafSpan(data, at);
    if (take(i)) addOrReplace(page, data, at, size, data.readUInt16LE(offsets + 2 * i));
    at += size;
  }
}

/** spgUpdateNodeLink: node `node` of inner tuple `offnum` leads to `target`. */
export function updateNodeLink(page: Buffer, offnum: number, node: number, target: Tid): void {
  const tuple = spgTuple(page, offnum);
  if (tupleState(tuple, 0) !== SPGIST_LIVE)
    throw redoError('REDO_BAD_ITEM', `item ${offnum}, which is to get a downlink, is not a live tuple`);
  setTid(tuple, nodeAt(tuple, node), target);
}
