import { errorMessage } from '../engine/errors.js';
import { formatLsn, type Lsn } from '../engine/lsn.js';
import type { DiskUse, NodeStatus, ScrubFinding, ScrubStatus } from '../net/node-status.js';
import { StorageClient } from '../net/storage-client.js';
import { controlSocketPath } from '../compute/control-path.js';
import type { ComputeStatus } from '../compute/status.js';
import { controlRequest } from './control-client.js';
import { runningPid } from './daemon-process.js';
import { endpoints, type Endpoints } from './endpoints.js';
import { clusterLayout, type ClusterLayout } from './layout.js';
import {
  Manifest,
  type ComputeInfo,
  type MembershipInfo,
  type StorageNodeInfo,
  type VolumeInfo,
} from './manifest.js';
import { computeDaemonName, storageDaemonName } from './start.js';
import { toolAccess, type ToolAccess } from './tls.js';

const ASK_TIMEOUT_MS = 3000;

export interface StorageNodeReport {
  id: string;
  host: string;
  port: number;
  /** Failure domain; '' when there are none. */
  zone: string;
  /** voter, joining (without a vote yet), or leaving (taken out, and not stopped yet). */
  member: 'voter' | 'joining' | 'leaving';
  pid: number | null;
  /** running, draining, down, or unreachable (a process is there but does not answer). */
  state: string;
  voter: boolean | null;
  scl: string | null;
  applied: string | null;
  commit: string | null;
  epoch: number | null;
  /** History before this LSN is not kept any more. */
  gcLsn: string | null;
  /** How much history the node keeps: so long, but no more than so many bytes of log. */
  retention: { timeMs: number; bytes: number } | null;
  /** Room that the node takes up, and that is left where it is, in bytes. */
  disk: DiskUse | null;
  /** Why the node does not do all that it should: learner reason, ingest error, damage; or null. */
  problem: string | null;
  /** A learner on its way to vote again after it lost its disk, or a part of it: how far it has come. */
  rebuild: {
    /** copying, following (the log, up to where it may vote), or waiting (for a peer). */
    state: string;
    peer: string;
    lsn: string;
    pagesDone: number;
    pagesTotal: number;
    copiedBytes: number;
    lastError: string | null;
  } | null;
  /** The record that the node cannot decode or replay: its pages end before it, while the log goes on. */
  ingestError: { code: string; lsn: string; message: string } | null;
  /** The comparison of the node's pages with its peers', since it started. */
  scrub: ScrubReport | null;
  /** With redo_verify: pages compared with PostgreSQL's since the node started, and how many were different. */
  redoVerify: { compared: number; mismatched: number } | null;
}

type FindingReport = Omit<ScrubFinding, 'lsn'> & { lsn: string };
export type ScrubReport = Omit<ScrubStatus, 'findings' | 'disputed'> & {
  disputed: FindingReport[];
  findings: FindingReport[];
};

export interface ComputeReport {
  name: string;
  role: string;
  pid: number | null;
  postgresPid: number | null;
  host: string;
  port: number;
  state: string;
  epoch: number | null;
  startLsn: string | null;
  commitLsn: string | null;
  pages: ComputeStatus['pages'] | null;
  /** Of a replica that runs: what it has replayed, and how far behind that is. */
  replica: ComputeStatus['replica'];
  /** History from here on is kept for this compute; null when it holds no lease. */
  leaseLsn: string | null;
  /** Share of the block reads of its sessions that PostgreSQL's own cache answered; null: unknown, or not asked for (askCacheHits). */
  cacheHitRatio: number | null;
  problem: string | null;
}

export interface ClusterReport {
  directory: string;
  running: boolean;
  volume: {
    id: string;
    systemIdentifier: string;
    copies: number;
    writeQuorum: number;
    readQuorum: number;
    /** Of the configuration of who holds the volume. */
    generation: number;
    /** False: the last change of it is not settled yet. */
    settled: boolean;
    epoch: number | null;
    commitLsn: string | null;
    appliedLsn: string | null;
    scl: string | null;
  };
  storage: StorageNodeReport[];
  computes: ComputeReport[];
  /** Connection strings over all computes. */
  endpoints: Endpoints;
  socketDir: string;
  superuser: string;
}

