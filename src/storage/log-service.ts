import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { DbError, errorMessage } from '../engine/errors.js';
import { formatLsn, lsn, type Lsn } from '../engine/lsn.js';
import type { LogStore } from '../engine/log/index.js';
import { commonPoint, formatHistory, type Acceptor, type AppendAnswer, type CommitNotice, type Configuration } from '../engine/quorum/index.js'; // prettier-ignore
import type {
  IdentityRecord,
  PromiseAnswer,
  PromiseRequest,
  RegisterAnswer,
  RegisterRequest,
  StartEpoch,
  StartEpochAnswer,
} from '../engine/quorum/index.js';
import type { EpochHistory } from '../engine/quorum/types.js';
import type { Identity } from './identity.js';
import { SyncPace } from './sync-pace.js';

/** Who gets the answers to its appends; one per connection. */
export interface AppendSink {
  answer(answer: AppendAnswer): void;
}

export interface LogServiceHooks {
  /** The log may be read further: its durable end or the commit LSN moved. */
  onReadable(): void;
  /** The log was cut at `cutAt` by a new epoch. */
  onCut(cutAt: Lsn): void;
  /** A writer sent bytes that do not connect: fetch what is missing from a peer. */
  onGap(): void;
  /** The log takes nothing more at present, for want of room. */
  isFull(): boolean;
  /** So many bytes are about to be written. */
  onTaking(bytes: number): void;
  /** The log cannot be written. */
  onWriteFailed(err: unknown): void;
  /** The volume's configuration is another now, or known to be settled. */
  onConfiguration(): void;
  /** A broken invariant: the process must end. */
  onFatal(err: unknown): void;
}

const RETRY_MS = 1000;
/** While the disk refuses, appends beyond this are dropped unanswered; the writer sends them again after the gap answer. */
const UNSYNCED_BYTES_MAX = 256 * 1024 * 1024;

/**
 * Carries out what the Acceptor decides: writes to the log, syncs, identity, and the answers in the order that it demands.
 * One sync serves every append that came before it (group commit); each connection then gets one answer for all of its own.
 */
export class LogService {
  syncs = 0;
  readonly pace = new SyncPace();
  appendedBytes = 0;
  /** Why the log cannot be made durable at present; nothing is acknowledged meanwhile. */
  writeError: string | null = null;
  private waiting = new Map<AppendSink, number>();
  private callers: { resolve(): void; reject(err: unknown): void }[] = [];
  private syncing = false;
  private readonly stopping = new AbortController();
  private again = false;
  private knownConfiguration: string;

  constructor(
    private readonly acceptor: Acceptor,
    private readonly log: LogStore,
    private readonly identity: Identity,
    private readonly hooks: LogServiceHooks,
    private readonly logger: Logger,
  ) {
    const { generation, settled } = acceptor.membership;
    this.knownConfiguration = `${generation} ${settled}`;
  }

  promise(request: PromiseRequest): PromiseAnswer {
    const step = this.acceptor.promise(request);
    if (step.persist) {
      this.save(step.persist);
      this.logger.info({ epoch: request.epoch, writerId: request.writerId }, 'epoch promised');
    }
    return step.answer;
  }

  async startEpoch(message: StartEpoch): Promise<StartEpochAnswer> {
    if (this.log.history.length === 0)
      throw new DbError(
        'NODE_LOST_LOG',
        'this node lost its log: it must be rebuilt before it can follow a writer',
      );
    const step = this.acceptor.startEpoch(message);
    if (step.kind === 'answer') {
      if (step.persist) this.save(step.persist);
      return step.answer;
    }
    const before = this.log.endLsn;
    this.save(step.persist);
    this.log.setHistory(step.cutAt, step.history);
    if (step.cutAt < before) this.hooks.onCut(step.cutAt);
    this.logger.info(
      {
        epoch: message.epoch,
        writerId: message.writerId,
        cutAt: formatLsn(step.cutAt),
        logEnd: formatLsn(before),
      },
      `epoch ${message.epoch} adopted: ${formatHistory(step.history)}`,
    );
    await this.sync();
    return this.acceptor.startEpochAnswer(message);
  }

  /** Told of the volume's configuration, by a tool, a writer, or a peer's status. Throws as Acceptor.configure. */
  configure(configuration: Configuration | null, settled: number): void {
    const record = this.acceptor.configure(configuration ?? undefined, settled);
    if (record) this.save(record);
  }

