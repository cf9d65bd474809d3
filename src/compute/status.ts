import type { ComputeRole } from '../engine/computes/types.js';

/** What a compute daemon says of itself on its control socket (GET /status). LSNs as text. */
export interface ComputeStatus {
  name: string;
  role: ComputeRole;
  pid: number;
  postgresPid: number | null;
  state: ComputeState;
  epoch: number | null;
  /** LSN that the data directory was made at. */
  startLsn: string | null;
  commitLsn: string | null;
  /** WAL received from PostgreSQL and sent to the nodes, in bytes, since the start. */
  walBytes: number;
  sentBytes: number;
  pages: {
    requests: number;
    blocksServed: number;
    blocksFetched: number;
    blocksPrefetched: number;
    prefetchHits: number;
    errors: number;
  };
  storage: {
    id: string;
    connected: boolean;
    scl: string | null;
    applied: string | null;
    reads: number;
    latencyMs: number;
  }[];
  backPressure: {
    /** Committed log that the nodes have not made pages of. */
    lagBytes: number;
    /** How fast the log may grow at present; null: as fast as it likes. */
    bytesPerSecond: number | null;
    /** How long PostgreSQL's log was held up, in this term. */
    throttledSeconds: number;
  };
  /** Of a replica that runs. */
  replica: ReplicaStatus | null;
  problem: string | null;
}

export interface ReplicaStatus {
  receivedLsn: string;
  replayLsn: string;
  /** Committed log, as far as known, that is not replayed yet. */
  lagBytes: number;
  /** For how long the oldest log that is not replayed has waited here. */
  lagMs: number;
  /** Oldest transaction that its queries still look at; 0 = none. */
  xmin: number;
  /** Log relayed to its PostgreSQL, from this node at present. */
  relayedBytes: number;
  relayNode: string | null;
  failover: boolean;
  priority: number;
}

/**
 * starting: electing and making the data directory; running; throttled: running, and writers are slowed for storage nodes that are
 * behind with their pages; stalled: no write quorum; stopping; fenced: another writer took over; promoting: a replica becomes the primary; handing-over: a primary that has stopped for its successor.
 */
export type ComputeState =
  'starting' | 'running' | 'throttled' | 'stalled' | 'stopping' | 'fenced' | 'promoting' | 'handing-over';
