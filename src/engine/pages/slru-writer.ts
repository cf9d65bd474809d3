/** SLRU pages (transaction status, multixacts, commit times): versions like those of relation pages, and which pages exist. */
import type { Lsn } from '../lsn.js';
import type { BatchBytes } from './batch-bytes.js';
import type { CoalesceQueue } from './coalesce.js';
import { slruDeltaIsWhole, SLRU_PAGES_PER_SEGMENT, slruSegmentPrecedes } from './effects/slru.js';
import type { SlruName } from './effects/types.js';
import { rangesHave, rangesWith, rangesWithout, type PageRange } from './facts.js';
import { Kind, SlruVersionKey } from './keys.js';
import type { PageState } from './page-state.js';
import type { StoreParts } from './parts.js';
import type { RocksBatch } from './rocks.js';
import type { BranchId } from './types.js';
import { encodeImage, encodeParts } from './values.js';
import type { VersionPuts } from './version-puts.js';

interface PageDelta {
  readonly slru: SlruName;
  readonly pageno: number;
  readonly parts: Buffer[];
}

const NEWEST = Number.MAX_SAFE_INTEGER as Lsn;

export class SlruWriter {
  private readonly key = new SlruVersionKey();
  private readonly existing = new Map<SlruName, readonly PageRange[]>();
  private readonly changed = new Set<SlruName>();
  private readonly deltas: PageDelta[] = [];

  constructor(
    private readonly parts: StoreParts,
    private readonly batch: RocksBatch,
    private readonly puts: VersionPuts,
    private readonly bytes: BatchBytes,
    private readonly queue: CoalesceQueue,
    private readonly branch: BranchId,
  ) {}

  delta(slru: SlruName, pageno: number, delta: Buffer): void {
    const before = this.deltas.find((entry) => entry.slru === slru && entry.pageno === pageno);
    if (before) before.parts.push(delta);
    else this.deltas.push({ slru, pageno, parts: [delta] });
  }

  /** `image` may be used again at once. */
  image(slru: SlruName, pageno: number, image: Buffer, at: Lsn): void {
    this.add(slru, pageno);
    this.batch.put(this.key.setPage(this.branch, slru, pageno).set(at, Kind.image), encodeImage(image));
    this.parts.counters.versionsWritten++;
  }

  truncate(slru: SlruName, cutoffPage: number, at: Lsn): void {
    for (const [first, last] of this.pages(slru)) {
      for (let page = first; page <= last; page = segmentEnd(page) + 1)
        if (slruSegmentPrecedes(slru, page, cutoffPage))
          this.drop(slru, page, Math.min(segmentEnd(page), last), at);
    }
  }

  /** Pages from `first` to before `end` cease to exist. */
  dropRange(slru: SlruName, first: number, end: number, at: Lsn): void {
    for (const [from, to] of this.pages(slru)) {
      const low = Math.max(from, first);
      const high = Math.min(to, end - 1);
      if (low <= high) this.drop(slru, low, high, at);
    }
  }

  endRecord(at: Lsn): void {
    if (this.deltas.length > 0) {
      for (const { slru, pageno, parts } of this.deltas) {
        this.add(slru, pageno);
        const page = this.queue.slruPage(slru, pageno);
        if (parts.length === 1 && slruDeltaIsWhole(parts[0]!)) {
          this.put(slru, page, at, Kind.zero, 0, 0);
          this.queue.slruZero(page, at);
        } else {
          const value = encodeParts(parts);
          this.put(slru, page, at, Kind.slruDelta, this.bytes.put(value), value.length);
          this.queue.slruDelta(slru, page, at, parts);
        }
      }
      this.deltas.length = 0;
    }
    if (this.changed.size > 0) {
      for (const slru of this.changed)
        this.parts.facts.putSlruPages(this.batch, this.branch, slru, at, this.pages(slru));
      this.changed.clear();
    }
  }

  forget(): void {
    this.deltas.length = 0;
    this.changed.clear();
    this.existing.clear();
  }

  private pages(slru: SlruName): readonly PageRange[] {
    let ranges = this.existing.get(slru);
    if (!ranges) this.existing.set(slru, (ranges = this.parts.facts.slruPages(this.branch, slru, NEWEST)));
    return ranges;
  }

  private add(slru: SlruName, pageno: number): void {
    const ranges = this.pages(slru);
    if (rangesHave(ranges, pageno)) return;
    this.existing.set(slru, rangesWith(ranges, pageno));
    this.changed.add(slru);
  }

  /** A page that comes back later starts as zeros. */
  private drop(slru: SlruName, first: number, last: number, at: Lsn): void {
    for (let pageno = first; pageno <= last; pageno++) {
      const page = this.queue.slruPage(slru, pageno);
      this.put(slru, page, at, Kind.zero, 0, 0);
      this.queue.base(page);
    }
    this.existing.set(slru, rangesWithout(this.pages(slru), first, last));
    this.changed.add(slru);
  }

  private put(slru: SlruName, page: PageState, at: Lsn, kind: number, value: number, length: number): void {
    this.puts.slru(slru, page, at, kind, value, length);
    this.parts.counters.versionsWritten++;
  }
}

/** Last page of the segment that holds `page`. */
function segmentEnd(page: number): number {
  return page - (page % SLRU_PAGES_PER_SEGMENT) + SLRU_PAGES_PER_SEGMENT - 1;
}
