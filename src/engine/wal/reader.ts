/**
 * Records out of any place that holds WAL bytes: a pg_wal folder, a storage node's log, a volume over the network.
 * A `WalSource` hands out bytes by LSN; `WalReader` finds the first record, decodes, and says where and why the log ended.
 */
import { DbError, errorMessage, isDbError } from '../errors.js';
import { formatLsn, INVALID_LSN, maxAlign, type Lsn } from '../lsn.js';
import { XLOG_BLCKSZ } from '../page/constants.js';
import { XLP_FIRST_IS_OVERWRITE_CONTRECORD } from './format.js';
import { pageHeaderSize, parsePageHeader } from './page-header.js';
import { WalStreamDecoder } from './stream.js';
import type { WalRecord } from './types.js';

export interface WalSource {
  readonly segmentSize: number;
  /** Checked against the log's page headers when known. */
  readonly systemId?: bigint;
  /** First byte available. */
  readonly start: Lsn;
  /** A record boundary at or after `start`, when the source knows one; else it is found through the page headers. */
  readonly firstRecord?: Lsn;
  /** End of what is available now; null when only the bytes themselves tell (segment files are preallocated). */
  readonly end: Lsn | null;
  /** Bytes [begin, end) or the first part of them, one at least; none when there is nothing at `begin` (yet). The caller keeps the buffer. */
  read(begin: Lsn, end: Lsn): Buffer | Promise<Buffer>;
  /** Resolves when there may be news beyond `at`, and when `signal` fires. Sources without it cannot be followed. */
  waitForMore?(at: Lsn, signal: AbortSignal): Promise<void>;
  close?(): Promise<void>;
}

export interface WalReaderOptions {
  /** Read from the first record at or after this LSN; default: the source's first complete record. */
  start?: Lsn;
  /** Stop before the first record at or after this LSN. */
  end?: Lsn;
  /** At the end of the log, wait for more (until `signal` fires). */
  follow?: boolean;
  signal?: AbortSignal;
}

/** Where and why reading stopped. */
export interface WalEnd {
  /** End of the last complete record (or where reading began, without any). */
  readonly lsn: Lsn;
  /** `limit`: the `end` option. `eof`: no more bytes. `aborted`: the signal. `invalid`: the bytes there are no record: the log's end, or damage. */
  readonly kind: 'limit' | 'eof' | 'aborted' | 'invalid';
  /** WAL_* code of what was found, for `invalid`. */
  readonly code?: string;
  readonly reason: string;
}

const READ_BYTES = 512 * 1024;

export class WalReader {
  /** Set when the iteration is over. */
  end: WalEnd | null = null;
  private decoder: WalStreamDecoder | null = null;
  private readonly limit: Lsn;
  private readonly from: Lsn;

  constructor(
    private readonly source: WalSource,
    private readonly options: WalReaderOptions = {},
  ) {
    this.limit = options.end ?? (Infinity as Lsn);
    this.from = options.start ?? source.start;
  }

  /** End of the last record handed out. */
  get position(): Lsn {
    return this.decoder?.position ?? this.from;
  }

  /**
   * The records in batches (one per piece of log read, never empty). Ends, with `end` set, at the `end` option, where the bytes
   * stop, or where they are no valid record; with `follow`, the last two wait for more instead.
   * Throws USAGE_WAL_START when `start` is outside the source, and what the source throws.
   */
  async *batches(): AsyncGenerator<WalRecord[], void, undefined> {
    const { follow = false, signal = new AbortController().signal } = this.options;
    if (this.from < this.source.start || (this.source.end !== null && this.from > this.source.end)) {
      throw new DbError(
        'USAGE_WAL_START',
        `WAL location ${formatLsn(this.from)} is not available: there is ${formatLsn(this.source.start)} to ` +
          `${this.source.end === null ? 'the end of the log' : formatLsn(this.source.end)}`,
      );
    }
    for (;;) {
      const { batch, end } = await this.step();
      if (batch.length > 0) yield batch;
      if (signal.aborted) {
        this.end = { lsn: this.position, kind: 'aborted', reason: 'stopped' };
        return;
      }
      if (end === null) continue;
      if (!follow || end.kind === 'limit' || !this.source.waitForMore) {
        this.end = end;
        return;
      }
      await this.source.waitForMore(end.lsn, signal);
      // Whatever was half written is read afresh.
      if (this.decoder !== null) this.decoder = this.resume(this.decoder);
    }
  }

  /** The records one by one; for the convenience of small readers. */
  async *records(): AsyncGenerator<WalRecord, void, undefined> {
    for await (const batch of this.batches()) yield* batch;
  }

