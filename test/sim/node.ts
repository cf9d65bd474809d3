import { INVALID_LSN, lsn } from '../../src/engine/lsn.js';
import { Acceptor } from '../../src/engine/quorum/acceptor.js';
import { commonPoint } from '../../src/engine/quorum/history.js';
import type { IdentityRecord, LogState } from '../../src/engine/quorum/acceptor.js';
import type { Configuration } from '../../src/engine/quorum/membership.js';
import type { Append, EpochHistory, PromiseRequest, StartEpoch } from '../../src/engine/quorum/types.js';
import type { Checker } from './checker.js';
import type { Configured, News, ToNode, ToWriter } from './messages.js';
import { BASE } from './messages.js';
import type { World } from './world.js';

type DiskOp =
  | { kind: 'data'; at: number; bytes: number[] }
  | { kind: 'history'; cutAt: number; history: EpochHistory }
  /** The state of a peer at one LSN is here: as good as all the log before it. */
  | { kind: 'rebuilt'; bytes: readonly number[]; history: EpochHistory };

interface Log {
  bytes: number[];
  history: EpochHistory;
}

const FIRST: EpochHistory = [{ epoch: 0, startLsn: BASE }];

function apply(log: Log, op: DiskOp): void {
  if (op.kind === 'history') {
    log.bytes.length = op.cutAt;
    log.history = op.history;
  } else if (op.kind === 'rebuilt') {
    log.bytes = [...op.bytes];
    log.history = op.history;
  } else log.bytes.push(...op.bytes);
}

/** A storage node around the real Acceptor: a disk that forgets what was not synced, and the order of I/O and answers that a daemon must keep. */
export class SimNode {
  acceptor: Acceptor;
  up = true;
  /** Lost its memory, and has not been rebuilt since. */
  lost = false;
  /** Its log is to be replaced by a peer's state: it is gone, or was given up. */
  private rebuilding = false;
  /** That it votes again, or does not any more, is on its way to the disk: after a crash, what got there counts. */
  private undecided = false;
  private registrations = 0;
  private ticking = false;
  /** Counts restarts; whatever belongs to an older life is ignored. */
  private life = 0;
  private disk: { identity: IdentityRecord | null; log: Log | null; damaged: boolean };
  private live: Log;
  private unsynced: DiskOp[] = [];
  private syncing = false;
  private waiting: { ops: number; run: () => void }[] = [];
  private opsQueued = 0;
  private opsDone = 0;
  /** While a promise goes to disk nothing else is handled. */
  private busy = false;
  private inbox: (() => void)[] = [];

  constructor(
    readonly id: string,
    private readonly world: World,
    private readonly checker: Checker,
    private readonly syncDelay: number,
    private readonly reply: (node: string, to: string, message: ToWriter | Configured) => void,
    private readonly peers: () => readonly SimNode[],
    /** Null: a node that is to be added, with an empty disk. */
    configuration: Configuration | null,
  ) {
    const state: LogState = { history: FIRST, scl: BASE, damaged: false };
    this.acceptor = Acceptor.create(state);
    this.live = { bytes: [], history: FIRST };
    if (configuration) this.acceptor.configure(configuration, configuration.generation);
    this.disk = { identity: this.acceptor.identity, log: { bytes: [], history: FIRST }, damaged: false };
    if (configuration) return;
    this.up = false;
    this.wipe();
    this.restart();
  }

  get durableLog(): readonly number[] {
    return this.disk.log?.bytes ?? [];
  }

  get durableEpoch(): number {
    return this.disk.log?.history.at(-1)?.epoch ?? -1;
  }

  get isVoter(): boolean {
    return this.acceptor.learner === null;
  }

  receive(from: string, message: ToNode): void {
    const { life } = this;
    const handle = (): void => {
      if (this.up && this.life === life) this.handle(from, message);
    };
    if (this.busy) this.inbox.push(handle);
    else if (this.up) handle();
  }

  /** Power cut: of what was not synced, any number of whole operations, in order, may have reached the disk. */
  crash(): void {
    if (!this.up) return;
    this.up = false;
    this.life++;
    const survive = this.world.between(0, this.unsynced.length);
    for (const op of this.unsynced.slice(0, survive)) apply(this.disk.log!, op);
    this.unsynced = [];
    this.waiting = [];
    this.syncing = this.busy = false;
    this.inbox = [];
  }

