import { crc32c } from '@node-rs/crc32';
import { DbError, errorMessage } from '../errors.js';
import { formatLsn, lsn } from '../lsn.js';
import type { Lsn } from '../lsn.js';
import type { LogState } from '../quorum/acceptor.js';
import type { EpochHistory } from '../quorum/types.js';
import { Extents } from './extents.js';
import type { Damage } from './extents.js';
import { LogFiles } from './files.js';
import { FRAME_OVERHEAD, FrameType, MAX_PAYLOAD } from './format.js';
import { nodeFs } from './fs.js';
import type { LogFs } from './fs.js';
import { WriteQueue } from './queue.js';
import type { Batch } from './queue.js';
import { LogReader, describeDamage } from './reader.js';
import type { ScrubReport } from './reader.js';
import { recoverLog } from './recover.js';
import type { LogOwner, Recovered } from './recover.js';
import { TailCache } from './tail-cache.js';

export interface LogOptions extends LogOwner {
  /** A new file is begun when the present one has grown beyond this. Default 64 MiB. */
  fileBytes?: number;
  /** Newest bytes of the log kept in memory. Default 32 MiB. What is not synced yet is held on top of it. */
  cacheBytes?: number;
  /** Told once of each damage found after open (by a read or a scrub). */
  onDamage?: (damage: Damage) => void;
  fs?: LogFs;
}

/** What open() found. */
export interface OpenReport {
  readonly tornTail: { readonly file: string; readonly offset: number } | null;
  readonly bytesScanned: number;
}

interface Waiter {
  readonly mark: number;
  readonly resolve: (end: Lsn) => void;
  readonly reject: (err: unknown) => void;
}

/**
 * The durable log of one branch on a storage node. One owner, one process. Format: format.ts.
 *
 * append() and setHistory() change the log in memory at once (endLsn, reads); sync() makes everything before it durable with one writev
 * and one fdatasync for all who wait. durableEnd and durableHistory say what a crash cannot take away; they go back at once when the log is cut.
 * A failed write loses nothing: the bytes stay in memory, sync() rejects with LOG_WRITE_FAILED and the next sync() writes them again.
 */
export class LogStore {
  readonly report: OpenReport;
  private start: Lsn;
  private readonly cache: TailCache;
  private readonly queue: WriteQueue;
  private readonly files: LogFiles;
  private readonly extents: Extents;
  private readonly reader: LogReader;
  private end: Lsn;
  private durable: Lsn;
  private durableEntries: EpochHistory;
  private entries: EpochHistory;
  /** Taken from the queue and not durable yet: being written, or failed and to be written again. */
  private batch: Batch | null = null;
  private doneMark = 0;
  private waiters: Waiter[] = [];
  private running: Promise<void> | null = null;
  private closed = false;
  private dropping: Promise<void> = Promise.resolve();

  private constructor(dir: string, options: LogOptions, found: Recovered) {
    const { fileBytes = 64 * 1024 * 1024, cacheBytes = 32 * 1024 * 1024, fs = nodeFs } = options;
    const owner = { volumeId: options.volumeId, nodeId: options.nodeId };
    this.files = new LogFiles(fs, dir, owner, fileBytes, found.lastSequence, found.lastOffset, found.files);
    this.extents = found.extents;
    this.start = found.startLsn;
    this.end = this.durable = found.extents.end;
    this.entries = this.durableEntries = found.history;
    this.cache = new TailCache(this.end, cacheBytes);
    this.queue = new WriteQueue(this.cache);
    this.reader = new LogReader(this.extents, this.files, options.onDamage ?? ((): void => undefined));
    this.report = { tornTail: found.tornTail, bytesScanned: found.bytesScanned };
  }

  /**
   * A new, empty log that begins at `startLsn` (any LSN) with the given history. Durable on return.
   * Throws LOG_EXISTS when the folder holds a log, LOG_WRITE_FAILED.
   */
  static async create(
    dir: string,
    options: LogOptions,
    startLsn: Lsn,
    history: EpochHistory,
  ): Promise<LogStore> {
    const fs = options.fs ?? nodeFs;
    await fs.mkdir(dir);
    if ((await fs.list(dir)).some((name) => name.endsWith('.log')))
      throw new DbError('LOG_EXISTS', `${dir} already holds a log`, { reaction: 'usage' });
    const store = new LogStore(dir, options, {
      startLsn,
      history,
      extents: new Extents(startLsn),
      lastSequence: 0,
      files: [],
      lastOffset: 0,
      tornTail: null,
      leftover: null,
      bytesScanned: 0,
    });
    store.setHistory(startLsn, history);
    await store.sync();
    return store;
  }

