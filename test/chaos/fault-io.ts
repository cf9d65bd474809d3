/** Slow and full disks and wrong clocks for real daemons, by way of a preloaded library; see faultio.c. */
import { execFile } from 'node:child_process';
import { closeSync, openSync, promises as fs, readSync, writeSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const SOURCE = path.join(import.meta.dirname, 'faultio.c');
const WORD = 8;
const WORDS = 8;
/** Indexes into the control file. */
const AT = {
  syncDelayMs: 0,
  room: 1,
  clockMs: 2,
  syncsDelayed: 3,
  writesRefused: 4,
  clockReads: 5,
  quota: 6,
  roomTold: 7,
} as const;

/** Compiles the library into `dir`, which any account must be able to read. Returns its path. */
export async function buildFaultIo(dir: string): Promise<string> {
  const library = path.join(dir, 'faultio.so');
  await run('cc', ['-O1', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-o', library, SOURCE, '-ldl']);
  await fs.chmod(library, 0o755);
  return library;
}

/** The disk and the clock of one daemon (and of its children). What is set counts at once, also for a process that is running. */
export class FaultIo {
  private readonly fd: number;

  /** `dir`: whose disk it is; must exist by its real path. */
  constructor(
    private readonly library: string,
    private readonly file: string,
    private readonly dir: string,
  ) {
    this.fd = openSync(file, 'w+', 0o666);
    writeSync(this.fd, Buffer.alloc(WORD * WORDS));
    this.heal();
  }

  /** For the daemon's start. */
  get environment(): Record<string, string> {
    return { LD_PRELOAD: this.library, CHAOS_CONTROL: this.file, CHAOS_DIR: this.dir };
  }

  /** For a PostgreSQL that runs as another account. */
  async shareWith(uid: number, gid: number): Promise<void> {
    await fs.chown(this.file, uid, gid);
  }

  setSyncDelay(ms: number): void {
    this.set(AT.syncDelayMs, ms);
  }

  /** Bytes that files may still grow by; null = any number. `untold`: who asks for the free space is not told, as with a quota. */
  setRoom(bytes: number | null, untold?: 'untold'): void {
    this.set(AT.quota, untold ? 1 : 0);
    this.set(AT.room, bytes ?? -1);
  }

  setClock(offsetMs: number): void {
    this.set(AT.clockMs, offsetMs);
  }

  heal(): void {
    this.setSyncDelay(0);
    this.setRoom(null);
    this.setClock(0);
  }

  /** How often the faults have really met the daemon: a fault that never did has shown nothing. */
  bites(): { syncsDelayed: number; writesRefused: number; clockReads: number; roomTold: number } {
    return {
      syncsDelayed: this.get(AT.syncsDelayed),
      writesRefused: this.get(AT.writesRefused),
      clockReads: this.get(AT.clockReads),
      roomTold: this.get(AT.roomTold),
    };
  }

  close(): void {
    closeSync(this.fd);
  }

  private set(index: number, value: number): void {
    const word = new BigInt64Array([BigInt(value)]);
    writeSync(this.fd, Buffer.from(word.buffer), 0, WORD, index * WORD);
  }

  private get(index: number): number {
    const word = new BigInt64Array(1);
    readSync(this.fd, Buffer.from(word.buffer), 0, WORD, index * WORD);
    return Number(word[0]);
  }
}
