/**
 * The horizon of a branch: history before it is no longer kept. The vacuum removes what no read at or after it can see; what remains before it
 * still answers some reads, see past.ts. It is written before the first removal that it allows, so a store that lost either, or the rest of
 * its unsynced writes, in a crash is right all the same. Never beyond the applied LSN. Value: u64.
 */
import { DbError } from '../errors.js';
import { formatLsn, INVALID_LSN, readLsn, writeLsn, type Lsn } from '../lsn.js';
import { branchKey, KeySpace } from './keys.js';
import type { Rocks, RocksBatch } from './rocks.js';
import type { BranchId } from './types.js';

/** 0 when nothing was ever removed. */
export function readHorizon(db: Rocks, branch: BranchId): Lsn {
  const value = db.get(branchKey(KeySpace.horizon, branch));
  return value ? readLsn(value, 0) : INVALID_LSN;
}

export function putHorizon(batch: RocksBatch, branch: BranchId, horizon: Lsn): void {
  const value = Buffer.allocUnsafe(8);
  writeLsn(value, horizon, 0);
  batch.put(branchKey(KeySpace.horizon, branch), value);
}

/** What a read gets whose LSN lies so far back that what it wants is not there any more. Another node may still have it. */
export function goneError(what: string, at: Lsn, horizon: Lsn): DbError {
  return new DbError(
    'PAGE_GONE_BY_GC',
    `${what} as of ${formatLsn(at)} is not kept any more: history before ${formatLsn(horizon)} was removed`,
    {
      reaction: 'retry',
      hint: 'The settings retention.timeMs and retention.bytes of the storage nodes say how far back history is kept.',
      details: { lsn: at, horizon },
    },
  );
}
