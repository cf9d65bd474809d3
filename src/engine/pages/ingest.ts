/**
 * Ingest: committed log in, versions out. A batch of records becomes one atomic RocksDB write that also moves the applied LSN, so after a crash
 * the store holds a prefix of the log, and ingesting again from the applied LSN gives the same keys and values. Until a batch is written, readers see
 * nothing of it; the larger it is, the more deltas of one page become one row (runs.ts).
 *
 * A record that cannot be replayed is never skipped. Ingest stops before it; what precedes it is applied, and the same records may be
 * offered again later (by a release that knows them).
 */
import { advance } from '../control/advance.js';
import type { ControlState } from '../control/state.js';
import { DbError, errorMessage } from '../errors.js';
import { formatLsn, type Lsn } from '../lsn.js';
import { assertReplayable } from '../redo/index.js';
import { decodeRecord } from '../wal/decode.js';
import type { WalRecord } from '../wal/types.js';
import { BatchBytes } from './batch-bytes.js';
import { CoalesceQueue, type DuePage } from './coalesce.js';
import { coalesce } from './coalescer.js';
import { EffectWriter } from './effect-writer.js';
import { effectsOf, type EffectContext } from './effects/index.js';
import { EMPTY_ID, FactClass } from './facts.js';
import type { RocksBatch } from './rocks.js';
import type { PageStore } from './store.js';
import { MAIN_BRANCH, type BranchId } from './types.js';
import { PageWriter } from './writer.js';

/** Looks at each record before it is put; see engine/verify/live.ts. */
export interface IngestCheck {
  /** Throws to stop ingest before the record. True: the batch is to be written after this record, before the next one comes. */
  record(rec: WalRecord): boolean;
  /** What was checked since the batch was written last is void. */
  forget(): void;
}

export interface IngesterOptions {
  /** The volume's secret, which authenticates files in the log; null: none are accepted. */
  readonly secret: Buffer | null;
  readonly check?: IngestCheck | null;
  readonly branch?: BranchId;
}

/**
 * Images written after a batch at most: these, and as many as its records can have made due, so that what waits does not grow for ever. An image costs
 * some ten microseconds if the page is kept, up to half a millisecond if not. The rest waits for the next batch, or for coalesce().
 */
const IMAGES_PER_BATCH = 16;
const RECORDS_PER_IMAGE = 16;

export class Ingester {
  private readonly branch: BranchId;
  private readonly batch: RocksBatch;
  /** For images: always the same one, for RocksDB's memory of a batch is only given back when a garbage collector gets to it. */
  private readonly images: RocksBatch;
  private readonly queue: CoalesceQueue;
  private readonly pages: PageWriter;
  private readonly effects: EffectWriter;
  private readonly secret: Buffer | null;
  /** Null while records come again that have passed it. */
  private check: IngestCheck | null;
  private control: ControlState | null = null;
  private context: EffectContext | null = null;
  /** Of the records put so far; the store's own values lag behind until the batch is written. */
  private lastRecordLsn: Lsn;
  private endLsn: Lsn;
  /** What is put and not written: records and values, */
  private readonly bytes = new BatchBytes();
  /** and of each record its place there, its length, its start and its end. */
  private readonly unwritten: number[] = [];
  private unwrittenBytes = 0;

  constructor(
    private readonly store: PageStore,
    options: IngesterOptions,
  ) {
    this.branch = options.branch ?? MAIN_BRANCH;
    this.secret = options.secret;
    this.check = options.check ?? null;
    this.batch = store.parts.db.batch();
    this.images = store.parts.db.batch();
    this.queue = new CoalesceQueue(store.policy, store.parts.redo);
    this.pages = new PageWriter(store.parts, this.batch, this.queue, this.branch, this.bytes);
    this.effects = new EffectWriter(store.parts, this.batch, this.pages, this.branch, () =>
      this.writeBatch(),
    );
    this.lastRecordLsn = store.lastRecordLsn;
    this.endLsn = store.appliedLsn;
  }

  /** The control state at the applied LSN. Throws PAGE_STORE_EMPTY. A view: it moves on with the next batch. */
  get controlState(): Readonly<ControlState> {
    return this.loadedControl();
  }

  /**
   * Ingests consecutive records, the first of which follows the applied LSN; records at or before it are passed over. Then the images that cannot wait.
   *
   * Throws as put() and write().
   */
  ingestBatch(records: readonly WalRecord[]): void {
    this.put(records);
    this.write();
    const eager = this.store.policy.kind === 'eager';
    this.writeOverdue(eager ? Infinity : IMAGES_PER_BATCH + Math.ceil(records.length / RECORDS_PER_IMAGE));
  }

  /**
   * Puts consecutive records, the first of which follows the one put last, into the batch; others are passed over. A check has them written at once: it
   * keeps the pages that an unwritten batch has changed.
   *
   * Throws a DbError with the record's LSN in message and details.lsn when one cannot be replayed (codes of assertReplayable()
   * and effectsOf()), or does not follow the one before (PAGE_LOG_GAP). All records before it have been written then.
   * PAGE_STORE_EMPTY: nothing was imported yet.
   */
  put(records: readonly WalRecord[]): void {
    let count = 0;
    try {
      for (; count < records.length; count++) this.ingest(records[count]!);
    } catch (err) {
      this.again();
      throw stopped(err, records[count]!);
    }
    if (this.check) this.write();
  }

  /** Writes what was put. Throws NODE_DISK_FULL, PAGE_STORE_DAMAGED. */
  write(): void {
    if (this.endLsn === this.store.appliedLsn) return;
    try {
      this.writeBatch();
    } catch {
      this.again();
    }
  }

