/**
 * What an operator could have seen, and when: asks the cluster's status, the nodes' gossip and the compute over and over, each in a loop of its
 * own, so that one that hangs holds up no other. None of it goes through the proxies.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { controlRequest } from '../../src/cluster/control-client.js';
import type { ClusterReport } from '../../src/cluster/status.js';
import { controlSocketPath } from '../../src/compute/control-path.js';
import type { ComputeStatus } from '../../src/compute/status.js';
import { parseLsn, type Lsn } from '../../src/engine/lsn.js';
import { GossipTool } from '../../src/inspect/gossip.js';
import { isDbError } from '../../src/engine/errors.js';
import { PRIMARY, type ChaosCluster } from './cluster.js';

const POLL_MS = 200;

export interface Detection {
  afterMs: number;
  /** status, gossip or compute, and what it said. */
  by: string;
}

/** Looks for the first word of something being wrong with any of `parties`, from now on until stopped. */
export class Watch {
  private readonly stopping = new AbortController();
  private readonly begun = performance.now();
  private readonly loops: Promise<unknown>;
  private first: Detection | null = null;
  /** Since when, of each line that was seen: the round's story. */
  readonly seen = new Map<string, number>();

  constructor(
    private readonly cluster: ChaosCluster,
    private readonly parties: readonly string[],
    /** Which lines count as detection. Null: any. */
    private readonly namedBy: RegExp | null = null,
  ) {
    this.loops = Promise.all([
      this.loop(() => this.status()),
      this.gossip(),
      this.loop(() => this.compute()),
    ]);
  }

  async stop(): Promise<Detection | null> {
    this.stopping.abort();
    await this.loops;
    return this.first;
  }

  private say(by: string, what: string): void {
    const line = `${by}: ${what}`;
    const afterMs = performance.now() - this.begun;
    if (!this.seen.has(line)) this.seen.set(line, afterMs);
    if (this.namedBy?.test(line) !== false) this.first ??= { afterMs, by: line };
  }

  private async loop(ask: () => Promise<void>): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      await ask();
      await sleep(POLL_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  private async status(): Promise<void> {
    const report = await this.cluster.base.status();
    for (const node of report.storage) {
      for (const { what, nodes, verdict } of node.scrub?.findings ?? [])
        if (nodes.some((id) => this.parties.includes(id)))
          this.say('status', `scrub of node ${node.id}: ${shorten(what)} ${verdict}`);
      if (!this.parties.includes(node.id)) continue;
      if (node.state !== 'running') this.say('status', `node ${node.id} ${node.state}`);
      if (node.problem !== null) this.say('status', `node ${node.id}: ${shorten(node.problem)}`);
    }
    if (!this.parties.includes(PRIMARY) && this.parties.length < report.storage.length) return;
    for (const compute of report.computes) {
      if (compute.state !== 'running') this.say('status', `compute ${compute.state}`);
      else if (compute.problem !== null) this.say('status', `compute: ${shorten(compute.problem)}`);
    }
  }

  private async gossip(): Promise<void> {
    const tool = new GossipTool(this.cluster.base.layout.root, undefined);
    try {
      await this.loop(async () => {
        for (const { id, view } of await tool.look())
          for (const member of view?.members ?? [])
            if (
              member.id !== id &&
              this.parties.includes(member.id) &&
              ['suspect', 'dead'].includes(member.state)
            )
              this.say('gossip', `node ${member.id} ${member.state}`);
      });
    } finally {
      tool.close();
    }
  }

  private async compute(): Promise<void> {
    const { socketDir } = this.cluster.base;
    try {
      const status = await controlRequest<ComputeStatus>(
        controlSocketPath(socketDir, PRIMARY),
        'GET',
        '/status',
        1000,
      );
      for (const { id, connected } of status.storage)
        if (!connected && (this.parties.includes(id) || this.parties.includes(PRIMARY)))
          this.say('compute', `node ${id} not connected`);
    } catch (err) {
      if (!isDbError(err)) throw err;
      if (this.parties.includes(PRIMARY)) this.say('compute', 'does not answer');
    }
  }
}

/** Positions change from one time to the next; what is wrong does not. */
function shorten(text: string): string {
  return text
    .replace(/[0-9A-F]+\/[0-9A-F]+/g, 'X/X')
    .replace(/(^| )\/\S+/g, '$1…')
    .replace(/\d+ (MiB|ms)/g, 'n $1')
    .replace(/\b(block|page) \d+/g, '$1 n')
    .replace(/\d+ of \d+ \(\d+ %\)/, 'n of n')
    .slice(0, 90);
}

/** What is not as it should be: empty when every node votes without a problem and has applied up to `target`, and the compute runs. */
export function ailments(report: ClusterReport, target: Lsn): string[] {
  const found: string[] = [];
  for (const node of report.storage) {
    const applied = node.applied === null ? 0 : parseLsn(node.applied);
    if (node.state !== 'running') found.push(`node ${node.id} is ${node.state}`);
    else if (node.voter !== true) found.push(`node ${node.id} is no voter (${node.problem})`);
    else if (node.problem !== null) found.push(`node ${node.id}: ${node.problem}`);
    else if (applied < target)
      found.push(`node ${node.id} has applied up to ${node.applied}, ${target} is committed`);
  }
  for (const compute of report.computes)
    if (compute.state !== 'running' || compute.problem !== null)
      found.push(`compute ${compute.name} is ${compute.state} (${compute.problem})`);
  return found;
}

/** Waits until nothing is wrong any more; gives how long that took. Rejects with what still is after the time. */
export async function healed(cluster: ChaosCluster, timeoutMs: number): Promise<number> {
  const begun = performance.now();
  let target: Lsn | null = null;
  for (;;) {
    const report = await cluster.base.status();
    if (report.volume.commitLsn !== null) target ??= parseLsn(report.volume.commitLsn);
    const found = target === null ? ['no node answers'] : ailments(report, target);
    if (found.length === 0) return performance.now() - begun;
    if (performance.now() - begun > timeoutMs)
      throw new Error(`not healed within ${timeoutMs / 1000} s: ${found.join('; ')}`);
    await sleep(POLL_MS);
  }
}
