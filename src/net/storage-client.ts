import { EventEmitter } from 'node:events';
import { DbError } from '../engine/errors.js';
import { formatLsn, INVALID_LSN, type Lsn } from '../engine/lsn.js';
import type {
  AppendAnswer,
  EpochHistory,
  PromiseAnswer,
  PromiseRequest,
  RegisterAnswer,
  RegisterRequest,
  StartEpoch,
  StartEpochAnswer,
} from '../engine/quorum/types.js';
import type { RunDigest, ScrubRun } from '../engine/pages/scrub.js';
import type { Configuration } from '../engine/quorum/membership.js';
import type { ControlState } from '../engine/control/state.js';
import type { ComputeBeat, ComputesView } from '../engine/computes/types.js';
import type { GossipMessage, GossipView } from '../engine/gossip/types.js';
import type { BaseImage, BaseRow } from '../engine/pages/base.js';
import type { DataDirManifest, VersionInfo } from '../engine/pages/types.js';
import { decodeBaseRows } from './base-codec.js';
import { errorOf, type Connection } from './connection.js';
import { dial, type DialOptions, type Endpoint } from './dial.js';
import { gossipMessage } from './gossip-codec.js';
import { decodeManifest } from './manifest-codec.js';
import * as m from './messages.js';
import { learnerOf } from './learner.js';
import type { NodeStatus } from './node-status.js';
import type { Of, Shape } from './wire.js';

export type { Endpoint } from './dial.js';

export interface StorageClientOptions extends DialOptions {
  /** For requests that do not say; 0 = none. */
  requestTimeoutMs?: number;
}

export interface PageRun {
  spcOid: number;
  dbOid: number;
  relNumber: number;
  fork: number;
  /** First block. */
  blkno: number;
  count: number;
  /** As of this LSN: the node waits until it has applied that far. */
  lsn: Lsn;
}

export interface AppendRequest {
  epoch: number;
  /** Where `bytes` go. Empty bytes: a heartbeat that carries commitLsn. */
  begin: Lsn;
  commitLsn: Lsn;
  bytes: Buffer;
}

type AnswerOf<K> = Extract<AppendAnswer, { kind: K }>;
/** What WriterCore takes, and how far the node has applied. */
export type AckEvent = AnswerOf<'accepted'> & { readonly appliedLsn: Lsn };
export type LogTailReply = m.BodyOf<typeof m.LogTail>;
/** `bytes` may be shorter than asked: up to maxBytes, the node's log end, or a damaged range. `history` holds for them. */
export interface LogBytesReply {
  readonly begin: Lsn;
  readonly scl: Lsn;
  readonly history: EpochHistory;
  readonly bytes: Buffer;
}

/** The first four are the answers to appends, of the types that WriterCore takes. */
interface StorageClientEvents {
  /** After a sync on the node: all log below `scl` is durable there, in this epoch. */
  ack: [AckEvent];
  /** The node has promised a newer epoch: this writer is fenced. */
  refused: [AnswerOf<'refused'>];
  /** An append began beyond the node's log end: send from `expected` on. */
  gap: [AnswerOf<'gap'>];
  /** The node has not adopted this epoch's history: send startEpoch. */
  notStarted: [AnswerOf<'not-started'>];
  /** Between storage nodes. */
  gossip: [GossipMessage];
  /** Once; every outstanding request has been rejected with the same error before. Null after our own close(). */
  close: [DbError | null];
}

interface Waiting {
  answer: m.Message<Shape>;
  parts: Buffer[] | null;
  partBytes: number;
  resolve(body: unknown): void;
  reject(err: DbError): void;
  timer: NodeJS.Timeout | undefined;
}

/** An answer that the node may hold back takes no longer than that and this. */
const ANSWER_MARGIN_MS = 5000;

/**
 * One authenticated connection to one storage node. Requests may overlap; answers come in any order. Appends are
 * fire-and-forget: their results are the events. After `close` the client is spent: connect again (see ConnectionKeeper).
 */
export class StorageClient extends EventEmitter<StorageClientEvents> {
  private readonly waiting = new Map<number, Waiting>();
  private nextRequestId = 1;
  private closeError: DbError | null | undefined;

  private constructor(
    private readonly connection: Connection,
    /** The node that answered. */
    readonly nodeId: string,
    readonly endpoint: Endpoint,
    private readonly requestTimeoutMs: number,
  ) {
    super();
    connection.on('frame', (frame) => this.receive(frame));
    connection.on('close', (reason) => this.closed(reason));
  }

  /** Connects and authenticates; see dial() for what it throws. */
  static async connect(endpoint: Endpoint, options: StorageClientOptions): Promise<StorageClient> {
    const { connection, nodeId } = await dial(endpoint, options);
    return new StorageClient(connection, nodeId, endpoint, options.requestTimeoutMs ?? 30_000);
  }

