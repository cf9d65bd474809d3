import { DbError } from '../errors.js';
import { INVALID_LSN, formatLsn, lsn } from '../lsn.js';
import type { Lsn } from '../lsn.js';
import type { QuorumConfig } from './config.js';
import { historyUpTo, lastLogEpoch } from './history.js';
import { quorumOf } from './membership.js';
import type { Configuration } from './membership.js';
import type {
  Append,
  AppendAnswer,
  CommitNotice,
  Epoch,
  EpochHistory,
  LearnerReason,
  PromiseAnswer,
  PromiseRequest,
  StartEpoch,
  StartEpochAnswer,
} from './types.js';

/**
 * electing  gathering promises. May never end: another writer can hold promises for the same epoch. After a time-out, try again with a
 *           new WriterCore whose epoch is above highestEpochSeen
 * elected   enough promises; the caller must find X at the donor and call lead()
 * leading   epoch history fixed; nodes adopt it, take the tail and what is appended
 * fenced    a newer epoch exists: this writer can never commit again. Stop PostgreSQL; a new attempt needs a new WriterCore
 */
export type WriterPhase = 'electing' | 'elected' | 'leading' | 'fenced';

/** The node whose log is the most advanced among those that promised: it holds every committed byte. */
export interface Donor {
  readonly nodeId: string;
  readonly scl: Lsn;
  readonly history: EpochHistory;
  readonly lastLogEpoch: Epoch;
}

/** What the writer knows of one node in the present epoch. */
export interface NodeProgress {
  readonly nodeId: string;
  /** The node has durably adopted this epoch's history (as far as known). False: send startEpoch() first. */
  readonly started: boolean;
  /** First byte that the node still needs to be sent (inclusive). Meaningless unless started. */
  readonly nextLsn: Lsn;
  /** Durable end that it last acknowledged in this epoch. */
  readonly scl: Lsn;
  readonly learner: LearnerReason | null;
  /** It counts: it has a vote, and holds the writer's generation (membership.ts). */
  readonly votes: boolean;
  /** It was told the epoch and answered with less log than it had acknowledged: its disk lies. It does not count any more. */
  readonly regressed: boolean;
}

type Progress = { -readonly [K in keyof Omit<NodeProgress, 'votes'>]: NodeProgress[K] } & {
  /** Generation that it held when it last answered; -1 since we have another one. */
  generation: number;
  /** The newest life of the node that is known (lives.ts); answers of earlier ones do not count. */
  life: number;
  handshake: number;
  /** scl when the handshake began: a true answer to it cannot be lower. */
  sclAtHandshake: Lsn;
};

/**
 * The compute's side of the quorum log: pure, one per attempt to write. Life: send promiseRequest() to all nodes, feed the answers;
 * when `phase` is elected, read the donor's log tail and call lead(X) with the end of its last complete record; then, for each node,
 * startEpoch() until started and the bytes from nextLsn on; feed every answer; commitLsn moves by itself.
 * Lost messages are the caller's to repeat (resend() rewinds a node); duplicates, reorderings and late answers are harmless.
 *
 * An LSN L >= X is committed when Vw voters have durably adopted this epoch and hold the log up to L. Nothing is committed by count
 * alone while an older epoch's history stands, for a newer donor could still cut it (Raft's rule of the leader's own term). The
 * durable adoption is what Raft's no-op entry is: it makes the node's log newer than any log without this epoch. So the tail up to X
 * itself commits before the first append, which the compute needs, for it reads its data directory at X.
 *
 * The configuration (who votes) may change meanwhile: a node that holds a newer one tells it. A leading writer adopts it by itself, and starts its
 * epoch at all nodes anew: `configuration` is another then. One that is not leading yet must be given up for a new one with `newer`.
 */
