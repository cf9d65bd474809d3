import type { Logger } from 'pino';
import { DbError, errorMessage } from '../engine/errors.js';
import { formatLsn, type Lsn } from '../engine/lsn.js';
import type { HotStandbyFeedback } from './replication-codec.js';
import { ReplicationClient, type ReplicationOptions } from './replication-client.js';
import type { Throttle } from './throttle.js';
import { BACKLOG_BYTES_MAX, type VolumeWriter } from './volume-writer.js';
import type { WalGate } from './wal-gate.js';

/** Name under which the shipper is PostgreSQL's synchronous standby, and of its slot. */
export const SHIPPER_NAME = 'aurora';
/** PostgreSQL drops a standby that is silent for wal_sender_timeout (60 s). */
const STATUS_MS = 10_000;
const RETRY_MS = 100;
const PATIENCE_MS = 10_000;

export interface ShipperOptions extends Omit<ReplicationOptions, 'applicationName'> {
  timeline: number;
  log: Logger;
  /** Slows the stream down while the storage nodes are behind with their pages. */
  throttle?: Throttle;
  /** Hears how far WAL has come. */
  gate?: WalGate;
  /** How long a running PostgreSQL may refuse the stream. */
  patienceMs?: number;
}

/**
 * Carries PostgreSQL's WAL to the volume: receives it as a synchronous standby does, appends it, and reports as flushed what a
 * write quorum holds. It only ever asks for what the log lacks, so it can start anew at any time.
 */
export class Shipper {
  walBytes = 0;
  private client: ReplicationClient | null = null;
  private readonly timer: NodeJS.Timeout;
  private closed = false;
  private paused = false;
  /** More is waiting for the write quorum than is good. */
  private clogged = false;
  private throttled: NodeJS.Timeout | null = null;
  private throttledSinceMs = 0;
  private reported = 0;
  private feedback: HotStandbyFeedback = { xmin: 0, catalogXmin: 0 };

  constructor(
    private readonly writer: VolumeWriter,
    private readonly options: ShipperOptions,
    /** The stream cannot be had any more although PostgreSQL runs. */
    private readonly onLost: (err: DbError) => void,
  ) {
    writer.on('commit', this.onCommit);
    this.timer = setInterval(() => this.report(true), STATUS_MS);
  }

  /** Connects and streams from the log's end. Throws NET_PG_*, COMPUTE_WRONG_SYSTEM. */
  async start(systemId: string): Promise<void> {
    const { timeline } = this.options;
    const client = await ReplicationClient.connect({
      ...this.options,
      applicationName: SHIPPER_NAME,
    }).catch((err: unknown) => Promise.reject(explained(err)));
    try {
      if (this.closed) throw new DbError('COMPUTE_STOPPED', 'the compute is stopping');
      const identity = await client.identifySystem();
      if (identity.systemId.toString() !== systemId || identity.timeline !== timeline) {
        throw new DbError(
          'COMPUTE_WRONG_SYSTEM',
          `PostgreSQL is system ${identity.systemId} timeline ${identity.timeline}, the volume is ${systemId} timeline ${timeline}`,
        );
      }
      await client.ensureSlot(SHIPPER_NAME);
      this.client = client;
      this.paused = false; // a new connection flows until it is paused itself
      await client.startStreaming(SHIPPER_NAME, this.writer.endLsn, timeline, {
        onWal: (begin, bytes) => this.onWal(begin, bytes),
        onReplyRequested: () => this.report(true),
        onEnd: (reason) => this.onEnd(reason, systemId),
      });
      this.report(true);
      if (this.feedback.xmin !== 0 || this.feedback.catalogXmin !== 0) client.sendFeedback(this.feedback);
      this.regulate();
    } catch (err) {
      client.destroy();
      if (this.client === client) this.client = null;
      throw explained(err);
    }
  }

  /** What the replicas' queries still need: PostgreSQL's vacuum leaves it from now on. */
  setFeedback(feedback: HotStandbyFeedback): void {
    const { xmin, catalogXmin } = this.feedback;
    if (feedback.xmin === xmin && feedback.catalogXmin === catalogXmin) return;
    this.feedback = feedback;
    this.client?.sendFeedback(feedback);
  }

