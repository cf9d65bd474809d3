/** PostgreSQL's own crash recovery of a recorded WAL, timed by its own log. */
import { spawn } from 'node:child_process';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { parseLsn, type Lsn } from '../../src/engine/lsn.js';
import { credentials, findPostgres } from '../../src/compute/postgres.js';
import type { RecordedWal } from './redo-workload.js';

export interface PostgresReplay {
  /** From "redo starts" to "redo done"; the checkpoint that follows is not in it. */
  seconds: number;
  userSeconds: number;
  systemSeconds: number;
  /** Start of the last record replayed. */
  lastRecordLsn: Lsn;
  /** The line of the server's log. */
  line: string;
}

const DONE =
  /redo done at (\S+) system usage: CPU: user: ([\d.]+) s, system: ([\d.]+) s, elapsed: ([\d.]+) s/;

/** Turns `recorded.baseDir` into the crashed server's directory and lets PostgreSQL recover it. The base is used up then. */
export async function postgresReplay(recorded: RecordedWal): Promise<PostgresReplay> {
  const { baseDir, walDir, crashedControl, root } = recorded;
  await fs.rm(path.join(baseDir, 'pg_wal'), { recursive: true });
  await fs.rename(walDir, path.join(baseDir, 'pg_wal'));
  await fs.rename(crashedControl, path.join(baseDir, 'global', 'pg_control'));
  const install = await findPostgres();
  const settings = {
    listen_addresses: '',
    unix_socket_directories: root,
    shared_buffers: '512MB',
    max_connections: '100',
    max_wal_size: '64GB',
    full_page_writes: recorded.parameters.fullPageWrites,
  };
  const args = Object.entries(settings).flatMap(([k, v]) => ['-c', `${k}=${v}`]);
  const child = spawn(path.join(install.bindir, 'postgres'), ['-D', baseDir, ...args], {
    ...credentials(install),
    cwd: '/',
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  let said = '';
  try {
    await new Promise<void>((resolve, reject) => {
      child.stderr.on('data', (chunk: Buffer) => {
        said = (said + chunk.toString()).slice(-65536);
        if (said.includes('ready to accept connections')) resolve();
      });
      child.once('error', reject);
      child.once('exit', (code) => reject(new Error(`postgres exited with ${code}:\n${said}`)));
    });
  } finally {
    child.kill('SIGQUIT');
    await exited;
  }
  const done = DONE.exec(said);
  if (!done) throw new Error(`PostgreSQL's log tells of no redo:\n${said}`);
  const [line, at, user, system, elapsed] = done as unknown as [string, string, string, string, string];
  return {
    seconds: Number(elapsed),
    userSeconds: Number(user),
    systemSeconds: Number(system),
    lastRecordLsn: parseLsn(at),
    line,
  };
}
