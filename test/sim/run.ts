import { quorumOf, votersOf } from '../../src/engine/quorum/membership.js';
import type { Configuration } from '../../src/engine/quorum/membership.js';
import { Checker } from './checker.js';
import { BASE } from './messages.js';
import { SimNode } from './node.js';
import { SimTool } from './tool.js';
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
  /** How readily the tool begins another change of membership; 0: never. */
  readonly changeRate: number;
  /** How often the tool tells a node of a change. */
  readonly tellRate: number;
  /** Clocks run at other speeds, and change theirs. */
  readonly skew: boolean;
}

export interface SimResult {
  readonly committed: number;
  readonly epochs: number;
  readonly changes: number;
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
    changeRate: world.pick([0, 0.1, 0.5, 1]),
    tellRate: world.pick([0.05, 0.3, 0.8]),
    skew: world.chance(0.3),
  };
}

/** Whether all have converged is looked at so often: it costs more than an event. */
const LOOK_EVERY = 20;

/** One run: a phase of faults, in which nothing acknowledged may be lost, then a healed world, which must converge and commit. */
export function simulate(options: SimOptions): SimResult {
  return new Run(options).play();
}

class Run {
  private readonly world: World;
  private readonly checker = new Checker();
  private readonly tool: SimTool;
  private readonly nodes = new Map<string, SimNode>();
  private readonly writers: SimWriter[] = [];
  private readonly faults: Record<string, number> = {};
  private wipesLeft: number;
  /** Configurations that were followed by others, the last one first. */
  private readonly before: Configuration[] = [];

  constructor(private readonly options: SimOptions) {
    const { seed, dropRate, duplicateRate, delayTail, quorum } = options;
    this.world = new World(seed, { dropRate, duplicateRate, delayMin: 1, delayTail });
    const [v, writeQuorum, readQuorum] = quorum.split('/').map(Number) as [number, number, number];
    const members = Array.from({ length: v }, (_, i) => ({
      id: `node-${i + 1}`,
      host: 'h',
      port: 1,
      zone: `zone-${(i % 3) + 1}`,
      voter: true,
    }));
    const initial: Configuration = { generation: 1, members, writeQuorum, readQuorum };
    for (const { id } of members) this.newNode(id, initial);
    this.wipesLeft = options.wipes;
    this.tool = new SimTool(this.world, initial, { min: v - 2, max: v + 1 }, options, {
      newNode: (id) => this.newNode(id, null),
      isSound: (next) => this.isSound(next),
      post: (node, message) =>
        this.world.send('tool', node, () => this.nodes.get(node)?.receive('tool', message)),
      nodeIds: () => [...this.nodes.keys()],
      handsOut: (former) => this.before.unshift(former),
    });
    if (options.skew) for (const id of [...this.nodes.keys(), 'tool']) this.world.skew(id, this.rate());
  }

  private newNode(id: string, configuration: Configuration | null): void {
    const node = new SimNode(
      id,
      this.world,
      this.checker,
      this.options.syncDelay,
      (from, to, message) =>
        this.world.send(from, to, () => {
          if (!('kind' in message)) this.tool.receive(from, message);
          else this.writers.find((w) => w.id === to)?.receive(from, message);
        }),
      () => [...this.nodes.values()],
      configuration,
    );
    this.nodes.set(id, node);
  }

  private rate(): number {
    return this.world.pick([0.2, 0.7, 1, 1.4, 5]);
  }

  private voters(configuration: Configuration): SimNode[] {
    return votersOf(configuration).map((id) => this.nodes.get(id)!);
  }

  /** What a careful tool looks at first: enough voters are there, and no more are lost than may be. */
  private isSound(configuration: Configuration): boolean {
    const { writeQuorum, electQuorum } = quorumOf(configuration);
    const voters = this.voters(configuration);
    const well = voters.filter((n) => n.up && n.isVoter).length;
    return well >= Math.max(writeQuorum, electQuorum) && this.mayLose(configuration, null);
  }

