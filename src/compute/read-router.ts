import { DbError, isDbError } from '../engine/errors.js';
import type { StorageClient } from '../net/storage-client.js';
import { RecentLatencies } from './recent-latencies.js';

/** Weight of the newest sample in a node's latency average. */
const EWMA_ALPHA = 0.2;
/** Time in which what is known of a node that is not asked any more fades to 1/e: it may have become better. */
const FADING_MS = 2000;
/** For so long a node that failed is asked last; then it may prove itself again. */
const FAILURE_PENALTY_MS = 2000;
/** No second request before this: below it, a timer's own inaccuracy would send many. */
const HEDGE_MS_MIN = 5;
/** Until enough reads are known to tell what is slow. */
const HEDGE_MS_UNKNOWN = 50;

interface Candidate {
  readonly nodeId: string;
  client: StorageClient;
  latencyMs: number;
  sampledAtMs: number;
  /** Requests without an answer. */
  inFlight: number;
  reads: number;
  hedges: number;
  failures: number;
  /** Asked last until then. */
  shunnedUntilMs: number;
}

type Outcome<T> = { ok: true; value: T } | { ok: false; error: unknown; attempt: Attempt };

/** One node's part in a read. */
interface Attempt {
  readonly node: Candidate;
  readonly begunMs: number;
  state: 'running' | 'ended' | 'beaten';
}

export interface ReadRouterOptions {
  /** In [0, 1). Default Math.random. */
  random?: () => number;
}

export interface ReadShare {
  nodeId: string;
  reads: number;
  /** Of the reads: second requests, because another node was slow. */
  hedges: number;
  failures: number;
  latencyMs: number;
}

/**
 * Sends each read to a storage node, and to another one when it fails. A read names its LSN, so any node that has applied that far
 * gives the same bytes.
 *
 * Of two nodes picked at random one is asked, by lot: the odds are the inverse squares of what is to be waited for (EWMA of latency x requests
 * in flight). That is close to the best choice, without all computes running to the same node; and a node that was slow once is still
 * asked now and then, so that it does not stay without work, and what is known of it without correction, when the others do well. A page read that takes longer than 95 % of the recent ones is also sent to a
 * second node, and the first answer counts; so a node that stalls costs its readers no more than that wait.
 */
export class ReadRouter {
  private readonly nodes = new Map<string, Candidate>();
  private readonly recent = new RecentLatencies();
  private readonly random: () => number;

  constructor(options: ReadRouterOptions = {}) {
    this.random = options.random ?? Math.random;
  }

  /** The node is connected: it may be asked. */
  add(client: StorageClient): void {
    const known = this.nodes.get(client.nodeId);
    if (known?.client === client) return;
    if (known) {
      Object.assign(known, { client, inFlight: 0, shunnedUntilMs: 0 });
      return;
    }
    this.nodes.set(client.nodeId, {
      nodeId: client.nodeId,
      client,
      latencyMs: 0,
      sampledAtMs: 0,
      inFlight: 0,
      reads: 0,
      hedges: 0,
      failures: 0,
      shunnedUntilMs: 0,
    });
  }

  remove(client: StorageClient): void {
    if (this.nodes.get(client.nodeId)?.client === client) this.nodes.delete(client.nodeId);
  }

  /** Reads per node, for metrics. */
  shares(): ReadShare[] {
    return [...this.nodes.values()].map(({ nodeId, reads, hedges, failures, latencyMs }) => ({
      nodeId,
      reads,
      hedges,
      failures,
      latencyMs,
    }));
  }

  /** A read whose cost nobody knows beforehand: one node after the other until one answers. Throws NODE_NONE_READABLE. */
  read<T>(what: string, read: (client: StorageClient) => Promise<T>): Promise<T> {
    return this.run(what, read, false);
  }

  /** A read of a few pages, all alike: hedged. Throws NODE_NONE_READABLE with the last node's reason. */
  readPages<T>(what: string, read: (client: StorageClient) => Promise<T>): Promise<T> {
    return this.run(what, read, true);
  }

