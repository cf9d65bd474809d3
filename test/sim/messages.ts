import { lsn } from '../../src/engine/lsn.js';
import type { Configuration } from '../../src/engine/quorum/membership.js';
import type {
  Append,
  AppendAnswer,
  CommitNotice,
  EpochHistory,
  MembershipRecord,
  PromiseAnswer,
  PromiseRequest,
  RegisterAnswer,
  RegisterRequest,
  StartEpoch,
  StartEpochAnswer,
} from '../../src/engine/quorum/types.js';

/** First LSN of the simulated volume: not 0, not aligned. */
export const BASE = lsn(0x1_0000_0123);

export type ToNode =
  | { readonly kind: 'promise'; readonly body: PromiseRequest }
  | { readonly kind: 'start'; readonly body: StartEpoch }
  | { readonly kind: 'append'; readonly body: Append; readonly bytes: readonly number[] }
  | { readonly kind: 'fetch'; readonly epoch: number }
  | { readonly kind: 'configure'; readonly configuration: Configuration; readonly settled: number }
  | { readonly kind: 'gossip'; readonly news: News }
  | { readonly kind: 'register'; readonly body: RegisterRequest }
  | { readonly kind: 'registered'; readonly body: RegisterAnswer };

/** What a node tells its peers: durable state, and its log itself (a real node is asked for the missing part). */
export interface News {
  readonly history: EpochHistory;
  readonly promisedEpoch: number;
  readonly promisedTo: string;
  readonly commit: CommitNotice | null;
  readonly bytes: readonly number[];
  readonly membership: MembershipRecord | undefined;
}

/** A node to the tool that changes the configuration. */
export interface Configured {
  readonly generation: number;
  readonly settled: number;
  readonly isVoter: boolean;
  readonly scl: number;
}

export type ToWriter =
  | { readonly kind: 'promised'; readonly body: PromiseAnswer }
  | { readonly kind: 'started'; readonly body: StartEpochAnswer }
  | { readonly kind: 'appended'; readonly body: AppendAnswer }
  | { readonly kind: 'fetched'; readonly epoch: number; readonly bytes: readonly number[] };
