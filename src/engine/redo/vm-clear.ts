/**
 * Visibility-map bits that heap records clear without referencing the map page. PostgreSQL does it before it looks at
 * the heap page's LSN, and the map page's own LSN stays as it was: so these are changes of their own, replayed even when the heap page
 * is current or restored from an image.
 */
import { VM_ALL_FROZEN, VM_VALID_BITS, vmClearBits } from '../page/vm.js';
import { Rmgr, type BlockRef, type RelFileLocator, type WalRecord } from '../wal/types.js';
import {
  HEAP2_OP,
  HEAP_OP,
  LOCK_ALL_FROZEN_CLEARED,
  UPDATE_FLAG,
  ALL_VISIBLE_CLEARED,
} from './heap-records.js';

export interface VmClear {
  readonly rel: RelFileLocator;
  readonly heapBlk: number;
  /** VM_VALID_BITS, or VM_ALL_FROZEN alone (row locks). */
  readonly bits: number;
}

const NONE: readonly VmClear[] = [];

/** The clears that a record implies. The record must have passed assertReplayable(). */
export function implicitVmClears(rec: WalRecord): readonly VmClear[] {
  const data = rec.mainData;
  if (rec.rmid === Rmgr.Heap) {
    switch (rec.info & 0x70) {
      case HEAP_OP.INSERT:
        return data[2]! & ALL_VISIBLE_CLEARED ? [clear(rec.blocks[0]!, VM_VALID_BITS)] : NONE;
      case HEAP_OP.DELETE:
        return data[7]! & ALL_VISIBLE_CLEARED ? [clear(rec.blocks[0]!, VM_VALID_BITS)] : NONE;
      case HEAP_OP.UPDATE:
      case HEAP_OP.HOT_UPDATE:
        return updateClears(rec);
      case HEAP_OP.LOCK:
        return data[7]! & LOCK_ALL_FROZEN_CLEARED ? [clear(rec.blocks[0]!, VM_ALL_FROZEN)] : NONE;
    }
  } else if (rec.rmid === Rmgr.Heap2) {
    switch (rec.info & 0x70) {
      case HEAP2_OP.MULTI_INSERT:
        return data[0]! & ALL_VISIBLE_CLEARED ? [clear(rec.blocks[0]!, VM_VALID_BITS)] : NONE;
      case HEAP2_OP.LOCK_UPDATED:
        return data[7]! & LOCK_ALL_FROZEN_CLEARED ? [clear(rec.blocks[0]!, VM_ALL_FROZEN)] : NONE;
    }
  }
  return NONE;
}

function updateClears(rec: WalRecord): readonly VmClear[] {
  const flags = rec.mainData[7]!;
  const clears: VmClear[] = [];
  const newBlock = rec.blocks[0]!;
  if (flags & UPDATE_FLAG.OLD_ALL_VISIBLE_CLEARED)
    clears.push(clear(rec.blocks[1] ?? newBlock, VM_VALID_BITS));
  if (flags & UPDATE_FLAG.NEW_ALL_VISIBLE_CLEARED) clears.push(clear(newBlock, VM_VALID_BITS));
  return clears;
}

function clear(block: BlockRef, bits: number): VmClear {
  return {
    rel: { spcOid: block.spcOid, dbOid: block.dbOid, relNumber: block.relNumber },
    heapBlk: block.blkno,
    bits,
  };
}

/** Applies one clear to map page vmBlockOf(heapBlk), in place; never touches pd_lsn. An all-zero page stays all zero. */
export function applyVmClear(vmPage: Buffer, heapBlk: number, bits: number): void {
  vmClearBits(vmPage, heapBlk, bits);
}
