import { crc32c } from '@node-rs/crc32';
import { DbError } from '../errors.js';
import { readLsn, writeLsn } from '../lsn.js';
import type { Lsn } from '../lsn.js';
import type { EpochEntry, EpochHistory } from '../quorum/types.js';

/**
 * The log of a storage node on disk: files 00000001.log, 00000002.log, ..., each a header area and frames, only ever appended to.
 * All numbers little-endian. Offsets in bytes.
 *
 * Header area (1024 bytes): two equal copies of the file header, at 0 and at 512, so that one damaged sector costs nothing.
 *     0  8  magic "AURLOG\0\1"
 *     8  4  format version
 *    12  4  CRC-32C of the 512 bytes with this field zero
 *    16  4  sequence, as in the file's name
 *    24  8  startLsn: logical end of the log when the file was begun
 *    32  8  prevEnd: offset at which the previous file ends; what it holds beyond was never acknowledged. 0 in the first file
 *    64 64  volume id (UTF-8, zero padded)
 *   128 64  node id
 *
 * Frame: header (32), payload (length), trailer (24).
 *     0  4  magic 0xA60F4C01
 *     4  1  type: 1 DATA, 2 HISTORY, 3 HEAL; 3 bytes zero
 *     8  4  length of the payload, at most MAX_PAYLOAD
 *    12  4  CRC-32C of the payload
 *    16  8  beginLsn: LSN of the first payload byte (DATA, HEAL); the cut (HISTORY)
 *    24  4  zero
 *    28  4  CRC-32C of the 28 bytes before, seeded with the file's salt
 *   trailer
 *     0  4  type << 24 | length    4  4  payload CRC    8  8  beginLsn (all as in the header)
 *    16  4  CRC-32C of the 16 bytes before, seeded with the file's salt
 *    20  4  magic 0x1CF06AC0
 * The trailer ends in non-zero bytes, so a frame that ends in zeros was not written to its end; and when a header is damaged, the
 * trailer says which bytes are lost. The salt (of volume, node and sequence) keeps a log file stored as data from looking like frames.
 *
 * The logical log is what replaying the frames in order gives:
 *   DATA     appends its bytes at beginLsn, the present end (a lower beginLsn overrides what was there: see LogStore on failed syncs)
 *   HISTORY  { cutAt u64, count u32, count x { epoch u64, startLsn u64 } }: the log ends at cutAt from now on, and this is its whole epoch
 *            history. Nothing is erased. Written twice in a row, so that one damaged frame does not lose it; also first in each file
 *   HEAL     replaces a damaged range by the same bytes, fetched from a peer; moves no end
 *
 * Left out: compression, preallocation (appending measured within 20 % of overwriting), an index file (open reads the files whole).
 */
export const FORMAT_VERSION = 1;
export const HEADER_AREA = 1024;
export const FRAME_HEADER = 32;
export const FRAME_TRAILER = 24;
export const FRAME_OVERHEAD = FRAME_HEADER + FRAME_TRAILER;
/** Largest payload of one frame; longer appends are split. A read from disk verifies whole frames, so it bounds that cost too. */
export const MAX_PAYLOAD = 256 * 1024;
/** The unit in which a torn write may be missing. */
export const SECTOR = 512;

const FILE_MAGIC = Buffer.from('AURLOG\0\x01', 'latin1');
const HEADER_COPY = 512;
const ID_BYTES = 64;
const FRAME_MAGIC = 0xa60f4c01;
const TRAILER_MAGIC = 0x1cf06ac0;
const HISTORY_ENTRY = 16;

export const FrameType = { data: 1, history: 2, heal: 3 } as const;
export type FrameType = (typeof FrameType)[keyof typeof FrameType];

export const FRAME_MAGIC_BYTES = Buffer.alloc(4);
FRAME_MAGIC_BYTES.writeUInt32LE(FRAME_MAGIC);

export interface FileHeader {
  readonly sequence: number;
  readonly startLsn: Lsn;
  readonly prevEnd: number;
  readonly volumeId: string;
  readonly nodeId: string;
}

/** A frame header or trailer: both say the same. */
export interface FrameInfo {
  readonly type: FrameType;
  readonly length: number;
  readonly payloadCrc: number;
  readonly begin: Lsn;
}

export function fileName(sequence: number): string {
  return `${String(sequence).padStart(8, '0')}.log`;
}

/** Sequence of a log file's name; null for any other name. */
export function fileSequence(name: string): number | null {
  const match = /^(\d{8,})\.log$/.exec(name);
  return match ? Number(match[1]) : null;
}

export function fileSalt(volumeId: string, nodeId: string, sequence: number): number {
  return crc32c(`${volumeId}\0${nodeId}\0${sequence}`);
}

/** Throws USAGE_BAD_ID when an id does not fit its field. */
export function encodeFileHeader(header: FileHeader): Buffer {
  const copy = Buffer.alloc(HEADER_COPY);
  FILE_MAGIC.copy(copy);
  copy.writeUInt32LE(FORMAT_VERSION, 8);
  copy.writeUInt32LE(header.sequence, 16);
  writeLsn(copy, header.startLsn, 24);
  writeLsn(copy, header.prevEnd, 32);
  for (const [id, at] of [
    [header.volumeId, 64],
    [header.nodeId, 128],
  ] as const) {
    if (Buffer.byteLength(id) > ID_BYTES)
      throw new DbError('USAGE_BAD_ID', `id longer than ${ID_BYTES} bytes: "${id}"`);
    copy.write(id, at);
  }
  copy.writeUInt32LE(crc32c(copy), 12);
  return Buffer.concat([copy, copy], HEADER_AREA);
}

