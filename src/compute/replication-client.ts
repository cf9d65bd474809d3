import net from 'node:net';
import { DbError } from '../engine/errors.js';
import { formatLsn, parseLsn, readLsnBE, writeLsnBE, type Lsn } from '../engine/lsn.js';
import { encodeFeedback, type HotStandbyFeedback } from './replication-codec.js';

/**
 * A physical replication client over a unix socket, as PostgreSQL's walreceiver is one (protocol 3.0, streaming replication
 * protocol; all integers big-endian). It carries WAL bytes and positions, nothing else.
 *
 *   XLogData   'w': 1 start LSN, 9 end of WAL on the server, 17 send time, 25 WAL bytes
 *   keepalive  'k': 1 end of WAL, 9 time, 17 reply requested (byte)
 *   status     'r': 1 written, 9 flushed, 17 applied, 25 time, 33 reply requested
 */
export interface ReplicationOptions {
  socketDir: string;
  port: number;
  user: string;
  /** Matched against synchronous_standby_names. */
  applicationName: string;
  /** How long an answer may take. */
  answerMs?: number;
}

export interface StreamHandlers {
  /** WAL bytes at `begin`; the buffer is the callee's to keep. */
  onWal(begin: Lsn, bytes: Buffer): void;
  /** The server wants to hear our position at once. */
  onReplyRequested(): void;
  /** The stream ended: null after the server's orderly end, otherwise why. */
  onEnd(reason: DbError | null): void;
}

const PROTOCOL_3_0 = 196608;
const STATUS_BYTES = 34;
/** A WAL message carries at most 128 KiB of WAL; anything far above that is not PostgreSQL talking. */
const MAX_MESSAGE = 64 * 1024 * 1024;
const WAL_HEADER = 25;
const KEEPALIVE_BYTES = 18;
const LSN_HIGH_MAX = 0x1f_ffff;
const PG_EPOCH_MS = 946684800000;
/** PostgreSQL's own authentication_timeout is a minute; commands are answered at once. */
const ANSWER_MS = 60_000;

interface Waiter {
  resolve(rows: (string | null)[][]): void;
  reject(err: Error): void;
  rows: (string | null)[][];
  untilCopy: boolean;
  /** An ErrorResponse came; the answer is complete only with ReadyForQuery (or the connection's end). */
  error: DbError | null;
}

export class ReplicationClient {
  private pending: Buffer = Buffer.alloc(0);
  private waiter: Waiter | null = null;
  private handlers: StreamHandlers | null = null;
  private failure: DbError | null = null;
  private readonly status = Buffer.alloc(5 + STATUS_BYTES);

  private constructor(
    private readonly socket: net.Socket,
    private readonly answerMs: number,
  ) {
    this.status[0] = 0x64; // 'd' CopyData
    this.status.writeInt32BE(4 + STATUS_BYTES, 1);
    this.status[5] = 0x72; // 'r'
    socket.on('data', (chunk: Buffer) => this.receive(chunk));
    socket.on('error', (cause) =>
      this.fail(
        cause instanceof DbError
          ? cause
          : new DbError('NET_PG_LOST', `replication connection to PostgreSQL failed: ${cause.message}`, {
              cause,
            }),
      ),
    );
    socket.on('close', () =>
      this.fail(new DbError('NET_PG_LOST', 'PostgreSQL closed the replication connection')),
    );
  }

  /** Connects and authenticates. Throws NET_PG_LOST, NET_PG_REFUSED, NET_PG_PROTOCOL, NET_PG_TIMEOUT. */
  static async connect(options: ReplicationOptions): Promise<ReplicationClient> {
    const path = `${options.socketDir}/.s.PGSQL.${options.port}`;
    const socket = net.connect({ path });
    await new Promise<void>((resolve, reject) => {
      const failed = (cause: Error): void =>
        reject(
          new DbError('NET_PG_LOST', `cannot connect to PostgreSQL at ${path}: ${cause.message}`, { cause }),
        );
      socket.once('error', failed);
      socket.once('connect', () => {
        socket.off('error', failed);
        resolve();
      });
    });
    const client = new ReplicationClient(socket, options.answerMs ?? ANSWER_MS);
    const parameters = [
      'user',
      options.user,
      'replication',
      'true',
      'application_name',
      options.applicationName,
      // While it is paused the client cannot hear PostgreSQL's question whether it is alive; a dead one closes the socket anyway.
      'wal_sender_timeout',
      '0',
    ];
    const body = Buffer.from(parameters.map((p) => `${p}\0`).join('') + '\0');
    const startup = Buffer.alloc(8 + body.length);
    startup.writeInt32BE(startup.length, 0);
    startup.writeInt32BE(PROTOCOL_3_0, 4);
    body.copy(startup, 8);
    try {
      await client.request(startup, false);
    } catch (err) {
      client.destroy();
      throw err;
    }
    return client;
  }

