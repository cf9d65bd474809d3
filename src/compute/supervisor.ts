import { spawn, type ChildProcess } from 'node:child_process';
import { createWriteStream, readFileSync, type WriteStream } from 'node:fs';
import path from 'node:path';
import { DbError } from '../engine/errors.js';
import { credentials, type PgInstall } from './postgres.js';

export type StopMode = 'smart' | 'fast' | 'immediate';

export interface PostgresOptions {
  install: PgInstall;
  dataDir: string;
  /** Settings given on the command line, which nothing inside the database can override. */
  settings: Record<string, string>;
  /** Extra environment: the page-in library's. */
  env: Record<string, string>;
  /** PostgreSQL's own log. */
  logFile: string;
}

const STOP_SIGNAL = { smart: 'SIGTERM', fast: 'SIGINT', immediate: 'SIGQUIT' } as const;
/** Status words of postmaster.pid, line 8 (pidfile.h), padded with blanks there. */
const READY_STATUS = new Set(['ready', 'standby']);
const READY_POLL_MS = 10;
const TAIL_BYTES = 16 * 1024;

/** One postmaster: started, watched, stopped. It is never restarted in place: a crash means a new data directory. */
export class PostgresProcess {
  /** Resolves when the postmaster has exited, with its exit code (or null and the signal). */
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  private tail = '';
  private gone = false;

  private constructor(
    private readonly child: ChildProcess,
    private readonly log: WriteStream,
  ) {
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        this.gone = true;
        this.log.end();
        resolve({ code, signal });
      });
    });
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  get running(): boolean {
    return !this.gone;
  }

  /** The last of what PostgreSQL logged, for error messages. */
  get lastWords(): string {
    const lines = this.tail
      .split('\n')
      .filter((line) => /FATAL|PANIC|ERROR|HINT|DETAIL|could not/.test(line));
    return lines.slice(-5).join('\n');
  }

  /** Starts postgres and waits until it accepts connections. Throws COMPUTE_PG_START with PostgreSQL's last words. */
  static async start(options: PostgresOptions): Promise<PostgresProcess> {
    const args = [
      '-D',
      options.dataDir,
      ...Object.entries(options.settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ];
    const child = spawn(path.join(options.install.bindir, 'postgres'), args, {
      ...credentials(options.install),
      cwd: options.dataDir,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...options.env },
      // Its own session: a terminal's ^C must reach the daemon alone, which then stops PostgreSQL in order.
      detached: true,
    });
    const log = createWriteStream(options.logFile, { flags: 'a', mode: 0o600 });
    const server = new PostgresProcess(child, log);
    await new Promise<void>((resolve, reject) => {
      child.once('error', (cause) =>
        reject(
          new DbError('COMPUTE_PG_START', `could not run postgres: ${cause.message}`, {
            reaction: 'retry',
            cause,
          }),
        ),
      );
      child.stderr!.on('data', (chunk: Buffer) => {
        if (!log.writableEnded) log.write(chunk);
        server.tail = (server.tail + chunk.toString('utf8')).slice(-TAIL_BYTES);
      });
      // As pg_ctl does: the pid file tells, whatever the language and destination of PostgreSQL's log.
      const poll = setInterval(() => {
        if (!isReady(options.dataDir, server.pid)) return;
        clearInterval(poll);
        resolve();
      }, READY_POLL_MS);
      void server.exited.then(() => clearInterval(poll));
      void server.exited.then(({ code, signal }) =>
        reject(
          new DbError(
            'COMPUTE_PG_START',
            `postgres ended (${signal ?? `exit code ${code}`}) before it was ready: ${server.lastWords || server.tail.slice(-800)}`,
            { reaction: 'retry' },
          ),
        ),
      );
    });
    return server;
  }

  signal(name: NodeJS.Signals): void {
    if (!this.gone) this.child.kill(name);
  }

  /** Asks for a stop the way pg_ctl does and waits for the end. Repeating it with a stronger mode is how to hurry it. */
  async stop(mode: StopMode): Promise<void> {
    this.signal(STOP_SIGNAL[mode]);
    await this.exited;
  }

  /** Ends it at once, children included: a fenced writer must not answer another query. */
  async kill(): Promise<void> {
    if (!this.gone && this.child.pid !== undefined) {
      // SIGQUIT makes the postmaster end its backends without a checkpoint; the group kill is for one that cannot listen.
      this.signal('SIGQUIT');
      const forced = setTimeout(() => {
        try {
          process.kill(-this.child.pid!, 'SIGKILL');
        } catch (err) {
          if ((err as NodeJS.ErrnoException).code !== 'ESRCH') throw err;
        }
      }, 3000);
      await this.exited;
      clearTimeout(forced);
    }
  }
}

function isReady(dataDir: string, pid: number): boolean {
  let lines: string[];
  try {
    lines = readFileSync(path.join(dataDir, 'postmaster.pid'), 'utf8').split('\n');
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw err;
  }
  return Number(lines[0]) === pid && READY_STATUS.has((lines[7] ?? '').trim());
}
