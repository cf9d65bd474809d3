/**
 * Rebuilds a node that lost its disk, or a part of it, or that lags behind what its peers keep, from its peers:
 *
 *   1. It registers a new life with enough voters (engine/quorum/lives.ts), and remains a learner until it may vote.
 *   2. Pages: everything as of one LSN R, a peer's applied LSN (engine/pages/rebuild.ts). Invisible to readers until all of it is there.
 *   3. Log: begins anew at the start of R's WAL segment, in the peer's epoch history; the ordinary catch-up (catch-up.ts) takes it from there,
 *      beside 2, so that what is copied for hours does not fall behind what peers keep.
 *   4. Ingest goes on from R; the node votes again once its log reaches what it may once have acknowledged.
 *
 * Pages that are found damaged (a checksum of RocksDB, a file that is gone) are made anew in the same way by step 2 alone. The node stays a voter: its log and
 * its promises are whole. The damaged ones go on serving what they can until a peer is there to copy from, and are kept aside until the new ones are whole.
 *
 * A part that is still good is kept: pages without log, log without pages, or both without the identity. Each step is durable before the next one
 * counts on it, so a node that is killed goes on where it was, with the same R as long as any peer still serves it.
 */
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { DbError, errorMessage, isDbError } from '../engine/errors.js';
import type { ControlState } from '../engine/control/index.js';
import { formatLsn, INVALID_LSN, lsn, type Lsn } from '../engine/lsn.js';
import type { LogStore } from '../engine/log/index.js';
import type { BaseImage } from '../engine/pages/base.js';
import { PageRebuild, type RebuildStep } from '../engine/pages/rebuild.js';
import type { PageStore } from '../engine/pages/store.js';
import type { Acceptor } from '../engine/quorum/index.js';
import type { RebuildStatus } from '../net/node-status.js';
import type { IngestLoop } from './ingest-loop.js';
import type { LogService } from './log-service.js';
import type { Peers } from './peers.js';
import { Registration } from './registration.js';
import { noPeer, RebuildSource, type ReadyPeer } from './rebuild-source.js';

export interface RebuildOptions {
  nodeId: string;
  /** QuorumConfig.rejoinQuorum, as of now. */
  rejoinQuorum: () => number;
  /** Page images taken from peers; 0 = as fast as they come. */
  bytesPerSecond: number;
  batchPages: number;
}

export interface RebuildParts {
  acceptor: Acceptor;
  log: LogStore;
  pages: PageStore;
  logService: LogService;
  ingest: () => IngestLoop;
  peers: () => Peers;
  /** The log may be fetched from peers now. */
  onLogReady(): void;
  /** Durable on return: that there are no pages proves nothing, they were damaged. */
  notePagesGivenUp(givenUp: boolean): void;
  /** Where damaged pages are kept meanwhile. */
  asideFolder: string;
  isFull(): boolean;
}

const BACKOFF_MS_MIN = 200;
const BACKOFF_MS_MAX = 5000;
const PROGRESS_MS = 10_000;
/** Fetches under way at a time; the images of as many batches are in memory. */
const FETCHES_AHEAD = 8;
/** Rounds of peer status in a row. */
const BEHIND_ROUNDS = 5;

export class Rebuild {
  private readonly stopping = new AbortController();
  private readonly source: RebuildSource;
  private readonly registration: Registration;
  private running: Promise<void> | null = null;
  private current: PageRebuild | null = null;
  private step: 'copying' | 'waiting' = 'waiting';
  private copiedBytes = 0;
  private attempts = 0;
  private lastError: string | null = null;
  private behindRounds = 0;
  private behindAt = INVALID_LSN;
  /** Pages were lost, or given up, and are not there yet: ingest must wait. */
  private pagesMissing: boolean;
  /** Why the pages are to be made anew. */
  private damage: string | null = null;
  private asideIsLost = false;

  constructor(
    private readonly parts: RebuildParts,
    private readonly options: RebuildOptions,
    private readonly logger: Logger,
  ) {
    this.source = new RebuildSource(
      parts.peers,
      { nodeId: options.nodeId, nothingToLose: () => this.pagesMissing },
      logger,
    );
    this.registration = new Registration(parts, options, logger);
    this.pagesMissing = parts.pages.appliedLsn === 0;
  }

