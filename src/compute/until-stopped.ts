import { DbError } from '../engine/errors.js';

export function notWaitedFor(): DbError {
  return new DbError('COMPUTE_STOPPED', 'stopped; this is not waited for any more', { reaction: 'usage' });
}

/**
 * Waits for `work`, but no longer than until `signal` fires. Throws COMPUTE_STOPPED then; the work goes on by itself, so it must be of
 * the kind that does no harm when nobody wants it any more.
 */
export async function untilStopped<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  let onAbort = (): void => undefined;
  const stopped = new Promise<never>((_, reject) => {
    onAbort = () => reject(notWaitedFor());
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([work, stopped]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
