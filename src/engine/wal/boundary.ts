import { DbError } from '../errors.js';
import { formatLsn, INVALID_LSN, maxAlign, type Lsn } from '../lsn.js';
import { XLOG_BLCKSZ as PAGE } from '../page/constants.js';
import {
  LONG_PAGE_HEADER,
  MAX_RECORD_LENGTH,
  RECORD_HEADER,
  SHORT_PAGE_HEADER,
  XLOG_SWITCH,
} from './format.js';
import { Rmgr } from './types.js';

/**
 * Finds where records end in a stream of WAL without decoding them: of each record only the header is looked at. The writer
 * needs it because commit may only stop at a record boundary. Bytes are trusted (they come from PostgreSQL itself); what storage
 * replays is checked there. Throws WAL_BAD_LENGTH.
 */
export class RecordBoundaryScanner {
  /** End of the last complete record seen, as PostgreSQL stamps it on pages. */
  recordEnd: Lsn;
  /** Start of that record; 0 before the first one. */
  recordStart: Lsn = INVALID_LSN;
  /** Position of the next record's header once it is known where that is. */
  private nextRecord: number;
  /** Header bytes of the record at nextRecord that have come so far (a header may be cut by a chunk or a page boundary). */
  private readonly header = Buffer.alloc(RECORD_HEADER);
  private headerBytes = 0;
  /** End of the record whose header is complete, or 0. */
  private pendingEnd = 0;

  /** `start` is a record boundary. */
  constructor(
    start: Lsn,
    private readonly segmentSize: number,
  ) {
    this.recordEnd = start;
    this.nextRecord = this.skipPageHeader(start);
  }

  /** WAL bytes at `begin`, contiguous with those before. */
  push(begin: Lsn, bytes: Buffer): void {
    const end = begin + bytes.length;
    for (;;) {
      if (this.pendingEnd !== 0) {
        if (this.pendingEnd > end) return;
        this.recordStart = this.nextRecord as Lsn;
        this.recordEnd = this.pendingEnd as Lsn;
        this.nextRecord = this.skipPageHeader(this.pendingEnd);
        this.pendingEnd = 0;
      }
      if (!this.readHeader(begin, bytes, end)) return;
      this.pendingEnd = this.endOfRecord();
      this.headerBytes = 0;
    }
  }

  /** Collects the header at nextRecord; false when more bytes are needed. */
  private readHeader(begin: number, bytes: Buffer, end: number): boolean {
    let position = this.skipPageHeader(this.advance(this.nextRecord, this.headerBytes));
    while (this.headerBytes < RECORD_HEADER) {
      const room = Math.min(RECORD_HEADER - this.headerBytes, PAGE - (position % PAGE), end - position);
      if (room <= 0) return false;
      bytes.copy(this.header, this.headerBytes, position - begin, position - begin + room);
      this.headerBytes += room;
      position = this.skipPageHeader(position + room);
    }
    return true;
  }

  private endOfRecord(): number {
    const length = this.header.readUInt32LE(0);
    if (length < RECORD_HEADER || length > MAX_RECORD_LENGTH) {
      throw new DbError(
        'WAL_BAD_LENGTH',
        `record at ${formatLsn(this.nextRecord)} claims a length of ${length} bytes`,
      );
    }
    const end = maxAlign(this.advance(this.nextRecord, length));
    const isSwitch = this.header[17] === Rmgr.XLOG && (this.header[16]! & 0xf0) === XLOG_SWITCH;
    return isSwitch ? Math.ceil(end / this.segmentSize) * this.segmentSize : end;
  }

  /** Position after `count` record bytes from `position` on. Ends on a raw page boundary rather than behind the next page's header. */
  private advance(position: number, count: number): number {
    let at = position;
    let left = count;
    while (left > 0) {
      at = this.skipPageHeader(at);
      const step = Math.min(left, PAGE - (at % PAGE));
      at += step;
      left -= step;
    }
    return at;
  }

  private skipPageHeader(position: number): number {
    if (position % PAGE !== 0) return position;
    return position + (position % this.segmentSize === 0 ? LONG_PAGE_HEADER : SHORT_PAGE_HEADER);
  }
}
