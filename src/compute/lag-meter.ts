import type { Lsn } from '../engine/lsn.js';

/** Arrivals remembered; more that wait are counted from the oldest of them on. */
const ARRIVALS_MAX = 1024;

/** For how long the oldest log that a standby has not replayed has waited since it came. */
export class LagMeter {
  private readonly arrivals: { end: Lsn; atMs: number }[] = [];

  /** Log up to `end` came. */
  received(end: Lsn, nowMs: number): void {
    const last = this.arrivals.at(-1);
    if (last && end <= last.end) return; // sent again, on a new connection
    if (this.arrivals.length >= ARRIVALS_MAX) last!.end = end;
    else this.arrivals.push({ end, atMs: nowMs });
  }

  replayed(upTo: Lsn): void {
    while (this.arrivals.length > 0 && this.arrivals[0]!.end <= upTo) this.arrivals.shift();
  }

  /** 0 when all that came is replayed. */
  ms(nowMs: number): number {
    return this.arrivals.length === 0 ? 0 : Math.max(0, nowMs - this.arrivals[0]!.atMs);
  }
}
