const KEPT = 256;
/** Fewer say nothing about the slow end. */
const NEEDED = 32;
/** New samples between two looks: sorting a few hundred numbers is cheap, but not for each read. */
const STRIDE = 32;

/** The last few hundred latencies in milliseconds, and their 95th percentile. */
export class RecentLatencies {
  private readonly ring = new Float64Array(KEPT);
  private count = 0;
  private known: number | null = null;

  add(ms: number): void {
    this.ring[this.count++ % KEPT] = ms;
    if (this.count < NEEDED || this.count % STRIDE !== 0) return;
    const sorted = this.ring.slice(0, Math.min(this.count, KEPT)).sort();
    this.known = sorted[Math.floor(sorted.length * 0.95)]!;
  }

  /** Null while too few are known. A few dozen samples old at most. */
  p95(): number | null {
    return this.known;
  }
}
