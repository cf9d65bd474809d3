import { DbError } from '../errors.js';
import { INVALID_LSN, formatLsn, lsn } from '../lsn.js';
import type { Lsn } from '../lsn.js';
import { checkHistory, commonPoint, formatHistory, lastLogEpoch } from './history.js';
import { KnownConfiguration } from './known-configuration.js';
import { Lives } from './lives.js';
import { quorumOf } from './membership.js';
import type { Configuration } from './membership.js';
import type { AcceptorState, AppendStep, IdentityRecord, LogPosition, LogState, PromiseStep, RegisterStep, StartEpochStep } from './steps.js'; // prettier-ignore
import type {
  Append,
  AppendAnswer,
  CommitNotice,
  Epoch,
  EpochHistory,
  LearnerReason,
  PromiseRequest,
  RegisterAnswer,
  RegisterRequest,
  StartEpoch,
  StartEpochAnswer,
} from './types.js';

export type { AcceptorState, AppendStep, IdentityRecord, LogPosition, LogState, PromiseStep, RegisterStep, StartEpochStep } from './steps.js'; // prettier-ignore

function comparePositions(a: LogPosition, b: LogPosition): number {
  return a.epoch - b.epoch || a.scl - b.scl;
}

/**
 * The storage node's side of the quorum log: pure, one per branch. It decides; the caller does the I/O that a step asks for, then
 * sends the answer. Three rules make it safe:
 *
 *  1. A promise is durable before it is answered, and after it no older epoch gets a positive answer, not even for bytes that were
 *     already on their way to the disk: answers are computed when they are sent (appendAnswer), not when the request came.
 *  2. Bytes and history are durable before they are answered. A history that is adopted but not yet durable gives no answers.
 *  3. A learner (lost or damaged state) follows the log, but grants nothing and says so in every answer.
 */
export class Acceptor {
  private promised: { readonly promisedEpoch: Epoch; readonly promisedTo: string };
  private entries: EpochHistory;
  private end: Lsn;
  private durableEnd: Lsn;
  /** Where the present history cut the log when it was adopted. */
  private lastCut: Lsn;
  private durableEpoch: Epoch;
  /**
   * The lowest position that the disk may show after a crash now: while histories are adopted and not durable yet (there may be several), a crash leaves
   * the log as it was before, or as any of them made it.
   */
  private floor: LogPosition;
  private commit: Lsn;
  private learnerReason: LearnerReason | null;
  private readonly lives: Lives;
  private readonly configurations: KnownConfiguration;
  /** The writer of this epoch counts only this life of ours, and had committed so much when it first said so. */
  private counted: { readonly epoch: Epoch; readonly life: number; readonly commitLsn: Lsn } | null = null;

  private constructor(
    promised: { readonly promisedEpoch: Epoch; readonly promisedTo: string },
    log: LogState,
    learner: LearnerReason | null,
    commitLsn: Lsn,
    identity?: Pick<IdentityRecord, 'lives' | 'membership'>,
  ) {
    this.lives = new Lives(identity?.lives);
    this.configurations = new KnownConfiguration(identity?.membership);
    checkHistory(log.history);
    this.promised = promised;
    this.entries = log.history;
    this.end = this.lastCut = log.scl;
    this.durableEnd = log.scl;
    this.durableEpoch = log.history.at(-1)?.epoch ?? -1;
    this.commit = commitLsn;
    this.learnerReason = learner;
    this.floor = this.position;
  }

  /** A node of a new volume, whose log was just imported: history [{ epoch: 0, startLsn }]. All of it counts as committed. */
  static create(log: LogState): Acceptor {
    return new Acceptor({ promisedEpoch: 0, promisedTo: '' }, log, null, log.scl);
  }