  /** Bytes of records that were put and are not written yet. */
  get heldBytes(): number {
    return this.unwrittenBytes;
  }

  /** Writes up to `max` images that are due; returns how many pages are still waiting. For idle moments. */
  coalesce(max: number): number {
    this.writeImages((most) => this.queue.take(most), max);
    return this.queue.length;
  }

  /** Writes up to `max` images that cannot wait for an idle moment. False when there are no more of them. */
  writeOverdue(max: number): boolean {
    return this.writeImages((most) => this.queue.takeOverdue(most), max) === max;
  }

  /** An image lies at the end of a run, and of records that are written: so they must be first. */
  private writeImages(take: (max: number) => readonly DuePage[], max: number): number {
    this.write();
    const due = take(max);
    if (due.length > 0) coalesce(this.store, this.queue, this.images, this.branch, due);
    this.store.parts.counters.coalesceBacklog = this.queue.length;
    return due.length;
  }

  /** The store was filled or emptied by other means: goes on from what it holds now. */
  reload(): void {
    this.forget();
  }

  /**
   * After a failure. A batch cannot be unwound by one record; failures are rare, and putting the good records again gives the same batch.
   */
  private again(): void {
    const records = this.unwrittenRecords();
    this.forget();
    const { check } = this;
    this.check = null;
    try {
      for (const rec of records) this.ingest(rec);
      this.writeBatch();
    } catch (err) {
      this.forget();
      throw err;
    } finally {
      this.check = check;
    }
  }

  /** Copies of them. */
  private unwrittenRecords(): WalRecord[] {
    const { unwritten, bytes } = this;
    const records: WalRecord[] = [];
    for (let i = 0; i < unwritten.length; i += 4) {
      const [at, length, start, end] = unwritten.slice(i, i + 4) as [number, number, Lsn, Lsn];
      records.push(decodeRecord(Buffer.from(bytes.view(at, length)), start, end, { crc: false }));
    }
    return records;
  }

  private ingest(rec: WalRecord): void {
    if (rec.endLsn <= this.endLsn) return;
    if (this.lastRecordLsn !== 0 && rec.prevLsn !== this.lastRecordLsn) {
      throw new DbError(
        'PAGE_LOG_GAP',
        `the record at ${formatLsn(rec.startLsn)} follows one at ${formatLsn(rec.prevLsn)}, ` +
          `but the last one ingested began at ${formatLsn(this.lastRecordLsn)}`,
      );
    }
    const control = this.loadedControl();
    this.store.parts.forks.unwritten = true;
    assertReplayable(rec);
    const effects = effectsOf(rec, this.context!);
    const writeAfter = this.check?.record(rec) ?? false;
    // An effect may write what was put before: then the record lies at the begin of the next batch, and had no blocks.
    if (effects.length > 0 && rec.blocks.length === 0) this.effects.put(effects, rec.endLsn);
    const raw = this.bytes.put(rec.raw);
    this.pages.blocks(rec, raw);
    if (effects.length > 0 && rec.blocks.length > 0) this.effects.put(effects, rec.endLsn);
    this.pages.endRecord(rec.endLsn);
    advance(control, rec);
    this.lastRecordLsn = rec.startLsn;
    this.endLsn = rec.endLsn;
    this.store.parts.counters.recordsIngested++;
    this.unwritten.push(raw, rec.raw.length, rec.startLsn, rec.endLsn);
    this.unwrittenBytes += rec.raw.length;
    if (writeAfter) this.writeBatch();
  }

  /** Writes what has been put, as of the last record. Effects that need to read the store call it, too. */
  private writeBatch(): void {
    if (this.endLsn === this.store.appliedLsn) return;
    this.pages.flush();
    const json = Buffer.from(JSON.stringify(this.loadedControl()));
    this.store.parts.facts.put(this.batch, this.branch, FactClass.control, EMPTY_ID, this.endLsn, json);
    this.store.commit(this.batch, { appliedLsn: this.endLsn, lastRecordLsn: this.lastRecordLsn });
    this.queue.trim();
    this.written();
  }

  private written(): void {
    this.bytes.clear();
    this.unwritten.length = 0;
    this.unwrittenBytes = 0;
  }

  private loadedControl(): ControlState {
    if (this.control) return this.control;
    const snapshot = this.store.controlSnapshot(this.store.appliedLsn, this.branch);
    if (!snapshot || snapshot.lsn !== this.store.appliedLsn)
      throw new DbError('PAGE_STORE_EMPTY', `the page store in ${this.store.dir} has no base to ingest upon`);
    const counters = this.store.parts.counters;
    this.control = snapshot.state;
    this.context = {
      control: snapshot.state,
      secret: this.secret,
      onRejectedFile: () => counters.filesRefused++,
    };
    this.lastRecordLsn = this.store.lastRecordLsn;
    this.endLsn = this.store.appliedLsn;
    return this.control;
  }

  /** Back to what is in the store. */
  private forget(): void {
    this.batch.clear();
    this.pages.forget();
    this.effects.forget();
    this.queue.forget();
    this.check?.forget();
    this.store.parts.forks.forget();
    this.written();
    this.control = null;
    this.context = null;
    this.lastRecordLsn = this.store.lastRecordLsn;
    this.endLsn = this.store.appliedLsn;
  }
}

function stopped(err: unknown, rec: WalRecord): DbError {
  const known = err instanceof DbError;
  return new DbError(
    known ? err.code : 'PAGE_INGEST_FAILED',
    `ingest stopped before the record at ${formatLsn(rec.startLsn)}: ${errorMessage(err)}`,
    {
      cause: err,
      ...(known ? { reaction: err.reaction, hint: err.hint } : {}),
      details: { ...(known ? err.details : {}), lsn: rec.startLsn },
    },
  );
}
