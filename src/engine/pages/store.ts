/**
 * The page store of one storage node: versions of pages, relation sizes and facts by LSN, on RocksDB. Opening, reading and importing; ingest
 * is in ingest.ts.
 *
 * All calls are synchronous and belong on one thread. Reads see exactly what has been committed, at any LSN up to the applied one.
 */
import type { ControlState } from '../control/state.js';
import { DbError } from '../errors.js';
import { formatLsn, type Lsn } from '../lsn.js';
import { BLCKSZ } from '../page/constants.js';
import { recordTypeName, type RedoContext } from '../redo/index.js';
import { decodeRecord } from '../wal/decode.js';
import type { RelFileLocator } from '../wal/types.js';
import { PageBuilder } from './builder.js';
import { PageCache } from './cache.js';
import { DEFAULT_POLICY } from './coalesce.js';
import type { SlruName } from './effects/types.js';
import { EMPTY_ID, FactClass, Facts, rangesHave } from './facts.js';
import { ForkTable, oldestVisible, type ForkVersion } from './forks.js';
import { goneError, putHorizon, readHorizon } from './horizon.js';
import { BaseImporter } from './import.js';
import {
  FORMAT_KEY,
  Kind,
  kindNames,
  markerKey,
  OLDEST,
  PageVersionKey,
  SlruVersionKey,
  versionKind,
  versionLsn,
} from './keys.js';
import { readManifest } from './manifest.js';
import { putMarker, readMarker, type Marker } from './marker.js';
import type { StoreParts } from './parts.js';
import { pastFork, pastPageIsBeyond, pastSize, pastSlruPageExists } from './past.js';
import { Rocks, type RocksBatch } from './rocks.js';
import { eachInRun } from './runs.js';
import { newCounters } from './stats.js';
import {
  MAIN_BRANCH,
  type BaseImport,
  type BranchId,
  type CoalescePolicy,
  type ControlSnapshot,
  type DataDirManifest,
  type PageKey,
  type PageReader,
  type PageStoreOptions,
  type PageStoreStats,
  type VersionInfo,
} from './types.js';

const MIB = 1024 * 1024;
/** Version of keys.ts and values.ts. */
const FORMAT = Buffer.from('aurora pages 2');
/** The same but for runs, which it does not have. */
const FORMAT_WITHOUT_RUNS = Buffer.from('aurora pages 1');

export class PageStore implements PageReader {
  private marker: Marker;
  private kept: Lsn;
  private readonly pageKey = new PageVersionKey();
  private readonly slruKey = new SlruVersionKey();

  private constructor(
    /** For the other files of this folder only. */
    readonly parts: StoreParts,
    readonly policy: CoalescePolicy,
  ) {
    this.marker = readMarker(parts.db, MAIN_BRANCH);
    this.kept = readHorizon(parts.db, MAIN_BRANCH);
  }

  /** Opens the store in `dir`, creating it if there is none. Throws NODE_STORE_OPEN, PAGE_FORMAT. */
  static async open(dir: string, options: PageStoreOptions = {}): Promise<PageStore> {
    const sizes = {
      blockCacheBytes: options.blockCacheBytes ?? 64 * MIB,
      memtableBytes: options.memtableBytes ?? 128 * MIB,
    };
    const db = await Rocks.open(dir, sizes, options.onFault);
    try {
      checkFormat(db);
      const counters = newCounters();
      const cache = new PageCache(options.pageCachePages ?? 4096);
      const redo = options.redoContext ?? { walLogHints: false, checksums: false };
      const parts: StoreParts = {
        db,
        forks: new ForkTable(db, options.relationCacheEntries ?? 50_000),
        facts: new Facts(db),
        cache,
        builder: new PageBuilder(db, cache, redo, counters),
        counters,
        redo,
      };
      return new PageStore(parts, options.coalesce ?? DEFAULT_POLICY);
    } catch (err) {
      await db.close();
      throw err;
    }
  }

  get dir(): string {
    return this.parts.db.dir;
  }

