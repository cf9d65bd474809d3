import { lsn } from '../../src/engine/lsn.js';
import { Gossip, firstIncarnation } from '../../src/engine/gossip/index.js';
import type { GossipEvent, GossipMessage, LocalState, MemberView } from '../../src/engine/gossip/index.js';
import { gossipBody, gossipMessage } from '../../src/net/gossip-codec.js';
import { Gossip as Frame, decodeFrame, encodeFrame, isFrameOf } from '../../src/net/messages.js';
import { World, type NetworkFaults } from './world.js';

/** Virtual milliseconds. */
export const ROUND = 1000;
const TICK = ROUND / 5;

export interface GossipSimOptions {
  readonly seed: number;
  readonly nodes: number;
  readonly faults?: Partial<NetworkFaults>;
  /** Clocks run between this much too slow and this much too fast. */
  readonly drift?: number;
  /** Each knows only so many others at first; default: all. */
  readonly seeds?: number;
  /** Each message through the real frames. */
  readonly encode?: boolean;
}

/** One member with a clock of its own, which starts anywhere and runs at a rate of its own. */
class SimMember {
  gossip: Gossip | null = null;
  generation = 0;
  paused = false;
  /** What arrived while it was paused, as a socket keeps it. */
  readonly backlog: { from: string; message: GossipMessage }[] = [];
  readonly events: (GossipEvent & { at: number })[] = [];
  /** Truth about itself: grows. */
  progress = 0;
  private lives = 0;
  /** Newest of each member and incarnation that this life saw. */
  private seen = new Map<string, { incarnation: number; rank: number; version: number; scl: number }>();

  constructor(
    readonly id: string,
    private readonly sim: GossipSim,
    private readonly rate: number,
    private readonly offset: number,
  ) {}

  get now(): number {
    return this.offset + this.sim.world.now * this.rate;
  }

  start(seeds: readonly string[], generation = this.generation + 1): void {
    this.generation = generation;
    this.lives += 1;
    this.paused = false;
    this.backlog.length = 0;
    this.seen = new Map();
    this.gossip = new Gossip({
      id: this.id,
      address: `${this.id}:1`,
      incarnation: firstIncarnation(generation),
      seeds: seeds.map((id) => ({ id, address: `${id}:1` })),
      intervalMs: ROUND,
      random: () => this.sim.world.random(),
      nowMs: this.now,
    });
    const life = this.lives;
    const loop = (): void => {
      if (this.lives !== life || !this.gossip) return;
      this.tick();
      this.sim.world.after(TICK / this.rate, loop);
    };
    this.sim.world.after(this.sim.world.random() * ROUND, loop);
  }

  crash(): void {
    this.gossip = null;
    this.lives += 1;
  }

  resume(): void {
    this.paused = false;
    this.tick(); // timers come before sockets
    for (const { from, message } of this.backlog.splice(0)) this.receive(from, message);
  }

  receive(from: string, message: GossipMessage): void {
    if (!this.gossip) return;
    if (this.paused) {
      this.backlog.push({ from, message });
      return;
    }
    this.sim.send(this.id, this.gossip.receive(from, message, this.now));
    this.observe();
  }

  view(id: string): MemberView | undefined {
    return this.gossip?.view(this.now).members.find((member) => member.id === id);
  }

  private tick(): void {
    if (!this.gossip || this.paused) return;
    this.progress += 1;
    this.sim.send(this.id, this.gossip.tick(this.now, stateAt(this.progress)));
    this.observe();
  }

  private observe(): void {
    const events = this.gossip!.takeEvents();
    for (const event of events) this.events.push({ ...event, at: this.sim.world.now });
    // Looking at everything after every step would be most of the run.
    if (events.length > 0 || this.sim.world.chance(1 / this.sim.ids.length))
      for (const view of this.gossip!.view(this.now).members) if (!view.self) this.checkForward(view);
  }

  /** A member's state, as this node holds it, never goes back within one incarnation. */
  private checkForward({ id, incarnation, version, scl, state }: MemberView): void {
    const rank = ['unknown', 'alive', 'suspect', 'dead', 'left'].indexOf(state);
    const before = this.seen.get(id);
    if (before) {
      const back =
        incarnation < before.incarnation ||
        (incarnation === before.incarnation &&
          (version < before.version || rank < before.rank || scl < before.scl));
      if (back)
        throw new Error(
          `${this.id} went back about ${id}: from ${JSON.stringify(before)} to ${JSON.stringify({ incarnation, rank, version, scl })}`,
        );
    }
    this.seen.set(id, { incarnation, rank, version, scl });
  }
}