export class WriterCore {
  readonly writerId: string;
  readonly epoch: Epoch;
  private config: QuorumConfig;
  private newerConfiguration: Configuration | null = null;
  private settledGeneration: number;
  /** Lives of nodes that are known, members or not. */
  private readonly lives = new Map<string, number>();
  private grants = new Map<string, PromiseAnswer>();
  private nodes = new Map<string, Progress>();
  private current: WriterPhase = 'electing';
  private ownHistory: EpochHistory = [];
  private start: Lsn = INVALID_LSN;
  private end: Lsn = INVALID_LSN;
  private commit: Lsn = INVALID_LSN;
  private newestEpoch: Epoch;
  /** Record boundaries in (commit, end], ascending: where commit may go next. */
  private boundaries: Lsn[] = [];

  /** `epoch` must exceed every epoch seen; a refusal tells the one to beat (`highestEpochSeen`). */
  constructor(options: { config: QuorumConfig; writerId: string; epoch: Epoch }) {
    this.config = options.config;
    this.writerId = options.writerId;
    this.epoch = this.newestEpoch = options.epoch;
    this.settledGeneration = -1;
    for (const nodeId of this.config.members) this.nodes.set(nodeId, this.newcomer(nodeId));
  }

  get phase(): WriterPhase {
    return this.current;
  }

  get quorum(): QuorumConfig {
    return this.config;
  }

  /** A newer configuration than ours, told by a node; null again once it is adopted. */
  get newer(): Configuration | null {
    return this.newerConfiguration;
  }

  /** The generation in which all that was committed before is committed, too (membership.ts); -1: none yet. */
  get settled(): number {
    return this.settledGeneration;
  }

  get highestEpochSeen(): Epoch {
    return this.newestEpoch;
  }

  /** End of the log that is committed, at a record boundary; INVALID_LSN before anything is committed in this epoch. */
  get commitLsn(): Lsn {
    return this.commit;
  }

  /** X: first LSN of this epoch. */
  get startLsn(): Lsn {
    return this.start;
  }

  get history(): EpochHistory {
    return this.ownHistory;
  }

  /** Present while elected. Any grant that arrives before lead() may change it: read it anew before each use. */
  get donor(): Donor | null {
    if (this.current !== 'elected') return null;
    let best: Donor | null = null;
    for (const [nodeId, { scl, history }] of this.grants) {
      const epoch = lastLogEpoch(history, scl);
      if (!best || epoch > best.lastLogEpoch || (epoch === best.lastLogEpoch && scl > best.scl))
        best = { nodeId, scl, history, lastLogEpoch: epoch };
    }
    return best;
  }

  /** Of a node that is no member: as of one that never answered. */
  progress(nodeId: string): NodeProgress {
    return this.view(this.nodes.get(nodeId) ?? this.newcomer(nodeId));
  }

  allProgress(): NodeProgress[] {
    return [...this.nodes.values()].map((node) => this.view(node));
  }

  /** False for a node that is not, or not any more, a member of the configuration. */
  isMember(nodeId: string): boolean {
    return this.nodes.has(nodeId);
  }

  /** Nodes known to hold the log of this epoch beyond `from` (before lead(): none), most advanced first: sources for the tail. */
  sources(from: Lsn): string[] {
    const able = [...this.nodes.values()].filter(
      (n) => n.started && n.scl > from && !n.learner && !n.regressed,
    );
    return able.sort((a, b) => b.scl - a.scl).map((n) => n.nodeId);
  }

  /**
   * Whether this epoch cannot begin with these nodes: all of them have said what they hold, none holds the log up to the epoch's start, and so the donor, or
   * whoever else does, is away. They may elect a writer whose epoch begins where their log ends, if there are enough of them.
   */
  isOrphaned(connected: readonly string[]): boolean {
    if (this.current !== 'leading' || this.commit >= this.start) return false;
    const voters = connected.filter((id) => this.config.isVoter(id));
    if (voters.length < this.config.electQuorum || !voters.every((id) => this.node(id).started)) return false;
    return !this.sources(lsn(this.start - 1)).some((id) => connected.includes(id));
  }

