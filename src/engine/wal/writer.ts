/**
 * Writing WAL: a record's bytes with its CRC, and its placement into the log, page headers included (xloginsert.c
 * XLogRecordAssemble, xlog.c CopyXLogRecordToWAL). Used for the records that storage itself adds to a log: the checkpoint that
 * a new writer starts from, and LogicalMessage records that carry files.
 */
import { DbError } from '../errors.js';
import { formatLsn, writeLsn, type Lsn } from '../lsn.js';
import { BLCKSZ, XLOG_BLCKSZ } from '../page/constants.js';
import { recordCrc } from './crc32c.js';
import {
  BKPBLOCK_HAS_DATA,
  BKPBLOCK_HAS_IMAGE,
  BKPBLOCK_SAME_REL,
  BKPBLOCK_WILL_INIT,
  BKPIMAGE_COMPRESSED,
  BKPIMAGE_HAS_HOLE,
  ID_DATA_LONG,
  ID_DATA_SHORT,
  ID_ORIGIN,
  ID_TOPLEVEL_XID,
  MAX_BLOCK_ID,
  MAX_RECORD_LENGTH,
  RECORD_HEADER,
} from './format.js';
import { pageHeaderSize, writePageHeader, type PageIdentity } from './page-header.js';
import { isRecordBoundary } from './stream.js';
import type { RelFileLocator } from './types.js';

/** A block reference to write; a decoded `BlockRef` fits. */
export interface BlockToWrite extends RelFileLocator {
  readonly id: number;
  readonly fork: number;
  readonly blkno: number;
  readonly willInit?: boolean;
  readonly data?: Buffer;
  /** Image bytes as they go into the log (hole removed, perhaps compressed), described by imageInfo (bimg_info). */
  readonly image?: Buffer | null;
  readonly imageInfo?: number;
  readonly holeOffset?: number;
  readonly holeLength?: number;
}

export interface RecordToWrite {
  readonly rmid: number;
  readonly info: number;
  readonly xid: number;
  readonly prevLsn: Lsn;
  readonly mainData: Buffer;
  readonly blocks?: readonly BlockToWrite[];
  readonly origin?: number;
  readonly toplevelXid?: number;
}

/** The record's bytes (xl_tot_len of them) with xl_crc set. Throws WAL_BAD_RECORD when it cannot be written. */
export function encodeRecord(record: RecordToWrite): Buffer {
  const headers: Buffer[] = [Buffer.alloc(RECORD_HEADER)];
  const payload: Buffer[] = [];
  let previous: BlockToWrite | null = null;
  for (const block of record.blocks ?? []) {
    if (block.id > MAX_BLOCK_ID || (previous !== null && block.id <= previous.id))
      throw new DbError('WAL_BAD_RECORD', `cannot write a WAL record with block reference ${block.id} here`);
    headers.push(blockHeader(block, previous));
    if (block.image) payload.push(block.image);
    if (block.data && block.data.length > 0) payload.push(block.data);
    previous = block;
  }
  if (record.origin) headers.push(fragment(ID_ORIGIN, 2, record.origin));
  if (record.toplevelXid) headers.push(fragment(ID_TOPLEVEL_XID, 4, record.toplevelXid));
  const mainLength = record.mainData.length;
  if (mainLength > 255) headers.push(fragment(ID_DATA_LONG, 4, mainLength));
  else if (mainLength > 0) headers.push(fragment(ID_DATA_SHORT, 1, mainLength));

  const raw = Buffer.concat([...headers, ...payload, record.mainData]);
  if (raw.length > MAX_RECORD_LENGTH) {
    throw new DbError(
      'WAL_BAD_RECORD',
      `cannot write a WAL record of ${raw.length} bytes, the limit is ${MAX_RECORD_LENGTH}`,
    );
  }
  raw.writeUInt32LE(raw.length, 0);
  raw.writeUInt32LE(record.xid, 4);
  writeLsn(raw, record.prevLsn, 8);
  raw[16] = record.info;
  raw[17] = record.rmid;
  raw.writeUInt32LE(recordCrc(raw), 20);
  return raw;
}

/** id byte, then `value` in `width` bytes. */
function fragment(id: number, width: number, value: number): Buffer {
  const out = Buffer.alloc(1 + width);
  out[0] = id;
  out.writeUIntLE(value, 1, width);
  return out;
}

