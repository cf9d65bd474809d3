/**
 * One whole WAL record (page headers already removed) to a `WalRecord`: xlogreader.c DecodeXLogRecord, PostgreSQL 18.
 *
 * Record: header (24 bytes), then fragment headers, then payloads in the order of their headers.
 *   header    xl_tot_len u32, xl_xid u32, xl_prev u64, xl_info u8, xl_rmid u8, pad 2, xl_crc u32
 *   0..32     block reference: id u8, fork_flags u8, data_length u16, [image header], [rel 12 bytes], block u32
 *   252, 253  top-level xid u32; replication origin u16
 *   254, 255  main data: length u32 or u8; always the last header
 * Headers end where the bytes left equal the payload bytes announced so far.
 *
 * Nothing here trusts a length: each is checked against the record before it is used.
 */
import { DbError } from '../errors.js';
import { formatLsn, type Lsn } from '../lsn.js';
import { BLCKSZ } from '../page/constants.js';
import { recordCrc } from './crc32c.js';
import {
  BKPBLOCK_FORK_MASK,
  BKPBLOCK_HAS_DATA,
  BKPBLOCK_HAS_IMAGE,
  BKPBLOCK_SAME_REL,
  BKPBLOCK_WILL_INIT,
  BKPIMAGE_APPLY,
  BKPIMAGE_COMPRESSED,
  BKPIMAGE_HAS_HOLE,
  BKPIMAGE_PGLZ,
  BKPIMAGE_LZ4,
  BKPIMAGE_ZSTD,
  ID_DATA_LONG,
  ID_DATA_SHORT,
  ID_ORIGIN,
  ID_TOPLEVEL_XID,
  MAX_BLOCK_ID,
  MAX_RECORD_LENGTH,
  RECORD_HEADER,
  u16,
  u32,
  u64,
  XLR_UNUSED_FLAGS,
} from './format.js';
import type { BlockRef, WalRecord } from './types.js';

/** Shared by every record without main data and every block without data. */
export const EMPTY = Buffer.alloc(0);
const NO_BLOCKS: readonly BlockRef[] = Object.freeze([]);

const MAX_FORK = 3;
const LAST_BUILTIN_RMID = 21;
const FIRST_CUSTOM_RMID = 128;

export interface DecodeOptions {
  /** false: the caller has checked xl_crc already. */
  crc?: boolean;
}

/**
 * Constructors, so that all records and block references share a hidden class. What they have of the record's bytes is cut out when it is asked for: a view
 * costs as much as decoding the rest, and ingest needs few of them.
 */
class Block implements BlockRef {
  raw: Buffer = EMPTY;
  imageAt = 0;
  dataAt = 0;
  imageLength = 0;
  dataLength = 0;
  hasImage = false;
  applyImage = false;
  imageInfo = 0;
  holeOffset = 0;
  holeLength = 0;
  spcOid = 0;
  dbOid = 0;
  relNumber = 0;
  blkno = 0;
  private dataView: Buffer | null = null;

  constructor(
    readonly id: number,
    readonly fork: number,
    readonly willInit: boolean,
  ) {}

  get image(): Buffer | null {
    return this.hasImage ? this.raw.subarray(this.imageAt, this.imageAt + this.imageLength) : null;
  }

  get data(): Buffer {
    if (this.dataLength === 0) return EMPTY;
    return (this.dataView ??= this.raw.subarray(this.dataAt, this.dataAt + this.dataLength));
  }
}

class Decoded implements WalRecord {
  readonly xid: number;
  readonly prevLsn: Lsn;
  readonly info: number;
  readonly rmid: number;
  private mainView: Buffer | null = null;

  constructor(
    readonly startLsn: Lsn,
    readonly endLsn: Lsn,
    readonly raw: Buffer,
    readonly blocks: readonly BlockRef[],
    private readonly mainLength: number,
    readonly origin: number,
    readonly toplevelXid: number,
  ) {
    this.xid = u32(raw, 4);
    this.prevLsn = u64(raw, 8) as Lsn;
    this.info = raw[16]!;
    this.rmid = raw[17]!;
  }

  /** Always the last part. */
  get mainData(): Buffer {
    if (this.mainLength === 0) return EMPTY;
    return (this.mainView ??= this.raw.subarray(this.raw.length - this.mainLength));
  }
}

/**
 * Decodes the record `raw` that starts at `startLsn` and ends (as stamped on pages) at `endLsn`.
 * The result's buffers are views into `raw`.
 *
 * Throws WAL_BAD_LENGTH (xl_tot_len is not raw's length), WAL_BAD_CRC, WAL_BAD_RMID, WAL_BAD_HEADER, WAL_BAD_BLOCK_REF,
 * WAL_BAD_IMAGE or WAL_BAD_RECORD (fragments and lengths do not add up).
 */
