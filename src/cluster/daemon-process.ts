import { spawn } from 'node:child_process';
import { mkdirSync, openSync, closeSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { packageRoot } from './templates.js';
import { DbError } from '../engine/errors.js';
import { PID_FILE_VARIABLE, writePid } from '../net/pid-file.js';

/**
 * Local daemons, pg_ctl style: each runs detached, its pid in run/NAME.pid, its output in log/NAME.log. A daemon tells over the
 * IPC channel that it is ready, or why it is not.
 */
export type DaemonKind = 'storage' | 'compute';

export type DaemonMessage =
  | { type: 'ready'; pid: number; port?: number }
  | { type: 'failed'; code: string; message: string; hint?: string };

export interface DaemonSpec {
  readonly kind: DaemonKind;
  /** Unique in the cluster: names its pid, config and log files. */
  readonly name: string;
  readonly runDir: string;
  readonly logFile: string;
  readonly config: Record<string, unknown>;
}

const pidFile = (runDir: string, name: string): string => path.join(runDir, `${name}.pid`);
const configFile = (runDir: string, name: string): string => path.join(runDir, `${name}.json`);

/** Removes what was noted of a daemon that has ended and will not come back. Its log stays. */
export function forgetDaemon(runDir: string, name: string): void {
  for (const file of [pidFile, configFile]) rmSync(file(runDir, name), { force: true });
}

/**
 * Options of Node.js by daemon. A storage node under load makes short-lived objects by the million, and records stay until their batch is written: with
 * room for both among the young, ingest takes a tenth less time.
 */
export const NODE_FLAGS: Readonly<Record<DaemonKind, readonly string[]>> = {
  storage: ['--max-semi-space-size=32'],
  compute: [],
};

/**
 * How the C library of Linux hands memory out in a storage node. By itself it keeps whatever blocks RocksDB and Node.js free, of up to 32 MiB, in a heap that
 * only ever shrinks from its end. Larger blocks are mapped one by one now, and go back to the system when they are freed; RocksDB's of 1 MiB, which come and go all
 * the time, are not among them, for each would have to be given its pages anew (a tenth of ingest's time).
 */
export const STORAGE_ENVIRONMENT: Readonly<Record<string, string>> = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: '4194304',
  MALLOC_TRIM_THRESHOLD_: '67108864',
};

/**
 * Arguments for a daemon's entry point: compiled, or straight from the sources under a loader. Whoever runs from the sources but has
 * built them (npm test, npm run bench) sets AURORA_COMPILED_DAEMONS=1 and gets what users run. AURORA_NODE_OPTIONS adds options
 * of Node.js that NODE_OPTIONS does not take, such as --cpu-prof.
 */
function entryPoint(kind: DaemonKind): string[] {
  const extra = [
    ...NODE_FLAGS[kind],
    ...(process.env['AURORA_NODE_OPTIONS'] ?? '').split(/\s+/).filter(Boolean),
  ];
  const self = fileURLToPath(import.meta.url);
  if (!self.endsWith('.ts') || process.env['AURORA_COMPILED_DAEMONS'] === '1')
    return [...extra, path.join(packageRoot(), 'bin', 'daemon.js'), kind];
  const loader = pathToFileURL(createRequire(self).resolve('tsx')).href;
  return [...extra, '--import', loader, path.join(packageRoot(), 'src', kind, 'main.ts')];
}

/**
 * Starts a daemon and waits until it says that it is ready, or, when `until` is 'spawned', only until its process is there.
 * Throws CLUSTER_DAEMON_RUNNING, what the daemon said, CLUSTER_DAEMON_DIED if it ended without a word, CLUSTER_TIMEOUT (the daemon is then ended).
 */
