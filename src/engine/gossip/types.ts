import type { Lsn } from '../lsn.js';

/**
 * Words and messages of gossip: how storage nodes know of each other who is there and how far each has come, without a coordinator.
 * Membership and suspicion are SWIM's (Das, Gupta, Motivala 2002, with suspicion and incarnations); state vectors spread by comparing
 * versions, each exchange in both directions. Nothing that is decided here touches data: elections and quorums have their own rules.
 */

/** In order of precedence within one incarnation: later ones win. */
export const STATUSES = ['alive', 'suspect', 'dead', 'left'] as const;
/** `left`: stopped in order, by its own word. */
export type MemberStatus = (typeof STATUSES)[number];

/** What a node can do: disk-full, it takes no log; damaged, its pages are being made anew. In order of gravity. */
export const CONDITIONS = ['ok', 'damaged', 'disk-full'] as const;
export type NodeCondition = (typeof CONDITIONS)[number];

/** What a node says of itself. All of one `version`; positions are what they were when it was made. */
export interface StateVector {
  /** Grows with each round of the node; 0 = nothing heard yet. Higher is newer within one incarnation. */
  readonly version: number;
  /** Highest epoch of its log. */
  readonly epoch: number;
  readonly scl: Lsn;
  readonly commitLsn: Lsn;
  readonly appliedLsn: Lsn;
  /** Page versions and log below this may be gone. */
  readonly gcLsn: Lsn;
  /** Share of its time that it was busy, in thousandths. */
  readonly load: number;
  readonly condition: NodeCondition;
  /** host:port where it serves. */
  readonly address: string;
}

/** What a node reports at each round; the rest of its vector is gossip's own. */
export type LocalState = Omit<StateVector, 'version' | 'address'>;

/** All that is known about one member; never changed in place, so it may be shared between messages. */
export interface MemberNews {
  readonly id: string;
  /** Raised by the member alone: at each start, and to contradict a suspicion. 0 = never heard of it. */
  readonly incarnation: number;
  readonly status: MemberStatus;
  readonly vector: StateVector;
}

/** What news one has, without the news. */
export interface DigestEntry {
  readonly id: string;
  readonly incarnation: number;
  readonly status: MemberStatus;
  readonly version: number;
}

export const MESSAGE_KINDS = ['ping', 'ack', 'news', 'ping-req', 'relayed-ack'] as const;

/**
 * ping         are you there? Here is what I know (digest), and the latest rumours (news).
 * ack          I am (seq of the ping). What you lack (news), and what I want.
 * news         what was wanted; also a leave.
 * ping-req     ping `target` for me; it does not answer me.
 * relayed-ack  it answered (seq of the ping-req).
 */
export type MessageKind = (typeof MESSAGE_KINDS)[number];

export interface GossipMessage {
  readonly kind: MessageKind;
  /** 0: the sender awaits no answer. */
  readonly seq: number;
  /** Of ping-req and relayed-ack; else ''. */
  readonly target: string;
  /** Of ping. */
  readonly digest: readonly DigestEntry[];
  readonly news: readonly MemberNews[];
  /** Of ack: ids whose news the sender lacks. */
  readonly wants: readonly string[];
}

export interface Outgoing {
  readonly to: string;
  readonly message: GossipMessage;
}

export interface GossipEvent {
  readonly id: string;
  /** Null: a member not known before. */
  readonly from: MemberStatus | null;
  readonly to: MemberStatus;
  readonly incarnation: number;
}

export interface MemberView {
  readonly id: string;
  readonly self: boolean;
  /** `unknown`: configured, and nothing heard yet. */
  readonly state: MemberStatus | 'unknown';
  readonly incarnation: number;
  readonly version: number;
  readonly epoch: number;
  readonly scl: Lsn;
  readonly commitLsn: Lsn;
  readonly appliedLsn: Lsn;
  readonly gcLsn: Lsn;
  readonly load: number;
  readonly condition: NodeCondition;
  readonly address: string;
  /** Since a newer version of its vector was last heard; 0 for itself, null for never. */
  readonly newsAgeMs: number | null;
  /** Since its state became what it is. */
  readonly stateAgeMs: number;
}

/** One node's view of all, by id. */
export interface GossipView {
  readonly id: string;
  readonly intervalMs: number;
  readonly rounds: number;
  readonly members: readonly MemberView[];
}

export interface GossipCounters {
  rounds: number;
  probes: number;
  /** Probes that neither the member nor any helper answered. */
  probesFailed: number;
  indirectProbes: number;
  suspicions: number;
  deaths: number;
  /** Own incarnations raised because others took this node for suspect or dead. */
  refutations: number;
  /** Members not taken in because there were MEMBERS_MAX. */
  membersRefused: number;
}

export interface GossipOptions {
  readonly id: string;
  readonly address: string;
  /** Higher than any that this node had in an earlier life; see firstIncarnation. */
  readonly incarnation: number;
  /** Members known from the start. They are never forgotten. */
  readonly seeds: readonly { readonly id: string; readonly address: string }[];
  /** A round: one probe of one member, and with it one exchange of news. */
  readonly intervalMs: number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly nowMs: number;
  /** Members asked to probe one that does not answer. */
  readonly helpers?: number;
}

// Bounds of what a message may hold. They limit what a faulty peer can make us keep or send.
export const MEMBERS_MAX = 512;
/** UTF-8 bytes. */
export const ID_BYTES_MAX = 128;
export const ADDRESS_BYTES_MAX = 300;
/** Versions and incarnations above this are refused: counting cannot reach it. */
export const COUNTER_MAX = 2 ** 52;
export const LOAD_MAX = 1000;
/** Bytes of news in one message, by newsBytes(). */
export const NEWS_BYTES_MAX = 64 * 1024;
