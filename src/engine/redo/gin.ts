/**
 * RM_GIN_ID (access/gin/ginxlog.c, PostgreSQL 18): the table of all record types, and the changes of the entry tree. Which page a handler changes
 * is told by the block id; the form check has made sure that only the ids of the record type occur.
 */
import { INDEX_TUPLE_HEADER_SIZE, setTidBlock, setTidOffset, tidBlock, tupleSize } from '../page/btree.js';
import {
  GIN_COMPRESSED,
  GIN_DATA,
  GIN_DATA_AT,
  GIN_DATA_MAX,
  GIN_DELETED,
  GIN_LEAF,
  NO_BLOCK,
  ginFlags,
  ginPageInit,
  setGinFlags,
  setGinRightlink,
} from '../page/gin.js';
import { setPdLower, setPdPruneXid } from '../page/header.js';
import { addItemBytes, checkedItemOffset, indexTupleDelete, itemLength } from '../page/items.js';
import { Rmgr, type WalRecord } from '../wal/types.js';
import { deletePostingItem, insertPostingItem, recompress } from './gin-data.js';
import {
  deleteListForm,
  insertListForm,
  redoDeleteList,
  redoInsertList,
  redoUpdateMeta,
  updateMetaForm,
} from './gin-list.js';
import { clearIncompleteSplit, expectDataPage, expectKind } from './gin-pages.js';
import { B0, B1, B2, B3, formedOp, type RecordForm } from './record-form.js';
import { redoError, type PageRedo, type RmgrTable } from './types.js';

export { maskGin } from './gin-pages.js';

/** Flags of INSERT and SPLIT. */
const INSERT_ISDATA = 0x1;
const INSERT_ISLEAF = 0x2;
const SPLIT_ROOT = 0x4;

/** ginxlogCreatePostingTree { size u32 } and that many bytes of posting lists; none if an entry had lost all its tids before. */
const redoCreateTree: PageRedo = (page, rec) => {
  const size = rec.mainData.length - 4;
  ginPageInit(page, GIN_DATA | GIN_LEAF | GIN_COMPRESSED);
  rec.mainData.copy(page, GIN_DATA_AT, 4);
  setPdLower(page, GIN_DATA_AT + size);
};

const createTreeForm: RecordForm = {
  main: 4,
  longer: true,
  need: B0,
  init: B0,
  also: (rec) => {
    const size = rec.mainData.readUInt32LE(0);
    if (size !== rec.mainData.length - 4 || size > GIN_DATA_MAX)
      throw redoError('REDO_BAD_RECORD', `posting lists of ${size} bytes in ${rec.mainData.length} bytes`);
    return 0;
  },
};

/**
 * ginxlogInsert { flags u16 } and, above the leaf level, the left and right half of the child page whose split this completes, as block numbers of 4 bytes.
 * Blocks: 0 the page; 1 that left half.
 */
const redoInsert: PageRedo = (page, rec, block) => {
  const main = rec.mainData;
  const flags = main.readUInt16LE(0);
  const data = (flags & INSERT_ISDATA) !== 0;
  const leaf = (flags & INSERT_ISLEAF) !== 0;
  if (block.id === 1) {
    clearIncompleteSplit(page, data);
    return;
  }
  expectKind(page, (data ? GIN_DATA : 0) | (leaf ? GIN_LEAF : 0));
  if (!data) insertEntry(page, block.data, leaf ? null : main);
  else if (leaf) recompress(page, block.data);
  else insertPostingItem(page, block.data, tidBlock(main, 2), tidBlock(main, 6));
};

const insertForm: RecordForm = {
  main: 2,
  longer: true,
  need: B0,
  also: (rec) => {
    const flags = rec.mainData.readUInt16LE(0);
    const leaf = (flags & INSERT_ISLEAF) !== 0;
    if ((flags & ~(INSERT_ISDATA | INSERT_ISLEAF)) !== 0) throw unknownFlags(flags);
    if (rec.mainData.length !== (leaf ? 2 : 10))
      throw redoError('REDO_BAD_RECORD', `${rec.mainData.length} bytes of main data with flags ${flags}`);
    return leaf ? 0 : B1;
  },
};

function unknownFlags(flags: number): Error {
  return redoError('REDO_UNKNOWN_RECORD', `unknown flags 0x${flags.toString(16)}`);
}

/**
 * ginRedoInsertEntry. Block data { offset u16, isDelete u8, pad, index tuple }: the tuple replaces item `offset` (isDelete), or comes before it. `main` is
 * given above the leaf level: item `offset` led to the left half of a split page, goes on to lead to the right half, and the new one leads to the left.
 */
