/**
 * Page versions on their way into a batch. Deltas of one page that follow one another become runs (runs.ts). Rows enter in the order of their keys:
 * RocksDB's memtable inserts a key that follows the one before it at once and searches the place of any other, so this saves a search for each
 * further version of a page that the batch changes.
 */
import type { Lsn } from '../lsn.js';
import type { SlruName } from './effects/types.js';
import { Kind, slruNumber, SlruVersionKey, type VersionedKey } from './keys.js';
import { PendingVersion, type PageState, type PageStates } from './page-state.js';
import type { RocksBatch } from './rocks.js';
import { encodeRun, fitsRun, fitsSpan, RUN_BYTES_MAX, RUN_DELTAS_MAX } from './runs.js';
import type { BranchId } from './types.js';

/** What has numbered pages: a fork, an SLRU. */
export interface PageOwner {
  /** Place among the owners of a batch. Two may share one. */
  readonly order: number;
  /** Deltas of one page from before and after a change of this number are not put together. */
  readonly era: number;
  /** Pages with versions that are not in the batch yet. For VersionPuts only. */
  readonly touched: PageState[];
  /** Where those that need not be known any longer can be released. */
  readonly pages: PageStates | null;
  /** Key of one page's versions, lent until the next call. */
  versionKey(pageno: number): VersionedKey;
}

/** Beyond the order of any fork. */
const SLRU_ORDER = 2 ** 40;

class SlruOwner implements PageOwner {
  readonly era = 0;
  readonly order: number;
  readonly touched: PageState[] = [];
  readonly pages = null;
  private readonly key = new SlruVersionKey();

  constructor(
    private readonly branch: BranchId,
    private readonly slru: SlruName,
  ) {
    this.order = SLRU_ORDER + slruNumber(slru);
  }

  versionKey(pageno: number): SlruVersionKey {
    return this.key.setPage(this.branch, this.slru, pageno);
  }
}

export class VersionPuts {
  /** Owners with pending versions. */
  private readonly owners: PageOwner[] = [];
  private readonly slrus = new Map<SlruName, SlruOwner>();

  constructor(private readonly branch: BranchId) {}

  /** `value` must not change until flush(). `at` is not before that of any version put earlier. */
  page(owner: PageOwner, state: PageState, at: Lsn, kind: number, value: Buffer): void {
    const newest = state.pending;
    if (newest === null) {
      if (owner.touched.length === 0) this.owners.push(owner);
      owner.touched.push(state);
      state.pending = new PendingVersion(at, kind, owner.era, value);
    } else if (at !== newest.at || kind < newest.kind) {
      const version = new PendingVersion(at, kind, owner.era, value);
      version.older = newest;
      state.pending = version;
    } else {
      insert(newest, at, kind, owner.era, value);
    }
  }

  slru(slru: SlruName, state: PageState, at: Lsn, kind: number, value: Buffer): void {
    let owner = this.slrus.get(slru);
    if (!owner) this.slrus.set(slru, (owner = new SlruOwner(this.branch, slru)));
    this.page(owner, state, at, kind, value);
  }

  flush(batch: RocksBatch): void {
    this.owners.sort((a, b) => a.order - b.order);
    for (const owner of this.owners) {
      for (const key of inOrder(owner.touched)) {
        const state = owner.touched[key % TOUCHED_MAX]!;
        putPage(batch, owner.versionKey(state.pageno), state.pending!);
        state.pending = null;
        owner.pages?.release(state);
      }
      owner.touched.length = 0;
    }
    this.owners.length = 0;
  }

  forget(): void {
    for (const owner of this.owners) {
      for (const state of owner.touched) state.pending = null;
      owner.touched.length = 0;
    }
    this.owners.length = 0;
  }
}

/** 2^32 pages times this are exact as a number. A batch touches less, being a few megabytes of records. */
const TOUCHED_MAX = 2 ** 21;

/**
 * Page times TOUCHED_MAX plus index, by page; two states of one page, from before and after it was forgotten, as they came. A sort of numbers needs no call for
 * each comparison.
 */
function inOrder(touched: readonly PageState[]): Float64Array {
  const keys = new Float64Array(touched.length);
  for (let i = 0; i < keys.length; i++) keys[i] = touched[i]!.pageno * TOUCHED_MAX + i;
  return keys.sort();
}

/** Puts a version of what `newest` is of, too, behind those of the same LSN that have a lower kind; in place of one that has the same key. */
function insert(newest: PendingVersion, at: Lsn, kind: number, era: number, value: Buffer): void {
  let before = newest;
  while (before.kind < kind && before.older?.at === at && before.older.kind <= kind) before = before.older;
  if (before.kind === kind) {
    before.value = value;
    return;
  }
  const version = new PendingVersion(at, kind, era, value);
  version.older = before.older;
  before.older = version;
}

function putPage(batch: RocksBatch, key: VersionedKey, newest: PendingVersion): void {
  for (let from: PendingVersion | null = newest; from !== null;) {
    const count = runLengthFrom(from);
    if (count === 1) {
      batch.put(key.set(from.at, from.kind), from.value);
      from = from.older;
      continue;
    }
    let oldest: PendingVersion = from;
    for (let i = 1; i < count; i++) oldest = oldest.older!;
    batch.put(key.set(oldest.at, Kind.run), encodeRun(from, oldest.at, count));
    from = oldest.older;
  }
}

/** Number of versions in the run whose newest delta is `newest`; 1 if it goes alone. What one record did is not divided. */
function runLengthFrom(newest: PendingVersion): number {
  if (!fitsRun(newest)) return 1;
  let bytes = newest.value.length;
  let whole = 1;
  let count = 1;
  let newer = newest;
  for (let version = newest.older; version !== null; newer = version, version = version.older, count++) {
    if (version.at !== newer.at) whole = count;
    bytes += version.value.length;
    const full = bytes > RUN_BYTES_MAX || count === RUN_DELTAS_MAX || !fitsSpan(version, newest);
    if (full || version.era !== newest.era || !fitsRun(version)) return whole;
  }
  return count;
}
