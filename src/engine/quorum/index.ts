export * from './types.js';
export { QuorumConfig, defaultQuorum, rejoinQuorumOf } from './config.js';
export type { QuorumOptions } from './config.js';
export { checkStep, parseConfiguration, quorumOf, sameConfiguration, votersOf } from './membership.js';
export type { Configuration, Member } from './membership.js';
export { checkHistory, commonPoint, formatHistory, historyUpTo, lastLogEpoch } from './history.js';
export { Acceptor } from './acceptor.js';
export type {
  AcceptorState, AppendStep, IdentityRecord, LogPosition, LogState, PromiseStep, RegisterStep, StartEpochStep,
} from './acceptor.js'; // prettier-ignore
export { WriterCore } from './writer.js';
export type { Donor, NodeProgress, WriterPhase } from './writer.js';
