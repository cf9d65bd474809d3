/**
 * WAL page headers (XLogPageHeaderData, XLogLongPageHeaderData), PostgreSQL 18:
 *   0 xlp_magic u16, 2 xlp_info u16, 4 xlp_tli u32, 8 xlp_pageaddr u64, 16 xlp_rem_len u32, 20 pad 4       = 24 bytes
 *   first page of a segment: 24 xlp_sysid u64, 32 xlp_seg_size u32, 36 xlp_xlog_blcksz u32                 = 40 bytes
 */
import { DbError } from '../errors.js';
import { formatLsn, writeLsn, type Lsn } from '../lsn.js';
import { XLOG_BLCKSZ } from '../page/constants.js';
import {
  isSegmentSize,
  LONG_PAGE_HEADER,
  SHORT_PAGE_HEADER,
  u16,
  u32,
  u64,
  XLOG_PAGE_MAGIC,
  XLP_ALL_FLAGS,
  XLP_BKP_REMOVABLE,
  XLP_FIRST_IS_CONTRECORD,
  XLP_LONG_HEADER,
} from './format.js';

export interface PageHeader {
  readonly info: number;
  readonly timeline: number;
  /** Bytes of a continued record from this page on; 0 without XLP_FIRST_IS_CONTRECORD. */
  readonly remLen: number;
  /** 24 or 40. */
  readonly size: number;
}

export interface PageHeaderExpectation {
  segmentSize: number;
  /** Checked in long headers when given. */
  systemId?: bigint;
  /** Timeline of the page before, 0 when unknown: timelines never go back along a log. */
  timeline: number;
}

export function pageHeaderSize(pageLsn: Lsn | number, segmentSize: number): number {
  return pageLsn % segmentSize === 0 ? LONG_PAGE_HEADER : SHORT_PAGE_HEADER;
}

/**
 * Parses and checks the header of the page at `pageLsn`; `bytes` holds at least pageHeaderSize() bytes.
 * Throws WAL_BAD_PAGE, or WAL_WRONG_SYSTEM when the page is sound but of another cluster.
 */
export function parsePageHeader(bytes: Buffer, pageLsn: Lsn, expected: PageHeaderExpectation): PageHeader {
  const size = pageHeaderSize(pageLsn, expected.segmentSize);
  const magic = u16(bytes, 0);
  if (magic !== XLOG_PAGE_MAGIC) {
    throw badPage(
      pageLsn,
      `has magic 0x${magic.toString(16).toUpperCase().padStart(4, '0')}, expected 0x${XLOG_PAGE_MAGIC.toString(16).toUpperCase()} (PostgreSQL 18)`,
    );
  }
  const info = u16(bytes, 2);
  if ((info & ~XLP_ALL_FLAGS) !== 0) throw badPage(pageLsn, `has unknown info bits 0x${info.toString(16)}`);
  if (((info & XLP_LONG_HEADER) !== 0) !== (size === LONG_PAGE_HEADER)) {
    throw badPage(
      pageLsn,
      size === LONG_PAGE_HEADER
        ? 'begins a segment but has no long header'
        : 'has a long header inside a segment',
    );
  }
  const address = u64(bytes, 8);
  if (address !== pageLsn) {
    const found = address > Number.MAX_SAFE_INTEGER ? 'garbage' : formatLsn(address);
    throw badPage(pageLsn, `says that it is page ${found}`);
  }
  const timeline = u32(bytes, 4);
  if (timeline === 0 || timeline < expected.timeline)
    throw badPage(pageLsn, `is of timeline ${timeline}, after timeline ${expected.timeline}`);
  const remLen = u32(bytes, 16);
  if (((info & XLP_FIRST_IS_CONTRECORD) !== 0) !== remLen > 0)
    throw badPage(pageLsn, `has a continuation flag that disagrees with xlp_rem_len ${remLen}`);
  if (size === LONG_PAGE_HEADER) checkLongHeader(bytes, pageLsn, expected);
  return { info, timeline, remLen, size };
}

function checkLongHeader(bytes: Buffer, pageLsn: Lsn, expected: PageHeaderExpectation): void {
  const segmentSize = u32(bytes, 32);
  if (segmentSize !== expected.segmentSize)
    throw badPage(pageLsn, `is of a log with segment size ${segmentSize}, expected ${expected.segmentSize}`);
  const blockSize = u32(bytes, 36);
  if (blockSize !== XLOG_BLCKSZ)
    throw badPage(pageLsn, `has WAL block size ${blockSize}, expected ${XLOG_BLCKSZ}`);
  if (expected.systemId !== undefined) {
    const systemId = bytes.readBigUInt64LE(24);
    if (systemId !== expected.systemId) {
      throw new DbError(
        'WAL_WRONG_SYSTEM',
        `WAL page at ${formatLsn(pageLsn)} belongs to database system ${systemId}, expected ${expected.systemId}`,
        { details: { lsn: pageLsn } },
      );
    }
  }
}

/**
 * What the long header of a segment's first page says about the log, before anything is known about it.
 * Null when the bytes are not a PostgreSQL 18 long page header. `bytes` holds 40 bytes or more.
 */
export function probeLongHeader(
  bytes: Buffer,
): { segmentSize: number; systemId: bigint; timeline: number; pageLsn: number } | null {
  if (bytes.length < LONG_PAGE_HEADER || u16(bytes, 0) !== XLOG_PAGE_MAGIC) return null;
  const segmentSize = u32(bytes, 32);
  if ((u16(bytes, 2) & XLP_LONG_HEADER) === 0 || !isSegmentSize(segmentSize)) return null;
  return {
    segmentSize,
    systemId: bytes.readBigUInt64LE(24),
    timeline: u32(bytes, 4),
    pageLsn: u64(bytes, 8),
  };
}

export interface PageIdentity {
  segmentSize: number;
  systemId: bigint;
  timeline: number;
}

/** Writes the header of the page at `pageLsn` to `out` at `at`; returns its size. */
export function writePageHeader(
  out: Buffer,
  at: number,
  pageLsn: Lsn,
  remLen: number,
  identity: PageIdentity,
): number {
  const size = pageHeaderSize(pageLsn, identity.segmentSize);
  let info = XLP_BKP_REMOVABLE;
  if (remLen > 0) info |= XLP_FIRST_IS_CONTRECORD;
  if (size === LONG_PAGE_HEADER) info |= XLP_LONG_HEADER;
  out.fill(0, at, at + size);
  out.writeUInt16LE(XLOG_PAGE_MAGIC, at);
  out.writeUInt16LE(info, at + 2);
  out.writeUInt32LE(identity.timeline, at + 4);
  writeLsn(out, pageLsn, at + 8);
  out.writeUInt32LE(remLen, at + 16);
  if (size === LONG_PAGE_HEADER) {
    out.writeBigUInt64LE(identity.systemId, at + 24);
    out.writeUInt32LE(identity.segmentSize, at + 32);
    out.writeUInt32LE(XLOG_BLCKSZ, at + 36);
  }
  return size;
}

function badPage(pageLsn: Lsn, what: string): DbError {
  return new DbError('WAL_BAD_PAGE', `WAL page at ${formatLsn(pageLsn)} ${what}`, {
    details: { lsn: pageLsn },
  });
}
