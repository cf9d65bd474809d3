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
  /** Key of one page's versions, lent until the next call. */
  versionKey(pageno: number): VersionedKey;
}

/** A constructor, so that all have one hidden class. */
class PageVersion {
  readonly era: number;
  constructor(
    readonly owner: PageOwner,
    readonly pageno: number,
    readonly at: Lsn,
    readonly kind: number,
    readonly value: Buffer,
  ) {
    this.era = owner.era;
  }
}

/** Beyond the order of any fork. */
const SLRU_ORDER = 2 ** 40;

class SlruOwner implements PageOwner {
  readonly era = 0;
  readonly order: number;
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
  private readonly versions: PageVersion[] = [];
  private readonly slrus = new Map<SlruName, SlruOwner>();

  constructor(private readonly branch: BranchId) {}

  /** `value` must not change until flush(). */
  page(owner: PageOwner, pageno: number, at: Lsn, kind: number, value: Buffer): void {
    this.versions.push(new PageVersion(owner, pageno, at, kind, value));
  }

  slru(slru: SlruName, pageno: number, at: Lsn, kind: number, value: Buffer): void {
    let owner = this.slrus.get(slru);
    if (!owner) this.slrus.set(slru, (owner = new SlruOwner(this.branch, slru)));
    this.page(owner, pageno, at, kind, value);
  }

  flush(batch: RocksBatch): void {
    const { versions } = this;
    versions.sort(byKey);
    withoutRepeated(versions);
    for (let i = 0; i < versions.length;) {
      const version = versions[i]!;
      const end = runFrom(versions, i);
      const key = version.owner.versionKey(version.pageno);
      if (end - i > 1) batch.put(key.set(versions[end - 1]!.at, Kind.run), encodeRun(versions, i, end));
      else batch.put(key.set(version.at, version.kind), version.value);
      i = end;
    }
    versions.length = 0;
  }

  forget(): void {
    this.versions.length = 0;
  }
}

/**
 * End of the run that begins with versions[from], its newest delta; the index after that if it goes alone. Between `whole` and its end lies a part
 * of what one record did, which is not divided.
 */
function runFrom(versions: readonly PageVersion[], from: number): number {
  const newest = versions[from]!;
  if (!fitsRun(newest)) return from + 1;
  let bytes = newest.value.length;
  let whole = from + 1;
  for (let i = from + 1; i < versions.length; i++) {
    const version = versions[i]!;
    if (version.pageno !== newest.pageno || version.owner !== newest.owner) return i;
    if (version.at !== versions[i - 1]!.at) whole = i;
    bytes += version.value.length;
    const full = bytes > RUN_BYTES_MAX || i - from === RUN_DELTAS_MAX || !fitsSpan(version, newest);
    if (full || version.era !== newest.era || !fitsRun(version)) return whole;
  }
  return versions.length;
}

/** Takes out what is put again under the same key later in the batch: sorting is stable, so the last of them counts. */
function withoutRepeated(versions: PageVersion[]): void {
  let kept = 0;
  for (let i = 0; i < versions.length; i++) {
    const next = versions[i + 1];
    if (next !== undefined && byKey(versions[i]!, next) === 0 && versions[i]!.owner === next.owner) continue;
    versions[kept++] = versions[i]!;
  }
  versions.length = kept;
}

function byKey(a: PageVersion, b: PageVersion): number {
  return a.owner.order - b.owner.order || a.pageno - b.pageno || b.at - a.at || a.kind - b.kind;
}
