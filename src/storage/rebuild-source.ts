import type { Logger } from 'pino';
import { DbError, errorMessage, isDbError } from '../engine/errors.js';
import type { ControlState } from '../engine/control/index.js';
import { formatLsn, INVALID_LSN, lsn, type Lsn } from '../engine/lsn.js';
import type { BaseImage, BaseRow } from '../engine/pages/base.js';
import type { RebuildStep } from '../engine/pages/rebuild.js';
import type { Peers } from './peers.js';

export type ReadyPeer = Peers['connected'][number];

export interface RebuildSourceOptions {
  nodeId: string;
  /** Whether this node has no pages of its own that could be read. */
  nothingToLose(): boolean;
}

const FETCH_TIMEOUT_MS = 60_000;

/**
 * The peers that a node is rebuilt from: one at a time, another one that serves the same LSN when it fails. While it lasts, all of them are
 * asked to keep what it reads (a lease), so that any can take over.
 *
 * Where no peer is healthy, those whose own pages are damaged serve, if it has to be: what they cannot read they say, and what one of them cannot read another can.
 */
export class RebuildSource {
  private peer = '';
  private leaseTtlMs = 0;
  private leasedAtMs = -Infinity;
  private readonly leaseName: string;

  constructor(
    private readonly peers: () => Peers,
    private readonly options: RebuildSourceOptions,
    private readonly logger: Logger,
  ) {
    this.leaseName = `rebuild of node ${options.nodeId}`;
  }

  /** The peer in use, or ''. */
  get peerId(): string {
    return this.peer;
  }

  /** Healthy peers, the one in use first, then the most advanced; in need, the damaged ones if there are no others. */
  candidates(): ReadyPeer[] {
    const healthy = this.healthy();
    if (healthy.length > 0) return healthy;
    const limping = this.those(({ rebuild }) => rebuild !== null && rebuild.cause !== null);
    return this.isInNeed(limping.length) ? limping : [];
  }

  private healthy(): ReadyPeer[] {
    return this.those(({ rebuild, ingestError }) => rebuild === null && ingestError === null);
  }

  /**
   * Damaged peers will do when there is nothing here to lose; or when the pages of all nodes are damaged, so that none would ever be healed: then the
   * first node goes first, and the others copy from it.
   */
  private isInNeed(limping: number): boolean {
    const { nodeId, nothingToLose } = this.options;
    const { all } = this.peers();
    return nothingToLose() || (limping === all.length && all.every(({ id }) => nodeId < id));
  }

  /**
   * Whether damaged pages that were set aside are wanted again: all nodes are there and none has pages, for each took another for whole; or a page can
   * be read nowhere, and a peer has none either, or no peer is whole. Between the nodes there may be a whole copy of each page, which a damaged peer that is
   * behind cannot give to a rebuild that is further.
   */
  needsWhatIsAside(pageUnreadable: boolean): boolean {
    const { all, connected } = this.peers();
    const without = connected.filter(({ status }) => status.appliedLsn === 0);
    if (all.length > 0 && without.length === all.length) return true;
    return pageUnreadable && (without.length > 0 || this.healthy().length === 0);
  }

  private those(able: (status: ReadyPeer['status']) => boolean): ReadyPeer[] {
    return this.peers()
      .connected.filter(({ status: s }) => {
        const serves = s.voter && s.state !== 'draining' && s.damaged.length === 0;
        return serves && s.appliedLsn > 0 && s.appliedLsn <= s.commitLsn && able(s);
      })
      .sort((a, b) => {
        const [first, second] = [Number(a.id === this.peer), Number(b.id === this.peer)];
        return second - first || b.status.appliedLsn - a.status.appliedLsn;
      });
  }

  /** A healthy peer whose log leads on from `at`, and is committed there; null if there is none. */
  withLog(at: Lsn): ReadyPeer | null {
    const able = ({ status }: ReadyPeer): boolean => status.appliedLsn >= at && status.logStart <= at;
    return this.candidates().find(able) ?? null;
  }

  /** Whether a healthy peer has got as far as `at`: one that has not may still have what is missed later. */
  hasReached(at: Lsn): boolean {
    return this.candidates().some(({ status }) => status.appliedLsn >= at);
  }

