/**
 * Custom resource managers: what an extension in shared_preload_libraries writes to the log under an id of its own (128 to 255). Only its own
 * code can replay that, so a volume would stop at the first such record. They are found out before PostgreSQL lets anybody in.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { DbError } from '../engine/errors.js';
import { credentials, giveTo, type PgInstall } from './postgres.js';

const PROBE_MS = 20_000;
const PRELOAD = 'shared_preload_libraries';

export interface CustomRmgr {
  readonly id: number;
  readonly name: string;
}

export interface PreloadProbe {
  readonly managers: readonly CustomRmgr[];
  /** Why PostgreSQL could not load the libraries, in its words; null if it could. */
  readonly failure: string | null;
}

/** The data directory that is asked about; it may be in use. */
export interface ProbedServer {
  readonly install: PgInstall;
  readonly dataDir: string;
  /** Settings on PostgreSQL's command line. */
  readonly settings: Readonly<Record<string, string>>;
}

/**
 * Refuses to start PostgreSQL with a library that registers a resource manager. Throws COMPUTE_CUSTOM_RMGR. A library that cannot be
 * loaded is none of its business: PostgreSQL itself will say so.
 */
export async function refuseCustomRmgrs(server: ProbedServer, hint = START_WITHOUT): Promise<void> {
  const { managers } = await probePreload(server);
  if (managers.length > 0) throw customRmgrError(managers, hint);
}

export function customRmgrError(managers: readonly CustomRmgr[], hint: string): DbError {
  const names = managers.map(({ id, name }) => `"${name}" (id ${id})`).join(', ');
  const what = `custom resource manager${managers.length > 1 ? 's' : ''} ${names}`;
  return new DbError(
    'COMPUTE_CUSTOM_RMGR',
    `a library in ${PRELOAD} registers the ${what}: storage cannot replay what an extension writes to the log in a form of its own`,
    { reaction: 'usage', hint, details: { managers } },
  );
}

const START_WITHOUT = `Start once without the library, aurora start -o "-c ${PRELOAD}=", and take it out of the setting for good.`;

/**
 * Loads the libraries of shared_preload_libraries the way a start does, in a postmaster that ends before it opens anything: a name that no
 * resource manager has in wal_consistency_checking is an error, and PostgreSQL can only judge it right after the libraries have had
 * their chance to register one. Each registration is logged. "postgres -C" would not do: it logs nothing below FATAL.
 */
export async function probePreload(server: ProbedServer): Promise<PreloadProbe> {
  if (!(await mayPreload(server))) return { managers: [], failure: null };
  const { install, dataDir, settings } = server;
  const folder = await fs.mkdtemp(path.join(path.dirname(dataDir), 'preload-'));
  try {
    await makeProbeDir(install, dataDir, folder);
    const nobody = `none_${randomBytes(6).toString('hex')}`;
    const forced: Record<string, string> = {
      ...settings,
      wal_consistency_checking: nobody,
      ssl: 'off',
      logging_collector: 'off',
      log_destination: 'stderr',
      log_min_messages: 'log',
      log_error_verbosity: 'default',
      log_line_prefix: '',
      lc_messages: 'C',
    };
    const said = await runPostgres(install, folder, forced);
    const failure = said.includes(nobody) ? null : reasons(said);
    return { managers: registrations(said), failure };
  } finally {
    await fs.rm(folder, { recursive: true, force: true });
  }
}

/** Most clusters preload nothing, and pay nothing for this. An included file may say anything. */
async function mayPreload({ dataDir, settings }: ProbedServer): Promise<boolean> {
  const given = settings[PRELOAD];
  if (given !== undefined) return given.trim() !== '';
  for (const name of ['postgresql.conf', 'postgresql.auto.conf']) {
    const text = await readIfThere(path.join(dataDir, name));
    if (text !== null && /^\s*(shared_preload_libraries|include)/im.test(text.toString())) return true;
  }
  return false;
}

/** What a postmaster reads before it loads libraries. The data directory itself is locked by its own postmaster, if it has one. */
async function makeProbeDir(install: PgInstall, dataDir: string, folder: string): Promise<void> {
  await fs.mkdir(path.join(folder, 'global'), { mode: 0o700 });
  for (const name of ['PG_VERSION', 'postgresql.conf', 'postgresql.auto.conf', 'global/pg_control']) {
    const content = await readIfThere(path.join(dataDir, name));
    if (content === null) continue;
    await fs.writeFile(path.join(folder, name), content, { mode: 0o600 });
    await giveTo(install, path.join(folder, name));
  }
  for (const made of [path.join(folder, 'global'), folder]) await giveTo(install, made);
}

function runPostgres(
  install: PgInstall,
  folder: string,
  settings: Readonly<Record<string, string>>,
): Promise<string> {
  const given = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const options = {
    ...credentials(install),
    cwd: folder,
    timeout: PROBE_MS,
    env: { ...process.env, LC_ALL: 'C', LANGUAGE: '' },
  };
  return new Promise((resolve) => {
    const program = path.join(install.bindir, 'postgres');
    execFile(program, ['-D', folder, ...given], options, (err, _stdout, stderr) =>
      resolve(stderr.trim() || (err?.message ?? '')),
    );
  });
}

function registrations(said: string): CustomRmgr[] {
  const found = said.matchAll(/^LOG: +registered custom resource manager "(.*)" with ID (\d+)$/gm);
  return [...found].map(([, name, id]) => ({ id: Number(id), name: name! }));
}

function reasons(said: string): string {
  const lines = said.split('\n').flatMap((line) => /^(?:FATAL|PANIC|ERROR): +(.*)$/.exec(line)?.[1] ?? []);
  return lines.join('; ') || said.slice(-800) || 'postgres ended without a word';
}

async function readIfThere(file: string): Promise<Buffer | null> {
  try {
    return await fs.readFile(file);
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw err;
  }
}
