/**
 * From versions to a page: find the newest base at or before an LSN, apply the versions after it in order. What is found in the cache saves
 * the part up to it.
 */
import { formatLsn, lsn, type Lsn } from '../lsn.js';
import { BLCKSZ } from '../page/constants.js';
import { applyRecord } from '../redo/index.js';
import type { RedoContext } from '../redo/types.js';
import { DbError } from '../errors.js';
import { decodeRecord } from '../wal/decode.js';
import type { PageCache } from './cache.js';
import { applySlruDelta } from './effects/slru.js';
import { FIRST_DELTA_KIND, Kind, versionKind, versionLsn, type VersionedKey } from './keys.js';
import type { Rocks, Rows } from './rocks.js';
import { eachInRun, newestInRow, runEnd } from './runs.js';
import type { Counters } from './stats.js';
import type { PageKey } from './types.js';
import { applyMapChange, decodeImage, eachPart, ZERO_PAGE } from './values.js';

/** A page lent by the builder: read or copy it before the next call, never change it. */
export interface BuiltPage {
  readonly page: Readonly<Buffer>;
  /** LSN of the newest version in it, 0 if it has none. */
  readonly version: Lsn;
  /** Deltas between that and the base in the store; 0 = the newest version is a base (or there is none). Unknown (-1) on a cache hit. */
  readonly deltas: number;
}

const NO_VERSION = 0 as Lsn;
const NEVER_WRITTEN: BuiltPage = { page: ZERO_PAGE, version: NO_VERSION, deltas: 0 };
/** The first read of a chain stops after these bytes: past one image, or some dozens of deltas. */
const FIRST_READ_BYTES = 6144;
const NEXT_READ_BYTES = 65536;
/** Appended to a key: the first key after it. */
const AFTER = Buffer.from([0]);

export class PageBuilder {
  constructor(
    private readonly db: Rocks,
    private readonly cache: PageCache,
    private readonly redo: RedoContext,
    private readonly counters: Counters,
  ) {}

  /**
   * The page that `key` names, as of `at`; versions before `oldest` do not count. `target` is the relation page, null for an SLRU page.
   * Throws REDO_*, WAL_* or PAGE_* on damage.
   */
  build(key: VersionedKey, target: PageKey | null, at: Lsn, oldest: Lsn): BuiltPage {
    const name = key.name();
    const cached = this.cache.get(name);
    const usable = cached !== undefined && cached.version <= at && cached.version >= oldest ? cached : null;
    if (usable && at <= usable.known) {
      this.counters.pageCacheHits++;
      return { page: usable.page, version: usable.version, deltas: -1 };
    }
    const rows = this.versionsBack(key, at, usable ? usable.resume : oldest);
    const newest = rows.length === 0 ? NO_VERSION : newestInRow(rows[0]!, rows[1]!, at);
    if (usable && newest <= usable.version) {
      usable.known = at;
      this.counters.pageCacheHits++;
      return { page: usable.page, version: usable.version, deltas: -1 };
    }
    if (rows.length === 0) return NEVER_WRITTEN;
    const lastKind = versionKind(rows[rows.length - 2]!);
    const onBase = lastKind < FIRST_DELTA_KIND;
    let page: Buffer;
    let after = NO_VERSION;
    if (usable && !onBase) {
      // Its buffer is reused: should a delta fail, it is half changed, so it must be out of the cache by then.
      this.cache.delete(name);
      page = usable.page;
      after = usable.version;
    } else {
      page = Buffer.alloc(BLCKSZ);
    }
    let deltas = onBase && lastKind !== Kind.init ? -1 : 0;
    for (let i = rows.length - 2; i >= 0; i -= 2)
      deltas += this.applyRow(page, rows[i]!, rows[i + 1]!, after, at, target);
    // A reader of the past must not push out what readers of the present use.
    if (!cached || cached.version <= newest)
      this.cache.set(name, { page, version: newest, known: at, resume: resumeAfter(rows, newest) });
    return { page, version: newest, deltas };
  }

  /** Keys and values, newest first, from `at` back to a base or, for want of one, to `oldest`. The first may be a run that goes on after `at`. */
  versionsBack(key: VersionedKey, at: Lsn, oldest: Lsn): Rows {
    const end = Buffer.from(key.endOf(oldest));
    const first = this.db.range(key.newest(at), end, undefined, FIRST_READ_BYTES);
    let all = first;
    let base = baseIndex(first, 0);
    while (base < 0) {
      const seen = all.length;
      if (seen === 0) return all;
      const more = this.db.range(Buffer.concat([all[seen - 2]!, AFTER]), end, undefined, NEXT_READ_BYTES);
      if (more.length === 0) return all;
      all = all.concat(more);
      base = baseIndex(all, seen);
    }
    return all.length === base + 2 ? all : all.slice(0, base + 2);
  }

  /** Applies what the row holds of the versions after `after` up to `at`; gives how many there are. */
  private applyRow(
    page: Buffer,
    key: Buffer,
    value: Buffer,
    after: Lsn,
    at: Lsn,
    target: PageKey | null,
  ): number {
    if (versionKind(key) !== Kind.run) {
      this.apply(page, versionLsn(key), versionKind(key), value, target);
      return 1;
    }
    return eachInRun(key, value, after, at, (deltaLsn, kind, delta) =>
      this.apply(page, deltaLsn, kind, delta, target),
    );
  }

  private apply(page: Buffer, at: Lsn, kind: number, value: Buffer, target: PageKey | null): void {
    switch (kind) {
      case Kind.coalesced:
      case Kind.image:
        decodeImage(value, page);
        return;
      case Kind.zero:
        page.fill(0);
        return;
      case Kind.init:
      case Kind.delta:
        this.applyStored(page, value, at, target!);
        return;
      case Kind.vmClear:
      case Kind.vmTruncate:
        applyMapChange(page, kind, value);
        return;
      case Kind.slruDelta:
        eachPart(value, (part) => applySlruDelta(page, part));
        return;
      default:
        throw new DbError('PAGE_BAD_VALUE', `unknown kind ${kind} of a page version at ${formatLsn(at)}`, {
          hint: 'Was this store written by a newer release?',
        });
    }
  }

  private applyStored(page: Buffer, raw: Buffer, at: Lsn, target: PageKey): void {
    const rec = decodeRecord(raw, at, at, { crc: false });
    for (const block of rec.blocks) {
      if (
        block.blkno !== target.blkno ||
        block.fork !== target.fork ||
        block.relNumber !== target.relNumber ||
        block.dbOid !== target.dbOid ||
        block.spcOid !== target.spcOid
      )
        continue;
      this.counters.deltasApplied++;
      if (applyRecord(page, rec, block, this.redo) === 'notfound') this.counters.deltasWithoutPage++;
      return;
    }
    throw new DbError('PAGE_BAD_VALUE', `a stored record at ${formatLsn(at)} does not name its page`);
  }
}

/** Where versions after `newest` are looked for that were not yet asked for: the newest row may be a run that goes on. */
function resumeAfter(rows: Rows, newest: Lsn): Lsn {
  const [key, value] = rows as [Buffer, Buffer];
  const goesOn = versionKind(key) === Kind.run && runEnd(key, value) > newest;
  return goesOn ? versionLsn(key) : lsn(newest + 1);
}

/** Position of the first base's key at or after `from`, -1 if there is none. */
function baseIndex(rows: Rows, from: number): number {
  for (let i = from; i < rows.length; i += 2) if (versionKind(rows[i]!) < FIRST_DELTA_KIND) return i;
  return -1;
}
