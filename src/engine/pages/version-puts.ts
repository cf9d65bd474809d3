/**
 * Page versions on their way into a batch. Deltas of one page that follow one another become runs (runs.ts). Rows enter in the order of their keys:
 * RocksDB's memtable inserts a key that follows the one before it at once and searches the place of any other, so this saves a search for each
 * further version of a page that the batch changes.
 */
import type { Lsn } from '../lsn.js';
import type { BatchBytes } from './batch-bytes.js';
import type { SlruName } from './effects/types.js';
import { Kind, slruNumber, SlruVersionKey, type VersionedKey } from './keys.js';
import type { PageState, PageStates } from './page-state.js';
import { NONE, PendingVersions } from './pending-versions.js';
import type { RocksBatch } from './rocks.js';
import {
  fitsRun,
  fitsSpan,
  RUN_BYTES_MAX,
  RUN_DELTAS_MAX,
  runHeadLength,
  writeRunEntry,
  writeRunHead,
} from './runs.js';
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
  private readonly versions = new PendingVersions();
  private readonly span = new Span(this.versions);

  constructor(
    private readonly branch: BranchId,
    private readonly bytes: BatchBytes,
  ) {}

  /** `value`: where its bytes are, which must stay there until flush(). `at` is not before that of any version put earlier. */
  page(owner: PageOwner, state: PageState, at: Lsn, kind: number, value: number, length: number): void {
    const { versions } = this;
    const newest = state.pending;
    if (newest === NONE) {
      if (owner.touched.length === 0) this.owners.push(owner);
      owner.touched.push(state);
    } else if (at === versions.at(newest) && kind >= versions.kind(newest)) {
      this.insert(newest, at, kind, owner.era, value, length);
      return;
    }
    state.pending = versions.add(at, kind, owner.era, value, length, newest);
  }

  slru(slru: SlruName, state: PageState, at: Lsn, kind: number, value: number, length: number): void {
    let owner = this.slrus.get(slru);
    if (!owner) this.slrus.set(slru, (owner = new SlruOwner(this.branch, slru)));
    this.page(owner, state, at, kind, value, length);
  }

  flush(batch: RocksBatch): void {
    this.owners.sort((a, b) => a.order - b.order);
    for (const owner of this.owners) {
      for (const key of inOrder(owner.touched)) {
        const state = owner.touched[key % TOUCHED_MAX]!;
        this.putPage(batch, owner.versionKey(state.pageno), state.pending);
        state.pending = NONE;
        owner.pages?.release(state);
      }
      owner.touched.length = 0;
    }
    this.owners.length = 0;
    this.versions.clear();
  }

  forget(): void {
    for (const owner of this.owners) {
      for (const state of owner.touched) state.pending = NONE;
      owner.touched.length = 0;
    }
    this.owners.length = 0;
    this.versions.clear();
  }

  /** Puts a version of what `newest` is of, too, behind those of the same LSN that have a lower kind; in place of one that has the same key. */
  private insert(newest: number, at: Lsn, kind: number, era: number, value: number, length: number): void {
    const { versions } = this;
    let before = newest;
    while (versions.kind(before) < kind) {
      const older = versions.older(before);
      if (older === NONE || versions.at(older) !== at || versions.kind(older) > kind) break;
      before = older;
    }
    if (versions.kind(before) === kind) versions.setValue(before, value, length);
    else versions.setOlder(before, versions.add(at, kind, era, value, length, versions.older(before)));
  }

  private putPage(batch: RocksBatch, key: VersionedKey, newest: number): void {
    const { versions, bytes, span } = this;
    for (let from = newest; from !== NONE;) {
      const { oldest, count } = span.from(from);
      if (count === 1) {
        const value = bytes.view(versions.value(from), versions.length(from));
        batch.put(key.set(versions.at(from), versions.kind(from)), value);
      } else {
        this.putRun(batch, key, from);
      }
      from = versions.older(oldest);
    }
  }

  /** The run of `span`. It is made behind the values that it is made of, in the same memory, where bytes are moved without an object for each. */
  private putRun(batch: RocksBatch, key: VersionedKey, newest: number): void {
    const { versions, bytes } = this;
    const { oldest, count, valueBytes } = this.span;
    const first = versions.at(oldest);
    const length = runHeadLength(count) + valueBytes;
    const run = bytes.reserve(length);
    const { buffer } = bytes;
    writeRunHead(buffer, run, count);
    let end = run + length;
    for (let i = count - 1, version = newest; i >= 0; i--, version = versions.older(version)) {
      const valueLength = versions.length(version);
      const value = versions.value(version);
      writeRunEntry(buffer, run, i, versions.at(version) - first, versions.kind(version), valueLength);
      end -= valueLength;
      buffer.copyWithin(end, value, value + valueLength);
    }
    batch.put(key.set(first, Kind.run), bytes.view(run, length));
    bytes.release(run);
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

/** Versions that go into one row. Used again and again. */
class Span {
  oldest = NONE;
  count = 0;
  /** Of their values. */
  valueBytes = 0;

  constructor(private readonly versions: PendingVersions) {}

  /** The run whose newest delta is `newest`; that version alone, if it is none. What one record did is not divided. */
  from(newest: number): this {
    const { versions } = this;
    let bytes = versions.length(newest);
    this.take(newest, 1, bytes);
    if (!fitsRun(versions.kind(newest), bytes)) return this;
    const newestAt = versions.at(newest);
    const era = versions.era(newest);
    let count = 1;
    let newer = newest;
    for (let i = versions.older(newest); i !== NONE; newer = i, i = versions.older(i), count++) {
      const at = versions.at(i);
      const length = versions.length(i);
      if (at !== versions.at(newer)) this.take(newer, count, bytes);
      bytes += length;
      const full = bytes > RUN_BYTES_MAX || count === RUN_DELTAS_MAX || !fitsSpan(at, newestAt);
      if (full || versions.era(i) !== era || !fitsRun(versions.kind(i), length)) return this;
    }
    this.take(newer, count, bytes);
    return this;
  }

  private take(oldest: number, count: number, valueBytes: number): void {
    this.oldest = oldest;
    this.count = count;
    this.valueBytes = valueBytes;
  }
}
