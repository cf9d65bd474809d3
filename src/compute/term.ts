import { existsSync, promises as fs, readFileSync } from 'node:fs';
import path from 'node:path';
import { DbState, parseControlFile } from '../engine/control/index.js';
import { DbError, errorMessage } from '../engine/errors.js';
import { encodeFileMessage, FILE_MESSAGE_PREFIX } from '../engine/pages/effects/files.js';
import { Rmgr } from '../engine/wal/types.js';
import { encodeLogicalMessage, encodeRecord, placeRecord } from '../engine/wal/writer.js';
import type { StopMode } from './supervisor.js';
import { startTerm, type TermContext, type TermParts } from './term-start.js';
import { STATISTICS_FILE } from './volume-files.js';

const HAND_OVER_MS = 10_000;

/**
 * One term of a writer: an epoch, a data directory made from storage at the epoch's start, a PostgreSQL on it, its WAL shipped.
 * It ends with PostgreSQL: by a stop, by a crash (the next term starts from storage again), or fenced by a newer epoch.
 */
export class Term {
  /** Why the term is over, once it is: null after a stop. */
  readonly ended: Promise<DbError | null>;
  private finish: (reason: DbError | null) => void = () => undefined;
  private stopping: Promise<void> | null = null;

  private constructor(
    private readonly context: TermContext,
    readonly parts: TermParts,
  ) {
    this.ended = new Promise((resolve) => (this.finish = resolve));
    parts.writer.once('fenced', (err) => void this.abandon(err));
    void parts.postgres.exited.then(({ code, signal }) => this.postgresExited(code, signal));
  }

  static async start(context: TermContext): Promise<Term> {
    let term: Term | null = null;
    const parts = await startTerm(context, (err) => void term?.abandon(err));
    term = new Term(context, parts);
    return term;
  }

  get isStopping(): boolean {
    return this.stopping !== null;
  }

  /** Stops PostgreSQL the way pg_ctl does. A second call with a stronger mode hurries the first. */
  async stop(mode: StopMode): Promise<void> {
    if (!this.stopping) this.stopping = this.stopNow(mode);
    else if (mode !== 'smart') this.parts.postgres.signal(mode === 'fast' ? 'SIGINT' : 'SIGQUIT');
    return this.stopping;
  }

  /** Settings files into the volume, then PostgreSQL reads them. */
  async reload(): Promise<void> {
    await this.parts.files.sync();
    this.parts.postgres.signal('SIGHUP');
  }

  private async stopNow(mode: StopMode): Promise<void> {
    const { log } = this.context;
    const { files, postgres } = this.parts;
    if (mode !== 'immediate' && postgres.running) {
      await files
        .sync()
        .catch((err: unknown) =>
          log.error({ err: errorMessage(err) }, 'settings files could not be stored before the stop'),
        );
    }
    await files.close();
    await postgres.stop(mode);
    if (mode !== 'immediate') {
      await this.handOverStatistics().catch((err: unknown) =>
        log.warn({ err: errorMessage(err) }, 'statistics are not handed over'),
      );
    }
    await this.release();
    this.finish(null);
  }

  /** Puts the statistics that PostgreSQL wrote at its clean end behind its shutdown checkpoint, as the log's last record. */
  private async handOverStatistics(): Promise<void> {
    const { secret } = this.context;
    const { dirs, writer, point } = this.parts;
    const control = parseControlFile(readFileSync(path.join(dirs.data, 'global/pg_control')));
    const file = path.join(dirs.data, STATISTICS_FILE);
    if (control.dbState !== DbState.shutdowned || !existsSync(file)) return;
    const content = encodeFileMessage(secret, STATISTICS_FILE, await fs.readFile(file));
    const mainData = encodeLogicalMessage({ prefix: FILE_MESSAGE_PREFIX, content });
    // PostgreSQL's last record is its shutdown checkpoint: it is the one that ours follows.
    const raw = encodeRecord({
      rmid: Rmgr.LogicalMessage,
      info: 0,
      xid: 0,
      prevLsn: control.checkpointLsn,
      mainData,
    });
    const { segmentSize, systemIdentifier, checkpoint } = point.state;
    const placed = placeRecord(raw, writer.endLsn, {
      segmentSize,
      systemId: BigInt(systemIdentifier),
      timeline: checkpoint.thisTimeLineId,
    });
    writer.append(writer.endLsn, placed.bytes);
    await writer.committed(placed.endLsn, HAND_OVER_MS);
  }

  /** Ends PostgreSQL at once: fenced, or cut off from the log. Nothing that it says from now on is true. */
  private async abandon(reason: DbError): Promise<void> {
    this.context.log.error({ code: reason.code }, reason.message);
    this.stopping ??= Promise.resolve();
    await this.parts.postgres.kill();
    await this.release();
    this.finish(reason);
  }

  private async postgresExited(code: number | null, signal: NodeJS.Signals | null): Promise<void> {
    if (this.stopping) return;
    this.stopping = this.release();
    await this.stopping;
    const how = signal ?? `exit code ${code}`;
    const words = this.parts.postgres.lastWords || 'no last words';
    // Exit 0: somebody else asked the postmaster to shut down; the compute ends with it.
    this.finish(
      code === 0
        ? null
        : new DbError('COMPUTE_PG_CRASH', `PostgreSQL ended unexpectedly (${how}): ${words}`, {
            reaction: 'retry',
          }),
    );
  }

  private async release(): Promise<void> {
    const { files, shipper, writer, agent } = this.parts;
    await files.close();
    shipper.close();
    writer.close();
    await agent.close();
  }
}
