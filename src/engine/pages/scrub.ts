/**
 * Comparing the pages of several stores, and putting one right that is not as the others say. Every node replays the same bytes, so a page as of one LSN
 * is the same everywhere to the last bit, and nothing is masked.
 */
import { crc32c } from '@node-rs/crc32';
import type { Lsn } from '../lsn.js';
import { BLCKSZ } from '../page/constants.js';
import type { RelFileLocator } from '../wal/types.js';
import { baseRows, type BaseImage } from './base.js';
import { PageBuilder } from './builder.js';
import { PageCache } from './cache.js';
import type { SlruName } from './effects/types.js';
import { oldestVisible } from './forks.js';
import { goneError } from './horizon.js';
import { Kind, OLDEST, PageVersionKey, SlruVersionKey, versionKind, versionLsn, type VersionedKey } from './keys.js'; // prettier-ignore
import { restOfRun } from './runs.js';
import { newCounters } from './stats.js';
import type { PageStore } from './store.js';
import { MAIN_BRANCH, type PageKey } from './types.js';
import { decodeImage } from './values.js';

/** Pages of one fork or SLRU. */
export type ScrubRun =
  | { readonly kind: 'pages'; readonly rel: RelFileLocator; readonly fork: number; readonly first: number; readonly count: number } // prettier-ignore
  | { readonly kind: 'slru'; readonly slru: SlruName; readonly first: number; readonly count: number };

/** CRC-32C of each page of a run, and which of them cannot be built. */
export interface RunDigest {
  readonly crcs: Uint32Array;
  readonly unreadable: ReadonlySet<number>;
}

const NEWEST = Number.MAX_SAFE_INTEGER as Lsn;
/** Versions of one page that are listed at a time. */
const VERSIONS_AT_ONCE = 1000;
const AFTER = Buffer.from([0]);

/** Builds pages from what is on the disk, past the cache of pages. */
export class PageScrub {
  private readonly builder: PageBuilder;
  private readonly pageKey = new PageVersionKey();
  private readonly slruKey = new SlruVersionKey();

  constructor(private readonly store: PageStore) {
    const { db, redo } = store.parts;
    this.builder = new PageBuilder(db, new PageCache(0), redo, newCounters());
  }

  /** All runs of pages that exist as of `at`, of at most `pagesMax` pages each. */
  runs(at: Lsn, pagesMax: number): ScrubRun[] {
    const { forks, facts } = this.store.parts;
    const out: ScrubRun[] = [];
    for (const { slru, ranges } of facts.allSlruPages(MAIN_BRANCH, at))
      for (const [begin, last] of ranges)
        for (let first = begin; first <= last; first += pagesMax)
          out.push({ kind: 'slru', slru, first, count: Math.min(pagesMax, last - first + 1) });
    for (const { spcOid, dbOid, relNumber, fork, nblocks } of forks.list(MAIN_BRANCH, at))
      for (let first = 0; first < nblocks; first += pagesMax)
        out.push({
          kind: 'pages',
          rel: { spcOid, dbOid, relNumber },
          fork,
          first,
          count: Math.min(pagesMax, nblocks - first),
        });
    return out;
  }

  /** What of a run still exists as of `at`; null if nothing does. */
  clip(run: ScrubRun, at: Lsn): ScrubRun | null {
    if (run.kind === 'slru') return run;
    const version = this.store.parts.forks.asOf(MAIN_BRANCH, run.rel, run.fork, at);
    const count = Math.min(run.count, (version?.nblocks ?? 0) - run.first);
    return count > 0 ? { ...run, count } : null;
  }

  /** Throws PAGE_NOT_APPLIED, PAGE_GONE_BY_GC, PAGE_STORE_DAMAGED. Blocks that do not exist count as zeros. */
  digest(run: ScrubRun, at: Lsn): RunDigest {
    if (at < this.store.horizon) throw goneError('a run of pages', at, this.store.horizon);
    const crcs = new Uint32Array(run.count);
    const unreadable = new Set<number>();
    const fork =
      run.kind === 'pages' ? this.store.parts.forks.asOf(MAIN_BRANCH, run.rel, run.fork, at) : null;
    for (let i = 0; i < run.count; i++) {
      const { key, target } = this.place(run, run.first + i);
      const hidden = target !== null && (!fork || target.blkno >= fork.nblocks);
      const oldest = fork && target ? oldestVisible(fork, target.blkno) : OLDEST;
      try {
        const page = hidden ? Buffer.alloc(BLCKSZ) : this.builder.build(key, target, at, oldest).page;
        crcs[i] = crc32c(page as Buffer);
      } catch (err) {
        if ((err as { code?: string }).code === 'PAGE_STORE_DAMAGED') throw err;
        unreadable.add(run.first + i);
      }
    }
    return { crcs, unreadable };
  }

