/** Runs the installed command, `node bin/run.js`, as a user's shell would: a process of its own, its exit status and its output. */
import { spawn, type ChildProcess } from 'node:child_process';
import { promises as fs } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const PROGRAM = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../bin/run.js');

export interface CliResult {
  /** Exit status; null when a signal ended it. */
  status: number | null;
  stdout: string;
  stderr: string;
}

export interface CliOptions {
  env?: Record<string, string>;
  input?: string;
  cwd?: string;
  /** Another copy of bin/run.js. */
  program?: string;
  /** Run as this account (and group); only root can. */
  uid?: number;
  /** Told of the process once it runs. */
  started?: (child: ChildProcess) => void;
  onOutput?: (stdoutSoFar: string) => void;
}

/** The caller's settings must not leak in; PostgreSQL's and ours are all in the environment. */
function cleanEnvironment(extra: Record<string, string>): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = {};
  for (const [name, value] of Object.entries(process.env))
    if (!/^(PG|AURORA_(?!PG_BINDIR|REDO_VERIFY)|DEBUG|NODE_OPTIONS|FORCE_COLOR)/.test(name))
      env[name] = value;
  return { ...env, NO_COLOR: '1', ...extra };
}

export async function aurora(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const child = spawn(process.execPath, [options.program ?? PROGRAM, ...args], {
    env: cleanEnvironment(options.env ?? {}),
    cwd: options.cwd ?? os.tmpdir(),
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  options.started?.(child);
  const result: CliResult = { status: null, stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => {
    result.stdout += chunk.toString();
    options.onOutput?.(result.stdout);
  });
  child.stderr.on('data', (chunk: Buffer) => (result.stderr += chunk.toString()));
  child.stdin.on('error', () => undefined); // it may end without reading what it is told
  child.stdin.end(options.input ?? '');
  result.status = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  return result;
}

/** A folder of its own below the temporary directory, for accounts other than ours to pass through. */
export async function tempFolder(): Promise<{ dir: string; remove: () => Promise<void> }> {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), 'oa-cli-'));
  await fs.chmod(dir, 0o711);
  return { dir, remove: () => fs.rm(dir, { recursive: true, force: true }) };
}

/** Command lines of the processes that mention `text`: what a test must not leave behind. */
export async function processesWith(text: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await fs.readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    if (Number(pid) === process.pid) continue;
    const line = await fs.readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => ''); // it may just have ended
    if (line.includes(text)) found.push(`${pid} ${line.replaceAll('\0', ' ')}`);
  }
  return found;
}
