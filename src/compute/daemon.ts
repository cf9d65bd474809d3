import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { ComputeRole, Resignation } from '../engine/computes/types.js';
import { DbError, errorMessage, isDbError } from '../engine/errors.js';
import { INVALID_LSN, type Lsn } from '../engine/lsn.js';
import { RefusalLog } from '../net/refusal-log.js';
import { loadSecret } from '../net/secret.js';
import { TlsCredentials } from '../net/tls.js';
import { addTlsMetrics } from '../net/tls-metrics.js';
import { Beacon } from './beacon.js';
import { computeDirs } from './cluster-dirs.js';
import { ConfigurationWatch } from './configuration-watch.js';
import type { ComputeConfig } from './config.js';
import { controlSocketPath } from './control-path.js';
import { ControlServer } from './control-server.js';
import { CrashCount } from './crash-count.js';
import { knownQuorum } from './epoch-start.js';
import { FailoverWatch } from './failover-watch.js';
import { Fellows } from './fellows.js';
import { evictFormerPostgres } from './former-postgres.js';
import { computeMetrics } from './metrics.js';
import { ensurePagein, probePagein } from './pagein-build.js';
import { findPostgres, pageinCacheDir } from './postgres.js';
import { PrimaryDuties } from './primary-duties.js';
import { writePrimaryNote } from './primary-note.js';
import { ReadRouter } from './read-router.js';
import { ReplicaTerm } from './replica-term.js';
import { beatOf, statusReport } from './status-report.js';
import type { ComputeState, ComputeStatus } from './status.js';
import { StandbyRoom } from './standby-room.js';
import { StorageLinks } from './storage-links.js';
import type { StopMode } from './supervisor.js';
import { Term } from './term.js';
import type { TermContext } from './term-start.js';
import { untilStopped } from './until-stopped.js';

/** Pause between attempts to start a term while storage cannot be used. */
const RETRY_MS = 1000;
const STRENGTH: Readonly<Record<StopMode, number>> = { smart: 0, fast: 1, immediate: 2 };

/** A compute, as primary or replica: one term after the other, until it is stopped or fenced. */
export class ComputeDaemon {
  private role: ComputeRole;
  private term: Term | null = null;
  private replica: ReplicaTerm | null = null;
  private state: ComputeState = 'starting';
  private problem: string | null = null;
  private stopMode: StopMode | null = null;
  private lastEpoch = 0;
  /** The newest epoch when this compute last had a claim to be the primary: held, or seen when it was promoted. */
  private claimedAbove = 0;
  private checkpointAfter: Lsn = INVALID_LSN;
  private resigned: Resignation = 'no';
  private successor = '';
  /** Ends a start that is under way. */
  private readonly stopping = new AbortController();
  private readonly crashes = new CrashCount();
  private readonly beacon: Beacon;
  private readonly fellows: Fellows;
  /** Fires, with why, when a replica is to become the primary. */
  private promotion = new AbortController();
  private onReady: () => void = () => undefined;

  private constructor(
    private readonly context: TermContext,
    private readonly control: ControlServer,
  ) {
    this.role = context.config.role;
    this.beacon = new Beacon(context.links, context.log, () =>
      beatOf(context, this.present, {
        lastEpoch: this.lastEpoch,
        checkpointAfter: this.checkpointAfter,
        resigned: this.resigned,
        successor: this.successor,
      }),
    );
    this.fellows = new Fellows(context, this.beacon);
    this.beacon.on('news', () => {
      this.fellows.hear(this.role);
      this.replica?.heard(this.beacon.commitLsn);
    });
  }

