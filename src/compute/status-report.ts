import { formatLsn, INVALID_LSN } from '../engine/lsn.js';
import type { ComputeBeat, ComputeRole, Resignation } from '../engine/computes/types.js';
import { lagBytes, type ReplicaTerm } from './replica-term.js';
import type { ComputeState, ComputeStatus, ReplicaStatus } from './status.js';
import type { Term } from './term.js';
import { knownQuorum } from './epoch-start.js';
import type { TermContext } from './term-start.js';

/** Without any commit for this long, although some wait, the compute is stalled. */
const STALLED_MS = 3000;

/** What a compute daemon is at a moment. */
export interface Present {
  role: ComputeRole;
  state: ComputeState;
  term: Term | null;
  replica: ReplicaTerm | null;
  problem: string | null;
}

/** GET /status. */
export function statusReport(context: TermContext, present: Present): ComputeStatus {
  const { config, links, reader } = context;
  const { term, replica } = present;
  const parts = term?.parts;
  const shares = new Map(reader.shares().map((share) => [share.nodeId, share]));
  const progress = new Map(parts?.writer.nodes().map((node) => [node.nodeId, node]) ?? []);
  const { writeQuorum, voters } = knownQuorum(context);
  const up = links.connected().filter(({ nodeId }) => voters.includes(nodeId)).length;
  const tooFew = present.role === 'primary' && up < writeQuorum;
  const stalled = present.state === 'running' && (tooFew || (parts?.writer.stalledForMs ?? 0) > STALLED_MS);
  const { throttle } = parts ?? {};
  const throttled = present.state === 'running' && (throttle?.isActive(performance.now()) ?? false);
  const { lag = 0, rate = Infinity, throttledMs = 0 } = throttle ?? {};
  const { agent, postgres, point } = parts ?? replica?.parts ?? {};
  return {
    name: config.name,
    role: present.role,
    pid: process.pid,
    postgresPid: postgres?.running ? postgres.pid : null,
    state: stalled ? 'stalled' : throttled ? 'throttled' : present.state,
    epoch: parts?.writer.epoch ?? (replica ? replica.parts.relay.epoch : null),
    startLsn: point ? formatLsn(point.lsn) : null,
    commitLsn: parts ? formatLsn(parts.writer.commitLsn) : null,
    walBytes: parts?.shipper.walBytes ?? 0,
    sentBytes: parts?.writer.sentBytes ?? 0,
    pages: {
      requests: agent?.counters.requests ?? 0,
      blocksServed: agent?.counters.blocksServed ?? 0,
      blocksFetched: agent?.counters.blocksFetched ?? 0,
      blocksPrefetched: agent?.counters.blocksPrefetched ?? 0,
      prefetchHits: agent?.counters.prefetchHits ?? 0,
      errors: agent?.counters.errors ?? 0,
    },
    storage: links.endpoints.map(({ id }) => {
      const node = progress.get(id);
      return {
        id,
        connected: links.client(id) !== undefined,
        scl: node ? formatLsn(node.scl) : null,
        applied: node?.applied ? formatLsn(node.applied) : null,
        reads: shares.get(id)?.reads ?? 0,
        latencyMs: Math.round((shares.get(id)?.latencyMs ?? 0) * 100) / 100,
      };
    }),
    backPressure: {
      lagBytes: parts?.writer.progressOfPages?.lag ?? lag,
      bytesPerSecond: rate === Infinity ? null : Math.round(rate),
      throttledSeconds: throttledMs / 1000,
    },
    replica: replica ? replicaStatus(context, replica) : null,
    problem: stalled
      ? `${up} of ${voters.length} storage nodes are connected, ${writeQuorum} ${tooFew ? 'are needed' : 'must hold the log, and fewer do'}: commits wait`
      : throttled
        ? `the storage nodes are ${mib(lag)} behind with their pages: the log grows by ${mib(rate)} a second at most`
        : present.problem,
  };
}

function mib(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}

function replicaStatus({ config }: TermContext, replica: ReplicaTerm): ReplicaStatus {
  const { received, replayed, lagMs, feedback } = replica.progress;
  const { relay } = replica.parts;
  return {
    receivedLsn: formatLsn(received),
    replayLsn: formatLsn(replayed),
    lagBytes: lagBytes(replica),
    lagMs: Math.round(lagMs),
    xmin: feedback.xmin,
    relayedBytes: relay.bytes,
    relayNode: relay.node,
    failover: config.failover.enabled,
    priority: config.failover.priority,
  };
}

/** What it tells the storage nodes of itself. */
export function beatOf(
  context: TermContext,
  present: Present,
  more: Pick<ComputeBeat, 'checkpointAfter' | 'resigned' | 'successor'> & { lastEpoch: number },
): ComputeBeat {
  const { config } = context;
  const writer = present.term?.parts.writer;
  const progress = present.replica?.progress;
  const resigned: Resignation = more.resigned;
  return {
    name: config.name,
    role: present.role,
    state: present.state,
    epoch: present.role === 'primary' ? more.lastEpoch : (present.replica?.parts.relay.epoch ?? 0),
    host: config.host,
    port: config.port,
    receivedLsn: writer?.commitLsn ?? progress?.received ?? INVALID_LSN,
    replayLsn: writer?.commitLsn ?? progress?.replayed ?? INVALID_LSN,
    lagMs: Math.min(Math.round(progress?.lagMs ?? 0), 0xffff_ffff),
    priority: config.failover.priority,
    failover: config.failover.enabled,
    xmin: progress?.feedback.xmin ?? 0,
    catalogXmin: progress?.feedback.catalogXmin ?? 0,
    checkpointAfter: more.checkpointAfter,
    resigned,
    successor: more.successor,
  };
}
