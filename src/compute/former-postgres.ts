import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { Logger } from 'pino';
import { DbError } from '../engine/errors.js';

const PATIENCE_MS = 10_000;
const ASK_MS = 20;

/**
 * A daemon that was killed may have left a postmaster that is still ending (it gets SIGQUIT when its parent dies). Its socket and its
 * port are needed now: wait for it, and kill it if it does not go. It can do no harm to the volume either way, for its epoch
 * is over. `current` is the link to its data directory, which may be gone; its lock file beside the socket tells too, and is removed
 * when nobody holds it (PostgreSQL itself takes a process that is dead but not yet reaped for a living one).
 * Throws COMPUTE_OLD_POSTGRES.
 */
export async function evictFormerPostgres(
  current: string,
  socketDir: string,
  port: number,
  log: Pick<Logger, 'info'>,
): Promise<void> {
  const socket = path.join(socketDir, `.s.PGSQL.${port}`);
  for (const file of [path.join(current, 'postmaster.pid'), `${socket}.lock`]) await evict(file, log);
  for (const file of [socket, `${socket}.lock`]) rmSync(file, { force: true });
}

async function evict(lockFile: string, log: Pick<Logger, 'info'>): Promise<void> {
  const pid = postmasterOf(lockFile);
  if (pid === null) return;
  log.info({ pid }, 'waiting for the former PostgreSQL to end');
  signal(pid, 'SIGQUIT');
  const deadline = performance.now() + PATIENCE_MS;
  for (let killed = false; postmasterOf(lockFile) === pid;) {
    if (performance.now() > deadline + (killed ? PATIENCE_MS : 0)) {
      if (killed)
        throw new DbError(
          'COMPUTE_OLD_POSTGRES',
          `a former postgres (pid ${pid}, named in ${lockFile}) cannot be ended`,
        );
      signal(pid, 'SIGKILL');
      killed = true;
    }
    await new Promise((resolve) => setTimeout(resolve, ASK_MS)); // not our child: there is no event to wait for
  }
}

/** Pid of the postmaster that a lock file names (line 1 its pid, line 2 its data directory), null if it does not run any more. */
function postmasterOf(lockFile: string): number | null {
  const [first, dataDir] = (readIfThere(lockFile) ?? '').split('\n');
  const pid = Number(first);
  if (!Number.isInteger(pid) || pid <= 1 || !dataDir) return null;
  // The pid may have been given to another program since: only a postgres on that directory counts, and only a living one.
  const state = readIfThere(`/proc/${pid}/stat`);
  const commandLine = readIfThere(`/proc/${pid}/cmdline`);
  if (state === null || commandLine === null || /^\d+ \(.*\) [ZX]/.test(state)) return null;
  return commandLine.includes(dataDir) ? pid : null;
}

function readIfThere(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return null;
    throw err;
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== 'ESRCH') throw err;
  }
}
