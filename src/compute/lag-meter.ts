import type { Lsn } from '../engine/lsn.js';

/** Commits remembered; more that wait are counted from the oldest of them on. */
const COMMITS_MAX = 1024;

/** For how long the oldest committed log that a standby has not replayed has been waiting, wherever it is held up. */
export class LagMeter {
  private readonly commits: { end: Lsn; atMs: number }[] = [];

  /** Log up to `end` is known to be committed. */
  committed(end: Lsn, nowMs: number): void {
    const last = this.commits.at(-1);
    if (last && end <= last.end) return;
    if (this.commits.length >= COMMITS_MAX) last!.end = end;
    else this.commits.push({ end, atMs: nowMs });
  }

  replayed(upTo: Lsn): void {
    while (this.commits.length > 0 && this.commits[0]!.end <= upTo) this.commits.shift();
  }

  /** 0 when all of it is replayed. */
  ms(nowMs: number): number {
    return this.commits.length === 0 ? 0 : Math.max(0, nowMs - this.commits[0]!.atMs);
  }
}
