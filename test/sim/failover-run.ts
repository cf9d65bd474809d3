/**
 * Computes and storage nodes in virtual time, with the real policy, watch and registry: computes that die, hang, are cut off and come back; nodes that
 * forget. What a compute does around them (an election, a start, a fence) is as short as its consequences allow.
 */
import { EventEmitter } from 'node:events';
import type { Beacon } from '../../src/compute/beacon.js';
import { FailoverWatch } from '../../src/compute/failover-watch.js';
import { silent } from '../compute/fake-storage.js';
import {
  DEFAULT_FAILOVER_TIMES as TIMES,
  otherPrimary,
  type NodeReport,
} from '../../src/engine/computes/policy.js';
import { ComputeRegistry } from '../../src/engine/computes/registry.js';
import { writerIdOf, type ComputesView, type Resignation } from '../../src/engine/computes/types.js';
import { lsn } from '../../src/engine/lsn.js';
import { knownCompute } from '../helpers/known-compute.js';
import { World } from './world.js';

export const BEAT = 250;
/** A connection that nothing comes over is given up after this. */
const DEAD = 10_000;
const BACKOFF_MAX = 2000;
const ELECTION_RETRY = 500;

export interface FailoverSimOptions {
  readonly seed: number;
  readonly nodes: number;
  readonly computes: number;
}

export class SimStorage {
  registry = new ComputeRegistry();
  up = true;
  /** Since when it has been up. */
  upSince = 0;
  promised = 1;
  promisedTo = '';

  constructor(readonly id: string) {}
}

interface Connection {
  readonly openedAt: number;
  heardAt: number;
  /** What is sent arrives in order. */
  arrivesAt: number;
}

type State = 'down' | 'starting' | 'running' | 'promoting' | 'stopped';

export class SimCompute {
  state: State = 'down';
  role: 'primary' | 'replica' = 'replica';
  /** Of its last term as a writer. */
  epoch = 0;
  resigned: Resignation = 'no';
  paused = false;
  /** Since when it has lived without a pause. */
  aliveSince = 0;
  runningSince = 0;
  /** Counts its lives and roles: what was begun in an earlier one comes to nothing. */
  life = 0;
  readonly connections = new Map<string, Connection>();
  readonly answers = new Map<
    string,
    { view: ComputesView; atMs: number; firstMs: number; via: Connection }
  >();
  private readonly beacon = new EventEmitter();
  private watch: FailoverWatch | null = null;

  constructor(
    readonly name: string,
    private readonly sim: FailoverSim,
    readonly priority: number,
    readonly failover: boolean,
  ) {}

  get isUp(): boolean {
    return this.state !== 'down' && this.state !== 'stopped';
  }

  /** A new process, as whatever the cluster's commands take it for. */
  start(role: 'primary' | 'replica'): void {
    const { world } = this.sim;
    this.life++;
    this.answers.clear();
    this.connections.clear();
    Object.assign(this, { state: 'starting', role, resigned: 'no', paused: false, aliveSince: world.now });
    this.beats(this.life);
    // It hears of others first.
    this.later(1000, () => {
      if (this.role === 'primary' && otherPrimary(this.reports(), this.name, TIMES)) this.role = 'replica';
      if (this.role === 'primary') this.elect();
      else this.follow();
    });
  }

  die(): void {
    this.life++;
    this.state = 'down';
    this.watch?.close();
    this.watch = null;
    for (const connection of this.connections.values()) this.sim.disconnected(this, connection);
    this.connections.clear();
  }

  /** In order: it says so to all that it reaches, then it ends. */
  stop(): void {
    if (this.role === 'primary') this.resigned = 'stopped';
    this.sayTo([...this.sim.nodes]);
    this.later(200, () => {
      this.die();
      this.state = 'stopped';
    });
  }

  reports(): NodeReport[] {
    const { now } = this.sim.world;
    return [...this.answers].map(([nodeId, { view, atMs, firstMs }]) => ({
      nodeId,
      sinceMs: now - atMs,
      heardForMs: atMs - firstMs,
      view,
    }));
  }

  /** Runs later in this life, and not while paused. */
  later(delay: number, run: () => void): void {
    const { life } = this;
    this.sim.world.after(delay, () => {
      if (life !== this.life) return;
      if (this.paused) this.later(50, run);
      else run();
    });
  }

  private beats(life: number): void {
    if (life !== this.life) return;
    this.sayTo([...this.sim.nodes]);
    if (this.state === 'running' && this.role === 'primary') this.lookIfFenced();
    this.later(BEAT, () => this.beats(this.life));
  }

