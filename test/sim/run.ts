import { QuorumConfig } from '../../src/engine/quorum/config.js';
import { Checker } from './checker.js';
import { BASE } from './messages.js';
import { SimNode } from './node.js';
import { World } from './world.js';
import { SimWriter } from './writer.js';

/** Everything that a seed decides before a run starts; printed when the run fails. */
export interface SimOptions {
  readonly seed: number;
  readonly quorum: '3/2/2' | '6/4/3';
  readonly duration: number;
  readonly dropRate: number;
  readonly duplicateRate: number;
  readonly delayTail: number;
  /** A sync takes up to this long: on a slow disk much happens between a write and its acknowledgement. */
  readonly syncDelay: number;
  /** Mean time between faults. */
  readonly faultEvery: number;
  /** Disks that may be wiped in this run; at any time fewer than Vw are lost and not rebuilt yet. */
  readonly wipes: number;
  /** Nodes tell each other of epochs and commit LSNs, and copy log from each other. */
  readonly gossip: boolean;
  readonly recordRate: number;
  readonly maxBatch: number;
}

export interface SimResult {
  readonly committed: number;
  readonly epochs: number;
  readonly faults: Readonly<Record<string, number>>;
}

export function optionsOf(seed: number): SimOptions {
  const world = new World(seed * 7919 + 1, { dropRate: 0, duplicateRate: 0, delayMin: 0, delayTail: 0 });
  const quorum = world.pick(['3/2/2', '6/4/3'] as const);
  return {
    seed,
    quorum,
    duration: world.between(2_000, 8_000),
    dropRate: world.pick([0, 0.05, 0.2]),
    duplicateRate: world.pick([0, 0.1]),
    delayTail: world.pick([2, 10, 60]),
    syncDelay: world.pick([10, 10, 150]),
    faultEvery: world.pick([100, 250, 800]),
    wipes: world.chance(0.6) ? world.between(1, 10) : 0,
    gossip: world.chance(0.6),
    recordRate: world.pick([0.3, 0.9]),
    maxBatch: world.pick([5, 40]),
  };
}

/** One run: a phase of faults, in which nothing acknowledged may be lost, then a healed world, which must converge and commit. */
export function simulate(options: SimOptions): SimResult {
  return new Run(options).play();
}

class Run {
  private readonly world: World;
  private readonly checker = new Checker();
  private readonly config: QuorumConfig;
  private readonly nodes = new Map<string, SimNode>();
  private readonly writers: SimWriter[] = [];
  private readonly faults: Record<string, number> = {};
  private wipesLeft: number;

  constructor(private readonly options: SimOptions) {
    const { seed, dropRate, duplicateRate, delayTail, quorum } = options;
    this.world = new World(seed, { dropRate, duplicateRate, delayMin: 1, delayTail });
    const [v, vw, vr] = quorum.split('/').map(Number) as [number, number, number];
    const ids = Array.from({ length: v }, (_, i) => `node-${i + 1}`);
    this.config = new QuorumConfig({ voters: ids, writeQuorum: vw, readQuorum: vr });
    for (const id of ids)
      this.nodes.set(
        id,
        new SimNode(
          id,
          this.world,
          this.checker,
          options.syncDelay,
          (node, to, message) =>
            this.world.send(node, to, () => this.writers.find((w) => w.id === to)?.receive(node, message)),
          { all: () => [...this.nodes.values()], rejoinQuorum: this.config.rejoinQuorum },
        ),
      );
    this.wipesLeft = options.wipes;
  }

  play(): SimResult {
    this.newWriter();
    this.scheduleFault();
    if (this.options.gossip) this.scheduleGossip();
    this.world.run(this.options.duration);
    this.heal();
    this.converge();
    return { committed: this.checker.committed.length, epochs: this.writers.length, faults: this.faults };
  }

  private newWriter(): SimWriter {
    // A real compute asks around for the highest epoch; here some guess low, and two may guess the same.
    const seen = [...this.nodes.values()].map((n) => n.acceptor.state.promisedEpoch);
    const epoch = (this.world.chance(0.8) ? Math.max(...seen) : this.world.pick(seen)) + 1;
    const writer = new SimWriter(
      `writer-${this.writers.length + 1}`,
      this.config,
      epoch,
      this.world,
      this.checker,
      (from, node, message) =>
        this.world.send(from, node, () => this.nodes.get(node)!.receive(from, message)),
      this.options,
    );
    this.writers.push(writer);
    return writer;
  }

  private scheduleFault(): void {
    this.world.after(-Math.log(1 - this.world.random()) * this.options.faultEvery, () => {
      if (this.world.now >= this.options.duration) return;
      this.fault();
      this.scheduleFault();
    });
  }