  /** With `node` lost, too, fewer than Vw of the voters are. */
  private mayLose(configuration: Configuration, node: SimNode | null): boolean {
    const lost = this.voters(configuration).filter((other) => other.lost || other === node).length;
    return lost < configuration.writeQuorum;
  }

  play(): SimResult {
    this.newWriter();
    this.scheduleFault();
    if (this.options.gossip) this.scheduleGossip();
    this.world.run(this.options.duration);
    this.heal();
    this.converge();
    return {
      committed: this.checker.committed.length,
      epochs: this.writers.length,
      changes: this.tool.changes,
      faults: this.faults,
    };
  }

  private newWriter(): SimWriter {
    // A real compute asks around for the highest epoch; here some guess low, and two may guess the same.
    const seen = [...this.nodes.values()].map((n) => n.acceptor.state.promisedEpoch);
    const epoch = (this.world.chance(0.8) ? Math.max(...seen) : this.world.pick(seen)) + 1;
    // Started with what the manifest says, or, on a machine that nobody has told, with anything older.
    const isOld = this.world.chance(0.3) && this.before.length > 0;
    const configuration = isOld ? this.world.pick(this.before) : this.tool.configuration;
    const writer = new SimWriter(
      `writer-${this.writers.length + 1}`,
      configuration,
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
      'writer', 'writer', 'twoWriters', 'pause', 'resume', 'partition', 'join', 'join', 'zone', 'clock',
      'tool', 'tool', 'toolCrash',
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
    else if (kind === 'zone') this.loseZone();
    else if (kind === 'toolCrash') this.tool.crash();
    else if (kind === 'tool') this.tool.start();
    else if (kind === 'clock') {
      if (this.options.skew) world.skew(world.pick([node.id, writer.id, 'tool']), this.rate());
    } else {
      this.newWriter();
      if (kind === 'twoWriters') this.newWriter();
    }
  }

  private wipe(node: SimNode): void {
    // Of the last configurations, of which any may still be in use.
    const inUse = this.lastConfigurations;
    if (this.wipesLeft === 0 || !inUse.every((configuration) => this.mayLose(configuration, node))) return;
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

  /** Fire in one zone: all of its nodes end at once, and, as far as may be, so do their disks; then one more. */
  private loseZone(): void {
    const zone = `zone-${this.world.between(1, 3)}`;
    const { members } = this.tool.configuration;
    const there = members.filter((m) => m.zone === zone).map(({ id }) => this.nodes.get(id)!);
    const destroyed = this.world.chance(0.5);
    for (const node of [...there, this.world.pick([...this.nodes.values()])]) {
      if (destroyed) this.wipe(node);
      node.crash();
    }
  }

  /** The tool with a third of the voters on one side, all others and the writers so far on the other: what it hands out there must not come into force. */
  private strand(sides: Map<string, number>): void {
    const voters = votersOf(this.tool.configuration);
    for (const id of sides.keys()) sides.set(id, 0);
    sides.set(this.tool.id, 1);
    for (let n = Math.ceil(voters.length / 3); n > 0; n--) sides.set(this.world.pick(voters), 1);
  }

  /** The present one and the one before it, in which writers may be until this one is settled. */
  private get lastConfigurations(): Configuration[] {
    return [this.tool.configuration, ...this.before.slice(0, 1)];
  }

  private partition(): void {
    const sides = new Map<string, number>();
    for (const id of this.nodes.keys()) sides.set(id, this.world.between(0, 1));
    for (const { id } of [...this.writers, this.tool]) sides.set(id, this.world.between(0, 1));
    if (this.world.chance(0.4)) this.strand(sides);
    this.world.partition(sides);
  }

  private heal(): void {
    this.world.partition(new Map());
    this.world.faults = { dropRate: 0, duplicateRate: 0, delayMin: 1, delayTail: 3 };
    for (const node of this.nodes.values()) {
      node.restart();
      node.heal();
      this.world.skew(node.id, 1);
    }
    this.tool.start();
    this.tool.finish();
    for (const { id } of [...this.writers, this.tool]) this.world.skew(id, 1);
    for (const writer of this.writers) if (writer.paused) writer.resume();
  }

  /** With enough voters left, one writer gets through, everybody follows and votes, whatever was lost, and commits go on. */
  private converge(): void {
    this.world.run(this.world.now + 2_000);
    for (const writer of this.writers) writer.stopped = true;
    // Too many lost at once to elect a writer, and so to vote again: nothing is lost, nothing goes on either.
    if (!this.lastConfigurations.every((configuration) => this.canElect(configuration))) return;
    const before = this.checker.committed.length;
    const last = this.progress(before, (writer) => {
      const members = this.tool.configuration.members.map(({ id }) => this.nodes.get(id)!);
      const whole = members.every(
        (n) => n.isVoter && n.durableEpoch === writer.core.epoch && n.durableLog.length >= before,
      );
      return (
        whole && this.tool.isDone && writer.core.quorum.generation === this.tool.configuration.generation
      );
    });
    this.sameLogs(last);
    this.withoutAZone();
  }

  private canElect(configuration: Configuration): boolean {
    const { writeQuorum, electQuorum } = quorumOf(configuration);
    return this.voters(configuration).filter((n) => n.isVoter).length >= Math.max(writeQuorum, electQuorum);
  }

  /** A writer leads, commits well beyond `before`, and `more` holds. */
  private progress(before: number, more: (writer: SimWriter) => boolean): SimWriter {
    let last = this.newWriter();
    let patience = this.world.now + 1_000;
    let lookAt = 0;
    const done = (): boolean => {
      if (this.world.now < lookAt) return false;
      lookAt = this.world.now + LOOK_EVERY;
      const stuck = last.core.phase === 'electing' && this.world.now > patience;
      if (last.core.phase === 'fenced' || stuck) {
        last.stopped = true;
        last = this.newWriter();
        patience = this.world.now + 1_000;
      }
      return last.commitLength > before + 30 && more(last);
    };
    if (!this.world.run(this.world.now + 20_000, done))
      this.checker.fail(
        `no progress after healing: phase ${last.core.phase}, committed ${last.commitLength}, was ${before}; ` +
          `${JSON.stringify(this.tool.configuration)}; ` +
          [...this.nodes.values()]
            .map(
              (n) =>
                `${n.id}${n.isVoter ? '' : ' (learner)'} ${n.durableLog.length} ${n.acceptor.membership.generation}/${n.acceptor.membership.settled}`,
            )
            .join(', '),
      );
    last.stopped = false;
    return last;
  }

  /** 6/4/3 over three zones: writes go on while any one of them is gone, with a writer that is elected meanwhile. */
  private withoutAZone(): void {
    const { members, writeQuorum } = this.tool.configuration;
    const zone = this.world.pick(members).zone;
    const there = members.filter((m) => m.zone === zone);
    if (members.length !== 6 || writeQuorum !== 4 || there.length !== 2) return;
    for (const writer of this.writers) writer.stopped = true;
    for (const { id } of there) this.nodes.get(id)!.crash();
    this.progress(this.checker.committed.length, () => true);
  }

  /** Members hold what the writer wrote; a node that was removed may hold what nobody ever committed, but not as committed. */
  private sameLogs(writer: SimWriter): void {
    for (const node of this.nodes.values()) {
      const isMember = this.tool.configuration.members.some(({ id }) => id === node.id);
      const { scl, logEnd } = node.acceptor.state;
      if (scl > logEnd || (isMember && scl - BASE > writer.log.length))
        this.checker.fail(`${node.id} holds more than was written`);
      const end = isMember ? node.durableLog.length : node.acceptor.readableLsn - BASE;
      for (let i = 0; i < end; i++)
        if (node.durableLog[i] !== writer.log[i])
          this.checker.fail(`${node.id} differs from the writer at ${i}`);
    }
  }
}