  get appliedLsn(): Lsn {
    return this.marker.appliedLsn;
  }

  get lastRecordLsn(): Lsn {
    return this.marker.lastRecordLsn;
  }

  /** History from here on is whole; 0 when none was ever removed. Reads before it may throw PAGE_GONE_BY_GC. */
  get horizon(): Lsn {
    return this.kept;
  }

  /** Keys in the store, roughly. */
  get versionsEstimated(): number {
    return Number(this.parts.db.property('rocksdb.estimate-num-keys'));
  }

  get redoContext(): RedoContext {
    return this.parts.redo;
  }

  get stats(): PageStoreStats {
    return { ...this.parts.counters };
  }

  getPage(key: PageKey, lsn: Lsn, branch: BranchId = MAIN_BRANCH): Buffer {
    if (lsn < this.kept) return this.getPages(key, key.fork, key.blkno, 1, lsn, branch);
    const out = Buffer.allocUnsafeSlow(BLCKSZ);
    this.copyPage(this.forkAt(key, key.fork, lsn, branch), key, lsn, branch, out, 0);
    return out;
  }

  getPages(
    rel: RelFileLocator,
    fork: number,
    first: number,
    count: number,
    lsn: Lsn,
    branch: BranchId = MAIN_BRANCH,
  ): Buffer {
    const out = Buffer.allocUnsafeSlow(BLCKSZ * count);
    const key = { spcOid: rel.spcOid, dbOid: rel.dbOid, relNumber: rel.relNumber, fork, blkno: first };
    if (lsn < this.kept) {
      const past = pastFork(this.parts, branch, rel, fork, lsn, this.kept);
      for (let i = 0; i < count; i++, key.blkno++) {
        const pageKey = this.pageKey.setPage(branch, key, fork, key.blkno);
        if (pastPageIsBeyond(this.parts, past, key, pageKey, lsn, this.kept))
          out.fill(0, i * BLCKSZ, (i + 1) * BLCKSZ);
        else this.copyPage(past.version, key, this.kept, branch, out, i * BLCKSZ);
      }
      return out;
    }
    const version = this.forkAt(rel, fork, lsn, branch);
    for (let i = 0; i < count; i++, key.blkno++) this.copyPage(version, key, lsn, branch, out, i * BLCKSZ);
    return out;
  }

  /**
   * The page as of the applied LSN, the caller's own copy; null when the fork or the block does not exist then. Unlike getPage() it may be called
   * in the middle of a batch, of which it sees nothing. Throws REDO_* on damage.
   */
  appliedPage(key: PageKey, branch: BranchId = MAIN_BRANCH): Buffer | null {
    const lsn = this.appliedLsn;
    const fork = this.parts.forks.asOf(branch, key, key.fork, lsn);
    if (fork === null || key.blkno >= fork.nblocks) return null;
    const out = Buffer.allocUnsafeSlow(BLCKSZ);
    this.copyPage(fork, key, lsn, branch, out, 0);
    return out;
  }

  relationSize(rel: RelFileLocator, fork: number, lsn: Lsn, branch: BranchId = MAIN_BRANCH): number | null {
    this.assertApplied(lsn);
    if (lsn < this.kept) return pastSize(this.parts, branch, rel, fork, lsn, this.kept);
    return this.parts.forks.asOf(branch, rel, fork, lsn)?.nblocks ?? null;
  }

  getSlruPage(slru: SlruName, pageno: number, lsn: Lsn, branch: BranchId = MAIN_BRANCH): Buffer | null {
    this.assertApplied(lsn);
    const key = this.slruKey.setPage(branch, slru, pageno);
    if (lsn < this.kept) {
      if (!pastSlruPageExists(this.parts, branch, slru, pageno, key, lsn, this.kept)) return null;
    } else if (!rangesHave(this.parts.facts.slruPages(branch, slru, lsn), pageno)) return null;
    this.parts.counters.pagesRead++;
    const at = lsn < this.kept ? this.kept : lsn;
    const { page } = this.parts.builder.build(key, null, at, OLDEST);
    return Buffer.from(page as Buffer);
  }

