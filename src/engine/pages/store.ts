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
import { recordTypeName } from '../redo/index.js';
import { decodeRecord } from '../wal/decode.js';
import type { RelFileLocator } from '../wal/types.js';
import { PageBuilder } from './builder.js';
import { PageCache } from './cache.js';
import { DEFAULT_POLICY } from './coalesce.js';
import type { SlruName } from './effects/types.js';
import { EMPTY_ID, FactClass, Facts, rangesHave } from './facts.js';
import { ForkTable, oldestVisible, type ForkVersion } from './forks.js';
import { BaseImporter } from './import.js';
import {
  FORMAT_KEY,
  Kind,
  kindNames,
  OLDEST,
  PageVersionKey,
  SlruVersionKey,
  versionKind,
  versionLsn,
} from './keys.js';
import { readManifest } from './manifest.js';
import { putMarker, readMarker, type Marker } from './marker.js';
import type { StoreParts } from './parts.js';
import { Rocks, type RocksBatch } from './rocks.js';
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
const FORMAT = Buffer.from('aurora pages 1');

export class PageStore implements PageReader {
  private marker: Marker;
  private readonly pageKey = new PageVersionKey();
  private readonly slruKey = new SlruVersionKey();

  private constructor(
    /** For the other files of this folder only. */
    readonly parts: StoreParts,
    readonly policy: CoalescePolicy,
  ) {
    this.marker = readMarker(parts.db, MAIN_BRANCH);
  }

  /** Opens the store in `dir`, creating it if there is none. Throws NODE_STORE_OPEN, PAGE_FORMAT. */
  static async open(dir: string, options: PageStoreOptions = {}): Promise<PageStore> {
    const db = await Rocks.open(dir, {
      blockCacheBytes: options.blockCacheBytes ?? 64 * MIB,
      memtableBytes: options.memtableBytes ?? 64 * MIB,
    });
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

  get stats(): PageStoreStats {
    return { ...this.parts.counters };
  }

  getPage(key: PageKey, lsn: Lsn, branch: BranchId = MAIN_BRANCH): Buffer {
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
    const version = this.forkAt(rel, fork, lsn, branch);
    const out = Buffer.allocUnsafeSlow(BLCKSZ * count);
    const key = { spcOid: rel.spcOid, dbOid: rel.dbOid, relNumber: rel.relNumber, fork, blkno: first };
    for (let i = 0; i < count; i++, key.blkno++) this.copyPage(version, key, lsn, branch, out, i * BLCKSZ);
    return out;
  }

  relationSize(rel: RelFileLocator, fork: number, lsn: Lsn, branch: BranchId = MAIN_BRANCH): number | null {
    this.assertApplied(lsn);
    return this.parts.forks.asOf(branch, rel, fork, lsn)?.nblocks ?? null;
  }

  getSlruPage(slru: SlruName, pageno: number, lsn: Lsn, branch: BranchId = MAIN_BRANCH): Buffer | null {
    this.assertApplied(lsn);
    if (!rangesHave(this.parts.facts.slruPages(branch, slru, lsn), pageno)) return null;
    this.parts.counters.pagesRead++;
    const { page } = this.parts.builder.build(this.slruKey.setPage(branch, slru, pageno), null, lsn, OLDEST);
    return Buffer.from(page as Buffer);
  }

  controlSnapshot(lsn: Lsn, branch: BranchId = MAIN_BRANCH): ControlSnapshot | null {
    this.assertApplied(lsn);
    const fact = this.parts.facts.get(branch, FactClass.control, EMPTY_ID, lsn);
    return fact && { lsn: fact.since, state: JSON.parse(fact.data.toString()) as ControlState };
  }

  manifest(lsn: Lsn, branch: BranchId = MAIN_BRANCH): DataDirManifest {
    this.assertApplied(lsn);
    return readManifest(this.parts, branch, lsn);
  }

  versions(key: PageKey, lsn: Lsn, branch: BranchId = MAIN_BRANCH): VersionInfo[] {
    const fork = this.forkAt(key, key.fork, lsn, branch);
    const pageKey = this.pageKey.setPage(branch, key, key.fork, key.blkno);
    const rows = this.parts.builder.versionsBack(pageKey, lsn, oldestVisible(fork, key.blkno));
    const chain: VersionInfo[] = [];
    for (let i = 0; i < rows.length; i += 2) chain.push(versionInfo(rows[i]!, rows[i + 1]!));
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
    return new BaseImporter(this, branch, lsn);
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
    this.parts.forks.trim();
  }

  async close(): Promise<void> {
    await this.parts.db.close();
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
      // Readers fill the table, too. Between batches nothing in it is unwritten.
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
  if (found)
    throw new DbError('PAGE_FORMAT', `the page store in ${db.dir} has format "${found.toString()}"`, {
      hint: `This release reads "${FORMAT.toString()}".`,
    });
  const batch = db.batch();
  batch.put(FORMAT_KEY, FORMAT);
  batch.write(true);
}

function versionInfo(key: Buffer, value: Buffer): VersionInfo {
  const kind = versionKind(key);
  const info = { lsn: versionLsn(key), kind: kindNames[kind]!, bytes: value.length };
  if (kind !== Kind.delta && kind !== Kind.init) return info;
  return { ...info, record: recordTypeName(decodeRecord(value, info.lsn, info.lsn, { crc: false })) };
}
