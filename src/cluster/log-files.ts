/** The logs of a cluster's processes: which there are, their last lines, and what is added to them, over rotations. */
import { promises as fs, existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { StringDecoder } from 'node:string_decoder';
import { setTimeout as sleep } from 'node:timers/promises';
import { computeDirs } from '../compute/cluster-dirs.js';
import { DbError } from '../engine/errors.js';
import { clusterLayout, daemonLog } from './layout.js';
import { Manifest } from './manifest.js';
import { computeDaemonName, storageDaemonName } from './start.js';

/** How often files are looked at for more; a rotation within it is not missed, as long as the old file is only renamed. */
const POLL_MS = 200;
const PIECE = 256 * 1024;
/** A line longer than this is shown in pieces. */
const LINE_MAX = 1024 * 1024;

export interface LogFile {
  /** storage-1, compute-primary, postgresql-primary. */
  readonly name: string;
  readonly file: string;
}

export interface LogLine {
  readonly name: string;
  readonly text: string;
}

/** Of all processes of the cluster, those that never ran among them. Throws CLUSTER_MISSING. */
export function logFiles(root: string): LogFile[] {
  const layout = clusterLayout(root);
  const manifest = Manifest.open(layout);
  try {
    const { storageNodes, computes, volume } = manifest;
    const daemons = [
      ...storageNodes.map(({ id }) => storageDaemonName(id)),
      ...computes.map(({ name }) => computeDaemonName(name)),
    ];
    return [
      ...daemons.map((name) => ({ name, file: daemonLog(layout, name) })),
      ...computes.map(({ name, dir }) => ({
        name: `postgresql-${name}`,
        file: givenLog(layout.run, name) ?? computeDirs(dir, volume.socketDir, name).postgresLog,
      })),
    ];
  } finally {
    manifest.close();
  }
}

/** Of `all` those that `wanted` names, in full or by their kind (storage, compute, postgresql). Throws USAGE_LOG. */
export function chooseLogs(all: readonly LogFile[], wanted: readonly string[]): LogFile[] {
  if (wanted.length === 0) return [...all];
  for (const word of wanted)
    if (!all.some(({ name }) => isMeant(name, word)))
      throw new DbError('USAGE_LOG', `there is no log "${word}"`, {
        hint: `There are: ${all.map(({ name }) => name).join(', ')}.`,
      });
  return all.filter(({ name }) => wanted.some((word) => isMeant(name, word)));
}

function isMeant(name: string, word: string): boolean {
  return name === word || name.startsWith(`${word}-`);
}

/** "aurora start -l FILE" gives PostgreSQL another log. */
function givenLog(runDir: string, compute: string): string | null {
  const config = path.join(runDir, `${computeDaemonName(compute)}.json`);
  if (!existsSync(config)) return null;
  return (JSON.parse(readFileSync(config, 'utf8')) as { postgresLog?: string }).postgresLog ?? null;
}

/** One log, read from its end. */
export class LogTail {
  private handle: fs.FileHandle | null = null;
  private inode = 0;
  private position = 0;
  private rest = '';
  private decoder = new StringDecoder('utf8');

  constructor(readonly log: LogFile) {}

  /** The last `count` lines; what follows is read from there on. */
  async last(count: number): Promise<string[]> {
    if (!(await this.open())) return [];
    const { size } = await this.handle!.stat();
    let at = size;
    let bytes = Buffer.alloc(0);
    while (at > 0 && newlines(bytes) <= count) {
      const begin = Math.max(0, at - PIECE);
      const piece = Buffer.alloc(at - begin);
      await this.handle!.read(piece, 0, piece.length, begin);
      bytes = Buffer.concat([piece, bytes]);
      at = begin;
    }
    this.position = size;
    const lines = this.split(bytes.toString('utf8'));
    return count === 0 ? [] : lines.slice(-count);
  }

  /** Lines that were added since; those of a new file under the same name too. A file that was cut short is read from its beginning. */
  async more(): Promise<string[]> {
    if (this.handle === null && !(await this.open())) return [];
    const lines = await this.readOn();
    const now = await fs.stat(this.log.file).catch(absent);
    if (now === null || now.ino === this.inode) return lines;
    lines.push(...(await this.readOn())); // what the old file got before it was let go
    await this.close();
    return (await this.open()) ? [...lines, ...(await this.readOn())] : lines;
  }

  async close(): Promise<void> {
    await this.handle?.close();
    this.handle = null;
  }

  private async open(): Promise<boolean> {
    this.handle = await fs.open(this.log.file, 'r').catch(absent);
    if (this.handle === null) return false;
    this.inode = (await this.handle.stat()).ino;
    this.position = 0;
    this.rest = '';
    this.decoder = new StringDecoder('utf8');
    return true;
  }

  private async readOn(): Promise<string[]> {
    const { size } = await this.handle!.stat();
    if (size < this.position) this.position = 0;
    const lines: string[] = [];
    const piece = Buffer.alloc(PIECE);
    for (;;) {
      const { bytesRead } = await this.handle!.read(piece, 0, PIECE, this.position);
      if (bytesRead === 0) return lines;
      this.position += bytesRead;
      lines.push(...this.split(this.decoder.write(piece.subarray(0, bytesRead))));
    }
  }

  /** Whole lines; the beginning of one that is not written to its end yet is kept. */
  private split(text: string): string[] {
    const lines = (this.rest + text).split('\n');
    this.rest = lines.pop()!;
    if (this.rest.length > LINE_MAX) {
      lines.push(this.rest);
      this.rest = '';
    }
    return lines;
  }
}

/** The last `count` lines of each log, by time; then, with `follow`, those that are added until the signal fires. */
export async function readLogs(
  logs: readonly LogFile[],
  options: { count: number; follow: boolean; signal: AbortSignal; show(lines: LogLine[]): Promise<boolean> },
): Promise<void> {
  const { count, follow, signal, show } = options;
  const tails = logs.map((log) => new LogTail(log));
  try {
    const past = await Promise.all(tails.map(async (tail) => named(tail, await tail.last(count))));
    let heard = await show(byTime(past));
    while (follow && heard && !signal.aborted) {
      const lines = byTime(await Promise.all(tails.map(async (tail) => named(tail, await tail.more()))));
      if (lines.length > 0) heard = await show(lines);
      else await sleep(POLL_MS, undefined, { signal }).catch(() => undefined); // interrupted: the loop ends
    }
  } finally {
    await Promise.all(tails.map((tail) => tail.close()));
  }
}

function newlines(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) count++;
  return count;
}

