/** What a compute daemon says of itself on its control socket (GET /status). LSNs as text. */
export interface ComputeStatus {
  name: string;
  role: 'primary';
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
  problem: string | null;
}

/** starting: electing and making the data directory; running; throttled: running, and writers are slowed
 * for storage nodes that are behind with their pages; stalled: no write quorum; stopping; fenced: another writer took over. */
export type ComputeState = 'starting' | 'running' | 'throttled' | 'stalled' | 'stopping' | 'fenced';
