import { DbError } from '../engine/errors.js';
import { bool, bytes, json, list, lsn, oneOf, rest, str, struct, u16, u32, u64, u8, type Of, type Shape, type Struct } from './wire.js'; // prettier-ignore
import type { ControlState } from '../engine/control/state.js';
import { CONDITIONS, MESSAGE_KINDS, STATUSES, type GossipView } from '../engine/gossip/types.js';
import { COMPUTE_ROLES, RESIGNATIONS } from '../engine/computes/types.js';
import type { VersionInfo } from '../engine/pages/types.js';
import { parseConfiguration, type Configuration } from '../engine/quorum/membership.js';
import type { Life } from '../engine/quorum/types.js';
import type { NodeStatus } from './node-status.js';

/**
 * The protocol between storage nodes, computes and tools. One binary WebSocket message is one frame:
 *
 *   0  u8   protocol version
 *   1  u8   message code
 *   2  u16  zero
 *   4  u32  branch (0 = main)
 *   8  u32  request id: answers repeat it; 0 = a message that has no answer
 *  12  the struct of that code
 *
 * Little-endian. A peer answers an unknown version, an unknown code or a struct that does not decode with Failure and closes.
 * Codes are never reused; a changed struct gets a new code or a new protocol version.
 */
export const PROTOCOL_VERSION = 3;
export const HEADER_BYTES = 12;
/** No frame is longer; the WebSocket layer refuses it by its length, before it is buffered. */
export const FRAME_BYTES_MAX = 64 * 1024 * 1024;
/** Log bytes of one Append or of one ReadLog answer. */
export const APPEND_BYTES_MAX = 16 * 1024 * 1024;
/** Pages of one GetPages or GetSlruPages. */
export const PAGES_MAX = 2048;
/** Piece of a long answer (manifest). */
export const PART_BYTES = 4 * 1024 * 1024;
/** Whole of a long answer. */
export const PARTS_BYTES_MAX = 1024 * 1024 * 1024;
/** All that a connection may send before it has authenticated. */
export const HANDSHAKE_BYTES_MAX = 16 * 1024;
/** One Gossip frame: more than the bounds of its parts (engine/gossip/types.ts) add up to. */
export const GOSSIP_BYTES_MAX = 256 * 1024;
/** One Beat or its answer. */
export const COMPUTES_BYTES_MAX = 256 * 1024;

export interface Message<S extends Shape> {
  readonly name: string;
  readonly code: number;
  readonly struct: Struct<S>;
  /** No frame of it is longer; it is refused before it is decoded. */
  readonly bytesMax: number;
}
export type BodyOf<M> = M extends Message<infer S> ? Of<S> : never;

const byCode = new Map<number, Message<Shape>>();

function message<S extends Shape>(
  code: number,
  name: string,
  shape: S,
  bytesMax = FRAME_BYTES_MAX,
): Message<S> {
  if (byCode.has(code)) throw new DbError('WIRE_BAD_STRUCT', `message code ${code} declared twice`);
  const made: Message<S> = { name, code, struct: struct(name, shape), bytesMax };
  byCode.set(code, made as unknown as Message<Shape>);
  return made;
}

/** The message of a code, or undefined. */
export function messageOf(code: number): Message<Shape> | undefined {
  return byCode.get(code);
}

const epochEntry = struct('EpochEntry', { epoch: u64, startLsn: lsn });
/** Null: none, fixed voters. */
const configuration = json<Configuration | null>((value) =>
  value === null ? null : parseConfiguration(value),
);
const relFields = { spcOid: u32, dbOid: u32, relNumber: u32, fork: u8 };

// Handshake: Hello, Challenge, Authenticate, Welcome; see auth.ts.
export const Hello = message(1, 'Hello', {
  volumeId: str,
  role: str,
  clientId: str,
  nodeId: str,
  nonce: bytes,
});
export const Challenge = message(2, 'Challenge', { nodeId: str, nonce: bytes });
export const Authenticate = message(3, 'Authenticate', { mac: bytes });
export const Welcome = message(4, 'Welcome', { mac: bytes });
/** The answer to a request that failed; with request id 0 the connection's last message. */
export const Failure = message(5, 'Failure', { code: str, reaction: str, message: str, hint: str });

export const GetStatus = message(16, 'GetStatus', {});
export const Status = message(17, 'Status', { status: json<NodeStatus>() });

