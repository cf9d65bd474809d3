import { DbError, isDbError } from '../engine/errors.js';
import { formatLsn, lsn, type Lsn } from '../engine/lsn.js';
import type { LogStore } from '../engine/log/index.js';
import { XLOG_BLCKSZ } from '../engine/page/constants.js';
import { historyUpTo } from '../engine/quorum/history.js';
import type { EpochHistory } from '../engine/quorum/types.js';
import { LsnWaiters } from './lsn-waiters.js';

/** Log bytes of one answer: a standby wants them soon rather than many at once. */
const BYTES_MAX = 1024 * 1024;
/** A reader is never kept waiting for longer, so that it notices when there is more elsewhere. */
const WAIT_MS_MAX = 10_000;

export interface CommittedPiece {
  begin: Lsn;
  commitLsn: Lsn;
  history: EpochHistory;
  bytes: Buffer;
}

/** Gives replicas the log up to what is known here to be committed, the moment that it is. */
export class CommittedLog {
  private readonly waiters = new LsnWaiters();

  constructor(
    private readonly log: LogStore,
    /** Committed, and durable here. */
    private readonly readable: () => Lsn,
  ) {}

  /** The commit LSN, or the durable log, moved. */
  moved(): void {
    if (this.waiters.size > 0) this.waiters.applied(this.readable());
  }

  /** Throws LOG_GONE, LOG_DAMAGED. */
  async read(begin: Lsn, maxBytes: number, waitMs: number): Promise<CommittedPiece> {
    if (begin < this.log.startLsn)
      throw new DbError('LOG_GONE', `this node's log begins at ${formatLsn(this.log.startLsn)}, after ${formatLsn(begin)}`, { reaction: 'retry' }); // prettier-ignore
    if (this.readable() <= begin && waitMs > 0)
      await this.waiters
        .wait(lsn(begin + 1), Math.min(waitMs, WAIT_MS_MAX), this.readable)
        .catch((err: unknown) => {
          if (!isDbError(err, 'NODE_BEHIND')) throw err; // nothing came, which is an answer too
        });
    const commitLsn = this.readable();
    const end = pieceEnd(begin, commitLsn, begin + Math.min(maxBytes, BYTES_MAX));
    // What is committed is never cut: no epoch that begins meanwhile can make these bytes others.
    const bytes = end > begin ? await this.log.readAsync(begin, end) : Buffer.alloc(0);
    return { begin, commitLsn, history: historyUpTo(this.log.history, commitLsn), bytes };
  }
}

/**
 * A standby takes what it has of a WAL page for whole records, so only at the end of a page may the log end within one; the commit LSN is
 * always the end of one. A reader of less than a page has what it asked for, but no more than up to the page's end: who wants a whole
 * record asks for a page more than that.
 */
function pieceEnd(begin: Lsn, commitLsn: Lsn, limit: number): Lsn {
  if (limit >= commitLsn) return lsn(Math.max(begin, commitLsn));
  const pageEnd = limit - (limit % XLOG_BLCKSZ);
  return lsn(pageEnd > begin ? pageEnd : limit);
}
