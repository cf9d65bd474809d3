/**
 * When a page gets an image of its own (CoalescePolicy). Counts deltas since the last base by page, in memory and bounded: after a restart, or when
 * the counts are thrown away for want of room, a chain can grow to twice the threshold before it is noticed.
 *
 * An image falls due at the policy's number of deltas, and is written when ingest has nothing else to do. While it is busy only those are that are overdue,
 * at OVERDUE times as many, so that under load a hot page gets one image where it would have got OVERDUE.
 *
 * Pages that were begun (WILL_INIT) by a small record, or coalesced of late, are kept rebuilt here, SLRU pages too, and each delta is applied as
 * it comes, while its record is decoded anyway: the image that falls due later then costs no reading. Hot pages need nothing else.
 */
import type { Lsn } from '../lsn.js';
import { BLCKSZ } from '../page/constants.js';
import { applyReplayable } from '../redo/index.js';
import type { RedoContext } from '../redo/types.js';
import type { BlockRef, WalRecord } from '../wal/types.js';
import { applySlruDelta } from './effects/slru.js';
import type { SlruName } from './effects/types.js';
import type { Fork } from './forks.js';
import { PageStates, type PageState } from './page-state.js';
import type { CoalescePolicy, PageKey } from './types.js';
import { applyMapChange } from './values.js';

export const DEFAULT_POLICY: CoalescePolicy = { kind: 'background', pageDeltas: 32, slruDeltas: 128 };

/** A page whose image is due. */
export type DuePage = { readonly chain: PageState } & (
  | { readonly kind: 'page'; readonly key: PageKey }
  | { readonly kind: 'slru'; readonly slru: SlruName; readonly pageno: number }
);

const MAX_KNOWN_PAGES = 200_000;
const OVERDUE = 8;
/** Pages that may be due while ingest is busy. Beyond, their images are written with each batch. */
const MAX_DUE = 20_000;
/** Pages kept rebuilt: 64 MiB. One that was pushed out costs a read of its chain when its next image is due. */
const MAX_KEPT_PAGES = 8192;
/**
 * A record of more bytes that begins a page (of a COPY, say), or an image of more, fills it: few others will follow, and keeping it
 * rebuilt would be for nothing.
 */
const FULL_PAGE_RECORD = BLCKSZ / 2;

export class CoalesceQueue {
  private due: DuePage[] = [];
  private overdue: DuePage[] = [];
  private round = 0;
  private readonly known = { pages: 0 };
  private readonly slrus = new Map<SlruName, PageStates>();
  private readonly pageDeltas: number;
  private readonly slruDeltas: number;
  private readonly patience: number;
  /** Chains whose page is kept, in a ring; the hand frees the first one not used since it last came by. */
  private readonly kept: PageState[] = [];
  private hand = 0;
  /** Pages of chains that were pushed out or begun anew, to be used again: they would leave holes all over the memory, each of another age. */
  private readonly spare: Buffer[] = [];

  constructor(
    private readonly policy: CoalescePolicy,
    private readonly redo: RedoContext,
  ) {
    this.pageDeltas = policy.kind === 'background' ? policy.pageDeltas : 1;
    this.slruDeltas = policy.kind === 'background' ? policy.slruDeltas : 1;
    this.patience = policy.kind === 'background' ? OVERDUE : 1;
  }

  get length(): number {
    return this.due.length + this.overdue.length;
  }

  /** What is known of the page. Valid until trim() or forget(). */
  page(fork: Fork, blkno: number): PageState {
    return (fork.pages = this.states(fork.pages)).at(blkno);
  }

  /** As page(). */
  slruPage(slru: SlruName, pageno: number): PageState {
    const states = this.states(this.slrus.get(slru) ?? null);
    this.slrus.set(slru, states);
    return states.at(pageno);
  }

  /** Makes room, if need be. Nothing may be pending. */
  trim(): void {
    if (this.known.pages > MAX_KNOWN_PAGES) this.purge();
  }

