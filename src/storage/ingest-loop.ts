import { setImmediate as turn } from 'node:timers/promises';
import type { Logger } from 'pino';
import { DbError, errorMessage, isDbError } from '../engine/errors.js';
import { formatLsn, lsn, type Lsn } from '../engine/lsn.js';
import type { LogStore } from '../engine/log/index.js';
import type { Ingester } from '../engine/pages/ingest.js';
import type { PageReader } from '../engine/pages/types.js';
import { WalStreamDecoder } from '../engine/wal/stream.js';
import type { WalRecord } from '../engine/wal/types.js';
import type { NodeStatus } from '../net/node-status.js';
import { LsnWaiters } from './lsn-waiters.js';

export interface IngestOptions {
  sliceMs: number;
  readBytes: number;
  /** How long an idle loop lets small commits gather before it starts, when nobody waits for them. */
  lingerMs: number;
  /** Committed and durable: nothing beyond may be ingested. */
  readable(): Lsn;
  /** The log is damaged in the way of ingest: heal it, then call kick(). */
  onDamage(err: DbError): void;
}

const SLICE_RECORDS_MIN = 64;
const SLICE_RECORDS_MAX = 4096;
/**
 * With more log to come and nobody waiting for these, slices gather in one batch for so long, or until they are so large: deltas of one page that come in one batch are one row, and rows
 * are what ingest costs most. The batch is written in one go, which the size keeps to some ten milliseconds.
 */
const HOLD_MS = 100;
const HOLD_BYTES = 4 * 1024 * 1024;
/** Images written at a time: two milliseconds, when their pages are not kept. */
const IMAGES_AT_ONCE = 4;
const STORE_FAULTS: ReadonlySet<string> = new Set([
  'NODE_DISK_FULL',
  'NODE_STORE_BUSY',
  'PAGE_STORE_DAMAGED',
]);

/**
 * Turns committed log into page versions, in slices short enough that an append waiting for its turn does not notice. At a record that
 * cannot be replayed it stops for good (until a restart with a release that can): nothing is ever skipped.
 */
export class IngestLoop {
  readonly waiters = new LsnWaiters();
  records = 0;
  busyMs = 0;
  error: NodeStatus['ingestError'] = null;
  private decoder: WalStreamDecoder | null = null;
  /** Log that is read from the disk while what precedes it is ingested. */
  private ahead: { readonly begin: Lsn; readonly pieces: Promise<Buffer[]> } | null = null;
  private running: Promise<void> | null = null;
  private linger: NodeJS.Timeout | undefined;
  private sliceRecords = SLICE_RECORDS_MIN;
  /** When the oldest record of what is not written was put. */
  private heldSinceMs = 0;
  private stopping = false;
  private suspended = false;

  constructor(
    private readonly log: LogStore,
    private readonly pages: PageReader,
    private readonly ingester: Ingester,
    private readonly options: IngestOptions,
    private readonly logger: Logger,
  ) {}

  /** There may be something to do. */
  kick(): void {
    if (this.running || this.stopping || this.suspended || this.error) return;
    const behind = this.options.readable() - this.position;
    if (behind <= 0) return;
    if (this.waiters.size > 0 || behind >= this.options.readBytes) this.start();
    else this.linger ??= setTimeout(() => this.start(), this.options.lingerMs);
  }

  private start(): void {
    clearTimeout(this.linger);
    this.linger = undefined;
    if (this.running || this.stopping || this.suspended || this.error) return;
    this.running = this.run()
      .then(() => this.write())
      .catch((err: unknown) => this.failed(err, this.pages.appliedLsn))
      .finally(() => {
        this.running = null;
        this.kick(); // what became readable in the meantime
      });
  }

  /** The log was cut: what was read beyond `at` is void. */
  cut(at: Lsn): void {
    if (this.decoder && this.decoder.pushedLsn > at) this.decoder = null;
    this.ahead = null;
  }

