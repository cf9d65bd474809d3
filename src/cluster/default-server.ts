import type { DefaultServer } from '../psql/connection.js';
import { clusterLayout } from './layout.js';
import { Manifest } from './manifest.js';

/** The cluster named by -D or AURORA_HOME, as a place to connect to; null when none is named. Throws CLUSTER_MISSING. */
export function defaultServer(dir: string | undefined): DefaultServer | null {
  if (!dir) return null;
  const manifest = Manifest.open(clusterLayout(dir));
  try {
    const { socketDir, superuser } = manifest.volume;
    return { host: socketDir, port: manifest.computes[0]!.port, user: superuser };
  } finally {
    manifest.close();
  }
}
