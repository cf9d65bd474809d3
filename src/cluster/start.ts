import { existsSync } from 'node:fs';
import { computeDirs } from '../compute/cluster-dirs.js';
import { evictFormerPostgres } from '../compute/former-postgres.js';
import { DbError } from '../engine/errors.js';
import { votersOf } from '../engine/quorum/index.js';
import { redoVerifySetting } from '../storage/config.js';
import { endDaemon, runningPid, startDaemon } from './daemon-process.js';
import { clusterLayout, daemonLog, type ClusterLayout } from './layout.js';
import { whileStarting, type StartHooks } from './lock.js';
import { Manifest, type ComputeInfo, type StorageNodeInfo, type VolumeInfo } from './manifest.js';
import { freePort, portIsFree } from './ports.js';
import { hostNames } from './certificates.js';
import { memberTls } from './tls.js';
import type { TlsFiles } from '../net/tls.js';

export interface StartOptions {
  root: string;
  /** Listen on this port from now on. */
  port?: number | undefined;
  timeoutMs: number;
  /** The superuser's name, if it was renamed; kept once PostgreSQL has let it in. */
  superuser?: string | undefined;
  /** False: return once the compute's process runs; it goes on starting by itself. */
  wait: boolean;
  /** PostgreSQL's log goes here instead of the compute's own folder. */
  logFile?: string | undefined;
  /** Settings for PostgreSQL's command line (-o "-c name=value"). */
  settings?: Record<string, string>;
  /** Switches redo_verify on or off from now on; storage nodes that run already stay as they are. */
  redoVerify?: boolean | undefined;
  progress?: (line: string) => void;
  hooks?: StartHooks;
}

export const storageDaemonName = (id: string): string => `storage-${id}`;
export const computeDaemonName = (name: string): string => `compute-${name}`;

/**
 * Starts whatever of the local cluster does not run: storage nodes first, then the compute. On failure the daemons started here
 * are ended again. Throws CLUSTER_MISSING, CLUSTER_BUSY, CLUSTER_PORT_IN_USE, CLUSTER_RUNNING (when nothing is missing), and what a
 * daemon says.
 */
export async function startCluster(options: StartOptions): Promise<{ port: number; computePid: number }> {
  const layout = clusterLayout(options.root);
  const manifest = Manifest.open(layout);
  try {
    return await whileStarting(layout, options, () => startMissing(layout, manifest, options));
  } finally {
    manifest.close();
  }
}

async function startMissing(
  layout: ClusterLayout,
  manifest: Manifest,
  options: StartOptions,
): Promise<{ port: number; computePid: number }> {
  const started: string[] = [];
  try {
    await memberTls(layout, manifest.volume, 'tool'); // renewed with the others
    if (options.redoVerify !== undefined) manifest.setRedoVerify(options.redoVerify);
    const { superuser = manifest.volume.superuser } = options;
    const volume = { ...manifest.volume, superuser };
    const compute = manifest.computes[0]!;
    const runs = runningPid(layout.run, computeDaemonName(compute.name));
    if (runs !== null) {
      const storage = await startStorage(layout, manifest, volume, options, started);
      const replicas = await startReplicas(layout, manifest, volume, options);
      if (storage || replicas) return { port: compute.port, computePid: runs };
      throw new DbError('CLUSTER_RUNNING', `cluster "${layout.root}" is already running`, {
        hint: `Look at it with: aurora status -D ${layout.root}`,
      });
    }
    const { current } = computeDirs(compute.dir, volume.socketDir, compute.name);
    // A daemon that was killed a moment ago may have left a PostgreSQL that still holds the port.
    await evictFormerPostgres(current, volume.socketDir, compute.port, {
      info: () => options.progress?.('waiting for the former PostgreSQL to end'),
    });
    const port = options.port ?? compute.port;
    if (!(await portIsFree(port))) {
      throw new DbError('CLUSTER_PORT_IN_USE', `port ${port} on 127.0.0.1 is already in use`, {
        hint: 'Stop the server that uses it, or start with another port: aurora start -p PORT',
      });
    }
    if (port !== compute.port) manifest.setComputePort(compute.name, port);
    await startStorage(layout, manifest, volume, options, started);
    options.progress?.('starting the compute: electing an epoch, making a data directory from storage');
    const name = computeDaemonName(compute.name);
    const tls = await memberTls(layout, volume, `compute:${compute.name}`);
    const config = computeConfig(layout, manifest, volume, { ...compute, port }, tls, options);
    const { pid } = await startDaemon(
      { kind: 'compute', name, runDir: layout.run, logFile: daemonLog(layout, name), config },
      options.timeoutMs,
      options.wait ? 'ready' : 'spawned',
    );
    if (options.wait && superuser !== manifest.volume.superuser) manifest.setSuperuser(superuser);
    await startReplicas(layout, manifest, volume, options);
    return { port, computePid: pid };
  } catch (err) {
    for (const name of started.reverse()) await endDaemon(layout.run, name, 'SIGTERM', 10_000);
    throw err;
  }
}

