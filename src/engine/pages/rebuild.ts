/**
 * Filling an empty store with another node's state at one LSN (base.ts), in steps that survive a crash: forks and facts first, then SLRU pages, then
 * page images in the order of the forks' keys. How far it has come is kept beside what has come (key space `rebuild`), so a node that
 * is killed goes on where it was. Until finish() the store says that it is empty, and nobody can read what is in it.
 *
 * Everything keeps the LSN that it holds since, and the horizon is the LSN of the copy: reads before it are answered as after a vacuum (past.ts).
 *
 *   rebuild 04 branch:4 00   the plan: JSON of what is copied, and as of when
 *   rebuild 04 branch:4 01   the cursor: JSON of what comes next
 */
import type { ControlState } from '../control/state.js';
import { DbError } from '../errors.js';
import { formatLsn, type Lsn } from '../lsn.js';
import { assertVersion, checkBaseRow, type BaseImage, type BaseRow } from './base.js';
import { EMPTY_ID, FactClass } from './facts.js';
import { putHorizon } from './horizon.js';
import { branchKey, KeySpace, Kind, PageVersionKey, SlruVersionKey } from './keys.js';
import type { PageStore } from './store.js';
import { MAIN_BRANCH, type RelationFork, type SlruPages } from './types.js';

interface Plan {
  readonly lsn: Lsn;
  readonly control: ControlState;
}

interface Cursor {
  /** Index into the parts. */
  part: number;
  /** Pages of that part that are here. */
  done: number;
  /** Pages of all parts before it, and of it. */
  pages: number;
}

/** A run of consecutive pages to fetch next. */
export type RebuildStep =
  | {
      readonly kind: 'slru';
      readonly slru: SlruPages['slru'];
      readonly first: number;
      readonly count: number;
    }
  | { readonly kind: 'pages'; readonly rel: RelationFork; readonly first: number; readonly count: number };

const PLAN_KEY = subKey(0);
const CURSOR_KEY = subKey(1);
/** Rows written at a time. */
const ROWS_PER_WRITE = 1000;

export class PageRebuild {
  readonly pagesTotal: number;
  /** Each fork and each range of SLRU pages, whole. */
  private readonly parts: readonly RebuildStep[];
  private readonly pageKey = new PageVersionKey();
  private readonly slruKey = new SlruVersionKey();

  private constructor(
    private readonly store: PageStore,
    private readonly plan: Plan,
    private readonly cursor: Cursor,
  ) {
    const { forks, facts } = store.parts;
    const slrus = facts
      .allSlruPages(MAIN_BRANCH, plan.lsn)
      .flatMap(({ slru, ranges }) =>
        ranges.map(([first, last]): RebuildStep => ({ kind: 'slru', slru, first, count: last - first + 1 })),
      );
    const relations = forks
      .list(MAIN_BRANCH, plan.lsn)
      .filter((rel) => rel.nblocks > 0)
      .map((rel): RebuildStep => ({ kind: 'pages', rel, first: 0, count: rel.nblocks }));
    this.parts = [...slrus, ...relations];
    this.pagesTotal = this.parts.reduce((pages, part) => pages + part.count, 0);
  }

  /**
   * Clears the store, which must be empty as far as readers know, and begins with everything but pages. `rows` and `control` must be
   * of `at`. Throws PAGE_STORE_NOT_EMPTY, PAGE_BAD_IMPORT.
   */
  static begin(store: PageStore, at: Lsn, rows: readonly BaseRow[], control: ControlState): PageRebuild {
    if (control.lastRecordEnd !== at)
      throw new DbError(
        'PAGE_BAD_IMPORT',
        `the control state is as of ${formatLsn(control.lastRecordEnd)}, the rest as of ${formatLsn(at)}`,
      );
    for (const row of rows) checkBaseRow(row, at);
    store.beginImport(at);
    const batch = store.parts.db.batch();
    for (const { key, value } of rows) {
      batch.put(key, value);
      if (batch.length >= ROWS_PER_WRITE) batch.write(false);
    }
    const plan: Plan = { lsn: at, control };
    const cursor: Cursor = { part: 0, done: 0, pages: 0 };
    // The plan comes with the last rows: without it there is nothing to go on with, and the next attempt clears the store.
    putHorizon(batch, MAIN_BRANCH, at);
    batch.put(PLAN_KEY, Buffer.from(JSON.stringify(plan)));
    batch.put(CURSOR_KEY, Buffer.from(JSON.stringify(cursor)));
    batch.write(false);
    store.parts.forks.forget();
    return new PageRebuild(store, plan, cursor);
  }