  get isOpen(): boolean {
    return this.closeError === undefined;
  }

  /** Bytes sent but not yet taken by the kernel; a writer slows down or drops the node when it grows. */
  get bufferedAmount(): number {
    return this.connection.bufferedAmount;
  }

  async status(timeoutMs?: number): Promise<NodeStatus> {
    return (await this.request(m.GetStatus, {}, m.Status, timeoutMs)).status;
  }

  /** The node's view of all members. */
  async gossipView(timeoutMs?: number): Promise<GossipView> {
    return (await this.request(m.GetGossip, {}, m.GossipViewOf, timeoutMs)).view;
  }

  async promise(request: PromiseRequest): Promise<PromiseAnswer> {
    const { configuration = null } = request;
    const reply = await this.request(m.Promise_, { ...request, configuration }, m.PromiseReply);
    return { ...reply, learner: learnerOf(reply.learner), ...configurationText(reply) };
  }

  /** The node cuts its log to the common point with `history`, adopts it durably, and answers where its log now ends. */
  async startEpoch(message: StartEpoch): Promise<StartEpochAnswer> {
    const { life = 0, commitLsn = INVALID_LSN, configuration = null } = message;
    const body = { ...message, history: [...message.history], life, commitLsn, configuration };
    const reply = await this.request(m.StartEpoch, body, m.StartEpochReply);
    return { ...reply, learner: learnerOf(reply.learner), ...configurationText(reply) };
  }

  /** A node that lost its memory tells a peer which life it begins. */
  async register(request: RegisterRequest): Promise<RegisterAnswer> {
    const reply = await this.request(m.Register, request, m.Registered);
    return { ...reply, ...configurationText(reply) };
  }

  /** Tells a node the newest configuration, and how far they are settled. Answers what it then holds. */
  configure(
    told: { configuration: Configuration; settled: number },
    timeoutMs?: number,
  ): Promise<{ generation: number; settled: number }> {
    return this.request(m.Configure, told, m.Configured, timeoutMs);
  }

  /** The configuration that the node holds; null: fixed voters. */
  configuration(timeoutMs?: number): Promise<{ configuration: Configuration | null; settled: number }> {
    return this.request(m.GetConfiguration, {}, m.ConfigurationOf, timeoutMs);
  }

  append(request: AppendRequest): void {
    this.connection.sendEncoded(encodeAppend(request));
  }

  /** The same frame to several nodes without copying the log bytes again. */
  appendEncoded(frame: Buffer): void {
    this.connection.sendEncoded(frame);
  }

  /** A frame that has no answer (gossip). Dropped when the connection is closed. */
  sendEncoded(frame: Buffer): void {
    this.connection.sendEncoded(frame);
  }

  /**
   * Durable log from `begin`, at most to `end` and `maxBytes` long. A writer that copies its donor's tail says its epoch: the node then
   * refuses with EPOCH_STALE once it has promised a newer one, for its log may not be the donor's any more.
   * Throws LOG_GONE below logStart, LOG_DAMAGED.
   */
  readLog(request: { begin: Lsn; end: Lsn; maxBytes?: number; epoch?: number }): Promise<LogBytesReply> {
    return this.request(m.ReadLog, { maxBytes: m.APPEND_BYTES_MAX, epoch: 0, ...request }, m.LogBytes);
  }

  /** The last complete record of the node's log, and the log's end. `epoch` as for readLog: an elected writer must give it. */
  logTail(timeoutMs?: number, epoch = 0): Promise<LogTailReply> {
    return this.request(m.GetLogTail, { epoch }, m.LogTail, timeoutMs);
  }

  /** count * 8192 bytes, blocks in order; blocks beyond the relation's end are zeros. Throws INGEST_STOPPED, NODE_BEHIND. */
  async getPages(run: PageRun, timeoutMs?: number): Promise<Buffer> {
    return (await this.request(m.GetPages, run, m.Pages, timeoutMs)).bytes;
  }

  /** As getPages, for pages of an SLRU ('xact', 'multixact_offsets', ...). */
  async getSlruPages(
    run: { slru: string; pageno: number; count: number; lsn: Lsn },
    timeoutMs?: number,
  ): Promise<Buffer> {
    return (await this.request(m.GetSlruPages, run, m.Pages, timeoutMs)).bytes;
  }

  /** Blocks of the fork, or null when it does not exist at that LSN. */
  async relationSize(fork: Omit<PageRun, 'blkno' | 'count'>): Promise<number | null> {
    const reply = await this.request(m.GetRelationSize, fork, m.RelationSize);
    return reply.exists ? reply.nblocks : null;
  }

  /** The running checkpoint at `lsn`, which must be a record end of the node's log; works beyond applied, up to the log's end. */
  async controlState(request: { lsn: Lsn }, timeoutMs?: number): Promise<ControlState> {
    return (await this.request(m.GetControlState, request, m.ControlStateAt, timeoutMs)).state;
  }

