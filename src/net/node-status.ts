import { DbError } from '../engine/errors.js';
import type { Lsn } from '../engine/lsn.js';
import type { Configuration } from '../engine/quorum/membership.js';
import type { EpochHistory, LearnerReason } from '../engine/quorum/types.js';

export type Role = 'compute' | 'peer' | 'tool';

/** What a storage node says of itself. Plain JSON; every position is an LSN as a number. */
export interface NodeStatus {
  id: string;
  volumeId: string;
  pid: number;
  /** Counts the starts of this node's process. */
  generation: number;
  /** disk-full: takes no log, makes no pages, serves reads. */
  state: 'running' | 'draining' | 'disk-full';
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
  /** How full the disk is that the node is on. */
  disk: { freeBytes: number | null; reserveBytes: number; problem: string | null };
  membership: MembershipStatus;
  /** Null while this node has lost nothing. */
  rebuild: RebuildStatus | null;
  /** History before this LSN is not kept any more; 0 when all of it is. */
  gcLsn: Lsn;
  vacuum: VacuumStatus;
  scrub: ScrubStatus;
  metrics: Record<string, number>;
}

/** The comparison of this node's pages with its peers', since it started. */
export interface ScrubStatus {
  state: 'off' | 'idle' | 'running' | 'waiting';
  /** Passes over all pages. */
  passes: number;
  /** When the last one ended; ISO 8601. */
  lastPassAt: string | null;
  pagesCompared: number;
  /** Not the same on all nodes that were asked. */
  pagesDiffering: number;
  /** Of these: wrong here, and replaced by what the majority has. */
  pagesRepaired: number;
  /** Of these: without a majority, so nothing was changed. */
  pagesDisputed: number;
  /** Read to check the blocks of RocksDB. */
  bytesVerified: number;
  /** Pages that nodes differed about when they were compared last. */
  disputed: ScrubFinding[];
  /** The newest first. */
  findings: ScrubFinding[];
  lastError: string | null;
}

export interface ScrubFinding {
  at: string;
  what: string;
  lsn: Lsn;
  /** Nodes that are wrong; of a disputed page, all. */
  nodes: string[];
  /** repaired: here; rebuilt: the whole store is, here; theirs: another node is wrong; disputed: nobody can tell. */
  verdict: 'repaired' | 'rebuilt' | 'theirs' | 'disputed';
}

/** What a node knows of who holds the volume (engine/quorum/membership.ts). */
export interface MembershipStatus {
  /** Null: fixed voters. */
  configuration: Configuration | null;
  /** Highest generation known to be settled. */
  settled: number;
  /** joining: without a vote yet; leaving: it was removed, which is not settled yet; outside: not, or not any more, a member. */
  state: 'voter' | 'joining' | 'leaving' | 'outside';
}

/** What a node does about history that nobody needs, and the room that it takes. */
export interface VacuumStatus {
  state: 'off' | 'idle' | 'running';
  /** History is kept for so long, but for no more than so much log. */
  retention: { timeMs: number; bytes: number };
  /** Passes over the whole store since the node started. */
  passes: number;
  /** Who holds history, from where on, and how long ago each said so. */
  leases: { name: string; lsn: Lsn; ageMs: number }[];
  disk: DiskUse;
  lastError: string | null;
}

/** As measured some seconds ago. */
export interface DiskUse {
  logBytes: number;
  pagesBytes: number;
  freeBytes: number;
}

/** A node that lost its memory, or a part of its disk, on its way to be a voter again. */
export interface RebuildStatus {
  /** Why its pages, and nothing else, are made anew; null when it lost its memory. */
  cause: string | null;
  /** copying: pages come from a peer; following: they are here, and the log comes up to where this node may vote; waiting: for a peer. */
  state: 'copying' | 'following' | 'waiting';
  /** Peer in use, or ''. */
  peer: string;
  /** The pages are, or will be, as of this LSN. */
  lsn: Lsn;
  pagesDone: number;
  pagesTotal: number;
  /** Page images taken from peers since the process started. */
  copiedBytes: number;
  attempts: number;
  lastError: string | null;
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

const SHAPE: Readonly<Record<string, readonly (keyof NodeStatus)[]>> = {
  string: ['id', 'volumeId', 'state', 'promisedWriter'],
  number: ['pid', 'generation', 'promisedEpoch', 'scl', 'commitLsn', 'appliedLsn', 'logStart', 'gcLsn'],
  boolean: ['voter'],
  list: ['history', 'damaged'],
  object: ['catchUp', 'disk', 'membership', 'vacuum', 'scrub', 'metrics'],
  'object or null': ['ingestError', 'rebuild'],
};

/** What another node says of itself, as far as decisions hang on it. Throws WIRE_BAD_VALUE. */
export function checkNodeStatus(status: NodeStatus): NodeStatus {
  const kindOf = (value: unknown): string =>
    value === null ? 'null' : Array.isArray(value) ? 'list' : typeof value;
  if (kindOf(status) !== 'object') throw new DbError('WIRE_BAD_VALUE', 'a status that is no object');
  for (const [wanted, fields] of Object.entries(SHAPE))
    for (const field of fields) {
      const found = kindOf(status[field]);
      if (!wanted.split(' or ').includes(found))
        throw new DbError('WIRE_BAD_VALUE', `a status whose "${field}" is ${found}, not ${wanted}`);
    }
  return status;
}
