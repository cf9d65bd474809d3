import type { Lsn } from '../lsn.js';
import type { Configuration } from './membership.js';

/**
 * Words and messages of the replicated log. Everything here is per branch of a volume; the net layer adds the branch.
 *
 * The log is a byte sequence addressed by LSN. An epoch is one writer's term: at most one writer is ever elected in an epoch.
 * A history says which epoch wrote which part of a log: entry i covers [entries[i].startLsn, entries[i + 1].startLsn), the last
 * one is open. Two logs are byte for byte equal as far as their histories agree; all rules below rest on this.
 */

/** A writer's term, 1, 2, 3, ...; 0 is the import that created the volume. */
export type Epoch = number;

export interface EpochEntry {
  readonly epoch: Epoch;
  /** First LSN that this epoch wrote (inclusive). Always a record boundary. */
  readonly startLsn: Lsn;
}

/** Epochs strictly ascending, startLsn never descending (an epoch may be empty). Empty only on a node that lost its log. */
export type EpochHistory = readonly EpochEntry[];

/** Why a node neither grants epochs nor counts for a quorum: its state is older than, or differs from, what it answered before. */
export type LearnerReason = 'amnesia' | 'damaged-log';

/** Writer to node: let me write in `epoch`; refuse every older one from now on. */
export interface PromiseRequest {
  readonly epoch: Epoch;
  /** Unique per writer process; makes a repeated request harmless and a competing one for the same epoch refused. */
  readonly writerId: string;
  /** The writer's; a node learns it. Absent: generation 0, fixed voters. */
  readonly configuration?: Configuration;
}

export interface PromiseAnswer {
  /** The request that this answers. */
  readonly epoch: Epoch;
  readonly writerId: string;
  readonly granted: boolean;
  /** Highest epoch that the node has promised, after this request. Above `epoch`: the asking writer is fenced. */
  readonly promisedEpoch: Epoch;
  /** Not null: the node is a learner and grants nothing. */
  readonly learner: LearnerReason | null;
  /** End of the durable log. */
  readonly scl: Lsn;
  readonly commitLsn: Lsn;
  readonly history: EpochHistory;
  /** The node's life (see lives.ts); absent: 0, the first. */
  readonly life?: number;
  /** Lives of other nodes that it has noted, by node id. */
  readonly lives?: Readonly<Record<string, number>>;
  /** Generation that the node holds (membership.ts); absent: 0. Counts only when it is the writer's. */
  readonly generation?: number;
  /** The node's configuration when the request's is older: the reason why it grants nothing. */
  readonly configuration?: Configuration;
}

/** Elected writer to node: here is the history of my log; cut yours where it differs. */
export interface StartEpoch {
  readonly epoch: Epoch;
  readonly writerId: string;
  /** Number of the connection within the epoch; the answer repeats it, so that a late answer is told from a new one. */
  readonly handshake: number;
  /** Last entry is { epoch, startLsn: X }. */
  readonly history: EpochHistory;
  /**
   * From the epoch's own writer: it counts this node's answers of this life only. Absent (0 for the writer's first handshake, too) when it
   * was passed on by a peer.
   */
  readonly life?: number;
  /** With `life`: the writer's commit LSN then; 0 when nothing is committed in this epoch yet. */
  readonly commitLsn?: Lsn;
  /** As in PromiseRequest. A message that a peer passed on (handshake 0) has none, and is not refused for it. */
  readonly configuration?: Configuration;
}

export interface StartEpochAnswer {
  readonly epoch: Epoch;
  readonly handshake: number;
  readonly accepted: boolean;
  readonly promisedEpoch: Epoch;
  readonly learner: LearnerReason | null;
  /** Durable end after the cut: the node needs the bytes from here on. */
  readonly scl: Lsn;
  /** As in PromiseAnswer. */
  readonly life?: number;
  readonly generation?: number;
  readonly configuration?: Configuration;
}

/** Writer to node: bytes [begin, end) of the log. begin === end is a heartbeat that carries the commit LSN. */
export interface Append {
  readonly epoch: Epoch;
  readonly begin: Lsn;
  readonly end: Lsn;
  /** The writer's commit LSN when sent; 0 when nothing is committed in this epoch yet. */
  readonly commitLsn: Lsn;
}

/**
 * accepted     the log up to `scl` is durable on this node, in this epoch
 * refused      a newer epoch was promised: the writer is fenced
 * not-started  the node has not adopted this epoch's history: send StartEpoch
 * gap          bytes are missing before `begin`: send from `expected` on
 */
export type AppendAnswer =
  | {
      readonly kind: 'accepted';
      readonly epoch: Epoch;
      readonly scl: Lsn;
      readonly learner: LearnerReason | null;
      /** As in PromiseAnswer. */
      readonly life?: number;
      readonly generation?: number;
    }
  | { readonly kind: 'refused'; readonly epoch: Epoch; readonly promisedEpoch: Epoch }
  | { readonly kind: 'not-started'; readonly epoch: Epoch }
  | { readonly kind: 'gap'; readonly epoch: Epoch; readonly expected: Lsn };

/** News of a commit LSN, from the writer or passed on by a peer. */
export interface CommitNotice {
  readonly epoch: Epoch;
  readonly commitLsn: Lsn;
}

/** One life of a node, from one loss of its memory to the next; the token tells two attempts to begin it apart. */
export interface Life {
  readonly life: number;
  readonly token: string;
}

/** What a node remembers of its own and others' lives; part of its identity record. */
export interface LivesRecord {
  /** The token is empty while the node votes. */
  readonly own: Life;
  /** H of lives.ts, once this life is registered and as long as the node is a learner. */
  readonly ceiling: Epoch | null;
  /** By node id. */
  readonly others: Readonly<Record<string, Life>>;
}

/** A node that lost its memory to a peer: note that I begin this life. */
export interface RegisterRequest extends Life {
  readonly nodeId: string;
}

export interface RegisterAnswer extends Life {
  /** The node that registers; life and token are what is noted of it now. */
  readonly nodeId: string;
  /** False: the answering node is a learner itself, and its answer proves nothing. */
  readonly voter: boolean;
  /** Highest epoch that it has promised, after noting the life. */
  readonly promisedEpoch: Epoch;
  /** The answering node's own life, and what it has noted of others. */
  readonly own: Life;
  readonly others: Readonly<Record<string, Life>>;
  /** What it holds; absent: none, fixed voters. */
  readonly configuration?: Configuration;
  /** Highest generation that it knows to be settled. */
  readonly settled?: number;
}

/** What a node remembers of the volume's configuration; part of its identity record. */
export interface MembershipRecord {
  readonly configuration: Configuration;
  /** Highest generation known to be settled (membership.ts). */
  readonly settled: number;
}
