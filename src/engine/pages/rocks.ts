/**
 * RocksDB, as much of it as the page store needs: ordered batches and range reads, all synchronous. The store is read and written on one
 * thread, and a call costs a few microseconds, less than a promise and a trip through the thread pool.
 *
 * The package has no types of its own; its underscored methods are its synchronous interface.
 */
import { promises as fs } from 'node:fs';
import { createRequire } from 'node:module';
import { DbError, errorMessage } from '../errors.js';

interface NativeBatch {
  _put(key: Buffer, value: Buffer): void;
  _del(key: Buffer): void;
  _clear(): void;
  _writeSync(options: { sync: boolean }): void;
  readonly length: number;
}

interface NativeQuery {
  gte: Buffer;
  lt: Buffer;
  limit: number;
  highWaterMarkBytes: number;
  values: boolean;
  keyEncoding: 'buffer';
  valueEncoding: 'buffer';
  fillCache: boolean;
  asyncIO: boolean;
}

interface NativeDb {
  open(options: Record<string, unknown>): Promise<void>;
  close(): Promise<void>;
  batch(): NativeBatch;
  detachResource(resource: NativeBatch): void;
  querySync(query: NativeQuery): { rows: (Buffer | undefined)[]; finished: boolean };
  _getManySync(keys: Buffer[], options: { valueEncoding: 'buffer' }): (Buffer | undefined | null)[];
  _clear(options: { gte: Buffer; lt: Buffer }, done: (err: Error | null) => void): void;
  getProperty(name: string): string;
}

const { RocksLevel } = createRequire(import.meta.url)('@nxtedition/rocksdb') as {
  RocksLevel: new (dir: string, options: Record<string, unknown>) => NativeDb;
};

/** Keys and values of a range read: rows[0] key, rows[1] value, rows[2] key, ... Each buffer is the caller's own. */
export type Rows = Buffer[];

/**
 * What went wrong with the store itself. `space`: the disk is full; RocksDB then writes nothing more until there is room, and goes on
 * reading. `damage`: blocks or files are not what was written, or gone.
 */
export type StoreFault = 'space' | 'damage';
export type OnStoreFault = (fault: StoreFault, err: DbError) => void;

/** Writes collected for one atomic write. Keys and values are copied by put(): their buffers may be reused at once. */
export class RocksBatch {
  private native: NativeBatch | null = null;
  private opening = 0;

  constructor(
    private readonly rocks: {
      readonly openings: number;
      nativeBatch(): NativeBatch;
      failed(err: unknown): never;
    },
  ) {}

  put(key: Buffer, value: Buffer): void {
    this.batch._put(key, value);
  }

  delete(key: Buffer): void {
    this.batch._del(key);
  }

  get length(): number {
    return this.batch.length;
  }

  clear(): void {
    if (this.native && this.opening === this.rocks.openings) this.native._clear();
    else this.native = null;
  }

  /**
   * Writes all or nothing, after every batch written before it, and empties the batch. Without `sync` it survives the death of the process but
   * perhaps not that of the machine; what survives then is a prefix of the writes. On an error the batch is kept.
   */
  write(sync: boolean): void {
    const { batch } = this;
    try {
      batch._writeSync({ sync });
    } catch (err) {
      this.rocks.failed(err);
    }
    batch._clear();
  }

  /** A batch belongs to one opening of the store: what was in it when the store was opened anew is gone. */
  private get batch(): NativeBatch {
    if (this.native && this.opening === this.rocks.openings) return this.native;
    this.opening = this.rocks.openings;
    return (this.native = this.rocks.nativeBatch());
  }
}

export interface RocksSizes {
  readonly blockCacheBytes: number;
  readonly memtableBytes: number;
}

const UNLIMITED = 0x7fff_ffff;
const FIRST_KEY = Buffer.from([0]);
const AFTER_LAST_KEY = Buffer.from([0xff]);
const CLEAR_CHUNK = 1000;

export class Rocks {
  private readonly query: NativeQuery = {
    gte: Buffer.alloc(0),
    lt: Buffer.alloc(0),
    limit: UNLIMITED,
    highWaterMarkBytes: UNLIMITED,
    values: true,
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    fillCache: true,
    asyncIO: false,
  };

