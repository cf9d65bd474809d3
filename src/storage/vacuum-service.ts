import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { errorMessage } from '../engine/errors.js';
import { formatLsn, lsn, type Lsn } from '../engine/lsn.js';
import type { LogStore } from '../engine/log/index.js';
import { RunningTime } from '../engine/pages/retention.js';
import type { PageStore } from '../engine/pages/store.js';
import { Vacuum } from '../engine/pages/vacuum.js';
import type { DiskUse, VacuumStatus } from '../net/node-status.js';
import { LOG_FOLDER, PAGES_FOLDER } from './folders.js';
import { folderBytes, freeBytes } from './disk-use.js';
import { Leases, type Lease } from './leases.js';
import type { Peer } from './peers.js';

/** How much history a node keeps. */
export interface RetentionConfig {
  /** History is kept for this long (running time of the node) ... */
  timeMs: number;
  /** ... but for no more than so many bytes of log. Also how much log is kept at most for peers that are behind. */
  bytes: number;
  /** A compute that has not been heard of for this long holds nothing any more. */
  leaseMs: number;
  /** For so long log is kept for a peer that cannot be reached. */
  peerMs: number;
}

export interface VacuumConfig {
  enabled: boolean;
  /** How often it is looked whether there is something to do. */
  intervalMs: number;
  /** Longest stretch of removal before pending network work gets its turn. */
  sliceMs: number;
  /** Share of the node's thread that removal may take, in percent. */
  dutyPercent: number;
  /** A pass begins when this much log has become removable ... */
  passBytes: number;
  /** ... or, if there is any, this long after the last pass. */
  passMs: number;
}

export interface VacuumParts {
  readonly dir: string;
  readonly log: LogStore;
  readonly pages: PageStore;
  peers(): readonly Peer[];
  now(): number;
}

const DISK_USE_MS = 5000;

/**
 * Removes history that nobody needs: page versions behind the horizon, and log behind what the pages, the peers and the next start of a
 * compute need. The horizon is the lowest of the retention point, the leases and the applied LSN, and never goes back.
 */
export class VacuumService {
  readonly leases: Leases;
  disk: DiskUse = { logBytes: 0, pagesBytes: 0, freeBytes: 0 };
  logDroppedBytes = 0;
  busyMs = 0;
  private lastError: string | null = null;
  private readonly vacuum: Vacuum;
  private readonly time: RunningTime;
  private readonly stopping = new AbortController();
  private running: Promise<unknown> = Promise.resolve();
  private passEndedMs = -Infinity;
  private diskMeasuredMs = -Infinity;
  /** When each peer was last connected; one that never was counts from our start. */
  private readonly peersSeenMs = new Map<string, number>();
  private readonly begunMs: number;

  constructor(
    private readonly parts: VacuumParts,
    private readonly retention: RetentionConfig,
    private readonly config: VacuumConfig,
    private readonly logger: Logger,
  ) {
    this.begunMs = parts.now();
    this.leases = new Leases(retention.leaseMs, this.begunMs);
    this.vacuum = new Vacuum(parts.pages);
    this.time = new RunningTime(parts.pages, retention.timeMs, this.begunMs);
  }

  start(): void {
    this.running = this.run();
  }

  /** Ends after the slice in progress. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  get counters(): Readonly<Vacuum['counters']> {
    return this.vacuum.counters;
  }

  status(): VacuumStatus {
    const { timeMs, bytes } = this.retention;
    return {
      state: !this.config.enabled ? 'off' : this.vacuum.running ? 'running' : 'idle',
      retention: { timeMs, bytes },
      passes: this.vacuum.counters.passes,
      leases: this.leases.list(this.parts.now()),
      disk: this.disk,
      lastError: this.lastError,
    };
  }

  /** Takes, renews or ends a lease. Throws USAGE_LEASE. */
  lease(lease: Lease, release: boolean): { horizon: Lsn; ttlMs: number } {
    if (release) this.leases.release(lease.name);
    else this.leases.renew(lease, this.parts.now());
    return { horizon: this.parts.pages.horizon, ttlMs: this.leases.ttlMs };
  }

  /** The LSN before which history is not needed any more, by the rules of retention and by the leases. */
  target(): Lsn {
    const now = this.parts.now();
    const { appliedLsn } = this.parts.pages;
    const point = Math.max(this.time.keptFrom(now), appliedLsn - this.retention.bytes, 0);
    return lsn(Math.min(point, this.leases.lowest(now), appliedLsn));
  }

