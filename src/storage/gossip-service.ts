import { performance } from 'node:perf_hooks';
import type { Logger } from 'pino';
import { isDbError } from '../engine/errors.js';
import {
  Gossip,
  LOAD_MAX,
  MESSAGE_KINDS,
  STATUSES,
  firstIncarnation,
  type GossipCounters,
  type GossipMessage,
  type GossipView,
  type LocalState,
  type MessageKind,
  type Outgoing,
} from '../engine/gossip/index.js';
import { gossipBody } from '../net/gossip-codec.js';
import * as m from '../net/messages.js';
import type { PeerConfig } from './config.js';

const TICKS_PER_ROUND = 5;
/** A link with more than this unsent gets no gossip: later news say the same and more. */
const UNSENT_BYTES_MAX = 1024 * 1024;
/** Between two lines about malformed gossip. */
const COMPLAINT_MS = 60_000;

/** What gossip is sent over: either end of a connection. */
export interface GossipLink {
  readonly isOpen: boolean;
  readonly bufferedAmount: number;
  sendEncoded(frame: Buffer): void;
}

export interface GossipServiceOptions {
  nodeId: string;
  /** Starts of this node, counted durably from 1. */
  generation: number;
  intervalMs: number;
  peers: readonly PeerConfig[];
  /** The node as it is now. */
  state(): Omit<LocalState, 'load'>;
}

export interface GossipTotals extends GossipCounters {
  sent: Record<MessageKind, number>;
  received: Record<MessageKind, number>;
  sentBytes: number;
  /** Malformed ones. */
  refused: number;
  /** For want of a connection, or because it was clogged. */
  unsent: number;
}

/** Drives the node's gossip: gives it the time, the node's state and the peers' messages, and sends what it says. */
export class GossipService {
  private readonly traffic = {
    sent: perKind(),
    received: perKind(),
    sentBytes: 0,
    refused: 0,
    unsent: 0,
  };
  private gossip: Gossip | null = null;
  private timer: NodeJS.Timeout | undefined;
  private utilization = performance.eventLoopUtilization();
  private load = 0;
  private loadRounds = -1;
  private complainedAt = -Infinity;
  /** Connections that peers opened to us, the latest of each. */
  private readonly inbound = new Map<string, GossipLink>();

  constructor(
    private readonly options: GossipServiceOptions,
    /** Our own connection to a peer. */
    private readonly outbound: (id: string) => GossipLink | null,
    private readonly logger: Logger,
  ) {}

  /** `address`: host:port that others reach this node at. */
  start(address: string): void {
    const { nodeId, generation, intervalMs, peers } = this.options;
    this.gossip = new Gossip({
      id: nodeId,
      address,
      incarnation: firstIncarnation(generation),
      seeds: peers.map(({ id, host, port }) => ({ id, address: `${host}:${port}` })),
      intervalMs,
      random: Math.random,
      nowMs: performance.now(),
    });
    this.timer = setInterval(() => this.tick(), intervalMs / TICKS_PER_ROUND);
  }

  /** Tells the others that this node leaves. Connections must still be open. Safe to repeat. */
  stop(): void {
    clearInterval(this.timer);
    if (this.gossip) this.send(this.gossip.leave());
  }

  /** A peer's connection to us; it serves while ours to the peer is down. */
  attach(peerId: string, link: GossipLink & { once(event: 'close', listener: () => void): unknown }): void {
    this.inbound.set(peerId, link);
    link.once('close', () => {
      if (this.inbound.get(peerId) === link) this.inbound.delete(peerId);
    });
  }

  receive(from: string, message: GossipMessage): void {
    if (!this.gossip) return;
    try {
      this.send(this.gossip.receive(from, message, performance.now()));
      this.traffic.received[message.kind] += 1;
    } catch (err) {
      if (!isDbError(err, 'GOSSIP_BAD_MESSAGE')) throw err;
      this.traffic.refused += 1;
      if (performance.now() - this.complainedAt > COMPLAINT_MS) {
        this.complainedAt = performance.now();
        this.logger.warn({ peer: from, refused: this.traffic.refused }, err.message);
      }
    }
    this.tellEvents();
  }

  view(): GossipView {
    const { nodeId: id, intervalMs } = this.options;
    return this.gossip?.view(performance.now()) ?? { id, intervalMs, rounds: 0, members: [] };
  }

  /** How many members are in each state. */
  memberCounts(): Record<string, number> {
    const counts: Record<string, number> = Object.fromEntries(
      [...STATUSES, 'unknown'].map((state) => [state, 0]),
    );
    for (const { state } of this.view().members) counts[state]! += 1;
    return counts;
  }

  get totals(): GossipTotals {
    return { ...(this.gossip?.counters ?? NO_COUNTERS), ...this.traffic };
  }

  get incarnation(): number {
    return this.gossip?.incarnation ?? 0;
  }

  private tick(): void {
    const { gossip } = this;
    if (!gossip) return;
    this.send(gossip.tick(performance.now(), { ...this.options.state(), load: this.load }));
    this.tellEvents();
    if (gossip.counters.rounds === this.loadRounds) return;
    this.loadRounds = gossip.counters.rounds;
    const before = this.utilization;
    this.utilization = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(this.utilization, before);
    this.load = Math.min(LOAD_MAX, Math.max(0, Math.round(utilization * LOAD_MAX)));
  }

  private send(out: readonly Outgoing[]): void {
    for (const { to, message } of out) {
      const link = [this.outbound(to), this.inbound.get(to)].find(
        (candidate) => candidate?.isOpen && candidate.bufferedAmount < UNSENT_BYTES_MAX,
      );
      if (!link) {
        this.traffic.unsent += 1;
        continue;
      }
      const frame = m.encodeFrame(m.Gossip, gossipBody(message));
      link.sendEncoded(frame);
      this.traffic.sent[message.kind] += 1;
      this.traffic.sentBytes += frame.length;
    }
  }

  private tellEvents(): void {
    for (const { id, from, to, incarnation } of this.gossip?.takeEvents() ?? []) {
      // A member that was never heard is perhaps only slower to start.
      const level = from !== null && (to === 'dead' || to === 'suspect') ? 'warn' : 'info';
      this.logger[level]({ member: id, from, to, incarnation }, `gossip: node ${id} is ${to}`);
    }
  }
}

const NO_COUNTERS: GossipCounters = {
  rounds: 0,
  probes: 0,
  probesFailed: 0,
  indirectProbes: 0,
  suspicions: 0,
  deaths: 0,
  refutations: 0,
  membersRefused: 0,
};

function perKind(): Record<MessageKind, number> {
  return Object.fromEntries(MESSAGE_KINDS.map((kind) => [kind, 0])) as Record<MessageKind, number>;
}