  close(): void {
    this.closed = true;
    clearInterval(this.timer);
    this.endThrottle();
    this.writer.off('commit', this.onCommit);
    this.client?.destroy();
  }

  private onWal(begin: Lsn, bytes: Buffer): void {
    this.walBytes += bytes.length;
    this.writer.append(begin, bytes);
    this.options.gate?.received(this.writer.endLsn);
    this.options.throttle?.passed(bytes.length);
    this.regulate();
  }

  private readonly onCommit = (): void => {
    this.report(false);
    this.regulate();
  };

  /** Stops reading PostgreSQL's stream, or goes on, as what waits for the quorum and the nodes' lag say. */
  private regulate(): void {
    const { backlogBytes } = this.writer;
    this.clogged = backlogBytes > (this.clogged ? BACKLOG_BYTES_MAX / 2 : BACKLOG_BYTES_MAX);
    const { throttle } = this.options;
    if (throttle && !this.throttled && !this.closed) {
      const now = performance.now();
      const waitMs = throttle.waitMs(this.writer.progressOfPages, now);
      if (waitMs > 0) {
        this.throttledSinceMs = now;
        this.throttled = setTimeout(() => {
          this.endThrottle();
          this.regulate();
        }, waitMs);
      }
    }
    const stop = this.clogged || this.throttled !== null;
    if (stop === this.paused) return;
    this.paused = stop;
    if (stop) this.client?.pause();
    else this.client?.resume();
  }

  private endThrottle(): void {
    if (!this.throttled) return;
    clearTimeout(this.throttled);
    this.throttled = null;
    this.options.throttle!.throttledMs += performance.now() - this.throttledSinceMs;
  }

  /** The one place where a commit is acknowledged to PostgreSQL: never beyond what a write quorum has on disk. */
  private report(always: boolean): void {
    const durable = this.writer.commitLsn;
    if (this.writer.isFenced || durable === 0 || (!always && durable === this.reported)) return;
    this.reported = durable;
    this.client?.sendStatus(durable);
  }

  private onEnd(reason: DbError | null, systemId: string): void {
    this.client = null;
    if (this.closed) return;
    this.options.log.info(
      { reason: reason?.message ?? 'orderly', lsn: formatLsn(this.writer.endLsn) },
      'WAL stream ended',
    );
    void this.reconnect(systemId);
  }

  /** PostgreSQL ended our walsender (an administrator may do that): connect again while it runs. */
  private async reconnect(systemId: string): Promise<void> {
    let last: unknown;
    const deadline = performance.now() + (this.options.patienceMs ?? PATIENCE_MS);
    while (performance.now() < deadline && !this.closed) {
      try {
        await this.start(systemId);
        return;
      } catch (err) {
        last = err;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
    if (!this.closed)
      this.onLost(
        new DbError('COMPUTE_NO_STREAM', `PostgreSQL's WAL cannot be received: ${errorMessage(last)}`, {
          reaction: 'retry',
          cause: last,
        }),
      );
  }
}

/** Refusals that a setting is to blame for, with the setting's name and the way out. */
function explained(err: unknown): unknown {
  if (!(err instanceof DbError) || err.code !== 'NET_PG_REFUSED' || err.hint) return err;
  const sqlstate = err.details?.['sqlstate'];
  const hint =
    sqlstate === '53300' || sqlstate === '55000' || sqlstate === '53400'
      ? 'The log leaves through one WAL sender and one replication slot: max_wal_senders and max_replication_slots must leave room for them. To override a stored setting: aurora start -o "-c max_wal_senders=10 -c max_replication_slots=10"'
      : sqlstate === '25P04'
        ? 'With so low a transaction_timeout no session begins. To override it: aurora start -o "-c transaction_timeout=0", and then: aurora config reset transaction_timeout'
        : sqlstate === '28000'
          ? 'The cluster works through the superuser that "aurora initdb" made; that role must keep its LOGIN and SUPERUSER attributes. If it was renamed: aurora start -U NAME'
          : undefined;
  return hint === undefined
    ? err
    : new DbError(err.code, err.message, { reaction: err.reaction, hint, cause: err });
}
