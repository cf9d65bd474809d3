import { EventEmitter } from 'node:events';
import type { Logger } from 'pino';
import { DbError, errorMessage } from '../engine/errors.js';
import { formatLsn, lsn, type Lsn } from '../engine/lsn.js';
import type { QuorumConfig } from '../engine/quorum/config.js';
import type { AppendAnswer } from '../engine/quorum/types.js';
import type { WriterCore } from '../engine/quorum/writer.js';
import { RecordBoundaryScanner } from '../engine/wal/boundary.js';
import { encodeAppend, type StorageClient } from '../net/storage-client.js';
import { LogBuffer } from './log-buffer.js';
import type { StorageLinks } from './storage-links.js';

/** Bytes sent in one append when a node is behind. */
const CATCH_UP_BYTES = 1024 * 1024;
/** A node with more than this in its socket is not sent more for now. */
const SOCKET_BYTES_MAX = 16 * 1024 * 1024;
/** Log kept for nodes that are behind; one that needs older log fetches it from its peers. */
const KEEP_BYTES = 64 * 1024 * 1024;
/** Log that is not yet committed: above this PostgreSQL's stream is paused. */
export const UNCOMMITTED_BYTES_MAX = 32 * 1024 * 1024;
const HEARTBEAT_MS = 1000;
/** How soon nodes hear of a new commit LSN when no append carries it. */
const COMMIT_NEWS_MS = 20;

interface VolumeWriterEvents {
  /** The log is committed up to here. */
  commit: [Lsn];
  /** Another writer has a newer epoch: nothing of ours will ever be acknowledged again. */
  fenced: [DbError];
}

/** The elected writer of a volume: sends its log to all nodes and learns what is committed. Made by elect() (election.ts). */
export class VolumeWriter extends EventEmitter<VolumeWriterEvents> {
  private readonly buffer: LogBuffer;
  private readonly scanner: RecordBoundaryScanner;
  private readonly pumping = new Set<string>();
  private readonly applied = new Map<string, Lsn>();
  private readonly heartbeat: NodeJS.Timeout;
  private commitNews: NodeJS.Timeout | null = null;
  private lastCommitSent = 0;
  private closed = false;
  private fencedError: DbError | null = null;
  sentBytes = 0;

