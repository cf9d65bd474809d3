import { promises as fs } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { EventEmitter, once } from 'node:events';
import type { Logger } from 'pino';
import { DbError, errorMessage } from '../engine/errors.js';
import { formatLsn, INVALID_LSN, lsn, type Lsn } from '../engine/lsn.js';
import {
  backend,
  FrontendReader,
  garbled,
  parseCommand,
  parseStandbyMessage,
  type FrontendMessage,
  type HotStandbyFeedback,
  type StandbyStatus,
} from './replication-codec.js';
import type { FileOwner } from './remote-files.js';

/** WAL bytes of one XLogData message, as PostgreSQL's own walsender has it. A multiple of the WAL page size. */
const WAL_BYTES_MAX = 128 * 1024;
/** How soon a standby that has not replayed all is asked again how far it is. */
const ASK_MS = 100;
const KEEPALIVE_MS = 1000;
const STARTUP_MS = 10_000;

/** Where the server has the log from. */
export interface CommittedSource {
  /** Highest commit LSN known. */
  readonly commitLsn: Lsn;
  /** Committed log from `begin` on, without end; ends with the signal, throws when there is no such log any more. */
  read(begin: Lsn, signal: AbortSignal): AsyncIterable<{ begin: Lsn; bytes: Buffer; commitLsn: Lsn }>;
}

export interface ReplicationServerOptions {
  /** libpq's name for the socket: FOLDER/.s.PGSQL.PORT. */
  socketPath: string;
  /** Whom postgres runs as, when that is not us. */
  owner: FileOwner | null;
  /** Decimal. */
  systemId: string;
  timeline: number;
  /** e.g. "18.4". */
  serverVersion: string;
  segmentSize: number;
  log: Logger;
}

interface ReplicationServerEvents {
  status: [StandbyStatus];
  feedback: [HotStandbyFeedback];
  /** The log that the standby wants cannot be had any more. */
  lost: [DbError];
}

/**
 * The WAL sender of a replica's PostgreSQL: speaks the replication protocol to its walreceiver, and relays committed log. One
 * standby, one connection: a new one replaces the old. The socket lies in the cluster's 0700 folder, which is the authority to use it.
 */
export class ReplicationServer extends EventEmitter<ReplicationServerEvents> {
  private readonly server: net.Server;
  private current: Sender | null = null;

  constructor(
    source: CommittedSource,
    private readonly options: ReplicationServerOptions,
  ) {
    super();
    this.server = net.createServer((socket) => {
      this.current?.end();
      const sender = new Sender(socket, source, options, this);
      this.current = sender;
      socket.once('close', () => {
        if (this.current === sender) this.current = null;
      });
    });
  }

  /** Throws COMPUTE_LISTEN. */
  async start(): Promise<void> {
    const { socketPath, owner } = this.options;
    try {
      await fs.mkdir(path.dirname(socketPath), { recursive: true, mode: 0o700 });
      await fs.rm(socketPath, { force: true });
      this.server.listen(socketPath);
      await once(this.server, 'listening');
      await fs.chmod(socketPath, 0o600);
      if (owner)
        for (const name of [path.dirname(socketPath), socketPath]) await fs.chown(name, owner.uid, owner.gid);
    } catch (cause) {
      throw new DbError('COMPUTE_LISTEN', `could not listen on ${socketPath}: ${errorMessage(cause)}`, {
        cause,
      });
    }
  }

  /** Safe to repeat. */
  async close(): Promise<void> {
    this.current?.end();
    if (!this.server.listening) return;
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }
}

/** One connection. */
class Sender {
  private readonly reader = new FrontendReader();
  private readonly ended = new AbortController();
  private started = false;
  private streaming = false;
  private sentLsn: Lsn = INVALID_LSN;
  private applied: Lsn = INVALID_LSN;
  private lastSentMs = 0;
  private readonly timer: NodeJS.Timeout;
  private readonly late: NodeJS.Timeout;

  constructor(
    private readonly socket: net.Socket,
    private readonly source: CommittedSource,
    private readonly options: ReplicationServerOptions,
    private readonly events: ReplicationServer,
  ) {
    this.timer = setInterval(() => this.keepAlive(), ASK_MS);
    this.late = setTimeout(() => {
      if (!this.started) this.end();
    }, STARTUP_MS);
    socket.on('data', (bytes) => this.receive(bytes));
    socket.on('error', () => this.end()); // the walreceiver is gone; it connects again when it wants more
    socket.on('close', () => this.end());
  }

  end(): void {
    this.ended.abort();
    clearInterval(this.timer);
    clearTimeout(this.late);
    this.socket.destroy();
  }