  /** The page store cannot be written at present: nothing is lost, and reset() goes on. */
  suspend(): void {
    this.suspended = true;
    this.decoder = null;
  }

  /** The page store was filled or emptied by other means, or can be written again: begins anew from what it holds now. */
  reset(): void {
    this.suspended = false;
    this.decoder = null;
    this.error = null;
    this.ingester.reload();
    this.waiters.applied(this.pages.appliedLsn);
    this.kick();
  }

  /** Resolves when applied >= lsn. Throws INGEST_STOPPED, NODE_BEHIND. */
  async waitApplied(lsn: Lsn, timeoutMs: number): Promise<void> {
    if (this.pages.appliedLsn >= lsn) return;
    if (this.error) throw this.stopped();
    const waiting = this.waiters.wait(lsn, timeoutMs, () => this.pages.appliedLsn);
    if (this.options.readable() > this.position) this.start();
    await waiting;
  }

  /** Ends after the slice in progress. */
  async stop(): Promise<void> {
    this.stopping = true;
    clearTimeout(this.linger);
    await this.running;
    this.waiters.failAll(new DbError('NODE_STOPPING', 'this node is stopping'));
  }

  private get position(): Lsn {
    return this.decoder ? this.decoder.pushedLsn : this.pages.appliedLsn;
  }

  private async run(): Promise<void> {
    while (this.active) {
      const target = this.options.readable();
      if (target === 0) return; // no pages to apply log to: they are being rebuilt
      const decoder = (this.decoder ??= this.newDecoder());
      if (decoder.pushedLsn >= target) {
        this.write();
        if (!this.active) return;
        const due = this.ingester.coalesce(0);
        if (due === 0 || this.ingester.coalesce(IMAGES_AT_ONCE) >= due) return;
        await turn();
        continue;
      }
      let pieces: Buffer[];
      try {
        pieces = await this.read(decoder.pushedLsn, target);
      } catch (err) {
        if (!isDbError(err, 'LOG_DAMAGED')) throw err;
        this.options.onDamage(err);
        return;
      }
      if (this.decoder !== decoder) continue; // cut meanwhile
      for (const piece of pieces) decoder.push(piece);
      for (let more = true; more && this.active && this.decoder === decoder;) {
        more = this.slice(decoder);
        if (this.isBatchFull || this.waiters.includes(decoder.position)) {
          this.write();
          while (this.active && this.ingester.writeOverdue(IMAGES_AT_ONCE)) await turn();
        }
        if (more) await turn();
      }
    }
  }

  /** Some more of [begin, target). What follows is asked of the disk at the same time. */
  private async read(begin: Lsn, target: Lsn): Promise<Buffer[]> {
    const { ahead } = this;
    this.ahead = null;
    const pieces = await (ahead?.begin === begin ? ahead.pieces : this.readFrom(begin, target));
    let next = begin;
    for (const piece of pieces) next = lsn(next + piece.length);
    if (next < target && next < this.log.cachedFrom) {
      const following = Promise.resolve(this.readFrom(next, target));
      following.catch(() => undefined); // thrown where it is awaited; if it never is, it is read again
      this.ahead = { begin: next, pieces: following };
    }
    return pieces;
  }

  /** Recent log is in memory; only for the older there is a disk to wait for. */
  private readFrom(begin: Lsn, target: Lsn): Buffer[] | Promise<Buffer[]> {
    const end = lsn(Math.min(target, begin + this.options.readBytes));
    return begin >= this.log.cachedFrom ? [this.log.read(begin, end)] : this.log.readPieces(begin, end);
  }

  private get active(): boolean {
    return !this.stopping && !this.suspended && this.error === null;
  }

