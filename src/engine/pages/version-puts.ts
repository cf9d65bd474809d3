/**
 * Page versions on their way into a batch. Deltas of one page that follow one another become runs (runs.ts). Rows enter in the order of their keys:
 * RocksDB's memtable inserts a key that follows the one before it at once and searches the place of any other, so this saves a search for each
 * further version of a page that the batch changes.
 */
import type { Lsn } from '../lsn.js';
import type { SlruName } from './effects/types.js';
import { Kind, slruNumber, SlruVersionKey, type VersionedKey } from './keys.js';
import type { RocksBatch } from './rocks.js';
import { encodeRun, fitsRun, fitsSpan, RUN_BYTES_MAX, RUN_DELTAS_MAX } from './runs.js';
import type { BranchId } from './types.js';

/** What has numbered pages: a fork, an SLRU. */
export interface PageOwner {
  /** Place among the owners of a batch. Two may share one. */
  readonly order: number;
  /** Deltas of one page from before and after a change of this number are not put together. */
  readonly era: number;
  /** By page, the newest version that is not in the batch yet; null: there are none. For VersionPuts only. */
  pending: Map<number, PendingVersion> | null;
  /** Key of one page's versions, lent until the next call. */
  versionKey(pageno: number): VersionedKey;
}

/** Linked from the newest version of a page to older ones, in the order of their keys. */
export class PendingVersion {
  older: PendingVersion | null = null;

  constructor(
    readonly at: Lsn,
    readonly kind: number,
    readonly era: number,
    public value: Buffer,
  ) {}
}

/** Beyond the order of any fork. */
const SLRU_ORDER = 2 ** 40;

class SlruOwner implements PageOwner {
  readonly era = 0;
  readonly order: number;
  pending: Map<number, PendingVersion> | null = null;
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
  page(owner: PageOwner, pageno: number, at: Lsn, kind: number, value: Buffer): void {
    if (owner.pending === null) {
      owner.pending = new Map();
      this.owners.push(owner);
    }
    const newest = owner.pending.get(pageno);
    if (newest === undefined || at !== newest.at || kind < newest.kind) {
      const version = new PendingVersion(at, kind, owner.era, value);
      version.older = newest ?? null;
      owner.pending.set(pageno, version);
    } else {
      insert(newest, at, kind, owner.era, value);
    }
  }

  slru(slru: SlruName, pageno: number, at: Lsn, kind: number, value: Buffer): void {
    let owner = this.slrus.get(slru);
    if (!owner) this.slrus.set(slru, (owner = new SlruOwner(this.branch, slru)));
    this.page(owner, pageno, at, kind, value);
  }

  flush(batch: RocksBatch): void {
    this.owners.sort((a, b) => a.order - b.order);
    for (const owner of this.owners) {
      const pending = owner.pending!;
      owner.pending = null;
      for (const pageno of Float64Array.from(pending.keys()).sort())
        putPage(batch, owner.versionKey(pageno), pending.get(pageno)!);
    }
    this.owners.length = 0;
  }

  forget(): void {
    for (const owner of this.owners) owner.pending = null;
    this.owners.length = 0;
  }
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