  /** The LSN before which no log is needed any more. */
  logTarget(): Lsn {
    const { log, pages } = this.parts;
    const snapshot = pages.horizon > 0 ? pages.controlSnapshot(pages.horizon) : null;
    if (!snapshot) return log.startLsn;
    // A compute that starts at the horizon or later needs the control state kept before it, the records from there on, and the whole of the WAL
    // segments that they lie in.
    const { segmentSize, lastRecordLsn } = snapshot.state;
    const first = lastRecordLsn === 0 ? snapshot.lsn : Math.min(lastRecordLsn, snapshot.lsn);
    const own = Math.floor(first / segmentSize) * segmentSize;
    const forPeers = Math.max(this.peersNeed(), log.durableEnd - this.retention.bytes);
    return lsn(Math.max(log.startLsn, Math.min(own, forPeers, log.durableEnd)));
  }

  private async run(): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      try {
        await this.round();
        this.lastError = null;
      } catch (err) {
        if (signal.aborted) return;
        // Nothing is lost by what is not removed; the next round tries again.
        this.lastError = errorMessage(err);
        this.logger.error({ err }, `vacuum: ${this.lastError}`);
      }
      await sleep(this.config.intervalMs, undefined, { signal }).catch(() => undefined);
    }
  }

  private async round(): Promise<void> {
    const { pages, now } = this.parts;
    if (pages.appliedLsn === 0) return; // a learner without pages
    this.time.note(now());
    for (const { id, client } of this.parts.peers()) if (client) this.peersSeenMs.set(id, now());
    await this.measure();
    if (!this.config.enabled) return;
    const target = this.target();
    const ahead = target - pages.horizon;
    const waited = now() - this.passEndedMs >= this.config.passMs;
    if (this.vacuum.running || (ahead > 0 && (ahead >= this.config.passBytes || waited)))
      await this.pass(target);
    await this.dropLog();
  }

  /** Begins a pass, or goes on with one that failed, and stays with it to its end. */
  private async pass(target: Lsn): Promise<void> {
    const { signal } = this.stopping;
    const { now } = this.parts;
    const before = { ...this.vacuum.counters };
    const begun = now();
    if (!this.vacuum.running) this.vacuum.begin(target);
    for (let done = false; !done && !signal.aborted;) {
      const sliceBegun = now();
      done = this.vacuum.slice(() => now() - sliceBegun >= this.config.sliceMs);
      const tookMs = now() - sliceBegun;
      this.busyMs += tookMs;
      this.time.note(now());
      await sleep(tookMs * (100 / this.config.dutyPercent - 1), undefined, { signal }).catch(() => undefined);
    }
    if (signal.aborted) return;
    this.passEndedMs = now();
    const { versionsRemoved, forksRemoved, imagesWritten, keysVisited } = this.vacuum.counters;
    this.logger.info(
      {
        horizon: formatLsn(this.parts.pages.horizon),
        visited: keysVisited - before.keysVisited,
        removed: versionsRemoved - before.versionsRemoved,
        forks: forksRemoved - before.forksRemoved,
        images: imagesWritten - before.imagesWritten,
        tookMs: Math.round(this.passEndedMs - begun),
      },
      'history removed',
    );
  }

  private async dropLog(): Promise<void> {
    const { log, pages } = this.parts;
    const target = this.logTarget();
    if (!log.hasFilesBefore(target)) return;
    // The pages are rebuilt from the log after a crash: what goes must be in them for good.
    const synced = pages.sync();
    const dropped = await log.dropBefore(lsn(Math.min(target, synced)));
    this.logDroppedBytes += dropped;
    if (dropped > 0)
      this.logger.info({ logStart: formatLsn(log.startLsn), bytes: dropped }, 'old log removed');
  }

  /** The lowest LSN from which on a peer lacks log, as far as peers were heard of; one that has been away for too long is not waited for. */
  private peersNeed(): number {
    const now = this.parts.now();
    let need = Infinity;
    for (const { id, status } of this.parts.peers()) {
      if (now - (this.peersSeenMs.get(id) ?? this.begunMs) > this.retention.peerMs) continue;
      if (!status) return 0;
      need = Math.min(need, status.scl, ...status.damaged.map(({ begin }) => begin));
    }
    return need;
  }

  private async measure(): Promise<void> {
    const { dir, now } = this.parts;
    if (now() - this.diskMeasuredMs < Math.min(DISK_USE_MS, this.config.intervalMs)) return;
    this.diskMeasuredMs = now();
    const [logBytes, pagesBytes, free] = await Promise.all([
      folderBytes(`${dir}/${LOG_FOLDER}`),
      folderBytes(`${dir}/${PAGES_FOLDER}`),
      freeBytes(dir),
    ]);
    this.disk = { logBytes, pagesBytes, freeBytes: free };
  }
}
