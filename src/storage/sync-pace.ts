/** How long the disk takes, of late, to make log durable. */

/** The syncs that count: the last few, and none that is older than this. */
const SYNCS = 8;
const LATE_MS = 10_000;
/** Fewer than this tell of a busy moment, not of a slow disk. */
const SYNCS_MIN = 4;

export class SyncPace {
  private readonly ended: { readonly atMs: number; readonly tookMs: number }[] = [];
  private begunMs: number | null = null;

  constructor(private readonly now: () => number = () => performance.now()) {}

  begin(): void {
    this.begunMs = this.now();
  }

  end(): void {
    const atMs = this.now();
    if (this.begunMs !== null) this.ended.push({ atMs, tookMs: atMs - this.begunMs });
    if (this.ended.length > SYNCS) this.ended.shift();
    this.begunMs = null;
  }

  /** Median in seconds, 0 while there are too few to tell; of one that hangs, what it has taken so far. */
  get seconds(): number {
    const now = this.now();
    const took = this.ended.filter(({ atMs }) => now - atMs < LATE_MS).map(({ tookMs }) => tookMs);
    const going = this.begunMs === null ? 0 : now - this.begunMs;
    // One that hangs says it alone: there will be no others.
    if (going >= LATE_MS) return going / 1000;
    if (took.length < SYNCS_MIN) return 0;
    took.sort((a, b) => a - b);
    return took[Math.floor(took.length / 2)]! / 1000;
  }
}
