/**
 * The verifier's vocabulary. PostgreSQL writes a page image beside each change when wal_consistency_checking is on; replaying the change here
 * must give the same page, after the masks of mask.ts.
 */
import type { DbError } from '../errors.js';
import type { RedoContext, RedoResult } from '../redo/index.js';
import type { BlockRef, RelFileLocator, WalRecord } from '../wal/types.js';

export interface Database {
  readonly spcOid: number;
  readonly dbOid: number;
}

export interface ForkLocator extends RelFileLocator {
  readonly fork: number;
}

/** What the verifier changes: all pages as of the record replayed last. All calls are synchronous. */
export interface VerifyPages {
  /**
   * The page to change in place. A block beyond the fork's end makes the fork longer and reads as zeros. Null when nobody knows what it
   * holds; never with `whole`, which says that all of it is about to be overwritten.
   */
  page(rel: RelFileLocator, fork: number, blkno: number, whole: boolean): Buffer | null;
  /** As page(), but null too for a fork or block that does not exist, and nothing grows. */
  existing(rel: RelFileLocator, fork: number, blkno: number): Buffer | null;
  /** The fork's file was made, empty. */
  create(rel: RelFileLocator, fork: number): void;
  /** Blocks at and beyond `nblocks` are gone. */
  truncate(rel: RelFileLocator, fork: number, nblocks: number): void;
  /** All forks. */
  drop(rel: RelFileLocator): void;
  dropDatabase(database: Database): void;
  /** Everything in `to` is a copy of everything in `from`; dropDatabase(to) was called before. */
  copyDatabase(from: Database, to: Database): void;
}

/** Where pages come from which the log has not touched yet: the state at the LSN where replay begins. */
export interface BasePages {
  /** Blocks of the fork; null if it does not exist. */
  size(rel: RelFileLocator, fork: number): number | null;
  /** 8192 bytes, the caller's own; only asked for blocks below size(). */
  read(rel: RelFileLocator, fork: number, blkno: number): Buffer;
  /** All forks in a database's directory of one tablespace. */
  list(database: Database): ForkLocator[];
}

/** Counts of one record type. Records: seen, failed; the others are block references. */
export interface TypeCount {
  seen: number;
  /** What redo did. References for a lock only are left out, but for those of hint records without an image ('skipped'). */
  readonly results: Record<RedoResult, number>;
  /** Compared with an image that redo had not applied itself. */
  compared: number;
  mismatched: number;
  /** Pages that nobody knew, taken over from the record's image: no proof of anything. */
  adopted: number;
  /** Pages that nobody knows, changed by a record without an image: left alone. */
  unknown: number;
  /** Records that could not be replayed. */
  failed: number;
}

export interface Mismatch {
  /**
   * page: the replayed page is not PostgreSQL's. visibility: the bits of the record's own heap block are not, which the mask hides.
   * repeat: applying the record a second time changed the page (`theirs` is the page after that).
   */
  readonly kind: 'page' | 'visibility' | 'repeat';
  readonly rec: WalRecord;
  readonly block: BlockRef;
  /** As recordTypeName() has it. */
  readonly type: string;
  /** The replayed page and the one that it should be, as they are. */
  readonly ours: Buffer;
  readonly theirs: Buffer;
  /** The same without what may differ. */
  readonly maskedOurs: Buffer;
  readonly maskedTheirs: Buffer;
  /** What differs, in one line. */
  readonly summary: string;
}

/** One record applied to one of its blocks. The buffers are views: copy before the next record. */
export interface Application {
  readonly rec: WalRecord;
  readonly block: BlockRef;
  /** Position of `block` in rec.blocks. */
  readonly index: number;
  readonly type: string;
  readonly before: Buffer;
  readonly page: Buffer;
  readonly result: RedoResult;
  /** The block is referenced, but replay leaves it alone. */
  readonly left: boolean;
}

export interface VerifierOptions {
  readonly redo: RedoContext;
  /** Take wal_log_hints from PARAMETER_CHANGE records, as they come. Default: `redo` holds throughout. */
  readonly followParameters?: boolean;
  /** Also apply each record a second time, which must change nothing. */
  readonly repeat?: boolean;
  onMismatch(mismatch: Mismatch): void;
  /** A record cannot be replayed. Without this, record() throws; with it, replay goes on from the record's images. */
  onFailure?(error: DbError, rec: WalRecord): void;
  onApplied?(application: Application): void;
}
