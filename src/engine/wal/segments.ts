/** A pg_wal folder of PostgreSQL 18 as a `WalSource`: any segment size, any running or stopped server's. */
import { watch, type FSWatcher } from 'node:fs';
import { open, readdir, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { DbError } from '../errors.js';
import type { Lsn } from '../lsn.js';
import { LONG_PAGE_HEADER } from './format.js';
import { probeLongHeader } from './page-header.js';
import type { WalSource } from './reader.js';

const SEGMENT_NAME = /^[0-9A-F]{24}$/;
/** Without a file-system event for this long, a follower looks anyway: events get lost on some file systems. */
const RECHECK_MS = 1000;

/** 24 hex digits: timeline, then the segment number in two parts. */
export function segmentFileName(timeline: number, segmentNumber: number, segmentSize: number): string {
  const perId = 0x1_0000_0000 / segmentSize;
  return [timeline, Math.floor(segmentNumber / perId), segmentNumber % perId]
    .map((part) => part.toString(16).toUpperCase().padStart(8, '0'))
    .join('');
}

/** Null when the name is not a segment file's. */
export function parseSegmentFileName(
  name: string,
  segmentSize: number,
): { timeline: number; segmentNumber: number } | null {
  if (!SEGMENT_NAME.test(name)) return null;
  const perId = 0x1_0000_0000 / segmentSize;
  const low = parseInt(name.slice(16), 16);
  if (low >= perId) return null;
  return {
    timeline: parseInt(name.slice(0, 8), 16),
    segmentNumber: parseInt(name.slice(8, 16), 16) * perId + low,
  };
}

export interface WalDirectoryOptions {
  /** Default: that of the newest segment. Segments of older timelines serve where this one has none. */
  timeline?: number;
}

/**
 * Opens `dir`, a pg_wal folder or a data directory with one in it.
 * Throws USAGE_WAL_DIRECTORY when it holds no segment, WAL_NOT_PG18 when none begins with a PostgreSQL 18 page header.
 */
export async function openWalDirectory(
  dir: string,
  options: WalDirectoryOptions = {},
): Promise<WalDirectory> {
  for (const folder of [dir, path.join(dir, 'pg_wal')]) {
    const names = await segmentNames(folder);
    if (names.length === 0) continue;
    for (const name of names) {
      const header = await readLongHeader(path.join(folder, name));
      // A recycled segment, renamed ahead of use, still has its old address inside, but everything else holds.
      if (header !== null)
        return await WalDirectory.open(folder, header.segmentSize, header.systemId, options);
    }
    throw new DbError(
      'WAL_NOT_PG18',
      `no WAL segment in ${folder} begins with a PostgreSQL 18 page header (${names.length} tried)`,
      { reaction: 'usage', hint: 'WAL of other major versions has another format.' },
    );
  }
  throw new DbError('USAGE_WAL_DIRECTORY', `no WAL segment files in ${dir}`, {
    hint: 'Name a pg_wal folder or a PostgreSQL data directory.',
  });
}

async function segmentNames(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).filter((name) => SEGMENT_NAME.test(name)).sort();
  } catch (err) {
    const code = (err as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw new DbError('USAGE_WAL_DIRECTORY', `cannot read ${folder}: ${code ?? String(err)}`, { cause: err });
  }
}

async function readLongHeader(file: string): Promise<ReturnType<typeof probeLongHeader>> {
  const handle = await open(file, 'r');
  try {
    const bytes = Buffer.alloc(LONG_PAGE_HEADER);
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, 0);
    return probeLongHeader(bytes.subarray(0, bytesRead));
  } finally {
    await handle.close();
  }
}

export class WalDirectory implements WalSource {
  readonly end = null;
  readonly start: Lsn;
  private changes: FolderChanges | null = null;
  private current: { segmentNumber: number; file: string; handle: FileHandle } | null = null;

  private constructor(
    readonly dir: string,
    readonly segmentSize: number,
    readonly systemId: bigint,
    readonly timeline: number,
    private readonly fixedTimeline: boolean,
    /** Segment number to file name. */
    private files: Map<number, string>,
  ) {
    this.start = (Math.min(...files.keys()) * segmentSize) as Lsn;
  }

