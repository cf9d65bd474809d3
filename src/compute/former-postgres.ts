import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Logger } from 'pino';
import { DbError } from '../engine/errors.js';

const PATIENCE_MS = 10_000;
const ASK_MS = 20;

/**
 * A daemon that was killed may have left a postmaster that is still ending (it gets SIGQUIT when its parent dies). Its data directory
 * and its port are needed now: wait for it, and kill it if it does not go. It can do no harm to the volume either way, for its
 * epoch is over. Throws COMPUTE_OLD_POSTGRES.
 */
export async function evictFormerPostgres(dataDir: string, log: Logger): Promise<void> {
  const pid = postmasterPid(dataDir);
  if (pid === null) return;
  log.info({ pid }, 'waiting for the former PostgreSQL to end');
  signal(pid, 'SIGQUIT');
  const deadline = Date.now() + PATIENCE_MS;
  for (let killed = false; postmasterPid(dataDir) === pid;) {
    if (Date.now() > deadline) {
      if (killed)
        throw new DbError(
          'COMPUTE_OLD_POSTGRES',
          `a former postgres (pid ${pid}) on ${dataDir} cannot be ended`,
        );
      signal(pid, 'SIGKILL');
      killed = true;
    }
    await new Promise((resolve) => setTimeout(resolve, ASK_MS)); // not our child: there is no event to wait for
  }
}

/** Pid of the postmaster that runs on this data directory, or null. */
function postmasterPid(dataDir: string): number | null {
  let text: string;
  try {
    text = readFileSync(path.join(dataDir, 'postmaster.pid'), 'utf8');
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw err;
  }
  const [first, second] = text.split('\n');
  const pid = Number(first);
  if (!Number.isInteger(pid) || pid <= 1 || second !== dataDir) return null;
  // The pid may have been given to another program since: only a postgres in that directory counts.
  try {
    const [status, commandLine] = [
      readFileSync(`/proc/${pid}/stat`, 'utf8'),
      readFileSync(`/proc/${pid}/cmdline`, 'utf8'),
    ];
    return commandLine.includes(dataDir) && !/^\d+ \(.*\) Z/.test(status) ? pid : null;
  } catch {
    return null; // no such process
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== 'ESRCH') throw err;
  }
}
