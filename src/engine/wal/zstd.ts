/**
 * One Zstandard frame, as wal_compression=zstd stores it (ZSTD_compress), into a buffer of known size.
 *
 * fzstd does the decoding, but trusts the frame: it allocates the window that the header asks for and does not compare the output
 * with the announced size. So the header is checked here first, and the output is taken piece by piece and counted.
 *
 * Frame header: magic u32 0xFD2FB528, descriptor u8 {content size code 2 bits, single segment 1, unused 2, checksum 1, dictionary 2},
 * [window u8], [dictionary id], [content size].
 */
import { Decompress } from 'fzstd';
import { errorMessage } from '../errors.js';
import { u32 } from './format.js';

const MAGIC = 0xfd2fb528;
const WINDOW_MAX = 8 * 1024 * 1024;

/** Decodes `source` into `target` completely. Returns null, or what is wrong. */
export function zstdDecompress(source: Uint8Array, target: Uint8Array): string | null {
  if (source.length < 9 || u32(source, 0) !== MAGIC) return 'not a zstd frame';
  const descriptor = source[4]!;
  if ((descriptor & 0x0b) !== 0) return 'zstd frame with a dictionary or unknown flags';
  const singleSegment = (descriptor & 0x20) !== 0;
  if (!singleSegment) {
    const base = 2 ** (10 + (source[5]! >>> 3));
    if (base + (base / 8) * (source[5]! & 7) > WINDOW_MAX) return 'zstd frame with an oversized window';
  } else if (contentSize(source, descriptor) !== target.length) {
    return `zstd frame of ${contentSize(source, descriptor)} bytes, expected ${target.length}`;
  }
  let out = 0;
  try {
    const decoder = new Decompress((piece) => {
      if (out + piece.length > target.length) throw new RangeError('output beyond the page');
      target.set(piece, out);
      out += piece.length;
    });
    decoder.push(source, true);
  } catch (err) {
    return errorMessage(err);
  }
  return out === target.length ? null : `output has ${out} bytes, expected ${target.length}`;
}

/** Content size of a single-segment frame, which always has one; -1 when it needs eight bytes, which no page does. */
function contentSize(source: Uint8Array, descriptor: number): number {
  const code = descriptor >>> 6;
  if (code === 0) return source[5]!;
  if (code === 1) return (source[5]! | (source[6]! << 8)) + 256;
  return code === 2 ? u32(source, 5) : -1;
}