  /** The disk is gone, and with it the promises. Only on a node that is down. */
  wipe(): void {
    this.lost = this.rebuilding = true;
    this.disk = { identity: null, log: null, damaged: false };
  }

  /** Only the log is gone. On a node that is down. */
  loseLog(): void {
    this.lost = this.rebuilding = true;
    this.disk = { ...this.disk, log: null, damaged: false };
  }

  /** A node that has fallen behind what its peers keep gives its log up by itself. */
  giveUp(): void {
    if (!this.up || this.busy || !this.isVoter) return;
    this.lost = this.undecided = true;
    this.persist(this.acceptor.giveUp(), () => {
      this.rebuilding = true;
      this.undecided = false;
      this.tick();
    });
  }

  damage(): void {
    this.disk.damaged = this.disk.log !== null;
    if (this.up) this.acceptor.setDamaged(this.disk.damaged);
  }

  heal(): void {
    this.disk.damaged = false;
    if (this.up) this.acceptor.setDamaged(false);
  }

  restart(): void {
    if (this.up) return;
    const { log, identity, damaged } = this.disk;
    const state = log && { history: log.history, scl: lsn(BASE + log.bytes.length), damaged };
    this.acceptor = Acceptor.recover(identity, state, INVALID_LSN);
    if (this.acceptor.learner === 'amnesia' && !this.lost)
      this.checker.fail(`${this.id} takes itself for amnesic though its disk was never wiped`);
    if (this.acceptor.learner !== 'amnesia' && this.lost && !this.undecided)
      this.checker.fail(`${this.id} votes though its disk was wiped`);
    this.disk.identity = this.acceptor.identity;
    this.disk.log ??= { bytes: [], history: [] };
    this.live = { bytes: [...this.disk.log.bytes], history: this.disk.log.history };
    this.opsQueued = this.opsDone = 0;
    this.up = true;
    if (this.acceptor.learner !== 'amnesia') this.lost = false; // a log that is damaged is another matter
    if (!this.isVoter) this.tick();
    this.undecided = false;
  }

  /** As the daemon's rebuild: registers, takes a peer's state in place of a lost log, and votes again when it may. */
  private tick(): void {
    if (this.ticking) return;
    this.ticking = true;
    this.world.timer(this.id, this.world.between(10, 60), () => {
      this.ticking = false;
      if (!this.up || this.acceptor.learner !== 'amnesia') return;
      if (!this.busy) this.rebuild();
      this.tick();
    });
  }

  private rebuild(): void {
    const asked = this.acceptor.registration(this.id, `${this.id} ${++this.registrations}`);
    if (asked) {
      const send = (): void => {
        for (const peer of this.peers())
          if (peer !== this) this.tell(peer, { kind: 'register', body: asked.request });
      };
      if (asked.persist) this.persist(asked.persist, send);
      else send();
      return;
    }
    if (this.rebuilding) {
      this.copyState();
      return;
    }
    const record = this.acceptor.rejoin();
    if (!record) return;
    this.undecided = true;
    this.checker.nodeForgets(this.id);
    this.persist(record, () => {
      this.lost = this.undecided = false;
    });
  }

  private copyState(): void {
    const { news } = this.world.pick(this.peers().filter((peer) => peer !== this));
    if (!news || this.opsDone < this.opsQueued || this.world.chance(0.3)) return;
    const committed = Math.max(0, (news.commit?.commitLsn ?? 0) - BASE);
    const length = this.world.between(0, Math.min(committed, news.bytes.length));
    const record = this.acceptor.rebase(lsn(BASE + length), news.history);
    if (!record) return;
    this.persist(record, () => {
      this.queue({ kind: 'rebuilt', bytes: news.bytes.slice(0, length), history: news.history });
      this.whenDurable(() => (this.rebuilding = false));
    });
  }

  private tell(peer: SimNode, message: ToNode): void {
    this.world.send(this.id, peer.id, () => peer.receive(this.id, message));
  }

