/** What records do to relation files as a whole. SLRUs, files and the rest are no business of page comparison. */
import { parseXactEnd, XACT_OPMASK, XactOp } from '../control/xact-record.js';
import { vmBlockOf, vmClearFrom } from '../page/vm.js';
import { databaseEffects } from '../pages/effects/clusterwide.js';
import { storageEffects } from '../pages/effects/storage.js';
import { NO_EFFECTS, type Effect } from '../pages/effects/types.js';
import { applyVmClear, implicitVmClears } from '../redo/index.js';
import { ForkNumber, Rmgr, type WalRecord } from '../wal/types.js';
import type { VerifyPages } from './types.js';

const STORAGE_CREATE = 0x10;

/** Applies what `rec` does beyond its block references. Throws REDO_BAD_RECORD, REDO_UNKNOWN_RECORD. */
export function applyRelationEffects(rec: WalRecord, pages: VerifyPages): void {
  if (rec.rmid === Rmgr.Transaction) return dropRelations(rec, pages);
  for (const effect of fileEffects(rec)) applyEffect(effect, pages);
  for (const { rel, heapBlk, bits } of implicitVmClears(rec)) {
    const map = pages.existing(rel, ForkNumber.vm, vmBlockOf(heapBlk));
    if (map !== null) applyVmClear(map, heapBlk, bits);
  }
}

/** Effects of Storage and Database records. */
export function fileEffects(rec: WalRecord): readonly Effect[] {
  if (rec.rmid === Rmgr.Database) return databaseEffects(rec);
  if (rec.rmid !== Rmgr.Storage) return NO_EFFECTS;
  const effects = storageEffects(rec);
  // A truncation makes sure that the relation is there; that says nothing about what is in it.
  return (rec.info & 0xf0) === STORAGE_CREATE ? effects : effects.filter(({ kind }) => kind !== 'relCreate');
}

function applyEffect(effect: Effect, pages: VerifyPages): void {
  switch (effect.kind) {
    case 'relCreate':
      return pages.create(effect.rel, effect.fork);
    case 'relTruncate':
      return pages.truncate(effect.rel, effect.fork, effect.nblocks);
    case 'vmTruncate': {
      const map = pages.existing(effect.rel, ForkNumber.vm, vmBlockOf(effect.nHeapBlocks));
      if (map !== null) vmClearFrom(map, effect.nHeapBlocks);
      return;
    }
    case 'dbCreate':
      pages.dropDatabase(effect);
      if (effect.copyFrom) pages.copyDatabase(effect.copyFrom, effect);
      return;
    case 'dbDrop':
      for (const spcOid of effect.spcOids) pages.dropDatabase({ spcOid, dbOid: effect.dbOid });
      return;
    default:
      throw new Error(`no effect on relation files: ${effect.kind}`);
  }
}

/** Relations that end with a transaction. */
function dropRelations(rec: WalRecord, pages: VerifyPages): void {
  switch (rec.info & XACT_OPMASK) {
    case XactOp.commit:
    case XactOp.abort:
    case XactOp.commitPrepared:
    case XactOp.abortPrepared:
      for (const rel of parseXactEnd(rec).droppedRels) pages.drop(rel);
  }
}
