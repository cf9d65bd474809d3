/**
 * A stream of WAL bytes, cut anywhere, to records (xlogreader.c XLogDecodeNextRecord and its page checks).
 *
 * Where records lie, in short: each starts at a multiple of 8; each 8192-byte page begins with a header, which may fall
 * anywhere inside a record; a record that ends exactly on a page boundary ends *there*, and the next one begins after the
 * header. A SWITCH record ends its segment: what is left of it is zeros, page headers included.
 *
 * A record is handed out when every byte up to its end LSN (padding, and the zeros after a SWITCH) has been pushed. So
 * `position` never runs ahead of the bytes received, and a new decoder can start there.
 */
import { DbError } from '../errors.js';
import { formatLsn, INVALID_LSN, type Lsn } from '../lsn.js';
import { XLOG_BLCKSZ } from '../page/constants.js';
import { ChunkQueue } from './chunks.js';
import { bad, checkRecordCrc, checkRecordHeader, checkRecordLength, decodeRecord } from './decode.js';
import {
  isSegmentSize,
  RECORD_HEADER,
  u32,
  u64,
  XLOG_OVERWRITE_CONTRECORD,
  XLOG_SWITCH,
  XLP_FIRST_IS_CONTRECORD,
  XLP_FIRST_IS_OVERWRITE_CONTRECORD,
} from './format.js';
import { pageHeaderSize, parsePageHeader } from './page-header.js';
import type { WalRecord } from './types.js';

export interface WalStreamOptions {
  /** A record boundary: a record's start, a record's end as stamped on pages, or a page or segment boundary between records. */
  startLsn: Lsn;
  segmentSize: number;
  /** Checked against the long page headers when given. */
  systemId?: bigint;
  /** Timeline of the log just before startLsn; pages of an earlier one are refused. */
  timeline?: number;
  /** Start of the record that ends at startLsn, to check the first record's xl_prev; `lastRecordLsn` of a former decoder. */
  lastRecordLsn?: Lsn;
  /**
   * The bytes come from files that PostgreSQL reuses: when it crashed between a SWITCH and the zeros after it, older bytes stay there for good.
   * By default anything but zeros is refused: it may be records that a damaged one hides.
   */
  recycledFiles?: boolean;
}

const ZEROS: Readonly<Buffer> = Buffer.alloc(64 * 1024);

/** A record of which only a part has been seen. */
interface Partial {
  startLsn: Lsn;
  total: number;
  have: number;
  headerChecked: boolean;
  pieces: Buffer[];
}

const NO_CRC = { crc: false } as const;

export class WalStreamDecoder {
  private readonly segmentSize: number;
  private readonly systemId: bigint | undefined;
  private readonly recycledFiles: boolean;
  private readonly chunks = new ChunkQueue();
  /** LSN of the next byte to consume. */
  private at: Lsn;
  /** End of the page that `at` lies in; equal to `at` when the next thing is a page header. */
  private pageEnd: Lsn;
  private partial: Partial | null = null;
  /** A SWITCH record waiting for the zeros up to its segment's end. */
  private switching: WalRecord | null = null;
  /** The page just entered promises an OVERWRITE_CONTRECORD; the LSN is the dropped record's, 0 if it was not seen. */
  private overwrite: { lsn: Lsn } | null = null;
  private failure: unknown = null;
  private lastStart: Lsn;
  private lastEnd: Lsn;
  private lastTimeline: number;

  /** Throws WAL_BAD_LSN when startLsn cannot be a record boundary, WAL_BAD_SEGMENT_SIZE. */
  constructor(options: WalStreamOptions) {
    const { startLsn, segmentSize } = options;
    if (!isSegmentSize(segmentSize))
      throw new DbError('WAL_BAD_SEGMENT_SIZE', `not a WAL segment size: ${segmentSize} bytes`, {
        reaction: 'usage',
      });
    if (!isRecordBoundary(startLsn, segmentSize))
      throw new DbError('WAL_BAD_LSN', `no WAL record can begin at ${formatLsn(startLsn)}`, {
        reaction: 'usage',
      });
    this.segmentSize = segmentSize;
    this.systemId = options.systemId;
    this.recycledFiles = options.recycledFiles ?? false;
    this.at = startLsn;
    this.pageEnd = (Math.ceil(startLsn / XLOG_BLCKSZ) * XLOG_BLCKSZ) as Lsn;
    this.lastStart = options.lastRecordLsn ?? INVALID_LSN;
    this.lastEnd = startLsn;
    this.lastTimeline = options.timeline ?? 0;
  }

  /** End of the last complete record, as stamped on pages; decoding can resume here. */
  get position(): Lsn {
    return this.lastEnd;
  }

