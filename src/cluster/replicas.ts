import { promises as fs } from 'node:fs';
import path from 'node:path';
import { MAX_SOCKET_DIR } from '../compute/cluster-dirs.js';
import { DbError } from '../engine/errors.js';
import { endDaemon, forgetDaemon, runningPid } from './daemon-process.js';
import { clusterLayout, type ClusterLayout } from './layout.js';
import { whileStarting, type StartHooks } from './lock.js';
import { Manifest, type ComputeInfo, type ComputeOptions } from './manifest.js';
import { freePort, portIsFree } from './ports.js';
import { computeDaemonName, startCompute } from './start.js';
import { stopCompute, type StopMode } from './stop.js';

/** Replicas of a local cluster; more are a mistake of somebody's. */
const REPLICAS_MAX = 64;

export interface AddReplicaOptions extends ComputeOptions {
  root: string;
  name: string;
  port?: number | undefined;
  /** False: only noted; it starts with the next start of the cluster. */
  start: boolean;
  timeoutMs: number;
  progress?: (line: string) => void;
  hooks?: StartHooks;
}

/**
 * Makes a compute that reads what the primary writes, and starts it: no data is copied. When it does not start, the cluster is as it was.
 * Throws USAGE_COMPUTE_NAME, CLUSTER_COMPUTE_EXISTS, CLUSTER_PORT_IN_USE, CLUSTER_NOT_RUNNING, and what its daemon says.
 */
export async function addReplica(options: AddReplicaOptions): Promise<{ port: number; pid: number | null }> {
  const { name, failover, priority, settings } = options;
  return withManifest(options.root, (layout, manifest) =>
    whileStarting(layout, options, async () => {
      if (!/^[A-Za-z0-9_][A-Za-z0-9_-]{0,31}$/.test(name))
        throw new DbError('USAGE_COMPUTE_NAME', `invalid compute name "${name}"`, {
          hint: 'Use 1 to 32 letters, digits, "-" or "_"; no "-" first.',
        });
      const { computes, volume } = manifest;
      if (computes.some((compute) => compute.name === name))
        throw new DbError('CLUSTER_COMPUTE_EXISTS', `compute "${name}" already exists`);
      if (computes.length > REPLICAS_MAX)
        throw new DbError('CLUSTER_COMPUTES', `the cluster has ${computes.length} computes already`);
      if (Buffer.byteLength(volume.socketDir) > MAX_SOCKET_DIR)
        throw new DbError(
          'CLUSTER_DIR',
          `the folder of the sockets has too long a name: ${volume.socketDir}`,
        );
      if (options.start && !computes.some((c) => runningPid(layout.run, computeDaemonName(c.name)) !== null))
        throw new DbError('CLUSTER_NOT_RUNNING', `cluster "${layout.root}" is not running`, {
          hint: 'Start it with "aurora start", or add the replica with --no-start.',
        });
      const port = options.port ?? (await freePort());
      if (computes.some((compute) => compute.port === port) || !(await portIsFree(port)))
        throw new DbError('CLUSTER_PORT_IN_USE', `port ${port} on 127.0.0.1 is already in use`, {
          hint: 'Choose another one with -p, or none: then any that is free is taken.',
        });
      const dir = path.join(path.dirname(computes[0]!.dir), name);
      const compute: ComputeInfo = { name, role: 'replica', port, dir };
      await fs.mkdir(dir, { mode: 0o711 });
      manifest.addReplica(compute, { failover, priority, settings });
      if (!options.start) return { port, pid: null };
      try {
        options.progress?.('starting the replica: making a data directory from storage');
        const pid = await startCompute(layout, manifest, volume, compute, {
          timeoutMs: options.timeoutMs,
          wait: true,
        });
        options.hooks?.check?.();
        return { port, pid };
      } catch (err) {
        await endDaemon(layout.run, computeDaemonName(name), 'SIGKILL', options.timeoutMs);
        manifest.removeCompute(name);
        forgetDaemon(layout.run, computeDaemonName(name));
        await fs.rm(dir, { recursive: true, force: true });
        throw err;
      }
    }),
  );
}

