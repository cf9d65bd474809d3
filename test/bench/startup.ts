/**
 * How long commands take from the shell's point of view: those that need no server, and `psql -c 'select 1'` against one, beside
 * PostgreSQL's own programs. Each round runs every command once, so that a busy moment of the machine falls on all of them.
 *
 *   npm run bench:startup        (ROUNDS=21)
 */
import { spawn } from 'node:child_process';
import { promises as fs } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { segmentFileName } from '../../src/engine/wal/segments.js';
import { lsn } from '../../src/engine/lsn.js';
import { encodeLogicalMessage } from '../../src/engine/wal/writer.js';
import { PROGRAM } from '../commands/cli.js';
import { buildLog, SEGMENT } from '../engine/wal/log-builder.js';
import { TestCluster } from '../helpers/cluster.js';

const ROUNDS = Number(process.env['ROUNDS'] ?? 21);

interface Timed {
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
  readonly ms: number[];
}

async function run({ name, program, args, ms }: Timed, env: NodeJS.ProcessEnv): Promise<void> {
  const begun = performance.now();
  const child = spawn(program, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (status !== 0) throw new Error(`${name} ended with ${status}: ${said}`);
  ms.push(performance.now() - begun);
}

/** A segment file with a hundred small records. */
async function writeSegment(dir: string): Promise<string> {
  const mainData = encodeLogicalMessage({ prefix: 'p', content: Buffer.from('m') });
  const bytes = Buffer.alloc(SEGMENT);
  buildLog(
    lsn(SEGMENT),
    Array.from({ length: 100 }, () => ({ mainData })),
  ).bytes.copy(bytes);
  const file = path.join(dir, segmentFileName(1, 1, SEGMENT));
  await fs.writeFile(file, bytes);
  return file;
}

function shown({ name, ms }: Timed): string {
  const sorted = [...ms].sort((a, b) => a - b);
  return `| ${name} | ${sorted[Math.floor(sorted.length / 2)]!.toFixed(0)} | ${sorted[0]!.toFixed(0)} |`;
}

const dir = await fs.mkdtemp(path.join(os.tmpdir(), 'oa-startup-'));
const cluster = await TestCluster.start();
try {
  const segment = await writeSegment(dir);
  const aurora = (name: string, ...args: string[]): Timed => ({
    name: `\`aurora ${name}\``,
    program: process.execPath,
    args: [PROGRAM, ...args],
    ms: [],
  });
  const select = ['-X', '-c', 'select 1', 'postgres'];
  const { socketDir, port, superuser } = cluster;
  const commands = [
    { name: '`node -e 0`', program: process.execPath, args: ['-e', '0'], ms: [] },
    aurora('--version', '--version'),
    aurora('--help', '--help'),
    aurora('inspect wal FILE', 'inspect', 'wal', '-n', '100', segment),
    aurora('isready', 'isready'),
    aurora('status', 'status'),
    aurora("psql -c 'select 1'", 'psql', ...select),
    {
      name: "PostgreSQL's `psql -c 'select 1'`",
      program: 'psql',
      args: ['-h', socketDir, '-p', String(port), '-U', superuser, ...select],
      ms: [],
    },
  ];
  const env = { ...process.env, AURORA_HOME: cluster.layout.root, NODE_OPTIONS: '' };
  for (let round = 0; round < ROUNDS; round++) for (const command of commands) await run(command, env);
  const [load] = os.loadavg();
  console.log(
    `${os.cpus().length} x ${os.cpus()[0]!.model}, Node ${process.version}, ${ROUNDS} rounds, load average at the end ${load!.toFixed(1)}\n`,
  );
  console.log(`| | median ms | least ms |\n|---|---:|---:|\n${commands.map(shown).join('\n')}`);
} finally {
  await cluster.destroy();
  await fs.rm(dir, { recursive: true, force: true });
}
