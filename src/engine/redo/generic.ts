/**
 * RM_GENERIC_ID (access/transam/generic_xlog.c, PostgreSQL 18): what access methods outside of the core write, bloom of contrib for one.
 * The record says nothing of their pages but that bytes changed; up to four pages in one record, from block id 0 on.
 */
import { BLCKSZ } from '../page/constants.js';
import { PAGE_HEADER_SIZE, pdLower, pdUpper } from '../page/header.js';
import { Rmgr, type WalRecord } from '../wal/types.js';
import { maskLsnAndChecksum, maskUnusedSpace } from './mask-common.js';
import { formedOp } from './record-form.js';
import { redoError, type PageRedo, type RmgrTable } from './types.js';

/** MAX_GENERIC_XLOG_PAGES. */
const PAGES_MAX = 4;
const FRAGMENT_HEADER_SIZE = 4;

/**
 * generic_redo. Block data: fragments { offset u16, length u16, that many bytes }, in any number, none included: a page may be
 * registered and left as it is. What lies between pd_lower and pd_upper is not logged: PostgreSQL zeroes it with each change.
 */
const redoGeneric: PageRedo = (page, _rec, block) => {
  applyDelta(page, block.data);
  const lower = pdLower(page);
  const upper = pdUpper(page);
  if (lower < PAGE_HEADER_SIZE || lower > upper || upper > BLCKSZ)
    throw redoError('REDO_BAD_PAGE', `corrupted page pointers: lower = ${lower}, upper = ${upper}`);
  page.fill(0, lower, upper);
};

function applyDelta(page: Buffer, delta: Buffer): void {
  for (let at = 0; at < delta.length;) {
    const start = at + FRAGMENT_HEADER_SIZE;
    if (start > delta.length)
      throw redoError('REDO_BAD_RECORD', `a delta of ${delta.length} bytes ends within a fragment's header`);
    const offset = delta.readUInt16LE(at);
    const end = start + delta.readUInt16LE(at + 2);
    if (end > delta.length || offset + (end - start) > BLCKSZ) {
      throw redoError(
        'REDO_BAD_RECORD',
        `a fragment of ${end - start} bytes for offset ${offset} does not fit into the page, or runs past its delta of ${delta.length} bytes`,
      );
    }
    delta.copy(page, offset, start, end);
    at = end;
  }
}

/** Pages are numbered from 0 on without gaps. */
function registeredPages(rec: WalRecord): number {
  return (1 << Math.min(rec.blocks.length, PAGES_MAX)) - 1;
}

export const genericTable: RmgrTable = {
  rmid: Rmgr.Generic,
  name: 'Generic',
  opMask: 0xf0,
  ops: { 0x00: formedOp('Generic', redoGeneric, { main: 0, need: 0, also: registeredPages }) },
};

/** generic_mask. Throws REDO_BAD_PAGE. */
export function maskGeneric(page: Buffer): void {
  maskLsnAndChecksum(page);
  maskUnusedSpace(page);
}
