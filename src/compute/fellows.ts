import { setTimeout as sleep } from 'node:timers/promises';
import { hasEnded, isAlive, otherPrimary, primaryOf } from '../engine/computes/policy.js';
import { computeOfWriter, type ComputeRole } from '../engine/computes/types.js';
import type { Beacon } from './beacon.js';
import { knownQuorum } from './epoch-start.js';
import type { TermContext } from './term-start.js';
import { untilStopped } from './until-stopped.js';

/** How long a start waits to hear of other computes. */
const HEAR_MS = 2000;
/** How long a primary that is to hand over waits to hear that its successor runs: some beats, and less than commands wait for an answer. */
const HEAR_SUCCESSOR_MS = 1500;
/** How long a primary that hands over waits for a successor that lives, before it is the primary again. */
const SUCCESSION_MS = 20_000;
const LOOK_MS = 50;

/** What a compute knows of the others of its cluster, from what storage nodes answer to its beats. */
export class Fellows {
  /** Computes that were replicas, or our primary: one of them that fences us was promoted, and we become its replica. */
  private readonly members = new Set<string>();

  constructor(
    private readonly context: TermContext,
    private readonly beacon: Beacon,
  ) {}

  /** Whether this compute was ever one of several. */
  get known(): boolean {
    return this.members.size > 0;
  }

  /** Takes in what was answered; `role` is ours at present. */
  hear(role: ComputeRole): void {
    for (const other of this.beacon.computes())
      if (other.name !== this.context.config.name && (other.role === 'replica' || role === 'replica'))
        this.members.add(other.name);
  }

  /** Waits for the answers of a read quorum, but not for long. Throws as untilStopped. */
  async answered(stop: AbortSignal): Promise<void> {
    await untilStopped(this.beacon.answered(knownQuorum(this.context).readQuorum, HEAR_MS), stop);
  }

  /** Whether another primary lives, whose replica this compute then is. */
  hasPrimary(): boolean {
    const { config, log } = this.context;
    const other = otherPrimary(this.beacon.reports(), config.name, config.failover);
    if (other) log.warn({ primary: other.name, epoch: other.epoch }, 'another compute is the primary');
    return other !== null;
  }

  /** Whether `name` is a replica that runs. One that has just started may have said so to nobody but its command yet: it has a moment. */
  async follows(name: string): Promise<boolean> {
    const runs = (): boolean =>
      this.beacon.computes().some((c) => c.name === name && c.role === 'replica' && c.state === 'running');
    return this.beacon.heard(runs, HEAR_SUCCESSOR_MS);
  }

  /** Waits until there is a primary with a newer epoch than ours. False: `successor` has ended or did not come in time, or we stop. */
  async succeeded(successor: string, epoch: number, stop: AbortSignal): Promise<boolean> {
    const { config, log } = this.context;
    const deadline = performance.now() + SUCCESSION_MS;
    const ended = (): boolean => {
      const { readQuorum } = knownQuorum(this.context);
      return hasEnded(this.beacon.reports(), successor, readQuorum, config.failover);
    };
    while (performance.now() < deadline && !stop.aborted && !ended()) {
      const primary = primaryOf(this.beacon.computes());
      if (primary && primary.name !== config.name && primary.epoch > epoch && primary.state === 'running')
        return true;
      await untilStopped(sleep(LOOK_MS), stop);
    }
    log.error(
      { successor },
      `the successor ${ended() ? 'has ended' : 'did not come'}: this compute goes on as the primary`,
    );
    return false;
  }

  /** The newest epoch promised, as far as heard. */
  get newestEpoch(): number {
    return Math.max(0, ...this.beacon.reports().map(({ view }) => view.promisedEpoch));
  }

  /**
   * Whether an epoch above `epoch` was promised to another compute, which lives: two were promoted at the same time. The holder of the newest
   * promise never finds this, so of several just one goes on.
   */
  async overtaken(epoch: number): Promise<boolean> {
    const { config, log } = this.context;
    const newest = await this.newestPromise();
    if (newest.epoch <= epoch || newest.by === config.name) return false;
    const lives = this.beacon
      .computes()
      .some(
        (c) =>
          c.name === newest.by &&
          (c.role === 'primary' || c.state === 'promoting') &&
          isAlive(c, config.failover),
      );
    if (lives) log.warn(newest, 'another compute was promoted at the same time');
    return lives;
  }

  /** Whether the writer that the newest epoch was promised to is one of us. */
  async fencedByMember(): Promise<boolean> {
    const newest = await this.newestPromise();
    const follows = newest.by !== null && this.members.has(newest.by);
    this.context.log.warn(newest, follows ? 'fenced by another compute of this cluster' : 'fenced');
    return follows;
  }

  /** Asks all nodes. `by`: the compute, null when none is known. */
  private async newestPromise(): Promise<{ by: string | null; epoch: number }> {
    const { links } = this.context;
    const statuses = await Promise.allSettled(links.connected().map((client) => client.computes(HEAR_MS)));
    const told = statuses.flatMap((status) => (status.status === 'fulfilled' ? [status.value] : []));
    const newest = told.sort((a, b) => b.promisedEpoch - a.promisedEpoch)[0];
    return newest
      ? { by: computeOfWriter(newest.promisedTo), epoch: newest.promisedEpoch }
      : { by: null, epoch: 0 };
  }
}