export function decodeRecord(raw: Buffer, startLsn: Lsn, endLsn: Lsn, options?: DecodeOptions): WalRecord {
  const total = raw.length;
  if (total < RECORD_HEADER || u32(raw, 0) !== total) {
    const said = total < 4 ? 'no length' : `length ${u32(raw, 0)}`;
    throw bad('WAL_BAD_LENGTH', startLsn, `has ${total} bytes, its header says ${said}`);
  }
  if (options?.crc !== false) checkRecordCrc(raw, startLsn);
  checkRecordHeader(raw, startLsn);

  let at = RECORD_HEADER;
  let payload = 0; // bytes announced so far
  let lastId = -1;
  let blocks: Block[] | null = null;
  let origin = 0;
  let toplevelXid = 0;
  let mainLength = 0;

  while (total - at > payload) {
    const id = raw[at]!;
    if (id <= MAX_BLOCK_ID) {
      if (id <= lastId)
        throw bad('WAL_BAD_BLOCK_REF', startLsn, `has block reference ${id} after block reference ${lastId}`);
      lastId = id;
      need(raw, at, 4, startLsn);
      const previous: Block | null = blocks === null ? null : blocks[blocks.length - 1]!;
      const flags = raw[at + 1]!;
      const block = new Block(id, flags & BKPBLOCK_FORK_MASK, (flags & BKPBLOCK_WILL_INIT) !== 0);
      at = readBlockHeader(raw, at, block, previous, startLsn);
      payload += block.imageLength + block.dataLength;
      if (blocks === null) blocks = [block];
      else blocks.push(block);
    } else if (id === ID_DATA_SHORT) {
      need(raw, at, 2, startLsn);
      mainLength = raw[at + 1]!;
      payload += mainLength;
      at += 2;
      break;
    } else if (id === ID_DATA_LONG) {
      need(raw, at, 5, startLsn);
      mainLength = u32(raw, at + 1);
      payload += mainLength;
      at += 5;
      break;
    } else if (id === ID_ORIGIN) {
      need(raw, at, 3, startLsn);
      origin = u16(raw, at + 1);
      at += 3;
    } else if (id === ID_TOPLEVEL_XID) {
      need(raw, at, 5, startLsn);
      toplevelXid = u32(raw, at + 1);
      at += 5;
    } else {
      throw bad('WAL_BAD_RECORD', startLsn, `has an unknown fragment id ${id} at offset ${at}`);
    }
  }
  if (total - at !== payload) {
    throw bad('WAL_BAD_RECORD', startLsn, `announces ${payload} payload bytes, has ${total - at}`);
  }

  if (blocks !== null) {
    for (const block of blocks) {
      block.raw = raw;
      block.imageAt = at;
      block.dataAt = at += block.imageLength;
      at += block.dataLength;
    }
  }
  return new Decoded(startLsn, endLsn, raw, blocks ?? NO_BLOCKS, mainLength, origin, toplevelXid);
}

/** Parses the block header at `at` (its first 4 bytes are there) into `block`; returns the offset after it. */
function readBlockHeader(raw: Buffer, at: number, block: Block, previous: Block | null, start: Lsn): number {
  const flags = raw[at + 1]!;
  block.dataLength = u16(raw, at + 2);
  at += 4;
  if (block.fork > MAX_FORK)
    throw bad('WAL_BAD_BLOCK_REF', start, `block reference ${block.id} has fork ${block.fork}`);
  if (((flags & BKPBLOCK_HAS_DATA) !== 0) !== block.dataLength > 0) {
    throw bad(
      'WAL_BAD_BLOCK_REF',
      start,
      `block reference ${block.id}: HAS_DATA flag and data length ${block.dataLength} disagree`,
    );
  }
  if ((flags & BKPBLOCK_HAS_IMAGE) !== 0) at = readImageHeader(raw, at, block, start);
  if ((flags & BKPBLOCK_SAME_REL) === 0) {
    need(raw, at, 12, start);
    block.spcOid = u32(raw, at);
    block.dbOid = u32(raw, at + 4);
    block.relNumber = u32(raw, at + 8);
    at += 12;
  } else {
    if (previous === null)
      throw bad(
        'WAL_BAD_BLOCK_REF',
        start,
        `block reference ${block.id}: SAME_REL without a relation before it`,
      );
    block.spcOid = previous.spcOid;
    block.dbOid = previous.dbOid;
    block.relNumber = previous.relNumber;
  }
  need(raw, at, 4, start);
  block.blkno = u32(raw, at);
  return at + 4;
}

