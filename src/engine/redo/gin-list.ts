/** The pending list of a GIN index and its metapage: UPDATE_META_PAGE, INSERT_LISTPAGE, DELETE_LISTPAGE of ginxlog.c, PostgreSQL 18. */
import { INDEX_TUPLE_HEADER_SIZE, tupleSize } from '../page/btree.js';
import {
  GIN_DELETED,
  GIN_LIST,
  GIN_LIST_FULLROW,
  GIN_META,
  GIN_META_AT,
  GIN_META_SIZE,
  GIN_METAPAGE,
  NO_BLOCK,
  ginMaxoff,
  ginPageInit,
  setGinMaxoff,
  setGinRightlink,
} from '../page/gin.js';
import { setPdLower } from '../page/header.js';
import { addItemBytes, itemCount } from '../page/items.js';
import type { WalRecord } from '../wal/types.js';
import { expectKind } from './gin-pages.js';
import { B0, B1, type RecordForm } from './record-form.js';
import { redoError, type PageRedo } from './types.js';

/** GIN_NDELETE_AT_ONCE: pages of the pending list that one record frees. */
const MAX_DELETED = 16;

/**
 * ginxlogUpdateMeta { locator 12, pad, metadata 56 @16, prevTail u32 @72, newRightlink u32 @76, ntuples i32 @80, pad }. Block 0: the metapage.
 * Block 1: the list's last page, to which tuples are added (ntuples > 0), or which gets a successor (prevTail).
 */
export const updateMetaForm: RecordForm = {
  main: 88,
  need: B0,
  init: B0,
  also: (rec) => {
    checkMetapage(rec);
    const ntuples = rec.mainData.readInt32LE(80);
    const newTail = rec.mainData.readUInt32LE(72) !== NO_BLOCK;
    if (ntuples < 0 || (ntuples > 0 && newTail))
      throw redoError('REDO_BAD_RECORD', `${ntuples} tuples for the last page of the pending list`);
    return ntuples > 0 || newTail ? B1 : 0;
  },
};

export const redoUpdateMeta: PageRedo = (page, rec, block) => {
  const main = rec.mainData;
  if (block.id === 0) {
    buildMetapage(page, main, 16);
    return;
  }
  expectKind(page, GIN_LIST);
  const ntuples = main.readInt32LE(80);
  if (ntuples === 0) {
    setGinRightlink(page, main.readUInt32LE(76));
    return;
  }
  appendTuples(page, block.data, ntuples);
  setGinMaxoff(page, ginMaxoff(page) + 1);
};

/** ginxlogInsertListPage { rightlink u32, ntuples i32 }; block data: the tuples. */
export const insertListForm: RecordForm = { main: 8, need: B0, init: B0 };

export const redoInsertList: PageRedo = (page, rec, block) => {
  const rightlink = rec.mainData.readUInt32LE(0);
  const last = rightlink === NO_BLOCK;
  ginPageInit(page, GIN_LIST | (last ? GIN_LIST_FULLROW : 0));
  setGinRightlink(page, rightlink);
  setGinMaxoff(page, last ? 1 : 0);
  appendTuples(page, block.data, rec.mainData.readInt32LE(4));
};

/** ginxlogDeleteListPages { metadata 56, ndeleted i32 @56, pad }. Block 0: the metapage; blocks 1 ... ndeleted: freed pages. */
export const deleteListForm: RecordForm = {
  main: 64,
  need: B0,
  init: ~0,
  also: (rec) => {
    checkMetapage(rec);
    const ndeleted = rec.mainData.readInt32LE(56);
    if (ndeleted < 1 || ndeleted > MAX_DELETED)
      throw redoError('REDO_BAD_RECORD', `${ndeleted} pages of the pending list freed at once`);
    return (2 << ndeleted) - 2;
  },
};

export const redoDeleteList: PageRedo = (page, rec, block) => {
  if (block.id === 0) buildMetapage(page, rec.mainData, 0);
  else ginPageInit(page, GIN_DELETED);
};

function checkMetapage(rec: WalRecord): void {
  for (const block of rec.blocks)
    if (block.id === 0 && block.blkno !== GIN_METAPAGE)
      throw redoError('REDO_BAD_RECORD', `metadata for block ${block.blkno}`);
}

/** GinInitMetabuffer, and GinMetaPageData as logged over it. */
function buildMetapage(page: Buffer, main: Buffer, at: number): void {
  ginPageInit(page, GIN_META);
  main.copy(page, GIN_META_AT, at, at + GIN_META_SIZE);
  setPdLower(page, GIN_META_AT + GIN_META_SIZE);
}

/** Adds exactly `count` index tuples, which lie side by side in `data`, after the last item. */
function appendTuples(page: Buffer, data: Buffer, count: number): void {
  let offnum = itemCount(page) + 1;
  let at = 0;
  for (let i = 0; i < count; i++) {
    const size = at + INDEX_TUPLE_HEADER_SIZE <= data.length ? tupleSize(data, at) : 0;
    if (size < INDEX_TUPLE_HEADER_SIZE || at + size > data.length)
      throw redoError('REDO_BAD_RECORD', `no whole index tuple at byte ${at} of ${data.length}`);
    addItemBytes(page, data, at, size, offnum++);
    at += size;
  }
  if (count < 1 || at !== data.length)
    throw redoError('REDO_BAD_RECORD', `${data.length} bytes of data are not ${count} index tuples`);
}
