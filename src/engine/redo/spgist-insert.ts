/** Insertions without a split of leaf tuples: spgRedoAddLeaf, MoveLeafs, AddNode and SplitTuple of spgxlog.c, PostgreSQL 18. */
import {
  SPGIST_DEAD,
  SPGIST_LIVE,
  SPGIST_PLACEHOLDER,
  SPGIST_REDIRECT,
  countTuples,
  formDeadTuple,
  setNextOffset,
  spgTuple,
  tupleState,
} from '../page/spgist.js';
import { B0, B1, B2, type RecordForm } from './record-form.js';
import {
  addLeafTuples,
  addOrReplace,
  blknoOf,
  checkEnd,
  checkInnerPage,
  checkLeafPage,
  checkLeafTuples,
  checkState,
  flagAt,
  initInnerPage,
  initLeafPage,
  innerSpan,
  leafSpan,
  multiDelete,
  replaceTuple,
  updateNodeLink,
} from './spgist-pages.js';
import { redoError, type PageRedo } from './types.js';

/**
 * spgxlogAddLeaf { newPage bool, storesNulls bool, offnumLeaf u16, offnumHeadLeaf u16, offnumParent u16, nodeI u16 }, then the leaf
 * tuple. Blocks: 0 the leaf page; 1 the page of the inner tuple whose downlink changes, if one does.
 */
export const redoAddLeaf: PageRedo = (page, rec, block) => {
  const data = rec.mainData;
  const leaf = data.readUInt16LE(2);
  const head = data.readUInt16LE(4);
  if (block.id === 1) {
    checkInnerPage(page);
    const target = { block: blknoOf(rec, 0), offset: leaf };
    updateNodeLink(page, data.readUInt16LE(6), data.readUInt16LE(8), target);
    return;
  }
  if (block.willInit) initLeafPage(page, data[1] === 1);
  else checkLeafPage(page);
  const size = leafSpan(data, ADD_LEAF_SIZE);
  if (leaf === head) {
    // The chain had nothing but a dead tuple, which kept its place for the downlink.
    if (tupleState(spgTuple(page, leaf), 0) !== SPGIST_DEAD)
      throw redoError('REDO_BAD_ITEM', `item ${leaf}, which is to be replaced, is not dead`);
    replaceTuple(page, data, ADD_LEAF_SIZE, size, leaf);
    return;
  }
  addOrReplace(page, data, ADD_LEAF_SIZE, size, leaf);
  if (head !== 0) {
    const tuple = spgTuple(page, head);
    if (tupleState(tuple, 0) !== SPGIST_LIVE)
      throw redoError('REDO_BAD_ITEM', `item ${head} is not the live head of a chain`);
    setNextOffset(tuple, 0, leaf);
  }
};

const ADD_LEAF_SIZE = 10;

export const addLeafForm: RecordForm = {
  main: ADD_LEAF_SIZE,
  longer: true,
  need: B0,
  init: (rec) => (flagAt(rec.mainData, 0) ? B0 : 0),
  also: ({ mainData: data }) => {
    flagAt(data, 1);
    checkLeafTuples(data, ADD_LEAF_SIZE, 1);
    // A tuple either joins a chain or gets a downlink; only on a root it does neither.
    if (data.readUInt16LE(4) !== 0 && (data.readUInt16LE(6) !== 0 || data[0] === 1))
      throw redoError('REDO_BAD_RECORD', 'a leaf tuple joins a chain and starts one');
    return data.readUInt16LE(6) !== 0 ? B1 : 0;
  },
};

/**
 * spgxlogMoveLeafs { nMoves u16, newPage bool, replaceDead bool, storesNulls bool, pad, offnumParent u16, nodeI u16, pad u16,
 * spgxlogState @12 }, then nMoves offsets to delete, the offsets to insert at and as many leaf tuples: one more than nMoves, or
 * just the new one where it takes the place of a dead tuple. Blocks: 0 the page they leave; 1 the page they go to; 2 the parent's.
 */
export const redoMoveLeafs: PageRedo = (page, rec, block) => {
  const data = rec.mainData;
  const moves = data.readUInt16LE(0);
  const inserts = insertsOf(data);
  const offsets = MOVE_LEAFS_SIZE + 2 * moves;
  const head = { block: blknoOf(rec, 1), offset: data.readUInt16LE(offsets + 2 * (inserts - 1)) };
  switch (block.id) {
    case 0: {
      checkLeafPage(page);
      const redirect = { state: SPGIST_REDIRECT, target: head, xid: data.readUInt32LE(12) };
      multiDelete(page, data, MOVE_LEAFS_SIZE, moves, redirect, SPGIST_PLACEHOLDER);
      return;
    }
    case 1:
      if (block.willInit) initLeafPage(page, data[4] === 1);
      else checkLeafPage(page);
      addLeafTuples(page, data, offsets + 2 * inserts, inserts, offsets, () => true);
      return;
    default:
      checkInnerPage(page);
      updateNodeLink(page, data.readUInt16LE(6), data.readUInt16LE(8), head);
  }
};

