/**
 * The page service's vocabulary: what a page version is, where it is kept, what a data directory consists of. No code.
 *
 * Everything is versioned by the end LSN of the record that made it (`endLsn`, as PostgreSQL stamps it on pages): what is read
 * at LSN x is what records ending at or before x made.
 */
import type { ControlState } from '../control/state.js';
import type { Lsn } from '../lsn.js';
import type { RedoContext } from '../redo/types.js';
import type { RelFileLocator } from '../wal/types.js';
import type { SlruName } from './effects/types.js';
import type { OnStoreFault } from './rocks.js';

/** A line of history in the volume, u32. 0 is main. */
export type BranchId = number;
export const MAIN_BRANCH: BranchId = 0;

/** One block of one relation fork. */
export interface PageKey extends RelFileLocator {
  readonly fork: number;
  readonly blkno: number;
}

/** How a page's version is stored. 'coalesced' is an image that ingest did not find in the log but made from the versions before it. */
export type VersionKind =
  'coalesced' | 'image' | 'zero' | 'init' | 'delta' | 'vmClear' | 'vmTruncate' | 'slruDelta';

/** One entry of a page's version chain, for inspection. */
export interface VersionInfo {
  readonly lsn: Lsn;
  readonly kind: VersionKind;
  /** Bytes of the stored value. */
  readonly bytes: number;
  /** As pg_waldump names it, e.g. "Heap/INSERT"; only for 'delta' and 'init'. */
  readonly record?: string;
}

/** When pages are rebuilt (DESIGN.md section 12). Any policy gives the same pages; they trade write work for read work. */
export type CoalescePolicy =
  /** An image of every page that a batch changed, as part of ingesting it. */
  | { readonly kind: 'eager' }
  /** An image for a page with `pageDeltas` deltas (an SLRU page `slruDeltas`) since its last one, when ingest is idle; at 8 times as many, at once. */
  | { readonly kind: 'background'; readonly pageDeltas: number; readonly slruDeltas: number }
  /** Never: only reads rebuild pages. */
  | { readonly kind: 'lazy' };

export interface PageStoreOptions {
  /** Default: background, 32 page deltas, 128 SLRU deltas. */
  readonly coalesce?: CoalescePolicy;
  /** Bytes of RocksDB's cache of uncompressed blocks. Default 64 MiB. */
  readonly blockCacheBytes?: number;
  /** Bytes of memtables. Default 128 MiB. */
  readonly memtableBytes?: number;
  /** Materialised pages kept in memory. Default 4096 (32 MiB). */
  readonly pageCachePages?: number;
  /** Relation forks whose current size is kept in memory. Default 50 000. */
  readonly relationCacheEntries?: number;
  /** Properties of the cluster that redo depends on. Default: neither wal_log_hints nor checksums, as our computes run. */
  readonly redoContext?: RedoContext;
  /** Hears of a full disk and of damage, before the call that met it throws. */
  readonly onFault?: OnStoreFault | undefined;
}

/** What one fork of one relation is at some LSN. */
export interface RelationFork extends RelFileLocator {
  readonly fork: number;
  /** Highest block logged + 1. */
  readonly nblocks: number;
}

export interface DatabaseEntry {
  readonly dbOid: number;
  readonly spcOid: number;
}

export interface RelmapEntry {
  readonly spcOid: number;
  /** 0 for the shared map in global/. */
  readonly dbOid: number;
  /** The file as logged (524 bytes). */
  readonly data: Buffer;
}

/** Pages of one SLRU that exist: ascending, disjoint, inclusive ranges of page numbers. */
export interface SlruPages {
  readonly slru: SlruName;
  readonly ranges: readonly (readonly [first: number, last: number])[];
}

/** All that is needed, beside pages themselves and the control state, to write a data directory as of `lsn`. */
export interface DataDirManifest {
  readonly lsn: Lsn;
  readonly relations: RelationFork[];
  readonly databases: DatabaseEntry[];
  readonly tablespaces: number[];
  readonly relmaps: RelmapEntry[];
  readonly slrus: SlruPages[];
  readonly twoPhase: { readonly fullXid: number; readonly data: Buffer }[];
  readonly origins: { readonly id: number; readonly remoteLsn: Lsn }[];
  readonly files: { readonly name: string; readonly content: Buffer }[];
}

