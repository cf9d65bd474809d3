import { BLCKSZ } from '../engine/page/constants.js';
import type { RemoteMaps } from './remote-files.js';

export interface ReadAheadOptions {
  /** Largest distance, in blocks, that a scan is read ahead of; 0 turns reading ahead off. Default 128. */
  windowMax?: number;
  /** Blocks kept for requests that have not come yet. Default 4096 (32 MiB). */
  cacheBlocks?: number;
}

export interface ReadAheadCounters {
  /** Blocks asked of the source because a backend waits for them. */
  blocksFetched: number;
  /** Blocks asked of the source before anybody wanted them. */
  blocksPrefetched: number;
  /** Blocks served that had been asked for ahead of time. */
  prefetchHits: number;
  /** Blocks read ahead that were thrown away unserved. */
  prefetchDropped: number;
  /** Fetches ahead of time that failed. Nobody waits for them; a reader who comes later asks again. */
  prefetchErrors: number;
}

type FetchBlocks = (path: string, first: number, count: number) => Promise<Buffer>;

/** One fetch ahead of time: consecutive blocks of a file, each served at most once. */
interface Chunk {
  readonly path: string;
  readonly first: number;
  readonly count: number;
  readonly pages: Promise<Buffer>;
  unserved: number;
}

/** A scan of one file. `next`: the block after its last request; `ahead`: the first that was not asked for in advance. */
interface Scan {
  next: number;
  window: number;
  ahead: number;
}

/** What is remembered of a file that is being read. */
interface FileState {
  readonly scans: Scan[];
  /** Ranges answered last: on their way into the data directory, where the map does not show them yet. */
  readonly answered: { first: number; end: number }[];
}

/** Blocks of one fetch ahead: small enough that the first page of it is not long in coming, several are under way at once. */
const CHUNK_BLOCKS = 32;
const SCANS_PER_FILE = 4;
const ANSWERED_PER_FILE = 128;
const FILES_MAX = 1024;

/**
 * Reads ahead of sequential scans. Backends ask for short runs (16 blocks and fewer), one after the other, and each waits for a
 * round trip; here the next runs are already on their way. A page is served once (the data directory has it then), so the cache
 * holds only what is ahead of somebody. Pages of REMOTE blocks do not change, so a copy cannot grow stale; maps say which blocks
 * are worth fetching.
 */
export class ReadAhead {
  readonly counters: ReadAheadCounters = {
    blocksFetched: 0,
    blocksPrefetched: 0,
    prefetchHits: 0,
    prefetchDropped: 0,
    prefetchErrors: 0,
  };
  private readonly windowMax: number;
  private readonly cacheBlocks: number;
  /** Most recently used last. */
  private readonly files = new Map<string, FileState>();
  private readonly blocks = new Map<string, Map<number, Chunk>>();
  /** Oldest first. */
  private readonly chunks = new Set<Chunk>();
  private held = 0;

  constructor(
    private readonly fetch: FetchBlocks,
    private readonly maps: RemoteMaps | null,
    options: ReadAheadOptions = {},
  ) {
    this.windowMax = options.windowMax ?? 128;
    this.cacheBlocks = options.cacheBlocks ?? 4096;
  }

  /** The pages of blocks [first, first + count), in order, in one or more buffers. Rejects as the source does. */
  async read(path: string, first: number, count: number): Promise<Buffer[]> {
    const parts = this.collect(path, first, count);
    this.follow(path, first, count);
    return parts;
  }

  /** Fetches what is still in storage of a range that will be wanted soon. */
  prefetch(path: string, first: number, count: number): void {
    if (!this.maps || this.windowMax === 0) return;
    const end = first + count;
    try {
      for (let at = first; at < end;) {
        const run = this.maps.remoteRun(path, at, end - at);
        if (!run) return;
        this.fetchAhead(path, run.first, run.first + run.count);
        at = run.first + run.count;
      }
    } catch {
      this.counters.prefetchErrors++; // an unreadable map; the library complains about it where it matters
    }
  }

  /** Blocks held or under way. */
  get size(): number {
    return this.held;
  }

