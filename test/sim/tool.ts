import { defaultQuorum } from '../../src/engine/quorum/config.js';
import { checkStep, quorumOf, votersOf } from '../../src/engine/quorum/membership.js';
import type { Configuration, Member } from '../../src/engine/quorum/membership.js';
import type { Configured, ToNode } from './messages.js';
import type { World } from './world.js';

const TICK = 60;

export interface ToolHooks {
  /** A new, empty node begins to exist. */
  newNode(id: string): void;
  /** Whether enough of these voters are up, vote and are not lost. */
  isSound(configuration: Configuration): boolean;
  post(node: string, message: ToNode): void;
  nodeIds(): readonly string[];
  /** The next generation is in the manifest. */
  handsOut(former: Configuration): void;
}

/**
 * Whoever changes the membership: a manifest that is durable at each change, and a command that may die at any point and is run again. It hands out the
 * next generation only when a node has told that the present one is settled, and knows nothing else.
 */
export class SimTool {
  readonly id = 'tool';
  /** The manifest: outlives the command. */
  configuration: Configuration;
  changes = 0;
  /** False: begins nothing new. */
  private busy = true;
  private made: number;
  private running = true;
  /** What nodes have told since the command was started. */
  private heard = new Map<string, Configured>();

  constructor(
    private readonly world: World,
    initial: Configuration,
    private readonly sizes: { readonly min: number; readonly max: number },
    private readonly rates: { readonly changeRate: number; readonly tellRate: number },
    private readonly hooks: ToolHooks,
  ) {
    this.configuration = initial;
    this.made = initial.members.length;
    this.tick();
  }

  /** kill -9 of the command; it is run again some time later. */
  crash(): void {
    this.running = false;
    this.heard.clear();
  }

  start(): void {
    this.running = true;
  }

  /** What was begun is brought to its end, and nothing else. */
  finish(): void {
    this.busy = false;
  }

  receive(node: string, told: Configured): void {
    if (this.running) this.heard.set(node, told);
  }

  get isSettled(): boolean {
    return [...this.heard.values()].some(({ settled }) => settled >= this.configuration.generation);
  }

  /** All members have a vote, and the last change is settled. */
  get isDone(): boolean {
    return this.isSettled && this.configuration.members.every(({ voter }) => voter);
  }

  private tick(): void {
    this.world.timer(this.id, TICK * (0.5 + this.world.random()), () => this.tick());
    if (!this.running) return;
    const { configuration } = this;
    for (const node of this.hooks.nodeIds())
      if (this.world.chance(this.rates.tellRate))
        this.hooks.post(node, { kind: 'configure', configuration, settled: this.isSettled ? configuration.generation : 0 }); // prettier-ignore
    if (this.isSettled) this.next();
  }

  private next(): void {
    const { configuration, world } = this;
    const { members } = configuration;
    const joining = members.find(({ voter }) => !voter);
    if (joining) {
      if (this.heard.get(joining.id)?.isVoter)
        this.step(members.map((m) => (m === joining ? { ...m, voter: true } : m)));
      else if (this.busy && world.chance(0.02)) this.step(members.filter((m) => m !== joining));
      return;
    }
    if (!this.busy || !world.chance(this.rates.changeRate)) return;
    const count = votersOf(configuration).length;
    if (count < this.sizes.max && (count <= this.sizes.min || world.chance(0.5))) {
      const id = `node-${this.made + 1}`;
      if (!this.step([...members, { ...this.place(), id }])) return;
      this.made++;
      this.hooks.newNode(id);
    } else if (count > this.sizes.min) {
      const gone = world.pick(members);
      this.step(members.filter((m) => m !== gone));
    }
  }

  /** In the zone with the fewest. */
  private place(): Omit<Member, 'id'> {
    const zones = [...new Set(this.configuration.members.map(({ zone }) => zone))];
    const count = (zone: string): number => this.configuration.members.filter((m) => m.zone === zone).length;
    const zone = zones.sort((a, b) => count(a) - count(b))[0]!;
    return { host: 'h', port: 1, zone, voter: false };
  }

  private step(members: readonly Member[]): boolean {
    const voters = members.filter(({ voter }) => voter).length;
    const next: Configuration = {
      generation: this.configuration.generation + 1,
      members,
      ...defaultQuorum(voters),
    };
    quorumOf(next);
    checkStep(this.configuration, next);
    if (!this.hooks.isSound(next)) return false;
    this.hooks.handsOut(this.configuration);
    this.configuration = next;
    this.changes++;
    return true;
  }
}
