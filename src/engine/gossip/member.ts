import { lsn } from '../lsn.js';
import {
  MEMBERS_MAX,
  NEWS_BYTES_MAX,
  STATUSES,
  type DigestEntry,
  type MemberNews,
  type MemberStatus,
  type StateVector,
} from './types.js';

/** Starts of a node are counted durably, refutations are not; this many of them fit between two starts. */
const REFUTATIONS_PER_LIFE = 10_000;

/** `generation` counts the node's starts from 1. Should a life have had more refutations, the next one hears of itself and goes above. */
export function firstIncarnation(generation: number): number {
  return generation * REFUTATIONS_PER_LIFE;
}

export function emptyVector(address: string): StateVector {
  const none = lsn(0);
  return {
    version: 0,
    epoch: 0,
    scl: none,
    commitLsn: none,
    appliedLsn: none,
    gcLsn: none,
    load: 0,
    condition: 'ok',
    address,
  };
}

export function rank(status: MemberStatus): number {
  return STATUSES.indexOf(status);
}

export function isGone(status: MemberStatus): boolean {
  return status === 'dead' || status === 'left';
}

/** Positive: `a` overrules `b`. */
export function compareStatus(
  a: Pick<DigestEntry, 'incarnation' | 'status'>,
  b: Pick<DigestEntry, 'incarnation' | 'status'>,
): number {
  return a.incarnation - b.incarnation || rank(a.status) - rank(b.status);
}

/**
 * Both together. The order of arrival cannot matter: it is commutative, associative and idempotent, as long as a version of an
 * incarnation has one content. Returns `a` itself when `b` adds nothing.
 */
export function join(a: MemberNews, b: MemberNews): MemberNews {
  if (a.incarnation !== b.incarnation) return a.incarnation > b.incarnation ? a : b;
  const status = rank(b.status) > rank(a.status) ? b.status : a.status;
  const vector = b.vector.version > a.vector.version ? b.vector : a.vector;
  if (status === a.status && vector === a.vector) return a;
  return { ...a, status, vector };
}

/** Whether someone with `a` knows something that someone with `b` does not. */
export function isNewer(a: DigestEntry, b: DigestEntry): boolean {
  return compareStatus(a, b) > 0 || (a.incarnation === b.incarnation && a.version > b.version);
}

export function digestOf({ id, incarnation, status, vector }: MemberNews): DigestEntry {
  return { id, incarnation, status, version: vector.version };
}

/** Upper bound of the bytes that this takes on the wire: 8 fixed fields of 8 bytes, 3 short ones, 2 strings with their lengths. */
export function newsBytes({ id, vector }: MemberNews): number {
  return 72 + Buffer.byteLength(id) + Buffer.byteLength(vector.address);
}

/** From the front, as many as a message may hold. */
export function fitNews(candidates: Iterable<MemberNews>): MemberNews[] {
  const chosen = new Map<string, MemberNews>();
  let bytes = 0;
  for (const news of candidates) {
    if (chosen.has(news.id)) continue;
    bytes += newsBytes(news);
    if (bytes > NEWS_BYTES_MAX || chosen.size === MEMBERS_MAX) break;
    chosen.set(news.id, news);
  }
  return [...chosen.values()];
}
