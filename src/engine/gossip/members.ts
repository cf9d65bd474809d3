import { compareStatus, emptyVector, isGone, join } from './member.js';
import type { Rumours } from './rumours.js';
import {
  MEMBERS_MAX,
  type GossipCounters,
  type GossipEvent,
  type MemberNews,
  type MemberStatus,
  type MemberView,
} from './types.js';

/** A suspicion becomes a death after this many rounds, and log2(members) more: time for the suspect to hear of it and answer. */
const SUSPICION_ROUNDS = 3;
/** A member that is gone and not configured here is forgotten after this many rounds. */
const FORGET_ROUNDS = 3600;
/** Events that nobody has taken. */
const EVENTS_MAX = 1000;

interface Member {
  news: MemberNews;
  readonly seed: boolean;
  /** Caller's clock, when a newer version was last heard; null = never. */
  heardAtMs: number | null;
  /** Caller's clock. */
  stateSinceMs: number;
  /** Protocol time at which a suspect is taken for dead; of others null. */
  suspectUntil: number | null;
  /** Protocol time since when it has been gone; of others null. */
  goneSince: number | null;
}

/** Rounds from a suspicion to the death that follows from it, among so many members. */
export function suspicionRounds(members: number): number {
  return SUSPICION_ROUNDS + Math.ceil(Math.log2(Math.max(2, members)));
}

/** What one node knows of the others, and what follows from news of them. */
export class Members {
  private readonly byId = new Map<string, Member>();
  private events: GossipEvent[] = [];
  private presentCount = 1;

  constructor(
    selfId: string,
    seeds: readonly { readonly id: string; readonly address: string }[],
    private readonly intervalMs: number,
    private readonly rumours: Rumours,
    private readonly counters: GossipCounters,
    nowMs: number,
  ) {
    for (const { id, address } of seeds) {
      if (id === selfId || this.byId.has(id)) continue;
      const news: MemberNews = { id, incarnation: 0, status: 'alive', vector: emptyVector(address) };
      this.presentCount += 1;
      this.byId.set(id, {
        news,
        seed: true,
        heardAtMs: null,
        stateSinceMs: nowMs,
        suspectUntil: null,
        goneSince: null,
      });
    }
  }

  /** Members that take part, this node among them. */
  get present(): number {
    return this.presentCount;
  }

  get(id: string): MemberNews | undefined {
    return this.byId.get(id)?.news;
  }

  *all(): Iterable<MemberNews> {
    for (const { news } of this.byId.values()) yield news;
  }

  /** News of another member than this node. */
  absorb(news: MemberNews, nowMs: number, elapsedMs: number): void {
    const member = this.byId.get(news.id);
    if (!member) {
      this.meet(news, nowMs, elapsedMs);
      return;
    }
    const before = member.news;
    const after = join(before, news);
    if (after === before) return;
    member.news = after;
    const isNewVector =
      after.incarnation > before.incarnation || after.vector.version > before.vector.version;
    if (isNewVector && after.vector.version > 0) member.heardAtMs = nowMs;
    if (compareStatus(after, before) > 0) this.changed(member, before, nowMs, elapsedMs);
  }

  /** This node got no answer from it. */
  suspect(id: string, nowMs: number, elapsedMs: number): void {
    const news = this.byId.get(id)?.news;
    if (news?.status === 'alive') this.absorb({ ...news, status: 'suspect' }, nowMs, elapsedMs);
  }

  /** Suspects whose time is over are dead; those gone for long are forgotten. */
  expire(nowMs: number, elapsedMs: number): void {
    for (const [id, member] of this.byId) {
      if (member.suspectUntil !== null && elapsedMs >= member.suspectUntil)
        this.absorb({ ...member.news, status: 'dead' }, nowMs, elapsedMs);
      if (
        !member.seed &&
        member.goneSince !== null &&
        elapsedMs >= member.goneSince + FORGET_ROUNDS * this.intervalMs
      ) {
        this.byId.delete(id);
        this.rumours.forget(id);
      }
    }
  }

  takeEvents(): GossipEvent[] {
    const { events } = this;
    this.events = [];
    return events;
  }

  view(nowMs: number): MemberView[] {
    return [...this.byId.values()].map(({ news, heardAtMs, stateSinceMs }) => ({
      id: news.id,
      self: false,
      state: news.incarnation === 0 && news.status !== 'dead' ? 'unknown' : news.status,
      incarnation: news.incarnation,
      ...news.vector,
      newsAgeMs: heardAtMs === null ? null : Math.max(0, nowMs - heardAtMs),
      stateAgeMs: Math.max(0, nowMs - stateSinceMs),
    }));
  }

  /** The gone are not taken in: whoever forgot one must not learn of it again from those who will forget it later. */
  private meet(news: MemberNews, nowMs: number, elapsedMs: number): void {
    if (isGone(news.status)) return;
    if (this.byId.size >= MEMBERS_MAX - 1) {
      this.counters.membersRefused += 1;
      return;
    }
    const member: Member = {
      news,
      seed: false,
      heardAtMs: news.vector.version > 0 ? nowMs : null,
      stateSinceMs: nowMs,
      suspectUntil: null,
      goneSince: null,
    };
    this.byId.set(news.id, member);
    this.changed(member, null, nowMs, elapsedMs);
  }

  private changed(member: Member, before: MemberNews | null, nowMs: number, elapsedMs: number): void {
    const { id, status, incarnation } = member.news;
    const wasPresent = before !== null && !isGone(before.status);
    this.presentCount += Number(!isGone(status)) - Number(wasPresent);
    member.suspectUntil =
      status === 'suspect' ? elapsedMs + suspicionRounds(this.present) * this.intervalMs : null;
    member.goneSince = isGone(status) ? elapsedMs : null;
    const from: MemberStatus | null = before === null || before.incarnation === 0 ? null : before.status;
    if (from !== status) member.stateSinceMs = nowMs;
    if (status === 'suspect') this.counters.suspicions += 1;
    if (status === 'dead') this.counters.deaths += 1;
    this.rumours.tell(id, this.present);
    if (this.events.length < EVENTS_MAX) this.events.push({ id, from, to: status, incarnation });
  }
}