/** Starts the replicas that do not run. One that does not come up is told of, and no reason to end the others. False: there was none to start. */
async function startReplicas(
  layout: ClusterLayout,
  manifest: Manifest,
  volume: VolumeInfo,
  options: StartOptions,
): Promise<boolean> {
  const down = manifest.computes.filter(
    ({ name, role }) => role === 'replica' && runningPid(layout.run, computeDaemonName(name)) === null,
  );
  if (down.length > 0)
    options.progress?.(`starting replica${down.length > 1 ? 's' : ''} ${down.map((c) => c.name).join(', ')}`);
  const results = await Promise.allSettled(
    down.map((compute) =>
      startCompute(layout, manifest, volume, compute, { ...options, logFile: undefined }),
    ),
  );
  for (const result of results)
    if (result.status === 'rejected') options.progress?.(`warning: ${(result.reason as Error).message}`);
  return results.some((result) => result.status === 'fulfilled');
}

/** Starts one compute of the cluster. Throws CLUSTER_PORT_IN_USE, and what its daemon says. */
export async function startCompute(
  layout: ClusterLayout,
  manifest: Manifest,
  volume: VolumeInfo,
  compute: ComputeInfo,
  options: Pick<StartOptions, 'timeoutMs' | 'wait' | 'logFile' | 'settings'>,
): Promise<number> {
  const { current } = computeDirs(compute.dir, volume.socketDir, compute.name);
  await evictFormerPostgres(current, volume.socketDir, compute.port, { info: () => undefined });
  if (!(await portIsFree(compute.port)))
    throw new DbError('CLUSTER_PORT_IN_USE', `port ${compute.port} on 127.0.0.1 is already in use`, {
      hint: `Stop the server that uses it; compute "${compute.name}" needs it.`,
    });
  const name = computeDaemonName(compute.name);
  const tls = await memberTls(layout, volume, `compute:${compute.name}`);
  const config = computeConfig(layout, manifest, volume, compute, tls, options);
  const { pid } = await startDaemon(
    { kind: 'compute', name, runDir: layout.run, logFile: daemonLog(layout, name), config },
    options.timeoutMs,
    options.wait ? 'ready' : 'spawned',
  );
  return pid;
}

/**
 * Starts the storage nodes that do not run; ports that others took meanwhile are replaced while no node runs. False when there was
 * none to start.
 */
async function startStorage(
  layout: ClusterLayout,
  manifest: Manifest,
  volume: VolumeInfo,
  options: StartOptions,
  started: string[],
): Promise<boolean> {
  const isRunning = (node: StorageNodeInfo): boolean =>
    runningPid(layout.run, storageDaemonName(node.id)) !== null;
  const ours = localMembers(manifest);
  if (!ours.some(isRunning)) {
    for (const node of ours) {
      if (!(await portIsFree(node.port, node.host))) manifest.setNodePort(node.id, await freePort(node.host));
    }
  }
  const down = localMembers(manifest).filter((node) => !isRunning(node));
  if (down.length > 0)
    options.progress?.(
      `starting storage node${down.length > 1 ? 's' : ''} ${down.map((n) => n.id).join(', ')}`,
    );
  const results = await Promise.allSettled(
    down.map((node) => startStorageNode(layout, manifest, volume, node, options.timeoutMs)),
  );
  down.forEach((node, i) => {
    if (results[i]!.status === 'fulfilled') started.push(storageDaemonName(node.id));
  });
  const failures = results.filter((r) => r.status === 'rejected');
  // A cluster without one node is alive; without a write quorum it is not.
  const voters = votersOf(manifest.configuration);
  const lost = down.filter((node, i) => results[i]!.status === 'rejected' && voters.includes(node.id)).length;
  if (voters.length - lost < volume.writeQuorum) throw failures[0]!.reason;
  for (const failure of failures) options.progress?.(`warning: ${(failure.reason as Error).message}`);
  return failures.length < down.length;
}

