/**
 * The network between the processes of a test's cluster: a TCP proxy for every ordered pair that talks, whose faults are set per direction in
 * which bytes travel. A dropped direction is a black hole, as a cut cable or a firewall makes it: nothing arrives, not even the end of a
 * connection, and nobody is told. What TCP would send again arrives when the direction is mended, if both ends still have the connection.
 */
import net from 'node:net';
import { eventually } from '../helpers/cluster.js';

export interface Address {
  host: string;
  port: number;
}

/** drop: nothing arrives; cut: connections are reset, and new ones too; a number: arrives so many milliseconds later. */
export type Flow = 'pass' | 'drop' | 'cut' | number;

/** On its way in one direction of one connection. */
const HELD_BYTES_MAX = 1024 * 1024;

interface Link {
  readonly from: string;
  readonly to: string;
  readonly target: Address;
  readonly server: net.Server;
  readonly conversations: Set<Conversation>;
}

export class FaultNet {
  /** Connections that a fault met, each time that one did. */
  bites = 0;
  private readonly links: Link[] = [];
  private readonly flows = new Map<string, Flow>();

  /** `from` reaches `to` at the address that is returned. */
  async link(from: string, to: string, target: Address): Promise<Address> {
    const conversations = new Set<Conversation>();
    const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
      const conversation = new Conversation(
        socket,
        target,
        () => conversations.delete(conversation),
        () => this.bites++,
      );
      conversations.add(conversation);
      conversation.apply(this.flow(from, to), this.flow(to, from));
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    this.links.push({ from, to, target, server, conversations });
    return { host: '127.0.0.1', port: (server.address() as net.AddressInfo).port };
  }

  /** Resolves when more than so many bites are counted: connections do go through here. */
  async hasBitten(before: number): Promise<void> {
    await eventually('the fault of the network meets a connection', () => this.bites > before);
  }

  flow(from: string, to: string): Flow {
    return this.flows.get(key(from, to)) ?? 'pass';
  }

  /** Bytes from `from` to `to`, whoever connected to whom. */
  set(from: string, to: string, flow: Flow): void {
    this.flows.set(key(from, to), flow);
    for (const link of this.links)
      if ((link.from === from && link.to === to) || (link.from === to && link.to === from))
        for (const conversation of [...link.conversations])
          conversation.apply(this.flow(link.from, link.to), this.flow(link.to, link.from));
  }

  /** Both directions between `party` and each of the others. */
  between(party: string, others: Iterable<string>, flow: Flow): void {
    for (const other of others) {
      if (other === party) continue;
      this.set(party, other, flow);
      this.set(other, party, flow);
    }
  }

  heal(): void {
    for (const link of this.links) {
      this.set(link.from, link.to, 'pass');
      this.set(link.to, link.from, 'pass');
    }
  }

  get openConnections(): number {
    return this.links.reduce((sum, link) => sum + link.conversations.size, 0);
  }

  async close(): Promise<void> {
    await Promise.all(
      this.links.map(async ({ server, conversations }) => {
        const closed = new Promise<void>((resolve) => server.close(() => resolve()));
        for (const conversation of [...conversations]) conversation.reset();
        await closed;
      }),
    );
  }
}

const key = (from: string, to: string): string => `${from}>${to}`;

/** One connection: the caller's socket, ours to the target, and the bytes on their way in each direction. */
class Conversation {
  private target: net.Socket | null = null;
  private there: Pipe | null = null;
  private back: Pipe | null = null;
  private ended = false;

  constructor(
    private readonly caller: net.Socket,
    private readonly address: Address,
    private readonly onEnd: () => void,
    private readonly onBite: () => void,
  ) {
    caller.setNoDelay(true);
    caller.on('error', () => undefined); // 'close' follows, which is what is acted on
  }

  apply(there: Flow, back: Flow): void {
    if (this.ended) return;
    if (there !== 'pass' || back !== 'pass') this.onBite();
    if (there === 'cut' || back === 'cut') {
      this.reset();
      return;
    }
    // A handshake needs both directions; until then the caller's SYN is sent again and again, as far as it can tell.
    if (!this.target && there !== 'drop' && back !== 'drop') this.connect();
    this.there?.setFlow(there);
    this.back?.setFlow(back);
  }

  reset(): void {
    if (this.ended) return;
    this.ended = true;
    this.there?.stop();
    this.back?.stop();
    this.caller.resetAndDestroy();
    this.target?.resetAndDestroy();
    this.onEnd();
  }

  private connect(): void {
    const target = net.connect({ ...this.address, allowHalfOpen: true, noDelay: true });
    this.target = target;
    target.on('error', () => undefined);
    const over = (): void => {
      if (!this.there?.done || !this.back?.done || this.ended) return;
      this.ended = true;
      this.caller.destroySoon();
      target.destroySoon();
      this.onEnd();
    };
    this.there = new Pipe(this.caller, target, () => this.reset(), over);
    this.back = new Pipe(target, this.caller, () => this.reset(), over);
  }
}

/** Bytes in one direction. */
class Pipe {
  done = false;
  private flow: Flow = 'pass';
  /** In order; a connection ends in order, or breaks. */
  private readonly held: { what: Buffer | 'end' | 'broken'; dueMs: number }[] = [];
  private heldBytes = 0;
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(
    private readonly source: net.Socket,
    private readonly sink: net.Socket,
    private readonly onBroken: () => void,
    private readonly onDone: () => void,
  ) {
    source.on('data', (bytes: Buffer) => this.push(bytes));
    source.on('end', () => this.push('end'));
    // Also after an orderly end, where it says nothing new.
    source.on('close', (hadError) => {
      if (hadError) this.push('broken');
    });
    sink.on('drain', () => this.advance());
    source.resume();
  }

  setFlow(flow: Flow): void {
    this.flow = flow;
    this.advance();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  private push(what: Buffer | 'end' | 'broken'): void {
    if (Buffer.isBuffer(what)) this.heldBytes += what.length;
    this.held.push({ what, dueMs: performance.now() + (typeof this.flow === 'number' ? this.flow : 0) });
    this.advance();
  }

  private advance(): void {
    clearTimeout(this.timer);
    while (!this.stopped && this.flow !== 'drop' && this.held.length > 0 && !this.sink.writableNeedDrain) {
      const waitMs = this.held[0]!.dueMs - performance.now();
      if (waitMs > 0) {
        this.timer = setTimeout(() => this.advance(), waitMs);
        break;
      }
      const { what } = this.held.shift()!;
      if (Buffer.isBuffer(what)) this.heldBytes -= what.length;
      if (what === 'broken') this.onBroken();
      else if (what === 'end') {
        this.done = true;
        this.sink.end();
        this.onDone();
      } else if (this.sink.writable) this.sink.write(what);
      else this.onBroken();
    }
    // Beyond what is held already, the sender's own buffers fill up, as they do behind a real black hole.
    if (this.flow === 'drop' || this.heldBytes > HELD_BYTES_MAX || this.sink.writableNeedDrain)
      this.source.pause();
    else if (!this.stopped) this.source.resume();
  }
}