  private handle(from: string, message: ToNode): void {
    switch (message.kind) {
      case 'promise':
        return this.promise(from, message.body);
      case 'start':
        return this.start(from, message.body);
      case 'append':
        return this.append(from, message.body, message.bytes);
      case 'gossip':
        return this.learn(message.news);
      case 'configure': {
        const { configuration, settled } = message;
        this.configure(configuration, settled, () => {
          if (from === 'tool') this.reply(this.id, from, this.configured);
        });
        return;
      }
      case 'register': {
        const { persist, answer } = this.acceptor.register(message.body);
        const peer = this.peers().find((node) => node.id === from)!;
        const send = (): void => this.tell(peer, { kind: 'registered', body: answer });
        if (persist) this.persist(persist, send);
        else send();
        return;
      }
      case 'registered': {
        const record = this.acceptor.registered(from, message.body, Infinity);
        if (record) this.persist(record, () => undefined);
        return;
      }
      case 'fetch': {
        const upTo = Math.min(this.durableLog.length, this.acceptor.state.scl - BASE);
        if (this.acceptor.servesTail(message.epoch))
          this.reply(this.id, from, {
            kind: 'fetched',
            epoch: message.epoch,
            bytes: this.durableLog.slice(0, upTo),
          });
      }
    }
  }

  private promise(from: string, request: PromiseRequest): void {
    const { persist, answer } = this.acceptor.promise(request);
    const send = (): void => {
      if (answer.granted) this.checker.nodePromises(this.id, answer.epoch);
      this.reply(this.id, from, { kind: 'promised', body: answer });
    };
    if (persist) this.persist(persist, send);
    else send();
  }

  private configure(configuration: Configuration | undefined, settled: number, then: () => void): void {
    const persist = this.acceptor.configure(configuration, settled);
    if (persist) this.persist(persist, then);
    else then();
  }

  private get configured(): Configured {
    const { generation, settled } = this.acceptor.membership;
    return { generation, settled, isVoter: this.isVoter, scl: this.acceptor.state.scl - BASE };
  }

  /** `from` null: relayed by a peer, which wants no answer. */
  private start(from: string | null, message: StartEpoch): void {
    const step = this.acceptor.startEpoch(message);
    if (step.kind === 'answer') {
      const send = (): void => {
        if (from) this.reply(this.id, from, { kind: 'started', body: step.answer });
      };
      if (step.persist) this.persist(step.persist, send);
      else send();
      return;
    }
    this.persist(step.persist, () => {
      this.queue({ kind: 'history', cutAt: step.cutAt - BASE, history: step.history });
      this.whenDurable(() => {
        if (!from) return;
        const body = this.acceptor.startEpochAnswer(message);
        if (body.accepted) this.acknowledged(body.epoch, body.scl);
        this.reply(this.id, from, { kind: 'started', body });
      });
    });
  }

  private append(from: string, message: Append, bytes: readonly number[]): void {
    const step = this.acceptor.append(message);
    if (step.kind === 'answer') {
      this.reply(this.id, from, { kind: 'appended', body: step.answer });
      return;
    }
    if (step.end > step.begin)
      this.queue({ kind: 'data', at: step.begin - BASE, bytes: bytes.slice(step.skip) });
    const answer = (): void => {
      this.checkReads();
      const body = this.acceptor.appendAnswer(message.epoch);
      if (!body) return;
      if (body.kind === 'accepted') this.acknowledged(body.epoch, body.scl);
      this.reply(this.id, from, { kind: 'appended', body });
    };
    // A duplicate or a heartbeat may be answered from what is durable already, whatever else is on its way to the disk.
    if (step.end === step.begin && this.world.chance(0.5)) answer();
    else this.whenDurable(answer);
  }

  private checkReads(): void {
    this.checker.nodeReads(this.id, this.durableLog, Math.max(0, this.acceptor.readableLsn - BASE));
  }

  /** What this node tells a peer; null while it has nothing to tell. */
  get news(): News | null {
    if (!this.up || !this.disk.log || this.disk.log.history.length === 0 || this.busy) return null;
    const { history, bytes } = this.disk.log;
    const { promisedEpoch, promisedTo, commitLsn } = this.acceptor.state;
    const at = history.findLast((entry) => entry.startLsn < commitLsn);
    const commit = at ? { epoch: at.epoch, commitLsn } : null;
    const length = Math.min(bytes.length, Math.max(0, this.acceptor.state.scl - BASE));
    const { membership } = this.disk.identity ?? {};
    return { history, promisedEpoch, promisedTo, commit, bytes: bytes.slice(0, length), membership };
  }