/** All fields follow from one number, so that a mixture of two versions would show. */
export function stateAt(progress: number): LocalState {
  return {
    epoch: progress,
    scl: lsn(progress * 8),
    commitLsn: lsn(progress * 8),
    appliedLsn: lsn(progress * 4),
    gcLsn: lsn(progress),
    load: progress % 1000,
    condition: 'ok',
  };
}

export class GossipSim {
  readonly world: World;
  readonly members = new Map<string, SimMember>();
  readonly ids: string[];
  bytesMax = 0;
  messages = 0;
  private readonly encode: boolean;

  constructor(readonly options: GossipSimOptions) {
    const { seed, nodes, drift = 0.05, seeds = nodes } = options;
    this.world = new World(seed, {
      dropRate: 0,
      duplicateRate: 0,
      delayMin: 1,
      delayTail: 20,
      ...options.faults,
    });
    this.encode = options.encode ?? false;
    this.ids = Array.from({ length: nodes }, (_, i) => `node-${i + 1}`);
    for (const id of this.ids) {
      const rate = 1 + (this.world.random() * 2 - 1) * drift;
      this.members.set(id, new SimMember(id, this, rate, this.world.random() * 1e9));
    }
    this.ids.forEach((id, i) => {
      // The first is known to all; the rest is for gossip to find out.
      const known = [this.ids[0]!, ...Array.from({ length: seeds - 1 }, (_, k) => this.ids[(i + k + 1) % nodes]!)]; // prettier-ignore
      this.member(id).start(known);
    });
  }

  member(id: string): SimMember {
    return this.members.get(id)!;
  }

  get live(): SimMember[] {
    return [...this.members.values()].filter((member) => member.gossip !== null && !member.paused);
  }

  send(from: string, out: readonly { to: string; message: GossipMessage }[]): void {
    for (const { to, message } of out) {
      this.messages += 1;
      const arrived = this.encode ? this.throughFrames(message) : message;
      this.world.send(from, to, () => this.members.get(to)?.receive(from, arrived));
    }
  }

  /** Runs until `done`; the rounds that it took. Throws when it takes more than `limit`. */
  rounds(what: string, limit: number, done: () => boolean): number {
    const begun = this.world.now;
    while (!done()) {
      const passed = (this.world.now - begun) / ROUND;
      if (passed >= limit) throw new Error(`${what}: not within ${limit} rounds`);
      this.world.run(this.world.now + ROUND / 2);
    }
    return (this.world.now - begun) / ROUND;
  }

  run(rounds: number): void {
    this.world.run(this.world.now + rounds * ROUND);
  }

  /** Every live member takes `id` for what `states` says. */
  allSee(id: string, ...states: string[]): boolean {
    return this.live.every(
      (member) => member.id === id || states.includes(member.view(id)?.state ?? 'absent'),
    );
  }

  /** Every live member takes every live member for alive, and the rest for gone. */
  agreed(): boolean {
    const live = new Set(this.live.map(({ id }) => id));
    return this.live.every((member) => {
      const view = member.gossip!.view(member.now).members;
      const alive = view.filter(({ state }) => state === 'alive');
      return alive.length === live.size && alive.every(({ id }) => live.has(id));
    });
  }

  /** Deaths that any member was told of, of members that had not crashed. */
  deaths(of: (id: string) => boolean = () => true): string[] {
    return [...this.members.values()].flatMap(({ id, events }) =>
      events
        .filter((event) => event.to === 'dead' && of(event.id))
        .map((event) => `${id} took ${event.id} for dead at ${event.at.toFixed(0)}`),
    );
  }

  heal(): void {
    this.world.partition(new Map());
    this.world.faults = { dropRate: 0, duplicateRate: 0, delayMin: 1, delayTail: 20 };
  }

  private throughFrames(message: GossipMessage): GossipMessage {
    const bytes = encodeFrame(Frame, gossipBody(message));
    this.bytesMax = Math.max(this.bytesMax, bytes.length);
    const frame = decodeFrame(bytes);
    if (!isFrameOf(frame, Frame)) throw new Error('another frame came out than went in');
    return gossipMessage(frame.body);
  }
}