  private sayTo(nodes: readonly SimStorage[]): void {
    const { world } = this.sim;
    for (const node of nodes) {
      const connection = this.connectionTo(node);
      if (!connection) continue;
      const beat = knownCompute(this.name, {
        role: this.role,
        state: this.state,
        epoch: this.role === 'primary' ? this.epoch : 0,
        priority: this.priority,
        failover: this.failover,
        resigned: this.resigned,
      });
      const { life } = this;
      connection.arrivesAt = Math.max(connection.arrivesAt, world.now + world.between(1, 30));
      world.after(connection.arrivesAt - world.now, () => {
        if (!this.sim.linked(this, node) || this.connections.get(node.id) !== connection) return;
        node.registry.beat(beat, connection, world.now);
        const view = this.sim.viewOf(node);
        world.after(world.between(1, 30), () => {
          if (life === this.life && this.sim.linked(this, node)) this.heard(node, connection, view);
        });
      });
    }
  }

  private heard(node: SimStorage, via: Connection, view: ComputesView): void {
    if (this.paused) {
      this.later(1, () => this.heard(node, via, view));
      return;
    }
    const { now } = this.sim.world;
    via.heardAt = now;
    const before = this.answers.get(node.id);
    this.answers.set(node.id, { view, atMs: now, firstMs: before?.via === via ? before.firstMs : now, via });
    this.beacon.emit('news');
  }

  /** Null while there is none; one that is dead is found to be so, and another one is tried now and then. */
  private connectionTo(node: SimStorage): Connection | null {
    const { world } = this.sim;
    const known = this.connections.get(node.id);
    if (known && world.now - known.heardAt <= DEAD) return known;
    if (known) {
      this.sim.disconnected(this, known);
      this.connections.delete(node.id);
    }
    if (!this.sim.linked(this, node) || !world.chance(BEAT / BACKOFF_MAX)) return null;
    const opened = { openedAt: world.now, heardAt: world.now, arrivesAt: world.now };
    this.connections.set(node.id, opened);
    return opened;
  }

  private follow(): void {
    this.state = 'starting';
    this.watch = new FailoverWatch(
      this.beaconForWatch(),
      {
        name: this.name,
        quorum: () => ({ voters: this.sim.nodes.map(({ id }) => id), readQuorum: this.sim.readQuorum }),
        times: TIMES,
        log: silent,
        now: () => this.sim.world.now,
      },
      () => this.promoted(),
    );
    this.later(this.sim.world.between(300, 1500), () => {
      if (this.state === 'starting') this.state = 'running';
    });
  }

  private beaconForWatch(): Beacon {
    const beacon: unknown = Object.assign(this.beacon, { reports: () => this.reports() });
    return beacon as Beacon;
  }

  private promoted(): void {
    this.sim.onPromoted(this);
    this.watch = null;
    this.state = 'promoting';
    this.sayTo([...this.sim.nodes]);
    this.later(this.sim.world.between(20, 200), () => {
      this.role = 'primary';
      this.elect();
    });
  }

  /** A read quorum of nodes promises; then a start. Whoever was promised more meanwhile, and lives, goes first. */
  private elect(claimedAbove = this.sim.newestPromise(this)): void {
    const { world, readQuorum } = this.sim;
    const nodes = this.sim.nodes.filter(
      (node) => this.connections.has(node.id) && this.sim.linked(this, node),
    );
    if (nodes.length < readQuorum) {
      this.later(ELECTION_RETRY, () =>
        this.overtaken(claimedAbove) ? this.giveWay() : this.elect(claimedAbove),
      );
      return;
    }
    const epoch = Math.max(...nodes.map(({ promised }) => promised)) + 1;
    for (const node of nodes)
      Object.assign(node, { promised: epoch, promisedTo: writerIdOf(this.name, String(epoch)) });
    this.later(world.between(200, 1500), () => {
      if (this.sim.newestPromise(this) > epoch) return this.giveWay();
      Object.assign(this, { epoch, state: 'running', runningSince: world.now });
      this.sim.elections++;
      return;
    });
  }

  private overtaken(claimedAbove: number): boolean {
    if (this.sim.newestPromise(this) <= claimedAbove) return false;
    return otherPrimary(this.reports(), this.name, TIMES) !== null;
  }

  private giveWay(): void {
    this.life++;
    this.role = 'replica';
    this.state = 'starting';
    this.beats(this.life);
    this.follow();
  }

