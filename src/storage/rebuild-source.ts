import type { Logger } from 'pino';
import { DbError, errorMessage, isDbError } from '../engine/errors.js';
import { formatLsn, type Lsn } from '../engine/lsn.js';
import type { BaseImage } from '../engine/pages/base.js';
import type { RebuildStep } from '../engine/pages/rebuild.js';
import type { Peers } from './peers.js';

export type ReadyPeer = Peers['connected'][number];

const FETCH_TIMEOUT_MS = 60_000;

/**
 * The peers that a node is rebuilt from: one at a time, another one that serves the same LSN when it fails. While it lasts, all of them are
 * asked to keep what it reads (a lease), so that any can take over.
 */
export class RebuildSource {
  private peer = '';
  private leaseTtlMs = 0;
  private leasedAtMs = -Infinity;

  constructor(
    private readonly peers: () => Peers,
    private readonly leaseName: string,
    private readonly logger: Logger,
  ) {}

  /** The peer in use, or ''. */
  get peerId(): string {
    return this.peer;
  }

  /** Healthy peers, the one in use first, then the most advanced. */
  candidates(): ReadyPeer[] {
    return this.peers()
      .connected.filter(({ status: s }) => {
        const healthy =
          s.voter &&
          s.state !== 'draining' &&
          s.ingestError === null &&
          s.damaged.length === 0 &&
          s.rebuild === null;
        return healthy && s.appliedLsn > 0 && s.appliedLsn <= s.commitLsn;
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
    const able = this.candidates().filter(({ status }) => status.appliedLsn >= at);
    let lastError: unknown = new DbError(
      'REBUILD_NO_PEER',
      `no healthy peer that has applied ${formatLsn(at)} is connected`,
      { reaction: 'retry' },
    );
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
