/**
 * A disk for a folder, that can be filled and emptied at will. A file system of its own in memory where we may mount one; else a library that is
 * preloaded into the processes that use the folder (chaos/faultio.c), which refuses what a full disk refuses. SMALL_DISK=mount or preload insists on one.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, cpSync, openSync, realpathSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import { buildFaultIo, FaultIo } from '../chaos/fault-io.js';

const CHUNK = Buffer.alloc(64 * 1024);

export class SmallDisk {
  private constructor(
    private readonly dir: string,
    /** Null: the folder is a file system of its own. */
    private readonly faults: FaultIo | null,
  ) {}

  /** `dir` may hold files; nothing may use it. `scratch`: a folder elsewhere for what is needed beside it. */
  static async create(dir: string, scratch: string, sizeMib: number): Promise<SmallDisk> {
    const wanted = process.env['SMALL_DISK'];
    if (wanted !== 'preload') {
      try {
        mountOver(dir, scratch, sizeMib);
        return new SmallDisk(dir, null);
      } catch (err) {
        if (wanted === 'mount') throw err;
      }
    }
    const library = await buildFaultIo(scratch);
    return new SmallDisk(dir, new FaultIo(library, path.join(scratch, 'control'), realpathSync(dir)));
  }

  get kind(): string {
    return this.faults ? 'preloaded library' : 'file systems in memory';
  }

  /** Of processes that use the folder. */
  get environment(): Record<string, string> {
    return this.faults?.environment ?? {};
  }

  /** Not a byte is left, however much the processes write at the same time. */
  fill(): void {
    if (this.faults) {
      this.faults.setRoom(0);
      return;
    }
    const fd = openSync(path.join(this.dir, 'ballast'), 'a');
    try {
      for (;;) writeSync(fd, CHUNK);
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code !== 'ENOSPC') throw err;
    } finally {
      closeSync(fd);
    }
  }

  empty(): void {
    if (this.faults) this.faults.heal();
    else rmSync(path.join(this.dir, 'ballast'), { force: true });
  }

  /** Nothing may use the folder any more. */
  destroy(): void {
    if (this.faults) this.faults.close();
    else execFileSync('umount', ['-l', this.dir], { stdio: 'pipe' });
  }
}

function mountOver(dir: string, scratch: string, sizeMib: number): void {
  const copy = path.join(scratch, 'copy');
  cpSync(dir, copy, { recursive: true });
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeMib}m,mode=700`, 'tmpfs', dir], {
      stdio: 'pipe',
    });
    cpSync(copy, dir, { recursive: true });
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}
