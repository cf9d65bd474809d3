/**
 * Relation forks: whether they exist, how many blocks they have, which page versions of older times are hidden. Versioned by LSN.
 *
 * A fork's nblocks is the highest block logged + 1. PostgreSQL extends files in bulk without logging it, so a compute's file may be longer;
 * the surplus holds nothing. Versions become invisible without being touched:
 *   - `since`: the LSN at which this incarnation began; what a dropped relation of the same number left behind is older.
 *   - floors: a truncation to n blocks at LSN t hides versions at or before t of blocks from n on, also when the fork has grown again.
 *     Few blocks get a 'zero' version each instead, see ingest; so that floors are rare and their list stays short.
 *
 * Value: exists u8, nblocks u32, since u64, then per floor: fromBlock u32, lsn u64. Little-endian.
 */
import { INVALID_LSN, lsn, readLsn, writeLsn, type Lsn } from '../lsn.js';
import type { RelFileLocator } from '../wal/types.js';
import {
  FORK_KEY,
  KeySpace,
  OLDEST,
  PageVersionKey,
  readInvertedLsn,
  REL_PREFIX,
  writeInvertedLsn,
  writeRelPrefix,
} from './keys.js';
import type { PageState, PageStates } from './page-state.js';
import type { Rocks, RocksBatch } from './rocks.js';
import { newestOfEach } from './scan.js';
import type { BranchId, RelationFork } from './types.js';
import type { PageOwner } from './version-puts.js';

export interface Floor {
  readonly fromBlock: number;
  readonly lsn: Lsn;
}

/** What a fork is at one LSN. */
export interface ForkVersion {
  exists: boolean;
  nblocks: number;
  since: Lsn;
  floors: readonly Floor[];
}

const HEAD = 13;
const FLOOR_BYTES = 12;
const NO_FLOORS: readonly Floor[] = Object.freeze([]);

/** Versions of a block before this LSN are hidden. */
export function oldestVisible(fork: ForkVersion, blkno: number): Lsn {
  let oldest = fork.since;
  for (const floor of fork.floors)
    if (blkno >= floor.fromBlock && floor.lsn >= oldest) oldest = (floor.lsn + 1) as Lsn;
  return oldest;
}

/** The newest version of a fork, kept in memory by ingest, with what ingest wants to know about its pages. */
export class Fork implements ForkVersion, RelFileLocator, PageOwner {
  exists = false;
  nblocks = 0;
  since: Lsn = INVALID_LSN;
  floors: readonly Floor[] = NO_FLOORS;
  /** LSN of this version: from it on, reads may use what is here. */
  changedAt: Lsn = INVALID_LSN;
  /** Changed, but not yet put into the batch. */
  dirty = false;
  /** What ingest knows of its pages. */
  pages: PageStates | null = null;
  readonly touched: PageState[] = [];
  /** Another fork with the same slot in the table. */
  next: Fork | null = null;
  readonly spcOid: number;
  readonly dbOid: number;
  readonly relNumber: number;
  /** Key of this fork's pages; block, LSN and kind vary. */
  readonly pageKey: PageVersionKey;
  /** See PageOwner: grows before and after a change that hides versions of its pages, so that no run lies on both sides of it. */
  era = 0;
  /** The change that is not yet in the batch is of that kind. */
  private hides = false;
  readonly order: number;

  constructor(
    readonly branch: BranchId,
    rel: RelFileLocator,
    readonly fork: number,
  ) {
    this.spcOid = rel.spcOid;
    this.dbOid = rel.dbOid;
    this.relNumber = rel.relNumber;
    this.pageKey = new PageVersionKey().setPage(branch, rel, fork, 0);
    this.order = rel.relNumber * 4 + fork;
  }

  versionKey(blkno: number): PageVersionKey {
    return this.pageKey.setBlock(blkno);
  }

  /** A new, empty incarnation. */
  create(at: Lsn): void {
    this.exists = true;
    this.nblocks = 0;
    this.since = at;
    this.floors = NO_FLOORS;
    this.pages = null;
    this.change(at);
  }

  drop(at: Lsn): void {
    this.exists = false;
    this.nblocks = 0;
    this.floors = NO_FLOORS;
    this.pages = null;
    this.change(at);
  }

  /** To more blocks, which hides nothing. */
  grow(nblocks: number, at: Lsn): void {
    this.nblocks = nblocks;
    this.changedAt = at;
    this.dirty = true;
  }

  /** To fewer blocks. */
  cut(nblocks: number, at: Lsn): void {
    this.nblocks = nblocks;
    this.change(at);
  }

  /** Hides what blocks from `fromBlock` on held until now; a floor below makes those above it superfluous. */
  addFloor(fromBlock: number, at: Lsn): void {
    this.floors = [...this.floors.filter((floor) => floor.fromBlock < fromBlock), { fromBlock, lsn: at }];
    this.change(at);
  }

  private change(at: Lsn): void {
    this.changedAt = at;
    this.dirty = true;
    this.hides = true;
    this.era++;
  }

  /** The change is in the batch. */
  written(): void {
    this.dirty = false;
    if (this.hides) this.era++;
    this.hides = false;
  }
}

/** All forks of a branch: the newest versions cached, older ones read from the store. */
export class ForkTable {
  /** Something here was changed by a batch that is not written. */
  unwritten = false;
  private readonly slots = new Map<number, Fork>();
  private count = 0;
  private readonly key = Buffer.alloc(FORK_KEY);
  private readonly endKey = Buffer.alloc(FORK_KEY);

