/**
 * Filling an empty store with another node's state at one LSN, in steps that survive a crash: facts and fork sizes first, then SLRU pages, then
 * page images in the order of the forks' keys. How far it has come is kept beside what has come (key space `rebuild`), so a node that
 * is killed goes on where it was. Until finish() the store says that it is empty, and nobody can read what is in it.
 *
 *   rebuild 04 branch:4 00   the plan: JSON of what is copied, and as of when
 *   rebuild 04 branch:4 01   the cursor: JSON of what comes next
 */
import type { ControlState } from '../control/state.js';
import { DbError } from '../errors.js';
import { formatLsn, type Lsn } from '../lsn.js';
import { BLCKSZ } from '../page/constants.js';
import { BaseImporter } from './import.js';
import { branchKey, KeySpace } from './keys.js';
import type { PageStore } from './store.js';
import { MAIN_BRANCH, type DataDirManifest, type RelationFork, type SlruPages } from './types.js';

interface Plan {
  readonly lsn: Lsn;
  readonly control: ControlState;
  readonly slrus: readonly SlruPages[];
}

interface Cursor {
  /** Index into the parts of the plan. */
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

export class PageRebuild {
  readonly pagesTotal: number;
  private readonly importer: BaseImporter;
  /** Each fork and each range of SLRU pages, whole. */
  private readonly parts: readonly RebuildStep[];

  private constructor(
    private readonly store: PageStore,
    private readonly plan: Plan,
    private readonly cursor: Cursor,
  ) {
    this.importer = new BaseImporter(store, MAIN_BRANCH, plan.lsn);
    const slrus = plan.slrus.flatMap(({ slru, ranges }) =>
      ranges.map(([first, last]): RebuildStep => ({ kind: 'slru', slru, first, count: last - first + 1 })),
    );
    const forks = store.parts.forks
      .list(MAIN_BRANCH, plan.lsn)
      .filter((rel) => rel.nblocks > 0)
      .map((rel): RebuildStep => ({ kind: 'pages', rel, first: 0, count: rel.nblocks }));
    this.parts = [...slrus, ...forks];
    this.pagesTotal = this.parts.reduce((pages, part) => pages + part.count, 0);
  }

  /**
   * Clears the store, which must be empty as far as readers know, and begins with everything but pages. `manifest` and `control` must be
   * of the same LSN. Throws PAGE_STORE_NOT_EMPTY, PAGE_BAD_IMPORT.
   */
  static begin(store: PageStore, manifest: DataDirManifest, control: ControlState): PageRebuild {
    if (control.lastRecordEnd !== manifest.lsn)
      throw new DbError(
        'PAGE_BAD_IMPORT',
        `the control state is as of ${formatLsn(control.lastRecordEnd)}, the manifest as of ${formatLsn(manifest.lsn)}`,
      );
    const base = store.beginImport(manifest.lsn) as BaseImporter;
    for (const rel of manifest.relations) base.relation(rel, rel.fork, rel.nblocks);
    for (const { dbOid, spcOid } of manifest.databases) base.database(dbOid, spcOid);
    for (const oid of manifest.tablespaces) base.tablespace(oid);
    for (const { spcOid, dbOid, data } of manifest.relmaps) base.relmap(spcOid, dbOid, data);
    for (const { fullXid, data } of manifest.twoPhase) base.twoPhase(fullXid, data);
    for (const { id, remoteLsn } of manifest.origins) base.origin(id, remoteLsn);
    for (const { name, content } of manifest.files) base.file(name, content);
    const plan: Plan = { lsn: manifest.lsn, control, slrus: manifest.slrus };
    const cursor: Cursor = { part: 0, done: 0, pages: 0 };
    // The plan comes with the last of the facts: without it there is nothing to go on with, and the next attempt clears the store.
    base.checkpoint((batch) => {
      batch.put(PLAN_KEY, Buffer.from(JSON.stringify(plan)));
      batch.put(CURSOR_KEY, Buffer.from(JSON.stringify(cursor)));
    });
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

  get segmentSize(): number {
    return this.plan.control.segmentSize;
  }

  get pagesDone(): number {
    return this.cursor.pages;
  }

  /** What to fetch next, at most `pagesMax` pages of one fork or SLRU; null when everything is here. */
  next(pagesMax: number): RebuildStep | null {
    const step = this.parts[this.cursor.part];
    if (!step) return null;
    const { done } = this.cursor;
    return { ...step, first: step.first + done, count: Math.min(pagesMax, step.count - done) };
  }

  /** Takes the pages of the step that next() gave, `step.count` * 8192 bytes. Pages of zeros are left out of relations. */
  put(step: RebuildStep, bytes: Buffer): void {
    if (bytes.length !== step.count * BLCKSZ)
      throw new DbError('PAGE_BAD_IMPORT', `${bytes.length} bytes for ${step.count} pages`, {
        reaction: 'retry',
      });
    for (let i = 0; i < step.count; i++) {
      const page = bytes.subarray(i * BLCKSZ, (i + 1) * BLCKSZ);
      if (step.kind === 'slru') this.importer.slruPage(step.slru, step.first + i, page);
      else this.importer.page({ ...step.rel, blkno: step.first + i }, page);
    }
    const { cursor } = this;
    cursor.done += step.count;
    cursor.pages += step.count;
    if (cursor.done === this.parts[cursor.part]!.count) {
      cursor.part += 1;
      cursor.done = 0;
    }
    this.importer.checkpoint((batch) => batch.put(CURSOR_KEY, Buffer.from(JSON.stringify(cursor))));
  }

  /** Everything is here: makes it durable, and the state at `lsn` for readers. */
  finish(): void {
    if (this.next(1)) throw new Error('the rebuild is not finished');
    this.importer.finish(this.plan.control, this.plan.control.lastRecordLsn);
    const batch = this.store.parts.db.batch();
    batch.delete(PLAN_KEY);
    batch.delete(CURSOR_KEY);
    batch.write(false); // a store that is not empty has no use for them, so it does not matter when they go
  }
}

function subKey(part: number): Buffer {
  return Buffer.concat([branchKey(KeySpace.rebuild, MAIN_BRANCH), Buffer.from([part])]);
}