  promiseRequest(): PromiseRequest {
    return { epoch: this.epoch, writerId: this.writerId, ...this.configurationText };
  }

  onPromiseAnswer(nodeId: string, answer: PromiseAnswer): void {
    if (answer.epoch !== this.epoch || answer.writerId !== this.writerId) return;
    if (this.refused(answer.promisedEpoch)) return;
    if (this.current !== 'electing' && this.current !== 'elected') return;
    this.hear(answer.configuration);
    if (!this.isMember(nodeId)) return;
    this.noteLife(nodeId, answer.life ?? 0);
    for (const [id, life] of Object.entries(answer.lives ?? {})) this.noteLife(id, life);
    if ((answer.generation ?? 0) !== this.config.generation || !this.config.isVoter(nodeId)) return;
    if ((answer.life ?? 0) < this.node(nodeId).life) return;
    this.node(nodeId).learner = answer.learner;
    if (!answer.granted || answer.learner) return;
    this.grants.set(nodeId, answer);
    this.current = this.grants.size >= this.config.electQuorum ? 'elected' : 'electing';
  }

  /** A donor that cannot be read any more: forget its promise. Elected only as long as enough others remain. */
  dropGrant(nodeId: string): void {
    if (this.current !== 'electing' && this.current !== 'elected') return;
    this.grants.delete(nodeId);
    if (this.grants.size < this.config.electQuorum) this.current = 'electing';
  }

  /**
   * Begins the epoch at X = end of the last complete record in the donor's durable log. Throws QUORUM_BAD_START (bug) when X is not
   * within the donor's newest epoch: then the scan was of another log.
   */
  lead(recoveryLsn: Lsn): void {
    const donor = this.donor;
    const newest = donor && historyUpTo(donor.history, donor.scl).at(-1);
    if (!donor || !newest || recoveryLsn > donor.scl || recoveryLsn < newest.startLsn)
      throw new DbError(
        'QUORUM_BAD_START',
        `epoch ${this.epoch} cannot start at ${formatLsn(recoveryLsn)}: phase ${this.current}, ` +
          (donor ? `donor ${donor.nodeId} ends at ${formatLsn(donor.scl)}` : 'no donor'),
        { reaction: 'bug' },
      );
    const kept = historyUpTo(donor.history, recoveryLsn);
    this.ownHistory = [...kept, { epoch: this.epoch, startLsn: recoveryLsn }];
    this.start = this.end = recoveryLsn;
    this.boundaries = [recoveryLsn];
    this.current = 'leading';
  }

  /** Null unless leading. Send it to each node that is not started, and again after each reconnect (reconnected()). */
  startEpoch(nodeId: string): StartEpoch | null {
    if (this.current !== 'leading' || !this.isMember(nodeId)) return null;
    const { epoch, writerId, ownHistory: history, commit: commitLsn } = this;
    const { handshake, life } = this.node(nodeId);
    const { configurationText } = this;
    return {
      epoch,
      writerId,
      handshake,
      history,
      ...(life > 0 && { life, commitLsn }),
      ...configurationText,
    };
  }

  onStartEpochAnswer(nodeId: string, answer: StartEpochAnswer): void {
    if (answer.epoch !== this.epoch || this.refused(answer.promisedEpoch)) return;
    if (this.current !== 'leading') return;
    this.hear(answer.configuration);
    if (!answer.accepted || !this.isMember(nodeId)) return;
    const node = this.node(nodeId);
    if (answer.handshake !== node.handshake) return;
    const life = answer.life ?? 0;
    if (life < node.life) return;
    if (life > node.life) {
      this.noteLife(nodeId, life);
      if (answer.learner) return; // it waits to hear that its earlier lives do not count any more: the next startEpoch() says so
    }
    if ((answer.generation ?? 0) !== this.config.generation) return;
    node.generation = this.config.generation;
    // A learner's log may be replaced by a peer's state, and so be shorter; it did not count.
    if (answer.scl < node.sclAtHandshake && !node.learner) node.regressed = true;
    if (!node.started) node.nextLsn = answer.scl;
    node.started = true;
    this.acknowledged(node, answer.scl, answer.learner);
  }

