import { errorMessage } from '../engine/errors.js';
import { formatLsn, type Lsn } from '../engine/lsn.js';
import type { NodeStatus } from '../net/node-status.js';
import { loadSecret } from '../net/secret.js';
import { StorageClient } from '../net/storage-client.js';
import { controlSocketPath } from '../compute/control-path.js';
import type { ComputeStatus } from '../compute/status.js';
import { controlRequest } from './control-client.js';
import { runningPid } from './daemon-process.js';
import { clusterLayout, type ClusterLayout } from './layout.js';
import { Manifest, type ComputeInfo, type StorageNodeInfo, type VolumeInfo } from './manifest.js';
import { computeDaemonName, storageDaemonName } from './start.js';

const ASK_TIMEOUT_MS = 3000;

export interface StorageNodeReport {
  id: string;
  host: string;
  port: number;
  pid: number | null;
  /** running, draining, down, or unreachable (a process is there but does not answer). */
  state: string;
  voter: boolean | null;
  scl: string | null;
  applied: string | null;
  commit: string | null;
  epoch: number | null;
  /** Why the node does not do all that it should: learner reason, ingest error, damage; or null. */
  problem: string | null;
  /** The record that the node cannot decode or replay: its pages end before it, while the log goes on. */
  ingestError: { code: string; lsn: string; message: string } | null;
  /** With redo_verify: pages compared with PostgreSQL's since the node started, and how many were different. */
  redoVerify: { compared: number; mismatched: number } | null;
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
    epoch: number | null;
    commitLsn: string | null;
    appliedLsn: string | null;
    scl: string | null;
  };
  storage: StorageNodeReport[];
  computes: {
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
    problem: string | null;
  }[];
  socketDir: string;
  superuser: string;
}

/** The whole cluster's state in one object; `aurora status --json` prints it as it is. Throws CLUSTER_MISSING. */
export async function clusterStatus(root: string): Promise<ClusterReport> {
  const layout = clusterLayout(root);
  const manifest = Manifest.open(layout);
  try {
    const { volume, storageNodes, computes } = manifest;
    const secret = loadSecret(layout.secret);
    const asked = await Promise.all(storageNodes.map((node) => askNode(layout, volume, node, secret)));
    const reports = asked.map((a) => a.report);
    const live = asked.flatMap((a) => (a.status ? [a.status] : []));
    const computeReports = await Promise.all(computes.map((compute) => askCompute(layout, volume, compute)));
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
        epoch: live.length === 0 ? null : Math.max(...live.map((s) => s.promisedEpoch)),
        commitLsn: highest((s) => s.commitLsn),
        appliedLsn: highest((s) => s.appliedLsn),
        scl: highest((s) => s.scl),
      },
      storage: reports,
      computes: computeReports,
      socketDir: volume.socketDir,
      superuser: volume.superuser,
    };
  } finally {
    manifest.close();
  }
}

async function askNode(
  layout: ClusterLayout,
  volume: VolumeInfo,
  node: StorageNodeInfo,
  secret: Buffer,
): Promise<{ report: StorageNodeReport; status: NodeStatus | null }> {
  const pid = runningPid(layout.run, storageDaemonName(node.id));
  const report: StorageNodeReport = {
    id: node.id,
    host: node.host,
    port: node.port,
    pid,
    state: pid === null ? 'down' : 'unreachable',
    voter: null,
    scl: null,
    applied: null,
    commit: null,
    epoch: null,
    problem: null,
    ingestError: null,
    redoVerify: null,
  };
  if (pid === null) return { report, status: null };
  try {
    const client = await StorageClient.connect(node, {
      secret,
      volumeId: volume.volumeId,
      role: 'tool',
      clientId: 'status',
      connectTimeoutMs: ASK_TIMEOUT_MS,
    });
    try {
      const status = await client.status(ASK_TIMEOUT_MS);
      Object.assign(report, {
        state: status.state,
        voter: status.voter,
        scl: formatLsn(status.scl),
        applied: formatLsn(status.appliedLsn),
        commit: formatLsn(status.commitLsn),
        epoch: status.promisedEpoch,
        problem: nodeProblem(status),
        ingestError: ingestError(status),
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

function redoVerified(metrics: NodeStatus['metrics']): StorageNodeReport['redoVerify'] {
  if (!metrics['redoVerify']) return null;
  return { compared: metrics['redoCompared'] ?? 0, mismatched: metrics['redoMismatched'] ?? 0 };
}

function ingestError({ ingestError: error }: NodeStatus): StorageNodeReport['ingestError'] {
  if (!error) return null;
  const { code, lsn, message } = error;
  return { code, lsn: formatLsn(lsn), message };
}

function nodeProblem(status: NodeStatus): string | null {
  const stopped = ingestError(status);
  if (stopped) return `ingest stopped at ${stopped.lsn}: ${stopped.message} (${stopped.code})`;
  if (status.damaged.length > 0)
    return `log damaged at ${formatLsn(status.damaged[0]!.begin)} in ${status.damaged[0]!.file}`;
  if (!status.voter) return `learner: ${status.learnerReason ?? 'not told why'}`;
  return null;
}

async function askCompute(
  layout: ClusterLayout,
  volume: VolumeInfo,
  compute: ComputeInfo,
): Promise<ClusterReport['computes'][number]> {
  const pid = runningPid(layout.run, computeDaemonName(compute.name));
  const report: ClusterReport['computes'][number] = {
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
    const { postgresPid, state, epoch, startLsn, commitLsn, pages, problem } = status;
    Object.assign(report, { postgresPid, state, epoch, startLsn, commitLsn, pages, problem });
  } catch (err) {
    report.problem = errorMessage(err);
  }
  return report;
}