  private receive(bytes: Buffer): void {
    this.reader.push(bytes);
    try {
      while (!this.started && !this.ended.signal.aborted) {
        const first = this.reader.startup();
        if (!first) return;
        if (first.kind === 'encryption') this.socket.write(backend.noEncryption);
        else this.begin(first.parameters);
      }
      for (let next = this.reader.message(); next; next = this.reader.message()) this.take(next);
    } catch (err) {
      this.options.log.warn({ err: errorMessage(err) }, 'the standby is not understood');
      this.socket.end(backend.error('08P01', errorMessage(err)));
      this.ended.abort();
    }
  }

  private begin(parameters: ReadonlyMap<string, string>): void {
    if (parameters.get('replication') !== 'true')
      throw garbled('a connection that is not for physical replication');
    this.started = true;
    this.socket.write(
      backend.welcome({
        server_version: this.options.serverVersion,
        server_encoding: 'UTF8',
        client_encoding: 'UTF8',
        integer_datetimes: 'on',
        standard_conforming_strings: 'on',
      }),
    );
  }

  private take({ type, body }: FrontendMessage): void {
    if (type === 'X') return this.end();
    if (this.streaming) {
      if (type === 'c') this.finish();
      else if (type === 'd') this.standbyMessage(body);
      else throw garbled(`a message '${type}' while streaming`);
    } else if (type === 'Q') this.command(body);
    else if (type !== 'd' && type !== 'c') throw garbled(`a message '${type}' instead of a command`);
  }

  private command(body: Buffer): void {
    const { systemId, timeline, segmentSize } = this.options;
    const command = parseCommand(body);
    switch (command.kind) {
      case 'identify':
        return this.answer(
          backend.row(
            [
              { name: 'systemid', value: systemId },
              { name: 'timeline', value: String(timeline), int8: true },
              { name: 'xlogpos', value: formatLsn(this.source.commitLsn) },
              { name: 'dbname', value: null },
            ],
            'IDENTIFY_SYSTEM',
          ),
        );
      case 'show':
        if (command.name !== 'wal_segment_size') break;
        return this.answer(
          backend.row([{ name: command.name, value: `${segmentSize / 1024 / 1024}MB` }], 'SHOW'),
        );
      case 'start':
        if (command.timeline !== timeline) break;
        return this.stream(command.begin);
      case 'history':
        break; // there is one timeline, and it has no history
    }
    this.answer(backend.error('0A000', `not served here: ${body.toString('utf8').slice(0, 100)}`));
  }

  private answer(bytes: Buffer): void {
    this.socket.write(Buffer.concat([bytes, backend.ready()]));
  }

  private stream(begin: Lsn): void {
    this.streaming = true;
    this.sentLsn = begin;
    this.socket.write(backend.copyBoth());
    this.options.log.info({ lsn: formatLsn(begin) }, 'the standby streams');
    this.relay(begin).catch((err: unknown) => {
      if (this.ended.signal.aborted) return;
      this.options.log.error({ err: errorMessage(err) }, 'no log for the standby');
      this.end();
      this.events.emit(
        'lost',
        err instanceof DbError ? err : new DbError('INTERNAL', errorMessage(err), { cause: err }),
      );
    });
  }

  private async relay(begin: Lsn): Promise<void> {
    const { signal } = this.ended;
    for await (const { begin: at, bytes, commitLsn } of this.source.read(begin, signal)) {
      for (let done = 0; done < bytes.length;) {
        // Only at the end of a WAL page may a message end within a record.
        const size = Math.min(bytes.length - done, WAL_BYTES_MAX - ((at + done) % WAL_BYTES_MAX));
        const from = lsn(at + done);
        this.socket.cork();
        this.socket.write(backend.walHeader(from, commitLsn, size));
        this.socket.write(bytes.subarray(done, done + size));
        this.socket.uncork();
        done += size;
      }
      this.sentLsn = lsn(at + bytes.length);
      this.lastSentMs = performance.now();
      if (this.socket.writableNeedDrain) await once(this.socket, 'drain', { signal });
    }
  }

  private standbyMessage(body: Buffer): void {
    const said = parseStandbyMessage(body);
    if (said?.kind === 'feedback') this.events.emit('feedback', said.feedback);
    if (said?.kind !== 'status') return;
    this.applied = said.status.applied;
    this.events.emit('status', said.status);
    if (said.status.replyRequested) this.ping(false);
  }

  /** While the standby has something to replay it is asked how far it is; otherwise it only hears that we live. */
  private keepAlive(): void {
    if (!this.streaming) return;
    if (this.applied < this.sentLsn) this.ping(true);
    else if (performance.now() - this.lastSentMs >= KEEPALIVE_MS) this.ping(false);
  }

  private ping(replyRequested: boolean): void {
    this.lastSentMs = performance.now();
    if (!this.socket.writableNeedDrain) this.socket.write(backend.keepalive(this.sentLsn, replyRequested));
  }

  /** The standby has enough. */
  private finish(): void {
    this.socket.end(
      Buffer.concat([
        backend.copyDone(),
        backend.complete('START_STREAMING'),
        backend.complete('START_REPLICATION'),
        backend.ready(),
      ]),
    );
    this.ended.abort();
  }
}