  /** Committed log may become pages. */
  get pagesReady(): boolean {
    return !this.pagesMissing;
  }

  /** The pages are damaged: they are made anew from a peer's. */
  pagesDamaged(why: string): void {
    if (this.damage !== null || this.pagesMissing) return;
    this.damage = why;
    this.wake();
  }

  /** Null when nothing is to be rebuilt. */
  get status(): RebuildStatus | null {
    if (!this.hasLostMemory && this.damage === null && !this.pagesMissing) return null;
    const { current } = this;
    return {
      cause: this.damage,
      state: this.isWhole && this.damage === null ? 'following' : this.step,
      peer: this.source.peerId,
      lsn: current?.lsn ?? this.parts.pages.appliedLsn,
      pagesDone: current?.pagesDone ?? 0,
      pagesTotal: current?.pagesTotal ?? 0,
      copiedBytes: this.copiedBytes,
      attempts: this.attempts,
      lastError: this.lastError,
    };
  }

  /** Page images taken from peers since the start. */
  get bytes(): number {
    return this.copiedBytes;
  }

  /** After each round of peer status. */
  wake(): void {
    if (this.stopping.signal.aborted) return;
    if (this.parts.acceptor.state.learner === null && this.staysBehind()) this.giveUp();
    if (this.hasLostMemory) {
      this.registration.wake();
      this.tryRejoin();
    }
    if (this.running || !this.hasWork) return;
    this.running = this.run().finally(() => {
      this.running = null;
    });
  }

  /** Something became durable: perhaps it was the last thing missing. */
  tryRejoin(): void {
    const { acceptor, logService, log, pages } = this.parts;
    if (acceptor.state.learner !== 'amnesia' || !this.isWhole || log.durableEnd < pages.appliedLsn) return;
    if (log.damages.some(({ begin, end }) => begin < end)) return; // catch-up heals them first
    if (!logService.rejoin()) return;
    this.logger.info(
      { scl: formatLsn(log.durableEnd), applied: formatLsn(pages.appliedLsn) },
      'this node is rebuilt: it votes and counts again',
    );
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  private get hasLostMemory(): boolean {
    return this.parts.acceptor.state.learner === 'amnesia';
  }

  private get hasWork(): boolean {
    return this.damage !== null || this.pagesMissing || (this.hasLostMemory && !this.isWhole);
  }

  /** Pages are there, and a log that connects to them and can be continued. */
  private get isWhole(): boolean {
    return !this.pagesMissing && this.logServes(this.parts.pages.appliedLsn);
  }

  /** Whether the log, as it is or with what peers keep, leads on from `at`. */
  private logServes(at: Lsn): boolean {
    const { log } = this.parts;
    return log.history.length > 0 && log.startLsn <= at && !this.isLeftBehind();
  }

  /** Some peer has more log than we, and none of those still has what comes next here. */
  private isLeftBehind(): boolean {
    const { log } = this.parts;
    const { connected } = this.parts.peers();
    const ahead = connected.filter(({ status }) => status.scl > log.endLsn);
    if (connected.length < this.options.rejoinQuorum() || ahead.length === 0) return false;
    return ahead.every(({ status }) => status.logStart > log.endLsn);
  }

  /** Left behind for some rounds in which nobody, such as the writer, sent what is missing either. */
  private staysBehind(): boolean {
    const { endLsn } = this.parts.log;
    const still = this.isLeftBehind() && endLsn === this.behindAt;
    this.behindAt = endLsn;
    this.behindRounds = still ? this.behindRounds + 1 : 0;
    return this.behindRounds >= BEHIND_ROUNDS;
  }

  private giveUp(): void {
    const { log, logService } = this.parts;
    this.logger.error(
      { logEnd: formatLsn(log.endLsn) },
      'this node lags behind what its peers keep of the log: it gives up its own state and is rebuilt',
    );
    logService.giveUp();
  }

  private async run(): Promise<void> {
    const { signal } = this.stopping;
    for (let failures = 0; !signal.aborted && this.hasWork;) {
      try {
        if (this.parts.isFull())
          throw new DbError('NODE_DISK_FULL', 'there is no room on the disk to rebuild this node on', {
            reaction: 'retry',
          });
        if (this.damage !== null && !this.pagesMissing) await this.setPagesAside();
        if (this.pagesMissing) await this.copy();
        else await this.renewLog();
        failures = 0;
        this.lastError = null;
      } catch (err) {
        if (signal.aborted) return;
        failures += 1;
        this.attempts = failures;
        this.step = 'waiting';
        this.lastError = errorMessage(err);
        this.logger.warn({ err, failures }, `rebuild: ${this.lastError}`);
        if (this.source.needsWhatIsAside(isDbError(err, 'PAGE_STORE_DAMAGED'))) await this.takeBack(this.lastError); // prettier-ignore
        const ceiling = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.min(failures, 10));
        await sleep(ceiling, undefined, { signal }).catch(() => undefined);
      }
    }
    this.attempts = 0;
    await this.source.release();
  }