  /** Of all forks and facts as of `at`. */
  rows(at: Lsn): { rows: number; crc: number } {
    const rows = baseRows(this.store, at);
    let crc = 0;
    for (const { key, value } of rows) crc = crc32c(value, crc32c(key, crc));
    return { rows: rows.length, crc };
  }

  /**
   * Replaces the page's history up to `at` by what it is there on others (null: never written). What of it was wrong, and since when, nobody can tell, so nothing
   * before `at` is kept: the store gives up history before `at`, whose pages other nodes serve (a page that has not changed since is served here
   * all the same, see past.ts). Later changes stay, they come from the log; later images do not, they may have been made from what was wrong.
   * Durable on return. Never in the middle of an ingest batch, and whoever keeps pages in memory must forget this one.
   */
  replace(run: ScrubRun, image: BaseImage, at: Lsn): void {
    const { db, cache } = this.store.parts;
    // Durable with the batch below, and before it: a horizon alone does no harm.
    this.store.raiseHorizon(at);
    const { key } = this.place(run, image.blkno);
    const batch = db.batch();
    const end = Buffer.from(key.endOf(OLDEST));
    for (let from: Buffer | null = Buffer.from(key.newest(NEWEST)); from;) {
      const found: Buffer[] = db.keys(from, end, VERSIONS_AT_ONCE);
      for (const version of found) {
        if (versionLsn(version) > at && versionKind(version) !== Kind.coalesced) continue;
        batch.delete(version);
        const rest = versionKind(version) === Kind.run ? restOfRun(version, db.get(version)!, at) : null;
        if (rest) batch.put(key.set(rest.first, Kind.run), rest.value);
      }
      const last: Buffer | undefined = found.at(-1);
      from = last && found.length === VERSIONS_AT_ONCE ? Buffer.concat([last, AFTER]) : null;
    }
    if (image.version > 0) batch.put(key.set(image.version, Kind.coalesced), image.image);
    batch.write(true);
    cache.delete(key.name());
  }

  private place(run: ScrubRun, blkno: number): { key: VersionedKey; target: PageKey | null } {
    if (run.kind === 'slru') return { key: this.slruKey.setPage(MAIN_BRANCH, run.slru, blkno), target: null };
    const { rel, fork } = run;
    return {
      key: this.pageKey.setPage(MAIN_BRANCH, rel, fork, blkno),
      target: { spcOid: rel.spcOid, dbOid: rel.dbOid, relNumber: rel.relNumber, fork, blkno },
    };
  }
}

/** CRC-32C of a page in its stored form. */
export function imageCrc(image: Buffer): number {
  const page = Buffer.alloc(BLCKSZ);
  decodeImage(image, page);
  return crc32c(page);
}

export function runText(run: ScrubRun, blkno: number): string {
  if (run.kind === 'slru') return `page ${blkno} of ${run.slru}`;
  const { spcOid, dbOid, relNumber } = run.rel;
  return `relation ${spcOid}/${dbOid}/${relNumber} fork ${run.fork} block ${blkno}`;
}

/** What the digests of several nodes say about one page: index 0 is our own. */
export type Verdict =
  | { readonly kind: 'equal' }
  /** The majority says something else than these. `right`: one of the majority. */
  | { readonly kind: 'wrong'; readonly nodes: readonly number[]; readonly right: number }
  /** They differ, and none of them has a majority. */
  | { readonly kind: 'disputed' };

/** `crcs`: null where the page cannot be read. `majority`: of all nodes of the volume, whether they were asked or not. */
export function judge(crcs: readonly (number | null)[], majority: number): Verdict {
  const first = crcs[0];
  if (first !== null && crcs.every((crc) => crc === first)) return { kind: 'equal' };
  for (const [right, crc] of crcs.entries()) {
    if (crc === null || crcs.filter((other) => other === crc).length < majority) continue;
    const nodes = crcs.flatMap((other, i) => (other === crc ? [] : [i]));
    return { kind: 'wrong', nodes, right };
  }
  return { kind: 'disputed' };
}
