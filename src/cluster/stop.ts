import { DbError } from '../engine/errors.js';
import { controlSocketPath } from '../compute/control-path.js';
import { controlRequest } from './control-client.js';
import { endDaemon, gone, runningPid, signalTo } from './daemon-process.js';
import { clusterLayout, type ClusterLayout } from './layout.js';
import { Manifest, type ComputeInfo, type VolumeInfo } from './manifest.js';
import { computeDaemonName, storageDaemonName } from './start.js';

export type StopMode = 'smart' | 'fast' | 'immediate';

const ASK_MS = 10_000;
const ASK_IMMEDIATE_MS = 2000;
/** An immediate stop takes the postmaster at most 5 s, after which it kills its backends. */
const IMMEDIATE_MS = 10_000;

export interface StopOptions {
  root: string;
  mode: StopMode;
  timeoutMs: number;
  wait: boolean;
  progress?: (line: string) => void;
}

/**
 * Stops the compute (PostgreSQL's smart, fast or immediate way), then the storage nodes. Throws CLUSTER_NOT_RUNNING when nothing
 * runs, CLUSTER_TIMEOUT when the server does not shut down in time (it then goes on stopping, as with pg_ctl).
 */
export async function stopCluster(options: StopOptions): Promise<void> {
  const layout = clusterLayout(options.root);
  const manifest = Manifest.open(layout);
  try {
    const volume = manifest.volume;
    const running = manifest.computes.filter(
      (compute) => runningPid(layout.run, computeDaemonName(compute.name)) !== null,
    );
    const found = running.length > 0;
    if (found)
      options.progress?.(
        `stopping ${running.length > 1 ? `the computes ${running.map((c) => c.name).join(', ')}` : 'the compute'} (${options.mode})`,
      );
    // All at once: a primary that is asked to stop is followed by nobody.
    await Promise.all(running.map((compute) => stopCompute(layout, volume, compute, options)));
    if (found && !options.wait) return;
    const nodes = manifest.storageNodes.filter(
      (node) => runningPid(layout.run, storageDaemonName(node.id)) !== null,
    );
    if (nodes.length > 0)
      options.progress?.(
        `stopping storage node${nodes.length > 1 ? 's' : ''} ${nodes.map((n) => n.id).join(', ')}`,
      );
    const ended = await Promise.all(
      nodes.map((node) =>
        endDaemon(
          layout.run,
          storageDaemonName(node.id),
          options.mode === 'immediate' ? 'SIGKILL' : 'SIGTERM',
          options.timeoutMs,
        ),
      ),
    );
    const left = nodes.filter((_, i) => !ended[i]).map((node) => node.id);
    if (left.length > 0)
      throw new DbError('CLUSTER_TIMEOUT', `storage node ${left.join(', ')} does not shut down`, {
        hint: 'Try again with "-m immediate".',
      });
    if (!found && nodes.length === 0)
      throw new DbError('CLUSTER_NOT_RUNNING', `cluster "${layout.root}" is not running`);
  } finally {
    manifest.close();
  }
}

/** Stops one compute; with `wait`, returns when it has ended. Throws CLUSTER_TIMEOUT. False: it did not run. */
export async function stopCompute(
  layout: ClusterLayout,
  volume: VolumeInfo,
  compute: ComputeInfo,
  options: Pick<StopOptions, 'mode' | 'timeoutMs' | 'wait'>,
): Promise<boolean> {
  const name = computeDaemonName(compute.name);
  const pid = runningPid(layout.run, name);
  if (pid === null) return false;
  const immediate = options.mode === 'immediate';
  await controlRequest(
    controlSocketPath(volume.socketDir, compute.name),
    'POST',
    `/stop?mode=${options.mode}`,
    Math.min(immediate ? ASK_IMMEDIATE_MS : ASK_MS, options.timeoutMs),
  ).catch((err: unknown) => {
    // A daemon that cannot be asked (any more, or yet) is told by signal; SIGTERM is its fast stop, SIGQUIT its immediate one.
    if (!(err instanceof DbError)) throw err;
    signalTo(pid, immediate ? 'SIGQUIT' : 'SIGTERM');
  });
  if (!options.wait) return true;
  // One that hears nothing is killed; its PostgreSQL ends with it, and nothing that was acknowledged is only there.
  if (immediate && !(await gone(pid, Math.min(IMMEDIATE_MS, options.timeoutMs)))) signalTo(pid, 'SIGKILL');
  if (!(await gone(pid, options.timeoutMs))) {
    const who = compute.role === 'primary' ? 'server' : `replica "${compute.name}"`;
    throw new DbError('CLUSTER_TIMEOUT', `${who} does not shut down`, {
      hint:
        options.mode === 'smart'
          ? 'The "-m fast" option disconnects sessions instead of waiting for them.'
          : 'Try again with "-m immediate".',
    });
  }
  await endDaemon(layout.run, name, 'SIGTERM', 0);
  return true;
}
