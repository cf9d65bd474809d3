/** A real, plain PostgreSQL 18 on a private socket: the oracle of the tests, and a source of WAL. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { promises as fs } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { credentials, findPostgres, giveTo, runInitdb, type PgInstall } from '../../src/compute/postgres.js';

const run = promisify(execFile);

export interface PlainPostgres {
  readonly install: PgInstall;
  readonly dataDir: string;
  readonly socketDir: string;
  readonly port: number;
  readonly pid: number;
  client(database?: string): Promise<pg.Client>;
  /** Runs SQL text (several statements allowed) as the superuser; returns the last statement's rows. */
  sql(text: string, database?: string): Promise<Record<string, unknown>[]>;
  /** Clean stop by default; 'immediate' leaves a crashed data directory behind. */
  stop(mode?: 'fast' | 'immediate'): Promise<void>;
  start(): Promise<void>;
  /** Stops and removes everything. */
  destroy(): Promise<void>;
}

export interface PlainOptions {
  settings?: Record<string, string>;
  initdbArgs?: string[];
  /** Starts on a copy of this data directory instead of a new one. */
  copyOf?: string;
  /** An empty file to put into the copy: recovery.signal or standby.signal. */
  signalFile?: string;
}

export async function startPlainPostgres(options: PlainOptions = {}): Promise<PlainPostgres> {
  const install = await findPostgres();
  const root = await fs.mkdtemp(path.join(os.tmpdir(), 'oa-pg-'));
  await giveTo(install, root);
  const dataDir = path.join(root, 'data');
  const port = 5432;
  let child: ChildProcess | null = null;
  const clients = new Set<pg.Client>();

  async function client(database = 'postgres'): Promise<pg.Client> {
    const c = new pg.Client({ host: root, port, user: 'postgres', database });
    c.on('error', () => clients.delete(c)); // the server going away is the tests' business
    await c.connect();
    clients.add(c);
    return c;
  }

  async function start(): Promise<void> {
    const settings = {
      listen_addresses: '',
      unix_socket_directories: root,
      port: String(port),
      fsync: 'off',
      ...options.settings,
    };
    const args = Object.entries(settings).flatMap(([k, v]) => ['-c', `${k}=${v}`]);
    const proc = spawn(path.join(install.bindir, 'postgres'), ['-D', dataDir, ...args], {
      ...credentials(install),
      cwd: '/',
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    // One that recovers to a place answers readers on the way there.
    const ready =
      options.signalFile === 'standby.signal'
        ? /ready to accept read-only connections/
        : /ready to accept connections/;
    let said = '';
    await new Promise<void>((resolve, reject) => {
      proc.stderr.on('data', (chunk: Buffer) => {
        said = (said + chunk.toString()).slice(-16384);
        if (ready.test(said)) resolve();
      });
      proc.on('exit', (code) => reject(new Error(`postgres exited with ${code}:\n${said}`)));
    });
    child = proc;
    proc.on('exit', () => {
      if (child === proc) child = null;
    });
  }

  async function stop(mode: 'fast' | 'immediate' = 'fast'): Promise<void> {
    const proc = child;
    if (!proc) return;
    if (mode === 'fast') await Promise.all([...clients].map((c) => c.end()));
    clients.clear();
    const gone = new Promise<void>((resolve) => proc.once('exit', () => resolve()));
    proc.kill(mode === 'fast' ? 'SIGINT' : 'SIGQUIT');
    await gone;
  }

  try {
    if (options.copyOf === undefined) {
      await runInitdb(install, dataDir, [
        ...(options.initdbArgs ?? []),
        '-U',
        'postgres',
        '-A',
        'trust',
        '--no-data-checksums',
        '-E',
        'UTF8',
        '--locale',
        'C',
        '--no-sync',
      ]);
    } else {
      await copyDataDir(install, options.copyOf, dataDir);
      if (options.signalFile !== undefined) {
        await fs.writeFile(path.join(dataDir, options.signalFile), '');
        await giveTo(install, path.join(dataDir, options.signalFile));
      }
    }
    await start();
  } catch (err) {
    await stop('immediate');
    await fs.rm(root, { recursive: true, force: true });
    throw err;
  }
  return {
    install,
    dataDir,
    socketDir: root,
    port,
    get pid() {
      return child?.pid ?? -1;
    },
    client,
    async sql(text, database = 'postgres') {
      const c = await client(database);
      try {
        const result = (await c.query(text)) as pg.QueryResult | pg.QueryResult[];
        const last = Array.isArray(result) ? result[result.length - 1]! : result;
        return last.rows as Record<string, unknown>[];
      } finally {
        clients.delete(c);
        await c.end();
      }
    },
    stop,
    start,
    async destroy() {
      await stop('immediate');
      await fs.rm(root, { recursive: true, force: true });
    },
  };
}

/** PostgreSQL insists on owning its files, and on modes that cp -a keeps. */
async function copyDataDir(install: PgInstall, from: string, to: string): Promise<void> {
  await run('cp', ['-a', from, to]);
  const { runAs } = install;
  if (runAs) await run('chown', ['-R', `${runAs.uid}:${runAs.gid}`, to]);
}