  /** All that a data directory at `lsn` consists of; waits until the node has applied that far. */
  async manifest(request: { lsn: Lsn }, timeoutMs?: number): Promise<DataDirManifest> {
    return decodeManifest((await this.request(m.GetManifest, request, m.Part, timeoutMs)).bytes);
  }

  /**
   * Takes or renews a lease: the node keeps history from `lsn` on for as long as it is repeated within `ttlMs`. `horizon` is where the
   * node's history begins; a lease on less than that comes too late for the rest.
   */
  renewLease(
    lease: { name: string; lsn: Lsn },
    timeoutMs?: number,
  ): Promise<{ horizon: Lsn; ttlMs: number }> {
    return this.request(m.RenewLease, { ...lease, release: false }, m.LeaseHeld, timeoutMs);
  }

  async releaseLease(name: string, timeoutMs?: number): Promise<void> {
    await this.request(m.RenewLease, { name, lsn: INVALID_LSN, release: true }, m.LeaseHeld, timeoutMs);
  }

  /**
   * Committed log from `begin` on: nothing of it can ever be cut off. Waits for up to `waitMs` when there is none yet; then `bytes` is empty.
   * Throws LOG_GONE below the node's log.
   */
  readCommitted(request: {
    begin: Lsn;
    maxBytes: number;
    waitMs: number;
  }): Promise<m.BodyOf<typeof m.CommittedLog>> {
    return this.request(m.ReadCommitted, request, m.CommittedLog, request.waitMs + ANSWER_MARGIN_MS);
  }

  /** Says that this compute lives; the answer is what the node knows of all. */
  beat(beat: ComputeBeat, timeoutMs?: number): Promise<ComputesView> {
    return this.request(m.Beat, beat, m.ComputesKnown, timeoutMs);
  }

  /** What the node knows of the volume's computes. */
  computes(timeoutMs?: number): Promise<ComputesView> {
    return this.request(m.GetComputes, {}, m.ComputesKnown, timeoutMs);
  }

  /** All forks and facts as of `lsn`, as another page store begins with them. Throws PAGE_GONE_BY_GC, NODE_BEHIND. */
  async baseRows(request: { lsn: Lsn }, timeoutMs?: number): Promise<BaseRow[]> {
    return decodeBaseRows((await this.request(m.GetBaseRows, request, m.Part, timeoutMs)).bytes);
  }

  /** Pages as of `run.lsn` with the LSNs that they are so since; those never written are left out. */
  async basePages(run: PageRun, timeoutMs?: number): Promise<BaseImage[]> {
    return (await this.request(m.GetBasePages, run, m.BasePages, timeoutMs)).images;
  }

  /** As basePages, for pages of an SLRU. */
  async baseSlruPages(
    run: { slru: string; blkno: number; count: number; lsn: Lsn },
    timeoutMs?: number,
  ): Promise<BaseImage[]> {
    return (await this.request(m.GetBaseSlruPages, run, m.BasePages, timeoutMs)).images;
  }

  /** Checksums of the pages of a run as of `at`. Throws PAGE_GONE_BY_GC, NODE_BEHIND. */
  async pageDigests(run: ScrubRun, at: Lsn, timeoutMs?: number): Promise<RunDigest> {
    const { first: blkno, count } = run;
    const { crcs, unreadable } =
      run.kind === 'slru'
        ? await this.request(
            m.GetSlruDigests,
            { slru: run.slru, blkno, count, lsn: at },
            m.PageDigests,
            timeoutMs,
          )
        : await this.request(
            m.GetPageDigests,
            { ...run.rel, fork: run.fork, blkno, count, lsn: at },
            m.PageDigests,
            timeoutMs,
          );
    if (crcs.length !== 4 * count)
      throw new DbError(
        'NET_PROTOCOL',
        `node ${this.nodeId} sent ${crcs.length} bytes of digests for ${count} pages`,
      );
    return {
      crcs: Uint32Array.from({ length: count }, (_, i) => crcs.readUInt32LE(4 * i)),
      unreadable: new Set(unreadable.map((block) => block.blkno)),
    };
  }

  /** A checksum of all forks and facts as of `lsn`. */
  rowsDigest(request: { lsn: Lsn }, timeoutMs?: number): Promise<{ rows: number; crc: number }> {
    return this.request(m.GetRowsDigest, request, m.RowsDigest, timeoutMs);
  }

  /** Answers when applied >= lsn. Throws NODE_BEHIND after the timeout, INGEST_STOPPED. */
  async waitApplied(request: { lsn: Lsn; timeoutMs: number }): Promise<Lsn> {
    const reply = await this.request(m.WaitApplied, request, m.Applied, request.timeoutMs + 1000);
    return reply.appliedLsn;
  }