  /** One slice. False when the decoder needs more bytes or ingest has stopped. */
  private slice(decoder: WalStreamDecoder): boolean {
    const begun = performance.now();
    const records: WalRecord[] = [];
    let more = true;
    let failure: { error: unknown; lsn: Lsn } | null = null;
    try {
      while (more && records.length < this.sliceRecords) {
        const rec = decoder.next();
        if (rec) records.push(rec);
        else more = false;
      }
    } catch (error) {
      failure = { error, lsn: lsnOf(error) ?? decoder.position };
    }
    if (this.ingester.heldBytes === 0) this.heldSinceMs = begun;
    try {
      // Applies what precedes a record that it cannot replay, then throws: that record's place is the earlier one.
      this.ingester.put(records);
    } catch (error) {
      failure = { error, lsn: lsnOf(error) ?? this.pages.appliedLsn };
    }
    this.records += records.length;
    const tookMs = performance.now() - begun;
    this.busyMs += tookMs;
    if (failure) {
      this.write();
      this.failed(failure.error, failure.lsn);
      return false;
    }
    if (!more && tookMs < this.options.sliceMs) return false; // too short to tell
    // Records differ a hundredfold in cost and machines in speed: the next slice is sized by what this one took.
    const fitting = Math.floor((records.length * this.options.sliceMs) / Math.max(tookMs, 0.01));
    this.sliceRecords = Math.min(
      SLICE_RECORDS_MAX,
      Math.max(SLICE_RECORDS_MIN, Math.min(fitting, this.sliceRecords * 2)),
    );
    return more;
  }

  private get isBatchFull(): boolean {
    const { heldBytes } = this.ingester;
    return heldBytes >= HOLD_BYTES || (heldBytes > 0 && performance.now() - this.heldSinceMs >= HOLD_MS);
  }

  /** Makes what was put readable. */
  private write(): void {
    if (this.suspended) return;
    const begun = performance.now();
    try {
      this.ingester.write();
    } catch (err) {
      this.failed(err, this.pages.appliedLsn);
    }
    this.busyMs += performance.now() - begun;
    this.waiters.applied(this.pages.appliedLsn);
  }

  private newDecoder(): WalStreamDecoder {
    const { appliedLsn, lastRecordLsn } = this.pages;
    const control = this.pages.controlSnapshot(appliedLsn);
    if (!control)
      throw new DbError('NODE_NO_PAGES', 'this node has no pages to apply log to: it must be rebuilt');
    return new WalStreamDecoder({
      startLsn: appliedLsn,
      segmentSize: control.state.segmentSize,
      systemId: BigInt(control.state.systemIdentifier),
      lastRecordLsn,
    });
  }

  private failed(err: unknown, at: Lsn): void {
    if (isDbError(err) && STORE_FAULTS.has(err.code)) {
      // It is the store, not the record. Whoever puts it right calls reset().
      if (!this.suspended) this.logger.warn({ err, lsn: formatLsn(at) }, `ingest waits: ${err.message}`);
      this.suspend();
      return;
    }
    // Whoever shows this says that ingest has stopped, as the ingester does in front of the reason.
    const message = errorMessage(err).replace(/^ingest stopped before the record at \S+: /, '');
    this.error = { code: isDbError(err) ? err.code : 'INGEST_FAILED', message, lsn: at };
    this.logger.error(
      { err, lsn: formatLsn(at) },
      `ingest stopped at ${formatLsn(at)}: ${message}; the log goes on, pages beyond are not served`,
    );
    this.waiters.failAll(this.stopped());
  }

  private stopped(): DbError {
    const { code, message, lsn: at } = this.error!;
    return new DbError(
      'INGEST_STOPPED',
      `this node cannot replay the log beyond ${formatLsn(at)}: ${code}: ${message}`,
      {
        reaction: 'retry',
        hint: 'Another node may have got further; if all stop here, this release cannot replay what was written.',
      },
    );
  }
}

function lsnOf(err: unknown): Lsn | null {
  const at = isDbError(err) ? err.details?.['lsn'] : undefined;
  return typeof at === 'number' ? lsn(at) : null;
}
