import { DbError } from '../errors.js';
import { formatLsn, lsn } from '../lsn.js';
import type { Lsn } from '../lsn.js';
import type { Epoch, EpochHistory } from './types.js';

export function formatHistory(history: EpochHistory): string {
  return history.map((e) => `${e.epoch}@${formatLsn(e.startLsn)}`).join(' ') || '(empty)';
}

/** Throws QUORUM_BAD_HISTORY (reaction bug) unless epochs ascend and start LSNs never descend. */
export function checkHistory(history: EpochHistory): void {
  for (let i = 1; i < history.length; i++) {
    const [a, b] = [history[i - 1]!, history[i]!];
    if (b.epoch <= a.epoch || b.startLsn < a.startLsn)
      throw new DbError('QUORUM_BAD_HISTORY', `epoch history out of order: ${formatHistory(history)}`, {
        reaction: 'bug',
      });
  }
}

/**
 * The part of a history that a log ending at `end` really holds. An adopted epoch that starts beyond the log's end says nothing
 * about the log, so it must not make the log look newer than it is.
 */
export function historyUpTo(history: EpochHistory, end: Lsn): EpochHistory {
  return history.filter((entry) => entry.startLsn <= end);
}

/** Epoch of the newest entry that a log ending at `end` has reached; -1 for an empty history. */
export function lastLogEpoch(history: EpochHistory, end: Lsn): Epoch {
  return historyUpTo(history, end).at(-1)?.epoch ?? -1;
}

/**
 * Up to where a log (its history and end) agrees with another history: nothing beyond it may stay.
 * Null when the two have no epoch in common (another volume, or an empty log).
 * Throws QUORUM_BAD_HISTORY when one epoch has two starts: two writers were elected in it, which the promise rule excludes.
 */
export function commonPoint(own: EpochHistory, end: Lsn, other: EpochHistory): Lsn | null {
  let common = -1;
  while (common + 1 < own.length && common + 1 < other.length) {
    const [a, b] = [own[common + 1]!, other[common + 1]!];
    if (a.epoch !== b.epoch) break;
    if (a.startLsn !== b.startLsn)
      throw new DbError(
        'QUORUM_BAD_HISTORY',
        `epoch ${a.epoch} starts at ${formatLsn(a.startLsn)} here and at ${formatLsn(b.startLsn)} there`,
        { reaction: 'bug' },
      );
    common++;
  }
  if (common < 0) return null;
  return lsn(Math.min(end, own[common + 1]?.startLsn ?? Infinity, other[common + 1]?.startLsn ?? Infinity));
}
