/**
 * Back-pressure: how fast PostgreSQL's log may grow while the nodes that turn it into pages are behind. Nothing happens up to half of the wanted
 * lag. From there on the log may grow at the rate at which it is applied, divided by (2 x lag / wanted - 1): faster below the wanted lag, just as
 * fast at it, slower beyond. So a load that is too much for the nodes settles near the wanted lag, without steps to swing between; and
 * never below a least rate, for nodes that are slow must not stop writers.
 */
export interface ThrottleOptions {
  /** The lag that a load settles at, in bytes of log. */
  lagBytes: number;
  /** The log may always grow by so many bytes a second. */
  bytesPerSecondMin: number;
}

/** How far the nodes have come, at a moment. */
export interface Applied {
  /** Up to where pages are made. */
  readonly applied: number;
  /** Bytes of committed log beyond. */
  readonly lag: number;
}

/** Samples closer together than this say little about a rate. */
const SAMPLE_MS = 100;
/** The rate of application is averaged over about so long. */
const AVERAGING_MS = 2000;
/** What may pass at once after a pause, in time at the present rate. */
const BURST_MS = 20;
/** The lag is looked at again after this at the latest. */
const WAIT_MS_MAX = 100;

export class Throttle {
  lag = 0;
  /** Bytes a second; Infinity: no limit. */
  rate = Infinity;
  throttledMs = 0;
  private applyRate: number | null = null;
  private sample: { atMs: number; applied: number } | null = null;
  private debt = 0;
  private paidAtMs = 0;
  private waitedAtMs = -Infinity;

  constructor(private readonly options: ThrottleOptions) {}

  /** Held somebody up a moment ago. */
  isActive(nowMs: number): boolean {
    return nowMs - this.waitedAtMs < 2 * SAMPLE_MS + WAIT_MS_MAX;
  }

  /** So many bytes of log have come. */
  passed(bytes: number): void {
    if (this.rate !== Infinity) this.debt += bytes;
  }

  /** How long no more log should be taken; 0: it may come. `now` is null while nothing is known of the nodes. */
  waitMs(now: Applied | null, nowMs: number): number {
    this.observe(now, nowMs);
    const elapsedMs = Math.max(0, nowMs - this.paidAtMs);
    this.paidAtMs = nowMs;
    if (this.rate === Infinity) {
      this.debt = 0;
      return 0;
    }
    const perMs = this.rate / 1000;
    this.debt = Math.max(-BURST_MS * perMs, this.debt - elapsedMs * perMs);
    if (this.debt <= 0) return 0;
    this.waitedAtMs = nowMs;
    return Math.min(WAIT_MS_MAX, Math.max(1, this.debt / perMs));
  }

  private observe(now: Applied | null, nowMs: number): void {
    const { lagBytes, bytesPerSecondMin } = this.options;
    this.lag = now?.lag ?? 0;
    if (!now || this.lag < lagBytes / 4) {
      this.sample = null; // they may have had nothing to do: that says nothing about how fast they are
      this.rate = Infinity;
      return;
    }
    this.sample ??= { atMs: nowMs, applied: now.applied };
    const tookMs = nowMs - this.sample.atMs;
    if (tookMs >= SAMPLE_MS) {
      const seen = (Math.max(0, now.applied - this.sample.applied) * 1000) / tookMs;
      const weight = 1 - Math.exp(-tookMs / AVERAGING_MS);
      this.applyRate = this.applyRate === null ? seen : this.applyRate + weight * (seen - this.applyRate);
      this.sample = { atMs: nowMs, applied: now.applied };
    }
    const excess = (2 * this.lag) / lagBytes - 1;
    this.rate =
      excess <= 0 || this.applyRate === null
        ? Infinity
        : Math.max(bytesPerSecondMin, this.applyRate / excess);
  }
}
