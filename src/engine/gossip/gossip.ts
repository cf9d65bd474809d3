import { lsn } from '../lsn.js';
import { compareStatus, digestOf, emptyVector, fitNews, isGone, isNewer } from './member.js';
import { Members } from './members.js';
import { Rumours } from './rumours.js';
import { validateMessage } from './validate.js';
import {
  COUNTER_MAX,
  type DigestEntry,
  type GossipCounters,
  type GossipEvent,
  type GossipMessage,
  type GossipOptions,
  type GossipView,
  type LocalState,
  type MemberNews,
  type MessageKind,
  type Outgoing,
} from './types.js';

const HELPERS = 3;
/** Share of a round after which a silent member is asked through others. */
const DIRECT_SHARE = 0.4;
/** Probes on behalf of others that are under way; more are not taken on. */
const RELAYS_MAX = 64;
/** Members told of a leave, beside log2(members). */
const FAREWELLS = 3;

interface Probe {
  readonly target: string;
  readonly seq: number;
  helpersAsked: boolean;
  answered: boolean;
}

interface Relay {
  readonly origin: string;
  readonly originSeq: number;
  readonly target: string;
  /** Protocol time. */
  readonly until: number;
}

/**
 * One member's side of the protocol. It has no clock, no socket and no timer: tick() and receive() are given the time and return what is
 * to be sent; messages may be lost, repeated, reordered. tick() must come at least four times per interval.
 *
 * Its deadlines are in protocol time, which stands still while the process does: a pause between two calls counts for half a round at most.
 * So a node that was stopped, or whose clock jumped, does not take the silence for that of the others.
 */
export class Gossip {
  readonly counters: GossipCounters = {
    rounds: 0,
    probes: 0,
    probesFailed: 0,
    indirectProbes: 0,
    suspicions: 0,
    deaths: 0,
    refutations: 0,
    membersRefused: 0,
  };
  private readonly rumours = new Rumours();
  private readonly members: Members;
  private self: MemberNews;
  private selfSinceMs: number;
  private elapsedMs = 0;
  private lastCallMs: number;
  private roundEnds = 0;
  private nextSeq = 1;
  private probe: Probe | null = null;
  private readonly relays = new Map<number, Relay>();
  /** Members still to be probed before the next shuffle: so each one is, within two passes at most. */
  private pass: string[] = [];

  constructor(private readonly options: GossipOptions) {
    const { id, address, incarnation, seeds, intervalMs, nowMs } = options;
    this.members = new Members(id, seeds, intervalMs, this.rumours, this.counters, nowMs);
    this.self = { id, incarnation, status: 'alive', vector: { ...emptyVector(address), version: 1 } };
    this.selfSinceMs = nowMs;
    this.lastCallMs = nowMs;
  }

  get incarnation(): number {
    return this.self.incarnation;
  }

  /** Time has passed. `local`: this node as it is now. */
  tick(nowMs: number, local: LocalState): Outgoing[] {
    this.advance(nowMs);
    if (this.self.status === 'left') return [];
    this.members.expire(nowMs, this.elapsedMs);
    for (const [seq, { until }] of this.relays) if (this.elapsedMs >= until) this.relays.delete(seq);
    if (this.elapsedMs >= this.roundEnds) return this.newRound(nowMs, local);
    return this.askHelpers();
  }

  /** A message of `from`, who is who the connection says. Throws GOSSIP_BAD_MESSAGE. */
  receive(from: string, message: GossipMessage, nowMs: number): Outgoing[] {
    validateMessage(message);
    this.advance(nowMs);
    if (this.self.status === 'left' || from === this.self.id) return [];
    for (const news of message.news) {
      if (news.id === this.self.id) this.heardOfSelf(digestOf(news), nowMs);
      else this.members.absorb(news, nowMs, this.elapsedMs);
    }
    switch (message.kind) {
      case 'ping':
        return this.answerPing(from, message, nowMs);
      case 'ack':
        return this.acknowledged(from, message);
      case 'ping-req':
        return this.probeFor(from, message);
      case 'relayed-ack':
        this.settle(message.target, message.seq);
        return [];
      case 'news':
        return [];
    }
  }