  /** Gives the damaged pages up, once there is a peer to copy from; see RebuildSource. */
  private async setPagesAside(): Promise<void> {
    const { pages, ingest, notePagesGivenUp, asideFolder } = this.parts;
    const peer = this.source.candidates()[0];
    if (!peer) {
      ingest().reset(); // as far as it gets: the damage may be elsewhere
      throw noPeer(INVALID_LSN);
    }
    this.logger.error(
      { peer: peer.id, aside: asideFolder },
      `the pages of this node are damaged, and are made anew from node ${peer.id}: ${this.damage}`,
    );
    notePagesGivenUp(true);
    this.pagesMissing = true;
    this.asideIsLost = false;
    ingest().suspend();
    await pages.openAnew(asideFolder);
    ingest().reset();
  }

  /** The damaged pages that were set aside serve again, until somebody is whole; if they still can be opened at all. */
  private async takeBack(why: string): Promise<void> {
    const { pages, ingest, notePagesGivenUp, asideFolder } = this.parts;
    if (!this.pagesMissing || this.asideIsLost || !existsSync(asideFolder)) return;
    this.current = null;
    try {
      await pages.takeBack(asideFolder);
    } catch (err) {
      this.asideIsLost = true;
      this.logger.error({ err }, `the damaged pages cannot be taken back: ${errorMessage(err)}`);
      return;
    }
    this.damage ??= why;
    this.pagesMissing = false;
    notePagesGivenUp(false);
    ingest().reset();
    this.logger.warn(
      { applied: formatLsn(pages.appliedLsn) },
      'no peer is whole: the damaged pages of this node serve again',
    );
  }

  /** Pages are here, log is not: it begins anew where it leads on from them, or the pages are given up, too. */
  private async renewLog(): Promise<void> {
    const { pages, ingest } = this.parts;
    const at = pages.appliedLsn;
    const control = pages.controlSnapshot(at);
    const peer = this.source.withLog(at);
    if (peer && control) {
      await this.rebaseLog(peer, at, control.state);
      return;
    }
    if (!this.source.hasReached(at)) throw noPeer(at);
    this.logger.error(
      { applied: formatLsn(at) },
      'no peer keeps the log from the applied LSN of this node on: its pages are given up',
    );
    this.pagesMissing = true;
    pages.reset((err) => this.logger.error({ err }, 'space of the former pages was not given back yet'));
    ingest().reset();
  }

  /** The log begins where the WAL segment of the last record before `at` does: a compute that starts at `at` goes on in the middle of it. */
  private async rebaseLog(
    peer: ReadyPeer,
    at: Lsn,
    { segmentSize, lastRecordLsn }: ControlState,
  ): Promise<void> {
    const segment = Math.floor((lastRecordLsn || at) / segmentSize) * segmentSize;
    const begin = lsn(Math.max(segment, peer.status.logStart));
    if (begin > at)
      throw new DbError('REBUILD_LOG_GONE', `node ${peer.id} has no log from ${formatLsn(at)} on any more`, {
        reaction: 'retry',
      });
    await this.parts.logService.rebase(begin, peer.status.history);
    this.logger.info({ peer: peer.id, begin: formatLsn(begin) }, `log begins anew at ${formatLsn(begin)}`);
    this.parts.onLogReady();
  }