  controlSnapshot(lsn: Lsn, branch: BranchId = MAIN_BRANCH): ControlSnapshot | null {
    this.assertApplied(lsn);
    this.assertKept('the control state', lsn);
    const fact = this.parts.facts.get(branch, FactClass.control, EMPTY_ID, lsn);
    return fact && { lsn: fact.since, state: JSON.parse(fact.data.toString()) as ControlState };
  }

  manifest(lsn: Lsn, branch: BranchId = MAIN_BRANCH): DataDirManifest {
    this.assertApplied(lsn);
    this.assertKept('the list of relations', lsn);
    return readManifest(this.parts, branch, lsn);
  }

  versions(key: PageKey, lsn: Lsn, branch: BranchId = MAIN_BRANCH): VersionInfo[] {
    this.assertKept('a version chain', lsn);
    const fork = this.forkAt(key, key.fork, lsn, branch);
    const pageKey = this.pageKey.setPage(branch, key, key.fork, key.blkno);
    const rows = this.parts.builder.versionsBack(pageKey, lsn, oldestVisible(fork, key.blkno));
    const chain: VersionInfo[] = [];
    for (let i = 0; i < rows.length; i += 2) chain.push(...versionsInRow(rows[i]!, rows[i + 1]!, lsn));
    return chain;
  }

  /**
   * Starts filling this empty store with the state at `lsn`. What an import that broke off left behind is removed. Throws PAGE_STORE_NOT_EMPTY.
   */
  beginImport(lsn: Lsn, branch: BranchId = MAIN_BRANCH): BaseImport {
    if (this.appliedLsn !== 0) {
      throw new DbError(
        'PAGE_STORE_NOT_EMPTY',
        `the page store in ${this.dir} already holds data up to ${formatLsn(this.appliedLsn)}`,
        {
          reaction: 'usage',
        },
      );
    }
    const { db, forks, cache } = this.parts;
    db.clear();
    checkFormat(db);
    forks.forget();
    cache.clear();
    this.kept = readHorizon(db, branch);
    return new BaseImporter(this, branch, lsn);
  }

  /**
   * Gives up everything: the store is empty from now on, after a crash too. What reads from it must expect that. `failed` hears when space
   * cannot be given back; beginImport() tries again.
   */
  reset(failed: (err: Error) => void): void {
    const { db, forks, cache } = this.parts;
    const batch = db.batch();
    batch.delete(markerKey(MAIN_BRANCH));
    batch.write(true);
    this.marker = readMarker(db, MAIN_BRANCH);
    db.deleteRange(Buffer.from([FORMAT_KEY[0]! + 1]), Buffer.from([0xff]), failed);
    forks.forget();
    cache.clear();
    this.kept = readHorizon(db, MAIN_BRANCH);
  }

  /**
   * Opens RocksDB anew: on what is there, after an error that it does not get over by itself; or, with a name for the folder as it is to be moved out
   * of the way, on nothing. What reads from it must expect that: until it resolves all calls throw NODE_STORE_BUSY. Throws as open().
   */
  async openAnew(setAside: string | null = null): Promise<void> {
    await this.parts.db.openAnew(setAside);
    this.opened();
  }

  /** Opens a store that was set aside in place of this one. What reads from it must expect that. Throws as Rocks.takeBack(). */
  async takeBack(folder: string): Promise<void> {
    try {
      await this.parts.db.takeBack(folder);
    } finally {
      this.opened();
    }
  }

  private opened(): void {
    const { db, forks, cache } = this.parts;
    checkFormat(db);
    forks.forget();
    cache.clear();
    this.marker = readMarker(db, MAIN_BRANCH);
    this.kept = readHorizon(db, MAIN_BRANCH);
  }

  /** Makes everything up to the applied LSN survive a power cut, and returns that LSN: log before it is not needed to rebuild this store. */
  sync(): Lsn {
    const batch = this.parts.db.batch();
    putMarker(batch, MAIN_BRANCH, this.marker);
    batch.write(true);
    return this.marker.appliedLsn;
  }

