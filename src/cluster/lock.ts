import path from 'node:path';
import Database from 'better-sqlite3';
import { DbError } from '../engine/errors.js';
import type { ClusterLayout } from './layout.js';

/**
 * Runs `work` while no other start of this cluster is under way: two at once would each see nothing running, and their computes would take
 * the sockets from each other. The lock is SQLite's on a file of its own, so it goes with its holder, however that ends.
 * Throws CLUSTER_BUSY.
 */
export function whileStarting<T>(layout: ClusterLayout, work: () => Promise<T>): Promise<T> {
  return whileAlone(layout, 'start.lock', 'is being started by another process', work);
}

/** Runs `work` while no other command changes who holds the volume. Throws CLUSTER_BUSY. */
export function whileChanging<T>(layout: ClusterLayout, work: () => Promise<T>): Promise<T> {
  return whileAlone(layout, 'change.lock', 'has its storage nodes changed by another command', work);
}

async function whileAlone<T>(
  layout: ClusterLayout,
  file: string,
  otherwise: string,
  work: () => Promise<T>,
): Promise<T> {
  const db = new Database(path.join(layout.run, file), { timeout: 0 });
  try {
    try {
      db.exec('begin exclusive');
    } catch (cause) {
      if ((cause as { code?: string }).code !== 'SQLITE_BUSY') throw cause;
      throw new DbError('CLUSTER_BUSY', `cluster "${layout.root}" ${otherwise}`, {
        hint: `Look at it with: aurora status -D ${layout.root}`,
        cause,
      });
    }
    return await work();
  } finally {
    db.close();
  }
}