  /** Prepares everything that needs no storage. Throws CLUSTER_*, USAGE_*. */
  static async create(config: ComputeConfig, log: Logger): Promise<ComputeDaemon> {
    const secret = loadSecret(config.secretFile);
    const tls = config.tls === null ? null : TlsCredentials.load(config.tls);
    tls?.assertOf(`compute:${config.name}`);
    const install = await findPostgres({
      bindir: config.pgBindir ?? undefined,
      user: config.runAs ?? undefined,
    });
    const pageinLibrary = await ensurePagein(await pageinCacheDir(install));
    await probePagein(pageinLibrary, install);
    const dirs = computeDirs(config.dir, config.socketDir, config.name);
    await evictFormerPostgres(dirs.current, config.socketDir, config.port, log);
    const { volumeId, name: clientId, configuration, routes } = config;
    const links = new StorageLinks(
      config.storage,
      { secret, tls, volumeId, clientId, routes, log },
      configuration,
    );
    const reader = new ReadRouter();
    // A node without a vote yet may have no pages.
    const serves = (id: string): boolean =>
      links.configuration?.members.some((member) => member.id === id && member.voter) ?? true;
    links.on('up', (client) => serves(client.nodeId) && reader.add(client));
    links.on('down', (client) => reader.remove(client));
    links.on('configuration', () => {
      for (const client of links.connected())
        if (serves(client.nodeId)) reader.add(client);
        else reader.remove(client);
    });
    const standbyRoom = new StandbyRoom();
    const context: TermContext = {
      config,
      dirs,
      install,
      pageinLibrary,
      secret,
      links,
      reader,
      log,
      standbyRoom,
    };
    const metrics = computeMetrics(() => daemon.present, reader);
    const refusals = new RefusalLog(log, 'control request');
    addTlsMetrics(metrics, 'aurora_compute_', tls);
    const daemon: ComputeDaemon = new ComputeDaemon(
      context,
      new ControlServer(
        {
          status: () => daemon.status(),
          stop: (mode) => daemon.stop(mode),
          reload: (from) => daemon.reload(from),
          promote: () => daemon.promote(),
          handOver: (successor) => daemon.handOver(successor),
        },
        metrics,
        (where, err) => refusals.refused(where, err),
      ),
    );
    await daemon.control.listenOnSocket(controlSocketPath(config.socketDir, config.name));
    if (config.metricsPort !== null) await daemon.control.listenOnPort(config.metricsPort);
    return daemon;
  }

  /** Runs until stopped. Rejects when it cannot go on: fenced (EPOCH_FENCED), no quorum at start, repeated crashes. `onReady` is called once. */
  async run(onReady: () => void): Promise<void> {
    const { log, links } = this.context;
    this.onReady = onReady;
    links.open();
    const watch = new ConfigurationWatch(links, log);
    this.beacon.start();
    try {
      for (let next: ComputeRole | null = this.role, first = true; next !== null; first = false) {
        if (this.role !== next) log.info({ role: next }, 'the role changes');
        this.role = next;
        this.problem = null;
        next = next === 'primary' ? await this.asPrimary(first) : await this.asReplica(first);
      }
      await this.resign('stopped');
    } catch (err) {
      if (this.stopMode === null || (isDbError(err) && err.reaction === 'fence')) throw err;
      log.info({ err: errorMessage(err) }, 'stopped while starting');
      await this.resign('stopped');
    } finally {
      this.beacon.close();
      watch.close();
      await links.close();
      await this.control.close();
    }
  }

  stop(mode: StopMode): void {
    this.context.log.info({ mode }, 'stopping');
    if (this.stopMode === null || STRENGTH[mode] > STRENGTH[this.stopMode]) this.stopMode = mode;
    this.state = 'stopping';
    // Nobody follows a primary that ends because somebody wants it so.
    if (this.role === 'primary') void this.resign('stopped');
    this.stopping.abort();
    this.endTerm(mode);
  }

  /** Returns the LSN that the settings are in the volume at. Throws COMPUTE_*, NODE_NONE_READABLE. */
  async reload(from: Lsn = INVALID_LSN): Promise<Lsn> {
    if (this.replica) {
      await this.replica.reload(from);
      return from;
    }
    if (!this.term)
      throw new DbError('COMPUTE_NOT_READY', 'PostgreSQL is not running yet', { reaction: 'retry' });
    await this.term.reload();
    return this.term.parts.writer.commitLsn;
  }

