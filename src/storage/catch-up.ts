import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { DbError, errorMessage } from '../engine/errors.js';
import { formatLsn, lsn, type Lsn } from '../engine/lsn.js';
import type { LogStore } from '../engine/log/index.js';
import { commonPoint, type Acceptor } from '../engine/quorum/index.js';
import type { EpochHistory } from '../engine/quorum/types.js';
import { APPEND_BYTES_MAX } from '../net/messages.js';
import type { CatchUpStatus } from '../net/node-status.js';
import type { LogService } from './log-service.js';
import type { Peer, Peers } from './peers.js';
import { checkWalPages } from './wal-pages.js';

const FETCH_BYTES = 4 * 1024 * 1024;
const BACKOFF_MS_MIN = 100;
const BACKOFF_MS_MAX = 5000;
/** Below this lag a log that still grows is left to the writer, whose stream is on its way. */
const STREAM_LAG_BYTES = 16 * 1024 * 1024;

export interface CatchUpOptions {
  segmentSize(): number | null;
  /** There is no room for log. */
  isFull(): boolean;
  /** Damaged ranges were healed: what waited for them may go on. */
  onHealed(): void;
  random?: () => number;
}

/**
 * Brings a node that lags back to what its peers hold, without a writer: epochs and commit LSN from their status, missing log and damaged
 * ranges from their log. Bytes are taken only where both epoch histories agree, for there all logs are the same. It runs beside the
 * writer's own stream; whoever comes second is a duplicate, which the Acceptor drops.
 */
export class CatchUp {
  readonly status: CatchUpStatus = {
    state: 'idle',
    peer: '',
    target: lsn(0),
    fetchedBytes: 0,
    healedBytes: 0,
    attempts: 0,
    lastError: null,
  };
  private readonly stopping = new AbortController();
  private running: Promise<void> | null = null;
  private gapSeen = false;
  private lastEnd: Lsn = lsn(0);

  constructor(
    private readonly acceptor: Acceptor,
    private readonly log: LogStore,
    private readonly logService: LogService,
    private readonly peers: () => Peers,
    private readonly options: CatchUpOptions,
    private readonly logger: Logger,
  ) {}

  /** A writer's append did not connect to our log. */
  gap(): void {
    this.gapSeen = true;
    this.wake();
  }

  /** Something may be missing, damaged, or newly known. Called after each round of peer status. */
  wake(): void {
    if (this.running || this.stopping.signal.aborted) return;
    this.running = this.run()
      .catch((err: unknown) => {
        this.status.state = 'failed';
        this.status.lastError = errorMessage(err);
        this.logger.error({ err }, `catch-up failed: ${errorMessage(err)}`);
      })
      .finally(() => {
        this.running = null;
      });
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  private async run(): Promise<void> {
    const { signal } = this.stopping;
    const random = this.options.random ?? Math.random;
    for (let failures = 0; !signal.aborted;) {
      try {
        await this.learn();
        const worked = (await this.healSome()) || (await this.fetchSome());
        if (!worked) break;
        failures = 0;
        this.status.lastError = null;
      } catch (err) {
        // Every failure here is a peer's, a network's or a moment's; the next round begins from fresh status.
        failures += 1;
        this.status.attempts = failures;
        this.status.lastError = errorMessage(err);
        this.status.state = 'waiting';
        this.logger.warn({ err, failures }, `catch-up: ${errorMessage(err)}`);
        const ceiling = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.min(failures, 10));
        await sleep(ceiling / 2 + (random() * ceiling) / 2, undefined, { signal }).catch(() => undefined);
        if (failures >= 8) break; // until the next round of status wakes us
      }
    }
    this.status.state = 'idle';
    this.status.peer = '';
    this.status.attempts = 0;
  }

  /** Epochs and commit LSN that peers know and we do not. */
  private async learn(): Promise<void> {
    for (const { id, status } of this.peers().connected) {
      const ours = this.acceptor.state;
      const newest = status.history.at(-1);
      if (!newest || ours.history.length === 0) continue; // nothing to build on: that is a rebuild
      if (newest.epoch > (ours.history.at(-1)?.epoch ?? -1) && newest.epoch >= ours.promisedEpoch) {
        // Exactly what the elected writer of that epoch sent to the peer, and would send to us: one history per epoch.
        const writerId = status.promisedEpoch === newest.epoch ? status.promisedWriter : `relayed by ${id}`;
        await this.logService.startEpoch({
          epoch: newest.epoch,
          writerId,
          handshake: 0,
          history: status.history,
        });
      }
      const epoch = epochAt(status.history, status.commitLsn);
      if (epoch !== null) this.logService.commitNotice({ epoch, commitLsn: status.commitLsn });
    }
  }

