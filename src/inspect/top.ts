/** What `aurora top` shows: a cluster's state, and what happened in it since the time before. */
import { controlRequest } from '../cluster/control-client.js';
import { Manifest, type ComputeInfo, type VolumeInfo } from '../cluster/manifest.js';
import { leaseOf } from '../cluster/status.js';
import { controlSocketPath } from '../compute/control-path.js';
import type { ComputeStatus } from '../compute/status.js';
import { isDbError } from '../engine/errors.js';
import { formatLsn, parseLsn } from '../engine/lsn.js';
import type { NodeStatus } from '../net/node-status.js';
import { ASK_TIMEOUT_MS, NodeClients, type NodeAnswer } from './node-clients.js';
import { ServerSampler, type ServerSample } from '../cluster/server-counters.js';

/** One storage node. Rates are per second since the sample before, null in the first one. */
export interface TopNode {
  id: string;
  address: string;
  /** running, draining, or down: it could not be asked. */
  state: string;
  voter: boolean | null;
  epoch: number | null;
  scl: string | null;
  applied: string | null;
  /** History before this LSN is not kept. */
  gcLsn: string | null;
  /** Committed log that it lacks, and log that it has but has not made pages of. */
  lagBytes: number | null;
  applyLagBytes: number | null;
  logBytesPerSecond: number | null;
  recordsPerSecond: number | null;
  pagesPerSecond: number | null;
  /** Share of the time that ingest was at work. */
  ingestBusy: number | null;
  /** The computes' reads: how many, this node's share of them in the interval, and their average latency. */
  readsPerSecond: number | null;
  readShare: number | null;
  readLatencyMs: number | null;
  logBytes: number | null;
  pagesBytes: number | null;
  freeBytes: number | null;
  problem: string | null;
}

export interface TopCompute {
  name: string;
  role: string;
  /** As in `aurora status`; stopped: it could not be asked. */
  state: string;
  port: number;
  epoch: number | null;
  startLsn: string | null;
  commitLsn: string | null;
  /** Commits and rollbacks of all databases. */
  commitsPerSecond: number | null;
  rollbacksPerSecond: number | null;
  /** From the local flush of the newest commits to the write quorum's acknowledgement; null while nothing is written. */
  commitLatencyMs: number | null;
  walBytesPerSecond: number | null;
  /** Share of block reads answered by shared buffers in the interval; null without any. */
  cacheHitRatio: number | null;
  /** Blocks that came from storage. */
  blocksFetchedPerSecond: number | null;
  sessions: number | null;
  activeSessions: number | null;
  /** Of a replica: committed log that it has not replayed, and for how long the oldest of that has waited. */
  replayLsn: string | null;
  lagBytes: number | null;
  lagMs: number | null;
  /** Storage keeps history for it from here on, and how much log that is; null without a lease. */
  leaseLsn: string | null;
  leaseBytes: number | null;
  problem: string | null;
}

export interface TopReport {
  at: string;
  /** Since the sample before; null in the first. */
  intervalMs: number | null;
  directory: string;
  volume: {
    id: string;
    copies: number;
    writeQuorum: number;
    readQuorum: number;
    epoch: number | null;
    commitLsn: string | null;
    appliedLsn: string | null;
  };
  storage: TopNode[];
  computes: TopCompute[];
}

interface ComputeSample {
  info: ComputeInfo;
  status: ComputeStatus | null;
  problem: string | null;
  server: ServerSample | null;
}

interface Sample {
  atMs: number;
  nodes: NodeAnswer<NodeStatus>[];
  computes: ComputeSample[];
}

export class TopTool {
  private readonly nodes: NodeClients;
  private readonly servers = new Map<string, ServerSampler>();
  private before: Sample | null = null;

  /** Throws CLUSTER_MISSING. */
  constructor(root: string) {
    this.nodes = new NodeClients(root);
  }

  /** The state now. Without a storage node or a compute that answers it says so, and does not throw. */
  async look(): Promise<TopReport> {
    const { volume, computes } = this.manifest();
    const [nodes, sampled] = await Promise.all([
      this.nodes.look((client) => client.status(ASK_TIMEOUT_MS)),
      Promise.all(computes.map((compute) => this.askCompute(volume, compute))),
    ]);
    const sample: Sample = { atMs: performance.now(), nodes, computes: sampled };
    const report = reportOf(this.nodes.layout.root, volume, sample, this.before);
    this.before = sample;
    return report;
  }

