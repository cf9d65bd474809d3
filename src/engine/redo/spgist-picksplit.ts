/** A chain of leaf tuples becomes an inner tuple with several chains: spgRedoPickSplit of spgxlog.c, PostgreSQL 18. */
import { SPGIST_PLACEHOLDER, SPGIST_REDIRECT } from '../page/spgist.js';
import type { BlockRef, WalRecord } from '../wal/types.js';
import { B0, B1, B2, B3, type RecordForm } from './record-form.js';
import {
  addLeafTuples,
  addOrReplace,
  blknoOf,
  checkInnerPage,
  checkLeafPage,
  checkLeafTuples,
  checkState,
  flagAt,
  initInnerPage,
  initLeafPage,
  innerSpan,
  multiDelete,
  updateNodeLink,
} from './spgist-pages.js';
import { redoError, type PageRedo } from './types.js';

/** spgxlogPickSplit without its arrays; see redoPickSplit. */
const SIZE = 28;
const IS_ROOT_SPLIT = 0;
const N_DELETE = 2;
const N_INSERT = 4;
const INIT_SRC = 6;
const INIT_DEST = 7;
const OFFNUM_INNER = 8;
const INIT_INNER = 10;
const STORES_NULLS = 11;
const INNER_IS_PARENT = 12;
const OFFNUM_PARENT = 14;
const NODE_I = 16;
const STATE = 20;

/**
 * spgxlogPickSplit { isRootSplit bool, pad, nDelete u16, nInsert u16, initSrc bool, initDest bool, offnumInner u16, initInner bool,
 * storesNulls bool, innerIsParent bool, pad, offnumParent u16, nodeI u16, pad u16, spgxlogState @20 }, then nDelete offsets to delete,
 * nInsert offsets to insert at, nInsert bytes that say on which page (0 source, 1 destination), the inner tuple, nInsert leaf tuples.
 * Blocks: 0 the source, unless it is a root, which becomes the inner page; 1 the destination, if any; 2 the inner page; 3 the page of
 * the parent tuple, unless that is block 2 or there is none.
 */
export const redoPickSplit: PageRedo = (page, rec, block) => {
  switch (block.id) {
    case 0:
      return redoSource(page, rec, block);
    case 1:
      if (block.willInit) initLeafPage(page, rec.mainData[STORES_NULLS] === 1);
      else checkLeafPage(page);
      return addLeafsOf(page, rec, true);
    case 2:
      return redoInner(page, rec, block);
    default:
      checkInnerPage(page);
      linkParent(page, rec);
  }
};

function redoSource(page: Buffer, rec: WalRecord, block: BlockRef): void {
  const data = rec.mainData;
  if (block.willInit) {
    initLeafPage(page, data[STORES_NULLS] === 1);
  } else {
    checkLeafPage(page);
    const target = { block: blknoOf(rec, 2), offset: data.readUInt16LE(OFFNUM_INNER) };
    const redirect = { state: SPGIST_REDIRECT, target, xid: data.readUInt32LE(STATE) };
    multiDelete(page, data, SIZE, data.readUInt16LE(N_DELETE), redirect, SPGIST_PLACEHOLDER);
  }
  addLeafsOf(page, rec, false);
}

function redoInner(page: Buffer, rec: WalRecord, block: BlockRef): void {
  const data = rec.mainData;
  const at = innerStart(data);
  if (block.willInit) initInnerPage(page, data[STORES_NULLS] === 1);
  else checkInnerPage(page);
  addOrReplace(page, data, at, innerSpan(data, at), data.readUInt16LE(OFFNUM_INNER));
  if (data[INNER_IS_PARENT] === 1) linkParent(page, rec);
}

function linkParent(page: Buffer, rec: WalRecord): void {
  const data = rec.mainData;
  const target = { block: blknoOf(rec, 2), offset: data.readUInt16LE(OFFNUM_INNER) };
  updateNodeLink(page, data.readUInt16LE(OFFNUM_PARENT), data.readUInt16LE(NODE_I), target);
}

/** Adds those of the leaf tuples that go to the source or to the destination. */
function addLeafsOf(page: Buffer, rec: WalRecord, toDest: boolean): void {
  const data = rec.mainData;
  const inserts = data.readUInt16LE(N_INSERT);
  const offsets = SIZE + 2 * data.readUInt16LE(N_DELETE);
  const selectors = offsets + 2 * inserts;
  const inner = selectors + inserts;
  const leafs = inner + innerSpan(data, inner);
  addLeafTuples(page, data, leafs, inserts, offsets, (i) => (data[selectors + i] === 1) === toDest);
}

/** Where the inner tuple is, behind the arrays. */
function innerStart(data: Buffer): number {
  return SIZE + 2 * data.readUInt16LE(N_DELETE) + 3 * data.readUInt16LE(N_INSERT);
}

function initBlocks({ mainData: data }: WalRecord): number {
  return (
    (flagAt(data, INIT_SRC) ? B0 : 0) |
    (flagAt(data, INIT_DEST) ? B1 : 0) |
    (flagAt(data, INIT_INNER) ? B2 : 0)
  );
}

function otherBlocks(rec: WalRecord): number {
  const data = rec.mainData;
  const root = flagAt(data, IS_ROOT_SPLIT);
  const innerIsParent = flagAt(data, INNER_IS_PARENT);
  flagAt(data, STORES_NULLS);
  checkState(data, STATE);
  const hasDest = flagAt(data, INIT_DEST) || rec.blocks.some((b) => b.id === 1);
  const inner = innerStart(data);
  checkLeafTuples(data, inner + innerSpan(data, inner), data.readUInt16LE(N_INSERT));
  checkSelectors(data, inner, root, hasDest);
  const deletes = data.readUInt16LE(N_DELETE);
  // A new page has nothing to delete, and an inner page that is new is not the one where the parent is.
  const contradiction = root
    ? deletes > 0 || innerIsParent || flagAt(data, INIT_SRC) || !flagAt(data, INIT_INNER)
    : (deletes > 0 && flagAt(data, INIT_SRC)) || (innerIsParent && flagAt(data, INIT_INNER));
  if (contradiction) throw redoError('REDO_BAD_RECORD', 'the flags of a split contradict each other');
  return (root ? 0 : B0) | (hasDest ? B1 : 0) | (root || innerIsParent ? 0 : B3);
}

/** Every leaf tuple must go to a page that the record has. The selectors are the bytes before `end`. */
function checkSelectors(data: Buffer, end: number, root: boolean, hasDest: boolean): void {
  for (let at = end - data.readUInt16LE(N_INSERT); at < end; at++)
    if (flagAt(data, at) ? !hasDest : root)
      throw redoError('REDO_BAD_RECORD', 'a leaf tuple goes to a page that the record does not have');
}

export const pickSplitForm: RecordForm = {
  main: SIZE,
  longer: true,
  need: B2,
  init: initBlocks,
  also: otherBlocks,
};
