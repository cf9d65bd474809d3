/**
 * CRC-32C (Castagnoli, reflected polynomial 0x82F63B78, initial value and final xor all ones), as PostgreSQL uses it for
 * WAL records, pg_control, relation maps and two-phase files.
 *
 * Two engines, chosen by length. A call into the native module costs about 100 ns whatever it computes; most WAL
 * records are shorter than what the slicing-by-8 tables do in that time.
 */
import { crc32c as nativeCrc32c } from '@node-rs/crc32';

/** Inputs from this length on go to the native code (measured break-even: about 200 bytes). */
const NATIVE_FROM = 192;

/** Eight tables of 256 in one array: entry k*256+i is the CRC of byte i followed by k zero bytes. */
const TABLES = buildTables();

function buildTables(): Int32Array {
  const tables = new Int32Array(8 * 256);
  for (let i = 0; i < 256; i++) {
    let c = i;
    for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
    tables[i] = c;
  }
  for (let k = 1; k < 8; k++) {
    for (let i = 0; i < 256; i++) {
      const previous = tables[(k - 1) * 256 + i]!;
      tables[k * 256 + i] = (previous >>> 8) ^ tables[previous & 0xff]!;
    }
  }
  return tables;
}

/** Advances the raw (inverted) state over bytes [begin, end). */
function update(state: number, bytes: Uint8Array, begin: number, end: number): number {
  const t = TABLES;
  let c = state;
  let at = begin;
  for (; at + 8 <= end; at += 8) {
    c ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    c =
      t[1792 + (c & 0xff)]! ^
      t[1536 + ((c >>> 8) & 0xff)]! ^
      t[1280 + ((c >>> 16) & 0xff)]! ^
      t[1024 + (c >>> 24)]! ^
      t[768 + bytes[at + 4]!]! ^
      t[512 + bytes[at + 5]!]! ^
      t[256 + bytes[at + 6]!]! ^
      t[bytes[at + 7]!]!;
  }
  for (; at < end; at++) c = (c >>> 8) ^ t[(c ^ bytes[at]!) & 0xff]!;
  return c;
}

/** CRC-32C of `data` (u32). `previous` continues an earlier result, so that crc(b, crc(a)) = crc(a then b). */
export function crc32c(data: Uint8Array, previous = 0): number {
  if (data.length >= NATIVE_FROM) return nativeCrc32c(data, previous);
  return ~update(~previous, data, 0, data.length) >>> 0;
}

/** What xl_crc of a whole record must be: the CRC of bytes [24, end), continued over [0, 20). `raw` has 24 bytes or more. */
export function recordCrc(raw: Buffer): number {
  const length = raw.length;
  const state =
    length - 24 >= NATIVE_FROM ? ~nativeCrc32c(raw.subarray(24, length), 0) : update(-1, raw, 24, length);
  return ~update(state, raw, 0, 20) >>> 0;
}
