import path from 'node:path';
import { DbError, errorMessage } from '../errors.js';
import type { Lsn } from '../lsn.js';
import type { EpochHistory } from '../quorum/types.js';
import {
  FRAME_OVERHEAD,
  FrameType,
  HEADER_AREA,
  encodeFileHeader,
  encodeFrame,
  encodeHistory,
  fileName,
  fileSalt,
} from './format.js';
import type { LogFs } from './fs.js';
import type { LogOwner } from './recover.js';

/** writev takes at most 1024 buffers (IOV_MAX). */
const MAX_BUFFERS = 1024;
const MAX_READERS = 8;

/** One frame to be written, and where it went. */
export interface FrameToWrite {
  readonly type: FrameType;
  readonly begin: Lsn;
  readonly pieces: readonly Buffer[];
  readonly length: number;
}

export interface FileLocation {
  readonly file: number;
  readonly offset: number;
}

/**
 * The files of one log folder: appends frames to the newest, begins new ones, and reads from any. Knows offsets, not LSNs.
 *
 * After a failed fdatasync the kernel may have dropped the dirty pages and marked them clean, so a second fdatasync that succeeds proves
 * nothing. Such a file is given up: a new one is begun whose header says where the old one ends, and the frames are written there again.
 */
export class LogFiles {
  private fd: number | null = null;
  /** Oldest first, with where the log ended when each was begun (null: unknown). */
  private readonly begun: { readonly sequence: number; readonly startLsn: Lsn | null }[];
  private mustRoll: boolean;
  private readers = new Map<number, number>();

  /** `sequence` and `offset`: the newest file and where its good frames end (0, 0 before the first file). `files`: as recovery found them. */
  constructor(
    private readonly fs: LogFs,
    private readonly dir: string,
    private readonly owner: LogOwner,
    private readonly fileBytes: number,
    private sequence: number,
    private offset: number,
    files: readonly { readonly sequence: number; readonly startLsn: Lsn | null }[] = [],
  ) {
    this.begun = [...files];
    // A file from before a restart is never appended to: its tail may hold a torn write, which the next file's header cuts off for good.
    this.mustRoll = true;
  }

  pathOf(sequence: number): string {
    return path.join(this.dir, fileName(sequence));
  }

  saltOf(sequence: number): number {
    return fileSalt(this.owner.volumeId, this.owner.nodeId, sequence);
  }

  /**
   * Writes frames and makes them durable; gives each one's place. `stand` is the log before them, for the header of a file that may be begun.
   * Throws LOG_WRITE_FAILED: nothing is acknowledged, calling again with the same frames is right.
   */
  async write(
    frames: readonly FrameToWrite[],
    stand: { end: Lsn; history: EpochHistory },
  ): Promise<FileLocation[]> {
    try {
      if (this.mustRoll || this.fd === null || this.offset >= this.fileBytes) await this.roll(stand.end);
      const fd = this.fd!;
      const salt = this.saltOf(this.sequence);
      const places: FileLocation[] = [];
      const buffers: Buffer[] = [];
      let at = this.offset;
      if (at === HEADER_AREA) {
        const payload = encodeHistory(stand.end, stand.history);
        const frame = encodeFrame(FrameType.history, stand.end, [payload], salt);
        buffers.push(...frame, ...frame);
        at += 2 * (FRAME_OVERHEAD + payload.length);
      }
      for (const frame of frames) {
        places.push({ file: this.sequence, offset: at });
        for (const buffer of encodeFrame(frame.type, frame.begin, frame.pieces, salt)) {
          buffers.push(buffer);
          at += buffer.length;
        }
      }
      await this.writeDurably(fd, buffers, this.offset);
      this.offset = at;
      return places;
    } catch (err) {
      throw new DbError('LOG_WRITE_FAILED', `cannot write the log in ${this.dir}: ${errorMessage(err)}`, {
        reaction: 'retry',
        cause: err,
        hint: 'Nothing was acknowledged. Make room on the disk or replace it; the node goes on by itself.',
      });
    }
  }

  /** Makes what an earlier process may have left unsynced in the newest file durable. */
  async settle(): Promise<void> {
    if (this.sequence === 0) return;
    const fd = await this.fs.open(this.pathOf(this.sequence), 'r+');
    try {
      await this.fs.datasync(fd);
    } finally {
      this.fs.close(fd);
    }
    await this.fs.syncDir(this.dir);
  }

  /** The newest file that was begun when the log ended at or before `at`: with it as its first, the log still holds everything from `at` on. */
  firstFor(at: Lsn): { sequence: number; startLsn: Lsn } | null {
    for (const { sequence, startLsn } of [...this.begun].reverse())
      if (startLsn !== null && startLsn <= at) return { sequence, startLsn };
    return null;
  }