function readImageHeader(raw: Buffer, at: number, block: Block, start: Lsn): number {
  need(raw, at, 5, start);
  const length = u16(raw, at);
  const info = raw[at + 4]!;
  const hasHole = (info & BKPIMAGE_HAS_HOLE) !== 0;
  const method = info & BKPIMAGE_COMPRESSED;
  block.hasImage = true;
  block.imageLength = length;
  block.imageInfo = info;
  block.applyImage = (info & BKPIMAGE_APPLY) !== 0;
  block.holeOffset = u16(raw, at + 2);
  at += 5;
  if (method !== 0) {
    if (hasHole) {
      need(raw, at, 2, start);
      block.holeLength = u16(raw, at);
      at += 2;
    }
  } else {
    block.holeLength = BLCKSZ - length;
  }
  const fault = imageFault(block, length, info, hasHole, method);
  if (fault !== null) {
    throw bad(
      'WAL_BAD_IMAGE',
      start,
      `block reference ${block.id}: ${fault} (length ${length}, hole ${block.holeOffset}+${block.holeLength}, ` +
        `info 0x${info.toString(16)})`,
    );
  }
  return at;
}

/** The image rules of DecodeXLogRecord, and that the hole lies inside the page. */
function imageFault(
  block: Block,
  length: number,
  info: number,
  hasHole: boolean,
  method: number,
): string | null {
  if ((info & ~(BKPIMAGE_HAS_HOLE | BKPIMAGE_APPLY | BKPIMAGE_COMPRESSED)) !== 0)
    return 'unknown image flags';
  if (method !== 0 && method !== BKPIMAGE_PGLZ && method !== BKPIMAGE_LZ4 && method !== BKPIMAGE_ZSTD)
    return 'more than one compression method';
  if (length > BLCKSZ || length === 0) return 'impossible image length';
  if (method !== 0 && length === BLCKSZ) return 'compressed image of a whole page';
  if (hasHole) {
    if (block.holeOffset === 0 || block.holeLength === 0 || length === BLCKSZ) return 'empty hole';
    if (block.holeOffset + block.holeLength > BLCKSZ) return 'hole beyond the page';
  } else {
    if (block.holeOffset !== 0 || block.holeLength !== 0) return 'hole without its flag';
  }
  return null;
}

/** Throws WAL_BAD_CRC unless xl_crc matches. `raw` is a whole record of at least 24 bytes. */
export function checkRecordCrc(raw: Buffer, startLsn: Lsn): void {
  const stored = u32(raw, 20);
  const computed = recordCrc(raw);
  if (stored !== computed) {
    throw bad(
      'WAL_BAD_CRC',
      startLsn,
      `has checksum ${hex32(computed)}, its header says ${hex32(stored)} (${raw.length} bytes)`,
    );
  }
}

/**
 * Checks what the 24 header bytes alone can tell: length range, resource manager id, flag bits.
 * Throws WAL_BAD_LENGTH, WAL_BAD_RMID or WAL_BAD_HEADER.
 */
export function checkRecordHeader(header: Buffer, startLsn: Lsn): void {
  checkRecordLength(u32(header, 0), startLsn);
  const rmid = header[17]!;
  if (rmid > LAST_BUILTIN_RMID && rmid < FIRST_CUSTOM_RMID)
    throw bad('WAL_BAD_RMID', startLsn, `has an invalid resource manager id ${rmid}`);
  if ((header[16]! & XLR_UNUSED_FLAGS) !== 0)
    throw bad('WAL_BAD_HEADER', startLsn, `has unknown flags in xl_info 0x${header[16]!.toString(16)}`);
  if (u64(header, 8) > Number.MAX_SAFE_INTEGER)
    throw bad('WAL_BAD_HEADER', startLsn, 'has an impossible xl_prev');
}

/** Throws WAL_BAD_LENGTH. A zero length is what follows the last record in a segment file. */
export function checkRecordLength(total: number, startLsn: Lsn): void {
  if (total < RECORD_HEADER)
    throw bad('WAL_BAD_LENGTH', startLsn, `has length ${total}, expected at least ${RECORD_HEADER}`);
  if (total > MAX_RECORD_LENGTH)
    throw bad('WAL_BAD_LENGTH', startLsn, `has length ${total}, over the limit of ${MAX_RECORD_LENGTH}`);
}

/** An error about the record at `start`; `what` continues the sentence "WAL record at X/Y ...". */
export function bad(code: string, start: Lsn, what: string): DbError {
  return new DbError(code, `WAL record at ${formatLsn(start)} ${what}`, { details: { lsn: start } });
}

function need(raw: Buffer, at: number, bytes: number, start: Lsn): void {
  if (raw.length - at < bytes)
    throw bad('WAL_BAD_RECORD', start, `ends inside a fragment header at offset ${at}`);
}

function hex32(value: number): string {
  return value.toString(16).toUpperCase().padStart(8, '0');
}