  /**
   * A node that restarts. Amnesia is: no (or an unreadable) identity record, a log that is gone (null), older than the identity's
   * floor, or newer than its promise. `knownCommitLsn` is any commit LSN known from before (e.g. the applied LSN of the page store),
   * INVALID_LSN if none. Persist `identity` right after, so that an amnesia found here is never forgotten.
   */
  static recover(identity: IdentityRecord | null, log: LogState | null, knownCommitLsn: Lsn): Acceptor {
    const found = log ?? { history: [], scl: INVALID_LSN, damaged: false };
    const newest = found.history.at(-1)?.epoch ?? -1;
    const at = { epoch: lastLogEpoch(found.history, found.scl), scl: found.scl };
    const amnesia =
      !identity ||
      identity.amnesia ||
      found.history.length === 0 ||
      comparePositions(at, identity.floor) < 0 ||
      newest > identity.promisedEpoch;
    const promised = {
      promisedEpoch: Math.max(identity?.promisedEpoch ?? 0, newest),
      promisedTo: identity?.promisedTo ?? '',
    };
    const learner = amnesia ? 'amnesia' : found.damaged ? 'damaged-log' : null;
    const commitLsn = lsn(Math.min(knownCommitLsn, found.scl));
    return new Acceptor(promised, found, learner, commitLsn, identity ?? undefined);
  }

  /** The record to keep in identity.db as of now. */
  get identity(): IdentityRecord {
    const { record } = this.lives;
    const membership = this.configurations.record;
    return {
      ...this.promised,
      amnesia: this.learnerReason === 'amnesia',
      floor: this.floor,
      ...(record && { lives: record }),
      ...(membership && { membership }),
    };
  }

  /** What is known of the volume's configuration. */
  get membership(): Pick<KnownConfiguration, 'current' | 'generation' | 'settled' | 'isSettled'> {
    return this.configurations;
  }

  /**
   * Told of a configuration, and of the highest generation that is settled. Not null: make it durable before anything else happens. Throws as
   * KnownConfiguration.learn.
   */
  configure(configuration: Configuration | undefined, settled: number): IdentityRecord | null {
    return this.learn(configuration, settled) ? this.identity : null;
  }

  /** As it was started with: addresses of its own generation are taken over, too. */
  configuredAtStart(configuration: Configuration, settled: number): IdentityRecord | null {
    const learnt = this.learn(configuration, settled);
    return this.configurations.refresh(configuration) || learnt ? this.identity : null;
  }

  private learn(configuration: Configuration | undefined, settled: number): boolean {
    const before = this.configurations.generation;
    const changed = this.configurations.learn(configuration, settled);
    // Registered with voters of the former generation: see membership.ts.
    if (this.configurations.generation > before) this.lives.registerAnew();
    return changed;
  }

  /** Of a node that holds a newer generation than the asking writer. */
  private newerText(theirs: number): { readonly configuration?: Configuration } {
    const { current, generation } = this.configurations;
    return current && generation > theirs ? { configuration: current } : {};
  }

  private get generationText(): { readonly generation?: number } {
    const { generation } = this.configurations;
    return generation === 0 ? {} : { generation };
  }

  /** Why this node is a learner; null: it is none. */
  get learner(): LearnerReason | null {
    return this.learnerReason;
  }

  get state(): AcceptorState {
    return {
      ...this.promised,
      history: this.entries,
      logEnd: this.end,
      scl: this.durableEnd,
      commitLsn: this.commit,
      learner: this.learnerReason,
    };
  }

  /** Epoch of the newest part of the durable log; with scl it says how far this log is. -1 without a log. */
  get lastLogEpoch(): Epoch {
    return lastLogEpoch(this.entries, this.durableEnd);
  }

  private get position(): LogPosition {
    return { epoch: this.lastLogEpoch, scl: this.durableEnd };
  }

  /** Up to where the log may be ingested and read: committed and durable here. */
  get readableLsn(): Lsn {
    return lsn(Math.min(this.commit, this.durableEnd));
  }

  /**
   * Marks the log damaged (found by a scrub or a read), or healed (null). A node that lost its memory stays a learner: healing bytes
   * does not bring its promises back.
   */
  setDamaged(damaged: boolean): void {
    if (this.learnerReason !== 'amnesia') this.learnerReason = damaged ? 'damaged-log' : null;
  }

