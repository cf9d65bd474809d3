import { promises as fs } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { errorMessage } from '../engine/errors.js';

export interface DiskConfig {
  /** Below so many free bytes the node takes no more log: what is left is for its own book-keeping, for the vacuum, and for whoever makes room. */
  reserveBytes: number;
  checkMs: number;
}

export interface DiskGuardParts {
  dir: string;
  /** There is room again after the disk was full. */
  onSpace(): void;
}

/** After the file system itself refused a write, so long nothing is tried, however much room it claims to have. */
const REFUSED_MS = 3000;

/**
 * Knows whether the node's disk is full: less than the reserve is free, or a write was refused for want of room. A full node takes no log and makes no
 * pages, so it acknowledges nothing; it goes on reading, voting, and removing history.
 */
export class DiskGuard {
  /** As last seen; null before the first look. */
  freeBytes: number | null = null;
  /** Times that the disk became full. */
  timesFull = 0;
  private isFull = false;
  private refusal: string | null = null;
  private refusedAtMs = -Infinity;
  private takenBytes = 0;
  private checking = false;
  private readonly stopping = new AbortController();
  private running: Promise<void> = Promise.resolve();

  constructor(
    private readonly config: DiskConfig,
    private readonly parts: DiskGuardParts,
    private readonly logger: Logger,
  ) {}

  get full(): boolean {
    return this.isFull;
  }

  /** Why, for people; null when it is not full. */
  get problem(): string | null {
    if (!this.isFull) return null;
    const free =
      this.freeBytes === null
        ? ''
        : `${mib(this.freeBytes)} are free, ${mib(this.config.reserveBytes)} are kept in reserve`;
    return [free, this.refusal].filter(Boolean).join('; ');
  }

  /** Resolves when it is known whether the disk is full. */
  async start(): Promise<void> {
    await this.check();
    this.running = this.run();
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  /** So many bytes are being written: a look at the disk may be due before the next one. */
  taking(bytes: number): void {
    this.takenBytes += bytes;
    if (this.takenBytes < this.config.reserveBytes / 8 || this.checking) return;
    this.check().catch((err: unknown) => this.logger.error({ err }, `disk: ${errorMessage(err)}`));
  }

  /** A write was refused for want of room. */
  refused(err: Error): void {
    this.refusal = err.message;
    this.refusedAtMs = performance.now();
    this.become(true);
  }

  private async run(): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      await sleep(this.config.checkMs, undefined, { signal }).catch(() => undefined);
      if (!signal.aborted) await this.check();
    }
  }

  private async check(): Promise<void> {
    this.checking = true;
    this.takenBytes = 0;
    try {
      const { bavail, bsize } = await fs.statfs(this.parts.dir);
      const free = (this.freeBytes = bavail * bsize);
      const { reserveBytes } = this.config;
      // A quarter more than the reserve before it goes on, or each freed block would start and stop it.
      if (free < reserveBytes) this.become(true);
      else if (free >= reserveBytes * 1.25 && performance.now() - this.refusedAtMs >= REFUSED_MS)
        this.become(false);
    } catch (err) {
      this.logger.error({ err }, `the free space of ${this.parts.dir} cannot be told: ${errorMessage(err)}`);
    } finally {
      this.checking = false;
    }
  }

  private become(full: boolean): void {
    if (this.isFull === full) return;
    this.isFull = full;
    if (full) {
      this.timesFull += 1;
      this.logger.error(
        { freeBytes: this.freeBytes, reserveBytes: this.config.reserveBytes },
        `disk full: ${this.problem}; this node takes no log until there is room, and goes on serving reads`,
      );
      return;
    }
    this.refusal = null;
    this.logger.warn({ freeBytes: this.freeBytes }, 'there is room on the disk again: this node takes log');
    this.parts.onSpace();
  }
}

/** Whether an error, or what caused it, is a file system that has no room. */
export function isDiskFull(err: unknown): boolean {
  for (let at: unknown = err; at instanceof Error; at = at.cause) {
    const { code } = at as NodeJS.ErrnoException;
    if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'SQLITE_FULL' || code === 'NODE_DISK_FULL')
      return true;
  }
  return false;
}

function mib(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(0)} MiB`;
}