/** The whole cluster's state in one object; `aurora status --json` prints it as it is. Throws CLUSTER_MISSING. */
export async function clusterStatus(root: string): Promise<ClusterReport> {
  const layout = clusterLayout(root);
  const manifest = Manifest.open(layout);
  try {
    const { volume, storageNodes, computes, membership } = manifest;
    const access = toolAccess(layout, volume);
    const asked = await Promise.all(storageNodes.map((node) => askNode(layout, membership, node, access)));
    const reports = asked.map((a) => a.report);
    const live = asked.flatMap((a) => (a.status ? [a.status] : []));
    const computeReports = await Promise.all(computes.map((compute) => askCompute(layout, volume, compute)));
    for (const report of computeReports) report.leaseLsn = leaseOf(report.name, live);
    // What a compute says of itself counts, not what it was when it was started.
    const primaryFirst = (c: ComputeReport): number => (c.role === 'primary' ? 0 : 1);
    computeReports.sort((a, b) => primaryFirst(a) - primaryFirst(b));
    const highest = (pick: (s: NodeStatus) => Lsn): string | null =>
      live.length === 0 ? null : formatLsn(Math.max(...live.map(pick)));
    return {
      directory: layout.root,
      running: computeReports.some((c) => c.pid !== null),
      volume: {
        id: volume.volumeId,
        systemIdentifier: volume.systemId,
        copies: volume.copies,
        writeQuorum: volume.writeQuorum,
        readQuorum: volume.readQuorum,
        generation: membership.generation,
        settled:
          Math.max(membership.settled, ...live.map((s) => s.membership.settled)) >= membership.generation,
        epoch: live.length === 0 ? null : Math.max(...live.map((s) => s.promisedEpoch)),
        commitLsn: highest((s) => s.commitLsn),
        appliedLsn: highest((s) => s.appliedLsn),
        scl: highest((s) => s.scl),
      },
      storage: reports,
      computes: computeReports,
      endpoints: endpoints({
        superuser: volume.superuser,
        socketDir: volume.socketDir,
        ports: computeReports.map((compute) => compute.port),
      }),
      socketDir: volume.socketDir,
      superuser: volume.superuser,
    };
  } finally {
    manifest.close();
  }
}

async function askNode(
  layout: ClusterLayout,
  membership: MembershipInfo,
  node: StorageNodeInfo,
  access: ToolAccess,
): Promise<{ report: StorageNodeReport; status: NodeStatus | null }> {
  const isElsewhere = node.dir === '';
  const pid = runningPid(layout.run, storageDaemonName(node.id));
  const member = membership.members.find(({ id }) => id === node.id);
  const report: StorageNodeReport = {
    id: node.id,
    host: node.host,
    port: node.port,
    zone: member?.zone ?? '',
    member: !member ? 'leaving' : member.voter ? 'voter' : 'joining',
    pid,
    state: pid === null && !isElsewhere ? 'down' : 'unreachable',
    voter: null,
    scl: null,
    applied: null,
    commit: null,
    epoch: null,
    gcLsn: null,
    retention: null,
    disk: null,
    problem: null,
    rebuild: null,
    ingestError: null,
    scrub: null,
    redoVerify: null,
  };
  if (pid === null && !isElsewhere) return { report, status: null };
  try {
    const client = await StorageClient.connect(node, {
      ...access,
      clientId: 'status',
      connectTimeoutMs: ASK_TIMEOUT_MS,
    });
    try {
      const status = await client.status(ASK_TIMEOUT_MS);
      Object.assign(report, {
        pid: status.pid,
        state: status.state,
        voter: status.voter,
        scl: formatLsn(status.scl),
        applied: formatLsn(status.appliedLsn),
        commit: formatLsn(status.commitLsn),
        epoch: status.promisedEpoch,
        gcLsn: formatLsn(status.gcLsn),
        retention: status.vacuum.retention,
        disk: status.vacuum.disk,
        problem: nodeProblem(status),
        rebuild: rebuilding(status),
        ingestError: ingestError(status),
        scrub: {
          ...status.scrub,
          disputed: status.scrub.disputed.map(findingReport),
          findings: status.scrub.findings.map(findingReport),
        },
        redoVerify: redoVerified(status.metrics),
      });
      return { report, status };
    } finally {
      client.close();
    }
  } catch (err) {
    report.problem = errorMessage(err);
    return { report, status: null };
  }
}

function rebuilding({ rebuild }: NodeStatus): StorageNodeReport['rebuild'] {
  if (!rebuild) return null;
  const { state, peer, lsn, pagesDone, pagesTotal, copiedBytes, lastError } = rebuild;
  return { state, peer, lsn: formatLsn(lsn), pagesDone, pagesTotal, copiedBytes, lastError };
}

