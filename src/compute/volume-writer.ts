import { EventEmitter } from 'node:events';
import type { Logger } from 'pino';
import { DbError, errorMessage } from '../engine/errors.js';
import { formatLsn, lsn, type Lsn } from '../engine/lsn.js';
import type { AppendAnswer } from '../engine/quorum/types.js';
import type { WriterCore } from '../engine/quorum/writer.js';
import { RecordBoundaryScanner } from '../engine/wal/boundary.js';
import { encodeAppend, type AckEvent, type StorageClient } from '../net/storage-client.js';
import { begun, committed } from './commit-wait.js';
import { HistoryReader } from './history-reader.js';
import { LogBuffer } from './log-buffer.js';
import { PageProgress } from './page-progress.js';
import type { StorageLinks } from './storage-links.js';

/** Bytes sent in one append when a node is behind. */
const CATCH_UP_BYTES = 1024 * 1024;
/** Held back behind an unacknowledged append at most. */
const HELD_BACK_BYTES = 256 * 1024;
/** A node with more than this in its socket is not sent more for now. */
const SOCKET_BYTES_MAX = 16 * 1024 * 1024;
/** Log kept for nodes that are behind; one that needs older log fetches it from its peers. */
const KEEP_BYTES = 64 * 1024 * 1024;
/** Whole records that are not yet committed: above this PostgreSQL's stream is paused. */
export const BACKLOG_BYTES_MAX = 32 * 1024 * 1024;
const HEARTBEAT_MS = 1000;
/** commitNewsMs while nobody waits for it. */
const COMMIT_NEWS_MS = 20;
/** With replicas: they see a commit no sooner. */
export const COMMIT_NEWS_REPLICAS_MS = 2;

export interface VolumeWriterEvents {
  /** The log is committed up to here. */
  commit: [Lsn];
  /** Another writer has a newer epoch: nothing of ours will ever be acknowledged again. */
  fenced: [DbError];
  closed: [];
}

/** The elected writer of a volume: sends its log to all nodes and learns what is committed. Made by elect() (election.ts). */
export class VolumeWriter extends EventEmitter<VolumeWriterEvents> {
  private readonly buffer: LogBuffer;
  private readonly scanner: RecordBoundaryScanner;
  private readonly pumping = new Set<StorageClient>();
  private readonly starting = new Set<StorageClient>();
  /** Takes our listeners off a client again: connections outlive this writer. */
  private readonly detach = new Map<StorageClient, () => void>();
  /** Why a node did not start the epoch, so that the log says it once. */
  private readonly startFailures = new Map<string, string>();
  /** Generation that is settled, as each node was last told (membership.ts). */
  private readonly told = new Map<string, number>();
  /** Of the configuration that all nodes have been asked to start the epoch in. */
  private generation: number;
  private readonly pages: PageProgress;
  private readonly history: HistoryReader;
  private readonly heartbeat: NodeJS.Timeout;
  private commitNews: NodeJS.Timeout | null = null;
  private lastCommitSent = 0;
  private sendScheduled = false;
  private lastFrame: { begin: Lsn; end: Lsn; commitLsn: Lsn; frame: Buffer } | null = null;
  private closed = false;
  private fencedError: DbError | null = null;
  /** Since when the commit LSN has not moved although records wait for it. */
  private waitingSinceMs = 0;
  sentBytes = 0;
  /** How soon nodes hear of a new commit LSN when no append carries it. */
  commitNewsMs: number = COMMIT_NEWS_MS;

  constructor(
    private readonly core: WriterCore,
    private readonly links: StorageLinks,
    private readonly log: Logger,
    segmentSize: number,
  ) {
    super();
    this.generation = core.quorum.generation;
    this.pages = new PageProgress(core, links);
    this.history = new HistoryReader(core, links, log, CATCH_UP_BYTES);
    this.buffer = new LogBuffer(core.startLsn);
    this.scanner = new RecordBoundaryScanner(core.startLsn, segmentSize);
    links.on('up', this.nodeUp);
    links.on('down', this.nodeDown);
    this.heartbeat = setInterval(() => this.beat(), HEARTBEAT_MS);
    for (const client of links.connected()) this.nodeUp(client);
  }

  get epoch(): number {
    return this.core.epoch;
  }

  get startLsn(): Lsn {
    return this.core.startLsn;
  }

  get commitLsn(): Lsn {
    return this.core.commitLsn;
  }

  get endLsn(): Lsn {
    return this.buffer.end;
  }

