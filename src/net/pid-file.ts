/** Files that name a daemon's process. Both who starts it and the daemon itself write it: either may end before the other gets to it. */
import { renameSync, rmSync, writeFileSync } from 'node:fs';

/** Of the daemon that is started: where it writes its pid. Unset for one that no command of ours starts. */
export const PID_FILE_VARIABLE = 'AURORA_PID_FILE';

export function writePid(file: string, pid: number): void {
  // Two may write at once.
  const fresh = `${file}.${process.pid}`;
  writeFileSync(fresh, `${pid}\n`, { mode: 0o600 });
  try {
    renameSync(fresh, file);
  } catch (err) {
    rmSync(fresh, { force: true });
    throw err;
  }
}

/** The daemon's part, before anything else that it does. Its children are not to take the file for theirs. */
export function writeOwnPid(): void {
  const file = process.env[PID_FILE_VARIABLE];
  if (file === undefined) return;
  delete process.env[PID_FILE_VARIABLE];
  writePid(file, process.pid);
}
