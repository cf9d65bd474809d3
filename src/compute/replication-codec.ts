/**
 * The server's half of PostgreSQL's protocol 3.0 as far as a walreceiver speaks it (all integers big-endian): what it may send, checked,
 * and what it is answered.
 *
 *   startup    i32 length, i32 196608, name\0 value\0 ... \0; before it perhaps i32 8, i32 80877103 (SSL) or 80877104 (GSS encryption)
 *   message    u8 type, i32 length including itself, payload
 *   XLogData   'w': 1 start LSN, 9 end of WAL here, 17 send time, 25 WAL bytes
 *   keepalive  'k': 1 end of WAL here, 9 time, 17 reply requested
 *   status     'r': 1 written, 9 flushed, 17 applied, 25 time, 33 reply requested
 *   feedback   'h': 1 time, 9 xmin, 13 its epoch, 17 catalog xmin, 21 its epoch
 */
import { DbError } from '../engine/errors.js';
import { parseLsn, readLsnBE, writeLsnBE, type Lsn } from '../engine/lsn.js';

const PROTOCOL_3_0 = 196608;
const SSL_REQUEST = 80877103;
const GSS_REQUEST = 80877104;
/** A walreceiver's messages are small. */
const MESSAGE_BYTES_MAX = 16 * 1024;
const TWO_32 = 0x1_0000_0000;
const PG_EPOCH_MS = 946684800000;
const INT8_OID = 20;
const TEXT_OID = 25;

export type Startup = { kind: 'encryption' } | { kind: 'startup'; parameters: ReadonlyMap<string, string> };

/** One message from the walreceiver, without its header. */
export interface FrontendMessage {
  readonly type: string;
  readonly body: Buffer;
}

export interface StandbyStatus {
  readonly written: Lsn;
  readonly flushed: Lsn;
  readonly applied: Lsn;
  readonly replyRequested: boolean;
}

/** Full transaction ids, epoch * 2^32 + xid; 0 = none. */
export interface HotStandbyFeedback {
  readonly xmin: number;
  readonly catalogXmin: number;
}

/** Cuts the byte stream of one connection. Throws NET_PG_PROTOCOL when it cannot be a walreceiver's. */
export class FrontendReader {
  private pending: Buffer = Buffer.alloc(0);

  push(bytes: Buffer): void {
    this.pending = this.pending.length === 0 ? bytes : Buffer.concat([this.pending, bytes]);
  }

  /** Null: needs more bytes. */
  startup(): Startup | null {
    if (this.pending.length < 8) return null;
    const length = this.length(0, 8);
    const code = this.pending.readInt32BE(4);
    if (this.pending.length < length) return null;
    const body = this.take(length).subarray(8);
    if (code === SSL_REQUEST || code === GSS_REQUEST) return { kind: 'encryption' };
    if (code !== PROTOCOL_3_0 || body.at(-1) !== 0) throw garbled(`a startup message with code ${code}`);
    const words = body.toString('utf8').split('\0');
    const parameters = new Map<string, string>();
    for (let i = 0; i + 1 < words.length && words[i] !== ''; i += 2) parameters.set(words[i]!, words[i + 1]!);
    return { kind: 'startup', parameters };
  }

  /** Null: needs more bytes. */
  message(): FrontendMessage | null {
    if (this.pending.length < 5) return null;
    const length = this.length(1, 4);
    if (this.pending.length < 1 + length) return null;
    const whole = this.take(1 + length);
    return { type: String.fromCharCode(whole[0]!), body: whole.subarray(5) };
  }

  private length(at: number, least: number): number {
    const length = this.pending.readInt32BE(at);
    if (length < least || length > MESSAGE_BYTES_MAX)
      throw garbled(`a message of impossible length ${length}`);
    return length;
  }

  private take(length: number): Buffer {
    const taken = this.pending.subarray(0, length);
    this.pending = this.pending.subarray(length);
    return taken;
  }
}

/** A command of the replication grammar, as PostgreSQL 18's walreceiver writes them. */
export type ReplicationCommand =
  | { kind: 'identify' }
  | { kind: 'show'; name: string }
  | { kind: 'history'; timeline: number }
  | { kind: 'start'; begin: Lsn; timeline: number };

/** Throws NET_PG_PROTOCOL for what a physical standby has no need of. */
export function parseCommand(body: Buffer): ReplicationCommand {
  const text = body.toString('utf8').replace(/\0$/, '').trim().replace(/;$/, '');
  if (/^IDENTIFY_SYSTEM$/i.test(text)) return { kind: 'identify' };
  const show = /^SHOW\s+"?([a-z_]{1,63})"?$/i.exec(text);
  if (show) return { kind: 'show', name: show[1]!.toLowerCase() };
  const history = /^TIMELINE_HISTORY\s+(\d{1,9})$/i.exec(text);
  if (history) return { kind: 'history', timeline: Number(history[1]) };
  const start =
    /^START_REPLICATION\s+(?:PHYSICAL\s+)?([0-9A-F]{1,8}\/[0-9A-F]{1,8})(?:\s+TIMELINE\s+(\d{1,9}))?$/i.exec(
      text,
    );
  if (start) return { kind: 'start', begin: parseLsn(start[1]!), timeline: Number(start[2] ?? 1) };
  throw garbled(`a command that is not served here: ${text.slice(0, 100)}`);
}

