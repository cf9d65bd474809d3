/**
 * From versions to a page: find the newest base at or before an LSN, apply the versions after it in order. What is found in the cache saves
 * the part up to it.
 */
import type { Lsn } from '../lsn.js';
import { BLCKSZ } from '../page/constants.js';
import { applyRecord } from '../redo/index.js';
import type { RedoContext } from '../redo/types.js';
import { DbError } from '../errors.js';
import { formatLsn } from '../lsn.js';
import { decodeRecord } from '../wal/decode.js';
import type { PageCache } from './cache.js';
import { applySlruDelta } from './effects/slru.js';
import { FIRST_DELTA_KIND, Kind, versionKind, versionLsn, type VersionedKey } from './keys.js';
import type { Rocks, Rows } from './rocks.js';
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
    const rows = this.versionsBack(key, at, usable ? ((usable.version + 1) as Lsn) : oldest);
    if (rows.length === 0) {
      if (!usable) return NEVER_WRITTEN;
      usable.known = at;
      this.counters.pageCacheHits++;
      return { page: usable.page, version: usable.version, deltas: -1 };
    }
    const lastKind = versionKind(rows[rows.length - 2]!);
    const onBase = lastKind < FIRST_DELTA_KIND;
    const version = versionLsn(rows[0]!);
    let page: Buffer;
    if (usable && !onBase) {
      // Its buffer is reused: should a delta fail, it is half changed, so it must be out of the cache by then.
      this.cache.delete(name);
      page = usable.page;
    } else {
      page = Buffer.alloc(BLCKSZ);
    }
    for (let i = rows.length - 2; i >= 0; i -= 2) this.apply(page, rows[i]!, rows[i + 1]!, target);
    // A reader of the past must not push out what readers of the present use.
    if (!cached || cached.version <= version) this.cache.set(name, { page, version, known: at });
    const bases = onBase && lastKind !== Kind.init ? 1 : 0;
    return { page, version, deltas: rows.length / 2 - bases };
  }

  /** Keys and values, newest first, from `at` back to a base or, for want of one, to `oldest`. */
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

  private apply(page: Buffer, key: Buffer, value: Buffer, target: PageKey | null): void {
    switch (versionKind(key)) {
      case Kind.coalesced:
      case Kind.image:
        decodeImage(value, page);
        return;
      case Kind.zero:
        page.fill(0);
        return;
      case Kind.init:
      case Kind.delta:
        this.applyStored(page, value, versionLsn(key), target!);
        return;
      case Kind.vmClear:
      case Kind.vmTruncate:
        applyMapChange(page, versionKind(key), value);
        return;
      case Kind.slruDelta:
        eachPart(value, (part) => applySlruDelta(page, part));
        return;
      default:
        throw new DbError(
          'PAGE_BAD_VALUE',
          `unknown kind ${versionKind(key)} of a page version at ${formatLsn(versionLsn(key))}`,
          { hint: 'Was this store written by a newer release?' },
        );
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

/** Position of the first base's key at or after `from`, -1 if there is none. */
function baseIndex(rows: Rows, from: number): number {
  for (let i = from; i < rows.length; i += 2) if (versionKind(rows[i]!) < FIRST_DELTA_KIND) return i;
  return -1;
}