  /** Counts openings. */
  openings = 0;
  private native: NativeDb | null = null;

  private constructor(
    readonly dir: string,
    private readonly sizes: RocksSizes,
    private readonly onFault: OnStoreFault,
  ) {}

  /**
   * Opens or creates. Throws NODE_STORE_OPEN (locked by another process, no permission), PAGE_STORE_DAMAGED, NODE_DISK_FULL. `onFault` hears of
   * what goes wrong later, before the call that met it throws.
   */
  static async open(dir: string, sizes: RocksSizes, onFault: OnStoreFault = () => undefined): Promise<Rocks> {
    const rocks = new Rocks(dir, sizes, onFault);
    rocks.native = await rocks.openNative();
    return rocks;
  }

  /**
   * Closes and opens again: RocksDB writes no more after some errors. With `setAside` the folder is moved there first (in place of one that is
   * there), and the store is empty then. In between, all calls throw NODE_STORE_BUSY. Throws as open(); the store is closed then.
   */
  async openAnew(setAside: string | null): Promise<void> {
    await this.close();
    if (setAside !== null) {
      await fs.rm(setAside, { recursive: true, force: true });
      await fs.rename(this.dir, setAside);
    }
    const native = await this.openNative();
    this.openings++;
    this.native = native;
  }

  /**
   * Opens what lies in `folder`, a store that was set aside, in place of this one, which is removed. Throws as open(); then this store is empty, and the
   * other one where it was.
   */
  async takeBack(folder: string): Promise<void> {
    await this.close();
    await fs.rm(this.dir, { recursive: true, force: true });
    await fs.rename(folder, this.dir);
    this.openings++;
    try {
      this.native = await this.openNative();
    } catch (err) {
      await fs.rename(this.dir, folder);
      this.native = await this.openNative();
      throw err;
    }
  }

  private async openNative(): Promise<NativeDb> {
    const { sizes, dir } = this;
    const options = {
      createIfMissing: true,
      // Level compaction leaves the two youngest levels uncompressed and zstd for the rest: little work on what is soon merged away.
      compaction: 'level',
      memtableMemoryBudget: sizes.memtableBytes,
      cacheSize: sizes.blockCacheBytes,
      // Two page images a block: smaller blocks make the index large, larger ones waste reads of single pages.
      blockSize: 16384,
      // Its own log is written on our thread, and read only after a crash.
      walCompression: false,
      parallelism: 2,
    };
    const db = new RocksLevel(dir, {});
    try {
      await db.open(options);
    } catch (err) {
      const cause = err instanceof Error && err.cause !== undefined ? err.cause : err;
      const fault = faultOf(cause, dir);
      if (fault) throw fault.err;
      throw new DbError('NODE_STORE_OPEN', `cannot open the page store in ${dir}: ${errorMessage(cause)}`, {
        cause: err,
        hint: 'Is another storage node running on this folder?',
      });
    }
    return db;
  }

  batch(): RocksBatch {
    return new RocksBatch(this);
  }

  /** For batches. */
  nativeBatch(): NativeBatch {
    const { db } = this;
    const batch = db.batch();
    // It would be kept, with all the memory that it ever had, until the store is closed.
    db.detachResource(batch);
    return batch;
  }

  /** Throws `err` as what it means, after telling it. */
  failed(err: unknown): never {
    const found = faultOf(err, this.dir);
    if (!found) throw err;
    this.onFault(found.fault, found.err);
    throw found.err;
  }

  private get db(): NativeDb {
    if (this.native) return this.native;
    throw new DbError('NODE_STORE_BUSY', `the page store in ${this.dir} is being opened`, {
      reaction: 'retry',
    });
  }

  /** Exact match, or null. */
  get(key: Buffer): Buffer | null {
    const { db } = this;
    try {
      return db._getManySync([key], { valueEncoding: 'buffer' })[0] ?? null;
    } catch (err) {
      this.failed(err);
    }
  }