/** The payload of a CopyData from the standby; null for kinds without a meaning here. Throws NET_PG_PROTOCOL. */
export function parseStandbyMessage(
  body: Buffer,
): { kind: 'status'; status: StandbyStatus } | { kind: 'feedback'; feedback: HotStandbyFeedback } | null {
  try {
    switch (body[0]) {
      case 0x72:
        return {
          kind: 'status',
          status: {
            written: readLsnBE(body, 1),
            flushed: readLsnBE(body, 9),
            applied: readLsnBE(body, 17),
            replyRequested: body.readUInt8(33) !== 0,
          },
        };
      case 0x68:
        return { kind: 'feedback', feedback: { xmin: fullXid(body, 9), catalogXmin: fullXid(body, 17) } };
      default:
        return null;
    }
  } catch (cause) {
    throw garbled(`a standby message of ${body.length} bytes`, cause);
  }
}

function fullXid(body: Buffer, at: number): number {
  const xid = body.readUInt32BE(at);
  const epoch = body.readUInt32BE(at + 4);
  if (epoch > 0x1f_ffff) throw garbled('a transaction id beyond 2^53');
  return xid === 0 ? 0 : epoch * TWO_32 + xid;
}

/** A client's 'h' message as CopyData, for a primary. */
export function encodeFeedback({ xmin, catalogXmin }: HotStandbyFeedback): Buffer {
  const out = Buffer.alloc(5 + 25);
  out[0] = 0x64; // 'd'
  out.writeInt32BE(4 + 25, 1);
  out[5] = 0x68; // 'h'
  out.writeBigInt64BE(pgTime(), 6);
  out.writeUInt32BE(xmin % TWO_32, 14);
  out.writeUInt32BE(Math.floor(xmin / TWO_32), 18);
  out.writeUInt32BE(catalogXmin % TWO_32, 22);
  out.writeUInt32BE(Math.floor(catalogXmin / TWO_32), 26);
  return out;
}

function pgTime(): bigint {
  return BigInt(Date.now() - PG_EPOCH_MS) * 1000n;
}

function message(type: string, body: Buffer): Buffer {
  const out = Buffer.allocUnsafe(5 + body.length);
  out[0] = type.charCodeAt(0);
  out.writeInt32BE(4 + body.length, 1);
  body.copy(out, 5);
  return out;
}

const cString = (text: string): Buffer => Buffer.from(`${text}\0`, 'utf8');

function int32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeInt32BE(value);
  return out;
}

function int16(value: number): Buffer {
  const out = Buffer.alloc(2);
  out.writeInt16BE(value);
  return out;
}

/** The answers that a walreceiver is given, each one whole message or a sequence of them. */
export const backend = {
  noEncryption: Buffer.from('N'),

  /** AuthenticationOk, the parameters, BackendKeyData, ReadyForQuery. */
  welcome(parameters: Readonly<Record<string, string>>): Buffer {
    return Buffer.concat([
      message('R', int32(0)),
      ...Object.entries(parameters).map(([name, value]) =>
        message('S', Buffer.concat([cString(name), cString(value)])),
      ),
      message('K', Buffer.concat([int32(process.pid), int32(0)])),
      backend.ready(),
    ]);
  },

  ready(): Buffer {
    return message('Z', Buffer.from('I'));
  },

  complete(tag: string): Buffer {
    return message('C', cString(tag));
  },

  /** One row of text columns. */
  row(columns: readonly { name: string; value: string | null; int8?: boolean }[], tag: string): Buffer {
    const description = columns.map(({ name, int8 }) =>
      Buffer.concat([
        cString(name),
        int32(0),
        int16(0),
        int32(int8 ? INT8_OID : TEXT_OID),
        int16(int8 ? 8 : -1),
        int32(-1),
        int16(0),
      ]),
    );
    const values = columns.map(({ value }) => {
      if (value === null) return int32(-1);
      const bytes = Buffer.from(value, 'utf8');
      return Buffer.concat([int32(bytes.length), bytes]);
    });
    return Buffer.concat([
      message('T', Buffer.concat([int16(columns.length), ...description])),
      message('D', Buffer.concat([int16(columns.length), ...values])),
      backend.complete(tag),
    ]);
  },

  error(sqlstate: string, text: string): Buffer {
    const fields = [`SERROR`, `VERROR`, `C${sqlstate}`, `M${text}`].map(cString);
    return message('E', Buffer.concat([...fields, Buffer.from([0])]));
  },

  copyBoth(): Buffer {
    return message('W', Buffer.concat([Buffer.from([0]), int16(0)]));
  },

  copyDone(): Buffer {
    return message('c', Buffer.alloc(0));
  },

  /** Header of one XLogData message of `bytes` WAL bytes, which follow it. */
  walHeader(begin: Lsn, end: Lsn, bytes: number): Buffer {
    const out = Buffer.allocUnsafe(5 + 25);
    out[0] = 0x64;
    out.writeInt32BE(4 + 25 + bytes, 1);
    out[5] = 0x77; // 'w'
    writeLsnBE(out, begin, 6);
    writeLsnBE(out, end, 14);
    out.writeBigInt64BE(pgTime(), 22);
    return out;
  },

  keepalive(end: Lsn, replyRequested: boolean): Buffer {
    const out = Buffer.allocUnsafe(5 + 18);
    out[0] = 0x64;
    out.writeInt32BE(4 + 18, 1);
    out[5] = 0x6b; // 'k'
    writeLsnBE(out, end, 6);
    out.writeBigInt64BE(pgTime(), 14);
    out[22] = replyRequested ? 1 : 0;
    return out;
  },
};

export function garbled(what: string, cause?: unknown): DbError {
  return new DbError('NET_PG_PROTOCOL', `the standby sent ${what}`, cause === undefined ? {} : { cause });
}