  /** Fetches the next piece of missing log. False when no peer has more. */
  private async fetchSome(): Promise<boolean> {
    const { history, logEnd, promisedEpoch } = this.acceptor.state;
    if (this.options.isFull()) return false;
    if (history.length === 0 || history.at(-1)!.epoch !== promisedEpoch) return false; // a writer is about to begin here
    const best = this.bestSource(history, logEnd);
    const streaming = logEnd > this.lastEnd && !this.gapSeen && this.status.state !== 'fetching';
    this.lastEnd = logEnd;
    if (!best || (streaming && best.end - logEnd < STREAM_LAG_BYTES)) {
      this.gapSeen = false;
      return false;
    }
    if (this.status.state !== 'fetching')
      this.logger.info(
        { peer: best.peer.id, from: formatLsn(logEnd), to: formatLsn(best.end) },
        'fetching missing log from a peer',
      );
    Object.assign(this.status, { state: 'fetching', peer: best.peer.id, target: best.end });
    const end = lsn(Math.min(best.end, logEnd + FETCH_BYTES));
    const reply = await best.peer.client!.readLog({ begin: logEnd, end, maxBytes: FETCH_BYTES });
    if (reply.bytes.length === 0)
      throw new DbError('CATCHUP_EMPTY', `node ${best.peer.id} gave no log at ${formatLsn(logEnd)}`, {
        reaction: 'retry',
      });
    checkWalPages(reply.bytes, reply.begin, this.options.segmentSize());
    const added = await this.logService.appendFromPeer(reply.begin, reply.bytes, reply.history);
    this.status.fetchedBytes += added;
    this.lastEnd = this.acceptor.state.logEnd;
    return true;
  }

  /** The peer with the most log that is ours too. */
  private bestSource(history: EpochHistory, logEnd: Lsn): { peer: Peer; end: Lsn } | null {
    let best: { peer: Peer; end: Lsn } | null = null;
    for (const peer of this.peers().connected) {
      const end = commonPoint(history, lsn(Number.MAX_SAFE_INTEGER), peer.status.history);
      if (end === null || peer.status.logStart > logEnd) continue;
      const usable = lsn(Math.min(end, peer.status.scl));
      if (usable > logEnd && usable > (best?.end ?? 0)) best = { peer, end: usable };
    }
    return best;
  }

  /** Replaces one damaged range by a peer's bytes. False when there is none, or no peer that could help. */
  private async healSome(): Promise<boolean> {
    // A damage without a length is an unreadable end of the log: what was there comes with the fetch, as new log.
    const range = this.log.damages.find((damage) => damage.begin < damage.end);
    if (!range) {
      if (this.log.damages.length === 0 && this.acceptor.state.learner === 'damaged-log') this.healed();
      return false;
    }
    const { history } = this.acceptor.state;
    this.status.state = 'healing';
    let lastError: unknown = null;
    for (const peer of this.peers().connected) {
      const end = lsn(Math.min(range.end, range.begin + APPEND_BYTES_MAX));
      const common = commonPoint(history, end, peer.status.history);
      if (common === null || common < end || peer.status.scl < end || peer.status.logStart > range.begin)
        continue;
      try {
        const reply = await peer.client.readLog({ begin: range.begin, end });
        const agreed = commonPoint(this.acceptor.state.history, end, reply.history);
        if (
          reply.begin !== range.begin ||
          reply.bytes.length !== end - range.begin ||
          agreed === null ||
          agreed < end
        )
          throw new DbError('CATCHUP_EMPTY', `node ${peer.id} has not all of the range`, {
            reaction: 'retry',
          });
        checkWalPages(reply.bytes, reply.begin, this.options.segmentSize());
        await this.log.heal(range.begin, reply.bytes);
        this.status.healedBytes += reply.bytes.length;
        this.logger.warn(
          { peer: peer.id, file: range.file, begin: formatLsn(range.begin), end: formatLsn(end) },
          `damaged log [${formatLsn(range.begin)}, ${formatLsn(end)}) of ${range.file} healed from node ${peer.id}`,
        );
        if (this.log.damages.length === 0) this.healed();
        return true;
      } catch (err) {
        lastError = err;
      }
    }
    if (lastError !== null) throw lastError;
    return false;
  }

  private healed(): void {
    this.acceptor.setDamaged(false);
    this.options.onHealed();
  }
}

/** The epoch whose part of the log ends with the byte before `at`: whoever has that epoch shares the log up to there. */
function epochAt(history: EpochHistory, at: Lsn): number | null {
  const below = history.filter((entry) => entry.startLsn < at);
  return below.at(-1)?.epoch ?? null;
}