  private scheduleGossip(): void {
    const nodes = [...this.nodes.values()];
    const [from, to] = [this.world.pick(nodes), this.world.pick(nodes)];
    const { news } = from;
    if (news && from !== to)
      this.world.send(from.id, to.id, () => to.receive(from.id, { kind: 'gossip', news }));
    this.world.after(this.world.between(5, 60), () => this.scheduleGossip());
  }

  private fault(): void {
    const { world } = this;
    const node = world.pick([...this.nodes.values()]);
    const writer = world.pick(this.writers.slice(-3));
    const kind = world.pick([
      'crash', 'crash', 'restart', 'restart', 'restart', 'wipe', 'wipe', 'damage', 'heal', 'heal',
      'writer', 'writer', 'twoWriters', 'pause', 'resume', 'partition', 'join', 'join',
    ] as const); // prettier-ignore
    this.faults[kind] = (this.faults[kind] ?? 0) + 1;
    if (kind === 'crash') node.crash();
    else if (kind === 'restart') node.restart();
    else if (kind === 'damage') node.damage();
    else if (kind === 'heal') node.heal();
    else if (kind === 'wipe') this.wipe(node);
    else if (kind === 'pause') writer.pause();
    else if (kind === 'resume') writer.resume();
    else if (kind === 'join') world.partition(new Map());
    else if (kind === 'partition') this.partition();
    else {
      this.newWriter();
      if (kind === 'twoWriters') this.newWriter();
    }
  }

  private wipe(node: SimNode): void {
    const lost = [...this.nodes.values()].filter((other) => other.lost && other !== node).length;
    if (this.wipesLeft === 0 || lost + 1 >= this.config.writeQuorum) return;
    this.wipesLeft--;
    if (this.world.chance(0.2)) {
      node.giveUp();
      return;
    }
    node.crash();
    if (this.world.chance(0.3)) node.loseLog();
    else node.wipe();
    if (this.world.chance(0.5)) this.world.after(this.world.between(1, 300), () => node.restart());
  }

  private partition(): void {
    const sides = new Map<string, number>();
    for (const id of this.nodes.keys()) sides.set(id, this.world.between(0, 1));
    for (const { id } of this.writers) sides.set(id, this.world.between(0, 1));
    this.world.partition(sides);
  }

  private heal(): void {
    this.world.partition(new Map());
    this.world.faults = { dropRate: 0, duplicateRate: 0, delayMin: 1, delayTail: 3 };
    for (const node of this.nodes.values()) {
      node.restart();
      node.heal();
    }
    for (const writer of this.writers) if (writer.paused) writer.resume();
  }

  /** With enough voters left, one writer gets through, everybody follows and votes, whatever was lost, and commits go on. */
  private converge(): void {
    this.world.run(this.world.now + 2_000);
    for (const writer of this.writers) writer.stopped = true;
    // Too many lost at once to elect a writer, and so to vote again: nothing is lost, nothing goes on either.
    const voters = [...this.nodes.values()].filter((n) => n.isVoter).length;
    if (voters < Math.max(this.config.writeQuorum, this.config.electQuorum)) return;
    const before = this.checker.committed.length;
    let last = this.newWriter();
    let patience = this.world.now + 1_000;
    const limit = this.world.now + 20_000;
    const done = (): boolean => {
      const stuck = last.core.phase === 'electing' && this.world.now > patience;
      if (last.core.phase === 'fenced' || stuck) {
        last.stopped = true;
        last = this.newWriter();
        patience = this.world.now + 1_000;
      }
      return (
        last.commitLength > before + 30 &&
        [...this.nodes.values()].every(
          (n) => n.isVoter && n.durableEpoch === last.core.epoch && n.durableLog.length >= before,
        )
      );
    };
    if (!this.world.run(limit, done))
      this.checker.fail(
        `no progress after healing: phase ${last.core.phase}, committed ${last.commitLength}, was ${before}; ` +
          [...this.nodes.values()]
            .map((n) => `${n.id}${n.isVoter ? '' : ' (learner)'} ${n.durableLog.length}`)
            .join(', '),
      );
    this.sameLogs(last);
  }

  private sameLogs(writer: SimWriter): void {
    for (const node of this.nodes.values()) {
      const { scl, logEnd } = node.acceptor.state;
      if (scl > logEnd || scl - BASE > writer.log.length)
        this.checker.fail(`${node.id} holds more than was written`);
      node.durableLog.forEach((byte, i) => {
        if (byte !== writer.log[i]) this.checker.fail(`${node.id} differs from the writer at ${i}`);
      });
    }
  }
}
