import { DbError, errorMessage } from '../engine/errors.js';
import { INVALID_LSN, lsn, type Lsn } from '../engine/lsn.js';
import { LagMeter } from './lag-meter.js';
import { newestFiles, replaceSettingsFiles } from './replica-files.js';
import type { ReplicaPoint } from './replica-point.js';
import { startReplica, type ReplicaParts } from './replica-start.js';
import type { HotStandbyFeedback } from './replication-codec.js';
import type { StopMode } from './supervisor.js';
import type { TermContext } from './term-start.js';

const WATCH_MS = 1000;
/** Replay that does not move for so long, although there is log, may be waiting for settings that the primary has raised. */
const STUCK_MS = 3000;
const ASK_MS = 5000;

/** What a replica knows of itself. */
export interface ReplicaProgress {
  received: Lsn;
  replayed: Lsn;
  lagMs: number;
  feedback: HotStandbyFeedback;
}

/**
 * One life of a read replica: a data directory made from storage, a hot standby on it, the log relayed to it. It ends with PostgreSQL: by a
 * stop, by a crash, or because storage has no longer what it needs (the next life begins at a newer checkpoint).
 */
export class ReplicaTerm {
  /** Why it is over, once it is: null after a stop. */
  readonly ended: Promise<DbError | null>;
  private finish: (reason: DbError | null) => void = () => undefined;
  private stopping: Promise<void> | null = null;
  private readonly watch: NodeJS.Timeout;
  private movedAtMs = performance.now();

  private constructor(
    private readonly context: TermContext,
    readonly parts: ReplicaParts,
    private readonly state: ReplicaState,
  ) {
    this.ended = new Promise((resolve) => (this.finish = resolve));
    state.onLost = (err) => void this.abandon(err);
    if (state.lost) void this.abandon(state.lost);
    void parts.postgres.exited.then(({ code, signal }) => this.postgresExited(code, signal));
    this.watch = setInterval(() => this.look(), WATCH_MS);
  }

  /** Throws as startReplica. `askCheckpoint`: see ReplicaPointParts. */
  static async start(
    context: TermContext,
    askCheckpoint: (after: Lsn) => void,
    stop?: AbortSignal,
  ): Promise<ReplicaTerm> {
    const state = new ReplicaState();
    const parts = await startReplica(
      context,
      {
        askCheckpoint,
        onGone: (err) => state.lose(err),
        onServer: (server, point, lease) => {
          state.begin(point);
          server.on('sent', (end) => state.sent(end));
          server.on('status', ({ flushed, applied }) => state.status(flushed, applied));
          server.on('feedback', (feedback) => (state.progress.feedback = feedback));
          server.on('lost', (err) => state.lose(err));
          // What is replayed is in this replica's files; from there on it needs history.
          lease.moveTo(() => state.progress.replayed);
        },
      },
      stop,
    );
    return new ReplicaTerm(context, parts, state);
  }

  get progress(): ReplicaProgress {
    return { ...this.state.progress, lagMs: this.state.lag.ms(performance.now()) };
  }

  async stop(mode: StopMode): Promise<void> {
    if (!this.stopping) this.stopping = this.stopNow(mode);
    else if (mode === 'immediate') await this.parts.postgres.kill();
    else if (mode === 'fast') this.parts.postgres.signal('SIGINT');
    return this.stopping;
  }

  /** The volume's settings files, as of `from` at least, into the data directory; then PostgreSQL reads them. Throws NODE_NONE_READABLE. */
  async reload(from: Lsn): Promise<void> {
    const { install, log } = this.context;
    const { dirs, postgres, relay } = this.parts;
    const files = await newestFiles(this.context, lsn(Math.max(from, relay.commitLsn)));
    const changed = replaceSettingsFiles(dirs.data, files, install.runAs);
    log.info({ changed }, 'settings files are those of the volume');
    postgres.signal('SIGHUP');
  }

  private async stopNow(mode: StopMode): Promise<void> {
    try {
      if (mode === 'immediate') await this.parts.postgres.kill();
      else await this.parts.postgres.stop(mode);
    } finally {
      await this.release();
      this.finish(null);
    }
  }