  /**
   * Rows with gte <= key < lt in key order: at most `limit`, and no more once they hold over `bytes` bytes (but at least one).
   */
  range(gte: Buffer, lt: Buffer, limit = UNLIMITED, bytes = UNLIMITED): Rows {
    const query = this.query;
    query.gte = gte;
    query.lt = lt;
    query.limit = limit;
    query.highWaterMarkBytes = bytes;
    const { db } = this;
    try {
      return db.querySync(query).rows as Rows;
    } catch (err) {
      this.failed(err);
    }
  }

  /**
   * Reads all of [gte, lt) whose keys and values make up about `bytes`, checking every block that they are in, without keeping any in the cache. Gives where to
   * go on, null at the end.
   */
  verify(gte: Buffer, lt: Buffer, bytes: number): { next: Buffer | null; bytes: number } {
    const query = { ...this.query, gte, lt, limit: UNLIMITED, highWaterMarkBytes: bytes, fillCache: false };
    const { db } = this;
    try {
      const { rows, finished } = db.querySync(query);
      let seen = 0;
      for (const row of rows) seen += row!.length;
      const last = rows.at(-2);
      return { next: finished || !last ? null : Buffer.concat([last, FIRST_KEY]), bytes: seen };
    } catch (err) {
      this.failed(err);
    }
  }

  /** Keys with gte <= key < lt in order, at most `limit`; what is read does not push others out of the cache. */
  keys(gte: Buffer, lt: Buffer, limit: number): Buffer[] {
    const query = {
      ...this.query,
      gte,
      lt,
      limit,
      highWaterMarkBytes: UNLIMITED,
      values: false,
      fillCache: false,
    };
    const { db } = this;
    try {
      return db.querySync(query).rows.filter((row) => row !== undefined);
    } catch (err) {
      this.failed(err);
    }
  }

  /**
   * Removes all keys with gte <= key < lt by one mark, which costs nothing now and goes away with them when RocksDB merges its files. In order
   * with batches, unsynced like them. `failed` hears of an error, soon after the call.
   */
  deleteRange(gte: Buffer, lt: Buffer, failed: (err: Error) => void): void {
    this.db._clear({ gte, lt }, (err) => {
      if (!err) return;
      const found = faultOf(err, this.dir);
      if (found) this.onFault(found.fault, found.err);
      failed(err);
    });
  }

  /** Removes everything. */
  clear(): void {
    const batch = this.batch();
    for (;;) {
      const rows = this.range(FIRST_KEY, AFTER_LAST_KEY, CLEAR_CHUNK);
      if (rows.length === 0) return;
      for (let i = 0; i < rows.length; i += 2) batch.delete(rows[i]!);
      batch.write(false);
    }
  }

  /** A RocksDB property, e.g. "rocksdb.estimate-live-data-size"; empty if unknown, or while the store is opened anew. */
  property(name: string): string {
    return this.native?.getProperty(name) ?? '';
  }

  /** Safe to repeat. A close that fails has closed all the same: what it could not write comes back from the log. */
  async close(): Promise<void> {
    const { native } = this;
    this.native = null;
    await native?.close().catch(() => undefined);
  }
}

/** What RocksDB's words say about the store; null when they say nothing about it. */
function faultOf(err: unknown, dir: string): { fault: StoreFault; err: DbError } | null {
  const text = errorMessage(err);
  const code = (err as { code?: unknown } | null)?.code;
  if (/No space left on device|Disk quota exceeded/.test(text))
    return {
      fault: 'space',
      err: new DbError('NODE_DISK_FULL', `the page store in ${dir} cannot be written: ${text}`, {
        reaction: 'retry',
        cause: err,
        hint: 'Make room on the disk; the node goes on by itself.',
      }),
    };
  if (code === 'LEVEL_CORRUPTION' || /^Corruption: |No such file or directory|Input\/output error/.test(text))
    return {
      fault: 'damage',
      err: new DbError('PAGE_STORE_DAMAGED', `the page store in ${dir} is damaged: ${text}`, {
        reaction: 'corrupt',
        cause: err,
        hint: 'The node is rebuilt from its peers by itself; look at its disk.',
      }),
    };
  return null;
}