/** Storage nodes that are members and live in folders here. */
export function localMembers(manifest: Manifest): StorageNodeInfo[] {
  const members = new Set(manifest.membership.members.map(({ id }) => id));
  return manifest.storageNodes.filter((node) => node.dir !== '' && members.has(node.id));
}

/** Starts one storage node of the cluster. */
export async function startStorageNode(
  layout: ClusterLayout,
  manifest: Manifest,
  volume: VolumeInfo,
  node: StorageNodeInfo,
  timeoutMs: number,
): Promise<number> {
  if (!existsSync(node.dir)) {
    throw new DbError(
      'CLUSTER_NODE_MISSING',
      `storage node ${node.id}: its folder ${node.dir} does not exist`,
    );
  }
  const name = storageDaemonName(node.id);
  const tls = await memberTls(layout, volume, `node:${node.id}`, hostNames(node.host));
  const config = storageConfig(layout, manifest, volume, node, tls);
  const { pid } = await startDaemon(
    { kind: 'storage', name, runDir: layout.run, logFile: daemonLog(layout, name), config },
    timeoutMs,
  );
  return pid;
}

function storageConfig(
  layout: ClusterLayout,
  manifest: Manifest,
  volume: VolumeInfo,
  node: StorageNodeInfo,
  tls: TlsFiles | null,
): Record<string, unknown> {
  return {
    volumeId: volume.volumeId,
    nodeId: node.id,
    dir: node.dir,
    host: node.host,
    port: node.port,
    secretFile: layout.secret,
    tls,
    configuration: manifest.configuration,
    settled: manifest.membership.settled,
    redoVerify: volume.redoVerify ?? false,
    ...logLevel(),
  };
}

function computeConfig(
  layout: ClusterLayout,
  manifest: Manifest,
  volume: VolumeInfo,
  compute: ComputeInfo,
  tls: TlsFiles | null,
  options: Pick<StartOptions, 'timeoutMs' | 'logFile' | 'settings'>,
): Record<string, unknown> {
  const own = manifest.computeOptions(compute.name);
  return {
    volumeId: volume.volumeId,
    name: compute.name,
    role: compute.role,
    failover: { enabled: own.failover, priority: own.priority },
    // With other computes there may have been a failover that this one does not know of.
    yields: manifest.computes.length > 1,
    dir: compute.dir,
    socketDir: volume.socketDir,
    host: '127.0.0.1',
    port: compute.port,
    secretFile: layout.secret,
    tls,
    configuration: manifest.configuration,
    superuser: volume.superuser,
    pgBindir: volume.pgBindir,
    runAs: volume.runAs,
    settings: { ...checkingSettings(volume), ...options.settings, ...own.settings },
    electTimeoutMs: options.timeoutMs,
    ...logLevel(),
    ...(options.logFile === undefined ? {} : { postgresLog: options.logFile }),
  };
}

/** AURORA_LOG_LEVEL: how much daemons that start now say in their logs. */
function logLevel(): { logLevel?: string } {
  const level = process.env['AURORA_LOG_LEVEL'];
  return level === undefined || level === '' ? {} : { logLevel: level };
}

/** Without page images in the log, redo_verify has nothing to compare with. */
function checkingSettings(volume: VolumeInfo): Record<string, string> {
  return redoVerifySetting(volume.redoVerify) ? { wal_consistency_checking: 'all' } : {};
}