  /** Throws USAGE_ROLE. */
  promote(): void {
    if (this.role !== 'replica')
      throw new DbError('USAGE_ROLE', `compute "${this.context.config.name}" is the primary already`);
    this.promotion.abort('asked to');
  }

  /** Throws USAGE_ROLE, COMPUTE_NOT_READY, USAGE_SUCCESSOR. */
  async handOver(successor: string): Promise<void> {
    const { name } = this.context.config;
    if (this.role !== 'primary') throw new DbError('USAGE_ROLE', `compute "${name}" is not the primary`);
    const assertReady = (): void => {
      if (!this.term || this.state !== 'running')
        throw new DbError('COMPUTE_NOT_READY', `compute "${name}" is not running`, { reaction: 'usage' });
    };
    assertReady();
    if (!(await this.fellows.follows(successor)))
      throw new DbError('USAGE_SUCCESSOR', `compute "${successor}" is not a replica that runs`);
    assertReady();
    this.context.log.info({ successor }, 'handing over');
    this.successor = successor;
    this.state = 'handing-over';
    this.endTerm('fast');
  }

  status(): ComputeStatus {
    return statusReport(this.context, this.present);
  }

  private get present(): Parameters<typeof statusReport>[1] {
    const { role, state, term, replica, problem } = this;
    return { role, state, term, replica, problem };
  }

  private endTerm(mode: StopMode): void {
    (this.term ?? this.replica)
      ?.stop(mode)
      .catch((err: unknown) => this.context.log.error({ err: errorMessage(err) }, 'stop failed'));
  }

  /** Terms of a writer. Returns what to be next, null after a stop. */
  private async asPrimary(first: boolean): Promise<ComputeRole | null> {
    const { config, log } = this.context;
    for (;;) {
      if (this.stopMode !== null) return null;
      if (await this.yields(first)) return 'replica';
      if (this.state !== 'promoting') this.state = 'starting';
      let term: Term;
      try {
        term = first ? await Term.start(this.context, this.stopping.signal) : await this.startAgain();
      } catch (err) {
        // Another one was promoted at the same time, and won.
        if (isDbError(err) && err.reaction === 'fence' && (await this.fellows.fencedByMember()))
          return 'replica';
        throw err;
      }
      first = false;
      this.term = term;
      this.lastEpoch = this.claimedAbove = term.parts.writer.epoch;
      try {
        writePrimaryNote(config.socketDir, { name: config.name, epoch: this.lastEpoch });
      } catch (err) {
        log.warn({ err: errorMessage(err) }, 'who is the primary could not be noted for the commands');
      }
      this.started();
      const duties = new PrimaryDuties(this.beacon, term, log);
      const reason = await term.ended;
      duties.close();
      this.term = null;
      if (reason === null) {
        if (this.successor === '' || this.stopMode !== null) return null;
        if (await this.succession()) return 'replica';
        continue;
      }
      this.successor = '';
      this.problem = reason.message;
      if (reason.reaction === 'fence') {
        this.state = 'fenced';
        if (await this.fellows.fencedByMember()) return 'replica';
        throw reason;
      }
      this.crashes.add(reason);
      log.warn({ code: reason.code, err: reason.message }, 'the term ended; starting again from storage');
    }
  }