  /** Start of the last complete record, for xl_prev; 0 before the first. */
  get lastRecordLsn(): Lsn {
    return this.lastStart;
  }

  /** End of the bytes pushed so far. */
  get pushedLsn(): Lsn {
    return (this.at + this.chunks.length) as Lsn;
  }

  /** Timeline of the last page header read; 0 before the first (unless given). */
  get timeline(): number {
    return this.lastTimeline;
  }

  /** Adds the bytes that follow those pushed before. They must not change as long as records decoded from them are in use. */
  push(bytes: Buffer): void {
    this.chunks.push(bytes);
  }

  /**
   * The next record, or null when it is not complete yet. Throws WAL_BAD_PAGE, WAL_WRONG_SYSTEM, WAL_BAD_CONTRECORD,
   * WAL_BAD_PREV, WAL_BAD_SWITCH and the codes of decodeRecord; after an error the decoder is spent and throws it again.
   */
  next(): WalRecord | null {
    if (this.failure !== null) throw this.failure;
    try {
      return this.step();
    } catch (err) {
      this.failure = err;
      throw err;
    }
  }

  private step(): WalRecord | null {
    for (;;) {
      if (this.switching !== null) return this.finishSwitch(this.switching);
      if (this.at === this.pageEnd && !(this.partial !== null && this.partial.have === this.partial.total)) {
        if (!this.enterPage()) return null;
        continue;
      }
      if (this.partial === null) {
        if (this.chunks.length < 4) return null;
        const record = this.wholeRecord();
        if (record !== null) return record;
        if (this.switching !== null) continue;
        this.beginPartial();
      }
      if (!this.fillPartial(this.partial!)) return null;
      if (this.partial!.have === this.partial!.total) {
        const record = this.finishPartial(this.partial!);
        if (record !== null || this.switching === null) return record;
      }
    }
  }

  /** The common case: the record lies in one chunk and on one page, so it is handed out as a view. */
  private wholeRecord(): WalRecord | null {
    const { head, offset } = this.chunks;
    const here = head.length - offset;
    if (here < RECORD_HEADER) return null;
    const total = u32(head, offset);
    const padded = Math.ceil(total / 8) * 8;
    if (padded > here || padded > this.pageEnd - this.at || total < RECORD_HEADER) return null;
    const raw = head.subarray(offset, offset + total);
    const startLsn = this.at;
    this.checkHeader(raw, startLsn);
    checkRecordCrc(raw, startLsn);
    this.chunks.skip(padded);
    this.at = (startLsn + padded) as Lsn;
    return this.emit(raw, startLsn);
  }

  private beginPartial(): void {
    const total = u32(this.chunks.peek(4), 0);
    checkRecordLength(total, this.at);
    this.partial = { startLsn: this.at, total, have: 0, headerChecked: false, pieces: [] };
  }

  /** Takes what this page holds of the record. False when more bytes are needed first. */
  private fillPartial(partial: Partial): boolean {
    while (partial.have < partial.total && this.at < this.pageEnd) {
      const piece = this.chunks.takeContiguous(
        Math.min(partial.total - partial.have, this.pageEnd - this.at),
      );
      if (piece.length === 0) return false;
      partial.pieces.push(piece);
      partial.have += piece.length;
      this.at = (this.at + piece.length) as Lsn;
    }
    if (!partial.headerChecked && partial.have >= RECORD_HEADER) {
      // Early, so that garbage is noticed before its supposed length has arrived.
      const header = partial.pieces.length === 1 ? partial.pieces[0]! : Buffer.concat(partial.pieces);
      this.checkHeader(header, partial.startLsn);
      partial.pieces = [header];
      partial.headerChecked = true;
    }
    return true;
  }

  /** All bytes are there; null while the padding after them is not, or when a SWITCH has yet to reach its segment's end. */
  private finishPartial(partial: Partial): WalRecord | null {
    // Continuations begin right after a header, a multiple of 8, so the padded end follows from the position alone.
    const pad = Math.ceil(this.at / 8) * 8 - this.at;
    if (this.chunks.length < pad) return null;
    const raw =
      partial.pieces.length === 1 ? partial.pieces[0]! : Buffer.concat(partial.pieces, partial.total);
    checkRecordCrc(raw, partial.startLsn);
    this.chunks.skip(pad);
    this.at = (this.at + pad) as Lsn;
    this.partial = null;
    return this.emit(raw, partial.startLsn);
  }