  /** From a peer that lost its memory. */
  register(request: RegisterRequest): RegisterAnswer {
    const { persist, answer } = this.acceptor.register(request);
    if (persist) {
      this.save(persist);
      this.logger.info(request, `node ${request.nodeId} lost its memory and begins life ${request.life}`);
    }
    return answer;
  }

  /** What to ask all peers as long as this node has lost its memory and is not registered; else null. */
  registration(nodeId: string, token: string): RegisterRequest | null {
    const asked = this.acceptor.registration(nodeId, token);
    if (asked?.persist) this.save(asked.persist);
    return asked?.request ?? null;
  }

  /** A peer's answer to it. */
  registered(from: string, answer: RegisterAnswer, needed: number): void {
    const record = this.acceptor.registered(from, answer, needed);
    if (record) this.save(record);
  }

  /** Whether this node, rebuilt, votes again from now on. */
  rejoin(): boolean {
    const record = this.acceptor.rejoin();
    if (record) this.save(record);
    return record !== null;
  }

  /** This node lags behind what its peers keep: from now on it is a learner that has lost its log, to be rebuilt. */
  giveUp(): void {
    this.save(this.acceptor.giveUp());
  }

  /** The log of a learner begins anew, and empty, at `at`; see Acceptor.rebase(). Durable when it resolves. */
  async rebase(at: Lsn, history: EpochHistory): Promise<void> {
    const record = this.acceptor.rebase(at, history);
    if (!record)
      throw new DbError('BUG_REBASE', `the log of a voter was to begin anew at ${formatLsn(at)}`, {
        reaction: 'bug',
      });
    this.save(record);
    const { startLsn, endLsn } = this.log;
    if (endLsn > startLsn) this.log.setHistory(startLsn, this.log.history);
    this.log.setHistory(at, history);
    this.hooks.onCut(startLsn);
    await this.sync();
  }

  /** From a writer. `bytes` are kept until they are synced. */
  append(sink: AppendSink, message: { epoch: number; begin: Lsn; commitLsn: Lsn; bytes: Buffer }): void {
    const { epoch, begin, commitLsn, bytes } = message;
    // Without an answer: the writer sends it again when it hears, from the next append, of the gap.
    if (this.hooks.isFull()) return;
    if (this.writeError !== null && this.log.unsyncedBytes > UNSYNCED_BYTES_MAX) return;
    const readable = this.acceptor.readableLsn;
    const step = this.acceptor.append({ epoch, begin, end: lsn(begin + bytes.length), commitLsn });
    if (this.acceptor.readableLsn > readable) this.hooks.onReadable();
    if (step.kind === 'answer') {
      sink.answer(step.answer);
      if (step.answer.kind === 'gap') this.hooks.onGap();
      return;
    }
    this.waiting.set(sink, epoch);
    if (step.end > step.begin) {
      this.write(step.begin, bytes.subarray(step.skip));
    } else if (!this.syncing) {
      this.flushAnswers(this.takeWaiting()); // a heartbeat or a duplicate, and all is durable already
      return;
    }
    this.wantSync();
  }

  /** The connection ended: its answers are nobody's any more. */
  forget(sink: AppendSink): void {
    this.waiting.delete(sink);
  }

  /**
   * Log fetched from a peer, whose history `theirs` was read along with the bytes. Resolves with how much of it was new, once durable.
   * Throws CATCHUP_MISMATCH unless both histories agree on every byte of it, CATCHUP_NOT_NOW when the log cannot grow in its present epoch.
   */
  async appendFromPeer(begin: Lsn, bytes: Buffer, theirs: EpochHistory): Promise<number> {
    const { history } = this.acceptor.state;
    const end = lsn(begin + bytes.length);
    const common = commonPoint(history, end, theirs);
    if (common === null || common < end)
      throw new DbError(
        'CATCHUP_MISMATCH',
        `log [${formatLsn(begin)}, ${formatLsn(end)}) of a peer: its history ${formatHistory(theirs)} is not ours, ${formatHistory(history)}`,
        { reaction: 'retry' },
      );
    const step = this.acceptor.append({ epoch: history.at(-1)!.epoch, begin, end, commitLsn: lsn(0) });
    if (step.kind === 'answer')
      throw new DbError('CATCHUP_NOT_NOW', `log from a peer at ${formatLsn(begin)} (${step.answer.kind})`, {
        reaction: 'retry',
      });
    if (step.end > step.begin) this.write(step.begin, bytes.subarray(step.skip));
    await this.sync();
    return step.end - step.begin;
  }

