import { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket, type RawData } from 'ws';
import { DbError, errorMessage, isDbError } from '../engine/errors.js';
import { Failure, decodeFrame, encodeFrame, isFrameOf, type Frame, type Message } from './messages.js';
import type { Of, Shape } from './wire.js';

interface ConnectionEvents {
  frame: [Frame];
  /** Once, last; the error is null after an orderly close by this side. */
  close: [DbError | null];
}

/** ws has no drain event; this is for bulk answers to slow readers only. */
const DRAIN_POLL_MS = 5;

export interface KeepAlive {
  /** A ping leaves after this much silence. */
  pingMs: number;
  /** Without any byte from the peer for this long the connection is cut. */
  deadMs: number;
}

/**
 * Frames over one WebSocket, the same on both sides. A frame that does not decode is answered with Failure and ends the
 * connection; a Failure with request id 0 from the peer is its reason for closing.
 */
export class Connection extends EventEmitter<ConnectionEvents> {
  private closedWith: DbError | null | undefined;
  /** By the clock that nobody sets: a jump of the other one says nothing about the peer. */
  private lastHeardMs = performance.now();
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly ws: WebSocket,
    readonly peerName: string,
    keepAlive?: KeepAlive,
  ) {
    super();
    ws.on('message', (data, isBinary) => this.receive(data, isBinary));
    ws.on('pong', () => this.heard());
    ws.on('ping', () => this.heard());
    ws.on('error', (err) => this.finish(transportError(err, this.peerName)));
    ws.on('close', (code, reason) =>
      this.finish(
        new DbError('NET_CLOSED', `${this.peerName} closed the connection (${code} ${reason.toString()})`),
      ),
    );
    if (keepAlive) this.watch(keepAlive);
  }

  get isOpen(): boolean {
    return this.closedWith === undefined && this.ws.readyState === WebSocket.OPEN;
  }

  /** Bytes accepted by send() that the kernel has not taken yet: the sign of a slow peer. */
  get bufferedAmount(): number {
    return this.ws.bufferedAmount;
  }

  send<S extends Shape>(message: Message<S>, body: Of<S>, requestId = 0, branch = 0): void {
    this.sendEncoded(encodeFrame(message, body, requestId, branch));
  }

  /** Sends a frame made by encodeFrame; the same frame may go to several peers. Dropped when already closed. */
  sendEncoded(frame: Buffer): void {
    if (!this.isOpen) return;
    this.ws.send(frame, (err) => {
      if (err) this.finish(transportError(err, this.peerName));
    });
  }

  /** Resolves once no more than `limitBytes` wait to be taken by the kernel, or the connection has ended. */
  async drained(limitBytes: number): Promise<void> {
    while (this.isOpen && this.ws.bufferedAmount > limitBytes) await sleep(DRAIN_POLL_MS);
  }

  fail(err: unknown, requestId = 0): void {
    this.send(Failure, failureOf(err), requestId);
  }

  /** Orderly: what was sent still leaves. */
  close(reason: DbError | null = null): void {
    if (this.closedWith !== undefined) return;
    this.ws.close(1000);
    const cut = setTimeout(() => this.ws.terminate(), 1000);
    cut.unref();
    this.ws.once('close', () => clearTimeout(cut));
    this.finish(reason);
  }

  /** At once, dropping what was not sent. */
  destroy(reason: DbError | null = null): void {
    this.finish(reason);
    this.ws.terminate();
  }

  private heard(): void {
    this.lastHeardMs = performance.now();
  }

  private receive(data: RawData, isBinary: boolean): void {
    if (this.closedWith !== undefined) return;
    this.heard();
    try {
      if (!isBinary) throw new DbError('WIRE_TEXT', 'a text message where only binary frames are spoken');
      const frame = decoded(toBuffer(data));
      if (frame.requestId === 0 && isFrameOf(frame, Failure)) this.close(errorOf(frame.body));
      else this.emit('frame', frame);
    } catch (err) {
      // Fields that lie about their contents (RangeError, WIRE_*) are the peer's fault; any other error is ours.
      if (!(err instanceof RangeError) && !(isDbError(err) && err.code.startsWith('WIRE_'))) throw err;
      const coded = isDbError(err) ? err : new DbError('WIRE_BAD_VALUE', err.message, { cause: err });
      this.fail(coded);
      this.close(coded);
    }
  }

  private finish(reason: DbError | null): void {
    if (this.closedWith !== undefined) return;
    this.closedWith = reason;
    clearInterval(this.timer);
    this.emit('close', reason);
  }

  private watch(keepAlive: KeepAlive): void {
    this.timer = setInterval(() => {
      const silentMs = performance.now() - this.lastHeardMs;
      if (silentMs > keepAlive.deadMs)
        this.destroy(
          new DbError('NET_DEAD', `${this.peerName} has been silent for ${Math.round(silentMs)} ms`),
        );
      else if (silentMs >= keepAlive.pingMs && this.isOpen) this.ws.ping();
    }, keepAlive.pingMs);
    this.timer.unref();
  }
}

/** Whatever keeps a frame from being decoded is a fault of the frame: a position beyond all WAL (WAL_BAD_LSN), for one. */
function decoded(bytes: Buffer): Frame {
  try {
    return decodeFrame(bytes);
  } catch (cause) {
    if (!isDbError(cause) || cause.code.startsWith('WIRE_')) throw cause;
    throw new DbError('WIRE_BAD_VALUE', cause.message, { cause });
  }
}

function toBuffer(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}

function transportError(err: Error, peerName: string): DbError {
  if ((err as NodeJS.ErrnoException).code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH')
    return new DbError('NET_FRAME_TOO_LONG', `${peerName} sent a frame beyond the size limit`);
  return new DbError('NET_FAILED', `connection to ${peerName}: ${err.message}`, { cause: err });
}

/** Only coded errors speak for themselves; anything else is a bug here and says no more than that to the peer. */
export function failureOf(err: unknown): { code: string; reaction: string; message: string; hint: string } {
  if (isDbError(err))
    return { code: err.code, reaction: err.reaction, message: err.message, hint: err.hint ?? '' };
  return { code: 'NODE_INTERNAL', reaction: 'retry', message: errorMessage(err), hint: '' };
}

const REACTIONS = ['retry', 'fence', 'corrupt', 'usage', 'bug'] as const;

export function errorOf(failure: { code: string; reaction: string; message: string; hint: string }): DbError {
  const reaction = REACTIONS.find((known) => known === failure.reaction) ?? 'retry';
  return new DbError(failure.code, failure.message, { reaction, hint: failure.hint || undefined });
}