  constructor(
    private readonly core: WriterCore,
    private readonly config: QuorumConfig,
    private readonly links: StorageLinks,
    private readonly log: Logger,
    segmentSize: number,
  ) {
    super();
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

  /** Bytes that no write quorum holds yet. */
  get uncommittedBytes(): number {
    return this.buffer.end - Math.max(this.core.commitLsn, this.core.startLsn);
  }

  get isFenced(): boolean {
    return this.core.phase === 'fenced';
  }

  /** What each node has, for status. */
  nodes(): { nodeId: string; connected: boolean; scl: Lsn; applied: Lsn | null }[] {
    const connected = new Set(this.links.connected().map((c) => c.nodeId));
    return this.core.allProgress().map((p) => ({
      nodeId: p.nodeId,
      connected: connected.has(p.nodeId),
      scl: p.scl,
      applied: this.applied.get(p.nodeId) ?? null,
    }));
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
    this.buffer.push(bytes);
    this.scanner.push(begin, bytes);
    this.core.appended(this.buffer.end, this.scanner.recordEnd);
    let frame: Buffer | null = null;
    for (const client of this.links.connected()) {
      const progress = this.core.progress(client.nodeId);
      if (!progress.started) continue;
      if (
        progress.nextLsn !== begin ||
        this.pumping.has(client.nodeId) ||
        client.bufferedAmount > SOCKET_BYTES_MAX
      ) {
        this.startPump(client);
        continue;
      }
      const message = this.core.nextAppend(client.nodeId, bytes.length)!;
      frame ??= encodeAppend({ epoch: message.epoch, begin, commitLsn: message.commitLsn, bytes });
      this.lastCommitSent = message.commitLsn;
      client.appendEncoded(frame);
      this.sentBytes += frame.length;
    }
  }

  /** Resolves once the log is committed up to `target`. Rejects with EPOCH_FENCED, or QUORUM_LOST after the timeout. */
  async committed(target: Lsn, timeoutMs: number): Promise<void> {
    if (this.core.commitLsn >= target) return;
    await new Promise<void>((resolve, reject) => {
      const done = (err?: DbError): void => {
        clearTimeout(timer);
        this.off('commit', onCommit);
        this.off('fenced', done);
        if (err) reject(err);
        else resolve();
      };
      const onCommit = (at: Lsn): void => {
        if (at >= target) done();
      };
      const timer = setTimeout(() => {
        const up = this.links.connected().length;
        done(
          new DbError(
            'QUORUM_LOST',
            `no write quorum: ${up} of ${this.config.voters.length} storage nodes are connected, ${this.config.writeQuorum} must hold the log`,
            {
              hint: 'Start the missing storage nodes; look at them with: aurora status',
            },
          ),
        );
      }, timeoutMs);
      this.on('commit', onCommit);
      this.on('fenced', done);
      if (this.fencedError) done(this.fencedError);
    });
  }

  close(): void {
    this.closed = true;
    clearInterval(this.heartbeat);
    if (this.commitNews) clearTimeout(this.commitNews);
    this.links.off('up', this.nodeUp);
    this.links.off('down', this.nodeDown);
  }

  private readonly nodeUp = (client: StorageClient): void => {
    const answered = (answer: AppendAnswer): void =>
      this.step(client, () => this.core.onAppendAnswer(client.nodeId, answer));
    client.on('ack', (ack) => {
      this.applied.set(client.nodeId, ack.appliedLsn);
      answered(ack);
    });
    client.on('refused', answered);
    client.on('gap', (gap) => {
      answered(gap);
      this.startPump(client);
    });
    client.on('notStarted', (answer) => {
      answered(answer);
      void this.start(client);
    });
    this.core.reconnected(client.nodeId);
    void this.start(client);
  };

  private readonly nodeDown = (client: StorageClient): void => {
    this.core.reconnected(client.nodeId);
  };

  /** Tells a node the epoch's history, then sends it what it lacks. */
  private async start(client: StorageClient): Promise<void> {
    const message = this.core.startEpoch(client.nodeId);
    if (!message || this.closed) return;
    try {
      const answer = await client.startEpoch(message);
      this.step(client, () => this.core.onStartEpochAnswer(client.nodeId, answer));
      this.startPump(client);
    } catch (err) {
      this.log.warn({ node: client.nodeId, err: errorMessage(err) }, 'storage node did not start the epoch');
      client.destroy(); // the link connects anew and tries again
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
    if (this.core.commitLsn > before) {
      this.trim();
      this.emit('commit', this.core.commitLsn);
      this.commitNews ??= setTimeout(() => {
        this.commitNews = null;
        if (this.lastCommitSent < this.core.commitLsn) this.beat();
      }, COMMIT_NEWS_MS);
    }
  }

  /** Empty appends: they carry the commit LSN, and their answers show that the node lives. */
  private beat(): void {
    for (const client of this.links.connected()) {
      const progress = this.core.progress(client.nodeId);
      if (!progress.started || this.pumping.has(client.nodeId)) continue;
      this.lastCommitSent = this.core.commitLsn;
      client.append({
        epoch: this.core.epoch,
        begin: progress.nextLsn,
        commitLsn: this.core.commitLsn,
        bytes: Buffer.alloc(0),
      });
      if (progress.nextLsn < this.buffer.end) this.startPump(client);
    }
  }

  private startPump(client: StorageClient): void {
    if (this.pumping.has(client.nodeId)) return;
    this.pumping.add(client.nodeId);
    this.pump(client)
      .catch((err: unknown) => {
        this.log.warn(
          { node: client.nodeId, err: errorMessage(err) },
          'could not send a storage node the log that it lacks',
        );
        this.core.resend(client.nodeId);
      })
      .finally(() => this.pumping.delete(client.nodeId));
  }

  /** Sends a node all that it lacks: from the buffer, or (log of before this epoch, or long gone) from another node. */
  private async pump(client: StorageClient): Promise<void> {
    while (!this.closed && client.isOpen && this.core.phase === 'leading') {
      const progress = this.core.progress(client.nodeId);
      if (!progress.started || progress.nextLsn >= this.buffer.end) return;
      if (client.bufferedAmount > SOCKET_BYTES_MAX) return; // the next acknowledgement or heartbeat comes back here
      if (progress.nextLsn < this.buffer.begin) {
        const bytes = await this.readFromOthers(client, progress.nextLsn);
        if (!bytes) return; // it catches up from its peers by itself; heartbeats show it the gap
        this.sendTo(client, progress.nextLsn, bytes);
      } else {
        const message = this.core.nextAppend(client.nodeId, CATCH_UP_BYTES);
        if (!message) return;
        this.sendTo(client, message.begin, this.buffer.slice(message.begin, message.end));
      }
    }
  }

  private sendTo(client: StorageClient, begin: Lsn, bytes: Buffer): void {
    const at = this.core.progress(client.nodeId);
    if (at.nextLsn === begin) this.core.nextAppend(client.nodeId, bytes.length);
    client.append({ epoch: this.core.epoch, begin, commitLsn: this.core.commitLsn, bytes });
    this.sentBytes += bytes.length;
  }

  private async readFromOthers(client: StorageClient, begin: Lsn): Promise<Buffer | null> {
    const sources = this.core.sources(begin).filter((id) => id !== client.nodeId);
    for (const source of this.links.connected().filter((c) => sources.includes(c.nodeId))) {
      const end = lsn(Math.min(begin + CATCH_UP_BYTES, this.buffer.begin));
      const { bytes } = await source.readLog({ begin, end, maxBytes: CATCH_UP_BYTES });
      if (bytes.length > 0) return bytes;
    }
    return null;
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