/** A control state with the LSN that it is exact for (its last record's end). */
export interface ControlSnapshot {
  readonly lsn: Lsn;
  readonly state: ControlState;
}

/**
 * Filling an empty store with the state of a data directory at `lsn` (initdb's result, a backup, another node's pages).
 * Nothing is readable before finish(), which makes all of it the state at `lsn`, and `lsn` the applied LSN. After a crash in between, start over:
 * the store still says that it is empty.
 */
export interface BaseImport {
  /** Declares a fork and its size. Blocks that get no page() read as zeros. */
  relation(rel: RelFileLocator, fork: number, nblocks: number): void;
  /** An 8192-byte page. All-zero pages need not be given. */
  page(key: PageKey, image: Buffer): void;
  slruPage(slru: SlruName, pageno: number, image: Buffer): void;
  database(dbOid: number, spcOid: number): void;
  tablespace(oid: number): void;
  relmap(spcOid: number, dbOid: number, data: Buffer): void;
  twoPhase(fullXid: number, data: Buffer): void;
  origin(id: number, remoteLsn: Lsn): void;
  file(name: string, content: Buffer): void;
  /** Makes everything durable (synced) and readable. `lastRecordLsn`: start of the record that ends at `lsn` (0 if unknown). */
  finish(control: ControlState, lastRecordLsn: Lsn): void;
}

/** Counters for metrics; all since open. */
export interface PageStoreStats {
  readonly recordsIngested: number;
  readonly versionsWritten: number;
  readonly imagesCoalesced: number;
  /** Pages whose chain is over the threshold and waits for an image. */
  readonly coalesceBacklog: number;
  /** Pages that could not be rebuilt when an image was due; reading them fails with the reason. */
  readonly coalesceFailures: number;
  readonly pagesRead: number;
  readonly pageCacheHits: number;
  readonly deltasApplied: number;
  /** Deltas that met a page which was never written (xlogutils' invalid page); legal only if it is dropped or truncated later. */
  readonly deltasWithoutPage: number;
  /** Files in the log whose authentication code was wrong. */
  readonly filesRefused: number;
}

/** Reading pages and metadata at an LSN, as the storage daemon and the tools use it. All calls are synchronous. */
export interface PageReader {
  /** End of the last record that has been ingested; 0 in an empty store. */
  readonly appliedLsn: Lsn;
  /** Start of that record, 0 if unknown. */
  readonly lastRecordLsn: Lsn;
  /**
   * 8192 bytes, the caller's own copy. Zeros for a block that was never logged or lies beyond the relation's size.
   * Throws PAGE_NOT_APPLIED when lsn > appliedLsn, PAGE_NO_RELATION when the fork does not exist at lsn, REDO_* on damage.
   */
  getPage(key: PageKey, lsn: Lsn, branch?: BranchId): Buffer;
  /** `count` consecutive pages in one buffer; errors as getPage. */
  getPages(
    rel: RelFileLocator,
    fork: number,
    first: number,
    count: number,
    lsn: Lsn,
    branch?: BranchId,
  ): Buffer;
  /** Blocks of a fork, null if it does not exist. Throws PAGE_NOT_APPLIED. */
  relationSize(rel: RelFileLocator, fork: number, lsn: Lsn, branch?: BranchId): number | null;
  /** 8192 bytes, or null if the page does not exist at lsn (never written, or truncated). */
  getSlruPage(slru: SlruName, pageno: number, lsn: Lsn, branch?: BranchId): Buffer | null;
  /**
   * The newest control state at or before lsn, null if there is none. One is kept at the end of each ingested batch: for an LSN inside a batch,
   * fold the records between snapshot and lsn from the log over it.
   */
  controlSnapshot(lsn: Lsn, branch?: BranchId): ControlSnapshot | null;
  manifest(lsn: Lsn, branch?: BranchId): DataDirManifest;
  /** Newest first, from lsn back to the version that the page at lsn is built from. */
  versions(key: PageKey, lsn: Lsn, branch?: BranchId): VersionInfo[];
}