  promise(request: PromiseRequest): PromiseStep {
    const theirs = request.configuration?.generation ?? 0;
    const learnt = this.learn(request.configuration, 0);
    const repeated =
      request.epoch === this.promised.promisedEpoch && request.writerId === this.promised.promisedTo;
    const isOld = theirs < this.configurations.generation;
    const granted =
      !isOld && !this.learnerReason && (request.epoch > this.promised.promisedEpoch || repeated);
    if (granted && !repeated) this.promised = { promisedEpoch: request.epoch, promisedTo: request.writerId };
    const persist = learnt || (granted && !repeated) ? this.identity : null;
    const answer = {
      epoch: request.epoch,
      writerId: request.writerId,
      granted,
      promisedEpoch: this.promised.promisedEpoch,
      learner: this.learnerReason,
      scl: this.durableEnd,
      commitLsn: this.commit,
      history: this.entries,
      ...this.lifeText,
      lives: this.lives.known,
      ...this.generationText,
      ...this.newerText(theirs),
    };
    return { persist, answer };
  }

  /** This node's life as its answers carry it; nothing in the first one. */
  private get lifeText(): { readonly life?: number } {
    return this.lives.current === 0 ? {} : { life: this.lives.current };
  }

  /** A peer that lost its memory begins a new life. */
  register(request: RegisterRequest): RegisterStep {
    const changed = this.lives.register(request);
    const { record } = this.configurations;
    const answer = {
      ...this.lives.answer(request, !this.learnerReason, this.promised.promisedEpoch),
      ...(record && { configuration: record.configuration, settled: record.settled }),
    };
    return { persist: changed ? this.identity : null, answer };
  }

  /**
   * What to ask all peers, again and again, while this is not null: a node with amnesia that is not registered yet (lives.ts). `persist` not null: make
   * it durable first. `token` is random; it is used when no life has begun yet.
   */
  registration(
    nodeId: string,
    token: string,
  ): { readonly persist: IdentityRecord | null; readonly request: RegisterRequest } | null {
    if (this.learnerReason !== 'amnesia' || this.lives.ceiling !== null) return null;
    const begun = this.lives.isBegun;
    if (!begun) this.lives.begin(token);
    return { persist: begun ? null : this.identity, request: this.lives.request(nodeId) };
  }

  /**
   * A peer's answer to registration(). Not null: make it durable before anything else happens. `needed`: QuorumConfig.rejoinQuorum
   * of fixed voters; with a configuration it follows from that.
   */
  registered(from: string, answer: RegisterAnswer, needed: number): IdentityRecord | null {
    if (this.learnerReason !== 'amnesia') return null;
    const { configuration, settled = 0 } = answer;
    const learnt = this.learn(configuration, settled);
    const { generation, current } = this.configurations;
    const inOurs = (configuration?.generation ?? 0) === generation && settled >= generation;
    const isVoter = current?.members.some(({ id, voter }) => id === from && voter) ?? true;
    if (learnt || !inOurs || !isVoter) return learnt ? this.identity : null;
    const enough = current ? quorumOf(current).rejoinQuorum : needed;
    const outcome = this.lives.answered(from, answer, enough);
    if (outcome === null) return null;
    if (outcome !== 'again' && outcome > this.promised.promisedEpoch)
      this.promised = { promisedEpoch: outcome, promisedTo: '' };
    return this.identity;
  }

  /**
   * Makes a rebuilt node a voter when it may be one (lives.ts). To be called, once all else that the node lost is there again, whenever something has
   * become durable. Not null: make it durable before anything else happens; it votes from then on.
   */
  rejoin(): IdentityRecord | null {
    const ceiling = this.lives.ceiling;
    const newest = this.entries.at(-1);
    if (this.learnerReason !== 'amnesia' || ceiling === null || !newest) return null;
    const { epoch, startLsn } = newest;
    if (this.durableEpoch !== epoch || epoch < ceiling || epoch < this.promised.promisedEpoch) return null;
    if (this.durableEnd < startLsn) return null;
    const { counted } = this;
    const isCounted = counted?.epoch === epoch && counted.life === this.lives.current;
    if (epoch === ceiling && (!isCounted || this.durableEnd < counted.commitLsn)) return null;
    this.lives.rejoined();
    this.learnerReason = null;
    this.floor = this.position;
    return this.identity;
  }

