/** Heap2 PRUNE_* records: pruning of dead row versions and freezing of old ones (heap_xlog_prune_freeze, PostgreSQL 18). */
import { heapTupleAt, T_CID, T_INFOMASK, T_INFOMASK2, T_XMAX } from '../page/heap.js';
import {
  checkOffset,
  LP_DEAD,
  LP_REDIRECT,
  LP_UNUSED,
  repairFragmentation,
  setItemId,
  truncateLinePointerArray,
} from '../page/items.js';
import type { BlockRef, WalRecord } from '../wal/types.js';
import { checkBlocks, checkFlags, checkMainData, PRUNE_FLAG } from './heap-records.js';
import { redoError } from './types.js';

/** xlhp_freeze_plan { xmax u32, t_infomask2 u16, t_infomask u16, frzflags u8, pad, ntuples u16 }. */
const PLAN_SIZE = 12;
/** Plans follow a u16 count and two bytes of padding. */
const PLANS_START = 4;
/** frzflags: what becomes of t_xvac, left by a VACUUM FULL before 9.0. */
const FREEZE_XVAC = 0x02;
const INVALID_XVAC = 0x04;
const FROZEN_XID = 2;

/** xl_heap_prune { reason u8, flags u8 }, then snapshot_conflict_horizon u32 if announced. The reason byte is never set. */
export function checkPrune(rec: WalRecord): void {
  checkBlocks(rec, 1);
  checkMainData(rec, 2, true);
  const flags = rec.mainData[1]!;
  checkFlags(flags, 0xfe);
  checkMainData(rec, flags & PRUNE_FLAG.HAS_CONFLICT_HORIZON ? 6 : 2);
  if (!(flags & PRUNE_FLAG.CLEANUP_LOCK) && flags & (PRUNE_FLAG.HAS_REDIRECTIONS | PRUNE_FLAG.HAS_DEAD_ITEMS))
    throw redoError(
      'REDO_BAD_RECORD',
      `prune flags 0x${flags.toString(16)}: only unused items without a cleanup lock`,
    );
}

/**
 * Block data, each part only if its flag is set: freeze plans; then counted lists of redirections (pairs), dead items and
 * unused items; at the end the offset numbers of the plans' tuples, in plan order.
 */
export function redoPrune(page: Buffer, rec: WalRecord, block: BlockRef): void {
  const { data } = block;
  const flags = rec.mainData[1]!;
  let pos = 0;
  let plans = 0;
  if (flags & PRUNE_FLAG.HAS_FREEZE_PLANS) {
    plans = data.readUInt16LE(0);
    pos = PLANS_START + plans * PLAN_SIZE;
  }
  if (flags & PRUNE_FLAG.HAS_REDIRECTIONS) pos = redirectItems(page, data, pos);
  if (flags & PRUNE_FLAG.HAS_DEAD_ITEMS) pos = resetItems(page, data, pos, LP_DEAD);
  if (flags & PRUNE_FLAG.HAS_NOW_UNUSED_ITEMS) pos = resetItems(page, data, pos, LP_UNUSED);
  if (flags & (PRUNE_FLAG.HAS_REDIRECTIONS | PRUNE_FLAG.HAS_DEAD_ITEMS | PRUNE_FLAG.HAS_NOW_UNUSED_ITEMS)) {
    // Without the cleanup lock the primary could not move tuples either: somebody may have been reading them.
    if (flags & PRUNE_FLAG.CLEANUP_LOCK) repairFragmentation(page);
    else truncateLinePointerArray(page);
  }
  for (let p = 0; p < plans; p++) pos = freezeTuples(page, data, PLANS_START + p * PLAN_SIZE, pos);
  if (pos !== data.length)
    throw redoError(
      'REDO_BAD_RECORD',
      `pruning lists take ${pos} bytes of ${data.length} bytes of block data`,
    );
}

function redirectItems(page: Buffer, data: Buffer, pos: number): number {
  const count = data.readUInt16LE(pos);
  let at = pos + 2;
  for (let i = 0; i < count; i++, at += 4) {
    const from = data.readUInt16LE(at);
    const to = data.readUInt16LE(at + 2);
    checkOffset(page, from);
    checkOffset(page, to);
    setItemId(page, from, to, LP_REDIRECT, 0);
  }
  return at;
}

function resetItems(page: Buffer, data: Buffer, pos: number, lpFlags: number): number {
  const count = data.readUInt16LE(pos);
  let at = pos + 2;
  for (let i = 0; i < count; i++, at += 2) {
    const offnum = data.readUInt16LE(at);
    checkOffset(page, offnum);
    setItemId(page, offnum, 0, lpFlags, 0);
  }
  return at;
}

/** heap_execute_freeze_tuple for each tuple of the plan at `plan`; their offset numbers start at `pos`. Returns their end. */
function freezeTuples(page: Buffer, data: Buffer, plan: number, pos: number): number {
  const xmax = data.readUInt32LE(plan);
  const infomask2 = data.readUInt16LE(plan + 4);
  const infomask = data.readUInt16LE(plan + 6);
  const frzflags = data[plan + 8]!;
  const count = data.readUInt16LE(plan + 10);
  checkFlags(frzflags, FREEZE_XVAC | INVALID_XVAC, 'freeze flags');
  for (let i = 0; i < count; i++, pos += 2) {
    const at = heapTupleAt(page, data.readUInt16LE(pos));
    page.writeUInt32LE(xmax, at + T_XMAX);
    if (frzflags & FREEZE_XVAC) page.writeUInt32LE(FROZEN_XID, at + T_CID);
    if (frzflags & INVALID_XVAC) page.writeUInt32LE(0, at + T_CID);
    page.writeUInt16LE(infomask, at + T_INFOMASK);
    page.writeUInt16LE(infomask2, at + T_INFOMASK2);
  }
  return pos;
}