// Log, writer to node. Append has no answer of its own: one Ack tells the durable end after each sync.
export const Promise_ = message(128, 'Promise', { epoch: u64, writerId: str, configuration }); // prettier-ignore
export const PromiseReply = message(129, 'PromiseReply', { epoch: u64, writerId: str, granted: bool, promisedEpoch: u64, learner: str, scl: lsn, commitLsn: lsn, history: list(epochEntry), life: u32, lives: json<Record<string, number>>(), generation: u64, configuration }); // prettier-ignore
export const StartEpoch = message(130, 'StartEpoch', { epoch: u64, writerId: str, handshake: u32, history: list(epochEntry), life: u32, commitLsn: lsn, configuration }); // prettier-ignore
export const StartEpochReply = message(131, 'StartEpochReply', { epoch: u64, handshake: u32, accepted: bool, promisedEpoch: u64, learner: str, scl: lsn, life: u32, generation: u64, configuration }); // prettier-ignore
export const Append = message(36, 'Append', { epoch: u64, begin: lsn, commitLsn: lsn, bytes: rest });
export const Ack = message(132, 'Ack', { epoch: u64, scl: lsn, learner: str, appliedLsn: lsn, life: u32, generation: u64 }); // prettier-ignore
export const Refused = message(38, 'Refused', { epoch: u64, promisedEpoch: u64 });
export const Gap = message(39, 'Gap', { epoch: u64, expected: lsn });
export const NotStarted = message(40, 'NotStarted', { epoch: u64 });

// A node that lost its memory, to its peers; see engine/quorum/lives.ts.
export const Register = message(45, 'Register', { nodeId: str, life: u32, token: str });
export const Registered = message(133, 'Registered', { nodeId: str, life: u32, token: str, voter: bool, promisedEpoch: u64, own: json<Life>(), others: json<Record<string, Life>>(), configuration, settled: u64 }); // prettier-ignore

// Who holds the volume (engine/quorum/membership.ts).
/** To every node, also one that is no member any more: this is the newest configuration known here, and so far they are settled. */
export const Configure = message(134, 'Configure', { configuration, settled: u64 });
export const Configured = message(135, 'Configured', { generation: u64, settled: u64 });
export const GetConfiguration = message(136, 'GetConfiguration', {});
export const ConfigurationOf = message(137, 'ConfigurationOf', { configuration, settled: u64 });

// Log, reading.
/** `epoch`: of a writer that needs its donor's log, uncommitted tail included; 0 for everyone else. */
export const ReadLog = message(48, 'ReadLog', { begin: lsn, end: lsn, maxBytes: u32, epoch: u64 });
export const LogBytes = message(49, 'LogBytes', {
  begin: lsn,
  scl: lsn,
  history: list(epochEntry),
  bytes: rest,
});
export const GetLogTail = message(50, 'GetLogTail', { epoch: u64 });
export const LogTail = message(51, 'LogTail', { recordStart: lsn, recordEnd: lsn, logEnd: lsn });

// Pages and what else a compute is made of.
export const GetPages = message(64, 'GetPages', { ...relFields, blkno: u32, count: u32, lsn });
export const Pages = message(65, 'Pages', { bytes: rest });
export const GetSlruPages = message(66, 'GetSlruPages', { slru: str, pageno: u32, count: u32, lsn });
export const GetRelationSize = message(67, 'GetRelationSize', { ...relFields, lsn });
export const RelationSize = message(68, 'RelationSize', { exists: bool, nblocks: u32 });
export const GetControlState = message(69, 'GetControlState', { lsn });
export const ControlStateAt = message(70, 'ControlStateAt', { state: json<ControlState>() });
export const GetManifest = message(71, 'GetManifest', { lsn });
/** A long answer in pieces with the same request id; see manifest-codec.ts for what they make up. */
export const Part = message(72, 'Part', { last: bool, bytes: rest });
export const WaitApplied = message(73, 'WaitApplied', { lsn, timeoutMs: u32 });
export const Applied = message(74, 'Applied', { appliedLsn: lsn });
export const GetPageVersions = message(75, 'GetPageVersions', { ...relFields, blkno: u32, lsn });
export const PageVersions = message(76, 'PageVersions', { versions: json<VersionInfo[]>() });

// The state as of one LSN, for a node to be rebuilt from; see engine/pages/base.ts.
/** Forks and facts; the answer comes in Parts, see base-codec.ts. */
export const GetBaseRows = message(77, 'GetBaseRows', { lsn });
export const GetBasePages = message(78, 'GetBasePages', { ...relFields, blkno: u32, count: u32, lsn });
export const GetBaseSlruPages = message(79, 'GetBaseSlruPages', { slru: str, blkno: u32, count: u32, lsn });
const baseImage = struct('BaseImage', { blkno: u32, version: lsn, image: bytes });
export const BasePages = message(80, 'BasePages', { images: list(baseImage) });

// Gossip between nodes, without answers of its own; see gossip-codec.ts and engine/gossip.
const digestEntry = struct('DigestEntry', { id: str, incarnation: u64, status: oneOf(STATUSES), version: u64 }); // prettier-ignore
const memberNews = struct('MemberNews', { id: str, incarnation: u64, status: oneOf(STATUSES), version: u64, epoch: u64, scl: lsn, commitLsn: lsn, appliedLsn: lsn, gcLsn: lsn, load: u16, condition: oneOf(CONDITIONS), address: str }); // prettier-ignore
const memberId = struct('MemberId', { id: str });
export const Gossip = message(157, 'Gossip', { kind: oneOf(MESSAGE_KINDS), seq: u32, target: str, digest: list(digestEntry), news: list(memberNews), wants: list(memberId) }, GOSSIP_BYTES_MAX); // prettier-ignore
/** A node's view of all members, for tools. */
export const GetGossip = message(97, 'GetGossip', {});
export const GossipViewOf = message(98, 'GossipView', { view: json<GossipView>() });