  static async open(
    dir: string,
    segmentSize: number,
    systemId: bigint,
    options: WalDirectoryOptions,
  ): Promise<WalDirectory> {
    const names = await segmentNames(dir);
    const newest = Math.max(...names.map((name) => parseSegmentFileName(name, segmentSize)?.timeline ?? 0));
    const timeline = options.timeline ?? newest;
    const files = chooseFiles(names, segmentSize, timeline);
    if (files.size === 0)
      throw new DbError('USAGE_WAL_DIRECTORY', `no WAL segment files of timeline ${timeline} in ${dir}`);
    return new WalDirectory(dir, segmentSize, systemId, timeline, options.timeline !== undefined, files);
  }

  /** Up to the end of a segment at most. None when the segment's file is missing. */
  async read(begin: Lsn, end: Lsn): Promise<Buffer> {
    const segmentNumber = Math.floor(begin / this.segmentSize);
    const offset = begin - segmentNumber * this.segmentSize;
    const want = Math.min(end - begin, this.segmentSize - offset);
    const handle = await this.handleOf(segmentNumber);
    if (handle === null) return Buffer.alloc(0);
    const bytes = Buffer.allocUnsafe(want);
    const { bytesRead } = await handle.read(bytes, 0, want, offset);
    return bytes.subarray(0, bytesRead);
  }

  /** Name of the segment file that holds `at`; null when there is none. */
  fileOf(at: Lsn): string | null {
    return this.files.get(Math.floor(at / this.segmentSize)) ?? null;
  }

  /** The first call only starts the watch and returns at once, so that nothing written before it is missed. */
  async waitForMore(_at: Lsn, signal: AbortSignal): Promise<void> {
    if (this.changes === null) this.changes = new FolderChanges(this.dir);
    else await this.changes.next(signal);
    await this.refresh();
  }

  async close(): Promise<void> {
    this.changes?.close();
    this.changes = null;
    await this.closeFile();
  }

  private async closeFile(): Promise<void> {
    const current = this.current;
    this.current = null;
    await current?.handle.close();
  }

  private async handleOf(segmentNumber: number): Promise<FileHandle | null> {
    const file = this.files.get(segmentNumber);
    if (this.current !== null && this.current.segmentNumber === segmentNumber && this.current.file === file)
      return this.current.handle;
    await this.closeFile();
    if (file === undefined) return null;
    try {
      const handle = await open(path.join(this.dir, file), 'r');
      this.current = { segmentNumber, file, handle };
      return handle;
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code !== 'ENOENT') throw err;
      // The server recycles old segments under our feet.
      this.files.delete(segmentNumber);
      return null;
    }
  }

  private async refresh(): Promise<void> {
    const names = await segmentNames(this.dir);
    const timeline = this.fixedTimeline
      ? this.timeline
      : Math.max(
          this.timeline,
          ...names.map((n) => parseSegmentFileName(n, this.segmentSize)?.timeline ?? 0),
        );
    this.files = chooseFiles(names, this.segmentSize, timeline);
  }
}

/** Per segment the file of the highest timeline that is not above `timeline`: a new timeline begins with a copy of its parent's segment. */
function chooseFiles(names: string[], segmentSize: number, timeline: number): Map<number, string> {
  const files = new Map<number, string>();
  for (const name of names) {
    // Sorted by name, so by timeline first: later ones replace earlier ones.
    const parsed = parseSegmentFileName(name, segmentSize);
    if (parsed !== null && parsed.timeline <= timeline) files.set(parsed.segmentNumber, name);
  }
  return files;
}

/** File-system events of a folder; an event between two waits ends the next one at once. */
class FolderChanges {
  private readonly watcher: FSWatcher;
  private changed = false;
  private wake: (() => void) | null = null;

  constructor(dir: string) {
    this.watcher = watch(dir);
    this.watcher.on('change', () => this.notify());
    this.watcher.on('error', () => this.notify()); // no more events then: the timer below stands in for them
  }

  /** Resolves after a change, after RECHECK_MS, or when `signal` fires. */
  async next(signal: AbortSignal): Promise<void> {
    if (!this.changed && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(() => this.notify(), RECHECK_MS);
        const onAbort = (): void => this.notify();
        signal.addEventListener('abort', onAbort);
        this.wake = () => {
          clearTimeout(timer);
          signal.removeEventListener('abort', onAbort);
          this.wake = null;
          resolve();
        };
      });
    }
    this.changed = false;
  }

  close(): void {
    this.watcher.close();
    this.wake?.();
  }

  private notify(): void {
    this.changed = true;
    this.wake?.();
  }
}
