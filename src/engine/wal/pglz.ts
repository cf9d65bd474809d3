/**
 * Decoder for PostgreSQL's own LZ format (pg_lzcompress.c), without the varlena header: as wal_compression=pglz stores it.
 *
 * A control byte announces eight items, lowest bit first. Bit 0: one literal byte. Bit 1: a back reference
 *   byte 0: offset bits 8..11 in its high nibble, length - 3 in its low nibble
 *   byte 1: offset bits 0..7 (offset 1..4095, counted back from the output position)
 *   byte 2: only when the low nibble is 15: added to the length (3..273)
 */

/** Decodes `source` into `target` completely. Returns null, or what is wrong. */
export function pglzDecompress(source: Uint8Array, target: Uint8Array): string | null {
  const sourceEnd = source.length;
  const targetEnd = target.length;
  let at = 0;
  let out = 0;
  while (at < sourceEnd && out < targetEnd) {
    let control = source[at++]!;
    for (let bit = 0; bit < 8 && at < sourceEnd && out < targetEnd; bit++, control >>>= 1) {
      if ((control & 1) === 0) {
        target[out++] = source[at++]!;
        continue;
      }
      if (at + 2 > sourceEnd) return 'input ends inside a back reference';
      const first = source[at]!;
      let length = (first & 0x0f) + 3;
      const offset = ((first & 0xf0) << 4) | source[at + 1]!;
      at += 2;
      if (length === 18) {
        if (at >= sourceEnd) return 'input ends inside a back reference';
        length += source[at++]!;
      }
      if (offset === 0 || offset > out) return `back reference by ${offset} at output offset ${out}`;
      // The last reference may announce more than fits; PostgreSQL's decoder clamps it too.
      out = copyWithin(target, out, offset, Math.min(length, targetEnd - out));
    }
  }
  if (out !== targetEnd) return `output has ${out} bytes, expected ${targetEnd}`;
  if (at !== sourceEnd) return `${sourceEnd - at} input bytes left over`;
  return null;
}

/** LZ copy: `length` bytes from `offset` back, where an overlapping source repeats what was just written. Returns the new end. */
export function copyWithin(target: Uint8Array, out: number, offset: number, length: number): number {
  const end = out + length;
  if (offset >= length) {
    target.copyWithin(out, out - offset, out - offset + length);
  } else {
    for (let at = out; at < end; at++) target[at] = target[at - offset]!;
  }
  return end;
}
