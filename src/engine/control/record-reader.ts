/** Bounds-checked reading of a WAL record's main data: anything missing or left over is REDO_BAD_RECORD with the record's LSN. */
import { DbError } from '../errors.js';
import { formatLsn, type Lsn } from '../lsn.js';
import type { RelFileLocator, WalRecord } from '../wal/types.js';

const TWO_32 = 0x1_0000_0000;

export class RecordReader {
  private at = 0;
  private readonly data: Buffer;

  constructor(
    private readonly rec: WalRecord,
    private readonly name: string,
  ) {
    this.data = rec.mainData;
  }

  get remaining(): number {
    return this.data.length - this.at;
  }

  skip(bytes: number): void {
    this.need(bytes);
    this.at += bytes;
  }

  u8(): number {
    this.need(1);
    return this.data[this.at++]!;
  }

  u16(): number {
    this.need(2);
    this.at += 2;
    return this.data.readUInt16LE(this.at - 2);
  }

  u32(): number {
    this.need(4);
    this.at += 4;
    return this.data.readUInt32LE(this.at - 4);
  }

  /** A non-negative i32: a number of elements of `elementBytes` each, all of which must follow. */
  count(elementBytes: number): number {
    this.need(4);
    const n = this.data.readInt32LE(this.at);
    this.at += 4;
    if (n < 0 || n * elementBytes > this.remaining) throw this.bad(`count ${n} at byte ${this.at - 4}`);
    return n;
  }

  /** A u64 or non-negative i64 below 2^53. */
  u64(): number {
    this.need(8);
    const high = this.data.readUInt32LE(this.at + 4);
    if (high > 0x1f_ffff) throw this.bad(`number beyond 2^53 at byte ${this.at}`);
    this.at += 8;
    return high * TWO_32 + this.data.readUInt32LE(this.at - 8);
  }

  lsn(): Lsn {
    return this.u64() as Lsn;
  }

  /** A view into the record. */
  bytes(length: number): Buffer {
    this.need(length);
    this.at += length;
    return this.data.subarray(this.at - length, this.at);
  }

  xids(n: number): number[] {
    this.need(n * 4);
    const xids = new Array<number>(n);
    for (let i = 0; i < n; i++, this.at += 4) xids[i] = this.data.readUInt32LE(this.at);
    return xids;
  }

  relation(): RelFileLocator {
    return { spcOid: this.u32(), dbOid: this.u32(), relNumber: this.u32() };
  }

  /** A NUL-terminated string. */
  cstring(): string {
    const end = this.data.indexOf(0, this.at);
    if (end < 0) throw this.bad('string without an end');
    const text = this.data.toString('utf8', this.at, end);
    this.at = end + 1;
    return text;
  }

  /** Asserts that everything was read. */
  end(): void {
    if (this.remaining !== 0) throw this.bad(`${this.remaining} bytes too many`);
  }

  bad(why: string): DbError {
    return new DbError('REDO_BAD_RECORD', `record ${this.name} at ${formatLsn(this.rec.startLsn)}: ${why}`);
  }

  private need(bytes: number): void {
    if (this.remaining < bytes)
      throw this.bad(`${this.data.length} bytes of main data, ${this.at + bytes} needed`);
  }
}

/** For an opcode that PostgreSQL 18 does not write. */
export function unknownRecord(rec: WalRecord, rmgr: string): DbError {
  return new DbError(
    'REDO_UNKNOWN_RECORD',
    `cannot replay the record at ${formatLsn(rec.startLsn)}: ${rmgr} has no record type with info 0x${rec.info.toString(16)}`,
  );
}
