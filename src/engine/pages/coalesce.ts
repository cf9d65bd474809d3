/**
 * When a page gets an image of its own (CoalescePolicy). Counts deltas since the last base by page, in memory and bounded: after a restart, or when
 * the counts are thrown away for want of room, a chain can grow to twice the threshold before it is noticed.
 */
import type { SlruName } from './effects/types.js';
import type { Fork } from './forks.js';
import type { CoalescePolicy, PageKey } from './types.js';

export const DEFAULT_POLICY: CoalescePolicy = { kind: 'background', pageDeltas: 32, slruDeltas: 128 };

/** A page whose image is due. */
export type DuePage =
  | { readonly kind: 'page'; readonly key: PageKey }
  | { readonly kind: 'slru'; readonly slru: SlruName; readonly pageno: number };

/** Counts of one fork or SLRU; `round` tells counts from before the last purge. */
export interface DeltaCounts {
  round: number;
  readonly byPage: Map<number, number>;
}

const MAX_COUNTED_PAGES = 500_000;

export class CoalesceQueue {
  private due: DuePage[] = [];
  private round = 0;
  private counted = 0;
  private readonly slrus = new Map<SlruName, DeltaCounts>();
  private readonly pageDeltas: number;
  private readonly slruDeltas: number;

  constructor(private readonly policy: CoalescePolicy) {
    this.pageDeltas = policy.kind === 'background' ? policy.pageDeltas : 1;
    this.slruDeltas = policy.kind === 'background' ? policy.slruDeltas : 1;
  }

  get length(): number {
    return this.due.length;
  }

  pageDelta(fork: Fork, blkno: number): void {
    if (this.policy.kind === 'lazy') return;
    const counts = (fork.deltas = this.counts(fork.deltas));
    if (this.count(counts, blkno) !== this.pageDeltas) return;
    const { spcOid, dbOid, relNumber } = fork;
    this.due.push({ kind: 'page', key: { spcOid, dbOid, relNumber, fork: fork.fork, blkno } });
  }

  slruDelta(slru: SlruName, pageno: number): void {
    if (this.policy.kind === 'lazy') return;
    const counts = this.counts(this.slrus.get(slru) ?? null);
    this.slrus.set(slru, counts);
    if (this.count(counts, pageno) === this.slruDeltas) this.due.push({ kind: 'slru', slru, pageno });
  }

  /** The page has a base now. */
  pageBase(fork: Fork, blkno: number): void {
    if (fork.deltas?.byPage.delete(blkno)) this.counted--;
  }

  slruBase(slru: SlruName, pageno: number): void {
    if (this.slrus.get(slru)?.byPage.delete(pageno)) this.counted--;
  }

  /** Takes up to `max` pages, the longest waiting first. */
  take(max: number): DuePage[] {
    return this.due.splice(0, max);
  }

  forget(): void {
    this.due = [];
    this.slrus.clear();
    this.purge();
  }

  private counts(known: DeltaCounts | null): DeltaCounts {
    if (known?.round === this.round) return known;
    return { round: this.round, byPage: new Map() };
  }

  private count(counts: DeltaCounts, page: number): number {
    const before = counts.byPage.get(page) ?? 0;
    if (before === 0 && ++this.counted > MAX_COUNTED_PAGES) this.purge();
    counts.byPage.set(page, before + 1);
    return before + 1;
  }

  private purge(): void {
    this.round++;
    this.counted = 0;
  }
}