  /** Everything but pages, from the first peer that can give it; throws when none can at present. */
  async begin(): Promise<{ peer: string; at: Lsn; rows: BaseRow[]; control: ControlState }> {
    const candidates = this.candidates();
    // Damaged peers may not get any further: what each of them has, it can make up for in another.
    const applied = candidates.map(({ status }) => status.appliedLsn);
    const limping = candidates.some(({ status }) => status.rebuild !== null);
    let lastError: unknown = noPeer(INVALID_LSN);
    for (const peer of candidates) {
      const at = limping ? lsn(Math.min(...applied)) : peer.status.appliedLsn;
      try {
        await this.hold(peer, at);
        const [rows, control] = await Promise.all([
          peer.client.baseRows({ lsn: at }, 0),
          peer.client.controlState({ lsn: at }),
        ]);
        return { peer: peer.id, at, rows, control };
      } catch (err) {
        lastError = err;
        this.logger.warn({ peer: peer.id, err }, `rebuild: node ${peer.id}: ${errorMessage(err)}`);
      }
    }
    throw lastError;
  }

  /** Uses `peer`, and keeps what is to be read at `at` and after. Throws what the peer answers. */
  async hold(peer: ReadyPeer, at: Lsn): Promise<void> {
    const { horizon, ttlMs } = await peer.client.renewLease({ name: this.leaseName, lsn: at });
    if (horizon > at)
      throw new DbError(
        'REBUILD_GONE',
        `node ${peer.id} keeps history only from ${formatLsn(horizon)} on, not from ${formatLsn(at)}`,
        { reaction: 'retry' },
      );
    this.peer = peer.id;
    this.leaseTtlMs = ttlMs;
    this.leasedAtMs = performance.now();
  }

  /** The pages of the step. Null when peers are there but none of them has that LSN any more; throws when it may be tried again. */
  async fetch(step: RebuildStep, at: Lsn): Promise<BaseImage[] | null> {
    await this.renew(at);
    try {
      return await this.fetchWhole(step, at);
    } catch (err) {
      if (step.count === 1 || !isDbError(err, 'PAGE_STORE_DAMAGED')) throw err;
    }
    // What is wrong on one peer need not be wrong on the other, page by page.
    const half = Math.floor(step.count / 2);
    const first = await this.fetch({ ...step, count: half }, at);
    const second = first && (await this.fetch({ ...step, first: step.first + half, count: step.count - half }, at)); // prettier-ignore
    return second && [...first, ...second];
  }

  private async fetchWhole(step: RebuildStep, at: Lsn): Promise<BaseImage[] | null> {
    const able = this.candidates().filter(({ status }) => status.appliedLsn >= at);
    let lastError: unknown = noPeer(at);
    let gone = 0;
    for (const peer of able) {
      try {
        const images = await fetchFrom(peer, step, at);
        this.peer = peer.id;
        return images;
      } catch (err) {
        lastError = err;
        if (isDbError(err, 'PAGE_GONE_BY_GC') || isDbError(err, 'PAGE_NO_RELATION')) gone += 1;
        this.logger.warn({ peer: peer.id, err }, `rebuild: node ${peer.id}: ${errorMessage(err)}`);
      }
    }
    if (gone > 0 && gone === able.length) return null;
    throw lastError;
  }

  /** Peers need not keep anything for us any more. */
  async release(): Promise<void> {
    if (this.leaseTtlMs === 0) return;
    this.leaseTtlMs = 0;
    this.peer = '';
    await Promise.allSettled(this.peers().connected.map(({ client }) => client.releaseLease(this.leaseName)));
  }

  private async renew(at: Lsn): Promise<void> {
    if (performance.now() - this.leasedAtMs < this.leaseTtlMs / 4) return;
    const asked = this.peers().connected.map(({ client }) =>
      client.renewLease({ name: this.leaseName, lsn: at }),
    );
    const held = (await Promise.allSettled(asked)).flatMap((r) =>
      r.status === 'fulfilled' ? [r.value] : [],
    );
    if (held.length === 0) return;
    this.leaseTtlMs = Math.min(...held.map(({ ttlMs }) => ttlMs));
    this.leasedAtMs = performance.now();
  }
}

function fetchFrom({ client }: ReadyPeer, step: RebuildStep, at: Lsn): Promise<BaseImage[]> {
  const { first, count } = step;
  if (step.kind === 'slru')
    return client.baseSlruPages({ slru: step.slru, blkno: first, count, lsn: at }, FETCH_TIMEOUT_MS);
  const { spcOid, dbOid, relNumber, fork } = step.rel;
  return client.basePages({ spcOid, dbOid, relNumber, fork, blkno: first, count, lsn: at }, FETCH_TIMEOUT_MS);
}

export function noPeer(at: Lsn): DbError {
  const far = at === INVALID_LSN ? '' : ` that has applied ${formatLsn(at)}`;
  return new DbError('REBUILD_NO_PEER', `no healthy peer${far} is connected to rebuild this node from`, {
    reaction: 'retry',
  });
}