  private lookIfFenced(): void {
    if (this.sim.newestPromise(this) > this.epoch) this.giveWay();
  }
}

export class FailoverSim {
  readonly world: World;
  readonly nodes: SimStorage[];
  readonly computes: SimCompute[];
  readonly readQuorum: number;
  elections = 0;
  promotions: { at: number; name: string }[] = [];
  /** Since when `compute node` cannot talk; absent: it can. */
  private readonly cuts = new Map<string, number>();
  private readonly mended = new Map<string, number>();

  constructor(options: FailoverSimOptions) {
    this.world = new World(options.seed, { dropRate: 0, duplicateRate: 0, delayMin: 1, delayTail: 1 });
    this.nodes = Array.from({ length: options.nodes }, (_, i) => new SimStorage(String(i + 1)));
    this.readQuorum = options.nodes - (Math.floor(options.nodes / 2) + 1) + 1;
    this.computes = Array.from(
      { length: options.computes },
      (_, i) => new SimCompute(`c${i}`, this, this.world.pick([50, 50, 80]), i < 2 || this.world.chance(0.7)),
    );
    this.computes.forEach((compute, i) => compute.start(i === 0 ? 'primary' : 'replica'));
  }

  linked(compute: SimCompute, node: SimStorage): boolean {
    return node.up && compute.isUp && !this.cuts.has(`${compute.name} ${node.id}`);
  }

  /** For how long, up to now, the compute has reached the node without a break. */
  linkedFor(compute: SimCompute, node: SimStorage): number {
    if (!this.linked(compute, node) || compute.paused || !this.connectedTo(compute, node)) return 0;
    const since = Math.max(
      node.upSince,
      compute.aliveSince,
      compute.connections.get(node.id)!.openedAt,
      this.mended.get(`${compute.name} ${node.id}`) ?? 0,
    );
    return this.world.now - since;
  }

  private connectedTo(compute: SimCompute, node: SimStorage): boolean {
    return compute.connections.has(node.id);
  }

  cut(compute: SimCompute, node: SimStorage, silently: boolean): void {
    this.cuts.set(`${compute.name} ${node.id}`, this.world.now);
    const connection = compute.connections.get(node.id);
    if (silently || !connection) return;
    compute.connections.delete(node.id);
    node.registry.disconnected(connection);
  }

  mend(compute: SimCompute, node: SimStorage): void {
    if (this.cuts.delete(`${compute.name} ${node.id}`))
      this.mended.set(`${compute.name} ${node.id}`, this.world.now);
  }

  restartNode(node: SimStorage, afterMs: number): void {
    node.up = false;
    for (const compute of this.computes) compute.connections.delete(node.id);
    this.world.after(afterMs, () =>
      Object.assign(node, { up: true, upSince: this.world.now, registry: new ComputeRegistry() }),
    );
  }

  disconnected(compute: SimCompute, connection: Connection): void {
    for (const node of this.nodes)
      if (!this.cuts.has(`${compute.name} ${node.id}`)) node.registry.disconnected(connection);
  }

  viewOf(node: SimStorage): ComputesView {
    return {
      promisedEpoch: node.promised,
      promisedTo: node.promisedTo,
      commitLsn: lsn(1),
      computes: node.registry.list(this.world.now),
    };
  }

  /** The newest promise of the nodes that this compute reaches now. */
  newestPromise(compute: SimCompute): number {
    return Math.max(0, ...this.nodes.filter((n) => this.linked(compute, n)).map((n) => n.promised));
  }

  /** The writer, as an outsider sees it. */
  get primary(): SimCompute | null {
    const running = this.computes.filter((c) => c.role === 'primary' && c.state === 'running');
    return running.sort((a, b) => b.epoch - a.epoch)[0] ?? null;
  }

  onPromoted(by: SimCompute): void {
    this.promotions.push({ at: this.world.now, name: by.name });
    const { primary, world } = this;
    if (!primary || primary.paused) return;
    // So many nodes hear it that no read quorum can have missed it.
    const grace = 2 * TIMES.silentMs + DEAD + BACKOFF_MAX;
    const hearing = this.nodes.filter((node) => this.linkedFor(primary, node) > grace).length;
    if (hearing > this.nodes.length - this.readQuorum && world.now - primary.runningSince > grace)
      throw new Error(
        `${by.name} was promoted at ${world.now} although ${hearing} of ${this.nodes.length} nodes hear ${primary.name}`,
      );
  }
}