  private emit(raw: Buffer, startLsn: Lsn): WalRecord | null {
    const isSwitch = raw[17] === 0 && (raw[16]! & 0xf0) === XLOG_SWITCH;
    const endLsn = isSwitch ? ((Math.ceil(this.at / this.segmentSize) * this.segmentSize) as Lsn) : this.at;
    const record = decodeRecord(raw, startLsn, endLsn, NO_CRC);
    if (this.overwrite !== null) this.checkOverwrite(record, this.overwrite.lsn);
    if (isSwitch) {
      this.switching = record;
      return null;
    }
    this.lastStart = startLsn;
    this.lastEnd = endLsn;
    return record;
  }

  private finishSwitch(record: WalRecord): WalRecord | null {
    const { endLsn } = record;
    while (this.at < endLsn && this.chunks.length > 0) {
      const filler = this.chunks.takeContiguous(Math.min(ZEROS.length, endLsn - this.at));
      if (!this.recycledFiles && filler.compare(ZEROS, 0, filler.length) !== 0)
        throw bad('WAL_BAD_SWITCH', record.startLsn, 'ends its segment, but the rest of that is not empty');
      this.at = (this.at + filler.length) as Lsn;
    }
    if (this.at < endLsn) return null;
    this.switching = null;
    this.pageEnd = endLsn;
    this.lastStart = record.startLsn;
    this.lastEnd = endLsn;
    return record;
  }

  /** Reads the header of the page that begins at `at`. False when its bytes are not all there. */
  private enterPage(): boolean {
    const pageLsn = this.at;
    const size = pageHeaderSize(pageLsn, this.segmentSize);
    if (this.chunks.length < size) return false;
    const header = parsePageHeader(this.chunks.peek(size), pageLsn, {
      segmentSize: this.segmentSize,
      systemId: this.systemId,
      timeline: this.lastTimeline,
    });
    if ((header.info & XLP_FIRST_IS_OVERWRITE_CONTRECORD) !== 0) {
      // The writer crashed inside a record and went on here: what there was of the record is void.
      this.overwrite = { lsn: this.partial === null ? INVALID_LSN : this.partial.startLsn };
      this.partial = null;
    } else if (this.partial !== null) {
      const missing = this.partial.total - this.partial.have;
      if (header.remLen !== missing) {
        throw bad(
          'WAL_BAD_CONTRECORD',
          this.partial.startLsn,
          `needs ${missing} bytes more at ${formatLsn(pageLsn)}, that page continues a record by ${header.remLen}`,
        );
      }
    }
    if (this.partial === null && (header.info & XLP_FIRST_IS_CONTRECORD) !== 0) {
      throw new DbError(
        'WAL_BAD_CONTRECORD',
        `WAL page at ${formatLsn(pageLsn)} continues a record, but none is open there`,
        { details: { lsn: pageLsn } },
      );
    }
    this.lastTimeline = header.timeline;
    this.chunks.skip(size);
    this.at = (pageLsn + size) as Lsn;
    this.pageEnd = (pageLsn + XLOG_BLCKSZ) as Lsn;
    return true;
  }

  private checkHeader(header: Buffer, startLsn: Lsn): void {
    checkRecordHeader(header, startLsn);
    const prev = u64(header, 8);
    if (this.lastStart !== INVALID_LSN ? prev !== this.lastStart : prev >= startLsn) {
      const expected =
        this.lastStart !== INVALID_LSN ? formatLsn(this.lastStart) : `below ${formatLsn(startLsn)}`;
      throw bad('WAL_BAD_PREV', startLsn, `has prev-link ${formatLsn(prev)}, expected ${expected}`);
    }
  }

  private checkOverwrite(record: WalRecord, dropped: Lsn): void {
    this.overwrite = null;
    const isOverwrite = record.rmid === 0 && (record.info & 0xf0) === XLOG_OVERWRITE_CONTRECORD;
    if (!isOverwrite || record.mainData.length < 8) {
      throw bad('WAL_BAD_CONTRECORD', record.startLsn, 'should say which unfinished record it overwrites');
    }
    const overwritten = u64(record.mainData, 0);
    if (dropped !== INVALID_LSN && overwritten !== dropped) {
      throw bad(
        'WAL_BAD_CONTRECORD',
        record.startLsn,
        `overwrites the record at ${formatLsn(overwritten)}, but the unfinished one is at ${formatLsn(dropped)}`,
      );
    }
  }
}

/** Whether a record may begin or end at `at`: a multiple of 8, and not inside a page header. */
export function isRecordBoundary(at: Lsn, segmentSize: number): boolean {
  const pageOffset = at % XLOG_BLCKSZ;
  return at % 8 === 0 && (pageOffset === 0 || pageOffset >= pageHeaderSize(at - pageOffset, segmentSize));
}