  private async abandon(reason: DbError): Promise<void> {
    if (this.stopping) return;
    this.context.log.warn({ code: reason.code }, reason.message);
    this.stopping = this.ended.then(() => undefined);
    try {
      await this.parts.postgres.kill();
      await this.release();
    } finally {
      this.finish(reason);
    }
  }

  private async postgresExited(code: number | null, signal: NodeJS.Signals | null): Promise<void> {
    if (this.stopping) return;
    this.stopping = this.release();
    await this.stopping.catch((err: unknown) =>
      this.context.log.error({ err: errorMessage(err) }, 'the replica did not end in order'),
    );
    const how = signal ?? `exit code ${code}`;
    const words = this.parts.postgres.lastWords || 'no last words';
    this.finish(
      code === 0
        ? null
        : new DbError('COMPUTE_PG_CRASH', `PostgreSQL ended unexpectedly (${how}): ${words}`, {
            reaction: 'retry',
          }),
    );
  }

  private async release(): Promise<void> {
    const { lease, server, agent } = this.parts;
    clearInterval(this.watch);
    lease.close();
    await server.close();
    await agent.close();
  }

  /** A standby pauses for ever when the primary was given more connections than it has room for: then it is made anew. */
  private look(): void {
    const { received, replayed } = this.state.progress;
    if (this.state.moved() || replayed >= received) this.movedAtMs = performance.now();
    else if (performance.now() - this.movedAtMs > STUCK_MS) {
      this.movedAtMs = performance.now();
      this.compareSettings().catch((err: unknown) =>
        this.context.log.debug({ err: errorMessage(err) }, "the primary's settings cannot be asked for"),
      );
    }
  }

  private async compareSettings(): Promise<void> {
    const { reader, links } = this.context;
    const applied = await Promise.all(
      links.connected().map(async (node) => (await node.status(ASK_MS)).appliedLsn),
    );
    const at = lsn(Math.max(...applied));
    const { parameters: now } = await reader.read('the control state', (node) =>
      node.controlState({ lsn: at }, ASK_MS),
    );
    const { parameters: ours } = this.parts.point.state;
    const raised = (
      [
        'maxConnections',
        'maxWorkerProcesses',
        'maxWalSenders',
        'maxPreparedXacts',
        'maxLocksPerXact',
      ] as const
    ).filter((name) => now[name] > ours[name]);
    if (raised.length > 0)
      await this.abandon(
        new DbError(
          'REPLICA_SETTINGS',
          `the primary has raised ${raised.join(', ')}: the replica starts again with room for that`,
          {
            reaction: 'retry',
          },
        ),
      );
  }
}

/** Filled from the first moment on, before there is a term. */
class ReplicaState {
  readonly lag = new LagMeter();
  readonly progress: Omit<ReplicaProgress, 'lagMs'> = {
    received: INVALID_LSN,
    replayed: INVALID_LSN,
    feedback: { xmin: 0, catalogXmin: 0 },
  };
  lost: DbError | null = null;
  onLost: (err: DbError) => void = () => undefined;
  private lookedAt: Lsn = INVALID_LSN;

  begin(point: ReplicaPoint): void {
    this.progress.received = this.progress.replayed = point.lsn;
  }

  sent(end: Lsn): void {
    this.lag.received(end, performance.now());
  }

  status(flushed: Lsn, applied: Lsn): void {
    this.progress.received = lsn(Math.max(this.progress.received, flushed));
    // Until it has replayed anything it says 0.
    this.progress.replayed = lsn(Math.max(this.progress.replayed, applied));
    this.lag.replayed(applied);
  }

  lose(err: DbError): void {
    if (this.lost) return;
    this.lost = new DbError('REPLICA_TOO_OLD', `the replica was too far behind: ${err.message}`, {
      reaction: 'retry',
      cause: err,
    });
    this.onLost(this.lost);
  }

  moved(): boolean {
    const moved = this.progress.replayed > this.lookedAt;
    this.lookedAt = this.progress.replayed;
    return moved;
  }
}