  /** Lives of a replica. Returns what to be next, null after a stop. */
  private async asReplica(first: boolean): Promise<ComputeRole | null> {
    const { config, log } = this.context;
    this.promotion = new AbortController();
    const promoted = this.promotion.signal;
    const deadline = performance.now() + config.electTimeoutMs;
    const watch = new FailoverWatch(
      this.beacon,
      { name: config.name, quorum: () => knownQuorum(this.context), times: config.failover, log },
      (why) => this.promotion.abort(why),
    );
    try {
      if (first) await this.fellows.answered(this.stopping.signal);
      for (;;) {
        if (this.stopMode !== null) return null;
        this.state = 'starting';
        let reason: DbError | null;
        try {
          const either = AbortSignal.any([this.stopping.signal, promoted]);
          this.replica = await ReplicaTerm.start(this.context, (after) => this.askCheckpoint(after), either);
          this.started();
          reason = await this.untilEnded(this.replica, promoted);
        } catch (err) {
          if (promoted.aborted && this.stopMode === null) return this.promoting(promoted);
          if (!isDbError(err) || err.reaction !== 'retry' || (first && performance.now() > deadline))
            throw err;
          reason = err;
          await untilStopped(sleep(RETRY_MS / 4), this.stopping.signal);
        }
        this.replica = null;
        if (promoted.aborted && this.stopMode === null) return this.promoting(promoted);
        if (reason === null) return null;
        if (reason.code.startsWith('COMPUTE_PG_')) this.crashes.add(reason);
        this.problem = reason.message;
        log.warn(
          { code: reason.code, err: reason.message },
          'the replica ended; starting again from storage',
        );
      }
    } finally {
      watch.close();
      this.replica = null;
      this.askCheckpoint(INVALID_LSN);
    }
  }

  private promoting(signal: AbortSignal): ComputeRole {
    this.context.log.warn({ why: String(signal.reason) }, 'promoted');
    this.state = 'promoting';
    this.claimedAbove = this.fellows.newestEpoch;
    this.beacon.beat();
    return 'primary';
  }

  /** Its sessions are of a standby: they end with it at once. What it has replayed, and more, is in storage. */
  private async untilEnded(replica: ReplicaTerm, promoted: AbortSignal): Promise<DbError | null> {
    const onPromoted = (): void => {
      this.state = 'promoting';
      this.beacon.beat();
      this.endTerm('immediate');
    };
    if (promoted.aborted) onPromoted();
    else promoted.addEventListener('abort', onPromoted, { once: true });
    try {
      return await replica.ended;
    } finally {
      promoted.removeEventListener('abort', onPromoted);
    }
  }

  private started(): void {
    this.state = this.stopMode === null ? 'running' : 'stopping';
    this.resigned = 'no';
    this.successor = '';
    this.problem = null;
    this.beacon.beat();
    if (this.stopMode !== null) this.endTerm(this.stopMode);
    else this.onReady();
    this.onReady = () => undefined;
  }

  /** Whether another primary lives, whose replica this compute then is. */
  private async yields(first: boolean): Promise<boolean> {
    if (this.state === 'promoting' || (!this.context.config.yields && !this.fellows.known)) return false;
    if (first) await this.fellows.answered(this.stopping.signal);
    return this.fellows.hasPrimary();
  }

  /** The term ended for a successor. False: none came, so this compute is the primary again. */
  private async succession(): Promise<boolean> {
    await this.resign('handover');
    if (await this.fellows.succeeded(this.successor, this.lastEpoch, this.stopping.signal)) return true;
    this.resigned = 'no';
    this.successor = '';
    return false;
  }

  private async resign(how: Resignation): Promise<void> {
    if (this.role !== 'primary') return;
    this.resigned = how;
    await this.beacon.tell();
  }

  private askCheckpoint(after: Lsn): void {
    if (this.checkpointAfter === after) return;
    this.checkpointAfter = after;
    this.beacon.beat();
  }

  /**
   * A term after the first: sessions wait for it, so it is tried for as long as only storage is missing, and nobody else has come first
   * (EPOCH_FENCED). A PostgreSQL that does not start is counted as a crash. Throws what a repetition does not mend.
   */
  private async startAgain(): Promise<Term> {
    for (;;) {
      try {
        return await Term.start(this.context, this.stopping.signal);
      } catch (err) {
        if (!isDbError(err) || err.reaction !== 'retry') throw err;
        if (await this.fellows.overtaken(this.claimedAbove))
          throw new DbError('EPOCH_FENCED', 'another compute is the primary', {
            reaction: 'fence',
            cause: err,
          });
        this.problem = err.message;
        if (!/^(QUORUM|NODE)_/.test(err.code)) this.crashes.add(err);
        this.context.log.warn({ code: err.code, err: err.message }, 'the term did not start; trying again');
        await untilStopped(sleep(RETRY_MS), this.stopping.signal);
      }
    }
  }
}
