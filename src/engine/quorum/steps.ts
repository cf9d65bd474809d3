/** What the Acceptor is made from, what it shows of itself, and what its steps ask of whoever does the I/O. */
import type { Lsn } from '../lsn.js';
import type { AppendAnswer, Epoch, EpochHistory, LearnerReason, LivesRecord, MembershipRecord, PromiseAnswer, RegisterAnswer, StartEpochAnswer } from './types.js'; // prettier-ignore

/** How far a log is: (epoch of its newest part, end), compared in that order. */
export interface LogPosition {
  readonly epoch: Epoch;
  readonly scl: Lsn;
}

/** What a node remembers of itself outside its log (identity.db). Made durable, whole, whenever a step asks for it. */
export interface IdentityRecord {
  readonly promisedEpoch: Epoch;
  readonly promisedTo: string;
  /** Set once a node has lost its memory; it stays a learner over restarts, however much log it has gathered since. */
  readonly amnesia: boolean;
  /** The durable log is at least here after a restart, or it is an older copy than the one that this node answered with. */
  readonly floor: LogPosition;
  /** Absent while no node has ever lost its memory. */
  readonly lives?: LivesRecord;
  /** Absent while this node was never told a configuration. */
  readonly membership?: MembershipRecord;
}

/** What the log on disk holds, read at start (LogStore provides all of it). */
export interface LogState {
  readonly history: EpochHistory;
  /** End of the durable log. */
  readonly scl: Lsn;
  readonly damaged: boolean;
}

export interface AcceptorState {
  readonly promisedEpoch: Epoch;
  readonly promisedTo: string;
  readonly history: EpochHistory;
  /** End of the log as appended, perhaps not yet durable. */
  readonly logEnd: Lsn;
  /** End of the durable log. */
  readonly scl: Lsn;
  /** Highest commit LSN that applies to this node's history; may lie beyond scl. Use `readableLsn`. */
  readonly commitLsn: Lsn;
  readonly learner: LearnerReason | null;
}

export interface PromiseStep {
  /** Not null: make it durable, then answer. Nothing else may be processed in between. */
  readonly persist: IdentityRecord | null;
  readonly answer: PromiseAnswer;
}

export interface RegisterStep {
  /** Not null: make it durable, then answer. */
  readonly persist: IdentityRecord | null;
  readonly answer: RegisterAnswer;
}

export type StartEpochStep =
  | {
      readonly kind: 'answer';
      /** Not null: make it durable, then answer. Nothing else may be processed in between. */
      readonly persist: IdentityRecord | null;
      readonly answer: StartEpochAnswer;
    }
  | {
      /**
       * In this order, with no other message handled before the log is cut: persist the identity; LogStore.setHistory(cutAt, history); sync; durable(...);
       * send startEpochAnswer(message).
       */
      readonly kind: 'adopt';
      readonly persist: IdentityRecord;
      readonly cutAt: Lsn;
      readonly history: EpochHistory;
    };

export type AppendStep =
  | { readonly kind: 'answer'; readonly answer: AppendAnswer }
  | {
      /**
       * When end > begin: append the message's bytes from offset `skip` on, at LSN `begin`, to the log. Then (also for a duplicate or
       * a heartbeat, where begin === end) sync if anything is unsynced, durable(...), and send appendAnswer(epoch).
       */
      readonly kind: 'write';
      readonly skip: number;
      readonly begin: Lsn;
      readonly end: Lsn;
    };
