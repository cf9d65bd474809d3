import { setImmediate as turn } from 'node:timers/promises';
import { advance } from '../engine/control/advance.js';
import type { ControlState } from '../engine/control/state.js';
import { DbError } from '../engine/errors.js';
import { formatLsn, lsn, type Lsn } from '../engine/lsn.js';
import type { LogStore } from '../engine/log/index.js';
import type { PageReader } from '../engine/pages/types.js';
import { WalStreamDecoder } from '../engine/wal/stream.js';
import type { WalRecord } from '../engine/wal/types.js';

const READ_BYTES = 1024 * 1024;
/** Records decoded before other work gets its turn. */
const RECORDS_PER_TURN = 2000;

export interface LogTail {
  /** Start and end of the last complete record. */
  recordStart: Lsn;
  recordEnd: Lsn;
  /** End of the durable log, perhaps inside the next record. */
  logEnd: Lsn;
}

/** Answers that need the log decoded beyond, or between, what the page store has kept. */
export class LogReader {
  constructor(
    private readonly log: LogStore,
    private readonly pages: PageReader,
  ) {}

  /** Decodes from the applied position to the log's end. Throws WAL_* when the log holds no valid WAL there, LOG_DAMAGED. */
  async tail(): Promise<LogTail> {
    const logEnd = this.log.durableEnd;
    let recordStart = this.pages.lastRecordLsn;
    let recordEnd = this.pages.appliedLsn;
    await this.records(recordEnd, recordStart, logEnd, (rec) => {
      recordStart = rec.startLsn;
      recordEnd = rec.endLsn;
    });
    return { recordStart, recordEnd, logEnd };
  }

  /**
   * The control state exactly at `at`: the newest one kept at or before it, and the records from there on folded over it.
   * Throws USAGE_NOT_RECORD_END when no record ends at `at`, NODE_BEHIND beyond the log's end, LOG_GONE before its start.
   */
  async controlState(at: Lsn): Promise<ControlState> {
    if (at > this.log.durableEnd)
      throw new DbError(
        'NODE_BEHIND',
        `the log ends at ${formatLsn(this.log.durableEnd)}, before ${formatLsn(at)}`,
      );
    const snapshot = this.pages.controlSnapshot(lsn(Math.min(at, this.pages.appliedLsn)));
    if (!snapshot)
      throw new DbError('LOG_GONE', `no control state is kept for ${formatLsn(at)}`, { reaction: 'usage' });
    const state = structuredClone(snapshot.state);
    let reached = snapshot.lsn;
    await this.records(snapshot.lsn, state.lastRecordLsn, at, (rec) => {
      advance(state, rec);
      reached = rec.endLsn;
    });
    if (reached !== at)
      throw new DbError(
        'USAGE_NOT_RECORD_END',
        `no WAL record ends at ${formatLsn(at)}; the one before ends at ${formatLsn(reached)}`,
      );
    return state;
  }

  private async records(
    from: Lsn,
    lastRecordLsn: Lsn,
    to: Lsn,
    visit: (rec: WalRecord) => void,
  ): Promise<void> {
    if (from >= to) return;
    const control = this.pages.controlSnapshot(this.pages.appliedLsn);
    if (!control)
      throw new DbError('NODE_NO_PAGES', 'this node has no pages yet, so it cannot tell where records begin');
    const { segmentSize, systemIdentifier } = control.state;
    const decoder = new WalStreamDecoder({
      startLsn: from,
      segmentSize,
      systemId: BigInt(systemIdentifier),
      lastRecordLsn,
    });
    let visited = 0;
    while (decoder.pushedLsn < to) {
      const begin = decoder.pushedLsn;
      decoder.push(await this.log.readAsync(begin, lsn(Math.min(to, begin + READ_BYTES))));
      for (let rec = decoder.next(); rec; rec = decoder.next()) {
        visit(rec);
        visited += 1;
        if (visited % RECORDS_PER_TURN === 0) await turn();
      }
    }
  }
}