  /** Runs one replication command; rows of text columns. Throws NET_PG_REFUSED with the server's words and SQLSTATE. */
  async query(text: string): Promise<(string | null)[][]> {
    return this.request(queryMessage(text), false);
  }

  async identifySystem(): Promise<{ systemId: bigint; timeline: number; flushLsn: Lsn }> {
    const [systemId, timeline, flushLsn] = (await this.query('IDENTIFY_SYSTEM'))[0] ?? [];
    if (!/^\d+$/.test(systemId ?? '') || !/^\d+$/.test(timeline ?? '') || !flushLsn)
      throw new DbError('NET_PG_PROTOCOL', 'PostgreSQL gave no answer to IDENTIFY_SYSTEM that makes sense');
    return { systemId: BigInt(systemId!), timeline: Number(timeline), flushLsn: parseLsn(flushLsn) };
  }

  /** Makes the slot that keeps local WAL until it is shipped; an existing one is kept. */
  async ensureSlot(name: string): Promise<void> {
    try {
      await this.query(`CREATE_REPLICATION_SLOT "${name}" PHYSICAL (RESERVE_WAL)`);
    } catch (err) {
      if (!(err instanceof DbError) || err.details?.['sqlstate'] !== '42710') throw err;
    }
  }

  /** Starts streaming at `begin`; resolves once the server has switched to streaming. */
  async startStreaming(slot: string, begin: Lsn, timeline: number, handlers: StreamHandlers): Promise<void> {
    this.handlers = handlers;
    await this.request(
      queryMessage(`START_REPLICATION SLOT "${slot}" PHYSICAL ${formatLsn(begin)} TIMELINE ${timeline}`),
      true,
    );
  }

  /** Tells the server what is durable; this is what lets COMMIT return. */
  sendStatus(durable: Lsn): void {
    if (this.failure || this.socket.destroyed) return;
    const message = Buffer.from(this.status);
    writeLsnBE(message, durable, 6);
    writeLsnBE(message, durable, 14);
    writeLsnBE(message, durable, 22);
    message.writeBigInt64BE(BigInt(Date.now() - PG_EPOCH_MS) * 1000n, 30);
    this.socket.write(message);
  }

