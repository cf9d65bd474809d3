import { DbState } from '../engine/control/index.js';
import { DbError } from '../engine/errors.js';
import { INVALID_LSN, lsn, type Lsn } from '../engine/lsn.js';
import { LagMeter } from './lag-meter.js';
import { PostgresLife } from './postgres-life.js';
import { newestFiles, replaceSettingsFiles } from './replica-files.js';
import type { ReplicaPoint } from './replica-point.js';
import { startReplica, type ReplicaParts } from './replica-start.js';
import type { HotStandbyFeedback } from './replication-codec.js';
import { lacking, readControlFile } from './standby-room.js';
import type { StopMode } from './supervisor.js';
import type { TermContext } from './term-start.js';

const WATCH_MS = 1000;

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
export class ReplicaTerm extends PostgresLife {
  private readonly watch: NodeJS.Timeout;

  private constructor(
    context: TermContext,
    readonly parts: ReplicaParts,
    private readonly state: ReplicaState,
  ) {
    super(context, parts.postgres, 'the replica');
    state.onLost = (err) => void this.abandon(err);
    if (state.lost) void this.abandon(state.lost);
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
        onServer: (server, relay, point, lease) => {
          state.begin(point);
          relay.onCommit = (commitLsn) => state.committed(commitLsn);
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

  /** So much is committed. */
  heard(commitLsn: Lsn): void {
    this.parts.relay.heard(commitLsn);
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

  protected async stopNow(mode: StopMode): Promise<void> {
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
    await this.killFor(reason);
  }

  protected async release(): Promise<void> {
    const { dirs, lease, server, agent } = this.parts;
    clearInterval(this.watch);
    const needed = readControlFile(dirs.data);
    if (needed) this.context.standbyRoom.need(needed.parameters);
    lease.close();
    await server.close();
    await agent.close();
  }

  /**
   * A standby pauses for ever when the primary was given more connections than it has room for: then it is made anew. One that is none any more,
   * by a way that nobody thought of, writes what the volume does not have: it ends.
   */
  private look(): void {
    const found = readControlFile(this.parts.dirs.data);
    if (!found) return;
    if (found.dbState === DbState.inProduction) {
      const what =
        'PostgreSQL is not a standby any more: what it wrote since is not in the volume, and is lost';
      void this.abandon(new DbError('REPLICA_NO_STANDBY', what, { reaction: 'retry', hint: 'Promote a replica with: aurora promote NAME' })); // prettier-ignore
      return;
    }
    const raised = lacking(this.parts.room, found.parameters);
    if (raised.length === 0) return;
    const what = `the primary has raised ${raised.join(', ')}: the replica starts again with room for that`;
    void this.abandon(new DbError('REPLICA_SETTINGS', what, { reaction: 'retry' }));
  }
}

/** Committed log, as far as known, that a replica has not replayed yet. */
export function lagBytes({ parts, progress }: ReplicaTerm): number {
  return Math.max(0, parts.relay.commitLsn - progress.replayed);
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

  begin(point: ReplicaPoint): void {
    this.progress.received = this.progress.replayed = point.lsn;
  }

  committed(upTo: Lsn): void {
    if (upTo > this.progress.replayed) this.lag.committed(upTo, performance.now());
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
}
