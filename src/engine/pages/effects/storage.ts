/** Effects of Storage records: relation files created and cut (catalog/storage.c smgr_redo, 18). */
import { RecordReader, unknownRecord } from '../../control/record-reader.js';
import { ForkNumber, type WalRecord } from '../../wal/types.js';
import type { Effect } from './types.js';

const CREATE = 0x10;
const TRUNCATE = 0x20;
const TRUNCATE_HEAP = 0x1;
const TRUNCATE_VM = 0x2;
const TRUNCATE_FSM = 0x4;
/** Heap blocks of one visibility map page: 8168 bytes, 4 blocks each. */
const HEAP_BLOCKS_PER_VM_PAGE = 32672;
/** Heap blocks of one leaf page of the free space map, and pages below an inner one. */
const FSM_SLOTS = 4069;

export function storageEffects(rec: WalRecord): Effect[] {
  switch (rec.info & 0xf0) {
    case CREATE: {
      const r = new RecordReader(rec, 'CREATE');
      const rel = r.relation();
      const fork = r.u32();
      r.end();
      if (fork > ForkNumber.init) throw r.bad(`fork ${fork}`);
      return [{ kind: 'relCreate', rel, fork }];
    }
    case TRUNCATE:
      return truncateEffects(rec);
    default:
      throw unknownRecord(rec, 'Storage');
  }
}

function truncateEffects(rec: WalRecord): Effect[] {
  const r = new RecordReader(rec, 'TRUNCATE');
  const blkno = r.u32();
  const rel = r.relation();
  const flags = r.u32();
  r.end();
  if ((flags & ~(TRUNCATE_HEAP | TRUNCATE_VM | TRUNCATE_FSM)) !== 0)
    throw r.bad(`unknown flags 0x${flags.toString(16)}`);
  const effects: Effect[] = [{ kind: 'relCreate', rel, fork: ForkNumber.main }];
  if (flags & TRUNCATE_HEAP)
    effects.push({ kind: 'relTruncate', rel, fork: ForkNumber.main, nblocks: blkno });
  if (flags & TRUNCATE_FSM)
    effects.push({ kind: 'relTruncate', rel, fork: ForkNumber.fsm, nblocks: fsmPageOf(blkno) });
  if (flags & TRUNCATE_VM) {
    const nblocks = Math.ceil(blkno / HEAP_BLOCKS_PER_VM_PAGE);
    if (blkno % HEAP_BLOCKS_PER_VM_PAGE !== 0) effects.push({ kind: 'vmTruncate', rel, nHeapBlocks: blkno });
    effects.push({ kind: 'relTruncate', rel, fork: ForkNumber.vm, nblocks });
  }
  return effects;
}

/** Block of the free space map's leaf page for a heap block: leaves lie behind the inner pages above them (freespace.c). */
function fsmPageOf(heapBlk: number): number {
  const leaf = Math.floor(heapBlk / FSM_SLOTS);
  const inner = Math.floor(leaf / FSM_SLOTS);
  return leaf + inner + 2;
}