export async function startDaemon(
  spec: DaemonSpec,
  timeoutMs: number,
  until: 'ready' | 'spawned' = 'ready',
): Promise<{ pid: number; port?: number }> {
  const running = runningPid(spec.runDir, spec.name);
  if (running !== null)
    throw new DbError('CLUSTER_DAEMON_RUNNING', `${spec.name} is already running (PID: ${running})`);
  mkdirSync(path.dirname(spec.logFile), { recursive: true, mode: 0o700 });
  const config = configFile(spec.runDir, spec.name);
  writeFileSync(config, JSON.stringify(spec.config, null, 2), { mode: 0o600 });
  const log = openSync(spec.logFile, 'a', 0o600);
  const child = spawn(process.execPath, [...entryPoint(spec.kind), config], {
    detached: true,
    cwd: '/',
    env: {
      ...(spec.kind === 'storage' ? STORAGE_ENVIRONMENT : {}),
      ...process.env,
      [PID_FILE_VARIABLE]: pidFile(spec.runDir, spec.name),
    },
    stdio: ['ignore', log, log, 'ipc'],
  });
  closeSync(log);
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise((resolve, reject) => {
      child.once('error', (cause) =>
        reject(
          new DbError('CLUSTER_DAEMON_DIED', `could not start ${spec.name}: ${cause.message}`, { cause }),
        ),
      );
      child.once('spawn', () => {
        writePid(pidFile(spec.runDir, spec.name), child.pid!);
        if (until === 'spawned') resolve({ pid: child.pid! });
      });
      child.once('exit', (code, signal) =>
        reject(
          new DbError(
            'CLUSTER_DAEMON_DIED',
            `${spec.name} ended (${signal ?? `exit code ${code}`}) while starting`,
            { hint: `Examine the log: ${spec.logFile}` },
          ),
        ),
      );
      child.on('message', (message: DaemonMessage) => {
        if (message.type === 'ready')
          resolve({ pid: message.pid, ...(message.port === undefined ? {} : { port: message.port }) });
        else if (message.type === 'failed')
          reject(
            new DbError(message.code, message.message, {
              reaction: 'usage',
              ...(message.hint ? { hint: message.hint } : {}),
            }),
          );
      });
      timer = setTimeout(() => {
        reject(
          new DbError(
            'CLUSTER_TIMEOUT',
            `${spec.name} was not ready within ${Math.round(timeoutMs / 1000)} s`,
            { hint: `Examine the log: ${spec.logFile}` },
          ),
        );
      }, timeoutMs);
    });
  } catch (err) {
    child.kill('SIGKILL');
    // Another daemon of this name, which may be why ours did not start, keeps its file.
    if (readPid(spec.runDir, spec.name) === child.pid)
      rmSync(pidFile(spec.runDir, spec.name), { force: true });
    throw err;
  } finally {
    clearTimeout(timer);
    if (child.connected) child.disconnect();
    child.unref();
  }
}

function readPid(runDir: string, name: string): number | null {
  const pid = Number.parseInt(readIfThere(pidFile(runDir, name)) ?? '', 10);
  return Number.isInteger(pid) && pid > 0 ? pid : null;
}

/** The daemon's pid while it runs; null otherwise. A pid that another program has taken since does not count. */
export function runningPid(runDir: string, name: string): number | null {
  const pid = readPid(runDir, name);
  if (pid === null || !isAlive(pid)) return null;
  if (process.platform === 'linux') {
    const commandLine = readIfThere(`/proc/${pid}/cmdline`);
    if (commandLine !== null && !commandLine.includes(configFile(runDir, name))) return null;
  }
  return pid;
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (err) {
    return (err as NodeJS.ErrnoException).code === 'EPERM';
  }
  // A zombie answers kill(0) too; its parent has merely not looked yet.
  const stat = readIfThere(`/proc/${pid}/stat`);
  return stat === null || !/^\d+ \(.*\) Z/.test(stat);
}

/** Sends a signal and waits for the end. Returns false when the daemon still runs at the deadline. */
export async function endDaemon(
  runDir: string,
  name: string,
  signal: NodeJS.Signals,
  timeoutMs: number,
): Promise<boolean> {
  const pid = runningPid(runDir, name);
  if (pid !== null) {
    signalTo(pid, signal);
    if (!(await gone(pid, timeoutMs))) return false;
  }
  rmSync(pidFile(runDir, name), { force: true });
  return true;
}

/** Sends a signal; a process that has just ended needs none. */
export function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== 'ESRCH') throw err;
  }
}

/** Waits for a process that is not our child to end; there is no event for that, so it asks, as pg_ctl does. */
export async function gone(pid: number, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (isAlive(pid)) {
    if (performance.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return true;
}

function readIfThere(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch (err) {
    const code = (err as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES') return null;
    throw err;
  }
}
