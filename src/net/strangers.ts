import type { Socket } from 'node:net';
import { DbError } from '../engine/errors.js';

export interface StrangerLimits {
  /** At most so many at once: the one that has waited longest makes room for the next. */
  max: number;
  /** From the first packet until they have proved who they are. */
  timeoutMs: number;
}

/** A connection that has not proved who it is. Whatever ends it before it has is told once. */
export class Stranger {
  private told = false;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly socket: Socket,
    readonly remote: string,
    limits: StrangerLimits,
    private readonly onRefused: (remote: string, err: DbError) => void,
    private readonly onKnown: () => void,
  ) {
    this.timer = setTimeout(
      () => this.cut(new DbError('NET_TIMEOUT', 'did not authenticate in time')),
      limits.timeoutMs,
    );
  }

  /** Tells why; closing is the caller's. */
  refuse(err: DbError): void {
    if (this.told) return;
    this.told = true;
    this.onRefused(this.remote, err);
  }

  cut(err: DbError): void {
    this.refuse(err);
    this.socket.destroy();
  }

  /** It has proved who it is, or has gone: no limit applies any more. */
  settle(): void {
    clearTimeout(this.timer);
    this.onKnown();
  }
}

/** All connections of a server that have not proved who they are: garbage, slow and hostile ones are bounded here. */
export class Strangers {
  /** By remote address and port, the longest waiting first. */
  private readonly waiting = new Map<string, Stranger>();

  constructor(
    private readonly limits: StrangerLimits,
    private readonly onRefused: (remote: string, err: DbError) => void,
  ) {}

  get size(): number {
    return this.waiting.size;
  }

  admit(socket: Socket): Stranger {
    const remote = remoteOf(socket);
    for (const [, eldest] of this.waiting) {
      if (this.waiting.size < this.limits.max) break;
      eldest.cut(new DbError('NET_BUSY', `more than ${this.limits.max} connections wait to authenticate`));
      eldest.settle();
    }
    const stranger: Stranger = new Stranger(socket, remote, this.limits, this.onRefused, () => {
      if (this.waiting.get(remote) === stranger) this.waiting.delete(remote);
    });
    this.waiting.set(remote, stranger);
    socket.once('close', () => stranger.settle());
    return stranger;
  }

  /** The one behind a TLS socket, which knows the address only. */
  at(remote: string): Stranger | undefined {
    return this.waiting.get(remote);
  }
}

export function remoteOf(socket: Socket): string {
  return `${socket.remoteAddress ?? '?'}:${socket.remotePort ?? 0}`;
}
