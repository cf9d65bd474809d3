/**
 * A disk for a folder, that can be filled and emptied at will. A file system of its own in memory where we may mount one; else a library that is
 * preloaded into the processes that use the folder (full-disk.c), which refuses what a full disk refuses. SMALL_DISK=mount or preload insists on one.
 */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  cpSync,
  mkdirSync,
  openSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';

const CHUNK = Buffer.alloc(64 * 1024);

export class SmallDisk {
  private constructor(
    readonly kind: 'mount' | 'preload',
    private readonly dir: string,
    /** Of processes that use the folder. */
    readonly env: Readonly<Record<string, string>>,
    private readonly flag: string,
  ) {}

  /** `dir` may hold files; nothing may use it. `scratch`: a folder elsewhere for what is needed beside it. */
  static create(dir: string, scratch: string, sizeMib: number): SmallDisk {
    const wanted = process.env['SMALL_DISK'];
    if (wanted !== 'preload') {
      try {
        return SmallDisk.mounted(dir, scratch, sizeMib);
      } catch (err) {
        if (wanted === 'mount') throw err;
      }
    }
    return SmallDisk.preloaded(dir, scratch);
  }

  private static mounted(dir: string, scratch: string, sizeMib: number): SmallDisk {
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
    return new SmallDisk('mount', dir, {}, '');
  }

  private static preloaded(dir: string, scratch: string): SmallDisk {
    mkdirSync(scratch, { recursive: true });
    const library = path.join(scratch, 'full-disk.so');
    const source = path.join(import.meta.dirname, 'full-disk.c');
    execFileSync(process.env['CC'] || 'cc', ['-O2', '-shared', '-fPIC', '-o', library, source, '-ldl'], {
      stdio: 'pipe',
    });
    const flag = path.join(scratch, `full-${path.basename(dir)}`);
    const env = { LD_PRELOAD: library, FULL_DISK_DIR: dir, FULL_DISK_FLAG: flag };
    return new SmallDisk('preload', dir, env, flag);
  }

  /** Not a byte is left, however much the processes write at the same time. */
  fill(): void {
    if (this.kind === 'preload') {
      writeFileSync(this.flag, '');
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
    rmSync(this.kind === 'preload' ? this.flag : path.join(this.dir, 'ballast'), { force: true });
  }

  freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.dir);
    return bavail * bsize;
  }

  /** Nothing may use the folder any more. */
  destroy(): void {
    if (this.kind === 'mount') execFileSync('umount', ['-l', this.dir], { stdio: 'pipe' });
  }
}

/** Runs `start` with more in the environment, for the processes that it starts. */
export async function withEnvironment<T>(
  env: Readonly<Record<string, string>>,
  start: () => Promise<T>,
): Promise<T> {
  const before = Object.keys(env).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, env);
  try {
    return await start();
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
}