  /** The last complete record of the log; its end is endLsn unless PostgreSQL's stream broke off within a record. */
  get lastRecord(): { start: Lsn; end: Lsn } {
    return { start: this.scanner.recordStart, end: this.scanner.recordEnd };
  }

  /** Bytes that no write quorum holds yet. */
  get uncommittedBytes(): number {
    return this.buffer.end - this.committedEnd;
  }

  /**
   * The same for whole records only. This is what back-pressure goes by: a record longer than any limit can only be committed after
   * all of it has come.
   */
  get backlogBytes(): number {
    return this.scanner.recordEnd - this.committedEnd;
  }

  /** How long records have waited without any of them being committed. */
  get stalledForMs(): number {
    return this.backlogBytes > 0 ? performance.now() - this.waitingSinceMs : 0;
  }

  get isFenced(): boolean {
    return this.core.phase === 'fenced';
  }

  /** Why this writer is over, once it is fenced. */
  get fencedBy(): DbError | null {
    return this.fencedError;
  }

  get isClosed(): boolean {
    return this.closed;
  }

  /** See WriterCore.isOrphaned(). */
  get isOrphaned(): boolean {
    return this.core.isOrphaned(this.links.connected().map(({ nodeId }) => nodeId));
  }

  /** Voters, how many of them are connected, and how many must hold the log. */
  get quorum(): { voters: number; connected: number; needed: number } {
    const { voters, writeQuorum } = this.core.quorum;
    const connected = this.links.connected().filter(({ nodeId }) => voters.includes(nodeId)).length;
    return { voters: voters.length, connected, needed: writeQuorum };
  }

  private get committedEnd(): Lsn {
    return lsn(Math.max(this.core.commitLsn, this.core.startLsn));
  }

  /** What each node has, for status. */
  nodes(): { nodeId: string; connected: boolean; scl: Lsn; applied: Lsn | null }[] {
    const connected = new Set(this.links.connected().map((c) => c.nodeId));
    return this.core.allProgress().map((p) => ({
      nodeId: p.nodeId,
      connected: connected.has(p.nodeId),
      scl: p.scl,
      applied: this.pages.appliedBy(p.nodeId),
    }));
  }

  /** See PageProgress.ofQuorum. */
  get progressOfPages(): { applied: Lsn; lag: number } | null {
    return this.pages.ofQuorum;
  }

  /** Takes bytes at the log's end and sends them to every node that has all before them. The buffer must not change afterwards. */
  append(begin: Lsn, bytes: Buffer): void {
    if (this.closed || this.isFenced) return;
    if (begin !== this.buffer.end) {
      throw new DbError(
        'BUG_LOG_GAP',
        `WAL at ${formatLsn(begin)} does not follow the log's end ${formatLsn(this.buffer.end)}`,
      );
    }
    if (this.backlogBytes === 0) this.waitingSinceMs = performance.now();
    this.buffer.push(bytes);
    this.scanner.push(begin, bytes);
    this.core.appended(this.buffer.end, this.scanner.recordEnd);
    if (this.sendScheduled) return;
    // One read of PostgreSQL's socket may hold the WAL of many commits: they go out together, once it is taken apart.
    this.sendScheduled = true;
    queueMicrotask(() => {
      this.sendScheduled = false;
      for (const client of this.links.connected()) this.sendNew(client);
    });
  }

  /**
   * Sends a node what it has not been sent yet. While it has an append to acknowledge, more is held back until it has (or until there
   * is much of it): under load the commits of one round trip make one append, by themselves, and a lone commit waits for nothing.
   */
  private sendNew(client: StorageClient): void {
    if (this.closed || this.isFenced || this.pumping.has(client)) return;
    const { started, nextLsn, scl } = this.core.progress(client.nodeId);
    const pending = this.buffer.end - nextLsn;
    if (!started || pending <= 0) return;
    if (pending > CATCH_UP_BYTES || nextLsn < this.buffer.begin || client.bufferedAmount > SOCKET_BYTES_MAX) {
      this.startPump(client);
    } else if (nextLsn <= scl || pending >= HELD_BACK_BYTES) {
      const { epoch, begin, end, commitLsn } = this.core.nextAppend(client.nodeId, pending)!;
      const frame = this.encode(epoch, begin, end, commitLsn);
      this.lastCommitSent = commitLsn;
      client.appendEncoded(frame);
      this.sentBytes += frame.length;
    }
  }

