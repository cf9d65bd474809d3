import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { DbError, errorMessage } from '../engine/errors.js';
import { credentials, type PgInstall } from './postgres.js';

const run = promisify(execFile);

const SOURCES = ['pagein.c', 'maps.c', 'agent.c', 'promote.c', 'walgate.c'];
const HEADERS = ['maps.h', 'agent.h', 'promote.h', 'real.h', 'walgate.h'];
const FLAGS = ['-O2', '-shared', '-fPIC', '-Wall', '-Wextra', '-pthread'];
/** After the sources: before glibc 2.34, dlsym lives in a library of its own. */
const LIBS = ['-ldl'];
const PROBE_ANSWER = 'openaurora-pagein 1';

/** Environment that makes postgres use the library (see pagein/PROTOCOL.md). */
export interface PageinEnvironment {
  library: string;
  dataDir: string;
  mapsDir: string;
  agentSocket: string;
  /** See wal-gate.ts. */
  walGate?: string;
  /** Patience for one fetch. */
  timeoutMs: number;
}

/**
 * The page-in library, compiled on first use and kept in `cacheDir` under a hash of its source and the compiler's command.
 * It is readable by everyone; that `cacheDir` can be reached by the account postgres runs as is the caller's business.
 * Returns its path. Throws CLUSTER_NO_PAGEIN (not Linux), CLUSTER_NO_COMPILER, CLUSTER_PAGEIN_BUILD (the compiler's words).
 */
export async function ensurePagein(cacheDir: string): Promise<string> {
  requireLinux();
  const sourceDir = await findSources();
  const compiler = (process.env['CC'] || 'cc').trim().split(/\s+/);
  const hash = createHash('sha256').update(`${compiler.join(' ')} ${process.arch} ${FLAGS.join(' ')}`);
  for (const file of [...SOURCES, ...HEADERS]) hash.update(await fs.readFile(path.join(sourceDir, file)));
  const library = path.join(cacheDir, `pagein-${hash.digest('hex').slice(0, 16)}.so`);
  if (await exists(library)) return library;

  await fs.mkdir(cacheDir, { recursive: true, mode: 0o755 });
  const scratch = await fs.mkdtemp(path.join(cacheDir, 'build-'));
  try {
    const built = path.join(scratch, 'pagein.so');
    const sources = SOURCES.map((file) => path.join(sourceDir, file));
    await compile(compiler, [...FLAGS, '-o', built, ...sources, ...LIBS]);
    await fs.chmod(built, 0o755);
    await fs.rename(built, library);
  } finally {
    await fs.rm(scratch, { recursive: true, force: true });
  }
  return library;
}

/**
 * Shows that this postgres, as this account, really loads the library. The dynamic linker only warns when it cannot (another C
 * library, no permission, a file system mounted noexec), and postgres would then take absent blocks for zeros.
 * Throws CLUSTER_PAGEIN_UNUSABLE with the linker's words.
 */
export async function probePagein(library: string, install: PgInstall): Promise<void> {
  let said: string;
  try {
    const { stdout, stderr } = await run(path.join(install.bindir, 'postgres'), ['--version'], {
      ...credentials(install),
      cwd: '/',
      env: { ...process.env, LD_PRELOAD: library, AURORA_PAGEIN_PROBE: '1' },
    });
    if (stdout.trim() === PROBE_ANSWER) return;
    said = stderr.trim() || `unexpected answer: ${stdout.trim()}`;
  } catch (err) {
    said = errorMessage(err);
  }
  throw new DbError(
    'CLUSTER_PAGEIN_UNUSABLE',
    `postgres does not load the page-in library ${library}: ${said}`,
    {
      hint: 'The folder must be readable by the account that runs PostgreSQL, and not be mounted noexec.',
    },
  );
}

/**
 * Environment for the postmaster. What is preloaded into this process anyway (an allocator, say) comes after the page-in library. It is ended (immediate shutdown)
 * when this process dies: spawn it from the main thread.
 */
export function pageinEnvironment(settings: PageinEnvironment): Record<string, string> {
  return {
    LD_PRELOAD: [settings.library, process.env['LD_PRELOAD']].filter(Boolean).join(':'),
    AURORA_PAGEIN_DATA: settings.dataDir,
    AURORA_PAGEIN_MAPS: settings.mapsDir,
    AURORA_PAGEIN_SOCKET: settings.agentSocket,
    AURORA_PAGEIN_TIMEOUT_MS: String(settings.timeoutMs),
    ...(settings.walGate === undefined ? {} : { AURORA_PAGEIN_WALGATE: settings.walGate }),
    AURORA_PDEATHSIG: '1',
    AURORA_PARENT_PID: String(process.pid),
  };
}

function requireLinux(): void {
  if (process.platform === 'linux') return;
  throw new DbError(
    'CLUSTER_NO_PAGEIN',
    `the page-in library needs Linux, and this is ${process.platform}: a compute cannot run here`,
    { hint: 'Run computes on Linux (a container or virtual machine will do); storage nodes run anywhere.' },
  );
}

/** The C sources are not compiled into dist/: they are found from there in the package's src/ folder. */
async function findSources(): Promise<string> {
  const here = path.dirname(fileURLToPath(import.meta.url));
  for (let dir = here; ; dir = path.dirname(dir)) {
    for (const candidate of [path.join(dir, 'pagein'), path.join(dir, 'src', 'compute', 'pagein')])
      if (await exists(path.join(candidate, SOURCES[0]!))) return candidate;
    if (dir === path.dirname(dir)) break;
  }
  throw new DbError(
    'CLUSTER_PAGEIN_BUILD',
    `the page-in library's source is missing from the package (looked above ${here})`,
    {
      hint: 'Reinstall the package.',
    },
  );
}

async function compile(compiler: readonly string[], args: readonly string[]): Promise<void> {
  try {
    await run(compiler[0]!, [...compiler.slice(1), ...args]);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new DbError(
        'CLUSTER_NO_COMPILER',
        `no C compiler: "${compiler[0]}" was not found, and the page-in library must be compiled once`,
        { hint: 'Install one (e.g. apt install gcc libc6-dev), or name it in CC.', cause },
      );
    }
    const said = (cause as { stderr?: string }).stderr?.trim();
    throw new DbError(
      'CLUSTER_PAGEIN_BUILD',
      `could not compile the page-in library: ${said || errorMessage(cause)}`,
      {
        hint: 'It needs a C compiler and the C library headers (e.g. apt install gcc libc6-dev).',
        cause,
      },
    );
  }
}

async function exists(file: string): Promise<boolean> {
  try {
    await fs.access(file);
    return true;
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw err;
  }
}