  /** One piece of the log. */
  private async step(): Promise<{ batch: WalRecord[]; end: WalEnd | null }> {
    const batch: WalRecord[] = [];
    if (this.decoder === null) {
      try {
        const first = await this.findStart();
        if (first === null)
          return {
            batch,
            end: { lsn: this.from, kind: 'eof', reason: `no WAL beyond ${formatLsn(this.from)}` },
          };
        this.decoder = this.open(first, INVALID_LSN, 0);
      } catch (err) {
        return { batch, end: invalidEnd(err, this.from) };
      }
    }
    const decoder = this.decoder;
    const begin = decoder.pushedLsn;
    const bytes = await this.source.read(begin, (begin + READ_BYTES) as Lsn);
    if (bytes.length === 0)
      return {
        batch,
        end: { lsn: decoder.position, kind: 'eof', reason: `no WAL beyond ${formatLsn(begin)}` },
      };
    return { batch, end: this.decode(decoder, bytes, batch) };
  }

  /** Decodes `bytes` into `batch`; returns the end when it was met. */
  private decode(decoder: WalStreamDecoder, bytes: Buffer, batch: WalRecord[]): WalEnd | null {
    decoder.push(bytes);
    try {
      for (let rec = decoder.next(); rec !== null; rec = decoder.next()) {
        if (rec.startLsn >= this.limit)
          return { lsn: rec.startLsn, kind: 'limit', reason: `reached ${formatLsn(this.limit)}` };
        if (rec.startLsn >= this.from) batch.push(rec);
        if (rec.endLsn >= this.limit)
          return { lsn: rec.endLsn, kind: 'limit', reason: `reached ${formatLsn(this.limit)}` };
      }
      return null;
    } catch (err) {
      return invalidEnd(err, decoder.position);
    }
  }

  private open(startLsn: Lsn, lastRecordLsn: Lsn, timeline: number): WalStreamDecoder {
    const { segmentSize, systemId } = this.source;
    const recycledFiles = this.source.end === null;
    return new WalStreamDecoder({ startLsn, segmentSize, systemId, lastRecordLsn, timeline, recycledFiles });
  }

  private resume(decoder: WalStreamDecoder): WalStreamDecoder {
    return this.open(decoder.position, decoder.lastRecordLsn, decoder.timeline);
  }

  /** A record boundary at or before the first record at or after `from`; null when the bytes end before one. */
  private async findStart(): Promise<Lsn | null> {
    const { source, from } = this;
    if (source.firstRecord !== undefined && from === source.start) return source.firstRecord;
    const page = Math.floor(from / XLOG_BLCKSZ) * XLOG_BLCKSZ;
    try {
      if (page >= source.start) return await this.firstRecordFrom(page);
    } catch (err) {
      // After a segment switch the rest of the segment has no page headers: begin with the segment then.
      const segment = Math.floor(page / source.segmentSize) * source.segmentSize;
      if (!isDbError(err, 'WAL_BAD_PAGE') || segment < source.start || segment === page) throw err;
      return this.firstRecordFrom(segment);
    }
    if (source.firstRecord !== undefined) return source.firstRecord;
    return this.firstRecordFrom(Math.ceil(source.start / XLOG_BLCKSZ) * XLOG_BLCKSZ);
  }

  /** Skips what the page at `page` continues from before it (XLogFindNextRecord). */
  private async firstRecordFrom(page: number): Promise<Lsn | null> {
    const { segmentSize, systemId } = this.source;
    for (;;) {
      const size = pageHeaderSize(page, segmentSize);
      const bytes = await this.readFully(page as Lsn, size);
      if (bytes === null) return null;
      const header = parsePageHeader(bytes, page as Lsn, { segmentSize, systemId, timeline: 0 });
      if (header.remLen === 0 || (header.info & XLP_FIRST_IS_OVERWRITE_CONTRECORD) !== 0) return page as Lsn;
      const rest = size + maxAlign(header.remLen);
      if (rest < XLOG_BLCKSZ) return (page + rest) as Lsn;
      page += XLOG_BLCKSZ;
      // A record that ends exactly with this page leaves the next one a boundary: its header says so.
    }
  }

  private async readFully(begin: Lsn, size: number): Promise<Buffer | null> {
    const pieces: Buffer[] = [];
    let have = 0;
    while (have < size) {
      const piece = await this.source.read((begin + have) as Lsn, (begin + size) as Lsn);
      if (piece.length === 0) return null;
      pieces.push(piece);
      have += piece.length;
    }
    return Buffer.concat(pieces);
  }
}

function invalidEnd(err: unknown, at: Lsn): WalEnd {
  if (!isDbError(err) || !err.code.startsWith('WAL_')) throw err;
  return { lsn: at, kind: 'invalid', code: err.code, reason: errorMessage(err) };
}
