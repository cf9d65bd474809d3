import { crc32c } from '@node-rs/crc32';
import type { Lsn } from '../lsn.js';
import {
  FRAME_HEADER,
  FRAME_MAGIC_BYTES,
  FRAME_OVERHEAD,
  FRAME_TRAILER,
  FrameType,
  SECTOR,
  parseFrameHeader,
  parseFrameTrailer,
} from './format.js';
import type { FrameInfo } from './format.js';

/** An intact frame: header and payload agree with their CRCs. */
export interface GoodFrame {
  readonly kind: 'frame';
  readonly info: FrameInfo;
  /** Offset of the frame in the buffer. */
  readonly at: number;
  readonly payload: Buffer;
}

/** Bytes that were written whole and are not what was written. */
export interface BadFrame {
  readonly kind: 'bad';
  readonly at: number;
  /** Where the next intact header stands, or the end of the buffer. */
  readonly until: number;
  /** What the frame was, as far as header or trailer still say; null when both are unreadable or several frames are lost. */
  readonly info: FrameInfo | null;
  readonly reason: string;
}

/** The end: nothing after `at` was ever acknowledged. Torn: the last write did not complete. */
export interface EndOfFrames {
  readonly kind: 'end';
  readonly at: number;
  readonly torn: boolean;
}

export type Scanned = GoodFrame | BadFrame | EndOfFrames;

export interface ScanOptions {
  /** Salt of the file, seeds the CRCs of headers and trailers. */
  readonly salt: number;
  /** Offset in `buf` of the first frame. */
  readonly from: number;
  /** Everything in `buf` was synced (a file that has a successor, or a part of one): an incomplete frame is damage, not a torn write. */
  readonly sealed: boolean;
  /** Offset in the file of buf[0], for sector boundaries. Default 0. */
  readonly base?: number;
}

/**
 * Walks frames and tells a torn tail from damage. A torn write can only be the last one: the file ends inside a frame, or, where the file
 * system had grown the file first, only zeros follow from a sector boundary inside a frame on. A complete frame ends in its trailer, which is not zero. Anything
 * else that does not check out was complete once, perhaps acknowledged, and so is damage; after it the scan looks for the next header.
 * Always ends with exactly one EndOfFrames.
 */
export function* scanFrames(buf: Buffer, options: ScanOptions): Generator<Scanned, void> {
  const { salt, sealed, base = 0 } = options;
  let at = options.from;
  let lastBegin: Lsn | null = null;
  while (at < buf.length) {
    const info = parseFrameHeader(buf, at, salt);
    const end = info ? at + FRAME_OVERHEAD + info.length : at + FRAME_HEADER;
    const whole = end <= buf.length;
    if (info && end - FRAME_TRAILER <= buf.length) {
      const payload = buf.subarray(at + FRAME_HEADER, at + FRAME_HEADER + info.length);
      if (crc32c(payload) === info.payloadCrc) {
        yield { kind: 'frame', info, at, payload };
        lastBegin = info.begin;
        at = Math.min(end, buf.length);
        continue;
      }
    }
    if (!sealed && (!whole || zerosFromSector(buf, at, end, base))) {
      yield { kind: 'end', at, torn: true };
      return;
    }
    if (info && whole) {
      yield { kind: 'bad', at, until: end, info, reason: 'payload checksum' };
      at = end;
      continue;
    }
    const next = findHeader(buf, at + 1, salt, lastBegin);
    const trailer = parseFrameTrailer(buf, next - FRAME_TRAILER, salt);
    const exact = trailer && next - FRAME_OVERHEAD - trailer.length === at;
    yield { kind: 'bad', at, until: next, info: exact ? trailer : null, reason: 'frame header' };
    at = next;
  }
  yield { kind: 'end', at: buf.length, torn: false };
}

/** True when all bytes from some sector boundary below `end` to the end of the buffer are zero. */
function zerosFromSector(buf: Buffer, at: number, end: number, base: number): boolean {
  let last = buf.length - 1;
  while (last >= at && buf[last] === 0) last--;
  if (last < at) return true;
  const boundary = Math.ceil((base + last + 1) / SECTOR) * SECTOR - base;
  return boundary < Math.min(end, buf.length);
}

/**
 * The next intact frame header from `from` on, or the end of the buffer. A header that goes back in the log before the last intact frame
 * is not one of this file's frames unless it is a cut: it is a log file's content stored in the database.
 */
function findHeader(buf: Buffer, from: number, salt: number, lastBegin: Lsn | null): number {
  for (let at = buf.indexOf(FRAME_MAGIC_BYTES, from); at >= 0; at = buf.indexOf(FRAME_MAGIC_BYTES, at + 1)) {
    const info = parseFrameHeader(buf, at, salt);
    if (info && (info.type !== FrameType.data || lastBegin === null || info.begin >= lastBegin)) return at;
  }
  return buf.length;
}
