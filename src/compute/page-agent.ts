import { promises as fs } from 'node:fs';
import net from 'node:net';
import { DbError, errorMessage, isDbError } from '../engine/errors.js';
import { BLCKSZ, RELSEG_SIZE } from '../engine/page/constants.js';
import { SLRU_PAGES_PER_SEGMENT } from '../engine/pages/effects/index.js';
import { parseDataPath } from './page-path.js';
import { ReadAhead, type ReadAheadCounters, type ReadAheadOptions } from './readahead.js';
import type { FileOwner, RemoteMaps } from './remote-files.js';

/** Where the agent gets what it serves. */
export interface PageSource {
  /**
   * `count` pages (count * 8192 bytes) of a file of the data directory, from its block `firstBlock` on. `path` is relative,
   * with the segment suffix, and blocks are counted within that file.
   * A DbError with the reaction `retry` makes the reader try again until its patience ends; any other error fails the read.
   */
  fetch(path: string, firstBlock: number, count: number): Promise<Buffer>;
  /** Makes a settings file's content durable in the volume; resolves when it is. */
  putFile(name: string, content: Buffer): Promise<void>;
}

export interface PageAgentOptions {
  socketPath: string;
  /** Whom postgres runs as, when that is not us: only this account may connect. */
  owner?: FileOwner | null;
  /** Needed for reading ahead; without it only what is asked for is fetched. */
  maps?: RemoteMaps | null;
  readAhead?: ReadAheadOptions;
  /** A request that PostgreSQL waits for failed; it may be tried again. */
  onError?: (err: unknown) => void;
  /** A request that no page-in library makes. */
  onRefused?: (err: DbError) => void;
}

/** All but `connections` only grow. Blocks are pages of 8 KiB. */
export interface PageAgentCounters extends ReadAheadCounters {
  connections: number;
  requests: number;
  blocksServed: number;
  hints: number;
  filesPut: number;
  errors: number;
  /** Time from a request's last byte to its reply, summed over requests, and the longest. */
  serveMicros: number;
  serveMicrosMax: number;
}

const REQUEST_MAGIC = 0x4950414f;
const REPLY_MAGIC = 0x5250414f;
const VERSION = 1;
const HEADER_BYTES = 16;
const OP = { fetch: 1, hint: 2, putFile: 3 } as const;
const STATUS = { ok: 0, retry: 1, failed: 2, readOnly: 3 } as const;
const RUN_MAX = 128;
const NAME_BYTES_MAX = 255;
const CONTENT_BYTES_MAX = 16 * 1024 * 1024;
const MESSAGE_BYTES_MAX = 400;
/** Requests of one connection that wait for their turn; the library has one at a time, and hints. */
const PENDING_MAX = 64;
/** Answers that a reader has not taken yet; its next request waits until it has. */
const UNSENT_BYTES_MAX = 4 * 1024 * 1024;
/** The request was wrong, and not the moment. */
const REFUSALS: ReadonlySet<string> = new Set(['COMPUTE_AGENT_REQUEST', 'COMPUTE_BAD_PATH']);
const SETTINGS_FILE = 'postgresql.auto.conf';

interface Request {
  op: number;
  name: string;
  first: number;
  count: number;
  content: Buffer;
}

/** Serves absent blocks to the page-in library inside PostgreSQL's processes (pagein/PROTOCOL.md). */
export class PageAgent {
  private readonly server: net.Server;
  private readonly sockets = new Set<net.Socket>();
  private readonly readAhead: ReadAhead;
  private readonly own = {
    requests: 0,
    blocksServed: 0,
    hints: 0,
    filesPut: 0,
    errors: 0,
    serveMicros: 0,
    serveMicrosMax: 0,
  };

  constructor(
    private readonly source: PageSource,
    private readonly options: PageAgentOptions,
  ) {
    this.readAhead = new ReadAhead(
      (path, first, count) => this.fetchChecked(path, first, count),
      options.maps ?? null,
      options.readAhead,
    );
    this.server = net.createServer((socket) => this.accept(socket));
  }

  get counters(): PageAgentCounters {
    return { connections: this.sockets.size, ...this.own, ...this.readAhead.counters };
  }

  /** Listens, in place of a socket file that a dead agent left behind. Throws COMPUTE_AGENT_LISTEN. */
  async start(): Promise<void> {
    const { socketPath, owner } = this.options;
    try {
      await fs.rm(socketPath, { force: true });
      await new Promise<void>((resolve, reject) => {
        this.server.once('error', reject);
        // A full queue is EAGAIN for the library, which then waits and tries again; every backend may come at once.
        this.server.listen({ path: socketPath, backlog: 1024 }, () => {
          this.server.off('error', reject);
          resolve();
        });
      });
      await fs.chmod(socketPath, 0o600);
      if (owner) await fs.chown(socketPath, owner.uid, owner.gid);
    } catch (cause) {
      throw new DbError(
        'COMPUTE_AGENT_LISTEN',
        `page agent: could not listen on ${socketPath}: ${errorMessage(cause)}`,
        {
          cause,
        },
      );
    }
  }

