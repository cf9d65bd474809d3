import { lsn } from '../../src/engine/lsn.js';
import { quorumOf } from '../../src/engine/quorum/membership.js';
import type { Configuration } from '../../src/engine/quorum/membership.js';
import { WriterCore } from '../../src/engine/quorum/writer.js';
import type { Checker } from './checker.js';
import { BASE } from './messages.js';
import type { ToNode, ToWriter } from './messages.js';
import type { World } from './world.js';

const TICK = 40;

/**
 * A compute around the real WriterCore. A record is `id` repeated: its first byte carries the length, so that a scan finds record ends as
 * WAL decoding does. A paused writer handles what piled up when it wakes, as a stopped process would.
 */
export class SimWriter {
  core: WriterCore;
  stopped = false;
  paused = false;
  /** Full log from the volume's first LSN on. */
  readonly log: number[] = [];
  private piled: (() => void)[] = [];
  private committedLength = 0;
  private wasRefused = false;
  private fencedAt: number | null = null;
  private records = 0;

  constructor(
    readonly id: string,
    configuration: Configuration,
    epoch: number,
    private readonly world: World,
    private readonly checker: Checker,
    private readonly post: (from: string, node: string, message: ToNode) => void,
    private readonly options: { recordRate: number; maxBatch: number },
  ) {
    this.core = new WriterCore({ config: quorumOf(configuration), writerId: id, epoch });
    this.tick();
  }

  get commitLength(): number {
    return this.committedLength;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    for (const run of this.piled.splice(0)) run();
  }

  receive(node: string, message: ToWriter): void {
    if (this.stopped) return;
    if (this.paused) {
      this.piled.push(() => this.receive(node, message));
      return;
    }
    const { epoch } = this.core;
    if ('body' in message && 'promisedEpoch' in message.body && message.body.epoch === epoch)
      this.wasRefused ||= message.body.promisedEpoch > epoch;
    switch (message.kind) {
      case 'promised':
        this.core.onPromiseAnswer(node, message.body);
        break;
      case 'fetched':
        this.lead(node, message.bytes);
        break;
      case 'started':
        this.core.onStartEpochAnswer(node, message.body);
        this.send(node);
        break;
      case 'appended':
        this.core.onAppendAnswer(node, message.body);
        if (message.body.kind === 'not-started') this.start(node);
        else if (message.body.kind === 'gap') this.send(node);
    }
    this.observe();
  }

  private tick(): void {
    if (this.stopped) return;
    this.world.timer(this.id, TICK * (0.5 + this.world.random()), () => this.tick());
    if (this.paused) return;
    const { phase, donor, newer } = this.core;
    if (newer && (phase === 'electing' || phase === 'elected')) this.beginAnew(newer);
    else if (phase === 'electing')
      for (const node of this.core.quorum.voters)
        this.post(this.id, node, { kind: 'promise', body: this.core.promiseRequest() });
    else if (phase === 'elected') {
      if (this.world.chance(0.2)) this.core.dropGrant(donor!.nodeId);
      else this.post(this.id, donor!.nodeId, { kind: 'fetch', epoch: this.core.epoch });
    } else if (phase === 'leading') {
      if (this.world.chance(this.options.recordRate)) this.write();
      this.tellSettled();
      for (const { nodeId, started } of this.core.allProgress()) {
        if (this.world.chance(0.05)) this.core.reconnected(nodeId);
        if (!started) this.start(nodeId);
        else {
          if (this.world.chance(0.3)) this.core.resend(nodeId);
          this.send(nodeId);
        }
      }
    }
    this.observe();
  }

  /** As the compute's election: what was promised in an older configuration does not count. The epoch is a new one, or perhaps the same. */
  private beginAnew(configuration: Configuration): void {
    const epoch = this.world.chance(0.5) ? this.core.epoch : this.core.highestEpochSeen + 1;
    this.core = new WriterCore({ config: quorumOf(configuration), writerId: this.id, epoch });
  }

  private tellSettled(): void {
    const { settled, quorum } = this.core;
    if (!quorum.configuration || settled !== quorum.generation || !this.world.chance(0.3)) return;
    for (const node of quorum.members)
      this.post(this.id, node, { kind: 'configure', configuration: quorum.configuration, settled });
  }

  /** Reads the donor's tail: X is the end of its last complete record. */
  private lead(node: string, bytes: readonly number[]): void {
    const { donor, newer } = this.core;
    if (newer || !donor || donor.nodeId !== node || bytes.length < donor.scl - BASE) return;
    let end = 0;
    for (let at = 0; at < donor.scl - BASE;) {
      at += bytes[at]! % 100;
      if (at <= donor.scl - BASE) end = at;
    }
    this.log.push(...bytes.slice(0, end));
    this.core.lead(lsn(BASE + end));
    this.checker.writerStarts({ epoch: this.core.epoch, log: this.log, startLength: end });
  }

  /** Appends some records, the last perhaps half: the rest follows with the next write. */
  private half: number[] = [];
  private write(): void {
    let complete = this.log.length + this.half.length;
    this.log.push(...this.half);
    this.half = [];
    for (let n = this.world.between(1, 3); n > 0; n--) {
      const length = this.world.between(1, 12);
      const id = (this.core.epoch * 100_000 + ++this.records) * 100 + length;
      const record = new Array<number>(length).fill(id);
      const cut = n === 1 && this.world.chance(0.3) ? this.world.between(0, length) : length;
      this.log.push(...record.slice(0, cut));
      this.half = record.slice(cut);
      if (cut === length) complete = this.log.length;
    }
    this.core.appended(lsn(BASE + this.log.length), lsn(BASE + complete));
  }

  private start(node: string): void {
    const body = this.core.startEpoch(node);
    if (body) this.post(this.id, node, { kind: 'start', body });
  }

  private send(node: string): void {
    const body = this.core.nextAppend(node, this.world.between(1, this.options.maxBatch));
    if (body)
      this.post(this.id, node, {
        kind: 'append',
        body,
        bytes: this.log.slice(body.begin - BASE, body.end - BASE),
      });
  }

  private observe(): void {
    const length = Math.max(0, this.core.commitLsn - BASE);
    if (length < this.committedLength) this.checker.fail(`${this.id}: commit LSN went back to ${length}`);
    if (this.fencedAt !== null && length !== this.fencedAt)
      this.checker.fail(`${this.id} commits after it was fenced`);
    if (this.wasRefused !== (this.core.phase === 'fenced'))
      this.checker.fail(`${this.id} was ${this.wasRefused ? '' : 'not '}refused, but is ${this.core.phase}`);
    if (this.wasRefused) this.fencedAt ??= length;
    if (length > this.committedLength) this.checker.commits(this.core.epoch, this.log, length);
    this.committedLength = length;
  }
}
