import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { DbError, errorMessage } from '../engine/errors.js';
import { formatLsn, type Lsn } from '../engine/lsn.js';
import type { StorageClient } from '../net/storage-client.js';
import type { StorageLinks } from './storage-links.js';

/** Renewed this often at least, and well within what the nodes grant. */
const RENEW_MS_MAX = 5000;
const RENEWALS_PER_TTL = 6;
const ANSWER_MS = 3000;
/** How much longer than for the first node's lease a start waits for the others'. */
const GRACE_MS = 50;

/**
 * Keeps a lease on history with every storage node, so that the vacuum leaves what this compute may still read.
 *
 * A writer needs it while it starts: its data directory is made at its start LSN, from facts that are then read there. Afterwards it lets history go on
 * to the commit LSN. For what it reads from then on are blocks that are still absent: nothing changed them since the start, nor truncated or
 * dropped them, or they would be present or their file gone; and such a page the nodes serve exactly at the start LSN wherever the horizon is
 * (engine/pages/past.ts).
 */
export class LeaseKeeper {
  private timer: NodeJS.Timeout | null = null;
  private everyMs = RENEW_MS_MAX;
  private closed = false;
  private readonly failing = new Set<string>();

  constructor(
    private readonly name: string,
    private readonly links: StorageLinks,
    private needed: () => Lsn,
    private readonly log: Logger,
  ) {
    links.on('up', this.onUp);
  }

  /**
   * Takes the lease with all nodes that are connected. Throws NODE_HISTORY_GONE when not one of them has all history from the LSN on: what is
   * to be read there would have to come from nodes that have removed it.
   */
  async take(): Promise<void> {
    const at = this.needed();
    const known: Lsn[] = [];
    const asked = this.links.connected().map(async (client) => {
      const horizon = await this.renew(client);
      if (horizon !== null) known.push(horizon);
      if (horizon === null || horizon > at) throw new Error('no lease here');
    });
    const all = Promise.allSettled(asked);
    // A node that hangs must not hold up the start: it will not be read from either.
    const enough = Promise.any(asked).then(
      () => sleep(GRACE_MS),
      () => all,
    );
    await Promise.race([all, enough]);
    this.schedule();
    if (known.length > 0 && known.every((horizon) => horizon > at))
      throw new DbError(
        'NODE_HISTORY_GONE',
        `no storage node has history from ${formatLsn(at)} on any more`,
        { reaction: 'retry' },
      );
  }

  /** From now on `needed` says what must be kept. */
  moveTo(needed: () => Lsn): void {
    this.needed = needed;
  }

  /** Ends the lease, as far as the nodes can be told. Safe to repeat. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    if (this.timer) clearTimeout(this.timer);
    this.links.off('up', this.onUp);
    for (const client of this.links.connected())
      client.releaseLease(this.name, ANSWER_MS).catch((err: unknown) => {
        // It ends by itself.
        this.log.debug(
          { node: client.nodeId, err: errorMessage(err) },
          'the lease on history was not released',
        );
      });
  }

  private readonly onUp = (client: StorageClient): void => void this.renew(client);

  private schedule(): void {
    if (this.closed) return;
    this.timer = setTimeout(() => {
      void Promise.all(this.links.connected().map((client) => this.renew(client))).then(() =>
        this.schedule(),
      );
    }, this.everyMs);
  }

  /** The node's horizon; null when it did not answer. */
  private async renew(client: StorageClient): Promise<Lsn | null> {
    if (this.closed) return null;
    try {
      const { horizon, ttlMs } = await client.renewLease({ name: this.name, lsn: this.needed() }, ANSWER_MS);
      this.everyMs = Math.min(RENEW_MS_MAX, ttlMs / RENEWALS_PER_TTL);
      this.failing.delete(client.nodeId);
      return horizon;
    } catch (err) {
      if (!this.failing.has(client.nodeId) && !this.closed)
        this.log.warn(
          { node: client.nodeId, err: errorMessage(err) },
          'the lease on history was not renewed',
        );
      this.failing.add(client.nodeId);
      return null;
    }
  }
}
