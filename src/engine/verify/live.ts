/**
 * The verifier inside a storage node: each record is verified before ingest puts it, on pages rebuilt from the store as of the applied LSN. Those
 * that the present batch has changed are kept until it is written; of the others only the ones used last.
 */
import { DbError } from '../errors.js';
import type { Lsn } from '../lsn.js';
import { BLCKSZ } from '../page/constants.js';
import type { PageKey } from '../pages/types.js';
import type { RedoContext } from '../redo/index.js';
import { ForkNumber, type RelFileLocator, type WalRecord } from '../wal/types.js';
import { formatMismatch, mismatchTitle } from './diff.js';
import { forkKey } from './memory-pages.js';
import type { Database, VerifyPages } from './types.js';
import { RedoVerifier } from './verifier.js';

/** The page store, as the verifier reads it: in the middle of a batch. */
export interface AppliedPages {
  readonly appliedLsn: Lsn;
  /** The caller's own copy of the page as of appliedLsn; null when the fork or block does not exist then. */
  appliedPage(key: PageKey): Buffer | null;
}

export interface LiveVerifierOptions {
  readonly redo: RedoContext;
  /** Pages kept, but for those of the present batch. Default 2048 (16 MiB). */
  readonly maxPages?: number;
  /** Gets the readable form of the mismatch that stops ingest. */
  onMismatch(lines: string[]): void;
}

const FORKS = Object.values(ForkNumber);

export class LiveVerifier {
  private readonly pages: LivePages;
  private readonly verifier: RedoVerifier;

  constructor(store: AppliedPages, options: LiveVerifierOptions) {
    this.pages = new LivePages(store, options.maxPages ?? 2048);
    this.verifier = new RedoVerifier(this.pages, {
      redo: options.redo,
      onMismatch: (mismatch) => {
        options.onMismatch(formatMismatch(mismatch));
        throw new DbError(
          'REDO_MISMATCH',
          `the replayed page is not PostgreSQL's: ${mismatchTitle(mismatch)}`,
          {
            hint: "The node's log shows both pages. With redo_verify off, ingest would go on from the wrong one.",
          },
        );
      },
    });
  }

  /** Pages compared with an image of PostgreSQL's. */
  get compared(): number {
    return this.verifier.compared;
  }

  get mismatched(): number {
    return this.verifier.mismatched;
  }

  /**
   * Verifies the record that follows the one before. Throws REDO_MISMATCH, and what redo throws. True: after this record the store
   * must be written before the next one comes.
   */
  record(rec: WalRecord): boolean {
    this.pages.at = rec.endLsn;
    this.pages.mustWrite = false;
    this.verifier.record(rec);
    return this.pages.mustWrite;
  }

  /** What was not written is void. */
  forget(): void {
    this.pages.clear();
  }
}

interface HeldPage {
  readonly page: Buffer;
  readonly fork: string;
  readonly blkno: number;
  /** End of the last record that may have changed it. */
  changedAt: Lsn;
}

/**
 * A page that is not here is the store's: everything that the present batch touched is here. Where that would not do, because something
 * vanished or was copied unseen, the batch has to be written first (`mustWrite`).
 */
class LivePages implements VerifyPages {
  /** End of the record in progress. */
  at = 0 as Lsn;
  mustWrite = false;
  /** Least recently used first, by fork and block. */
  private readonly held = new Map<string, HeldPage>();
  private readonly byFork = new Map<string, Map<number, HeldPage>>();

  constructor(
    private readonly store: AppliedPages,
    private readonly maxPages: number,
  ) {}

  page(rel: RelFileLocator, fork: number, blkno: number, whole: boolean): Buffer {
    const held = this.find(forkKey(rel, fork), blkno);
    if (held !== null) return held;
    const page = whole ? null : this.store.appliedPage(pageKey(rel, fork, blkno));
    return this.hold(forkKey(rel, fork), blkno, page ?? Buffer.alloc(BLCKSZ));
  }

  existing(rel: RelFileLocator, fork: number, blkno: number): Buffer | null {
    const held = this.find(forkKey(rel, fork), blkno);
    if (held !== null) return held;
    const page = this.store.appliedPage(pageKey(rel, fork, blkno));
    return page === null ? null : this.hold(forkKey(rel, fork), blkno, page);
  }

  /** The store knows nothing of a new fork, so its pages read as zeros. */
  create(): void {}

  truncate(rel: RelFileLocator, fork: number, nblocks: number): void {
    for (const held of this.byFork.get(forkKey(rel, fork))?.values() ?? [])
      if (held.blkno >= nblocks) this.remove(held);
    this.mustWrite = true;
  }

  drop(rel: RelFileLocator): void {
    for (const fork of FORKS) this.removeFork(forkKey(rel, fork));
    this.mustWrite = true;
  }

  dropDatabase({ spcOid, dbOid }: Database): void {
    for (const fork of [...this.byFork.keys()])
      if (fork.startsWith(`${spcOid}/${dbOid}/`)) this.removeFork(fork);
    this.mustWrite = true;
  }

  copyDatabase(): void {
    this.mustWrite = true;
  }

  clear(): void {
    this.held.clear();
    this.byFork.clear();
  }

  private find(fork: string, blkno: number): Buffer | null {
    const held = this.byFork.get(fork)?.get(blkno);
    if (held === undefined) return null;
    const name = `${fork}:${blkno}`;
    this.held.delete(name);
    this.held.set(name, held);
    held.changedAt = this.at;
    return held.page;
  }

  private hold(fork: string, blkno: number, page: Buffer): Buffer {
    if (this.held.size >= this.maxPages) this.makeRoom();
    const held: HeldPage = { page, fork, blkno, changedAt: this.at };
    this.held.set(`${fork}:${blkno}`, held);
    let blocks = this.byFork.get(fork);
    if (blocks === undefined) this.byFork.set(fork, (blocks = new Map()));
    blocks.set(blkno, held);
    return page;
  }

  /** The first one that was written is the least recently used of them: use and change go together. */
  private makeRoom(): void {
    for (const held of this.held.values()) {
      if (held.changedAt > this.store.appliedLsn) break;
      this.remove(held);
      if (this.held.size < this.maxPages) return;
    }
    this.mustWrite = true;
  }

  private removeFork(fork: string): void {
    for (const held of this.byFork.get(fork)?.values() ?? []) this.held.delete(`${fork}:${held.blkno}`);
    this.byFork.delete(fork);
  }

  private remove(held: HeldPage): void {
    this.held.delete(`${held.fork}:${held.blkno}`);
    this.byFork.get(held.fork)?.delete(held.blkno);
  }
}

function pageKey(rel: RelFileLocator, fork: number, blkno: number): PageKey {
  return { spcOid: rel.spcOid, dbOid: rel.dbOid, relNumber: rel.relNumber, fork, blkno };
}