  /** Tells a primary which transactions its standbys' queries still need; it keeps them in the slot. */
  sendFeedback(feedback: HotStandbyFeedback): void {
    if (this.failure || this.socket.destroyed) return;
    this.socket.write(encodeFeedback(feedback));
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  /** Ends the connection at once. Safe to repeat. */
  destroy(): void {
    this.handlers = null;
    this.failure ??= new DbError('NET_PG_LOST', 'replication connection closed by us');
    this.socket.destroy();
  }

  private async request(message: Buffer, untilCopy: boolean): Promise<(string | null)[][]> {
    if (this.failure) throw this.failure;
    if (this.waiter) throw new DbError('BUG_REPLICATION_BUSY', 'one replication command at a time');
    const late = setTimeout(
      () =>
        this.socket.destroy(
          new DbError('NET_PG_TIMEOUT', `PostgreSQL did not answer within ${this.answerMs} ms`),
        ),
      this.answerMs,
    );
    try {
      return await new Promise((resolve, reject) => {
        this.waiter = { resolve, reject, rows: [], untilCopy, error: null };
        this.socket.write(message);
      });
    } finally {
      clearTimeout(late);
    }
  }

  private receive(chunk: Buffer): void {
    let buf = this.pending.length === 0 ? chunk : Buffer.concat([this.pending, chunk]);
    while (buf.length >= 5) {
      const length = buf.readInt32BE(1);
      if (length < 4 || length > MAX_MESSAGE) {
        this.garbled(`a message of impossible length ${length}`);
        return;
      }
      if (buf.length < 1 + length) break;
      const type = String.fromCharCode(buf[0]!);
      this.message(type, buf.subarray(5, 1 + length));
      if (this.failure) return;
      buf = buf.subarray(1 + length);
    }
    this.pending = buf;
  }

  private message(type: string, body: Buffer): void {
    switch (type) {
      case 'd':
        return this.copyData(body);
      case 'R':
        if (body.length < 4) this.garbled('an authentication message that is cut short');
        else if (body.readInt32BE(0) !== 0)
          // No answer will do: PostgreSQL now waits for a password, so this connection is over.
          this.socket.destroy(
            new DbError('NET_PG_REFUSED', 'PostgreSQL asks the compute daemon for a password', {
              hint: 'The daemon relies on its own peer rule in the managed pg_hba file.',
            }),
          );
        return;
      case 'D': {
        const row = dataRow(body);
        if (row) this.waiter?.rows.push(row);
        else this.garbled('a row that is cut short');
        return;
      }
      case 'E':
        return this.refuse(serverError(body));
      case 'W': // CopyBothResponse
        if (this.waiter?.untilCopy) this.finish();
        return;
      case 'Z': // ReadyForQuery
        if (this.waiter && (this.waiter.error || !this.waiter.untilCopy)) this.finish();
        return;
      case 'c': // CopyDone: the server has sent all it will ever send
        this.socket.write(Buffer.from([0x63, 0, 0, 0, 4]));
        this.end(null);
        return;
      default:
        return; // ParameterStatus, BackendKeyData, NoticeResponse, RowDescription, CommandComplete
    }
  }

  private copyData(body: Buffer): void {
    const handlers = this.handlers;
    if (!handlers) return;
    const isWal = body[0] === 0x77;
    if (isWal ? body.length < WAL_HEADER : body[0] === 0x6b && body.length < KEEPALIVE_BYTES)
      return this.garbled(`a streaming message of ${body.length} bytes`);
    if (isWal) {
      if (body.readUInt32BE(1) > LSN_HIGH_MAX) return this.garbled('an impossible WAL position');
      if (body.length > WAL_HEADER) handlers.onWal(readLsnBE(body, 1), body.subarray(WAL_HEADER));
    } else if (body[0] === 0x6b && body[17] === 1) handlers.onReplyRequested();
  }

  /** What came is not PostgreSQL's protocol: nothing after it can be understood. */
  private garbled(what: string): void {
    this.fail(new DbError('NET_PG_PROTOCOL', `PostgreSQL sent ${what}`));
    this.socket.destroy();
  }

  private finish(): void {
    const waiter = this.waiter!;
    this.waiter = null;
    if (waiter.error) waiter.reject(waiter.error);
    else waiter.resolve(waiter.rows);
  }

  private refuse(err: DbError): void {
    if (this.waiter) this.waiter.error ??= err;
    else this.end(err);
  }

  private end(reason: DbError | null): void {
    const handlers = this.handlers;
    this.handlers = null;
    // After an error PostgreSQL would go on listening for commands; an owner that streams has none.
    if (handlers && reason) this.socket.destroy();
    handlers?.onEnd(reason);
  }

  private fail(err: DbError): void {
    if (this.failure) return;
    this.failure = err;
    this.refuse(err);
    if (this.waiter) this.finish();
  }
}

function queryMessage(text: string): Buffer {
  const size = Buffer.byteLength(text);
  const message = Buffer.alloc(6 + size);
  message[0] = 0x51; // 'Q'
  message.writeInt32BE(5 + size, 1);
  message.write(text, 5);
  return message;
}

/** Null when the message is shorter than it says. */
function dataRow(body: Buffer): (string | null)[] | null {
  const columns: (string | null)[] = [];
  if (body.length < 2) return null;
  let at = 2;
  for (let n = body.readInt16BE(0); n > 0; n--) {
    if (at + 4 > body.length) return null;
    const length = body.readInt32BE(at);
    at += 4;
    if (at + length > body.length) return null;
    columns.push(length < 0 ? null : body.toString('utf8', at, at + length));
    at += Math.max(length, 0);
  }
  return columns;
}

function serverError(body: Buffer): DbError {
  const fields = new Map<string, string>();
  for (const field of body.toString('utf8').split('\0'))
    if (field.length > 1) fields.set(field[0]!, field.slice(1));
  return new DbError('NET_PG_REFUSED', `PostgreSQL: ${fields.get('M') ?? 'unknown error'}`, {
    ...(fields.has('H') ? { hint: fields.get('H')! } : {}),
    details: { sqlstate: fields.get('C') },
  });
}