  /** As look(). Throws INSPECT_NO_NODE when nothing of the cluster runs. */
  async first(): Promise<TopReport> {
    await this.nodes.ask((client) => client.status(ASK_TIMEOUT_MS));
    return this.look();
  }

  async close(): Promise<void> {
    this.nodes.close();
    await Promise.all([...this.servers.values()].map((server) => server.close()));
  }

  private manifest(): { volume: VolumeInfo; computes: ComputeInfo[] } {
    const manifest = Manifest.open(this.nodes.layout);
    try {
      return { volume: manifest.volume, computes: manifest.computes };
    } finally {
      manifest.close();
    }
  }

  private async askCompute(volume: VolumeInfo, info: ComputeInfo): Promise<ComputeSample> {
    const server = this.servers.get(info.name) ?? new ServerSampler('aurora top');
    this.servers.set(info.name, server);
    const socket = controlSocketPath(volume.socketDir, info.name);
    try {
      const status = await controlRequest<ComputeStatus>(socket, 'GET', '/status', ASK_TIMEOUT_MS);
      const at = { host: volume.socketDir, port: info.port, user: volume.superuser };
      return {
        info,
        status,
        problem: null,
        server: status.postgresPid === null ? null : await server.look(at),
      };
    } catch (err) {
      if (!isDbError(err)) throw err;
      return { info, status: null, problem: err.message, server: null };
    }
  }
}

function reportOf(directory: string, volume: VolumeInfo, now: Sample, before: Sample | null): TopReport {
  const live = now.nodes.flatMap(({ value }) => (value ? [value] : []));
  const highest = (pick: (status: NodeStatus) => number): number | null =>
    live.length === 0 ? null : Math.max(...live.map(pick));
  // A compute knows of a commit first; a node hears of it with the next message.
  const told = now.computes.map(({ status }) => (status?.commitLsn ? parseLsn(status.commitLsn) : 0));
  const commit = highest((status) => Math.max(status.commitLsn, ...told));
  const text = (lsn: number | null): string | null => (lsn === null ? null : formatLsn(lsn));
  const reads = readsOf(now, before);
  return {
    at: new Date().toISOString(),
    intervalMs: before === null ? null : Math.round(now.atMs - before.atMs),
    directory,
    volume: {
      id: volume.volumeId,
      copies: volume.copies,
      writeQuorum: volume.writeQuorum,
      readQuorum: volume.readQuorum,
      epoch: highest((status) => status.promisedEpoch),
      commitLsn: text(commit),
      appliedLsn: text(highest((status) => status.appliedLsn)),
    },
    storage: now.nodes.map((answer) => nodeReport(answer, commit ?? 0, reads, now, before)),
    computes: now.computes.map((compute) =>
      computeReport(compute, now, before, leaseOf(compute.info.name, live), commit),
    ),
  };
}

/** The difference per second of a counter; null without two values, or when the process that counts began anew. */
function rateOf(
  now: Sample,
  before: Sample | null,
): (to: number | undefined, from: number | undefined) => number | null {
  const seconds = before === null ? 0 : (now.atMs - before.atMs) / 1000;
  return (to, from) => {
    if (to === undefined || from === undefined || to < from || seconds <= 0) return null;
    return Math.round(((to - from) / seconds) * 1000) / 1000;
  };
}

function nodeReport(
  { id, address, value, problem }: NodeAnswer<NodeStatus>,
  commit: number,
  reads: Reads,
  now: Sample,
  before: Sample | null,
): TopNode {
  const earlier = before?.nodes.find((node) => node.id === id)?.value ?? null;
  const rate = rateOf(now, before);
  const metric = (name: string): number | null =>
    earlier?.pid === value?.pid ? rate(value?.metrics[name], earlier?.metrics[name]) : null;
  const disk = value?.vacuum.disk;
  return {
    id,
    address,
    state: value?.state ?? 'down',
    voter: value?.voter ?? null,
    epoch: value?.promisedEpoch ?? null,
    scl: value ? formatLsn(value.scl) : null,
    applied: value ? formatLsn(value.appliedLsn) : null,
    gcLsn: value ? formatLsn(value.gcLsn) : null,
    lagBytes: value ? Math.max(0, commit - value.scl) : null,
    applyLagBytes: value ? Math.max(0, Math.min(commit, value.scl) - value.appliedLsn) : null,
    logBytesPerSecond: metric('logAppendedBytes'),
    recordsPerSecond: metric('recordsIngested'),
    pagesPerSecond: metric('pagesServed'),
    ingestBusy: metric('ingestBusySeconds'),
    readsPerSecond: reads.perSecond(id),
    readShare: reads.share(id),
    readLatencyMs: reads.latencyMs(id),
    logBytes: disk?.logBytes ?? null,
    pagesBytes: disk?.pagesBytes ?? null,
    freeBytes: disk?.freeBytes ?? null,
    problem: value ? nodeProblem(value) : problem,
  };
}

