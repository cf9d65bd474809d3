/**
 * Decoder for one raw LZ4 block, as wal_compression=lz4 stores it (LZ4_compress_default, no frame).
 *
 * Sequences of: token (literal count high nibble, match length - 4 low nibble; 15 = more bytes follow, each added, until one
 * below 255), literals, match offset u16 LE, more match length. The last sequence ends after its literals.
 *
 * Our own because the decoders on npm do not check their bounds.
 */
import { copyWithin } from './pglz.js';

/** Decodes `source` into `target` completely. Returns null, or what is wrong. */
export function lz4Decompress(source: Uint8Array, target: Uint8Array): string | null {
  const sourceEnd = source.length;
  const targetEnd = target.length;
  let at = 0;
  let out = 0;
  while (at < sourceEnd) {
    const token = source[at++]!;
    let literals = token >>> 4;
    if (literals === 15) {
      let more = 255;
      while (more === 255) {
        if (at >= sourceEnd) return 'input ends inside a literal count';
        more = source[at++]!;
        literals += more;
      }
    }
    if (at + literals > sourceEnd) return 'input ends inside literals';
    if (out + literals > targetEnd) return 'literals beyond the output';
    target.set(source.subarray(at, at + literals), out);
    at += literals;
    out += literals;
    if (at === sourceEnd) break;

    if (at + 2 > sourceEnd) return 'input ends inside a match offset';
    const offset = source[at]! | (source[at + 1]! << 8);
    at += 2;
    let length = (token & 15) + 4;
    if (length === 19) {
      let more = 255;
      while (more === 255) {
        if (at >= sourceEnd) return 'input ends inside a match length';
        more = source[at++]!;
        length += more;
      }
    }
    if (offset === 0 || offset > out) return `match by ${offset} at output offset ${out}`;
    if (out + length > targetEnd) return 'match beyond the output';
    out = copyWithin(target, out, offset, length);
  }
  return out === targetEnd ? null : `output has ${out} bytes, expected ${targetEnd}`;
}
