import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { DbError } from '../engine/errors.js';
import type { ClusterLayout } from './layout.js';

const RETRY_MS = 25;

/** What a command that starts daemons wants to be asked and told. */
export interface StartHooks {
  /** Throws when the start is not wanted any more. */
  check?: () => void;
  /** Now it is this command's turn: what does not run yet is started by nobody else. */
  begun?: () => void;
}

export interface StartTurn {
  /** So long it waits for its turn. */
  timeoutMs: number;
  progress?: ((line: string) => void) | undefined;
  hooks?: StartHooks | undefined;
}

/**
 * Runs `work` while no other start of this cluster is under way: two at once would each see nothing running, and their computes would take
 * the sockets from each other. Starts wait for each other, so that scripts may run several side by side. The lock is SQLite's on a file of
 * its own, so it goes with its holder, however that ends. Throws CLUSTER_BUSY after the time-out, and what the hooks throw.
 */
export async function whileStarting<T>(
  layout: ClusterLayout,
  { timeoutMs, progress, hooks }: StartTurn,
  work: () => Promise<T>,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  const patience = async (): Promise<boolean> => {
    hooks?.check?.();
    if (Date.now() >= deadline) return false;
    progress?.('waiting for another command that is starting something of this cluster');
    progress = undefined;
    await setTimeout(RETRY_MS);
    return true;
  };
  return whileAlone(
    layout,
    'start.lock',
    'is being started by another process',
    () => {
      hooks?.begun?.();
      return work();
    },
    patience,
  );
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
  patience: () => Promise<boolean> = () => Promise.resolve(false),
): Promise<T> {
  const db = new Database(path.join(layout.run, file), { timeout: 0 });
  try {
    for (;;) {
      const cause = tryLock(db);
      if (cause === null) break;
      if (await patience()) continue;
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

/** Null: it is ours until the database is closed; otherwise what SQLite says of its holder. */
function tryLock(db: Database.Database): unknown {
  try {
    db.exec('begin exclusive');
    return null;
  } catch (cause) {
    if ((cause as { code?: string }).code !== 'SQLITE_BUSY') throw cause;
    return cause;
  }
}
