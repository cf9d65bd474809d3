/** What a start waits for: a compute begins once a storage node has made pages of all log, which after a bulk load can take a while. */
import { setTimeout as sleep } from 'node:timers/promises';
import { isDbError } from '../engine/errors.js';
import { parseLsn } from '../engine/lsn.js';
import type { Progress } from './progress.js';
import { clusterStatus } from './status.js';

const ASK_EVERY_MS = 1000;

/** Runs `start`, and meanwhile reports how much log the storage node that is ahead has still to apply. Rejects as `start` does. */
export async function reportingIngest<T>(
  root: string,
  progress: Progress,
  start: () => Promise<T>,
): Promise<T> {
  const done = new AbortController();
  const watched = watch(root, progress, done.signal);
  try {
    return await start();
  } finally {
    done.abort();
    await watched;
    progress.end();
  }
}

async function watch(root: string, progress: Progress, signal: AbortSignal): Promise<void> {
  let from: number | null = null;
  for (;;) {
    await sleep(ASK_EVERY_MS, undefined, { signal }).catch(() => undefined); // the start is over: the loop ends
    if (signal.aborted) return;
    const lag = await ingestLag(root);
    if (lag === null || signal.aborted) continue;
    from ??= lag.applied;
    if (lag.applied < lag.end)
      progress.report({
        what: 'waiting for storage to apply the log',
        done: Math.floor((lag.applied - from) / 1024),
        total: Math.ceil((lag.end - from) / 1024),
        unit: 'kB',
      });
  }
}

/** Null while no node answers. */
async function ingestLag(root: string): Promise<{ applied: number; end: number } | null> {
  try {
    const { storage } = await clusterStatus(root);
    const known = storage.flatMap(({ applied, scl }) =>
      applied && scl ? [{ applied: parseLsn(applied), end: parseLsn(scl) }] : [],
    );
    if (known.length === 0) return null;
    return {
      applied: Math.max(...known.map(({ applied }) => applied)),
      end: Math.max(...known.map(({ end }) => end)),
    };
  } catch (err) {
    if (isDbError(err)) return null; // the start itself says what is wrong
    throw err;
  }
}