  private async run<T>(
    what: string,
    read: (client: StorageClient) => Promise<T>,
    hedged: boolean,
  ): Promise<T> {
    const tried = new Set<Candidate>();
    const running = new Map<Attempt, Promise<Outcome<T>>>();
    let timer: NodeJS.Timeout | undefined;
    let last: unknown;
    const ask = (hedge: boolean): boolean => {
      const node = this.pick(tried);
      if (!node) return false;
      tried.add(node);
      if (hedge) node.hedges++;
      const attempt: Attempt = { node, begunMs: performance.now(), state: 'running' };
      running.set(attempt, this.attempt(attempt, read, hedged));
      return true;
    };
    try {
      for (;;) {
        if (running.size === 0 && !ask(false)) throw noneReadable(what, last);
        const contenders: Promise<Outcome<T> | null>[] = [...running.values()];
        if (hedged && running.size === 1 && this.hasOther(tried)) {
          const afterMs = this.hedgeAfterMs();
          clearTimeout(timer);
          // Without a signal to abort it: an error made and thrown away for each page read costs more than the request itself.
          contenders.push(new Promise((resolve) => (timer = setTimeout(resolve, afterMs, null))));
        }
        const outcome = await Promise.race(contenders);
        if (outcome === null) {
          // A contender that went on answering nothing stays one: whoever is first wins.
          ask(true);
        } else if (outcome.ok) {
          return outcome.value;
        } else {
          // The caller's own mistake would fail on every node alike.
          if (isDbError(outcome.error) && outcome.error.reaction === 'usage') throw outcome.error;
          running.delete(outcome.attempt);
          last = outcome.error;
        }
      }
    } finally {
      clearTimeout(timer);
      for (const attempt of running.keys()) this.beat(attempt);
    }
  }

  /** Never rejects: a loser's end is nobody's business but the node's record. */
  private async attempt<T>(
    attempt: Attempt,
    read: (client: StorageClient) => Promise<T>,
    counts: boolean,
  ): Promise<Outcome<T>> {
    const { node, begunMs } = attempt;
    const { client } = node;
    node.reads++;
    node.inFlight++;
    try {
      const value = await read(client);
      if (attempt.state === 'running') {
        const tookMs = performance.now() - begunMs;
        this.sample(node, tookMs);
        if (counts) this.recent.add(tookMs);
      }
      return { ok: true, value };
    } catch (error) {
      if (!(isDbError(error) && error.reaction === 'usage')) {
        node.failures++;
        node.shunnedUntilMs = performance.now() + FAILURE_PENALTY_MS;
      }
      return { ok: false, error, attempt };
    } finally {
      if (attempt.state === 'running') attempt.state = 'ended';
      if (node.client === client) node.inFlight--;
    }
  }

  /** By another node: what it has cost so far is a sample at once, though its answer may never come. */
  private beat(attempt: Attempt): void {
    if (attempt.state !== 'running') return;
    attempt.state = 'beaten';
    this.sample(attempt.node, performance.now() - attempt.begunMs);
  }

  private sample(node: Candidate, tookMs: number): void {
    node.latencyMs += EWMA_ALPHA * (tookMs - node.latencyMs);
    node.sampledAtMs = performance.now();
  }

  private hedgeAfterMs(): number {
    return Math.max(HEDGE_MS_MIN, this.recent.p95() ?? HEDGE_MS_UNKNOWN);
  }

  private hasOther(tried: ReadonlySet<Candidate>): boolean {
    for (const node of this.nodes.values()) if (node.client.isOpen && !tried.has(node)) return true;
    return false;
  }

  /** One of two among the nodes that did not just fail; among those when there is no other. */
  private pick(tried: ReadonlySet<Candidate>): Candidate | null {
    const now = performance.now();
    const open = [...this.nodes.values()].filter((node) => node.client.isOpen && !tried.has(node));
    const good = open.filter((node) => node.shunnedUntilMs <= now);
    const choice = good.length > 0 ? good : open;
    if (choice.length <= 1) return choice[0] ?? null;
    const first = Math.floor(this.random() * choice.length);
    const second = (first + 1 + Math.floor(this.random() * (choice.length - 1))) % choice.length;
    const [a, b] = [choice[first]!, choice[second]!];
    const [forA, forB] = [expectedWait(b, now) ** 2, expectedWait(a, now) ** 2];
    // Nothing is known of either: both are as good.
    if (forA + forB === 0) return a;
    return this.random() * (forA + forB) < forA ? a : b;
  }
}

function expectedWait(node: Candidate, now: number): number {
  return node.latencyMs * Math.exp((node.sampledAtMs - now) / FADING_MS) * (node.inFlight + 1);
}

function noneReadable(what: string, last: unknown): DbError {
  return new DbError(
    'NODE_NONE_READABLE',
    `no storage node could serve ${what}${last instanceof Error ? `: ${last.message}` : ': none is connected'}`,
    { cause: last, hint: 'Look at the storage nodes with: aurora status' },
  );
}
