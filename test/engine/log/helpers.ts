import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { nodeFs } from '../../../src/engine/log/fs.js';
import type { LogFs } from '../../../src/engine/log/fs.js';
import { LogStore } from '../../../src/engine/log/store.js';
import type { LogOptions } from '../../../src/engine/log/store.js';
import { lsn } from '../../../src/engine/lsn.js';
import type { Lsn } from '../../../src/engine/lsn.js';

export const OWNER = { volumeId: 'vol-1', nodeId: 'node-1' };
/** An odd LSN beyond 32 bits: nothing may assume alignment or a small number. */
export const START = lsn(0x3_0000_1235);
export const IMPORT = [{ epoch: 0, startLsn: START }];

export function tempDir(): { dir: string; remove: () => void } {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'log-test-'));
  return { dir, remove: () => fs.rmSync(dir, { recursive: true, force: true }) };
}

/** Runs `body` with a fresh folder, removed afterwards in any case. */
export async function withDir(body: (dir: string) => Promise<void>): Promise<void> {
  const { dir, remove } = tempDir();
  try {
    await body(dir);
  } finally {
    remove();
  }
}

export const create = (dir: string, options: Partial<LogOptions> = {}): Promise<LogStore> =>
  LogStore.create(dir, { ...OWNER, ...options }, START, IMPORT);

export const open = (dir: string, options: Partial<LogOptions> = {}): Promise<LogStore> =>
  LogStore.open(dir, { ...OWNER, ...options });

/** Bytes that tell their position, so that any mix-up shows: never zero, with a period that divides no block size. */
export function pattern(begin: number, length: number, flavour = 0): Buffer {
  const out = Buffer.allocUnsafe(length);
  for (let i = 0; i < length; i++) out[i] = ((((begin + i) % 65521) * 31 + flavour * 7) % 251) + 1;
  return out;
}

export async function put(store: LogStore, length: number, flavour = 0): Promise<Lsn> {
  store.append(store.endLsn, pattern(store.endLsn, length, flavour));
  return store.sync();
}

export function logFiles(dir: string): string[] {
  return fs
    .readdirSync(dir)
    .sort()
    .map((name) => path.join(dir, name));
}

export function flipBit(file: string, offset: number, bit = 3): void {
  const bytes = fs.readFileSync(file);
  bytes[offset]! ^= 1 << bit;
  fs.writeFileSync(file, bytes);
}

/** Copies a closed log, so that one written log serves many damage experiments. */
export function copyLog(from: string, to: string): string {
  fs.rmSync(to, { recursive: true, force: true });
  fs.cpSync(from, to, { recursive: true });
  return to;
}

/** The real file system without waiting for the disk: for tests that damage files, where no power fails. */
export const unsyncedFs: LogFs = {
  ...nodeFs,
  datasync: () => Promise.resolve(),
  syncDir: () => Promise.resolve(),
};

export type FaultyOp = 'writev' | 'datasync' | 'open' | 'syncDir';

/** The real file system, with a plan of failures: `fail` is asked before each operation. */
export class FaultyFs implements LogFs {
  /** Error code to fail with, or null. A failing writev first writes `partialBytes` of what it was given. */
  fail: (op: FaultyOp, path: string) => string | null = () => null;
  partialBytes = 0;
  /** A failing datasync also loses what was written since the last one, as a kernel may. */
  dropOnSyncFailure = true;
  private paths = new Map<number, string>();
  private synced = new Map<number, number>();

  mkdir = nodeFs.mkdir;
  list = nodeFs.list;
  readFile = nodeFs.readFile;
  openSync = nodeFs.openSync;
  close = nodeFs.close;
  read = nodeFs.read;
  readSync = nodeFs.readSync;
  unlink = nodeFs.unlink;

  async syncDir(dir: string): Promise<void> {
    this.check('syncDir', dir);
    await nodeFs.syncDir(dir);
  }

  async open(file: string, flags: 'r' | 'r+' | 'wx+'): Promise<number> {
    if (flags !== 'r') this.check('open', file);
    const fd = await nodeFs.open(file, flags);
    this.paths.set(fd, file);
    this.synced.set(fd, fs.fstatSync(fd).size);
    return fd;
  }

  async writev(fd: number, buffers: Buffer[], position: number): Promise<number> {
    try {
      this.check('writev', this.paths.get(fd)!);
    } catch (err) {
      if (this.partialBytes > 0)
        fs.writeSync(fd, Buffer.concat(buffers).subarray(0, this.partialBytes), 0, undefined, position);
      throw err;
    }
    return nodeFs.writev(fd, buffers, position);
  }

  async datasync(fd: number): Promise<void> {
    try {
      this.check('datasync', this.paths.get(fd)!);
    } catch (err) {
      const from = this.synced.get(fd)!;
      const lost = fs.fstatSync(fd).size - from;
      if (this.dropOnSyncFailure && lost > 0) fs.writeSync(fd, Buffer.alloc(lost), 0, lost, from);
      throw err;
    }
    this.synced.set(fd, fs.fstatSync(fd).size);
  }

  private check(op: FaultyOp, file: string): void {
    const code = this.fail(op, file);
    if (code) throw Object.assign(new Error(`${code}: injected`), { code });
  }
}

/** A small seeded generator (mulberry32): 0 <= x < 1. */
export function random(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
