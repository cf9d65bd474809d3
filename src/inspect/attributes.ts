/**
 * A heap tuple's user data taken apart into columns (heap_deform_tuple of heaptuple.c, att_align_pointer and the varlena headers
 * of varatt.h, PostgreSQL 18): raw bytes, and the value in words for a few types whose bytes are easy to tell.
 */
import { DbError } from '../engine/errors.js';

export interface Attribute {
  readonly name: string;
  readonly type: string;
  /** pg_type.typlen: bytes, -1 varlena, -2 C string. */
  readonly length: number;
  /** c, s, i or d: 1, 2, 4 or 8 bytes. */
  readonly align: string;
}

export interface AttributeValue {
  readonly name: string;
  readonly type: string;
  /** As stored, varlena header included; null for NULL. */
  readonly raw: Buffer | null;
  /** The value in words, where this code knows the type; null otherwise. */
  readonly text: string | null;
}

const ALIGN: Readonly<Record<string, number>> = { c: 1, s: 2, i: 4, d: 8 };
/** varattrib_1b_e with a varatt_external: header byte, tag, 16 bytes. */
const TOAST_POINTER_SIZE = 18;
const TEXT_TYPES = new Set(['text', 'varchar', 'bpchar', 'json', 'xml']);

/** The first `natts` columns; later ones were added after the tuple and have their default. Throws PAGE_BAD_TUPLE. */
export function splitAttributes(
  data: Buffer,
  nullBitmap: Buffer | null,
  natts: number,
  attributes: readonly Attribute[],
): AttributeValue[] {
  const values: AttributeValue[] = [];
  let at = 0;
  for (const [i, attribute] of attributes.slice(0, natts).entries()) {
    const { name, type } = attribute;
    if (nullBitmap && (nullBitmap[i >> 3]! & (1 << (i & 7))) === 0) {
      values.push({ name, type, raw: null, text: null });
      continue;
    }
    const align = ALIGN[attribute.align] ?? 1;
    // A varlena with a short header is not aligned; a padding byte is zero, a short header never.
    const packed = attribute.length === -1 && at < data.length && data[at] !== 0;
    if (!packed) at = Math.ceil(at / align) * align;
    const size = storedSize(data, at, attribute);
    if (at + size > data.length)
      throw new DbError(
        'PAGE_BAD_TUPLE',
        `column "${name}" needs ${size} bytes at ${at}, the tuple has ${data.length}`,
      );
    const raw = data.subarray(at, at + size);
    values.push({
      name,
      type,
      raw,
      text: attribute.length === -1 ? varlenaText(raw, type) : fixedText(raw, type),
    });
    at += size;
  }
  return values;
}

function storedSize(data: Buffer, at: number, { length }: Attribute): number {
  if (length >= 0) return length;
  if (length === -2) {
    const end = data.indexOf(0, at);
    return (end < 0 ? data.length : end) + 1 - at;
  }
  const first = data[at] ?? 0;
  if (first === 1) return TOAST_POINTER_SIZE;
  if ((first & 1) === 1) return first >>> 1;
  return at + 4 <= data.length ? data.readUInt32LE(at) >>> 2 : 4;
}

function varlenaText(raw: Buffer, type: string): string | null {
  const first = raw[0]!;
  if (first === 1) {
    const size = raw.readUInt32LE(6) & 0x3fffffff;
    return `toasted: value ${raw.readUInt32LE(10)} in relation ${raw.readUInt32LE(14)}, ${size} of ${raw.readUInt32LE(2)} bytes`;
  }
  if ((first & 3) === 2) return `compressed, ${raw.length} bytes`;
  const body = raw.subarray((first & 1) === 1 ? 1 : 4);
  return TEXT_TYPES.has(type) ? JSON.stringify(body.toString('utf8')) : null;
}

function fixedText(raw: Buffer, type: string): string | null {
  switch (type) {
    case 'bool':
      return raw[0] ? 't' : 'f';
    case 'int2':
      return String(raw.readInt16LE(0));
    case 'int4':
      return String(raw.readInt32LE(0));
    case 'int8':
      return String(raw.readBigInt64LE(0));
    case 'oid':
    case 'xid':
      return String(raw.readUInt32LE(0));
    case 'float4':
      return String(raw.readFloatLE(0));
    case 'float8':
      return String(raw.readDoubleLE(0));
    case 'name':
      return JSON.stringify(raw.toString('utf8').replace(/\0+$/, ''));
    case 'char':
      return JSON.stringify(raw.toString('latin1'));
    default:
      return null;
  }
}