// History is kept for those who say that they need it; see storage/leases.ts.
/** Holds history from `lsn` on, until `ttlMs` of the answer have passed without a repetition; `release` ends it at once. */
export const RenewLease = message(112, 'RenewLease', { name: str, lsn, release: bool });
/** `horizon`: history before it is gone, whatever the lease says. */
export const LeaseHeld = message(113, 'LeaseHeld', { horizon: lsn, ttlMs: u32 });

// The page scrub, between nodes; see engine/pages/scrub.ts.
export const GetPageDigests = message(152, 'GetPageDigests', { ...relFields, blkno: u32, count: u32, lsn });
export const GetSlruDigests = message(153, 'GetSlruDigests', { slru: str, blkno: u32, count: u32, lsn });
const blockNumber = struct('BlockNumber', { blkno: u32 });
/** CRC-32C of each page, little-endian, and the blocks that cannot be built. */
export const PageDigests = message(154, 'PageDigests', { unreadable: list(blockNumber), crcs: rest });
export const GetRowsDigest = message(155, 'GetRowsDigest', { lsn });
export const RowsDigest = message(156, 'RowsDigest', { rows: u32, crc: u32 });

// Replicas, and what computes tell of each other through the storage nodes; see engine/computes.
/** Log from `begin` on that is committed; answered when there is some, or empty after `waitMs`. */
export const ReadCommitted = message(160, 'ReadCommitted', { begin: lsn, maxBytes: u32, waitMs: u32 });
/** `commitLsn`: up to where this node has, and may give, log. `history` is of the log up to there. */
export const CommittedLog = message(161, 'CommittedLog', { begin: lsn, commitLsn: lsn, history: list(epochEntry), bytes: rest }); // prettier-ignore
const computeBeat = { name: str, role: oneOf(COMPUTE_ROLES), state: str, epoch: u64, host: str, port: u16, receivedLsn: lsn, replayLsn: lsn, lagMs: u32, priority: u8, failover: bool, xmin: u64, catalogXmin: u64, checkpointAfter: lsn, resigned: oneOf(RESIGNATIONS), successor: str }; // prettier-ignore
/** A compute says that it lives, and how it is. */
export const Beat = message(162, 'Beat', computeBeat, COMPUTES_BYTES_MAX);
const knownCompute = struct('KnownCompute', { ...computeBeat, ageMs: u32, connected: bool });
/** All computes that this node has heard of lately, and who was promised the newest epoch. */
export const ComputesKnown = message(163, 'ComputesKnown', { promisedEpoch: u64, promisedTo: str, commitLsn: lsn, computes: list(knownCompute) }, COMPUTES_BYTES_MAX); // prettier-ignore
/** The same for tools, which have nothing to say of themselves. */
export const GetComputes = message(164, 'GetComputes', {});

export interface Frame {
  readonly message: Message<Shape>;
  readonly branch: number;
  readonly requestId: number;
  /** Of the type that `message` declares; narrow with `isFrameOf`. */
  readonly body: unknown;
}

export function encodeFrame<S extends Shape>(
  message: Message<S>,
  body: Of<S>,
  requestId = 0,
  branch = 0,
): Buffer {
  const out = message.struct.encode(body, HEADER_BYTES);
  out.writeUInt8(PROTOCOL_VERSION, 0);
  out.writeUInt8(message.code, 1);
  out.writeUInt16LE(0, 2);
  out.writeUInt32LE(branch, 4);
  out.writeUInt32LE(requestId, 8);
  return out;
}

/** Throws WIRE_SHORT, WIRE_VERSION, WIRE_UNKNOWN_CODE, WIRE_TOO_LONG, WIRE_TRAILING or WIRE_BAD_VALUE. */
export function decodeFrame(buf: Buffer): Frame {
  if (buf.length < HEADER_BYTES)
    throw new DbError('WIRE_SHORT', `a frame of ${buf.length} bytes has no header`);
  const version = buf.readUInt8(0);
  if (version !== PROTOCOL_VERSION)
    throw new DbError('WIRE_VERSION', `protocol version ${version}, this side speaks ${PROTOCOL_VERSION}`, {
      hint: 'Run the same release on every node and compute.',
    });
  const found = byCode.get(buf.readUInt8(1));
  if (!found) throw new DbError('WIRE_UNKNOWN_CODE', `unknown message code ${buf.readUInt8(1)}`);
  if (buf.length > found.bytesMax)
    throw new DbError(
      'WIRE_TOO_LONG',
      `a ${found.name} of ${buf.length} bytes, at most ${found.bytesMax} are allowed`,
    );
  return {
    message: found,
    branch: buf.readUInt32LE(4),
    requestId: buf.readUInt32LE(8),
    body: found.struct.decode(buf, HEADER_BYTES),
  };
}

export function isFrameOf<S extends Shape>(
  frame: Frame,
  message: Message<S>,
): frame is Frame & { readonly body: Of<S> } {
  return frame.message.code === message.code;
}