  hasOlderThan(sequence: number): boolean {
    return this.begun.length > 1 && this.begun[0]!.sequence < sequence;
  }

  /**
   * Removes all files older than `first`, the oldest first, and each for good before the next: whenever a crash comes, what is left is the
   * log's end without a gap. Gives how many. Throws what the file system throws; what is left then goes with the next call.
   */
  async dropBefore(first: number): Promise<number> {
    let dropped = 0;
    while (this.begun.length > 1 && this.begun[0]!.sequence < first) {
      const { sequence } = this.begun[0]!;
      const fd = this.readers.get(sequence);
      if (fd !== undefined) this.fs.close(fd);
      this.readers.delete(sequence);
      try {
        await this.fs.unlink(this.pathOf(sequence));
      } catch (err) {
        if ((err as NodeJS.ErrnoException).code !== 'ENOENT') throw err;
      }
      await this.fs.syncDir(this.dir);
      this.begun.shift();
      dropped++;
    }
    return dropped;
  }

  /** Bytes [from, to) of a file; shorter when the file is. */
  readSync(sequence: number, from: number, to: number): Buffer {
    const buf = Buffer.allocUnsafe(to - from);
    return buf.subarray(0, this.fs.readSync(this.reader(sequence), buf, from));
  }

  async read(sequence: number, from: number, to: number): Promise<Buffer> {
    const buf = Buffer.allocUnsafe(to - from);
    const fd = await this.fs.open(this.pathOf(sequence), 'r');
    try {
      return buf.subarray(0, await this.fs.read(fd, buf, from));
    } finally {
      this.fs.close(fd);
    }
  }

  close(): void {
    if (this.fd !== null) this.fs.close(this.fd);
    this.fd = null;
    for (const fd of this.readers.values()) this.fs.close(fd);
    this.readers.clear();
  }

  private async writeDurably(fd: number, buffers: Buffer[], position: number): Promise<void> {
    try {
      await this.writeAll(fd, buffers, position);
    } catch (err) {
      // Out of space: what is there was not synced and is written again at the same place. Anything else: do not trust the file.
      if (!isOutOfSpace(err)) this.mustRoll = true;
      throw err;
    }
    try {
      await this.fs.datasync(fd);
    } catch (err) {
      this.mustRoll = true;
      throw err;
    }
  }

  private async writeAll(fd: number, buffers: Buffer[], position: number): Promise<void> {
    let at = position;
    let first = 0;
    while (first < buffers.length) {
      let written = await this.fs.writev(fd, buffers.slice(first, first + MAX_BUFFERS), at);
      at += written;
      while (first < buffers.length && written >= buffers[first]!.length) written -= buffers[first++]!.length;
      if (written > 0) buffers[first] = buffers[first]!.subarray(written);
    }
  }

  /** Begins the next file. Its header and its name are durable before any frame goes there, so a file without a header never held one. */
  private async roll(startLsn: Lsn): Promise<void> {
    const sequence = this.sequence + 1;
    const file = this.pathOf(sequence);
    const header = encodeFileHeader({ ...this.owner, sequence, startLsn, prevEnd: this.offset });
    const fd = await this.openNew(file);
    try {
      await this.writeAll(fd, [header], 0);
      await this.fs.datasync(fd);
      await this.fs.syncDir(this.dir);
    } catch (err) {
      this.fs.close(fd);
      throw err;
    }
    if (this.fd !== null) this.fs.close(this.fd);
    this.fd = fd;
    this.sequence = sequence;
    this.begun.push({ sequence, startLsn });
    this.offset = HEADER_AREA;
    this.mustRoll = false;
  }

  private async openNew(file: string): Promise<number> {
    try {
      return await this.fs.open(file, 'wx+');
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code !== 'EEXIST') throw err;
      await this.fs.unlink(file); // left by an attempt that failed before the file was taken into use
      return this.fs.open(file, 'wx+');
    }
  }

  private reader(sequence: number): number {
    const known = this.readers.get(sequence);
    if (known !== undefined) return known;
    const fd = this.fs.openSync(this.pathOf(sequence));
    this.readers.set(sequence, fd);
    const [oldest] = this.readers.keys();
    if (this.readers.size > MAX_READERS && oldest !== undefined) {
      this.fs.close(this.readers.get(oldest)!);
      this.readers.delete(oldest);
    }
    return fd;
  }
}

function isOutOfSpace(err: unknown): boolean {
  const { code } = err as NodeJS.ErrnoException;
  return code === 'ENOSPC' || code === 'EDQUOT';
}
