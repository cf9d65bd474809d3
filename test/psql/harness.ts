/** Runs a psql invocation through Debian's psql and through ours, with the same environment, input and working directory. */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { PassThrough, Writable } from 'node:stream';
import { runPsql } from '../../src/psql/main.js';

/** The original; CI installs postgresql-client-15 or later. */
export const REAL_PSQL = findPsql();

/** Debian's /usr/bin/psql is a Perl script that picks the newest of these, and takes longer for that than psql does. */
function findPsql(): string {
  const folder = '/usr/lib/postgresql';
  const versions = fs.existsSync(folder) ? fs.readdirSync(folder) : [];
  const programs = versions
    .sort((a, b) => Number(b) - Number(a))
    .map((version) => `${folder}/${version}/bin/psql`);
  return programs.find((program) => fs.existsSync(program)) ?? '/usr/bin/psql';
}

export function requireRealPsql(): void {
  if (!fs.existsSync(REAL_PSQL))
    throw new Error(
      `${REAL_PSQL} is missing: install postgresql-client (15 or later); this test compares with it`,
    );
}

export interface Invocation {
  args: string[];
  stdin?: string | Buffer;
  env?: Record<string, string>;
}

export interface Transcript {
  stdout: string;
  stderr: string;
  status: number;
}

/** Nothing of the machine's own environment gets in the way of the comparison. */
export function baseEnv(server: { socketDir: string; port: number }): Record<string, string> {
  return {
    PATH: process.env['PATH'] ?? '/usr/bin:/bin',
    PGHOST: server.socketDir,
    PGPORT: String(server.port),
    PGUSER: 'postgres',
    PGDATABASE: 'postgres',
    PGTZ: 'UTC',
    LC_ALL: 'C.UTF-8',
    HOME: server.socketDir,
    SHELL: '/bin/sh',
  };
}

export function runReal(invocation: Invocation, env: Record<string, string>): Promise<Transcript> {
  return runProcess([REAL_PSQL], invocation, env);
}

/** The program as a user starts it. */
export function runProcess(
  command: string[],
  { args, stdin, env: extra }: Invocation,
  env: Record<string, string>,
): Promise<Transcript> {
  return new Promise((resolve, reject) => {
    const child = spawn(command[0]!, [...command.slice(1), ...args], { env: { ...env, ...extra } });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
    child.stdin.on('error', () => undefined); // a program that fails early does not read its input
    child.once('error', reject);
    child.once('close', (code) =>
      resolve({
        stdout: Buffer.concat(out).toString(),
        stderr: Buffer.concat(err).toString(),
        status: code ?? -1,
      }),
    );
    child.stdin.end(stdin ?? '');
  });
}

/** Ours, within this process. */
export async function runOurs(
  { args, stdin, env: extra }: Invocation,
  env: Record<string, string>,
): Promise<Transcript> {
  const out = collector();
  const err = collector();
  const input = new PassThrough();
  input.end(stdin ?? '');
  const io = {
    stdin: input,
    stdout: out.stream,
    stderr: err.stream,
    env: { ...env, ...extra },
    stdinIsTty: false,
    stdoutIsTty: false,
    isProcess: false,
  };
  const status = await runPsql(args, io, () => null);
  return { stdout: out.text(), stderr: err.text(), status };
}

function collector(): { stream: Writable; text: () => string } {
  const chunks: Buffer[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(Buffer.from(chunk));
      done();
    },
  });
  return { stream, text: () => Buffer.concat(chunks).toString() };
}