function insertEntry(page: Buffer, data: Buffer, main: Buffer | null): void {
  const size = data.length - 4;
  const isDelete = data[2]!;
  if (size < INDEX_TUPLE_HEADER_SIZE || tupleSize(data, 4) !== size || isDelete > (main === null ? 1 : 0))
    throw redoError('REDO_BAD_RECORD', `${data.length} bytes of data are no entry to insert`);
  const offnum = data.readUInt16LE(0);
  if (main !== null) {
    const left = tidBlock(main, 2);
    const right = tidBlock(main, 6);
    const at = checkedItemOffset(page, offnum);
    if (itemLength(page, offnum) < INDEX_TUPLE_HEADER_SIZE || tidBlock(page, at) !== left)
      throw redoError('REDO_BAD_ITEM', `item ${offnum} does not lead to block ${left}`);
    if (right === NO_BLOCK || tidBlock(data, 4) !== left)
      throw redoError('REDO_BAD_RECORD', `new entry leads to block ${tidBlock(data, 4)}, not ${left}`);
    setTidBlock(page, at, right);
    setTidOffset(page, at, 0);
  }
  if (isDelete === 1) indexTupleDelete(page, offnum);
  addItemBytes(page, data, 4, size, offnum);
}

/**
 * ginxlogSplit { locator 12, rrlink u32, leftChild u32, rightChild u32, flags u16 @24, pad }. Blocks: 0 left half, 1 right half, 2 the root above
 * them (SPLIT_ROOT), always as images; 3 the left half of the child page whose split this completes, above the leaf level.
 */
const redoSplit: PageRedo = (page, rec, block) => {
  if (block.id !== 3) throw noImage(block.id);
  clearIncompleteSplit(page, (rec.mainData.readUInt16LE(24) & INSERT_ISDATA) !== 0);
};

const splitForm: RecordForm = {
  main: 28,
  need: B0 | B1,
  also: (rec) => {
    const flags = rec.mainData.readUInt16LE(24);
    if ((flags & ~(INSERT_ISDATA | INSERT_ISLEAF | SPLIT_ROOT)) !== 0) throw unknownFlags(flags);
    for (const block of rec.blocks) if (block.id < 3 && !block.applyImage) throw noImage(block.id);
    return ((flags & SPLIT_ROOT) !== 0 ? B2 : 0) | ((flags & INSERT_ISLEAF) !== 0 ? 0 : B3);
  },
};

/** VACUUM_PAGE: a leaf of the entry tree, always as an image. */
const redoVacuumPage: PageRedo = (_page, _rec, block) => {
  throw noImage(block.id);
};

const vacuumPageForm: RecordForm = { main: 0, need: B0, also: needsImage };

function needsImage(rec: WalRecord): number {
  for (const block of rec.blocks) if (!block.applyImage) throw noImage(block.id);
  return 0;
}

function noImage(id: number): Error {
  return redoError('REDO_BAD_RECORD', `block reference ${id} has no image to apply`);
}

/** ginxlogDeletePage { parentOffset u16, pad, rightLink u32, deleteXid u32 }. Blocks: 0 the page that goes; 1 its parent; 2 its left sibling. */
const redoDeletePage: PageRedo = (page, rec, block) => {
  const main = rec.mainData;
  switch (block.id) {
    case 0:
      expectDataPage(page);
      setGinFlags(page, ginFlags(page) | GIN_DELETED);
      setPdPruneXid(page, main.readUInt32LE(8));
      return;
    case 1:
      expectKind(page, GIN_DATA);
      deletePostingItem(page, main.readUInt16LE(0), rec.blocks[0]!.blkno);
      return;
    default:
      expectDataPage(page);
      setGinRightlink(page, main.readUInt32LE(4));
  }
};

const redoVacuumLeaf: PageRedo = (page, _rec, block) => {
  expectKind(page, GIN_DATA | GIN_LEAF);
  recompress(page, block.data);
};

export const ginTable: RmgrTable = {
  rmid: Rmgr.Gin,
  name: 'Gin',
  opMask: 0xf0,
  ops: {
    0x10: formedOp('CREATE_PTREE', redoCreateTree, createTreeForm),
    0x20: formedOp('INSERT', redoInsert, insertForm),
    0x30: formedOp('SPLIT', redoSplit, splitForm),
    0x40: formedOp('VACUUM_PAGE', redoVacuumPage, vacuumPageForm),
    0x50: formedOp('DELETE_PAGE', redoDeletePage, { main: 12, need: B0 | B1 | B2 }),
    0x60: formedOp('UPDATE_META_PAGE', redoUpdateMeta, updateMetaForm),
    0x70: formedOp('INSERT_LISTPAGE', redoInsertList, insertListForm),
    0x80: formedOp('DELETE_LISTPAGE', redoDeleteList, deleteListForm),
    0x90: formedOp('VACUUM_DATA_LEAF_PAGE', redoVacuumLeaf, { main: 0, need: B0 }),
  },
};
