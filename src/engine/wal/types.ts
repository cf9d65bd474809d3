import type { Lsn } from '../lsn.js';

/** Resource managers of PostgreSQL 18 (rmgrlist.h), by id. */
export const Rmgr = {
  XLOG: 0, Transaction: 1, Storage: 2, CLOG: 3, Database: 4, Tablespace: 5, MultiXact: 6, RelMap: 7, Standby: 8,
  Heap2: 9, Heap: 10, Btree: 11, Hash: 12, Gin: 13, Gist: 14, Sequence: 15, SPGist: 16, BRIN: 17, CommitTs: 18,
  ReplicationOrigin: 19, Generic: 20, LogicalMessage: 21,
} as const; // prettier-ignore

export const ForkNumber = { main: 0, fsm: 1, vm: 2, init: 3 } as const;

/** A relation's files: RelFileLocator of PostgreSQL. */
export interface RelFileLocator {
  readonly spcOid: number;
  readonly dbOid: number;
  readonly relNumber: number;
}

/** One block reference of a WAL record (XLogRecordBlockHeader and what follows it, decoded). */
export interface BlockRef extends RelFileLocator {
  readonly id: number;
  readonly fork: number;
  readonly blkno: number;
  /** BKPBLOCK_WILL_INIT: redo builds the page from zeros. */
  readonly willInit: boolean;
  readonly hasImage: boolean;
  /** BKPIMAGE_APPLY: the image is part of redo; otherwise it is there for wal_consistency_checking only. */
  readonly applyImage: boolean;
  /** bimg_info byte, 0 without an image. */
  readonly imageInfo: number;
  readonly holeOffset: number;
  readonly holeLength: number;
  /** The image as logged (perhaps compressed, without its hole); a view into `WalRecord.raw`. Use restoreImage(). */
  readonly image: Buffer | null;
  /** The block's data payload; a view into `WalRecord.raw`; empty when there is none. */
  readonly data: Buffer;
}

/** One decoded WAL record. Buffers are views into `raw`: copy before keeping them beyond the batch. */
export interface WalRecord {
  /** LSN of the record's first byte. */
  readonly startLsn: Lsn;
  /** End as PostgreSQL stamps it on pages: start of the next record, before any page-header skip (see wal-inventory 1.3). */
  readonly endLsn: Lsn;
  readonly xid: number;
  readonly prevLsn: Lsn;
  readonly info: number;
  readonly rmid: number;
  readonly blocks: readonly BlockRef[];
  readonly mainData: Buffer;
  /** Replication origin id, 0 when absent. */
  readonly origin: number;
  /** Top-level xid when logged (wal_level=logical), else 0. */
  readonly toplevelXid: number;
  /** The whole record, header first, page headers removed; length = xl_tot_len. */
  readonly raw: Buffer;
}
