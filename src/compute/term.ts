import { existsSync, promises as fs, readFileSync } from 'node:fs';
import path from 'node:path';
import { DbState, parseControlFile } from '../engine/control/index.js';
import { DbError, errorMessage } from '../engine/errors.js';
import { formatLsn } from '../engine/lsn.js';
import { encodeFileMessage, FILE_MESSAGE_PREFIX } from '../engine/pages/effects/files.js';
import { Rmgr } from '../engine/wal/types.js';
import { encodeLogicalMessage, encodeRecord, placeRecord } from '../engine/wal/writer.js';
import { PostgresLife } from './postgres-life.js';
import type { StopMode } from './supervisor.js';
import { startTerm, type TermContext, type TermParts } from './term-start.js';
import { untilStopped } from './until-stopped.js';
import { STATISTICS_FILE } from './volume-files.js';

const HAND_OVER_MS = 10_000;
/** Patience for changed settings files before a stop: without a write quorum they cannot be stored. */
const STORE_SETTINGS_MS = 10_000;

/**
 * One term of a writer: an epoch, a data directory made from storage at the epoch's start, a PostgreSQL on it, its WAL shipped.
 * It ends with PostgreSQL: by a stop, by a crash (the next term starts from storage again), or fenced by a newer epoch.
 */
export class Term extends PostgresLife {
  /** Fires with the first immediate stop: from then on nothing waits for storage. */
  private readonly immediate = new AbortController();

  private constructor(
    context: TermContext,
    readonly parts: TermParts,
  ) {
    super(context, parts.postgres, 'the term');
    if (parts.writer.fencedBy) void this.abandon(parts.writer.fencedBy);
    else parts.writer.once('fenced', (err) => void this.abandon(err));
  }

  /** `stop` ends the start. Throws as startTerm. */
  static async start(context: TermContext, stop?: AbortSignal): Promise<Term> {
    let term: Term | null = null;
    // A PostgreSQL that is stopping takes no connections any more: then there is nothing wrong.
    const onStreamLost = (err: DbError): void => {
      if (term && !term.stopping) void term.abandon(err);
    };
    const parts = await startTerm(context, onStreamLost, stop);
    term = new Term(context, parts);
    return term;
  }

  override async stop(mode: StopMode): Promise<void> {
    if (mode === 'immediate') this.immediate.abort();
    return super.stop(mode);
  }

  /** Settings files into the volume, then PostgreSQL reads them. */
  async reload(): Promise<void> {
    await this.parts.files.sync();
    this.parts.postgres.signal('SIGHUP');
  }

  protected async stopNow(mode: StopMode): Promise<void> {
    const { log } = this.context;
    const { files, gate, postgres } = this.parts;
    const { signal } = this.immediate;
    const attempt = (work: Promise<void>, failure: string): Promise<void> =>
      untilStopped(work, signal).catch((err: unknown) => {
        if (!signal.aborted) log.error({ err: errorMessage(err) }, failure);
      });
    gate.close(); // or whoever waits there would not see that PostgreSQL is to stop
    try {
      if (!signal.aborted && postgres.running) {
        const soon = untilStopped(files.sync(), AbortSignal.timeout(STORE_SETTINGS_MS));
        await attempt(soon, 'settings files could not be stored before the stop');
      }
      if (!signal.aborted) {
        await attempt(files.close(), 'settings files');
        await postgres.stop(mode);
      } else await postgres.kill();
      // Statistics are only of use at the end of a log that is whole.
      if (!signal.aborted) await attempt(this.handOverStatistics(), 'statistics are not handed over');
    } finally {
      await this.release();
      this.finish(null);
    }
  }

  /** Puts the statistics that PostgreSQL wrote at its clean end behind its shutdown checkpoint, as the log's last record. */
  private async handOverStatistics(): Promise<void> {
    const { secret } = this.context;
    const { dirs, writer, point } = this.parts;
    const control = parseControlFile(readFileSync(path.join(dirs.data, 'global/pg_control')));
    const file = path.join(dirs.data, STATISTICS_FILE);
    const { start, end } = writer.lastRecord;
    if (start !== control.checkpointLsn || end !== writer.endLsn) {
      throw new DbError(
        'COMPUTE_LOG_CUT',
        `the log ends at ${formatLsn(writer.endLsn)} without PostgreSQL's last record at ${formatLsn(control.checkpointLsn)}`,
        { reaction: 'retry' },
      );
    }
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
    this.immediate.abort();
    await this.killFor(reason);
  }

  protected async release(): Promise<void> {
    const { files, gate, lease, shipper, writer, agent } = this.parts;
    gate.close();
    lease.close();
    await files.close();
    shipper.close();
    writer.close();
    await agent.close();
  }
}