  /** A record, which has passed assertReplayable(), changed the page; with `block.willInit` it began it. */
  recordDelta(fork: Fork, chain: PageState, rec: WalRecord, block: BlockRef): void {
    if (this.policy.kind === 'lazy') return;
    if (block.willInit) this.base(chain);
    this.pageDelta(fork, chain);
    if (block.willInit && rec.raw.length <= FULL_PAGE_RECORD) this.keep(chain, this.blank());
    if (chain.page === null) return;
    try {
      applyReplayable(chain.page, rec, block, this.redo);
      chain.version = rec.endLsn;
      chain.used = true;
    } catch {
      // The delta is in the store as it came; whoever reads the page hears why it cannot be rebuilt.
      this.drop(chain);
    }
  }

  /** A change of a visibility map page, as stored under `kind`. */
  mapDelta(fork: Fork, chain: PageState, at: Lsn, kind: number, value: Buffer): void {
    if (this.policy.kind === 'lazy') return;
    this.pageDelta(fork, chain);
    if (!chain.page) return;
    // Readers apply what one record did to a page in the order of the kinds, not in the order in which it comes here.
    if (chain.version === at) this.drop(chain);
    else this.change(chain, at, (page) => applyMapChange(page, kind, value));
  }

  slruDelta(slru: SlruName, chain: PageState, at: Lsn, parts: readonly Buffer[]): void {
    if (this.policy.kind === 'lazy') return;
    if (this.countDelta(chain, this.slruDeltas))
      this.enqueue({ kind: 'slru', chain, slru, pageno: chain.pageno });
    if (!chain.page) return;
    if (chain.version === at) this.drop(chain);
    else
      this.change(chain, at, (page) => {
        for (const part of parts) applySlruDelta(page, part);
      });
  }

  /** The SLRU page is all zeros from `at` on. */
  slruZero(chain: PageState, at: Lsn): void {
    this.base(chain);
    if (this.policy.kind === 'lazy') return;
    this.keep(chain, this.blank());
    chain.version = at;
  }

  /** The page has a base now. */
  base(chain: PageState): void {
    this.drop(chain);
    chain.deltas = 0;
  }

  /** The page has got an image, which is stored as so many bytes. */
  pageImage(chain: PageState, page: Readonly<Buffer>, stored: number, at: Lsn): void {
    this.base(chain);
    if (this.policy.kind === 'lazy' || stored > FULL_PAGE_RECORD) return;
    const own = this.blank();
    page.copy(own);
    this.keep(chain, own);
    chain.version = at;
  }

  /** The page as it is kept, null if it is not. A view: use it before the next record. */
  keptPage(fork: Fork, blkno: number): { page: Buffer; version: Lsn } | null {
    return this.keptAmong(fork.pages, blkno);
  }

  /** As keptPage(). */
  keptSlruPage(slru: SlruName, pageno: number): { page: Buffer; version: Lsn } | null {
    return this.keptAmong(this.slrus.get(slru) ?? null, pageno);
  }

  /** An image of the page as of `version` has been written: the chain begins anew, on a page that is kept from now on. */
  coalesced(fork: Fork, blkno: number, page: Readonly<Buffer>, version: Lsn): void {
    this.begunAnew(this.page(fork, blkno), page, version);
  }

  slruCoalesced(slru: SlruName, pageno: number, page: Readonly<Buffer>, version: Lsn): void {
    this.begunAnew(this.slruPage(slru, pageno), page, version);
  }

  private begunAnew(chain: PageState, page: Readonly<Buffer>, version: Lsn): void {
    chain.deltas = 0;
    if (chain.page === null) {
      const own = this.blank();
      page.copy(own);
      this.keep(chain, own);
    }
    chain.version = version;
  }

