import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { DbError, errorMessage, isDbError } from '../engine/errors.js';
import { formatLsn } from '../engine/lsn.js';
import { loadSecret } from '../net/secret.js';
import { computeDirs } from './cluster-dirs.js';
import type { ComputeConfig } from './config.js';
import { controlSocketPath } from './control-path.js';
import { ControlServer } from './control-server.js';
import { evictFormerPostgres } from './former-postgres.js';
import { computeMetrics } from './metrics.js';
import { ensurePagein, probePagein } from './pagein-build.js';
import { findPostgres, pageinCacheDir } from './postgres.js';
import { ReadRouter } from './read-router.js';
import type { ComputeState, ComputeStatus } from './status.js';
import { StorageLinks } from './storage-links.js';
import type { StopMode } from './supervisor.js';
import { Term } from './term.js';
import type { TermContext } from './term-start.js';
import { untilStopped } from './until-stopped.js';

/** After this many terms that ended within CRASH_WINDOW_MS of each other, something is wrong that a restart does not mend. */
const CRASHES_MAX = 5;
const CRASH_WINDOW_MS = 60_000;
/** Pause between attempts to start a term while storage cannot be used. */
const RETRY_MS = 1000;
/** Without any commit for this long, although some wait, the compute is stalled. */
const STALLED_MS = 3000;
const STRENGTH: Readonly<Record<StopMode, number>> = { smart: 0, fast: 1, immediate: 2 };

/** A compute: one term after the other, until it is stopped or fenced. */
export class ComputeDaemon {
  private term: Term | null = null;
  private state: ComputeState = 'starting';
  private problem: string | null = null;
  private stopMode: StopMode | null = null;
  /** Ends a start that is under way. */
  private readonly stopping = new AbortController();
  private readonly crashes: number[] = [];

  private constructor(
    private readonly context: TermContext,
    private readonly control: ControlServer,
  ) {}

  /** Prepares everything that needs no storage. Throws CLUSTER_*, USAGE_*. */
  static async create(config: ComputeConfig, log: Logger): Promise<ComputeDaemon> {
    const secret = loadSecret(config.secretFile);
    const install = await findPostgres({
      bindir: config.pgBindir ?? undefined,
      user: config.runAs ?? undefined,
    });
    const pageinLibrary = await ensurePagein(await pageinCacheDir(install));
    await probePagein(pageinLibrary, install);
    const dirs = computeDirs(config.dir, config.socketDir, config.name);
    await evictFormerPostgres(dirs.current, config.socketDir, config.port, log);
    const links = new StorageLinks(config.storage, {
      secret,
      volumeId: config.volumeId,
      clientId: config.name,
      log,
    });
    const reader = new ReadRouter();
    links.on('up', (client) => reader.add(client));
    links.on('down', (client) => reader.remove(client));
    const context: TermContext = { config, dirs, install, pageinLibrary, secret, links, reader, log };
    const daemon: ComputeDaemon = new ComputeDaemon(
      context,
      new ControlServer(
        { status: () => daemon.status(), stop: (mode) => daemon.stop(mode), reload: () => daemon.reload() },
        computeMetrics(() => daemon.term, reader),
      ),
    );
    await daemon.control.listenOnSocket(controlSocketPath(config.socketDir, config.name));
    if (config.metricsPort !== null) await daemon.control.listenOnPort(config.metricsPort);
    return daemon;
  }

  /** Runs until stopped. Rejects when it cannot go on: fenced (EPOCH_FENCED), no quorum at start, repeated crashes. `onReady` is called once. */
  async run(onReady: () => void): Promise<void> {
    const { log, links } = this.context;
    links.open();
    try {
      for (let first = true; this.stopMode === null; first = false) {
        this.state = 'starting';
        const term = first ? await Term.start(this.context, this.stopping.signal) : await this.startAgain();
        this.term = term;
        this.state = 'running';
        this.problem = null;
        if (this.stopMode !== null) this.stop(this.stopMode);
        else if (first) onReady();
        const reason = await term.ended;
        this.term = null;
        if (reason === null) return;
        this.problem = reason.message;
        if (reason.reaction === 'fence') {
          this.state = 'fenced';
          throw reason;
        }
        this.countCrash(reason);
        log.warn({ code: reason.code, err: reason.message }, 'the term ended; starting again from storage');
      }
    } catch (err) {
      if (this.stopMode === null || (isDbError(err) && err.reaction === 'fence')) throw err;
      log.info({ err: errorMessage(err) }, 'stopped while starting');
    } finally {
      await links.close();
      await this.control.close();
    }
  }