  /** Nodes in step are sent the same frame. */
  private encode(epoch: number, begin: Lsn, end: Lsn, commitLsn: Lsn): Buffer {
    const last = this.lastFrame;
    if (last && last.begin === begin && last.end === end && last.commitLsn === commitLsn) return last.frame;
    const frame = encodeAppend({ epoch, begin, commitLsn, bytes: this.buffer.slice(begin, end) });
    this.lastFrame = { begin, end, commitLsn, frame };
    return frame;
  }

  /** Resolves once the log is committed up to `target`. Rejects with EPOCH_FENCED, COMPUTE_STOPPED, or QUORUM_LOST after the timeout. */
  committed(target: Lsn, timeoutMs: number): Promise<void> {
    return committed(this, target, timeoutMs);
  }

  /** As committed(), for the first record of the epoch. Rejects with EPOCH_ORPHANED when a new election should be tried instead. */
  begun(target: Lsn, timeoutMs: number): Promise<void> {
    return begun(this, target, timeoutMs);
  }

  /** Durable log [begin, end) of this epoch's history. Throws NODE_NONE_READABLE. */
  readLog(begin: Lsn, end: Lsn): Promise<Buffer> {
    return this.history.read(begin, end);
  }

  /** Ends all sending. Safe to repeat. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    for (const off of this.detach.values()) off();
    this.detach.clear();
    this.emit('closed');
    clearInterval(this.heartbeat);
    if (this.commitNews) clearTimeout(this.commitNews);
    this.links.off('up', this.nodeUp);
    this.links.off('down', this.nodeDown);
  }

  private readonly nodeUp = (client: StorageClient): void => {
    if (this.detach.has(client)) return;
    const answered = (answer: AppendAnswer): void => {
      const { started } = this.core.progress(client.nodeId);
      this.step(client, () => this.core.onAppendAnswer(client.nodeId, answer));
      // It holds a newer configuration, which it tells when it refuses ours.
      if (started && !this.core.progress(client.nodeId).started) void this.start(client);
    };
    const onAck = (ack: AckEvent): void => {
      this.pages.note(client.nodeId, ack.appliedLsn);
      answered(ack);
      this.sendNew(client);
    };
    const onGap = (gap: AppendAnswer): void => {
      answered(gap);
      this.startPump(client);
    };
    client.on('ack', onAck).on('refused', answered).on('gap', onGap).on('notStarted', answered);
    this.detach.set(client, () => {
      client.off('ack', onAck).off('refused', answered).off('gap', onGap).off('notStarted', answered);
    });
    this.core.reconnected(client.nodeId);
    void this.start(client);
  };

  private readonly nodeDown = (client: StorageClient): void => {
    this.detach.get(client)?.();
    this.detach.delete(client);
    this.core.reconnected(client.nodeId);
  };

  /** Tells a node the epoch's history, then sends it what it lacks. A node that cannot start it is asked again with each heartbeat. */
  private async start(client: StorageClient): Promise<void> {
    const message = this.core.startEpoch(client.nodeId);
    if (!message || this.closed || this.starting.has(client)) return;
    this.starting.add(client);
    try {
      const answer = await client.startEpoch(message);
      this.startFailures.delete(client.nodeId);
      this.step(client, () => this.core.onStartEpochAnswer(client.nodeId, answer));
    } catch (err) {
      const why = errorMessage(err);
      if (!this.closed && this.startFailures.get(client.nodeId) !== why)
        this.log.warn({ node: client.nodeId, err: why }, 'storage node did not start the epoch');
      this.startFailures.set(client.nodeId, why);
    } finally {
      this.starting.delete(client);
    }
    // Another configuration, or another life of the node, came meanwhile: what was asked is out of date.
    const now = this.core.startEpoch(client.nodeId);
    if (now && now.handshake !== message.handshake && client.isOpen) void this.start(client);
    else this.startPump(client);
  }

  /** The core follows a newer configuration: so do the connections, and every node is to start the epoch in it. */
  private followConfiguration(): void {
    const { configuration } = this.core.quorum;
    if (!configuration || configuration.generation <= this.generation) return;
    this.generation = configuration.generation;
    this.links.follow(configuration);
    for (const client of this.links.connected()) void this.start(client);
  }

  /** Nodes are told, until each has answered, that the configuration is settled: then the next change may begin. */
  private tellSettled(): void {
    const { settled, quorum } = this.core;
    const { configuration } = quorum;
    if (!configuration || settled !== configuration.generation) return;
    for (const client of this.links.connected()) {
      const { nodeId } = client;
      if ((this.told.get(nodeId) ?? 0) >= settled) continue;
      this.told.set(nodeId, settled);
      client.configure({ configuration, settled }).catch((err: unknown) => {
        this.told.delete(nodeId); // with the next heartbeat again
        this.log.debug({ node: nodeId, err: errorMessage(err) }, 'a node was not told that all is settled');
      });
    }
  }

