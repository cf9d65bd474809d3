/**
 * RM_SPGIST_ID (access/spgist/spgxlog.c, PostgreSQL 18): the table of all record types. Which page a handler changes is told by the block
 * id; the form check has made sure that the record has exactly the blocks that its main data speaks of.
 */
import { PAGE_HEADER_SIZE, pdLower } from '../page/header.js';
import { Rmgr } from '../wal/types.js';
import { maskHintBits, maskLsnAndChecksum, maskUnusedSpace } from './mask-common.js';
import { formedOp } from './record-form.js';
import {
  addLeafForm,
  addNodeForm,
  moveLeafsForm,
  redoAddLeaf,
  redoAddNode,
  redoMoveLeafs,
  redoSplitTuple,
  splitTupleForm,
} from './spgist-insert.js';
import { pickSplitForm, redoPickSplit } from './spgist-picksplit.js';
import {
  redoVacuumLeaf,
  redoVacuumRedirect,
  redoVacuumRoot,
  vacuumLeafForm,
  vacuumRedirectForm,
  vacuumRootForm,
} from './spgist-vacuum.js';
import type { RmgrTable } from './types.js';

export const spgistTable: RmgrTable = {
  rmid: Rmgr.SPGist,
  name: 'SPGist',
  opMask: 0xf0,
  ops: {
    0x10: formedOp('ADD_LEAF', redoAddLeaf, addLeafForm),
    0x20: formedOp('MOVE_LEAFS', redoMoveLeafs, moveLeafsForm),
    0x30: formedOp('ADD_NODE', redoAddNode, addNodeForm),
    0x40: formedOp('SPLIT_TUPLE', redoSplitTuple, splitTupleForm),
    0x50: formedOp('PICKSPLIT', redoPickSplit, pickSplitForm),
    0x60: formedOp('VACUUM_LEAF', redoVacuumLeaf, vacuumLeafForm),
    0x70: formedOp('VACUUM_ROOT', redoVacuumRoot, vacuumRootForm),
    0x80: formedOp('VACUUM_REDIRECT', redoVacuumRedirect, vacuumRedirectForm),
  },
};

/** spg_mask: LSN, checksum, header hints and the hole, where pd_lower looks as if it were set. Throws REDO_BAD_PAGE. */
export function maskSpgist(page: Buffer, _blkno: number): void {
  maskLsnAndChecksum(page);
  maskHintBits(page);
  if (pdLower(page) >= PAGE_HEADER_SIZE) maskUnusedSpace(page);
}