  /**
   * The log of a learner was lost or given up, and begins anew at `at`, in the history of a peer whose log is committed up to there and beyond. In
   * this order: persist; empty the log and LogStore.setHistory(at, history); sync; durable(...). Null when this node is no learner by amnesia.
   */
  rebase(at: Lsn, history: EpochHistory): IdentityRecord | null {
    if (this.learnerReason !== 'amnesia') return null;
    checkHistory(history);
    const newest = history.at(-1)?.epoch ?? 0;
    if (newest > this.promised.promisedEpoch) this.promised = { promisedEpoch: newest, promisedTo: '' };
    this.entries = history;
    this.end = this.lastCut = this.durableEnd = at;
    this.commit = lsn(Math.min(this.commit, at));
    this.durableEpoch = -1;
    this.floor = { epoch: -1, scl: INVALID_LSN };
    return this.identity;
  }

  /** A learner from now on, as if the disk had been lost: its log ends before that of its peers begins. Make the record durable first. */
  giveUp(): IdentityRecord {
    this.learnerReason = 'amnesia';
    return this.identity;
  }

  /**
   * May the log beyond readableLsn be given to a writer that asks for its donor's tail? Only while its promise is the newest: later the
   * log may already be another epoch's, with other bytes.
   */
  servesTail(epoch: Epoch): boolean {
    return epoch === this.promised.promisedEpoch && this.learnerReason !== 'amnesia';
  }

  /**
   * Only an elected writer sends this, and only one is elected per epoch, so it is also accepted for an epoch above the promise (a
   * node that missed the election), or promised to a loser of the same epoch. Throws QUORUM_BAD_HISTORY on a history that does
   * not belong to the epoch, QUORUM_COMMITTED_CUT if it would cut committed log (reaction bug in both cases).
   */
  startEpoch(message: StartEpoch): StartEpochStep {
    const { epoch, history } = message;
    checkHistory(history);
    if (history.at(-1)?.epoch !== epoch)
      throw new DbError('QUORUM_BAD_HISTORY', `epoch ${epoch} sent the history ${formatHistory(history)}`, {
        reaction: 'bug',
      });
    const isOld =
      message.handshake > 0 && (message.configuration?.generation ?? 0) < this.membership.generation;
    const learnt = this.learn(message.configuration, 0);
    const answer = (accepted: boolean): StartEpochStep => ({
      kind: 'answer',
      persist: learnt ? this.identity : null,
      answer: this.startAnswer(message, accepted),
    });
    if (isOld || epoch < this.promised.promisedEpoch) return answer(false);
    const { ceiling, current: life } = this.lives;
    const isNew = this.counted?.epoch !== epoch || this.counted.life !== life;
    if (ceiling !== null && message.life === life && isNew)
      this.counted = { epoch, life, commitLsn: message.commitLsn ?? INVALID_LSN };
    const cutAt = this.cutPoint(history);
    const promised = { promisedEpoch: epoch, promisedTo: message.writerId };
    const changed = epoch > this.promised.promisedEpoch || message.writerId !== this.promised.promisedTo;
    if (this.durableEpoch === epoch && !changed) return answer(true);
    if (this.entries.at(-1)?.epoch !== epoch) {
      this.entries = history;
      this.end = this.lastCut = cutAt;
      this.durableEnd = lsn(Math.min(this.durableEnd, cutAt));
      if (comparePositions(this.position, this.floor) < 0) this.floor = this.position;
    }
    this.promised = promised;
    return { kind: 'adopt', persist: this.identity, cutAt, history };
  }

  /** The answer to StartEpoch, once what its step asked for is durable. Refuses if a newer epoch came in between. */
  startEpochAnswer(message: StartEpoch): StartEpochAnswer {
    const { epoch } = message;
    const accepted = epoch === this.promised.promisedEpoch && epoch === this.durableEpoch;
    return this.startAnswer(message, accepted);
  }

  append(message: Append): AppendStep {
    const { epoch, begin, end } = message;
    if (epoch !== this.promised.promisedEpoch || this.entries.at(-1)?.epoch !== epoch) {
      const promisedEpoch = this.promised.promisedEpoch;
      if (epoch < promisedEpoch) return { kind: 'answer', answer: { kind: 'refused', epoch, promisedEpoch } };
      return { kind: 'answer', answer: { kind: 'not-started', epoch } };
    }
    this.commitNotice({ epoch, commitLsn: message.commitLsn });
    if (begin > this.end) return { kind: 'answer', answer: { kind: 'gap', epoch, expected: this.end } };
    const from = this.end;
    if (end <= from) return { kind: 'write', skip: end - begin, begin: from, end: from };
    this.end = end;
    return { kind: 'write', skip: from - begin, begin: from, end };
  }