  /**
   * The writer's log grew to `end`; `recordEnd` is the highest record boundary in it (at most `end`). Commit only ever stops at such
   * boundaries, since the next epoch starts at one: bytes of a half record are the only ones that recovery may cut.
   */
  appended(end: Lsn, recordEnd: Lsn): void {
    if (this.current === 'fenced') return;
    if (this.current !== 'leading' || end < this.end || recordEnd > end)
      throw new DbError(
        'QUORUM_BAD_APPEND',
        `append up to ${formatLsn(end)} (record end ${formatLsn(recordEnd)}) in phase ${this.current}, log ends at ${formatLsn(this.end)}`,
        { reaction: 'bug' },
      );
    this.end = end;
    if (recordEnd > (this.boundaries.at(-1) ?? this.commit)) this.boundaries.push(recordEnd);
  }

  /**
   * The next append for a node: at most `maxBytes` from its nextLsn on, which is moved behind it (sending is taken for granted; resend()
   * takes that back). An empty one is a heartbeat with the commit LSN. Null when the node is not started. Bytes below `startLsn`
   * come from the donor or any of sources(), the others from the writer.
   */
  nextAppend(nodeId: string, maxBytes: number): Append | null {
    const node = this.nodes.get(nodeId);
    if (this.current !== 'leading' || !node?.started) return null;
    const begin = node.nextLsn;
    const end = lsn(Math.max(begin, Math.min(this.end, begin + maxBytes)));
    node.nextLsn = end;
    return { epoch: this.epoch, begin, end, commitLsn: this.commit };
  }

  onAppendAnswer(nodeId: string, answer: AppendAnswer): void {
    if (answer.epoch !== this.epoch) return;
    if (answer.kind === 'refused') {
      this.refused(answer.promisedEpoch);
      return;
    }
    if (this.current !== 'leading' || !this.isMember(nodeId)) return;
    const node = this.node(nodeId);
    const generation = answer.kind === 'accepted' ? (answer.generation ?? 0) : this.config.generation;
    if (generation > this.config.generation) {
      this.reconnected(nodeId); // it will tell its configuration when it refuses to start the epoch with ours
      return;
    }
    if (generation < this.config.generation) return; // late: it has been told ours since
    if (answer.kind === 'not-started') node.started = false;
    else if (answer.kind === 'gap') node.nextLsn = lsn(Math.min(node.nextLsn, answer.expected));
    else if ((answer.life ?? 0) > node.life) this.noteLife(nodeId, answer.life!);
    else if ((answer.life ?? 0) === node.life) this.acknowledged(node, answer.scl, answer.learner);
  }

  /** Sends to this node again from what it last acknowledged (a time-out, a lost message). */
  resend(nodeId: string): void {
    const node = this.nodes.get(nodeId);
    if (node) node.nextLsn = node.scl;
  }

  /** The connection to a node was made anew, and the node may have restarted: handshake with startEpoch() before the next append. */
  reconnected(nodeId: string): void {
    const node = this.nodes.get(nodeId);
    if (!node) return;
    node.started = false;
    node.handshake++;
    node.sclAtHandshake = node.scl;
  }

  /** The present commit LSN for nodes and replicas; null before anything is committed in this epoch. */
  commitNotice(): CommitNotice | null {
    return this.commit === INVALID_LSN ? null : { epoch: this.epoch, commitLsn: this.commit };
  }

  private newcomer(nodeId: string): Progress {
    return {
      nodeId,
      started: false,
      nextLsn: INVALID_LSN,
      scl: INVALID_LSN,
      learner: null,
      regressed: false,
      generation: -1,
      life: this.lives.get(nodeId) ?? 0,
      handshake: 1,
      sclAtHandshake: INVALID_LSN,
    };
  }

