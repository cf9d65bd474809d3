/**
 * RM_BRIN_ID (access/brin/brin_xlog.c, PostgreSQL 18): the table of all record types. Which page a handler changes is told by
 * the block id; the form check has made sure that only the ids of the record type occur, so the last case needs no test.
 */
import {
  BRIN_META_BLKNO,
  BRIN_TUPLE_HEADER_SIZE,
  brinMetaInit,
  brinPageInit,
  BrinPageType,
  brinTupleHeapBlk,
  checkBrinPage,
  revmapBlockOf,
  revmapEntryOf,
  setLastRevmapPage,
} from '../page/brin.js';
import { setTidBlock, setTidOffset } from '../page/btree.js';
import { addItem, indexTupleDeleteNoCompact, indexTupleOverwrite } from '../page/items.js';
import { Rmgr, type WalRecord } from '../wal/types.js';
import { INIT_PAGE } from './heap-records.js';
import { B0, B1, B2, formedOp } from './record-form.js';
import { redoError, type PageRedo, type RmgrTable } from './types.js';

export { maskBrin } from './brin-mask.js';

const INVALID_BLOCK = 0xffffffff;

/** xl_brin_createidx { pagesPerRange u32, version u16 }. Block 0: the metapage. */
const redoCreateIndex: PageRedo = (page, rec) =>
  brinMetaInit(page, rec.mainData.readUInt32LE(0), rec.mainData.readUInt16LE(4));

/** xl_brin_insert, which also ends an xl_brin_update: { heapBlk u32, pagesPerRange u32, offnum u16 }. `at`: where it starts. */
function insertAt(rec: WalRecord, at: number): { heapBlk: number; pagesPerRange: number; offnum: number } {
  return {
    heapBlk: rec.mainData.readUInt32LE(at),
    pagesPerRange: rec.mainData.readUInt32LE(at + 4),
    offnum: rec.mainData.readUInt16LE(at + 8),
  };
}

/** brin_xlog_insert_update. Blocks: 0 the page that gets the tuple, its data the tuple; 1 the page of the range map. */
function insert(at: number): PageRedo {
  return (page, rec, block) => {
    const { heapBlk, pagesPerRange, offnum } = insertAt(rec, at);
    if (block.id === 1) {
      // Block 0 comes first, and the form says that it is there.
      setRevmapEntry(page, pagesPerRange, heapBlk, rec.blocks[0]!.blkno, offnum);
      return;
    }
    const tuple = block.data;
    checkTuple(tuple);
    if (brinTupleHeapBlk(tuple) !== heapBlk) {
      throw redoError(
        'REDO_BAD_RECORD',
        `a tuple for heap block ${brinTupleHeapBlk(tuple)} in a record for heap block ${heapBlk}`,
      );
    }
    if ((rec.info & INIT_PAGE) !== 0) brinPageInit(page, BrinPageType.regular);
    else checkBrinPage(page, BrinPageType.regular);
    addItem(page, tuple, offnum, { overwrite: true });
  };
}

const redoInsert = insert(0);
const redoNewTuple = insert(4);

/** xl_brin_update { oldOffnum u16, 2 bytes of padding, xl_brin_insert }. Blocks 0 and 1 as for an insert; 2 the old tuple's page. */
const redoUpdate: PageRedo = (page, rec, block, ctx) => {
  if (block.id === 2) deleteTuple(page, rec.mainData.readUInt16LE(0));
  else redoNewTuple(page, rec, block, ctx);
};

/** xl_brin_samepage_update { offnum u16 }. Block 0, its data the new tuple. */
const redoSamepageUpdate: PageRedo = (page, rec, block) => {
  checkTuple(block.data);
  checkBrinPage(page, BrinPageType.regular);
  indexTupleOverwrite(page, rec.mainData.readUInt16LE(0), block.data);
};

/** xl_brin_revmap_extend { targetBlk u32 }. Blocks: 0 the metapage; 1 the new page of the range map. */
const redoRevmapExtend: PageRedo = (page, rec, block) => {
  if (block.id === 1) {
    brinPageInit(page, BrinPageType.revmap);
    return;
  }
  checkBrinPage(page, BrinPageType.meta);
  setLastRevmapPage(page, rec.mainData.readUInt32LE(0));
};

