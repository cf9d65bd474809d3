import { spawn } from 'node:child_process';
import type { Target } from './servers.js';

/** Where to. */
export type Server = Pick<Target, 'host' | 'port' | 'user'>;

export interface PgbenchResult {
  tps: number;
  latencyMs: number;
  transactions: number;
  failed: number;
}

/** Runs the stock pgbench. Throws with what it said when it fails. */
export async function pgbench(target: Server, args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(
      'pgbench',
      ['-h', target.host, '-p', String(target.port), '-U', target.user, ...args, 'postgres'],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (err = (err + chunk.toString()).slice(-4000)));
    child.once('error', (cause) =>
      reject(new Error(`cannot run pgbench (install PostgreSQL's client tools): ${cause.message}`)),
    );
    child.once('close', (code) =>
      code === 0 ? resolve(out) : reject(new Error(`pgbench exited with ${code}: ${err}`)),
    );
  });
}

export async function load(
  target: Server,
  options: {
    clients: number;
    seconds: number;
    selectOnly?: boolean;
    /** Transactions a second; default: as many as it can. */ rate?: number;
  },
): Promise<PgbenchResult> {
  const args = [
    '-n',
    '-c',
    String(options.clients),
    '-j',
    '2',
    '-T',
    String(options.seconds),
    '-M',
    'prepared',
    ...(options.selectOnly ? ['-S'] : []),
    ...(options.rate === undefined ? [] : ['-R', String(options.rate)]),
  ];
  const out = await pgbench(target, args);
  const number = (pattern: RegExp): number => Number(pattern.exec(out)?.[1] ?? NaN);
  return {
    tps: number(/tps = ([\d.]+)/),
    latencyMs: number(/latency average = ([\d.]+)/),
    transactions: number(/actually processed: (\d+)/),
    failed: number(/failed transactions: (\d+)/) || 0,
  };
}
