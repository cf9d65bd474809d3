/**
 * Constants of PostgreSQL 18's WAL format (xlogrecord.h, xlog_internal.h), shared by the reader and the writer.
 * Everything is little-endian.
 */

export const XLOG_PAGE_MAGIC = 0xd118;
export const SHORT_PAGE_HEADER = 24;
/** The first page of each segment: adds system identifier, segment size and page size. */
export const LONG_PAGE_HEADER = 40;

export const XLP_FIRST_IS_CONTRECORD = 0x0001;
export const XLP_LONG_HEADER = 0x0002;
export const XLP_BKP_REMOVABLE = 0x0004;
export const XLP_FIRST_IS_OVERWRITE_CONTRECORD = 0x0008;
export const XLP_ALL_FLAGS = 0x000f;

export const RECORD_HEADER = 24;
/** XLogRecordMaxSize: 1020 MiB. */
export const MAX_RECORD_LENGTH = 1020 * 1024 * 1024;

/** Low nibble of xl_info. */
export const XLR_SPECIAL_REL_UPDATE = 0x01;
export const XLR_CHECK_CONSISTENCY = 0x02;
export const XLR_UNUSED_FLAGS = 0x0c;

export const MAX_BLOCK_ID = 32;
export const ID_TOPLEVEL_XID = 252;
export const ID_ORIGIN = 253;
export const ID_DATA_LONG = 254;
export const ID_DATA_SHORT = 255;

export const BKPBLOCK_FORK_MASK = 0x0f;
export const BKPBLOCK_HAS_IMAGE = 0x10;
export const BKPBLOCK_HAS_DATA = 0x20;
export const BKPBLOCK_WILL_INIT = 0x40;
export const BKPBLOCK_SAME_REL = 0x80;

export const BKPIMAGE_HAS_HOLE = 0x01;
export const BKPIMAGE_APPLY = 0x02;
export const BKPIMAGE_PGLZ = 0x04;
export const BKPIMAGE_LZ4 = 0x08;
export const BKPIMAGE_ZSTD = 0x10;
export const BKPIMAGE_COMPRESSED = BKPIMAGE_PGLZ | BKPIMAGE_LZ4 | BKPIMAGE_ZSTD;

export const XLOG_SWITCH = 0x40;
export const XLOG_OVERWRITE_CONTRECORD = 0xd0;

const MIN_SEGMENT_SIZE = 1024 * 1024;
const MAX_SEGMENT_SIZE = 1024 * 1024 * 1024;

/** A power of two from 1 MiB to 1 GiB. */
export function isSegmentSize(bytes: number): boolean {
  return bytes >= MIN_SEGMENT_SIZE && bytes <= MAX_SEGMENT_SIZE && (bytes & (bytes - 1)) === 0;
}

/** Unchecked reads for callers that have tested the length: several times faster than the Buffer methods. */
export function u16(b: Uint8Array, at: number): number {
  return b[at]! | (b[at + 1]! << 8);
}

export function u32(b: Uint8Array, at: number): number {
  return (b[at]! | (b[at + 1]! << 8) | (b[at + 2]! << 16) | (b[at + 3]! << 24)) >>> 0;
}

/** A u64 as a number: exact below 2^53; larger (garbage) values come out rounded and fail whatever test follows. */
export function u64(b: Uint8Array, at: number): number {
  return u32(b, at + 4) * 0x1_0000_0000 + u32(b, at);
}