  stop(mode: StopMode): void {
    this.context.log.info({ mode }, 'stopping');
    if (this.stopMode === null || STRENGTH[mode] > STRENGTH[this.stopMode]) this.stopMode = mode;
    this.state = 'stopping';
    this.stopping.abort();
    this.term
      ?.stop(mode)
      .catch((err: unknown) => this.context.log.error({ err: errorMessage(err) }, 'stop failed'));
  }

  async reload(): Promise<void> {
    if (!this.term)
      throw new DbError('COMPUTE_NOT_READY', 'PostgreSQL is not running yet', { reaction: 'retry' });
    await this.term.reload();
  }

  status(): ComputeStatus {
    const { config, links, reader } = this.context;
    const parts = this.term?.parts;
    const shares = new Map(reader.shares().map((share) => [share.nodeId, share]));
    const progress = new Map(parts?.writer.nodes().map((node) => [node.nodeId, node]) ?? []);
    const tooFew = links.connected().length < config.quorum.write;
    const stalled = this.state === 'running' && (tooFew || (parts?.writer.stalledForMs ?? 0) > STALLED_MS);
    const throttled = this.state === 'running' && (parts?.throttle.isActive(performance.now()) ?? false);
    const { lag = 0, rate = Infinity, throttledMs = 0 } = parts?.throttle ?? {};
    const counters = parts?.agent.counters;
    return {
      name: config.name,
      role: 'primary',
      pid: process.pid,
      postgresPid: parts?.postgres.running ? parts.postgres.pid : null,
      state: stalled ? 'stalled' : throttled ? 'throttled' : this.state,
      epoch: parts?.writer.epoch ?? null,
      startLsn: parts ? formatLsn(parts.point.lsn) : null,
      commitLsn: parts ? formatLsn(parts.writer.commitLsn) : null,
      walBytes: parts?.shipper.walBytes ?? 0,
      sentBytes: parts?.writer.sentBytes ?? 0,
      pages: {
        requests: counters?.requests ?? 0,
        blocksServed: counters?.blocksServed ?? 0,
        blocksFetched: counters?.blocksFetched ?? 0,
        blocksPrefetched: counters?.blocksPrefetched ?? 0,
        prefetchHits: counters?.prefetchHits ?? 0,
        errors: counters?.errors ?? 0,
      },
      storage: config.storage.map(({ id }) => {
        const node = progress.get(id);
        return {
          id,
          connected: links.client(id) !== undefined,
          scl: node ? formatLsn(node.scl) : null,
          applied: node?.applied ? formatLsn(node.applied) : null,
          reads: shares.get(id)?.reads ?? 0,
          latencyMs: Math.round((shares.get(id)?.latencyMs ?? 0) * 100) / 100,
        };
      }),
      backPressure: {
        lagBytes: parts?.writer.progressOfPages?.lag ?? lag,
        bytesPerSecond: rate === Infinity ? null : Math.round(rate),
        throttledSeconds: throttledMs / 1000,
      },
      problem: stalled
        ? `${links.connected().length} of ${config.storage.length} storage nodes are connected, ${config.quorum.write} ${tooFew ? 'are needed' : 'must hold the log, and fewer do'}: commits wait`
        : throttled
          ? `the storage nodes are ${mib(lag)} behind with their pages: the log grows by ${mib(rate)} a second at most`
          : this.problem,
    };
  }

  /**
   * A term after the first: sessions wait for it, so it is tried for as long as only storage is missing. A PostgreSQL that does not start
   * is counted as a crash. Throws what a repetition does not mend.
   */
  private async startAgain(): Promise<Term> {
    for (;;) {
      try {
        return await Term.start(this.context, this.stopping.signal);
      } catch (err) {
        if (!isDbError(err) || err.reaction !== 'retry') throw err;
        this.problem = err.message;
        if (!/^(QUORUM|NODE)_/.test(err.code)) this.countCrash(err);
        this.context.log.warn({ code: err.code, err: err.message }, 'the term did not start; trying again');
        await untilStopped(sleep(RETRY_MS), this.stopping.signal);
      }
    }
  }

  private countCrash(reason: DbError): void {
    const now = performance.now();
    this.crashes.push(now);
    if (this.crashes.length > CRASHES_MAX) this.crashes.shift();
    if (this.crashes.length === CRASHES_MAX && now - this.crashes[0]! < CRASH_WINDOW_MS) {
      throw new DbError(
        'COMPUTE_CRASH_LOOP',
        `PostgreSQL ended ${CRASHES_MAX} times within ${Math.round((now - this.crashes[0]!) / 1000)} s; the last time: ${reason.message}`,
        { cause: reason },
      );
    }
  }
}

function mib(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}