  /** Takes up to `max` pages, the longest waiting first. */
  take(max: number): DuePage[] {
    const taken = this.takeOverdue(max);
    while (taken.length < max && this.due.length > 0)
      for (const page of this.due.splice(0, max - taken.length)) {
        page.chain.due = false;
        if (this.isDue(page)) taken.push(page);
      }
    return taken;
  }

  /** Those that cannot wait for an idle moment. */
  takeOverdue(max: number): DuePage[] {
    const taken = this.overdue.splice(0, max).filter((page) => this.isDue(page));
    const surplus = Math.min(max - taken.length, this.due.length - MAX_DUE);
    for (const page of surplus > 0 ? this.due.splice(0, surplus) : []) {
      page.chain.due = false;
      if (this.isDue(page)) taken.push(page);
    }
    return taken;
  }

  /** Not if it has got a base meanwhile. */
  private isDue(page: DuePage): boolean {
    return page.chain.deltas >= this.limitOf(page);
  }

  forget(): void {
    this.due = [];
    this.overdue = [];
    this.slrus.clear();
    this.purge();
  }

  private keptAmong(states: PageStates | null, pageno: number): { page: Buffer; version: Lsn } | null {
    const chain = states?.round === this.round ? states.find(pageno) : undefined;
    return chain?.page ? { page: chain.page, version: chain.version } : null;
  }

  /** Changes a page that is kept, as recordDelta() does. */
  private change(chain: PageState, at: Lsn, apply: (page: Buffer) => void): void {
    try {
      apply(chain.page!);
      chain.version = at;
      chain.used = true;
    } catch {
      this.drop(chain);
    }
  }

  private pageDelta(fork: Fork, chain: PageState): void {
    if (!this.countDelta(chain, this.pageDeltas)) return;
    const { spcOid, dbOid, relNumber } = fork;
    const key = { spcOid, dbOid, relNumber, fork: fork.fork, blkno: chain.pageno };
    this.enqueue({ kind: 'page', chain, key });
  }

  /** Whether the chain has just become due or overdue. */
  private countDelta(chain: PageState, limit: number): boolean {
    const deltas = ++chain.deltas;
    return deltas === limit * this.patience || (deltas === limit && !chain.due);
  }

  private enqueue(page: DuePage): void {
    const { chain } = page;
    if (chain.deltas === this.limitOf(page) * this.patience) {
      this.overdue.push(page);
    } else {
      chain.due = true;
      this.due.push(page);
    }
  }

  private limitOf({ kind }: DuePage): number {
    return kind === 'page' ? this.pageDeltas : this.slruDeltas;
  }

  private states(before: PageStates | null): PageStates {
    return before?.round === this.round ? before : new PageStates(this.round, this.known);
  }

  /** A zeroed page. */
  private blank(): Buffer {
    return (this.spare.pop() ?? Buffer.allocUnsafeSlow(BLCKSZ)).fill(0);
  }

  /** The page is not kept any longer. */
  private drop(chain: PageState): void {
    if (chain.page === null) return;
    if (this.spare.length < MAX_KEPT_PAGES) this.spare.push(chain.page);
    chain.page = null;
  }

  private keep(chain: PageState, page: Buffer): void {
    chain.page = page;
    chain.used = true;
    if (this.kept.length < MAX_KEPT_PAGES) {
      this.kept.push(chain);
      return;
    }
    for (;;) {
      const candidate = this.kept[this.hand]!;
      if (candidate.page === null || !candidate.used) {
        this.drop(candidate);
        this.kept[this.hand] = chain;
        this.hand = (this.hand + 1) % MAX_KEPT_PAGES;
        return;
      }
      candidate.used = false;
      this.hand = (this.hand + 1) % MAX_KEPT_PAGES;
    }
  }

  private purge(): void {
    for (const chain of this.kept) this.drop(chain);
    this.kept.length = 0;
    this.hand = 0;
    this.round++;
    this.known.pages = 0;
  }
}
