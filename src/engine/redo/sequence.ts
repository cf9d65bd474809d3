/** RM_SEQ_ID (commands/sequence.c, PostgreSQL 18): a sequence is one page with one tuple, logged whole. */
import { pageInit, pdSpecial } from '../page/header.js';
import { addItemBytes } from '../page/items.js';
import { Rmgr, type WalRecord } from '../wal/types.js';
import { checkBlocks, checkMainData } from './heap-records.js';
import type { RmgrTable } from './types.js';

/** In the special area, to tell a sequence from a table. */
const SEQ_MAGIC = 0x1717;
/** xl_seq_rec: RelFileLocator of the sequence (redo goes by the block reference); the tuple follows. */
const SIZE_OF_SEQ_REC = 12;

function checkLog(rec: WalRecord): void {
  checkBlocks(rec, 1, true);
  checkMainData(rec, SIZE_OF_SEQ_REC + 1, true);
}

/** seq_redo. The value logged runs up to 32 ahead of what nextval() has handed out. */
function redoLog(page: Buffer, rec: WalRecord): void {
  pageInit(page, 4);
  page.writeUInt32LE(SEQ_MAGIC, pdSpecial(page));
  addItemBytes(page, rec.mainData, SIZE_OF_SEQ_REC, rec.mainData.length - SIZE_OF_SEQ_REC, 1);
}

export const sequenceTable: RmgrTable = {
  rmid: Rmgr.Sequence,
  name: 'Sequence',
  opMask: 0xf0,
  ops: { 0x00: { name: 'LOG', check: checkLog, redo: redoLog } },
};