  private collect(path: string, first: number, count: number): Promise<Buffer[]> {
    const index = this.blocks.get(path);
    const end = first + count;
    const parts: Promise<Buffer>[] = [];
    for (let at = first; at < end;) {
      const chunk = index?.get(at);
      let next = at + 1;
      while (next < end && index?.get(next) === chunk) next++;
      parts.push(chunk ? this.take(chunk, at, next - at) : this.demand(path, at, next - at));
      at = next;
    }
    return Promise.all(parts);
  }

  private demand(path: string, first: number, count: number): Promise<Buffer> {
    this.counters.blocksFetched += count;
    return this.fetch(path, first, count);
  }

  private async take(chunk: Chunk, first: number, count: number): Promise<Buffer> {
    this.drop(chunk, first, count);
    let pages: Buffer;
    try {
      pages = await chunk.pages;
    } catch {
      return this.demand(chunk.path, first, count); // the fetch ahead failed; what it says is not this reader's answer
    }
    this.counters.prefetchHits += count;
    return pages.subarray((first - chunk.first) * BLCKSZ, (first - chunk.first + count) * BLCKSZ);
  }

  /** Notices scans and keeps ahead of them. */
  private follow(path: string, first: number, count: number): void {
    if (!this.maps || this.windowMax === 0) return;
    const end = first + count;
    const { scans, answered } = this.stateOf(path);
    answered.push({ first, end });
    if (answered.length > ANSWERED_PER_FILE) answered.shift();
    // Several readers may share a scan, so their requests arrive a little out of order.
    const scan = scans.find((s) => Math.abs(first - s.next) <= Math.max(s.window, count - 1));
    if (!scan) {
      scans.push({ next: end, window: 0, ahead: end });
      if (scans.length > SCANS_PER_FILE) scans.shift();
      return;
    }
    if (end <= scan.next) return;
    scan.next = end;
    scan.window = Math.min(this.windowMax, Math.max(scan.window * 2, count * 2));
    const from = Math.max(scan.ahead, end);
    const to = end + scan.window;
    if (to - from < scan.window / 2) return;
    scan.ahead = to;
    this.prefetch(path, from, to - from);
  }

  private stateOf(path: string): FileState {
    const state = this.files.get(path) ?? { scans: [], answered: [] };
    this.files.delete(path);
    this.files.set(path, state);
    if (this.files.size > FILES_MAX) this.files.delete(this.files.keys().next().value!);
    return state;
  }

  private fetchAhead(path: string, first: number, end: number): void {
    const index = this.blocks.get(path);
    const answered = this.files.get(path)?.answered ?? [];
    const skip = (block: number): boolean =>
      index?.has(block) === true || answered.some((r) => block >= r.first && block < r.end);
    for (let at = first; at < end; at++) {
      let next = at;
      while (next < end && next - at < CHUNK_BLOCKS && !skip(next)) next++;
      if (next === at) continue;
      this.start(path, at, next - at);
      at = next - 1;
    }
  }

  private start(path: string, first: number, count: number): void {
    let index = this.blocks.get(path);
    if (!index) this.blocks.set(path, (index = new Map<number, Chunk>()));
    const pages = this.fetch(path, first, count);
    const chunk: Chunk = { path, first, count, pages, unserved: count };
    for (let b = first; b < first + count; b++) index.set(b, chunk);
    this.chunks.add(chunk);
    this.held += count;
    this.counters.blocksPrefetched += count;
    pages.catch(() => {
      this.counters.prefetchErrors++;
      this.discard(chunk);
    });
    for (const oldest of this.chunks) {
      if (this.held <= this.cacheBlocks) break;
      this.discard(oldest);
    }
  }

  private discard(chunk: Chunk): void {
    if (!this.chunks.has(chunk)) return;
    this.counters.prefetchDropped += chunk.unserved;
    this.drop(chunk, chunk.first, chunk.count);
  }

  /** Takes blocks of a chunk out of the index; the chunk's memory counts until the last of them is gone. */
  private drop(chunk: Chunk, first: number, count: number): void {
    const index = this.blocks.get(chunk.path);
    for (let b = first; b < first + count; b++) {
      if (index?.get(b) !== chunk) continue;
      index.delete(b);
      chunk.unserved--;
    }
    if (index?.size === 0) this.blocks.delete(chunk.path);
    if (chunk.unserved === 0 && this.chunks.delete(chunk)) this.held -= chunk.count;
  }
}
