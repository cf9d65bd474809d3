/**
 * Who follows a primary that is gone. Pure; every replica comes to its own conclusion from what the storage nodes answer it. A wrong
 * one costs a restart and never data: the epoch of the log decides who writes.
 */
import type { ComputesView, KnownCompute } from './types.js';

export interface FailoverTimes {
  /** A compute that nothing was heard of for so long is gone. */
  readonly silentMs: number;
  /** The same when its connection broke as well: its process has ended, most likely. */
  readonly cutOffMs: number;
  /** How long the second in line leaves the first alone, the third the second, and so on. */
  readonly turnMs: number;
}

export const DEFAULT_FAILOVER_TIMES: FailoverTimes = { silentMs: 4000, cutOffMs: 1000, turnMs: 2000 };

/** An answer older than this says nothing about now. */
const FRESH_MS = 1500;

/** So many times `silentMs` a node that was restarted waits for a primary that it does not know: one that lives may take its time to connect again. */
const UNKNOWN_SILENCES = 2;

/** One storage node's last answer. */
export interface NodeReport {
  readonly nodeId: string;
  /** Since it came. */
  readonly sinceMs: number;
  /** For how long the node has answered without its connection breaking: in that time it was not restarted. */
  readonly heardForMs: number;
  readonly view: ComputesView;
}

export type Verdict =
  /** There is a primary, or it is meant to be so, or too few nodes answer to tell. */
  | { readonly kind: 'stay' }
  /** The primary hands over to us. */
  | { readonly kind: 'successor'; readonly of: KnownCompute }
  /** The primary is gone, and we may follow it when it has been so for `afterMs`. */
  | { readonly kind: 'gone'; readonly primary: KnownCompute; readonly afterMs: number };

/** What the nodes that answered lately know, each compute by its newest beat; ages are as of now. */
export function mergeReports(reports: readonly NodeReport[]): KnownCompute[] {
  const newest = new Map<string, KnownCompute>();
  for (const { sinceMs, view } of reports) {
    if (sinceMs > FRESH_MS) continue;
    for (const compute of view.computes) {
      const ageMs = compute.ageMs + sinceMs;
      const known = newest.get(compute.name);
      if (!known || ageMs < known.ageMs)
        newest.set(compute.name, {
          ...compute,
          ageMs,
          connected: compute.connected || known?.connected === true,
        });
    }
  }
  return [...newest.values()];
}

export function isAlive(compute: KnownCompute, times: FailoverTimes): boolean {
  return compute.ageMs <= (compute.connected ? times.silentMs : times.cutOffMs);
}

/** The primary as far as these computes tell: of two that say so, the one with the newer epoch. */
export function primaryOf(computes: readonly KnownCompute[]): KnownCompute | null {
  const primaries = computes.filter((compute) => compute.role === 'primary');
  return primaries.sort((a, b) => b.epoch - a.epoch || a.ageMs - b.ageMs)[0] ?? null;
}

/** A living primary other than `name`, if there is one. */
export function otherPrimary(
  reports: readonly NodeReport[],
  name: string,
  times: FailoverTimes,
): KnownCompute | null {
  const primary = primaryOf(mergeReports(reports).filter((compute) => isAlive(compute, times)));
  return primary && primary.name !== name && primary.resigned === 'no' ? primary : null;
}

/** Whether a read quorum of nodes answers, and none of them has heard of the compute lately. */
export function hasEnded(
  reports: readonly NodeReport[],
  name: string,
  readQuorum: number,
  times: FailoverTimes,
): boolean {
  const fresh = reports.filter(({ sinceMs }) => sinceMs <= FRESH_MS);
  if (fresh.length < readQuorum) return false;
  const compute = mergeReports(fresh).find((c) => c.name === name);
  return compute === undefined || !isAlive(compute, times);
}

/**
 * Replicas that may follow, the first in line first. One that is on its way stays where it was, or the second would take its place the
 * moment that it leaves. One that is only starting comes after all that run: it can be a primary nevertheless, and may be unable to become a
 * replica without one.
 */
function line(computes: readonly KnownCompute[], times: FailoverTimes): KnownCompute[] {
  const place = (c: KnownCompute): number =>
    c.state === 'promoting' || (c.role === 'replica' && c.state === 'running')
      ? 0
      : c.role === 'replica' && c.state === 'starting'
        ? 1
        : -1;
  return computes
    .filter((c) => c.failover && place(c) >= 0 && isAlive(c, times))
    .sort((a, b) => place(a) - place(b) || b.priority - a.priority || (a.name < b.name ? -1 : 1));
}

/**
 * What replica `name` should do. `readQuorum`: so many nodes must find the primary gone. `remembered`: the last primary that this replica heard
 * of. Nodes keep computes in memory only: one that was restarted since the primary's last word does not know it, and finds it gone when nothing
 * came for long enough.
 */
export function judge(
  reports: readonly NodeReport[],
  name: string,
  readQuorum: number,
  times: FailoverTimes,
  remembered: KnownCompute | null,
): Verdict {
  const all = mergeReports(reports);
  const primary = primaryOf(all) ?? remembered;
  if (primary?.resigned === 'handover' && primary.successor === name)
    return { kind: 'successor', of: primary };
  // Answers are of different moments: what a compute is, the newest word tells; whether it reaches a node, only that node.
  const newest = new Map(all.map((c) => [c.name, c]));
  const promised = Math.max(0, ...reports.map(({ view }) => view.promisedEpoch));
  // Of an older epoch it is not the last one: what became of that is not known.
  const missed = primary !== null && primary.resigned !== 'stopped' && primary.epoch >= promised;
  let votes = 0;
  let onTheWay = 0;
  for (const { sinceMs, heardForMs, view } of reports) {
    if (sinceMs > FRESH_MS) continue;
    const computes = view.computes.map((c) => ({ ...c, ageMs: c.ageMs + sinceMs }));
    const last = primaryOf(computes);
    const heard = computes.filter((c) => isAlive(c, times)).map((c) => newest.get(c.name) ?? c);
    const living = heard.some((c) => c.role === 'primary' && c.state !== 'promoting');
    const gone = last
      ? last.resigned !== 'stopped'
      : missed && heardForMs > UNKNOWN_SILENCES * times.silentMs;
    if (gone && !living) votes++;
    if (heard.some((c) => c.name !== name && c.state === 'promoting')) onTheWay++;
  }
  // Somebody else is on the way already, and reaches enough nodes to arrive.
  if (!primary || votes < readQuorum || onTheWay >= readQuorum) return { kind: 'stay' };
  const rank = line(all, times).findIndex((c) => c.name === name);
  return rank < 0 ? { kind: 'stay' } : { kind: 'gone', primary, afterMs: rank * times.turnMs };
}