  /** Stops listening and ends all connections; requests under way are not answered. May be repeated. */
  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    if (!this.server.listening) return;
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }

  private accept(socket: net.Socket): void {
    this.sockets.add(socket);
    const reader = new RequestReader();
    let turn: Promise<void> = Promise.resolve();
    let pending = 0;
    const answered = (): void => {
      pending -= 1;
      if (pending < PENDING_MAX) socket.resume();
    };
    socket.on('close', () => this.sockets.delete(socket));
    socket.on('error', () => socket.destroy()); // the process at the other end is gone
    socket.on('data', (bytes) => {
      reader.push(bytes);
      try {
        for (let request = reader.next(); request; request = reader.next()) {
          const r = request;
          if (r.op === OP.hint) this.hint(r);
          else {
            pending += 1;
            turn = turn.then(() => this.answer(socket, r)).then(answered);
          }
        }
        if (pending >= PENDING_MAX) socket.pause();
      } catch (err) {
        this.own.errors++;
        if (isDbError(err)) this.options.onRefused?.(err);
        socket.destroy(err instanceof Error ? err : undefined);
      }
    });
  }

  private async answer(socket: net.Socket, request: Request): Promise<void> {
    const begin = performance.now();
    let status: number = STATUS.ok;
    let parts: Buffer[];
    try {
      parts = request.op === OP.fetch ? await this.pages(request) : await this.putFile(request);
    } catch (err) {
      this.own.errors++;
      if (isDbError(err) && REFUSALS.has(err.code)) this.options.onRefused?.(err);
      else this.options.onError?.(err);
      status = statusOf(err);
      parts = [Buffer.from(errorMessage(err)).subarray(0, MESSAGE_BYTES_MAX)];
    }
    if (!socket.destroyed) reply(socket, status, parts);
    if (!socket.destroyed && socket.writableLength > UNSENT_BYTES_MAX) await drained(socket);
    const micros = Math.round((performance.now() - begin) * 1000);
    this.own.serveMicros += micros;
    this.own.serveMicrosMax = Math.max(this.own.serveMicrosMax, micros);
  }

  private async pages(request: Request): Promise<Buffer[]> {
    this.own.requests++;
    checkRange(request);
    const parts = await this.readAhead.read(request.name, request.first, request.count);
    this.own.blocksServed += request.count;
    return parts;
  }

  private async putFile(request: Request): Promise<Buffer[]> {
    if (request.name !== SETTINGS_FILE)
      throw new DbError('COMPUTE_AGENT_REQUEST', `not a file kept in the volume: "${request.name}"`);
    await this.source.putFile(request.name, request.content);
    this.own.filesPut++;
    return [];
  }

  private hint(request: Request): void {
    this.own.hints++;
    try {
      checkRange(request);
      this.readAhead.prefetch(request.name, request.first, request.count);
    } catch {
      this.own.errors++; // a hint has no reply, and need not be followed
    }
  }

  private async fetchChecked(path: string, first: number, count: number): Promise<Buffer> {
    const pages = await this.source.fetch(path, first, count);
    if (pages.length === count * BLCKSZ) return pages;
    throw new DbError(
      'COMPUTE_AGENT_SHORT',
      `storage answered ${pages.length} bytes for ${count} blocks of ${path} from ${first} on`,
    );
  }
}

function statusOf(err: unknown): number {
  if (isDbError(err, 'COMPUTE_READ_ONLY')) return STATUS.readOnly;
  return isDbError(err) && err.reaction === 'retry' ? STATUS.retry : STATUS.failed;
}

/** Throws COMPUTE_BAD_PATH or COMPUTE_AGENT_REQUEST for what no data directory holds. */
function checkRange({ name, first, count }: Request): void {
  const limit = parseDataPath(name).kind === 'slru' ? SLRU_PAGES_PER_SEGMENT : RELSEG_SIZE;
  if (count < 1 || count > RUN_MAX || first + count > limit)
    throw new DbError('COMPUTE_AGENT_REQUEST', `${name}: no blocks ${first}..${first + count - 1}`);
}

/** Returns when the reader has taken what it was sent, or has gone. */
async function drained(socket: net.Socket): Promise<void> {
  await new Promise<void>((resolve) => {
    socket.once('drain', resolve);
    socket.once('close', resolve);
  });
}

function reply(socket: net.Socket, status: number, parts: readonly Buffer[]): void {
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(REPLY_MAGIC, 0);
  header.writeUInt8(VERSION, 4);
  header.writeUInt8(status, 5);
  header.writeUInt32LE(status === STATUS.ok ? size / BLCKSZ : 0, 8);
  header.writeUInt32LE(size, 12);
  socket.cork();
  socket.write(header);
  for (const part of parts) socket.write(part);
  socket.uncork();
}

/** Cuts a byte stream into requests. */
class RequestReader {
  private pending: Buffer = Buffer.alloc(0);

  push(bytes: Buffer): void {
    this.pending = this.pending.length === 0 ? bytes : Buffer.concat([this.pending, bytes]);
  }

  /** Null: needs more bytes. Throws COMPUTE_AGENT_REQUEST when these cannot be a request. */
  next(): Request | null {
    const buf = this.pending;
    if (buf.length < HEADER_BYTES) return null;
    const op = buf.readUInt8(5);
    const nameBytes = buf.readUInt16LE(6);
    const count = buf.readUInt32LE(12);
    const contentBytes = op === OP.putFile ? count : 0;
    if (
      buf.readUInt32LE(0) !== REQUEST_MAGIC ||
      buf.readUInt8(4) !== VERSION ||
      op < OP.fetch ||
      op > OP.putFile ||
      nameBytes > NAME_BYTES_MAX ||
      contentBytes > CONTENT_BYTES_MAX
    )
      throw new DbError('COMPUTE_AGENT_REQUEST', 'page agent: not a request');
    const nameEnd = HEADER_BYTES + nameBytes;
    const end = nameEnd + contentBytes;
    if (buf.length < end) return null;
    this.pending = buf.subarray(end);
    return {
      op,
      name: buf.toString('latin1', HEADER_BYTES, nameEnd),
      first: buf.readUInt32LE(8),
      count,
      content: buf.subarray(nameEnd, end),
    };
  }
}