  private step(client: StorageClient, change: () => void): void {
    if (this.closed) return;
    const before = this.core.commitLsn;
    change();
    if (this.core.phase === 'fenced') {
      if (this.fencedError) return;
      this.fencedError = new DbError(
        'EPOCH_FENCED',
        `epoch ${this.core.epoch} is over: storage node ${client.nodeId} has promised epoch ${this.core.highestEpochSeen} to another writer`,
      );
      this.emit('fenced', this.fencedError);
      return;
    }
    this.followConfiguration();
    this.tellSettled();
    if (this.core.commitLsn > before) {
      this.waitingSinceMs = performance.now();
      this.trim();
      this.emit('commit', this.core.commitLsn);
      this.commitNews ??= setTimeout(() => {
        this.commitNews = null;
        if (this.lastCommitSent < this.core.commitLsn) this.beat();
      }, this.commitNewsMs);
    }
  }

  /** Empty appends: they carry the commit LSN, and their answers show that the node lives. */
  private beat(): void {
    this.tellSettled();
    for (const client of this.links.connected()) {
      const progress = this.core.progress(client.nodeId);
      if (!progress.started) void this.start(client);
      if (!progress.started || this.pumping.has(client)) continue;
      this.lastCommitSent = this.core.commitLsn;
      client.append({
        epoch: this.core.epoch,
        begin: progress.nextLsn,
        commitLsn: this.core.commitLsn,
        bytes: Buffer.alloc(0),
      });
      this.startPump(client);
    }
  }

  private startPump(client: StorageClient): void {
    if (this.closed || this.pumping.has(client)) return;
    const { started, nextLsn } = this.core.progress(client.nodeId);
    if (!started || nextLsn >= this.buffer.end) return;
    this.pumping.add(client);
    this.pump(client).catch((err: unknown) => {
      this.log.warn(
        { node: client.nodeId, err: errorMessage(err) },
        'could not send a storage node the log that it lacks',
      );
      this.core.resend(client.nodeId);
    });
  }

  /** Sends a node all that it lacks: from the buffer, or (log of before this epoch, or long gone) from another node. */
  private async pump(client: StorageClient): Promise<void> {
    const { nodeId } = client;
    try {
      while (!this.closed && client.isOpen && this.core.phase === 'leading') {
        const { started, nextLsn } = this.core.progress(nodeId);
        if (!started || nextLsn >= this.buffer.end) return;
        if (client.bufferedAmount > SOCKET_BYTES_MAX) return; // the next acknowledgement or heartbeat comes back here
        if (nextLsn < this.buffer.begin) {
          const bytes = await this.history.piece(nextLsn, this.buffer.begin, nodeId);
          if (!bytes) return; // it fetches from its peers by itself; its acknowledgements will tell
          // While we waited it may have been connected anew, or have got these bytes from a peer.
          const now = this.core.progress(nodeId);
          if (!client.isOpen || !now.started || now.nextLsn !== nextLsn) continue;
          this.core.nextAppend(nodeId, bytes.length);
          this.send(client, nextLsn, bytes);
        } else {
          const message = this.core.nextAppend(nodeId, CATCH_UP_BYTES);
          if (!message) return;
          this.send(client, message.begin, this.buffer.slice(message.begin, message.end));
        }
      }
    } finally {
      this.pumping.delete(client); // at once: an append that came a moment later would wait for the next heartbeat
    }
  }

  private send(client: StorageClient, begin: Lsn, bytes: Buffer): void {
    client.append({ epoch: this.core.epoch, begin, commitLsn: this.core.commitLsn, bytes });
    this.sentBytes += bytes.length;
  }

  /** Keeps what some connected node still lacks, within bounds; never drops what is not committed. */
  private trim(): void {
    const connected = new Set(this.links.connected().map((c) => c.nodeId));
    let keepFrom: number = this.core.commitLsn;
    for (const p of this.core.allProgress())
      if (connected.has(p.nodeId) && p.started) keepFrom = Math.min(keepFrom, p.scl);
    this.buffer.trim(lsn(Math.min(this.core.commitLsn, Math.max(keepFrom, this.buffer.end - KEEP_BYTES))));
  }
}