const MOVE_LEAFS_SIZE = 20;

function insertsOf(data: Buffer): number {
  return data[3] === 1 ? 1 : data.readUInt16LE(0) + 1;
}

export const moveLeafsForm: RecordForm = {
  main: MOVE_LEAFS_SIZE,
  longer: true,
  need: B0 | B1 | B2,
  init: (rec) => (flagAt(rec.mainData, 2) ? B1 : 0),
  also: ({ mainData: data }) => {
    flagAt(data, 3);
    flagAt(data, 4);
    checkState(data, 12);
    const inserts = insertsOf(data);
    checkLeafTuples(data, MOVE_LEAFS_SIZE + 2 * (data.readUInt16LE(0) + inserts), inserts);
    return 0;
  },
};

/**
 * spgxlogAddNode { offnum u16, offnumNew u16, newPage bool, parentBlk i8, offnumParent u16, nodeI u16, pad u16, spgxlogState @12 }, then
 * the inner tuple with one more node. Blocks: 0 where it was; 1 where it is now, unless it grew in its place; 2 the page of its parent,
 * unless that is (parentBlk) block 0 or 1.
 */
export const redoAddNode: PageRedo = (page, rec, block) => {
  const data = rec.mainData;
  const offnum = data.readUInt16LE(0);
  const parentBlk = data.readInt8(5);
  if (block.willInit) initInnerPage(page, false);
  else checkInnerPage(page);
  if (parentBlk === -1) {
    replaceTuple(page, data, ADD_NODE_SIZE, innerSpan(data, ADD_NODE_SIZE), offnum);
    return;
  }
  const moved = { block: blknoOf(rec, 1), offset: data.readUInt16LE(2) };
  if (block.id === 0) {
    const redirect = formDeadTuple(SPGIST_REDIRECT, moved, data.readUInt32LE(12));
    replaceTuple(page, redirect, 0, redirect.length, offnum);
    countTuples(page, 1, 0);
  } else if (block.id === 1) {
    addOrReplace(page, data, ADD_NODE_SIZE, innerSpan(data, ADD_NODE_SIZE), moved.offset);
  }
  if (block.id === parentBlk) updateNodeLink(page, data.readUInt16LE(6), data.readUInt16LE(8), moved);
};

const ADD_NODE_SIZE = 20;

export const addNodeForm: RecordForm = {
  main: ADD_NODE_SIZE,
  longer: true,
  need: B0,
  init: (rec) => (flagAt(rec.mainData, 4) ? B1 : 0),
  also: ({ mainData: data }) => {
    checkState(data, 12);
    checkEnd(data, ADD_NODE_SIZE + innerSpan(data, ADD_NODE_SIZE));
    const parentBlk = data.readInt8(5);
    if (parentBlk < -1 || parentBlk > 2)
      throw redoError('REDO_UNKNOWN_RECORD', `the parent cannot be in block reference ${parentBlk}`);
    if (parentBlk === -1 && flagAt(data, 4))
      throw redoError('REDO_BAD_RECORD', 'a tuple stays on its page and moves to a new one');
    return parentBlk === -1 ? 0 : B1 | (parentBlk === 2 ? B2 : 0);
  },
};

/**
 * spgxlogSplitTuple { offnumPrefix u16, offnumPostfix u16, newPage bool, postfixBlkSame bool }, then both inner tuples that one was
 * split into. Blocks: 0 where it was and the prefix tuple takes its place; 1 where the postfix tuple goes, unless that is block 0.
 */
export const redoSplitTuple: PageRedo = (page, rec, block) => {
  const data = rec.mainData;
  const prefixLength = innerSpan(data, SPLIT_TUPLE_SIZE);
  const postfix = SPLIT_TUPLE_SIZE + prefixLength;
  if (block.willInit) initInnerPage(page, false);
  else checkInnerPage(page);
  if (block.id === 0) replaceTuple(page, data, SPLIT_TUPLE_SIZE, prefixLength, data.readUInt16LE(0));
  if (block.id === 1 || data[5] === 1)
    addOrReplace(page, data, postfix, innerSpan(data, postfix), data.readUInt16LE(2));
};

const SPLIT_TUPLE_SIZE = 6;

export const splitTupleForm: RecordForm = {
  main: SPLIT_TUPLE_SIZE,
  longer: true,
  need: B0,
  init: (rec) => (flagAt(rec.mainData, 4) ? B1 : 0),
  also: ({ mainData: data }) => {
    const postfix = SPLIT_TUPLE_SIZE + innerSpan(data, SPLIT_TUPLE_SIZE);
    checkEnd(data, postfix + innerSpan(data, postfix));
    const same = flagAt(data, 5);
    if (same && flagAt(data, 4))
      throw redoError('REDO_BAD_RECORD', 'a postfix tuple goes both to the same page and to a new one');
    return same ? 0 : B1;
  },
};