/** In a few words; `aurora status` says more. */
function nodeProblem({ ingestError, writeError, damaged, voter, learnerReason }: NodeStatus): string | null {
  if (writeError !== null) return `cannot write its log: ${writeError}`;
  if (ingestError) return `ingest stopped at ${formatLsn(ingestError.lsn)}: ${ingestError.message}`;
  if (damaged.length > 0) return `log damaged at ${formatLsn(damaged[0]!.begin)}`;
  return voter ? null : `learner: ${learnerReason ?? 'not told why'}`;
}

interface Reads {
  perSecond(id: string): number | null;
  share(id: string): number | null;
  latencyMs(id: string): number | null;
}

/** The reads of all computes, by storage node. */
function readsOf(now: Sample, before: Sample | null): Reads {
  const perNode = new Map<string, { rate: number; latency: number; weight: number }>();
  let known = false;
  for (const { info, status } of now.computes) {
    const earlier = before?.computes.find((compute) => compute.info.name === info.name)?.status;
    for (const { id, reads, latencyMs } of status?.storage ?? []) {
      const sums = perNode.get(id) ?? { rate: 0, latency: 0, weight: 0 };
      const from = earlier?.storage.find((node) => node.id === id)?.reads;
      const rate = earlier?.pid === status?.pid ? rateOf(now, before)(reads, from) : null;
      if (rate !== null) {
        known = true;
        sums.rate += rate;
      }
      if (reads > 0) {
        const weight = Math.max(rate ?? 0, 1);
        sums.latency += latencyMs * weight;
        sums.weight += weight;
      }
      perNode.set(id, sums);
    }
  }
  const total = [...perNode.values()].reduce((sum, { rate }) => sum + rate, 0);
  return {
    perSecond: (id) => (known ? (perNode.get(id)?.rate ?? 0) : null),
    share: (id) => (known && total > 0 ? (perNode.get(id)?.rate ?? 0) / total : null),
    latencyMs: (id) => {
      const sums = perNode.get(id);
      return sums && sums.weight > 0 ? Math.round((sums.latency / sums.weight) * 100) / 100 : null;
    },
  };
}

function computeReport(
  { info, status, problem, server }: ComputeSample,
  now: Sample,
  before: Sample | null,
  leaseLsn: string | null,
  commit: number | null,
): TopCompute {
  const earlier = before?.computes.find((compute) => compute.info.name === info.name);
  const rate = rateOf(now, before);
  // A new term counts from zero again, a new PostgreSQL too.
  const sameTerm = status !== null && earlier?.status?.postgresPid === status.postgresPid;
  const was = sameTerm ? earlier?.server : null;
  const hits = server && was ? server.blocksHit - was.blocksHit : 0;
  const misses = server && was ? server.blocksRead - was.blocksRead : 0;
  return {
    name: info.name,
    role: status?.role ?? info.role,
    state: status?.state ?? 'stopped',
    port: info.port,
    epoch: status?.epoch ?? null,
    startLsn: status?.startLsn ?? null,
    commitLsn: status?.commitLsn ?? null,
    commitsPerSecond: rate(server?.commits, was?.commits),
    rollbacksPerSecond: rate(server?.rollbacks, was?.rollbacks),
    commitLatencyMs: server?.commitLatencyMs ?? null,
    walBytesPerSecond: sameTerm ? rate(status?.walBytes, earlier?.status?.walBytes) : null,
    cacheHitRatio: hits + misses > 0 ? hits / (hits + misses) : null,
    blocksFetchedPerSecond: sameTerm
      ? rate(status?.pages.blocksFetched, earlier?.status?.pages.blocksFetched)
      : null,
    sessions: server?.sessions ?? null,
    activeSessions: server?.activeSessions ?? null,
    replayLsn: status?.replica?.replayLsn ?? null,
    lagBytes: status?.replica?.lagBytes ?? null,
    lagMs: status?.replica?.lagMs ?? null,
    leaseLsn,
    leaseBytes: leaseLsn === null || commit === null ? null : Math.max(0, commit - parseLsn(leaseLsn)),
    problem: status?.problem ?? problem ?? null,
  };
}