  /** Stops in order: some others are told, so that nobody is suspected. No word after that. */
  leave(): Outgoing[] {
    if (this.self.status === 'left') return [];
    const { vector } = this.self;
    this.self = { ...this.self, status: 'left', vector: { ...vector, version: vector.version + 1 } };
    const present = this.presentIds();
    this.shuffle(present);
    return present
      .slice(0, FAREWELLS + Math.ceil(Math.log2(this.members.present)))
      .map((to) => this.message(to, 'news', 0, { news: [this.self] }));
  }

  takeEvents(): GossipEvent[] {
    return this.members.takeEvents();
  }

  view(nowMs: number): GossipView {
    const { id, incarnation, status, vector } = this.self;
    const stateAgeMs = Math.max(0, nowMs - this.selfSinceMs);
    const own = { id, self: true, state: status, incarnation, ...vector, newsAgeMs: 0, stateAgeMs };
    const members = [own, ...this.members.view(nowMs)].sort((a, b) => (a.id < b.id ? -1 : 1));
    return { id, intervalMs: this.options.intervalMs, rounds: this.counters.rounds, members };
  }

  private advance(nowMs: number): void {
    const passed = nowMs - this.lastCallMs;
    this.lastCallMs = nowMs;
    this.elapsedMs += Math.max(0, Math.min(passed, this.options.intervalMs / 2));
  }

  private newRound(nowMs: number, local: LocalState): Outgoing[] {
    const { vector } = this.self;
    this.counters.rounds += 1;
    this.roundEnds = this.elapsedMs + this.options.intervalMs;
    this.self = { ...this.self, vector: { ...local, version: vector.version + 1, address: vector.address } };
    if (this.probe && !this.probe.answered) {
      this.counters.probesFailed += 1;
      this.members.suspect(this.probe.target, nowMs, this.elapsedMs);
    }
    this.probe = null;
    const out: Outgoing[] = [];
    const target = this.nextTarget();
    if (target !== null) {
      this.counters.probes += 1;
      this.probe = { target, seq: this.takeSeq(), helpersAsked: false, answered: false };
      out.push(this.ping(target, this.probe.seq));
    }
    // Nobody probes the dead; one knock a round finds those that came back, or that a partition hid.
    const gone = [...this.members.all()].filter(({ status }) => isGone(status));
    if (gone.length > 0) out.push(this.ping(this.pick(gone).id, 0));
    return out;
  }

  private askHelpers(): Outgoing[] {
    const { probe } = this;
    if (!probe || probe.answered || probe.helpersAsked) return [];
    if (this.elapsedMs < this.roundEnds - this.options.intervalMs * (1 - DIRECT_SHARE)) return [];
    probe.helpersAsked = true;
    const helpers = this.presentIds().filter((id) => id !== probe.target);
    this.shuffle(helpers);
    helpers.length = Math.min(helpers.length, this.options.helpers ?? HELPERS);
    this.counters.indirectProbes += helpers.length;
    return helpers.map((to) => this.message(to, 'ping-req', probe.seq, { target: probe.target, news: this.rumourNews() })); // prettier-ignore
  }

  private answerPing(from: string, { seq, digest }: GossipMessage, nowMs: number): Outgoing[] {
    const theirs = new Map(digest.map((entry) => [entry.id, entry]));
    const own = theirs.get(this.self.id);
    if (own) this.heardOfSelf(own, nowMs);
    const wants: string[] = [];
    for (const entry of digest) {
      const ours = this.members.get(entry.id);
      const unknown = !ours && !isGone(entry.status) && entry.id !== this.self.id;
      if (unknown || (ours && isNewer(entry, digestOf(ours)))) wants.push(entry.id);
    }
    // Membership before progress: what they are wrong about may cost a member its life.
    const membership: MemberNews[] = [];
    const progress: MemberNews[] = [];
    for (const news of this.members.all()) {
      const known = theirs.get(news.id);
      if (known ? compareStatus(news, known) > 0 : !isGone(news.status)) membership.push(news);
      else if (known && isNewer(digestOf(news), known)) progress.push(news);
    }
    this.rotate(progress);
    const news = fitNews([this.self, ...membership, ...progress]);
    return [this.message(from, 'ack', seq, { news, wants })];
  }