  /** Throws EPOCH_STALE when a writer of `epoch` may not take this log for its donor's. 0: not a writer, nothing to check. */
  assertServesTail(epoch: number): void {
    if (epoch === 0 || this.acceptor.servesTail(epoch)) return;
    const { promisedEpoch, learner } = this.acceptor.state;
    throw new DbError(
      'EPOCH_STALE',
      `this log is no source for epoch ${epoch}: epoch ${promisedEpoch} is promised${learner ? `, and the node is a learner (${learner})` : ''}`,
    );
  }

  /** Passed on by a peer. */
  commitNotice(notice: CommitNotice): void {
    const readable = this.acceptor.readableLsn;
    this.acceptor.commitNotice(notice);
    if (this.acceptor.readableLsn > readable) this.hooks.onReadable();
  }

  /** Everything handed over before the call is durable when it resolves. */
  sync(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.callers.push({ resolve, reject });
      this.wantSync();
    });
  }

  /** No retries from now on. */
  stop(): void {
    this.stopping.abort();
  }

  /**
   * Once the Acceptor has decided, it counts on its record being durable: after a failure it would repeat from memory what the disk
   * does not know. So the process ends, and what is on disk decides.
   */
  private save(record: IdentityRecord): void {
    try {
      this.identity.save(record, this.acceptor.readableLsn);
    } catch (err) {
      this.hooks.onFatal(err);
      throw err;
    }
    const { generation, settled } = this.acceptor.membership;
    const known = `${generation} ${settled}`;
    if (known === this.knownConfiguration) return;
    this.knownConfiguration = known;
    this.logger.info({ generation, settled }, `configuration of generation ${generation}`);
    this.hooks.onConfiguration();
  }

  private write(begin: Lsn, bytes: Buffer): void {
    this.hooks.onTaking(bytes.length);
    this.log.append(begin, bytes);
    this.appendedBytes += bytes.length;
  }

  private wantSync(): void {
    this.again = true;
    if (this.syncing) return;
    this.syncing = true;
    this.syncLoop()
      .catch((err: unknown) => {
        if (!this.stopping.signal.aborted) this.hooks.onFatal(err);
      })
      .finally(() => {
        this.syncing = false;
      });
  }

  private async syncLoop(): Promise<void> {
    while (this.again) {
      this.again = false;
      const due = this.takeWaiting();
      const callers = this.callers;
      this.callers = [];
      try {
        this.pace.begin();
        await this.log.sync().finally(() => this.pace.end());
        if (this.writeError !== null) this.logger.info('the log can be written again');
        this.writeError = null;
      } catch (err) {
        // Nothing is lost: the log keeps the bytes and writes them again with the next sync.
        for (const caller of callers) caller.reject(err);
        for (const [sink, epoch] of due) if (!this.waiting.has(sink)) this.waiting.set(sink, epoch);
        const words = errorMessage(err);
        if (this.writeError !== words)
          this.logger.error({ err }, `the log cannot be made durable: ${words}; trying again`);
        this.writeError = words;
        this.hooks.onWriteFailed(err);
        await sleep(RETRY_MS, undefined, { signal: this.stopping.signal });
        this.again = true;
        continue;
      }
      this.syncs += 1;
      this.acceptor.durable(this.log.durableEnd, this.log.durableHistory.at(-1)?.epoch ?? -1);
      this.flushAnswers(due);
      for (const caller of callers) caller.resolve();
      this.hooks.onReadable();
    }
  }

  private takeWaiting(): Map<AppendSink, number> {
    const due = this.waiting;
    this.waiting = new Map();
    return due;
  }

  /** Answers are made when they are sent, so that a promise given meanwhile is in them. */
  private flushAnswers(due: Map<AppendSink, number>): void {
    for (const [sink, epoch] of due) {
      const answer = this.acceptor.appendAnswer(epoch);
      if (answer) sink.answer(answer);
      else this.waiting.set(sink, epoch); // its history is on its way to the disk
    }
    if (this.waiting.size > 0 && this.syncing) this.again = true;
  }
}
