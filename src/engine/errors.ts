/**
 * The one error type of the project. `code` is stable (AREA_REASON) and part of the interface; `message` says what failed
 * and where (file, PageKey, LSN); `hint` says what to do next.
 *
 * What a caller does about it is the `reaction`:
 *   retry    the peer or the moment is at fault: try again, elsewhere or later
 *   fence    another writer holds a newer epoch: stop writing at once
 *   corrupt  bytes on disk or on the wire are not what was written: quarantine, fetch from a peer
 *   usage    the caller's input is wrong: print message and hint, exit with a usage error
 *   bug      a broken invariant: crash, let the supervisor restart
 */
export type Reaction = 'retry' | 'fence' | 'corrupt' | 'usage' | 'bug';

export interface DbErrorOptions {
  reaction?: Reaction;
  hint?: string;
  cause?: unknown;
  /** Structured facts for logs (never secrets). */
  details?: Record<string, unknown>;
}

export class DbError extends Error {
  readonly code: string;
  readonly reaction: Reaction;
  readonly hint: string | undefined;
  readonly details: Record<string, unknown> | undefined;

  constructor(code: string, message: string, options: DbErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'DbError';
    this.code = code;
    this.reaction = options.reaction ?? reactionOf(code);
    this.hint = options.hint;
    this.details = options.details;
  }
}

/** Reaction implied by the code's area when the thrower does not say. */
function reactionOf(code: string): Reaction {
  if (code.startsWith('EPOCH_')) return 'fence';
  if (
    code.startsWith('WAL_') ||
    code.startsWith('REDO_') ||
    code.startsWith('LOG_') ||
    code.startsWith('PAGE_')
  )
    return 'corrupt';
  if (code.startsWith('NET_') || code.startsWith('QUORUM_') || code.startsWith('NODE_')) return 'retry';
  if (code.startsWith('USAGE_') || code.startsWith('CLUSTER_')) return 'usage';
  return 'bug';
}

export function isDbError(err: unknown, code?: string): err is DbError {
  return err instanceof DbError && (code === undefined || err.code === code);
}

/** Words of system errors, as the C library has them and PostgreSQL's programs print them. */
export const ERRNO_WORDS: Readonly<Record<string, string>> = {
  EACCES: 'Permission denied',
  EPERM: 'Operation not permitted',
  ENOENT: 'No such file or directory',
  ENOTDIR: 'Not a directory',
  EISDIR: 'Is a directory',
  EROFS: 'Read-only file system',
  ENOSPC: 'No space left on device',
};

/** "Permission denied" for EACCES, and so on; anything else in its own words. */
export function errnoWords(err: unknown): string {
  return ERRNO_WORDS[(err as NodeJS.ErrnoException).code ?? ''] ?? errorMessage(err);
}

/** Message of anything thrown, for logs and user output. */
export function errorMessage(err: unknown): string {
  return err instanceof Error ? err.message : String(err);
}