  private acknowledged(from: string, { seq, wants }: GossipMessage): Outgoing[] {
    const out: Outgoing[] = [];
    this.settle(from, seq);
    const relay = this.relays.get(seq);
    if (relay?.target === from) {
      this.relays.delete(seq);
      out.push(this.message(relay.origin, 'relayed-ack', relay.originSeq, { target: from, news: this.rumourNews() })); // prettier-ignore
    }
    const wanted = wants.flatMap((id) => this.members.get(id) ?? []);
    if (wanted.length > 0) {
      this.rotate(wanted);
      out.push(this.message(from, 'news', 0, { news: fitNews([this.self, ...wanted]) }));
    }
    return out;
  }

  private probeFor(origin: string, { seq, target }: GossipMessage): Outgoing[] {
    if (target === this.self.id)
      return [this.message(origin, 'relayed-ack', seq, { target, news: [this.self] })];
    if (!this.members.get(target) || this.relays.size >= RELAYS_MAX) return [];
    const own = this.takeSeq();
    const until = this.elapsedMs + this.options.intervalMs;
    this.relays.set(own, { origin, originSeq: seq, target, until });
    return [this.ping(target, own)];
  }

  private settle(target: string, seq: number): void {
    if (this.probe?.seq === seq && this.probe.target === target) this.probe.answered = true;
  }

  /**
   * What others hold of this node. A suspicion is answered with the next incarnation. So is anything newer than what this node ever said:
   * that is of an earlier life which counted further than was remembered.
   */
  private heardOfSelf(entry: DigestEntry, nowMs: number): void {
    const { incarnation, vector } = this.self;
    const ofAnotherLife =
      entry.incarnation > incarnation ||
      (entry.incarnation === incarnation && entry.version > vector.version);
    const accused = entry.incarnation === incarnation && entry.status !== 'alive';
    if ((!ofAnotherLife && !accused) || entry.incarnation >= COUNTER_MAX) return;
    if (accused) this.counters.refutations += 1;
    this.self = { ...this.self, incarnation: entry.incarnation + 1 };
    this.selfSinceMs = nowMs;
  }

  private ping(to: string, seq: number): Outgoing {
    // The receiver's own entry is among them: what it is wrongly taken for must reach it, or it could not object.
    const digest = [digestOf(this.self)];
    for (const news of this.members.all()) digest.push(digestOf(news));
    return this.message(to, 'ping', seq, { digest, news: this.rumourNews() });
  }

  /** This node's own news, always the first to go stale elsewhere, and the latest rumours. */
  private rumourNews(): MemberNews[] {
    const told = this.rumours.take().flatMap((id) => this.members.get(id) ?? []);
    return fitNews([this.self, ...told]);
  }

  private message(
    to: string,
    kind: MessageKind,
    seq: number,
    parts: Partial<Pick<GossipMessage, 'target' | 'digest' | 'news' | 'wants'>>,
  ): Outgoing {
    return { to, message: { kind, seq, target: '', digest: [], news: [], wants: [], ...parts } };
  }

  /** The next member in a random order that is drawn anew after each pass. */
  private nextTarget(): string | null {
    for (let passes = 0; passes < 2; passes++) {
      for (let id = this.pass.pop(); id !== undefined; id = this.pass.pop()) {
        const news = this.members.get(id);
        if (news && !isGone(news.status)) return id;
      }
      this.pass = this.presentIds();
      this.shuffle(this.pass);
    }
    return null;
  }

  private presentIds(): string[] {
    return [...this.members.all()].filter(({ status }) => !isGone(status)).map(({ id }) => id);
  }

  private takeSeq(): number {
    const seq = this.nextSeq;
    this.nextSeq = seq === 0xffff_ffff ? 1 : seq + 1;
    return seq;
  }

  private pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.options.random() * items.length)]!;
  }

  private shuffle(items: unknown[]): void {
    for (let i = items.length - 1; i > 0; i--) {
      const j = Math.floor(this.options.random() * (i + 1));
      [items[i], items[j]] = [items[j], items[i]];
    }
  }

  /** So that what does not fit into one message is not always the same. */
  private rotate<T>(items: T[]): void {
    if (items.length > 1) items.push(...items.splice(0, Math.floor(this.options.random() * items.length)));
  }
}

/** Of a node that has nothing yet. */
export const NO_STATE: LocalState = {
  epoch: 0,
  scl: lsn(0),
  commitLsn: lsn(0),
  appliedLsn: lsn(0),
  gcLsn: lsn(0),
  load: 0,
  condition: 'ok',
};
