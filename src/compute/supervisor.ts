import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { DbError, errorMessage } from '../engine/errors.js';
import { notWaitedFor } from './until-stopped.js';
import { credentials, type PgInstall } from './postgres.js';
import { ServerLog } from './server-log.js';

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
/** The postmaster itself kills children that do not heed SIGQUIT after 5 s. */
const KILL_AFTER_MS = 7000;
/** Its last words may still be on their way when it has exited. */
const LAST_WORDS_MS = 500;

/** One postmaster: started, watched, stopped. It is never restarted in place: a crash means a new data directory. */
export class PostgresProcess {
  /** Resolves when the postmaster has exited, with its exit code (or null and the signal). */
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  private tail = '';
  private gone = false;

  private constructor(
    private readonly child: ChildProcess,
    log: ServerLog,
  ) {
    const spoken = new Promise<void>((resolve) => child.stderr!.once('close', resolve));
    child.stderr!.on('data', (chunk: Buffer) => {
      log.write(chunk);
      this.tail = (this.tail + chunk.toString('utf8')).slice(-TAIL_BYTES);
    });
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        this.gone = true;
        // A child of it that lives on keeps the pipe open: not waited for longer than this.
        const enough = setTimeout(() => child.stderr!.destroy(), LAST_WORDS_MS);
        void spoken.then(() => {
          clearTimeout(enough);
          log.close();
          resolve({ code, signal });
        });
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

  /**
   * Starts postgres and waits until it accepts connections. Throws COMPUTE_PG_START with PostgreSQL's last words, COMPUTE_STOPPED when
   * `signal` ends the start; nothing runs then.
   */
  static async start(options: PostgresOptions, signal?: AbortSignal): Promise<PostgresProcess> {
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
    const server = new PostgresProcess(child, new ServerLog(options.logFile));
    const failed = (what: string, cause?: unknown): DbError =>
      new DbError('COMPUTE_PG_START', what, { reaction: 'retry', ...(cause === undefined ? {} : { cause }) });
    let poll: NodeJS.Timeout | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        child.once('error', (cause) => reject(failed(`could not run postgres: ${cause.message}`, cause)));
        // As pg_ctl does: the pid file tells, whatever the language and destination of PostgreSQL's log.
        poll = setInterval(() => {
          try {
            if (signal?.aborted) reject(notWaitedFor());
            else if (isReady(options.dataDir, server.pid)) resolve();
          } catch (cause) {
            reject(failed(`cannot tell whether postgres is ready: ${errorMessage(cause)}`, cause));
          }
        }, READY_POLL_MS);
        void server.exited.then(({ code, signal: by }) =>
          reject(
            failed(
              `postgres ended (${by ?? `exit code ${code}`}) before it was ready: ${server.lastWords || server.tail.slice(-800)}`,
            ),
          ),
        );
      });
    } catch (err) {
      await server.kill();
      throw err;
    } finally {
      clearInterval(poll);
    }
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
    const { pid } = this.child;
    if (this.gone || pid === undefined) return;
    // SIGQUIT makes the postmaster end its backends without a checkpoint; SIGKILL is for one that cannot listen.
    this.signal('SIGQUIT');
    const forced = setTimeout(() => this.signal('SIGKILL'), KILL_AFTER_MS);
    await this.exited;
    clearTimeout(forced);
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
