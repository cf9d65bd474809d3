import { controlSocketPath } from '../compute/control-path.js';
import { DbError, errorMessage } from '../engine/errors.js';
import { controlRequest } from './control-client.js';
import { runningPid } from './daemon-process.js';
import type { ComputeInfo } from './manifest.js';
import { withManifest } from './replicas.js';
import { computeDaemonName } from './start.js';

const RELOAD_MS = 30_000;

/** Where the settings are in the volume, as text. */
interface Reloaded {
  lsn: string;
}

/** The primary stores changed settings files in the volume and reads them, then every replica that runs does. Throws NET_CONTROL, COMPUTE_*. */
export async function reloadComputes(root: string, warn: (line: string) => void): Promise<void> {
  await withManifest(root, async (layout, manifest) => {
    const { socketDir } = manifest.volume;
    if (!manifest.computes.some(({ name }) => runningPid(layout.run, computeDaemonName(name)) !== null))
      throw new DbError('CLUSTER_NOT_RUNNING', `cluster "${layout.root}" is not running`, {
        hint: `Start it with: aurora start -D ${layout.root}`,
      });
    const primary = manifest.computes.find(({ role }) => role === 'primary')!;
    // One that was stopped reads the files at its start; but a primary that does not run is worth a word.
    const { lsn } = await reload(socketDir, primary, null);
    await reloadReplicas(root, lsn, warn);
  });
}

/** Has the replicas that run read the volume's settings as of `from`. One that cannot is warned of: its start will do it. */
export async function reloadReplicas(
  root: string,
  from: string,
  warn: (line: string) => void,
): Promise<void> {
  await withManifest(root, async (layout, manifest) => {
    const { volume, computes } = manifest;
    const running = computes.filter(
      ({ name, role }) => role === 'replica' && runningPid(layout.run, computeDaemonName(name)) !== null,
    );
    await Promise.all(
      running.map((compute) =>
        reload(volume.socketDir, compute, from).catch((err: unknown) =>
          warn(`warning: replica "${compute.name}" does not have the settings yet: ${errorMessage(err)}`),
        ),
      ),
    );
  });
}

function reload(socketDir: string, { name }: ComputeInfo, from: string | null): Promise<Reloaded> {
  const query = from === null ? '' : `?from=${encodeURIComponent(from)}`;
  return controlRequest<Reloaded>(controlSocketPath(socketDir, name), 'POST', `/reload${query}`, RELOAD_MS);
}
