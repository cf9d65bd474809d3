/**
 * The control state of a volume at an LSN: everything that a shutdown checkpoint there would say (CheckPoint of PostgreSQL), the
 * parameters last logged, and the identity of the cluster. It is a fold over the log (advance.ts), versioned by LSN like
 * pages, and plain JSON.
 */
import type { Lsn } from '../lsn.js';

/** PostgreSQL's CheckPoint (88 bytes in WAL and in pg_control; codec in checkpoint.ts). */
export interface CheckPoint {
  redo: Lsn;
  thisTimeLineId: number;
  prevTimeLineId: number;
  fullPageWrites: boolean;
  /** 0 minimal, 1 replica, 2 logical. */
  walLevel: number;
  /** Full 64-bit transaction id: epoch * 2^32 + xid. */
  nextXid: number;
  nextOid: number;
  nextMulti: number;
  nextMultiOffset: number;
  oldestXid: number;
  oldestXidDb: number;
  oldestMulti: number;
  oldestMultiDb: number;
  /** Unix seconds. */
  time: number;
  /** 0 while track_commit_timestamp is off; so is newestCommitTsXid. */
  oldestCommitTsXid: number;
  newestCommitTsXid: number;
  /** 0 in shutdown checkpoints. */
  oldestActiveXid: number;
}

/** Settings that PostgreSQL logs (PARAMETER_CHANGE) and keeps in pg_control. */
export interface ControlParameters {
  maxConnections: number;
  maxWorkerProcesses: number;
  maxWalSenders: number;
  maxPreparedXacts: number;
  maxLocksPerXact: number;
  walLevel: number;
  walLogHints: boolean;
  trackCommitTimestamp: boolean;
}

export interface ControlState {
  /** Decimal u64. */
  systemIdentifier: string;
  /** WAL segment size in bytes. */
  segmentSize: number;
  /** Running values as of lastRecordEnd. `redo` and `time` are those of the last checkpoint record. */
  checkpoint: CheckPoint;
  parameters: ControlParameters;
  /** Start of the last complete record: xl_prev of the next one. */
  lastRecordLsn: Lsn;
  /** End of the last complete record, as stamped on pages. */
  lastRecordEnd: Lsn;
  /** The last checkpoint record in the log: where it starts and what it says; a replica starts at its redo LSN. */
  lastCheckpoint: { lsn: Lsn; online: boolean; checkpoint: CheckPoint } | null;
  /**
   * Whether the next page of pg_multixact/offsets exists (multixact_redo's two variables): the page last initialised, and the one
   * that CREATE_ID initialised ahead of its ZERO_OFF_PAGE record. -1 = none known.
   */
  multixactOffsets: { lastInitialized: number; preInitialized: number };
  /** The cluster's pg_control as imported (its 296 meaningful bytes, base64): source of everything that the log does not carry. */
  controlImage: string;
}
