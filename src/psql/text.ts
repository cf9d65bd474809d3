/**
 * Text of scripts, which need not be UTF-8: a byte that belongs to no character becomes a lone surrogate (U+DC80 to U+DCFF), and
 * that the same byte again on its way to the server or the screen. The server then says what is wrong with it.
 */
import { isUtf8 } from 'node:buffer';

const LONE = /[\udc80-\udcff]/;

export function decodeText(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString('utf8');
  let text = '';
  for (let at = 0; at < bytes.length;) {
    const length = sequenceLength(bytes, at);
    if (length > 0) text += bytes.toString('utf8', at, at + length);
    else text += String.fromCharCode(0xdc00 + bytes[at]!);
    at += Math.max(length, 1);
  }
  return text;
}

/** Bytes of the well-formed character that begins there; 0 when none does. */
function sequenceLength(bytes: Buffer, at: number): number {
  const first = bytes[at]!;
  const length =
    first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  return length > 0 && at + length <= bytes.length && isUtf8(bytes.subarray(at, at + length)) ? length : 0;
}

/** The text's bytes, or the text itself where it is plain. */
export function encodeText(text: string): string | Buffer {
  if (!LONE.test(text)) return text;
  const parts = text.split(/([\ud800-\udbff][\udc00-\udfff]|[\udc80-\udcff])/);
  return Buffer.concat(
    parts.map((part) =>
      part.length === 1 && LONE.test(part) ? Buffer.from([part.charCodeAt(0) & 0xff]) : Buffer.from(part),
    ),
  );
}
