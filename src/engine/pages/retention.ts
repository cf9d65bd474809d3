/**
 * When the applied LSN was where: a coarse map from the node's running time to LSNs, so that history can be kept for a time and not only for so
 * many bytes. Running time is what a monotonic clock counts while the node runs, added up over its starts: a clock that is set right or wrong
 * moves nothing, and time during which the node was down does not age what it keeps. Value: JSON.
 */
import { INVALID_LSN, type Lsn } from '../lsn.js';
import { branchKey, KeySpace } from './keys.js';
import type { PageStore } from './store.js';
import { MAIN_BRANCH } from './types.js';

interface Sample {
  readonly runMs: number;
  readonly lsn: Lsn;
}

/** Samples within the time that history is kept for: its point is never off by more than a part of this. */
const SAMPLES = 60;

export class RunningTime {
  private readonly begunAt: number;
  /** Oldest first. At most one lies before the time that history is kept for. */
  private samples: Sample[];

  /** `nowMs`: of any monotonic clock. */
  constructor(
    private readonly store: PageStore,
    private readonly keepMs: number,
    nowMs: number,
  ) {
    const saved = store.parts.db.get(branchKey(KeySpace.clock, MAIN_BRANCH));
    this.samples = saved ? (JSON.parse(saved.toString()) as Sample[]) : [];
    this.begunAt = nowMs - (this.samples.at(-1)?.runMs ?? 0);
  }

  /** Notes where the applied LSN is, if that is worth a sample. */
  note(nowMs: number): void {
    const runMs = nowMs - this.begunAt;
    const last = this.samples.at(-1);
    const lsn = this.store.appliedLsn;
    if (last && (last.lsn === lsn || runMs - last.runMs < this.keepMs / SAMPLES)) return;
    this.samples.push({ runMs, lsn });
    const first = this.samples.findLastIndex((sample) => sample.runMs <= runMs - this.keepMs);
    this.samples = this.samples.slice(Math.max(0, first)).slice(-4 * SAMPLES);
    const batch = this.store.parts.db.batch();
    batch.put(branchKey(KeySpace.clock, MAIN_BRANCH), Buffer.from(JSON.stringify(this.samples)));
    batch.write(false);
  }

  /** Where the applied LSN was, or had been already, `keepMs` ago; 0 when that is not known any more, or not yet. */
  keptFrom(nowMs: number): Lsn {
    const runMs = nowMs - this.begunAt;
    return this.samples.findLast((sample) => sample.runMs <= runMs - this.keepMs)?.lsn ?? INVALID_LSN;
  }
}