  /**
   * The log's durable state now: its end, and the newest epoch whose history entry is durable (LogStore.durableEnd and
   * .durableHistory). Always pass the present values of the store, never ones remembered from before an await: a cut may have come
   * in between. Throws QUORUM_BAD_SCL (bug) when more is durable than was appended.
   */
  durable(scl: Lsn, historyEpoch: Epoch): void {
    // Until the adopted history is durable, the disk may still show the old log: only what both logs share counts.
    const adopted = this.entries.at(-1)?.epoch === historyEpoch;
    const end = adopted ? scl : lsn(Math.min(scl, this.lastCut));
    if (end > this.end)
      throw new DbError(
        'QUORUM_BAD_SCL',
        `log durable up to ${formatLsn(scl)} but appended only up to ${formatLsn(this.end)}`,
        { reaction: 'bug' },
      );
    this.durableEnd = end;
    this.durableEpoch = historyEpoch;
    if (adopted) this.floor = this.position;
  }

  /** The answer to Append(s) of `epoch` as of now; null while the epoch's history is not durable yet (durable() will come). */
  appendAnswer(epoch: Epoch): AppendAnswer | null {
    const { promisedEpoch } = this.promised;
    if (epoch < promisedEpoch) return { kind: 'refused', epoch, promisedEpoch };
    if (this.entries.at(-1)?.epoch !== epoch) return { kind: 'not-started', epoch };
    if (this.durableEpoch !== epoch) return null;
    const { durableEnd: scl, learnerReason: learner } = this;
    return { kind: 'accepted', epoch, scl, learner, ...this.lifeText, ...this.generationText };
  }

  /**
   * Ignored unless this node's history has the notice's epoch: the LSN says nothing about another epoch's bytes. Also ignored while a
   * history is adopted but not durable, so that commitLsn always fits the history on disk, which is what peers are told. Never goes back.
   */
  commitNotice(notice: CommitNotice): void {
    if (this.durableEpoch !== this.entries.at(-1)?.epoch) return;
    const at = this.entries.findIndex((entry) => entry.epoch === notice.epoch);
    if (at < 0 || notice.commitLsn <= this.commit) return;
    const next = this.entries[at + 1];
    if (next && next.startLsn < notice.commitLsn)
      throw new DbError(
        'QUORUM_COMMITTED_CUT',
        `epoch ${notice.epoch} committed ${formatLsn(notice.commitLsn)}, but epoch ${next.epoch} starts at ${formatLsn(next.startLsn)}`,
        { reaction: 'bug' },
      );
    this.commit = notice.commitLsn;
  }

  private startAnswer(message: StartEpoch, accepted: boolean): StartEpochAnswer {
    const { epoch, handshake } = message;
    const { promisedEpoch } = this.promised;
    const { learnerReason: learner, durableEnd: scl } = this;
    return {
      epoch,
      handshake,
      accepted,
      promisedEpoch,
      learner,
      scl,
      ...this.lifeText,
      ...this.generationText,
      ...this.newerText(message.configuration?.generation ?? 0),
    };
  }

  private cutPoint(history: EpochHistory): Lsn {
    if (this.entries.length === 0) return history[0]!.startLsn;
    const point = commonPoint(this.entries, this.end, history);
    if (point === null)
      throw new DbError(
        'QUORUM_BAD_HISTORY',
        `no epoch in common: ${formatHistory(this.entries)} here, ${formatHistory(history)} there`,
        { reaction: 'bug' },
      );
    if (point < Math.min(this.commit, this.end))
      throw new DbError(
        'QUORUM_COMMITTED_CUT',
        `history ${formatHistory(history)} would cut the log at ${formatLsn(point)}, below the commit LSN ${formatLsn(this.commit)}`,
        { reaction: 'bug' },
      );
    return point;
  }
}