  private async copy(): Promise<void> {
    const { pages, ingest } = this.parts;
    this.step = 'copying';
    this.current ??= PageRebuild.resume(pages);
    if (this.current)
      this.logger.info(this.progress(), `rebuild goes on as of ${formatLsn(this.current.lsn)}`);
    else this.current = await this.begin();
    const { current } = this;
    const serves = this.logServes(current.lsn);
    const peer = serves || !this.hasLostMemory ? null : this.source.withLog(current.lsn);
    if (peer) await this.rebaseLog(peer, current.lsn, current.control);
    else if (!this.source.hasReached(current.lsn)) throw noPeer(current.lsn);
    if (!this.logServes(current.lsn) || !(await this.copyPages(current))) {
      this.logger.warn(
        this.progress(),
        `no peer keeps the state as of ${formatLsn(current.lsn)}: rebuild begins anew`,
      );
      this.current = null;
      pages.reset((err) =>
        this.logger.error({ err }, 'space of a broken-off rebuild was not given back yet'),
      );
      return;
    }
    current.finish();
    this.current = null;
    this.parts.notePagesGivenUp(false);
    await rm(this.parts.asideFolder, { recursive: true, force: true });
    this.pagesMissing = false;
    this.damage = null;
    ingest().reset();
    this.logger.info(
      { lsn: formatLsn(pages.appliedLsn), copiedBytes: this.copiedBytes },
      `pages are rebuilt as of ${formatLsn(pages.appliedLsn)}`,
    );
  }

  private async begin(): Promise<PageRebuild> {
    const { peer, at, rows, control } = await this.source.begin();
    const begun = PageRebuild.begin(this.parts.pages, at, rows, control);
    this.logger.warn(
      { peer, lsn: formatLsn(at), pages: begun.pagesTotal },
      `rebuild begins: ${begun.pagesTotal} pages of node ${peer} as of ${formatLsn(at)}`,
    );
    return begun;
  }

  /** False when no peer serves that LSN any more, so that all must begin anew. */
  private async copyPages(current: PageRebuild): Promise<boolean> {
    const { signal } = this.stopping;
    const begun = performance.now();
    let bytes = 0;
    let told = begun;
    // A small database has a thousand forks of a page or two: one at a time, each would cost a round trip.
    const steps = current.steps(this.options.batchPages);
    const fetched: { step: RebuildStep; images: Promise<BaseImage[] | null> }[] = [];
    const fetchMore = (): void => {
      while (fetched.length < FETCHES_AHEAD) {
        const next = steps.next();
        if (next.done) return;
        const images = this.source.fetch(next.value, current.lsn);
        images.catch(() => undefined); // awaited below, unless one before it fails
        fetched.push({ step: next.value, images });
      }
    };
    for (fetchMore(); fetched.length > 0; fetchMore()) {
      const { step, images: pending } = fetched.shift()!;
      const images = await pending;
      if (signal.aborted) throw new DbError('NODE_STOPPING', 'this node is stopping');
      if (images === null) return false;
      current.put(step, images);
      const copied = images.reduce((sum, { image }) => sum + image.length, 0);
      bytes += copied;
      this.copiedBytes += copied;
      this.lastError = null;
      const now = performance.now();
      if (now - told > PROGRESS_MS) {
        told = now;
        this.logger.info(this.progress(), 'rebuild goes on');
      }
      const { bytesPerSecond } = this.options;
      const dueMs = bytesPerSecond > 0 ? begun + (bytes / bytesPerSecond) * 1000 - now : 0;
      if (dueMs > 1) await sleep(dueMs, undefined, { signal });
    }
    return true;
  }

  private progress(): Record<string, unknown> {
    const { pagesDone = 0, pagesTotal = 0 } = this.current ?? {};
    return { peer: this.source.peerId, pagesDone, pagesTotal };
  }
}