function blockHeader(block: BlockToWrite, previous: BlockToWrite | null): Buffer {
  const image = block.image ?? null;
  const dataLength = block.data?.length ?? 0;
  const sameRel =
    previous !== null &&
    previous.spcOid === block.spcOid &&
    previous.dbOid === block.dbOid &&
    previous.relNumber === block.relNumber;
  const out = Buffer.alloc(27);
  out[0] = block.id;
  out[1] =
    block.fork |
    (image ? BKPBLOCK_HAS_IMAGE : 0) |
    (dataLength > 0 ? BKPBLOCK_HAS_DATA : 0) |
    (block.willInit ? BKPBLOCK_WILL_INIT : 0) |
    (sameRel ? BKPBLOCK_SAME_REL : 0);
  out.writeUInt16LE(dataLength, 2);
  let at = 4;
  if (image) {
    const info = block.imageInfo ?? 0;
    if (image.length > BLCKSZ)
      throw new DbError('WAL_BAD_RECORD', `cannot write a page image of ${image.length} bytes`);
    out.writeUInt16LE(image.length, at);
    out.writeUInt16LE(block.holeOffset ?? 0, at + 2);
    out[at + 4] = info;
    at += 5;
    if ((info & BKPIMAGE_COMPRESSED) !== 0 && (info & BKPIMAGE_HAS_HOLE) !== 0) {
      out.writeUInt16LE(block.holeLength ?? 0, at);
      at += 2;
    }
  }
  if (!sameRel) {
    out.writeUInt32LE(block.spcOid, at);
    out.writeUInt32LE(block.dbOid, at + 4);
    out.writeUInt32LE(block.relNumber, at + 8);
    at += 12;
  }
  out.writeUInt32LE(block.blkno, at);
  return out.subarray(0, at + 4);
}

export interface PlacedRecord {
  /** The log's bytes in [at, endLsn): page headers, the record, zero padding to the next multiple of 8. */
  readonly bytes: Buffer;
  /** Start of the record proper: after the page header when `at` is a page boundary. */
  readonly startLsn: Lsn;
  /** End as stamped on pages. */
  readonly endLsn: Lsn;
}

/**
 * Lays the record `raw` into the log from `at`, the end of the record before it (or a page boundary).
 * A page that begins within [at, endLsn) gets its header here; one that begins at endLsn does not.
 * Throws WAL_BAD_LSN when no record can begin at `at`.
 */
export function placeRecord(raw: Buffer, at: Lsn, identity: PageIdentity): PlacedRecord {
  const { segmentSize } = identity;
  if (!isRecordBoundary(at, segmentSize))
    throw new DbError('WAL_BAD_LSN', `no WAL record can begin at ${formatLsn(at)}`, { reaction: 'bug' });
  const startLsn = recordStartAt(at, segmentSize);
  const pages = Math.ceil((raw.length + XLOG_BLCKSZ) / (XLOG_BLCKSZ - 40)) + 1;
  const bytes = Buffer.alloc(raw.length + pages * 40 + 8);
  let out = 0; // bytes written; the LSN there is at + out
  let taken = 0; // bytes of raw written
  while (taken < raw.length) {
    const here = (at + out) as Lsn;
    if (here % XLOG_BLCKSZ === 0)
      out += writePageHeader(bytes, out, here, taken === 0 ? 0 : raw.length - taken, identity);
    const room = XLOG_BLCKSZ - ((at + out) % XLOG_BLCKSZ);
    const piece = Math.min(room, raw.length - taken);
    raw.copy(bytes, out, taken, taken + piece);
    taken += piece;
    out += piece;
  }
  const endLsn = (Math.ceil((at + out) / 8) * 8) as Lsn;
  return { bytes: bytes.subarray(0, endLsn - at), startLsn, endLsn };
}

/** Where the record that follows a record ending at `end` begins: past the page header when `end` is a page boundary. */
export function recordStartAt(end: Lsn, segmentSize: number): Lsn {
  return (end % XLOG_BLCKSZ === 0 ? end + pageHeaderSize(end, segmentSize) : end) as Lsn;
}

/**
 * Main data of a LogicalMessage record (message.c xl_logical_message): dbId u32, transactional u8, pad 3, prefix_size u64 (its NUL
 * included), message_size u64, prefix, NUL, message.
 */
export function encodeLogicalMessage(message: {
  prefix: string;
  content: Buffer;
  dbOid?: number;
  transactional?: boolean;
}): Buffer {
  const prefix = Buffer.from(`${message.prefix}\0`);
  const header = Buffer.alloc(24);
  header.writeUInt32LE(message.dbOid ?? 0, 0);
  header[4] = message.transactional ? 1 : 0;
  writeLsn(header, prefix.length, 8);
  writeLsn(header, message.content.length, 16);
  return Buffer.concat([header, prefix, message.content]);
}
