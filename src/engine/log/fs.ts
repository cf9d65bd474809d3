import fs from 'node:fs';
import { promisify } from 'node:util';

/** The few file operations the log needs. Tests put a failing disk in its place; errors are Node's, with `code`. */
export interface LogFs {
  mkdir(dir: string): Promise<void>;
  list(dir: string): Promise<string[]>;
  /** Makes the names in a directory durable. */
  syncDir(dir: string): Promise<void>;
  readFile(path: string): Promise<Buffer>;
  /** `wx+` makes a new file and fails if there is one. */
  open(path: string, flags: 'r' | 'r+' | 'wx+'): Promise<number>;
  openSync(path: string): number;
  close(fd: number): void;
  /** Writes all buffers one after the other from `position` on; may write less and says how much. */
  writev(fd: number, buffers: Buffer[], position: number): Promise<number>;
  datasync(fd: number): Promise<void>;
  read(fd: number, into: Buffer, position: number): Promise<number>;
  readSync(fd: number, into: Buffer, position: number): number;
  unlink(path: string): Promise<void>;
}

/** Writes up to this size are made on the calling thread. */
const WRITE_HERE_BYTES = 64 * 1024;

const open = promisify(fs.open);
const fdatasync = promisify(fs.fdatasync);

export const nodeFs: LogFs = {
  mkdir: async (dir) => void (await fs.promises.mkdir(dir, { recursive: true, mode: 0o700 })),
  list: (dir) => fs.promises.readdir(dir),
  async syncDir(dir) {
    const handle = await fs.promises.open(dir, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
  readFile: (path) => fs.promises.readFile(path),
  open: (path, flags) => open(path, flags, 0o600),
  openSync: (path) => fs.openSync(path, 'r'),
  close: (fd) => fs.closeSync(fd),
  writev: async (fd, buffers, position) => {
    // A small write only reaches the page cache: it costs less than handing it to another thread and being woken by it.
    let bytes = 0;
    for (const buffer of buffers) bytes += buffer.length;
    if (bytes <= WRITE_HERE_BYTES) return fs.writevSync(fd, buffers, position);
    return new Promise((resolve, reject) => {
      fs.writev(fd, buffers, position, (err, written) => (err ? reject(err) : resolve(written)));
    });
  },
  datasync: (fd) => fdatasync(fd),
  read: (fd, into, position) =>
    new Promise((resolve, reject) => {
      fs.read(fd, into, 0, into.length, position, (err, count) => (err ? reject(err) : resolve(count)));
    }),
  readSync: (fd, into, position) => fs.readSync(fd, into, 0, into.length, position),
  unlink: (path) => fs.promises.unlink(path),
};