/** Stops a replica and forgets it. Throws CLUSTER_NO_COMPUTE, CLUSTER_PRIMARY. */
export async function removeReplica(options: {
  root: string;
  name: string;
  mode: StopMode;
  timeoutMs: number;
}): Promise<void> {
  await withManifest(options.root, async (layout, manifest) => {
    const compute = computeNamed(manifest, options.name);
    if (compute.role === 'primary')
      throw new DbError('CLUSTER_PRIMARY', `compute "${compute.name}" is the primary, not a replica`, {
        hint: 'Promote another one first: aurora promote NAME',
      });
    await stopCompute(layout, manifest.volume, compute, { ...options, wait: true });
    manifest.removeCompute(compute.name);
    forgetDaemon(layout.run, computeDaemonName(compute.name));
    await fs.rm(compute.dir, { recursive: true, force: true });
  });
}

/** Throws CLUSTER_MISSING. */
export async function hasCompute(root: string, name: string): Promise<boolean> {
  return withManifest(root, async (_, { computes }) => computes.some((compute) => compute.name === name));
}

/** Starts one compute, as whatever it is: the primary or a replica. Throws CLUSTER_NO_COMPUTE, CLUSTER_RUNNING, USAGE_ROLE when it has another role than is wanted. */
export async function startComputeNamed(options: {
  root: string;
  name: string;
  role?: ComputeInfo['role'] | undefined;
  timeoutMs: number;
  settings?: Record<string, string>;
  progress?: (line: string) => void;
  hooks?: StartHooks;
}): Promise<ComputeInfo> {
  return withManifest(options.root, (layout, manifest) =>
    whileStarting(layout, options, async () => {
      const compute = computeNamed(manifest, options.name);
      if (options.role !== undefined && options.role !== compute.role)
        throw new DbError(
          'USAGE_ROLE',
          compute.role === 'primary'
            ? `compute "${compute.name}" is the primary, not a replica`
            : `compute "${compute.name}" is a replica, not the primary`,
          { hint: 'Another one becomes the primary by: aurora promote NAME' },
        );
      if (runningPid(layout.run, computeDaemonName(compute.name)) !== null)
        throw new DbError('CLUSTER_RUNNING', `compute "${compute.name}" is already running`);
      await startCompute(layout, manifest, manifest.volume, compute, { ...options, wait: true });
      return compute;
    }),
  );
}

/** Throws CLUSTER_NO_COMPUTE, CLUSTER_NOT_RUNNING, CLUSTER_TIMEOUT. */
export async function stopComputeNamed(options: {
  root: string;
  name: string;
  mode: StopMode;
  timeoutMs: number;
}): Promise<void> {
  await withManifest(options.root, async (layout, manifest) => {
    const compute = computeNamed(manifest, options.name);
    if (!(await stopCompute(layout, manifest.volume, compute, { ...options, wait: true })))
      throw new DbError('CLUSTER_NOT_RUNNING', `compute "${compute.name}" is not running`);
  });
}

export function computeNamed(manifest: Manifest, name: string): ComputeInfo {
  const compute = manifest.computes.find((c) => c.name === name);
  if (compute) return compute;
  throw new DbError('CLUSTER_NO_COMPUTE', `there is no compute "${name}"`, {
    hint: `There are: ${manifest.computes.map((c) => c.name).join(', ')}`,
  });
}

export async function withManifest<T>(
  root: string,
  use: (layout: ClusterLayout, manifest: Manifest) => Promise<T>,
): Promise<T> {
  const layout = clusterLayout(root);
  const manifest = Manifest.open(layout);
  try {
    return await use(layout, manifest);
  } finally {
    manifest.close();
  }
}
