/**
 * Values of page versions, by the kind in their key. Little-endian, as PostgreSQL writes.
 *
 *   coalesced, image  8192 bytes as they are; or holeOffset u16, holeLength u16 and the page without its hole, which is all zeros;
 *                     or empty for a page of zeros
 *   zero              empty: the page is zeros from here
 *   init, delta       the WAL record as logged, but without images that only serve wal_consistency_checking
 *   vmClear           n times: heap block u32, bits u8
 *   vmTruncate        heap blocks u32: bits of those at and beyond it are cleared
 *   slruDelta         n times: length u32, bytes for applySlruDelta()
 *   run               see runs.ts
 */
import { DbError } from '../errors.js';
import { BLCKSZ } from '../page/constants.js';
import { vmClearFrom } from '../page/vm.js';
import { applyVmClear } from '../redo/index.js';
import { XLR_CHECK_CONSISTENCY } from '../wal/format.js';
import type { WalRecord } from '../wal/types.js';
import { encodeRecord } from '../wal/writer.js';
import { Kind } from './keys.js';

export const EMPTY_VALUE = Buffer.alloc(0);
export const ZERO_PAGE: Readonly<Buffer> = Buffer.alloc(BLCKSZ);

const PD_LOWER = 12;
const PD_UPPER = 14;
const PAGE_HEADER = 24;
const HOLE_HEADER = 4;
/** Below this, leaving the hole out costs more than it saves. */
const MIN_HOLE = 64;

export function isZeroPage(page: Readonly<Buffer>): boolean {
  return page.equals(ZERO_PAGE);
}

/** The stored form of a page: `page` itself, or else in `into` (BLCKSZ bytes) if that is given. */
export function encodeImage(page: Readonly<Buffer>, into?: Buffer): Buffer {
  if (isZeroPage(page)) return EMPTY_VALUE;
  const lower = page.readUInt16LE(PD_LOWER);
  const upper = page.readUInt16LE(PD_UPPER);
  const hole = upper - lower;
  if (lower < PAGE_HEADER || upper > BLCKSZ || hole < MIN_HOLE) return page as Buffer;
  // Redo may leave old bytes between lower and upper; an image must give them back.
  if (page.compare(ZERO_PAGE as Buffer, 0, hole, lower, upper) !== 0) return page as Buffer;
  const length = HOLE_HEADER + BLCKSZ - hole;
  const value = into ? into.subarray(0, length) : Buffer.allocUnsafe(length);
  value.writeUInt16LE(lower, 0);
  value.writeUInt16LE(hole, 2);
  page.copy(value, HOLE_HEADER, 0, lower);
  page.copy(value, HOLE_HEADER + lower, upper);
  return value;
}

/** Writes the image over `page` (8192 bytes). Throws PAGE_BAD_VALUE. */
export function decodeImage(value: Buffer, page: Buffer): void {
  if (value.length === 0) {
    page.fill(0);
    return;
  }
  if (value.length === BLCKSZ) {
    value.copy(page);
    return;
  }
  const lower = value.length < HOLE_HEADER ? 0 : value.readUInt16LE(0);
  const hole = value.length < HOLE_HEADER ? 0 : value.readUInt16LE(2);
  if (value.length !== HOLE_HEADER + BLCKSZ - hole || lower + hole > BLCKSZ)
    throw new DbError(
      'PAGE_BAD_VALUE',
      `a stored page image has an impossible length of ${value.length} bytes`,
    );
  value.copy(page, 0, HOLE_HEADER, HOLE_HEADER + lower);
  page.fill(0, lower, lower + hole);
  value.copy(page, lower + hole, HOLE_HEADER + lower);
}

/** A slruDelta value. */
export function encodeParts(parts: readonly Buffer[]): Buffer {
  const value = Buffer.allocUnsafe(parts.reduce((bytes, part) => bytes + 4 + part.length, 0));
  let at = 0;
  for (const part of parts) {
    at = value.writeUInt32LE(part.length, at);
    at += part.copy(value, at);
  }
  return value;
}

export function eachPart(value: Buffer, use: (part: Buffer) => void): void {
  for (let at = 0; at < value.length;) {
    const end = at + 4 + value.readUInt32LE(at);
    use(value.subarray(at + 4, end));
    at = end;
  }
}

/** Appends one heap block to a vmClear value. */
export function appendVmClear(value: Buffer | undefined, heapBlk: number, bits: number): Buffer {
  const entry = Buffer.allocUnsafe(5);
  entry.writeUInt32LE(heapBlk, 0);
  entry[4] = bits;
  return value ? Buffer.concat([value, entry]) : entry;
}

function eachVmClear(value: Buffer, use: (heapBlk: number, bits: number) => void): void {
  for (let at = 0; at < value.length; at += 5) use(value.readUInt32LE(at), value[at + 4]!);
}

/** A change of a visibility map page that no block reference tells of: a value of kind vmClear or vmTruncate. */
export function applyMapChange(page: Buffer, kind: number, value: Buffer): void {
  if (kind === Kind.vmClear) eachVmClear(value, (heapBlk, bits) => applyVmClear(page, heapBlk, bits));
  else vmClearFrom(page, value.readUInt32LE(0));
}

/** Whether the record carries images that redo does not use (wal_consistency_checking). */
export function hasCheckImages(rec: WalRecord): boolean {
  for (const block of rec.blocks) if (block.hasImage && !block.applyImage) return true;
  return false;
}

/** The record without images that redo does not use. */
export function withoutCheckImages(rec: WalRecord): Buffer {
  return encodeRecord({
    ...rec,
    mainData: rec.mainData,
    info: rec.info & ~XLR_CHECK_CONSISTENCY,
    blocks: rec.blocks.map((block) =>
      block.applyImage ? block : { ...block, data: block.data, image: null },
    ),
  });
}