  /** As the daemon's catch-up: adopts an epoch that a peer has adopted, takes its commit LSN, and copies log as far as the histories agree. */
  private learn(news: News): void {
    const { configuration, settled = 0 } = news.membership ?? {};
    this.configure(configuration, settled, () => this.learnLog(news));
  }

  private learnLog(news: News): void {
    const newest = news.history.at(-1)!;
    const ours = this.acceptor.state;
    if (ours.history.length === 0) return;
    if (newest.epoch > ours.history.at(-1)!.epoch && newest.epoch >= ours.promisedEpoch) {
      const { epoch } = newest;
      const writerId = news.promisedEpoch === epoch ? news.promisedTo : 'relayed';
      this.start(null, { epoch, writerId, handshake: 0, history: news.history });
      return;
    }
    if (news.commit) this.acceptor.commitNotice(news.commit);
    const { logEnd, history } = this.acceptor.state;
    const common = commonPoint(history, lsn(BASE + news.bytes.length), news.history);
    if (common === null || common <= logEnd) return;
    const { epoch } = history.at(-1)!;
    const step = this.acceptor.append({ epoch, begin: logEnd, end: common, commitLsn: INVALID_LSN });
    if (step.kind === 'answer') return;
    this.queue({
      kind: 'data',
      at: step.begin - BASE,
      bytes: news.bytes.slice(step.begin - BASE, step.end - BASE),
    });
    this.whenDurable(() => this.checkReads());
  }

  private acknowledged(epoch: number, scl: number): void {
    this.checker.nodeAcknowledges(this.id, this.isVoter, epoch, scl - BASE, {
      log: this.durableLog,
      lastEpoch: this.durableEpoch,
    });
  }

  /** The identity goes to disk before anything else happens on this node; a crash may come before or after. */
  private persist(record: IdentityRecord, then: () => void): void {
    const { life } = this;
    this.busy = true;
    const [before, after] = [this.world.random() * 3, this.world.random() * 3];
    this.world.after(before, () => {
      if (this.life !== life) return;
      this.disk.identity = record;
      this.world.after(after, () => {
        if (this.life !== life) return;
        this.busy = false;
        then();
        while (!this.busy && this.inbox.length > 0) this.inbox.shift()!();
      });
    });
  }

  private queue(op: DiskOp): void {
    if (op.kind === 'data' && op.at !== this.live.bytes.length)
      this.checker.fail(`${this.id} appends at ${op.at}, its log ends at ${this.live.bytes.length}`);
    apply(this.live, op);
    this.unsynced.push(op);
    this.opsQueued++;
  }

  private whenDurable(run: () => void): void {
    if (this.opsDone === this.opsQueued) {
      run();
      return;
    }
    this.waiting.push({ ops: this.opsQueued, run });
    if (!this.syncing) this.sync();
  }

  private sync(): void {
    const { life } = this;
    const count = this.unsynced.length;
    this.syncing = true;
    this.world.after(1 + this.world.random() * this.syncDelay, () => {
      if (this.life !== life) return;
      for (const op of this.unsynced.splice(0, count)) apply(this.disk.log!, op);
      this.opsDone += count;
      // As LogStore.durableEnd: bytes that a later cut takes away do not count, even while they are still on disk.
      const cuts = this.unsynced.map((op) =>
        op.kind === 'history' ? op.cutAt : op.kind === 'data' ? Infinity : 0,
      );
      const { bytes, history } = this.disk.log!;
      this.acceptor.durable(lsn(BASE + Math.min(bytes.length, ...cuts)), history.at(-1)!.epoch);
      this.syncing = false;
      // What an answer says of the identity must be on the disk, too: a real node saves it at one go.
      if (this.busy) this.inbox.push(() => this.synced());
      else this.synced();
    });
  }

  private synced(): void {
    while (!this.busy && this.waiting.length > 0 && this.waiting[0]!.ops <= this.opsDone)
      this.waiting.shift()!.run();
    if (this.waiting.length === 0 || this.syncing) return;
    if (this.opsDone < this.opsQueued) this.sync();
    else if (this.busy) this.inbox.push(() => this.synced());
  }
}
