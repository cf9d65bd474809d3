import type { Lsn } from '../engine/lsn.js';
import type { EpochHistory, LearnerReason } from '../engine/quorum/types.js';

export type Role = 'compute' | 'peer' | 'tool';

/** What a storage node says of itself. Plain JSON; every position is an LSN as a number. */
export interface NodeStatus {
  id: string;
  volumeId: string;
  pid: number;
  /** Counts the starts of this node's process. */
  generation: number;
  state: 'running' | 'draining';
  /** False: neither grants epochs nor counts for a quorum; `learnerReason` says why. */
  voter: boolean;
  learnerReason: LearnerReason | null;
  promisedEpoch: number;
  promisedWriter: string;
  history: EpochHistory;
  /** Segment complete: the durable end of the contiguous log. */
  scl: Lsn;
  /** Highest position known to be committed (what a write quorum holds). */
  commitLsn: Lsn;
  /** Up to where the log has become page versions. */
  appliedLsn: Lsn;
  /** First LSN of the log that is still here. */
  logStart: Lsn;
  damaged: { begin: Lsn; end: Lsn; file: string }[];
  ingestError: { code: string; message: string; lsn: Lsn } | null;
  /** Why the log cannot be made durable (a full disk, say); nothing is acknowledged meanwhile. */
  writeError: string | null;
  catchUp: CatchUpStatus;
  metrics: Record<string, number>;
}

export interface CatchUpStatus {
  state: 'idle' | 'fetching' | 'healing' | 'waiting' | 'failed';
  /** Peer in use, or ''. */
  peer: string;
  target: Lsn;
  fetchedBytes: number;
  /** Bytes of damaged log replaced. */
  healedBytes: number;
  attempts: number;
  lastError: string | null;
}
