import { INVALID_LSN, lsn } from '../../src/engine/lsn.js';
import { Acceptor } from '../../src/engine/quorum/acceptor.js';
import type { IdentityRecord, LogState } from '../../src/engine/quorum/acceptor.js';
import type { Append, EpochHistory, PromiseRequest, StartEpoch } from '../../src/engine/quorum/types.js';
import type { Checker } from './checker.js';
import type { ToNode, ToWriter } from './messages.js';
import { BASE } from './messages.js';
import type { World } from './world.js';

type DiskOp =
  { kind: 'data'; at: number; bytes: number[] } | { kind: 'history'; cutAt: number; history: EpochHistory };

interface Log {
  bytes: number[];
  history: EpochHistory;
}

const FIRST: EpochHistory = [{ epoch: 0, startLsn: BASE }];

function apply(log: Log, op: DiskOp): void {
  if (op.kind === 'history') {
    log.bytes.length = op.cutAt;
    log.history = op.history;
  } else log.bytes.push(...op.bytes);
}

/** A storage node around the real Acceptor: a disk that forgets what was not synced, and the order of I/O and answers that a daemon must keep. */
export class SimNode {
  acceptor: Acceptor;
  up = true;
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
    private readonly reply: (node: string, to: string, message: ToWriter) => void,
  ) {
    const state: LogState = { history: FIRST, scl: BASE, damaged: false };
    this.acceptor = Acceptor.create(state);
    this.disk = { identity: this.acceptor.identity, log: { bytes: [], history: FIRST }, damaged: false };
    this.live = { bytes: [], history: FIRST };
  }

  get durableLog(): readonly number[] {
    return this.disk.log?.bytes ?? [];
  }

  get durableEpoch(): number {
    return this.disk.log?.history.at(-1)?.epoch ?? -1;
  }

  get isVoter(): boolean {
    return this.acceptor.state.learner === null;
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
    this.disk = { identity: null, log: null, damaged: false };
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
    this.disk.identity = this.acceptor.identity;
    this.disk.log ??= { bytes: [], history: [] };
    this.live = { bytes: [...this.disk.log.bytes], history: this.disk.log.history };
    this.opsQueued = this.opsDone = 0;
    this.up = true;
  }

  private handle(from: string, message: ToNode): void {
    switch (message.kind) {
      case 'promise':
        return this.promise(from, message.body);
      case 'start':
        return this.start(from, message.body);
      case 'append':
        return this.append(from, message.body, message.bytes);
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

  private start(from: string, message: StartEpoch): void {
    const step = this.acceptor.startEpoch(message);
    if (step.kind === 'answer') {
      this.reply(this.id, from, { kind: 'started', body: step.answer });
      return;
    }
    this.persist(step.persist, () => {
      this.queue({ kind: 'history', cutAt: step.cutAt - BASE, history: step.history });
      this.whenDurable(() => {
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
    this.whenDurable(() => {
      const body = this.acceptor.appendAnswer(message.epoch);
      if (!body) return;
      if (body.kind === 'accepted') this.acknowledged(body.epoch, body.scl);
      this.reply(this.id, from, { kind: 'appended', body });
      this.checker.nodeReads(this.id, this.durableLog, Math.max(0, this.acceptor.readableLsn - BASE));
    });
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
    this.world.after(1 + this.world.random() * 10, () => {
      if (this.life !== life) return;
      for (const op of this.unsynced.splice(0, count)) apply(this.disk.log!, op);
      this.opsDone += count;
      // As LogStore.durableEnd: bytes that a later cut takes away do not count, even while they are still on disk.
      const cuts = this.unsynced.map((op) => (op.kind === 'history' ? op.cutAt : Infinity));
      const { bytes, history } = this.disk.log!;
      this.acceptor.durable(lsn(BASE + Math.min(bytes.length, ...cuts)), history.at(-1)!.epoch);
      this.syncing = false;
      while (this.waiting.length > 0 && this.waiting[0]!.ops <= this.opsDone) this.waiting.shift()!.run();
      if (this.waiting.length > 0) this.sync();
    });
  }
}