  /** Stored versions of one page, newest first, from `lsn` back to what the page is built from there. */
  async pageVersions(page: Omit<PageRun, 'count'>): Promise<VersionInfo[]> {
    return (await this.request(m.GetPageVersions, page, m.PageVersions)).versions;
  }

  /** Orderly; outstanding requests reject with NET_CLOSED. */
  close(): void {
    this.connection.close();
  }

  /** At once. */
  destroy(reason: DbError | null = null): void {
    this.connection.destroy(reason);
  }

  private request<Q extends Shape, A extends Shape>(
    question: m.Message<Q>,
    body: Of<Q>,
    answer: m.Message<A>,
    timeoutMs = this.requestTimeoutMs,
  ): Promise<Of<A>> {
    return new Promise((resolve, reject) => {
      if (this.closeError !== undefined) {
        reject(this.closeError ?? closedHere(this.nodeId));
        return;
      }
      const id = this.nextRequestId;
      this.nextRequestId = id === 0xffff_ffff ? 1 : id + 1;
      const what = `${question.name} to node ${this.nodeId}`;
      const late = (): void => {
        this.waiting.delete(id);
        reject(new DbError('NET_TIMEOUT', `${what}: no answer within ${timeoutMs} ms`));
      };
      this.waiting.set(id, {
        answer: answer as unknown as m.Message<Shape>,
        parts: answer.code === m.Part.code ? [] : null,
        partBytes: 0,
        resolve: (value) => resolve(value as Of<A>),
        reject,
        timer: timeoutMs > 0 ? setTimeout(late, timeoutMs) : undefined,
      });
      this.connection.send(question, body, id);
    });
  }

  private receive(frame: m.Frame): void {
    if (frame.requestId === 0) {
      if (m.isFrameOf(frame, m.Ack))
        this.emit('ack', { kind: 'accepted', ...frame.body, learner: learnerOf(frame.body.learner) });
      else if (m.isFrameOf(frame, m.Refused)) this.emit('refused', { kind: 'refused', ...frame.body });
      else if (m.isFrameOf(frame, m.Gap)) this.emit('gap', { kind: 'gap', ...frame.body });
      else if (m.isFrameOf(frame, m.NotStarted))
        this.emit('notStarted', { kind: 'not-started', ...frame.body });
      else if (m.isFrameOf(frame, m.Gossip)) this.emit('gossip', gossipMessage(frame.body));
      else this.protocolError(frame);
      return;
    }
    const entry = this.waiting.get(frame.requestId);
    if (!entry) return; // it timed out here; the answer is late
    if (m.isFrameOf(frame, m.Failure)) {
      this.settle(frame.requestId, entry);
      entry.reject(errorOf(frame.body));
    } else if (entry.answer.code !== frame.message.code) {
      this.protocolError(frame);
    } else if (entry.parts && m.isFrameOf(frame, m.Part)) {
      entry.parts.push(frame.body.bytes);
      entry.partBytes += frame.body.bytes.length;
      if (entry.partBytes > m.PARTS_BYTES_MAX) this.protocolError(frame);
      else if (frame.body.last) {
        this.settle(frame.requestId, entry);
        entry.resolve({ last: true, bytes: Buffer.concat(entry.parts) });
      }
    } else {
      this.settle(frame.requestId, entry);
      entry.resolve(frame.body);
    }
  }

  private settle(id: number, entry: Waiting): void {
    clearTimeout(entry.timer);
    this.waiting.delete(id);
  }

  private protocolError(frame: m.Frame): void {
    this.destroy(new DbError('NET_PROTOCOL', `node ${this.nodeId} sent an unexpected ${frame.message.name}`));
  }

  private closed(reason: DbError | null): void {
    this.closeError = reason;
    for (const [id, entry] of [...this.waiting]) {
      this.settle(id, entry);
      entry.reject(reason ?? closedHere(this.nodeId));
    }
    this.emit('close', reason);
  }
}

/** On the wire a configuration is always there, if only as null. */
function configurationText(reply: { configuration: Configuration | null }): {
  configuration: Configuration | undefined;
} {
  return { configuration: reply.configuration ?? undefined };
}

/** One Append as a frame, for appendEncoded. Throws NET_FRAME_TOO_LONG beyond APPEND_BYTES_MAX. */
export function encodeAppend(request: AppendRequest): Buffer {
  if (request.bytes.length > m.APPEND_BYTES_MAX)
    throw new DbError(
      'NET_FRAME_TOO_LONG',
      `append of ${request.bytes.length} bytes at ${formatLsn(request.begin)}`,
    );
  return m.encodeFrame(m.Append, request);
}

function closedHere(nodeId: string): DbError {
  return new DbError('NET_CLOSED', `the connection to node ${nodeId} was closed`);
}
