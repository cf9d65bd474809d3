/**
 * RocksDB, as much of it as the page store needs: ordered batches and range reads, all synchronous. The store is read and written on one
 * thread, and a call costs a few microseconds, less than a promise and a trip through the thread pool.
 *
 * The package has no types of its own; its underscored methods are its synchronous interface.
 */
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

/** Writes collected for one atomic write. Keys and values are copied by put(): their buffers may be reused at once. */
export class RocksBatch {
  constructor(private readonly native: NativeBatch) {}

  put(key: Buffer, value: Buffer): void {
    this.native._put(key, value);
  }

  delete(key: Buffer): void {
    this.native._del(key);
  }

  get length(): number {
    return this.native.length;
  }

  clear(): void {
    this.native._clear();
  }

  /**
   * Writes all or nothing, after every batch written before it, and empties the batch. Without `sync` it survives the death of the process but
   * perhaps not that of the machine; what survives then is a prefix of the writes. On an error the batch is kept.
   */
  write(sync: boolean): void {
    this.native._writeSync({ sync });
    this.native._clear();
  }
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

  private constructor(
    private readonly db: NativeDb,
    readonly dir: string,
  ) {}

  /** Opens or creates. Throws NODE_STORE_OPEN (locked by another process, damaged, no permission). */
  static async open(dir: string, sizes: { blockCacheBytes: number; memtableBytes: number }): Promise<Rocks> {
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
      throw new DbError('NODE_STORE_OPEN', `cannot open the page store in ${dir}: ${errorMessage(cause)}`, {
        cause: err,
        hint: 'Is another storage node running on this folder?',
      });
    }
    return new Rocks(db, dir);
  }

  batch(): RocksBatch {
    return new RocksBatch(this.db.batch());
  }

  /** Exact match, or null. */
  get(key: Buffer): Buffer | null {
    return this.db._getManySync([key], { valueEncoding: 'buffer' })[0] ?? null;
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
    return this.db.querySync(query).rows as Rows;
  }

  /** Keys with gte <= key < lt in order, at most `limit`; what is read does not push others out of the cache. */
  keys(gte: Buffer, lt: Buffer, limit: number): Buffer[] {
    const rows = this.db.querySync({
      ...this.query,
      gte,
      lt,
      limit,
      highWaterMarkBytes: UNLIMITED,
      values: false,
      fillCache: false,
    }).rows as (Buffer | undefined)[];
    return rows.filter((row) => row !== undefined);
  }

  /**
   * Removes all keys with gte <= key < lt by one mark, which costs nothing now and goes away with them when RocksDB merges its files. In order
   * with batches, unsynced like them. `failed` hears of an error, soon after the call.
   */
  deleteRange(gte: Buffer, lt: Buffer, failed: (err: Error) => void): void {
    this.db._clear({ gte, lt }, (err) => {
      if (err) failed(err);
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

  /** A RocksDB property, e.g. "rocksdb.estimate-live-data-size"; empty if unknown. */
  property(name: string): string {
    return this.db.getProperty(name);
  }

  async close(): Promise<void> {
    await this.db.close();
  }
}
