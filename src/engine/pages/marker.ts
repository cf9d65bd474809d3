/** How far a branch is ingested. Written in the same batch as what it vouches for. Value: applied LSN u64, start of the last record u64. */
import { INVALID_LSN, readLsn, writeLsn, type Lsn } from '../lsn.js';
import { markerKey } from './keys.js';
import type { RocksBatch, Rocks } from './rocks.js';
import type { BranchId } from './types.js';

export interface Marker {
  appliedLsn: Lsn;
  lastRecordLsn: Lsn;
}

export function readMarker(db: Rocks, branch: BranchId): Marker {
  const value = db.get(markerKey(branch));
  if (!value) return { appliedLsn: INVALID_LSN, lastRecordLsn: INVALID_LSN };
  return { appliedLsn: readLsn(value, 0), lastRecordLsn: readLsn(value, 8) };
}

export function putMarker(batch: RocksBatch, branch: BranchId, marker: Marker): void {
  const value = Buffer.allocUnsafe(16);
  writeLsn(value, marker.appliedLsn, 0);
  writeLsn(value, marker.lastRecordLsn, 8);
  batch.put(markerKey(branch), value);
}