function named(tail: LogTail, lines: string[]): LogLine[] {
  return lines.map((text) => ({ name: tail.log.name, text }));
}

/** A line without a time of its own stays with the one before it. */
function byTime(logs: readonly LogLine[][]): LogLine[] {
  const timed = logs.flatMap((lines) => {
    let last = 0;
    return lines.map((line) => ({ line, time: (last = lineTime(line.text) ?? last) }));
  });
  return timed.sort((a, b) => a.time - b.time).map(({ line }) => line);
}

const JSON_TIME = /^\{.*?"time":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)"/;
const POSTGRES_TIME = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d\.\d{3}) (\S+) \[/;

/** Milliseconds since 1970 of a line as our daemons write it, or as PostgreSQL does with its default log_line_prefix in UTC. */
export function lineTime(text: string): number | null {
  const json = JSON_TIME.exec(text);
  if (json) return Date.parse(json[1]!);
  const postgres = POSTGRES_TIME.exec(text);
  if (!postgres) return null;
  const [, day, time, zone] = postgres;
  const at = Date.parse(`${day}T${time}${/^(UTC|GMT)$/.test(zone!) ? 'Z' : ''}`);
  return Number.isNaN(at) ? null : at;
}

function absent(err: NodeJS.ErrnoException): null {
  if (err.code === 'ENOENT') return null;
  throw err;
}