  private view(node: Progress): NodeProgress {
    const { nodeId, started, nextLsn, scl, learner, regressed } = node;
    return { nodeId, started, nextLsn, scl, learner, regressed, votes: this.counts(node) };
  }

  private counts(node: Progress): boolean {
    const isOurs = node.generation === this.config.generation && this.config.isVoter(node.nodeId);
    return isOurs && !node.learner && !node.regressed;
  }

  private get configurationText(): { readonly configuration?: Configuration } {
    const { configuration } = this.config;
    return configuration ? { configuration } : {};
  }

  /** A node's configuration is newer than ours. */
  private hear(configuration: Configuration | undefined): void {
    if (!configuration || configuration.generation <= (this.newerConfiguration ?? this.config).generation)
      return;
    this.newerConfiguration = configuration;
    if (this.current === 'leading') this.adopt(configuration);
  }

  /** What was committed stays so; from now on only what nodes answer in the new generation counts. */
  private adopt(configuration: Configuration): void {
    this.newerConfiguration = null;
    this.config = quorumOf(configuration);
    for (const nodeId of this.nodes.keys())
      if (!this.config.members.includes(nodeId)) this.nodes.delete(nodeId);
    for (const nodeId of this.config.members) {
      const node = this.nodes.get(nodeId);
      if (!node) this.nodes.set(nodeId, this.newcomer(nodeId));
      else {
        node.generation = -1;
        this.reconnected(nodeId);
      }
    }
  }

  private node(nodeId: string): Progress {
    const node = this.nodes.get(nodeId);
    if (!node)
      throw new DbError('QUORUM_UNKNOWN_NODE', `${nodeId} holds no copy of this volume`, { reaction: 'bug' });
    return node;
  }

  /**
   * A node begins, or has begun, a later life: what it said in earlier ones does not count any more (commit() stays where it is; whatever an
   * old answer helped to commit is told to the node with the next startEpoch(), and it does not vote before it has that).
   */
  private noteLife(nodeId: string, life: number): void {
    this.lives.set(nodeId, Math.max(life, this.lives.get(nodeId) ?? 0));
    const node = this.nodes.get(nodeId);
    if (!node || life <= node.life) return;
    Object.assign(node, { life, started: false, nextLsn: INVALID_LSN, scl: INVALID_LSN, regressed: false });
    node.handshake++;
    node.sclAtHandshake = INVALID_LSN;
    const grant = this.grants.get(nodeId);
    if (grant && (grant.life ?? 0) < life) this.dropGrant(nodeId);
  }

  /** True when the answer shows that a newer epoch exists. */
  private refused(promisedEpoch: Epoch): boolean {
    this.newestEpoch = Math.max(this.newestEpoch, promisedEpoch);
    if (promisedEpoch > this.epoch) this.current = 'fenced';
    return this.current === 'fenced';
  }

  private acknowledged(node: Progress, scl: Lsn, learner: LearnerReason | null): void {
    node.scl = node.learner ? scl : lsn(Math.max(node.scl, scl));
    node.learner = learner;
    node.nextLsn = lsn(Math.max(node.nextLsn, node.scl));
    this.advance();
  }

  private advance(): void {
    const acked: Lsn[] = [];
    for (const node of this.nodes.values())
      if (node.scl >= this.start && node.scl > INVALID_LSN && this.counts(node)) acked.push(node.scl);
    if (acked.length < this.config.writeQuorum) return;
    acked.sort((a, b) => b - a);
    const held = acked[this.config.writeQuorum - 1]!;
    let passed = 0;
    while (passed < this.boundaries.length && this.boundaries[passed]! <= held) passed++;
    if (passed > 0) {
      this.commit = lsn(Math.max(this.commit, this.boundaries[passed - 1]!));
      this.boundaries.splice(0, passed);
    }
    if (this.commit !== INVALID_LSN && held >= this.commit) this.settledGeneration = this.config.generation;
  }
}
