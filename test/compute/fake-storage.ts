/** Storage nodes in memory, as a compute sees them: just enough of a node's behaviour to drive the writer and the election by hand. */
import { EventEmitter } from 'node:events';
import { pino } from 'pino';
import type { StorageLinks } from '../../src/compute/storage-links.js';
import type { ControlState } from '../../src/engine/control/index.js';
import { DbError } from '../../src/engine/errors.js';
import { lsn, type Lsn } from '../../src/engine/lsn.js';
import type { EpochHistory, LearnerReason, PromiseAnswer, PromiseRequest, StartEpoch, StartEpochAnswer } from '../../src/engine/quorum/types.js'; // prettier-ignore
import { Append, decodeFrame, isFrameOf } from '../../src/net/messages.js';
import type { AppendRequest, StorageClient } from '../../src/net/storage-client.js';

export const silent = pino({ level: 'silent' });

/** One node: a log from `base` on, and what it was told. */
export class FakeNode {
  promised = 0;
  promisedWriter = '';
  history: EpochHistory;
  learner: LearnerReason | null = null;
  /** Answers appends by itself, as after a sync. */
  autoAck = true;
  /** Not null: requests of that kind fail with it. */
  failing: Partial<Record<'promise' | 'startEpoch' | 'logTail' | 'readLog', DbError>> = {};
  /** Called within logTail, before it answers. */
  beforeTail: () => void | Promise<void> = () => undefined;
  readonly appends: AppendRequest[] = [];
  reads = 0;
  private parts: Buffer[] = [];
  private length = 0;

  constructor(
    readonly id: string,
    readonly base: Lsn,
    /** End of the last complete record; the log may go on behind it. */
    public recordEnd: Lsn = base,
  ) {
    this.history = [{ epoch: 0, startLsn: base }];
    this.write(Buffer.alloc(recordEnd - base));
  }

  get scl(): Lsn {
    return lsn(this.base + this.length);
  }

  get log(): Buffer {
    if (this.parts.length !== 1) this.parts = [Buffer.concat(this.parts)];
    return this.parts[0]!;
  }

  write(bytes: Buffer): void {
    this.parts.push(bytes);
    this.length += bytes.length;
  }

  cut(at: Lsn): void {
    if (at >= this.scl) return;
    this.parts = [this.log.subarray(0, at - this.base)];
    this.length = at - this.base;
  }

  promise(request: PromiseRequest): PromiseAnswer {
    const granted = this.learner === null && request.epoch > this.promised;
    if (granted) {
      this.promised = request.epoch;
      this.promisedWriter = request.writerId;
    }
    return {
      ...request,
      granted,
      promisedEpoch: this.promised,
      learner: this.learner,
      scl: this.scl,
      commitLsn: lsn(0),
      history: this.history,
    };
  }

  startEpoch(message: StartEpoch): StartEpochAnswer {
    const { epoch, handshake, history } = message;
    const accepted = epoch >= this.promised;
    if (accepted) {
      this.promised = epoch;
      if (this.history.at(-1)!.epoch < epoch) this.cut(history.at(-1)!.startLsn);
      this.history = history;
    }
    return { epoch, handshake, accepted, promisedEpoch: this.promised, learner: this.learner, scl: this.scl };
  }
}

/** One connection to a node. */
export class FakeClient extends EventEmitter {
  isOpen = true;
  bufferedAmount = 0;

  constructor(readonly node: FakeNode) {
    super();
  }

  get nodeId(): string {
    return this.node.id;
  }

  async status(): Promise<{ promisedEpoch: number }> {
    return { promisedEpoch: this.node.promised };
  }

  async promise(request: PromiseRequest): Promise<PromiseAnswer> {
    this.mayFail('promise');
    return this.node.promise(request);
  }

  async startEpoch(message: StartEpoch): Promise<StartEpochAnswer> {
    this.mayFail('startEpoch');
    return this.node.startEpoch(message);
  }

  async logTail(): Promise<{ recordStart: Lsn; recordEnd: Lsn; logEnd: Lsn }> {
    await new Promise((resolve) => setImmediate(resolve));
    await this.node.beforeTail();
    this.mayFail('logTail');
    return { recordStart: this.node.base, recordEnd: this.node.recordEnd, logEnd: this.node.scl };
  }

  async controlState(request: { lsn: Lsn }): Promise<ControlState> {
    return { of: this.nodeId, at: request.lsn } as unknown as ControlState;
  }

  async readLog({
    begin,
    end,
    maxBytes = Infinity,
  }: {
    begin: Lsn;
    end: Lsn;
    maxBytes?: number;
  }): Promise<{ bytes: Buffer }> {
    // prettier-ignore
    this.node.reads++;
    this.mayFail('readLog');
    const from = begin - this.node.base;
    return { bytes: this.node.log.subarray(from, Math.min(end - this.node.base, from + maxBytes)) };
  }

  appendEncoded(frame: Buffer): void {
    const decoded = decodeFrame(frame);
    if (isFrameOf(decoded, Append)) this.append(decoded.body);
  }

  append(request: AppendRequest): void {
    if (!this.isOpen) return;
    const { node } = this;
    node.appends.push(request);
    const { epoch, begin, bytes } = request;
    if (epoch < node.promised)
      this.later('refused', { kind: 'refused', epoch, promisedEpoch: node.promised });
    else if (node.history.at(-1)!.epoch !== epoch) this.later('notStarted', { kind: 'not-started', epoch });
    else if (begin > node.scl) this.later('gap', { kind: 'gap', epoch, expected: node.scl });
    else {
      node.write(bytes.subarray(node.scl - begin));
      if (node.autoAck) this.ack();
    }
  }

  /** Tells the writer how far the log is durable here. */
  ack(scl: Lsn = this.node.scl): void {
    const epoch = this.node.history.at(-1)!.epoch;
    this.later('ack', { kind: 'accepted', epoch, scl, learner: this.node.learner, appliedLsn: lsn(0) });
  }

  destroy(): void {
    this.isOpen = false;
  }

  private later(event: string, answer: object): void {
    setImmediate(() => {
      if (this.isOpen) this.emit(event, answer);
    });
  }

  private mayFail(what: keyof FakeNode['failing']): void {
    if (!this.isOpen) throw new DbError('NET_CLOSED', 'closed');
    const err = this.node.failing[what];
    if (err) throw err;
  }
}

export class FakeLinks extends EventEmitter {
  readonly unusable = new Map<string, DbError>();
  private readonly clients = new Map<string, FakeClient>();

  connected(): FakeClient[] {
    return [...this.clients.values()];
  }

  client(nodeId: string): FakeClient | undefined {
    return this.clients.get(nodeId);
  }

  up(node: FakeNode): FakeClient {
    const client = new FakeClient(node);
    this.clients.set(node.id, client);
    this.emit('up', client);
    return client;
  }

  down(nodeId: string): FakeClient {
    const client = this.clients.get(nodeId)!;
    client.isOpen = false;
    this.clients.delete(nodeId);
    this.emit('down', client);
    return client;
  }

  refuse(nodeId: string): void {
    const err = new DbError('NET_AUTH', `node ${nodeId} has another secret`, { reaction: 'usage' });
    this.unusable.set(nodeId, err);
    this.emit('unusable', nodeId, err);
  }

  asLinks(): StorageLinks {
    return this as unknown as StorageLinks;
  }

  asClient(nodeId: string): StorageClient {
    return this.clients.get(nodeId) as unknown as StorageClient;
  }
}

/** Lets everything that waits for its turn have it, `turns` times. */
export async function settle(turns = 20): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
}
