/**
 * Reads at an LSN S before the horizon H.
 *
 * The vacuum keeps, of every page that exists at H, the newest base at or before H and all versions after it. So if the page's newest version
 * at or before H is also at or before S, nothing changed the page between the two, and the page at S is the page at H, which is read
 * instead. Otherwise the page at S may be gone, and the read says so. That nothing else came between follows from how changes without a version of
 * their own are kept: a drop and a new relation of the same number show in `since`; a truncation leaves a 'zero' version on each page, or a floor
 * that stays with the fork; a fork that does not exist at H is never asked for pages.
 *
 * This is what lets a compute run for months on a data directory made at S while history moves on: what it asks for is absent there, so was not
 * changed since S, nor truncated, nor dropped: each of these makes its blocks present, or the file goes away.
 */
import type { Lsn } from '../lsn.js';
import type { RelFileLocator } from '../wal/types.js';
import type { SlruName } from './effects/types.js';
import { decodeRanges, FactClass, numberId, rangesHave } from './facts.js';
import { oldestVisible, type ForkVersion } from './forks.js';
import { goneError } from './horizon.js';
import { OLDEST, slruNumber, type PageVersionKey, type SlruVersionKey, type VersionedKey } from './keys.js';
import type { StoreParts } from './parts.js';
import { newestInRow } from './runs.js';
import type { BranchId, PageKey } from './types.js';

/** A fork as of the horizon, for reads before it. */
export interface PastFork {
  readonly version: ForkVersion;
  /** It is the same since then. */
  readonly changedAt: Lsn;
}

/** The fork that a read at `at` < `horizon` is about. Throws PAGE_GONE_BY_GC when it may have been another one then. */
export function pastFork(
  parts: StoreParts,
  branch: BranchId,
  rel: RelFileLocator,
  fork: number,
  at: Lsn,
  horizon: Lsn,
): PastFork {
  const row = parts.forks.rowAt(branch, rel, fork, horizon);
  if (row && row.version.exists && row.version.since <= at) return row;
  throw goneError(forkText(rel, fork), at, horizon);
}

/** Number of blocks at `at`, null if the fork did not exist. Throws PAGE_GONE_BY_GC. */
export function pastSize(
  parts: StoreParts,
  branch: BranchId,
  rel: RelFileLocator,
  fork: number,
  at: Lsn,
  horizon: Lsn,
): number | null {
  const row = parts.forks.rowAt(branch, rel, fork, horizon);
  if (row && row.changedAt <= at) return row.version.exists ? row.version.nblocks : null;
  throw goneError(`the size of ${forkText(rel, fork)}`, at, horizon);
}

/** Whether the block lies beyond the fork's end, so that it reads as zeros. Returns only if the page at `at` is the page at `horizon`. */
export function pastPageIsBeyond(
  parts: StoreParts,
  fork: PastFork,
  key: PageKey,
  pageKey: PageVersionKey,
  at: Lsn,
  horizon: Lsn,
): boolean {
  const { version, changedAt } = fork;
  const beyond = key.blkno >= version.nblocks;
  if (beyond && changedAt <= at) return true;
  const truncatedSince = version.floors.some((floor) => key.blkno >= floor.fromBlock && floor.lsn > at);
  const same = !beyond && !truncatedSince;
  if (same && newestVersion(parts, pageKey, horizon, oldestVisible(version, key.blkno)) <= at) return false;
  throw goneError(`block ${key.blkno} of ${forkText(key, key.fork)}`, at, horizon);
}

/** Whether the SLRU page exists. Returns only if the page at `at` is the page at `horizon`. */
export function pastSlruPageExists(
  parts: StoreParts,
  branch: BranchId,
  slru: SlruName,
  pageno: number,
  pageKey: SlruVersionKey,
  at: Lsn,
  horizon: Lsn,
): boolean {
  const fact = parts.facts.get(branch, FactClass.slruPages, numberId(slruNumber(slru)), horizon);
  const exists = fact !== null && rangesHave(decodeRanges(fact.data), pageno);
  if (!exists && fact !== null && fact.since <= at) return false;
  if (exists && newestVersion(parts, pageKey, horizon, OLDEST) <= at) return true;
  throw goneError(`page ${pageno} of ${slru}`, at, horizon);
}

/** LSN of the page's newest version in [oldest, upTo]; 0 if there is none. */
function newestVersion(parts: StoreParts, key: VersionedKey, upTo: Lsn, oldest: Lsn): Lsn {
  const end = Buffer.from(key.endOf(oldest));
  const [row, value] = parts.db.range(key.newest(upTo), end, 1);
  return row && value ? newestInRow(row, value, upTo) : OLDEST;
}

function forkText(rel: RelFileLocator, fork: number): string {
  return `relation ${rel.spcOid}/${rel.dbOid}/${rel.relNumber} fork ${fork}`;
}