  /** Writes a batch with its marker. For ingest and import only. */
  commit(batch: RocksBatch, marker: Marker): void {
    putMarker(batch, MAIN_BRANCH, marker);
    batch.write(false);
    this.marker = marker;
    this.parts.forks.unwritten = false;
    this.parts.forks.trim();
  }

  async close(): Promise<void> {
    await this.parts.db.close();
  }

  /**
   * Gives history before `horizon` up, as far as it is not given up already: from then on the vacuum may remove it. Durable before any removal is.
   * Throws RangeError beyond the applied LSN.
   */
  raiseHorizon(horizon: Lsn): void {
    if (horizon <= this.kept) return;
    if (horizon > this.appliedLsn) throw new RangeError(`horizon ${horizon} beyond ${this.appliedLsn}`);
    const batch = this.parts.db.batch();
    putHorizon(batch, MAIN_BRANCH, horizon);
    batch.write(false);
    this.kept = horizon;
  }

  private assertKept(what: string, lsn: Lsn): void {
    if (lsn < this.kept) throw goneError(what, lsn, this.kept);
  }

  private forkAt(rel: RelFileLocator, fork: number, lsn: Lsn, branch: BranchId): ForkVersion {
    this.assertApplied(lsn);
    const version = this.parts.forks.asOf(branch, rel, fork, lsn);
    if (version) return version;
    throw new DbError(
      'PAGE_NO_RELATION',
      `relation ${rel.spcOid}/${rel.dbOid}/${rel.relNumber} fork ${fork} does not exist at ${formatLsn(lsn)}`,
      { reaction: 'usage' },
    );
  }

  private copyPage(
    fork: ForkVersion,
    key: PageKey,
    lsn: Lsn,
    branch: BranchId,
    out: Buffer,
    at: number,
  ): void {
    this.parts.counters.pagesRead++;
    if (key.blkno >= fork.nblocks) {
      out.fill(0, at, at + BLCKSZ);
      return;
    }
    const pageKey = this.pageKey.setPage(branch, key, key.fork, key.blkno);
    const { page } = this.parts.builder.build(pageKey, key, lsn, oldestVisible(fork, key.blkno));
    page.copy(out, at);
  }

  private assertApplied(lsn: Lsn): void {
    if (lsn <= this.marker.appliedLsn) {
      // Readers fill the table, too.
      if (lsn !== 0) this.parts.forks.trim();
      return;
    }
    throw new DbError(
      'PAGE_NOT_APPLIED',
      `${formatLsn(lsn)} is not applied yet, only ${formatLsn(this.appliedLsn)} is`,
      {
        reaction: 'retry',
      },
    );
  }
}

function checkFormat(db: Rocks): void {
  const found = db.get(FORMAT_KEY);
  if (found?.equals(FORMAT)) return;
  if (found && !found.equals(FORMAT_WITHOUT_RUNS))
    throw new DbError('PAGE_FORMAT', `the page store in ${db.dir} has format "${found.toString()}"`, {
      hint: `This release reads "${FORMAT.toString()}".`,
    });
  // Before the first run is: a release that knows none must not open it then.
  const batch = db.batch();
  batch.put(FORMAT_KEY, FORMAT);
  batch.write(true);
}

/** Newest first, and not after `upTo`. */
function versionsInRow(key: Buffer, value: Buffer, upTo: Lsn): VersionInfo[] {
  if (versionKind(key) !== Kind.run) return [versionInfo(versionLsn(key), versionKind(key), value)];
  const run: VersionInfo[] = [];
  eachInRun(key, value, OLDEST, upTo, (at, kind, delta) => run.push(versionInfo(at, kind, delta)));
  return run.reverse();
}

function versionInfo(at: Lsn, kind: number, value: Buffer): VersionInfo {
  const info = { lsn: at, kind: kindNames[kind]!, bytes: value.length };
  if (kind !== Kind.delta && kind !== Kind.init) return info;
  return { ...info, record: recordTypeName(decodeRecord(value, at, at, { crc: false })) };
}
