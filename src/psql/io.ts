/** Where psql reads and writes: standard streams, output files, shell commands. */
import { spawn, spawnSync, type StdioOptions } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { encodeText } from './text.js';

export interface PsqlIo {
  stdin: Readable;
  stdout: Writable;
  stderr: Writable;
  env: NodeJS.ProcessEnv;
  /** Standard input, standard output are a terminal. */
  stdinIsTty: boolean;
  stdoutIsTty: boolean;
  /** True when the streams are the process's own: child processes then share them. */
  isProcess: boolean;
}

export function processIo(): PsqlIo {
  return {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    stdinIsTty: process.stdin.isTTY ?? false,
    stdoutIsTty: process.stdout.isTTY ?? false,
    isProcess: true,
  };
}

/** Exit status of a shell command as the shell says it: 128 + N for a signal. */
export type ShellStatus = number;

/** Takes output until it is closed. */
export interface Sink {
  write(data: string | Buffer): void;
  /** Resolves when what was written has gone out far enough to write more. */
  drained(): Promise<void>;
  /** Resolves to the exit status of a command, 0 for a file. */
  close(): Promise<ShellStatus>;
}

export class StreamSink implements Sink {
  private full = false;

  constructor(private readonly stream: Writable) {}

  write(data: string | Buffer): void {
    this.full = !this.stream.write(typeof data === 'string' ? encodeText(data) : data);
  }

  async drained(): Promise<void> {
    if (!this.full || this.stream.destroyed || !this.stream.writableNeedDrain) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.stream.off('drain', done).off('close', done);
        resolve();
      };
      this.stream.once('drain', done).once('close', done);
    });
  }

  close(): Promise<ShellStatus> {
    return Promise.resolve(0);
  }
}

/** A file, written at once so that what other programs see is complete. Throws the system's error. */
export class FileSink implements Sink {
  private readonly fd: number;

  constructor(file: string, mode: 'w' | 'a' = 'w') {
    this.fd = fs.openSync(file, mode, 0o666);
  }

  write(data: string | Buffer): void {
    const encoded = typeof data === 'string' ? encodeText(data) : data;
    const bytes = typeof encoded === 'string' ? Buffer.from(encoded) : encoded;
    for (let at = 0; at < bytes.length;) at += fs.writeSync(this.fd, bytes, at);
  }

  drained(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<ShellStatus> {
    fs.closeSync(this.fd);
    return Promise.resolve(0);
  }
}

/** A shell command's standard input. */
export class PipeSink implements Sink {
  private readonly inner: StreamSink;
  private readonly ended: Promise<ShellStatus>;
  private readonly stdin: Writable;

  constructor(command: string, io: PsqlIo) {
    const child = spawn('/bin/sh', ['-c', command], {
      argv0: 'sh',
      stdio: childStdio(io, 'pipe'),
      env: io.env,
    });
    this.stdin = child.stdin!;
    this.stdin.on('error', () => this.stdin.destroy()); // the command stopped reading: the rest goes nowhere, as with a pager
    this.inner = new StreamSink(this.stdin);
    this.ended = childStatus(child, io);
  }

  write(data: string | Buffer): void {
    if (!this.stdin.destroyed) this.inner.write(data);
  }

  drained(): Promise<void> {
    return this.inner.drained();
  }

  close(): Promise<ShellStatus> {
    this.stdin.end();
    return this.ended;
  }
}

function childStdio(io: PsqlIo, stdin: 'pipe' | 'inherit'): StdioOptions {
  const shared = io.isProcess ? 'inherit' : 'pipe';
  return [stdin === 'inherit' && !io.isProcess ? 'ignore' : stdin, shared, shared];
}

function childStatus(child: ReturnType<typeof spawn>, io: PsqlIo): Promise<ShellStatus> {
  child.stdout?.on('data', (chunk: Buffer) => io.stdout.write(chunk));
  child.stderr?.on('data', (chunk: Buffer) => io.stderr.write(chunk));
  return new Promise((resolve) => {
    child.once('error', () => resolve(127));
    child.once('close', (code, signal) => resolve(code ?? 128 + os.constants.signals[signal!]));
  });
}

/** \o, \g, \w, -o: a file, or a command after "|". Throws the system's error. */
export function openSink(target: string, io: PsqlIo): Sink {
  return target.startsWith('|') ? new PipeSink(target.slice(1), io) : new FileSink(target);
}

/** Runs a command with our own standard streams. */
export function runShell(command: string | null, io: PsqlIo): Promise<ShellStatus> {
  const shell = io.env['SHELL'] || '/bin/sh';
  const stdio = childStdio(io, 'inherit');
  const child =
    command === null
      ? spawn(shell, [], { stdio, env: io.env })
      : spawn('/bin/sh', ['-c', command], { argv0: 'sh', stdio, env: io.env });
  return childStatus(child, io);
}

/** Output of a command and how it ended; standard error is shared. */
export function captureShell(command: string, io: PsqlIo): { output: Buffer; status: ShellStatus } {
  const child = spawnSync('/bin/sh', ['-c', command], {
    argv0: 'sh',
    stdio: [io.isProcess ? 'inherit' : 'ignore', 'pipe', io.isProcess ? 'inherit' : 'pipe'],
    env: io.env,
    maxBuffer: 1024 * 1024 * 1024,
  });
  if (!io.isProcess && child.stderr) io.stderr.write(child.stderr);
  const status = child.status ?? (child.signal ? 128 + os.constants.signals[child.signal] : 127);
  return { output: child.stdout ?? Buffer.alloc(0), status };
}

/** "child process exited with exit code 3" and the like, for commands that failed. */
export function describeStatus(status: ShellStatus): string {
  if (status === 126) return 'command not executable';
  if (status === 127) return 'command not found';
  if (status > 128) {
    const name = Object.entries(os.constants.signals).find(([, number]) => number === status - 128)?.[0];
    return `child process was terminated by signal ${status - 128}${name ? `: ${name}` : ''}`;
  }
  return `child process exited with exit code ${status}`;
}

/** ~ and ~user at the start of a file name. Only the own home directory is known without a password file. */
export function expandTilde(name: string, env: NodeJS.ProcessEnv): string {
  if (!/^~(\/|$)/.test(name)) return name;
  return (env['HOME'] || os.homedir()) + name.slice(1);
}

/** File names as PostgreSQL prints them: without needless "." and "//". */
export function canonicalPath(name: string): string {
  if (name === '') return name;
  const normal = path.normalize(name);
  return normal.length > 1 ? normal.replace(/\/+$/, '') : normal;
}

const REASONS: Record<string, string> = {
  ENOENT: 'No such file or directory',
  EACCES: 'Permission denied',
  EISDIR: 'Is a directory',
  ENOTDIR: 'Not a directory',
  ENOSPC: 'No space left on device',
  EROFS: 'Read-only file system',
  EEXIST: 'File exists',
  EMFILE: 'Too many open files',
};

/** strerror() of what a file operation threw. */
export function systemReason(err: unknown): string {
  const { code, message } = err as NodeJS.ErrnoException;
  return (code !== undefined && REASONS[code]) || message;
}