/** The header from whichever copy is intact; null when none is. Throws LOG_BAD_VERSION on a format from the future. */
export function parseFileHeader(area: Buffer, file: string): FileHeader | null {
  for (const at of [0, HEADER_COPY]) {
    if (area.length < at + HEADER_COPY) return null;
    const copy = Buffer.from(area.subarray(at, at + HEADER_COPY));
    const crc = copy.readUInt32LE(12);
    copy.writeUInt32LE(0, 12);
    if (copy.compare(FILE_MAGIC, 0, 8, 0, 8) !== 0 || crc32c(copy) !== crc) continue;
    const version = copy.readUInt32LE(8);
    if (version !== FORMAT_VERSION)
      throw new DbError(
        'LOG_BAD_VERSION',
        `${file}: log format ${version}, this program knows ${FORMAT_VERSION}`,
        {
          reaction: 'usage',
        },
      );
    const id = (from: number): string => copy.toString('utf8', from, from + ID_BYTES).replace(/\0+$/, '');
    return {
      sequence: copy.readUInt32LE(16),
      startLsn: readLsn(copy, 24),
      prevEnd: readLsn(copy, 32),
      volumeId: id(64),
      nodeId: id(128),
    };
  }
  return null;
}

/** A frame as buffers to be written one after the other: header, the payload's pieces as given, trailer. */
export function encodeFrame(type: FrameType, begin: Lsn, pieces: readonly Buffer[], salt: number): Buffer[] {
  const wrap = Buffer.allocUnsafe(FRAME_OVERHEAD);
  let payloadCrc = 0;
  let length = 0;
  for (const piece of pieces) {
    payloadCrc = crc32c(piece, payloadCrc);
    length += piece.length;
  }
  wrap.writeUInt32LE(FRAME_MAGIC, 0);
  wrap.writeUInt32LE(type, 4);
  wrap.writeUInt32LE(length, 8);
  wrap.writeUInt32LE(payloadCrc, 12);
  writeLsn(wrap, begin, 16);
  wrap.writeUInt32LE(0, 24);
  wrap.writeUInt32LE(crc32c(wrap.subarray(0, 28), salt), 28);
  const trailer = wrap.subarray(FRAME_HEADER);
  trailer.writeUInt32LE(((type << 24) | length) >>> 0, 0);
  trailer.writeUInt32LE(payloadCrc, 4);
  writeLsn(trailer, begin, 8);
  trailer.writeUInt32LE(crc32c(trailer.subarray(0, 16), salt), 16);
  trailer.writeUInt32LE(TRAILER_MAGIC, 20);
  return [wrap.subarray(0, FRAME_HEADER), ...pieces, trailer];
}

/** Null for a type or a length that no frame has. */
function frameInfo(type: number, length: number, payloadCrc: number, begin: Lsn): FrameInfo | null {
  const known = type === FrameType.data || type === FrameType.history || type === FrameType.heal;
  return known && length <= MAX_PAYLOAD ? { type, length, payloadCrc, begin } : null;
}

/** The frame header at `at`; null when there is none or it is damaged. */
export function parseFrameHeader(buf: Buffer, at: number, salt: number): FrameInfo | null {
  if (at + FRAME_HEADER > buf.length || buf.readUInt32LE(at) !== FRAME_MAGIC) return null;
  if (buf.readUInt32LE(at + 28) !== crc32c(buf.subarray(at, at + 28), salt)) return null;
  return frameInfo(
    buf.readUInt32LE(at + 4),
    buf.readUInt32LE(at + 8),
    buf.readUInt32LE(at + 12),
    readLsn(buf, at + 16),
  );
}

/** The trailer at `at`; null when there is none or it is damaged. */
export function parseFrameTrailer(buf: Buffer, at: number, salt: number): FrameInfo | null {
  if (at < 0 || at + FRAME_TRAILER > buf.length || buf.readUInt32LE(at + 20) !== TRAILER_MAGIC) return null;
  if (buf.readUInt32LE(at + 16) !== crc32c(buf.subarray(at, at + 16), salt)) return null;
  const word = buf.readUInt32LE(at);
  return frameInfo(word >>> 24, word & 0xffffff, buf.readUInt32LE(at + 4), readLsn(buf, at + 8));
}

export function encodeHistory(cutAt: Lsn, history: EpochHistory): Buffer {
  const out = Buffer.alloc(12 + history.length * HISTORY_ENTRY);
  writeLsn(out, cutAt, 0);
  out.writeUInt32LE(history.length, 8);
  history.forEach((entry, i) => {
    writeLsn(out, entry.epoch, 12 + i * HISTORY_ENTRY);
    writeLsn(out, entry.startLsn, 20 + i * HISTORY_ENTRY);
  });
  return out;
}

/** Only for payloads whose CRC was checked. Throws LOG_BAD_HISTORY. */
export function decodeHistory(payload: Buffer): EpochHistory {
  const count = payload.length < 12 ? -1 : payload.readUInt32LE(8);
  if (payload.length !== 12 + count * HISTORY_ENTRY)
    throw new DbError('LOG_BAD_HISTORY', `epoch history of ${payload.length} bytes for ${count} entries`);
  const entries: EpochEntry[] = [];
  for (let at = 12; at < payload.length; at += HISTORY_ENTRY)
    entries.push({ epoch: readLsn(payload, at), startLsn: readLsn(payload, at + 8) });
  return entries;
}