  constructor(
    private readonly db: Rocks,
    private readonly maxEntries: number,
  ) {}

  /** The fork's newest version. It may not exist. */
  current(branch: BranchId, rel: RelFileLocator, fork: number): Fork {
    const slot = rel.relNumber * 4 + fork;
    const first = this.slots.get(slot);
    for (let found = first ?? null; found; found = found.next)
      if (found.dbOid === rel.dbOid && found.spcOid === rel.spcOid && found.branch === branch) return found;
    const loaded = this.load(branch, rel, fork);
    loaded.next = first ?? null;
    this.slots.set(slot, loaded);
    this.count++;
    return loaded;
  }

  /** The fork as of `at`; null if it does not exist then. */
  asOf(branch: BranchId, rel: RelFileLocator, fork: number, at: Lsn): ForkVersion | null {
    const newest = this.current(branch, rel, fork);
    if (newest.changedAt <= at) return newest.exists ? newest : null;
    const row = this.newestRow(branch, rel, fork, at);
    const version = row ? decodeFork(row.value) : null;
    return version?.exists ? version : null;
  }

  /** The fork's newest version at or before `at` as it is in the store, existing or not, with the LSN that it holds since. */
  rowAt(
    branch: BranchId,
    rel: RelFileLocator,
    fork: number,
    at: Lsn,
  ): { version: ForkVersion; changedAt: Lsn } | null {
    const row = this.newestRow(branch, rel, fork, at);
    return row && { version: decodeFork(row.value), changedAt: row.at };
  }

  put(batch: RocksBatch, fork: Fork): void {
    writeRelPrefix(this.key, KeySpace.fork, fork.branch, fork, fork.fork);
    writeInvertedLsn(this.key, fork.changedAt, REL_PREFIX);
    batch.put(this.key, encodeFork(fork));
    fork.written();
  }

  /**
   * Existing forks as of `at` whose key starts with branch and the given leading oids (none: all; tablespace; tablespace and database).
   */
  list(
    branch: BranchId,
    at: Lsn,
    ...oids: [] | [spcOid: number] | [spcOid: number, dbOid: number]
  ): RelationFork[] {
    const prefix = Buffer.alloc(5 + 4 * oids.length);
    prefix[0] = KeySpace.fork;
    prefix.writeUInt32BE(branch, 1);
    oids.forEach((oid, i) => prefix.writeUInt32BE(oid, 5 + 4 * i));
    const found: RelationFork[] = [];
    newestOfEach(this.db, prefix, at, (key, value) => {
      if (value[0] === 0) return;
      found.push({
        spcOid: key.readUInt32BE(5),
        dbOid: key.readUInt32BE(9),
        relNumber: key.readUInt32BE(13),
        fork: key[17]!,
        nblocks: value.readUInt32LE(1),
      });
    });
    return found;
  }

  /** Makes room, unless what is here is more than what is in the store. */
  trim(): void {
    if (this.count > this.maxEntries && !this.unwritten) this.forget();
  }

  /** Drops all that is in memory, changes that were not written included. */
  forget(): void {
    this.slots.clear();
    this.count = 0;
    this.unwritten = false;
  }

  private load(branch: BranchId, rel: RelFileLocator, fork: number): Fork {
    const loaded = new Fork(branch, rel, fork);
    const row = this.newestRow(branch, rel, fork, Number.MAX_SAFE_INTEGER as Lsn);
    if (row) {
      Object.assign(loaded, decodeFork(row.value));
      loaded.changedAt = row.at;
    }
    return loaded;
  }

  private newestRow(
    branch: BranchId,
    rel: RelFileLocator,
    fork: number,
    at: Lsn,
  ): { value: Buffer; at: Lsn } | null {
    writeRelPrefix(this.key, KeySpace.fork, branch, rel, fork);
    writeInvertedLsn(this.key, at, REL_PREFIX);
    writeRelPrefix(this.endKey, KeySpace.fork, branch, rel, fork);
    writeInvertedLsn(this.endKey, OLDEST, REL_PREFIX);
    const [key, value] = this.db.range(this.key, this.endKey, 1);
    return key && value ? { value, at: readInvertedLsn(key, REL_PREFIX) } : null;
  }
}

export function encodeFork(fork: ForkVersion): Buffer {
  const value = Buffer.allocUnsafe(HEAD + FLOOR_BYTES * fork.floors.length);
  value[0] = fork.exists ? 1 : 0;
  value.writeUInt32LE(fork.nblocks, 1);
  writeLsn(value, fork.since, 5);
  fork.floors.forEach((floor, i) => {
    value.writeUInt32LE(floor.fromBlock, HEAD + FLOOR_BYTES * i);
    writeLsn(value, floor.lsn, HEAD + FLOOR_BYTES * i + 4);
  });
  return value;
}

export function decodeFork(value: Buffer): ForkVersion {
  const floors: Floor[] = [];
  for (let at = HEAD; at < value.length; at += FLOOR_BYTES)
    floors.push({ fromBlock: value.readUInt32LE(at), lsn: lsn(readLsn(value, at + 4)) });
  return {
    exists: value[0] === 1,
    nblocks: value.readUInt32LE(1),
    since: readLsn(value, 5),
    floors: floors.length > 0 ? floors : NO_FLOORS,
  };
}