/** "copying pages from node 2 as of 0/4F21A8: 1200 of 51000 (2 %)". */
export function rebuildText({ rebuild }: NodeStatus): string | null {
  if (!rebuild) return null;
  const { state, peer, lsn, pagesDone, pagesTotal, lastError } = rebuild;
  const percent = pagesTotal === 0 ? 0 : Math.floor((100 * pagesDone) / pagesTotal);
  const from = peer === '' ? '' : ` from node ${peer}`;
  if (state === 'copying')
    return `copying pages${from} as of ${formatLsn(lsn)}: ${pagesDone} of ${pagesTotal} (${percent} %)`;
  if (state === 'following')
    return `has its pages as of ${formatLsn(lsn)}; waits to hold all log that it may once have acknowledged, and to be known to enough others`;
  return `waits for a peer to be rebuilt from${lastError === null ? '' : `: ${lastError}`}`;
}

function redoVerified(metrics: NodeStatus['metrics']): StorageNodeReport['redoVerify'] {
  if (!metrics['redoVerify']) return null;
  return { compared: metrics['redoCompared'] ?? 0, mismatched: metrics['redoMismatched'] ?? 0 };
}

function findingReport(found: ScrubFinding): FindingReport {
  return { ...found, lsn: formatLsn(found.lsn) };
}

function ingestError({ ingestError: error }: NodeStatus): StorageNodeReport['ingestError'] {
  if (!error) return null;
  const { code, lsn, message } = error;
  return { code, lsn: formatLsn(lsn), message };
}

/** A disk that is well takes one to ten milliseconds, a busy one a few dozen. */
const SLOW_SYNC_SECONDS = 0.15;

export function nodeProblem(status: NodeStatus): string | null {
  const stopped = ingestError(status);
  if (stopped) return `ingest stopped at ${stopped.lsn}: ${stopped.message} (${stopped.code})`;
  if (status.damaged.length > 0)
    return `log damaged at ${formatLsn(status.damaged[0]!.begin)} in ${status.damaged[0]!.file}`;
  if (status.disk.problem !== null) return `disk full: ${status.disk.problem}; takes no log, serves reads`;
  if (status.voter && status.rebuild) return `pages: ${rebuildText(status)}`;
  const [disputed] = status.scrub.disputed;
  if (disputed)
    return `${disputed.what} as of ${formatLsn(disputed.lsn)} differs between nodes ${disputed.nodes.join(', ')}, and no majority tells which is right`;
  if (status.membership.state === 'outside')
    return 'it is no member of the volume any more: it can be stopped';
  if (!status.voter) {
    const isNew = status.membership.state === 'joining' && status.learnerReason === 'amnesia';
    const reason = isNew ? 'joining' : `learner: ${status.learnerReason ?? 'not told why'}`;
    const progress = rebuildText(status);
    return progress === null ? reason : `${reason}; ${progress}`;
  }
  const syncSeconds = status.metrics['logSyncSeconds'] ?? 0;
  if (syncSeconds >= SLOW_SYNC_SECONDS)
    return `slow disk: it takes ${Math.round(syncSeconds * 1000)} ms to make log durable`;
  return null;
}

/** The lowest LSN that some node holds for the compute; its leases are named after it. */
export function leaseOf(name: string, statuses: readonly NodeStatus[]): string | null {
  const leases = statuses.flatMap((status) => status.vacuum.leases);
  const own = leases.filter(
    (lease) => lease.name === `replica ${name}` || lease.name.startsWith(`${name}, epoch `),
  );
  return own.length === 0 ? null : formatLsn(Math.min(...own.map((lease) => lease.lsn)));
}

async function askCompute(
  layout: ClusterLayout,
  volume: VolumeInfo,
  compute: ComputeInfo,
): Promise<ComputeReport> {
  const pid = runningPid(layout.run, computeDaemonName(compute.name));
  const report: ComputeReport = {
    name: compute.name,
    role: compute.role,
    pid,
    postgresPid: null,
    host: '127.0.0.1',
    port: compute.port,
    state: pid === null ? 'stopped' : 'unreachable',
    epoch: null,
    startLsn: null,
    commitLsn: null,
    pages: null,
    replica: null,
    leaseLsn: null,
    cacheHitRatio: null,
    problem: null,
  };
  if (pid === null) return report;
  try {
    const status = await controlRequest<ComputeStatus>(
      controlSocketPath(volume.socketDir, compute.name),
      'GET',
      '/status',
      ASK_TIMEOUT_MS,
    );
    const { role, postgresPid, state, epoch, startLsn, commitLsn, pages, replica, problem } = status;
    Object.assign(report, { role, postgresPid, state, epoch, startLsn, commitLsn, pages, replica, problem });
  } catch (err) {
    report.problem = errorMessage(err);
  }
  return report;
}