  /** What an earlier process left unfinished; null if there is nothing. */
  static resume(store: PageStore): PageRebuild | null {
    const { db } = store.parts;
    const [plan, cursor] = [db.get(PLAN_KEY), db.get(CURSOR_KEY)];
    if (store.appliedLsn !== 0 || !plan || !cursor) return null;
    return new PageRebuild(
      store,
      JSON.parse(plan.toString()) as Plan,
      JSON.parse(cursor.toString()) as Cursor,
    );
  }

  /** All that is copied is as of this LSN. */
  get lsn(): Lsn {
    return this.plan.lsn;
  }

  get control(): ControlState {
    return this.plan.control;
  }

  get pagesDone(): number {
    return this.cursor.pages;
  }

  /** The steps from here to the end, in the order in which put() takes them: for whoever fetches several at a time. */
  *steps(pagesMax: number): Generator<RebuildStep, void> {
    for (let { part, done } = this.cursor; part < this.parts.length; part++, done = 0) {
      const whole = this.parts[part]!;
      for (; done < whole.count; done += pagesMax)
        yield { ...whole, first: whole.first + done, count: Math.min(pagesMax, whole.count - done) };
    }
  }

  /** Takes the pages of the next step; those that were never written are not among them. Throws PAGE_BAD_IMPORT. */
  put(step: RebuildStep, images: readonly BaseImage[]): void {
    const batch = this.store.parts.db.batch();
    for (const { blkno, version, image } of images) {
      assertVersion(version, this.lsn);
      if (blkno < step.first || blkno >= step.first + step.count)
        throw new DbError('PAGE_BAD_IMPORT', `block ${blkno} was not asked for`, { reaction: 'retry' });
      const key =
        step.kind === 'slru'
          ? this.slruKey.setPage(MAIN_BRANCH, step.slru, blkno)
          : this.pageKey.setPage(MAIN_BRANCH, step.rel, step.rel.fork, blkno);
      batch.put(key.set(version, Kind.coalesced), image);
      this.store.parts.counters.versionsWritten++;
    }
    const { cursor } = this;
    cursor.done += step.count;
    cursor.pages += step.count;
    if (cursor.done === this.parts[cursor.part]!.count) {
      cursor.part += 1;
      cursor.done = 0;
    }
    batch.put(CURSOR_KEY, Buffer.from(JSON.stringify(cursor)));
    batch.write(false);
  }

  /** Everything is here: makes it durable, and the state at `lsn` for readers. */
  finish(): void {
    if (this.cursor.part < this.parts.length) throw new Error('the rebuild is not finished');
    const { store, plan } = this;
    const { db, facts } = store.parts;
    const batch = db.batch();
    const control = Buffer.from(JSON.stringify(plan.control));
    facts.put(batch, MAIN_BRANCH, FactClass.control, EMPTY_ID, plan.lsn, control);
    batch.delete(PLAN_KEY);
    batch.delete(CURSOR_KEY);
    store.commit(batch, { appliedLsn: plan.lsn, lastRecordLsn: plan.control.lastRecordLsn });
    store.sync();
    store.raiseHorizon(plan.lsn);
  }
}

function subKey(part: number): Buffer {
  return Buffer.concat([branchKey(KeySpace.rebuild, MAIN_BRANCH), Buffer.from([part])]);
}
