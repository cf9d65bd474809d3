import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { DbError, errorMessage, isDbError } from '../engine/errors.js';
import { formatLsn, INVALID_LSN, lsn, type Lsn } from '../engine/lsn.js';
import { commonPoint, formatHistory } from '../engine/quorum/history.js';
import type { EpochHistory } from '../engine/quorum/types.js';
import type { StorageClient } from '../net/storage-client.js';
import type { CommittedSource } from './replication-server.js';
import type { StorageLinks } from './storage-links.js';

const PIECE_BYTES = 1024 * 1024;
/** A node without news is left for another after this, should that one know more. */
const WAIT_MS = 1000;
/** Pause when no node can be asked. */
const RETRY_MS = 100;

export interface RelayOptions {
  /** Random in [0, 1): replicas spread over the nodes. */
  random?: () => number;
}

/**
 * The committed log of the volume as one stream, whichever storage nodes live: it stays with one node for as long as that gives, and
 * goes on with another from the very byte where the first one ended. Only what a node knows to be committed is ever taken, which no
 * epoch can overwrite; and each node's epoch history must agree with that of all bytes taken before, so that a node with a log of
 * another past is told from the others rather than believed.
 */
export class LogRelay implements CommittedSource {
  /** Bytes relayed. */
  bytes = 0;
  /** Times that it went on with another node. */
  switches = 0;
  /** More is committed. */
  onCommit: (commitLsn: Lsn) => void = () => undefined;
  private known: Lsn = INVALID_LSN;
  private past: EpochHistory = [];
  private nodeId: string | null = null;
  private readonly random: () => number;

  constructor(
    private readonly links: StorageLinks,
    private readonly log: Logger,
    options: RelayOptions = {},
  ) {
    this.random = options.random ?? Math.random;
  }

  get commitLsn(): Lsn {
    return this.known;
  }

  /** Epoch of the newest log relayed. */
  get epoch(): number {
    return this.past.at(-1)?.epoch ?? 0;
  }

  /** The node that is asked at present. */
  get node(): string | null {
    return this.nodeId;
  }

  /** So much is committed, as any node says; one that relays slowly, or is cut off, learns of more than it has. */
  heard(commitLsn: Lsn): void {
    if (commitLsn <= this.known) return;
    this.known = commitLsn;
    this.onCommit(commitLsn);
  }

  /** Throws LOG_GONE when no node has the log at `begin` any more. */
  async *read(
    begin: Lsn,
    signal: AbortSignal,
  ): AsyncGenerator<{ begin: Lsn; bytes: Buffer; commitLsn: Lsn }> {
    let at = begin;
    const failed = new Map<string, unknown>();
    while (!signal.aborted) {
      const node = this.choose(failed);
      if (!node) {
        await this.noneLeft(failed, at, signal);
        continue;
      }
      let piece: Awaited<ReturnType<StorageClient['readCommitted']>>;
      try {
        piece = await node.readCommitted({ begin: at, maxBytes: PIECE_BYTES, waitMs: WAIT_MS });
        this.checkPast(node.nodeId, piece.history, at);
      } catch (err) {
        if (signal.aborted) return;
        this.log.warn(
          { node: node.nodeId, lsn: formatLsn(at), err: errorMessage(err) },
          'the log is read from another node',
        );
        failed.set(node.nodeId, err);
        this.leave();
        continue;
      }
      failed.clear();
      this.heard(piece.commitLsn);
      if (piece.bytes.length === 0) {
        if (this.known > at)
          failed.set(node.nodeId, new DbError('NODE_BEHIND', `node ${node.nodeId} is behind`));
        if (this.known > at) this.leave();
        continue;
      }
      const from = at;
      at = lsn(at + piece.bytes.length);
      this.past = piece.history.filter((entry) => entry.startLsn < at);
      this.bytes += piece.bytes.length;
      yield { begin: from, bytes: piece.bytes, commitLsn: piece.commitLsn };
    }
  }

  /** Throws REPLICA_OTHER_PAST unless all that was relayed before `at` is in the node's history too. */
  private checkPast(nodeId: string, history: EpochHistory, at: Lsn): void {
    if (this.past.length === 0) return;
    const common = commonPoint(this.past, at, history);
    if (common === null || common < at)
      throw new DbError(
        'REPLICA_OTHER_PAST',
        `node ${nodeId} has the history ${formatHistory(history)}, but log up to ${formatLsn(at)} was taken of ${formatHistory(this.past)}`,
        { reaction: 'corrupt' },
      );
  }

  private choose(failed: ReadonlyMap<string, unknown>): StorageClient | null {
    const now = this.nodeId === null ? undefined : this.links.client(this.nodeId);
    if (now?.isOpen) return now;
    const others = this.links.connected().filter((client) => client.isOpen && !failed.has(client.nodeId));
    const next = others[Math.floor(this.random() * others.length)] ?? null;
    this.nodeId = next?.nodeId ?? null;
    if (next) this.switches++;
    return next;
  }

  private leave(): void {
    this.nodeId = null;
  }

  /** All that are connected have failed: they are asked again, unless none of them will ever have that log. */
  private async noneLeft(failed: Map<string, unknown>, at: Lsn, signal: AbortSignal): Promise<void> {
    const gone = [...failed.values()].filter((err) => isDbError(err, 'LOG_GONE'));
    if (failed.size > 0 && gone.length === failed.size)
      throw new DbError('LOG_GONE', `no storage node has the log at ${formatLsn(at)} any more`, {
        reaction: 'retry',
        cause: gone[0],
      });
    failed.clear();
    await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
  }
}