  /**
   * Opens and checks an existing log: reads all of it (some GB/s from cache). A torn tail is cut off logically; damage is kept in `damages`, and the rest of the
   * log stays readable. Throws LOG_MISSING when there is none, LOG_WRONG_OWNER, LOG_BAD_VERSION, LOG_DAMAGED when not even its beginning is known.
   */
  static async open(dir: string, options: LogOptions): Promise<LogStore> {
    const fs = options.fs ?? nodeFs;
    const found = await recoverLog(fs, dir, options).catch((err: unknown) => {
      if ((err as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw err;
    });
    if (!found) throw new DbError('LOG_MISSING', `no log in ${dir}`, { reaction: 'corrupt' });
    const store = new LogStore(dir, options, found);
    if (found.leftover) await fs.unlink(found.leftover);
    await store.files.settle();
    return store;
  }

  /** First LSN of the log (inclusive). */
  get startLsn(): Lsn {
    return this.start;
  }

  /** End of the log as appended (exclusive). */
  get endLsn(): Lsn {
    return this.end;
  }

  /** End of the part that is on disk (exclusive). */
  get durableEnd(): Lsn {
    return this.durable;
  }

  get history(): EpochHistory {
    return this.entries;
  }

  get durableHistory(): EpochHistory {
    return this.durableEntries;
  }

  /** Stretches that cannot be served until healed, by LSN. */
  get damages(): readonly Damage[] {
    return this.extents.damages;
  }

  /** For Acceptor.recover() and Acceptor.create(). */
  get logState(): LogState {
    return { history: this.durableEntries, scl: this.durable, damaged: this.damages.length > 0 };
  }

  /** Bytes appended and not durable yet: stop taking more when this grows. */
  get unsyncedBytes(): number {
    return this.end - this.durable;
  }

  /** First LSN served from memory. */
  get cachedFrom(): Lsn {
    return this.cache.begin;
  }

  /**
   * Adds bytes at the end. The buffer must not change until synced (4 KiB and more are kept as they are, not copied).
   * Throws LOG_NOT_CONTIGUOUS (bug) unless begin is endLsn.
   */
  append(begin: Lsn, bytes: Buffer): void {
    this.assertOpen();
    if (begin !== this.end)
      throw new DbError(
        'LOG_NOT_CONTIGUOUS',
        `append at ${formatLsn(begin)}, but the log ends at ${formatLsn(this.end)}`,
        { reaction: 'bug' },
      );
    if (bytes.length === 0) return;
    this.cache.append(bytes);
    this.queue.data(begin, bytes.length);
    this.end = lsn(begin + bytes.length);
  }

  /**
   * The log ends at `cutAt` now and has this epoch history. Effective at once in memory, durable with the next sync(); a crash before
   * that leaves the log as it was. An empty log may be moved to any later LSN: a node that lost its log begins anew where its peers' begins.
   * Throws LOG_NOT_CONTIGUOUS (bug) when cutAt is outside [startLsn, endLsn] otherwise.
   */
  setHistory(cutAt: Lsn, history: EpochHistory): void {
    this.assertOpen();
    const empty = this.start === this.end;
    if (cutAt < this.start || (cutAt > this.end && !empty))
      throw new DbError(
        'LOG_NOT_CONTIGUOUS',
        `cut at ${formatLsn(cutAt)}, outside of the log [${formatLsn(this.startLsn)}, ${formatLsn(this.end)})`,
        { reaction: 'bug' },
      );
    this.queue.history(cutAt, history);
    this.entries = history;
    if (empty) this.start = cutAt;
    this.end = cutAt;
    this.durable = lsn(Math.min(this.durable, cutAt));
    if (this.batch) this.batch.cutAt = lsn(Math.min(this.batch.cutAt ?? cutAt, cutAt));
    this.cache.cut(cutAt);
  }

  /**
   * Makes durable all that was appended or set before the call; gives durableEnd as of then (use the property when anything may have
   * happened since). Callers during a running sync share the next one. Rejects with LOG_WRITE_FAILED; call again to retry.
   */
  sync(): Promise<Lsn> {
    this.assertOpen();
    const { mark } = this.queue;
    if (mark <= this.doneMark) return Promise.resolve(this.durable);
    return new Promise((resolve, reject) => {
      this.waiters.push({ mark, resolve, reject });
      this.running ??= this.run();
    });
  }

  /**
   * Bytes [begin, end): do not change them, they may be the log's own memory. From memory when recent; else from disk, blocking, with every
   * frame touched verified. Throws LOG_OUT_OF_RANGE, LOG_DAMAGED (with file, LSN, offset) when any byte of it is damaged.
   */
  read(begin: Lsn, end: Lsn): Buffer {
    const split = this.checkRange(begin, end);
    const old = begin < split ? this.reader.readSync(begin, split) : [];
    return oneBuffer([...old, ...this.recent(split, end)]);
  }

  /** As read(), without blocking on the disk. For long stretches of old log (a peer that catches up). */
  async readAsync(begin: Lsn, end: Lsn): Promise<Buffer> {
    return oneBuffer(await this.readPieces(begin, end));
  }

  /** As readAsync(), in large pieces as they lie in the log: whoever goes through them needs no copy. */
  async readPieces(begin: Lsn, end: Lsn): Promise<Buffer[]> {
    const split = this.checkRange(begin, end);
    const recent = this.recent(split, end);
    try {
      const old = begin < split ? await this.reader.read(begin, split) : [];
      const pieces = [...old, ...recent];
      return pieces.length * PIECE_MIN > end - begin ? [oneBuffer(pieces)] : pieces;
    } catch (err) {
      this.checkRange(begin, end); // not damaged, but dropped or cut while it was read
      throw err;
    }
  }

  /**
   * Puts the right bytes (from a peer with the same history) over damaged stretches in [begin, begin + length); durable on return. Give whole
   * damages, as listed: where the lost frame's CRC is known, the bytes must match it. Throws LOG_HEAL_MISMATCH, LOG_HEAL_PARTIAL, LOG_WRITE_FAILED.
   */
  async heal(begin: Lsn, bytes: Buffer): Promise<void> {
    this.assertOpen();
    const end = lsn(begin + bytes.length);
    const overlapping = this.extents.damages.filter((d) => d.begin < end && d.end > begin);
    const parts: { from: Lsn; bytes: Buffer }[] = [];
    for (const d of overlapping) {
      const from = lsn(Math.max(begin, d.begin));
      const to = lsn(Math.min(end, d.end));
      const part = bytes.subarray(from - begin, to - begin);
      if (d.payloadCrc !== null && (from > d.begin || to < d.end))
        throw new DbError(
          'LOG_HEAL_PARTIAL',
          `${describeDamage(d)}: give all of it, to be checked as a whole`,
          { reaction: 'bug' },
        );
      if (d.payloadCrc !== null && crc32c(part) !== d.payloadCrc)
        throw new DbError(
          'LOG_HEAL_MISMATCH',
          `${describeDamage(d)}: the bytes offered are not the ones that were lost`,
          {
            hint: 'Ask another peer.',
          },
        );
      parts.push({ from, bytes: part });
    }
    for (const part of parts)
      for (let at = 0; at < part.bytes.length; at += MAX_PAYLOAD)
        this.queue.heal(lsn(part.from + at), part.bytes.subarray(at, at + MAX_PAYLOAD));
    await this.sync();
  }

  /**
   * Reads the whole durable log from disk and verifies every frame in use. Damage found is added to `damages` and told to onDamage.
   * Stops early, without error, when `stop` fires.
   */
  scrub(stop?: AbortSignal): Promise<ScrubReport> {
    this.assertOpen();
    return this.reader.scrub(stop);
  }

  /** Whether dropBefore(at) would remove anything. */
  hasFilesBefore(at: Lsn): boolean {
    const first = this.files.firstFor(at);
    return first !== null && this.files.hasOlderThan(first.sequence);
  }

  /**
   * Gives up log before `at`, which must all be durable: whole files only, and never the newest, so what stays may begin well before it. startLsn
   * moves at once; the files are gone on return. A crash in between leaves a log that begins somewhere in between. Gives the bytes of log that
   * went. Throws LOG_DROP_FAILED: the files that are left go with a later call.
   */
  async dropBefore(at: Lsn): Promise<number> {
    this.assertOpen();
    if (at > this.durable)
      throw new DbError(
        'LOG_NOT_CONTIGUOUS',
        `log before ${formatLsn(at)} is not to be kept, but only ${formatLsn(this.durable)} is durable`,
        { reaction: 'bug' },
      );
    const first = this.files.firstFor(at);
    if (!first) return 0;
    const before = this.start;
    const { extents } = this;
    // An empty log that was moved forward begins after its newest file did.
    if (first.startLsn > before) this.start = extents.dropFilesBefore(first.sequence, first.startLsn);
    const result = this.dropping.then(() => this.files.dropBefore(first.sequence));
    this.dropping = result.then(
      () => undefined,
      () => undefined,
    );
    await result.catch((err: unknown) => {
      throw new DbError('LOG_DROP_FAILED', `old log cannot be removed: ${errorMessage(err)}`, {
        reaction: 'retry',
        cause: err,
      });
    });
    return this.start - before;
  }

  /** Syncs what is left and closes; closes also when that fails, and then rejects. Safe to repeat. */
  async close(): Promise<void> {
    if (this.closed) return;
    try {
      await this.sync();
    } finally {
      this.closed = true;
      await this.running;
      await this.dropping;
      this.files.close();
    }
  }

  /** Checks a read and gives the LSN from which on memory has the bytes. */
  private checkRange(begin: Lsn, end: Lsn): Lsn {
    this.assertOpen();
    if (begin < this.startLsn || end > this.end || begin > end)
      throw new DbError(
        'LOG_OUT_OF_RANGE',
        `log [${formatLsn(begin)}, ${formatLsn(end)}) asked, [${formatLsn(this.startLsn)}, ${formatLsn(this.end)}) is here`,
        { reaction: 'retry' },
      );
    return lsn(Math.min(end, Math.max(begin, this.cache.begin)));
  }

  private recent(begin: Lsn, end: Lsn): Buffer[] {
    return begin < end ? this.cache.views(begin, end) : [];
  }

  private assertOpen(): void {
    if (this.closed) throw new DbError('LOG_CLOSED', 'the log is closed', { reaction: 'bug' });
  }

  /** Writes batches until nobody waits. Never rejects: failures go to the waiters. */
  private async run(): Promise<void> {
    while (this.waiters.length > 0) {
      this.batch ??= this.queue.take();
      const { batch } = this;
      try {
        const places = await this.files.write(batch.frames, {
          end: this.extents.end,
          history: this.durableEntries,
        });
        this.batch = null;
        this.written(batch, places);
      } catch (err) {
        for (const waiter of this.waiters.splice(0)) waiter.reject(err);
        break;
      }
      while (this.waiters.length > 0 && this.waiters[0]!.mark <= this.doneMark)
        this.waiters.shift()!.resolve(this.durable);
    }
    this.running = null;
  }

  private written(batch: Batch, places: readonly { file: number; offset: number }[]): void {
    let durable = this.durable;
    let histories = 0;
    batch.frames.forEach((frame, i) => {
      const { file, offset } = places[i]!;
      const { begin, length } = frame;
      const end = lsn(begin + length);
      const frameBytes = length + FRAME_OVERHEAD;
      if (frame.type === FrameType.data) {
        this.extents.add(begin, length, file, offset, frameBytes);
        durable = end;
      } else if (frame.type === FrameType.heal) this.extents.patch({ begin, end, file, offset, frameBytes });
      else {
        const moved = begin > this.extents.end;
        this.extents.cut(begin);
        durable = moved ? begin : lsn(Math.min(durable, begin));
        this.durableEntries = batch.histories[histories++ >> 1]!;
      }
    });
    this.durable = lsn(Math.min(durable, batch.cutAt ?? durable));
    this.doneMark = batch.mark;
    this.cache.evict(this.durable);
  }
}

/** Of readPieces(), on the average: putting together smaller ones costs less than meeting their ends. */
const PIECE_MIN = 64 * 1024;

function oneBuffer(parts: Buffer[]): Buffer {
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}