/** xl_brin_desummarize { pagesPerRange u32, heapBlk u32, regOffset u16 }. Blocks: 0 the page of the range map; 1 the tuple's page. */
const redoDesummarize: PageRedo = (page, rec, block) => {
  if (block.id === 1) {
    deleteTuple(page, rec.mainData.readUInt16LE(8));
    return;
  }
  const [pagesPerRange, heapBlk] = [rec.mainData.readUInt32LE(0), rec.mainData.readUInt32LE(4)];
  setRevmapEntry(page, pagesPerRange, heapBlk, INVALID_BLOCK, 0);
};

function deleteTuple(page: Buffer, offnum: number): void {
  checkBrinPage(page, BrinPageType.regular);
  indexTupleDeleteNoCompact(page, offnum);
}

/** brinSetHeapBlockItemptr. */
function setRevmapEntry(
  page: Buffer,
  pagesPerRange: number,
  heapBlk: number,
  blkno: number,
  offnum: number,
): void {
  checkBrinPage(page, BrinPageType.revmap);
  const at = revmapEntryOf(pagesPerRange, heapBlk);
  setTidBlock(page, at, blkno);
  setTidOffset(page, at, offnum);
}

function checkTuple(tuple: Buffer): void {
  if (tuple.length < BRIN_TUPLE_HEADER_SIZE || (tuple.length & 7) !== 0)
    throw redoError('REDO_BAD_RECORD', `${tuple.length} bytes of block data are no summary tuple`);
}

/** The range map's page must be the one that has the heap block's entry. Returns no further blocks. */
function checkRevmapBlock(rec: WalRecord, id: number, pagesPerRange: number, heapBlk: number): number {
  const blkno = rec.blocks.find((block) => block.id === id)?.blkno;
  if (pagesPerRange === 0 || (blkno !== undefined && blkno !== revmapBlockOf(pagesPerRange, heapBlk))) {
    throw redoError(
      'REDO_BAD_RECORD',
      `block ${blkno} of the range map cannot have the entry of heap block ${heapBlk}, with ${pagesPerRange} pages per range`,
    );
  }
  return 0;
}

function checkInsert(at: number): (rec: WalRecord) => number {
  return (rec) => {
    const { heapBlk, pagesPerRange, offnum } = insertAt(rec, at);
    if (offnum === 0) throw redoError('REDO_BAD_RECORD', 'a summary tuple without an offset number');
    return checkRevmapBlock(rec, 1, pagesPerRange, heapBlk);
  };
}

/** The metapage is block 0, the new page the one that the main data names. */
function checkExtend(rec: WalRecord): number {
  const [meta, target] = rec.blocks;
  const targetBlk = rec.mainData.readUInt32LE(0);
  if (meta?.blkno !== BRIN_META_BLKNO || target?.blkno !== targetBlk) {
    throw redoError(
      'REDO_BAD_RECORD',
      `the range map is to grow by block ${targetBlk}, but the record names blocks ${meta?.blkno} and ${target?.blkno}`,
    );
  }
  return 0;
}

const initIfFlagged = (rec: WalRecord): number => ((rec.info & INIT_PAGE) !== 0 ? B0 : 0);

export const brinTable: RmgrTable = {
  rmid: Rmgr.BRIN,
  name: 'BRIN',
  opMask: 0x70,
  ops: {
    0x00: formedOp('CREATE_INDEX', redoCreateIndex, { main: 6, need: B0, init: B0 }),
    0x10: formedOp(
      'INSERT',
      redoInsert,
      { main: 10, need: B0 | B1, init: initIfFlagged, also: checkInsert(0) },
      { infoBits: INIT_PAGE },
    ),
    0x20: formedOp(
      'UPDATE',
      redoUpdate,
      { main: 14, need: B0 | B1 | B2, init: initIfFlagged, also: checkInsert(4) },
      { infoBits: INIT_PAGE },
    ),
    0x30: formedOp('SAMEPAGE_UPDATE', redoSamepageUpdate, { main: 2, need: B0 }),
    0x40: formedOp('REVMAP_EXTEND', redoRevmapExtend, {
      main: 4,
      need: B0 | B1,
      init: B1,
      also: checkExtend,
    }),
    0x50: formedOp('DESUMMARIZE', redoDesummarize, {
      main: 10,
      need: B0 | B1,
      also: (rec) => checkRevmapBlock(rec, 0, rec.mainData.readUInt32LE(0), rec.mainData.readUInt32LE(4)),
    }),
  },
};
