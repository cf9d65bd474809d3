import { DbError } from '../engine/errors.js';
import { readLsn, writeLsn, type Lsn } from '../engine/lsn.js';

/**
 * Declarative wire structs: fields are declared once, in wire order, and give encode, decode and the TypeScript type.
 * All integers are little-endian; there is no padding. Variable fields are a length prefix (u16 or u32) and the bytes;
 * `rest` has no prefix and must come last. Decoding is strict: a short or an overlong buffer throws WIRE_SHORT or
 * WIRE_TRAILING, a value out of its range WIRE_BAD_VALUE. Decoded byte fields are views into the frame, not copies.
 */
interface FixedField<T> {
  readonly kind: 'fixed';
  readonly size: number;
  put(buf: Buffer, at: number, value: T): void;
  get(buf: Buffer, at: number): T;
}

interface VarField<T> {
  readonly kind: 'var';
  /** Bytes of the length prefix; 0 = takes the rest of the frame. */
  readonly prefix: 0 | 2 | 4;
  toBytes(value: T): Buffer;
  fromBytes(bytes: Buffer): T;
}

export type Field<T> = FixedField<T> | VarField<T>;
export type Shape = Record<string, Field<unknown>>;
type ValueOf<F> = F extends Field<infer T> ? T : never;
export type Of<S> = { [K in keyof S]: ValueOf<S[K]> };

const fixed = <T>(size: number, put: FixedField<T>['put'], get: FixedField<T>['get']): FixedField<T> => ({
  kind: 'fixed',
  size,
  put,
  get,
});

export const u8 = fixed<number>(1, (b, at, v) => void b.writeUInt8(v, at), (b, at) => b.readUInt8(at)); // prettier-ignore
export const u16 = fixed<number>(2, (b, at, v) => void b.writeUInt16LE(v, at), (b, at) => b.readUInt16LE(at)); // prettier-ignore
export const u32 = fixed<number>(4, (b, at, v) => void b.writeUInt32LE(v, at), (b, at) => b.readUInt32LE(at)); // prettier-ignore
/** Refuses values beyond 2^53 where they enter. */
export const lsn = fixed<Lsn>(8, (b, at, v) => writeLsn(b, v, at), readLsn);
/** Unsigned 64 bits holding a safe integer (epochs, counters). */
export const u64 = fixed<number>(8, (b, at, v) => writeLsn(b, v, at), readLsn);
export const bool = fixed<boolean>(
  1,
  (b, at, v) => void b.writeUInt8(v ? 1 : 0, at),
  (b, at) => {
    const byte = b.readUInt8(at);
    if (byte > 1) throw new DbError('WIRE_BAD_VALUE', `a boolean is 0 or 1, not ${byte}`);
    return byte === 1;
  },
);

/** One of few words, as its place in `values`. */
export function oneOf<T extends string>(values: readonly T[]): FixedField<T> {
  return fixed<T>(
    1,
    (b, at, v) => void b.writeUInt8(values.indexOf(v), at),
    (b, at) => {
      const value = values[b.readUInt8(at)];
      if (value === undefined)
        throw new DbError('WIRE_BAD_VALUE', `${b.readUInt8(at)} stands for none of ${values.join(', ')}`);
      return value;
    },
  );
}

export const bytes: VarField<Buffer> = {
  kind: 'var',
  prefix: 4,
  toBytes: (v) => v,
  fromBytes: (b) => b,
};
export const rest: VarField<Buffer> = { kind: 'var', prefix: 0, toBytes: (v) => v, fromBytes: (b) => b };
export const str: VarField<string> = {
  kind: 'var',
  prefix: 2,
  toBytes: (v) => Buffer.from(v, 'utf8'),
  fromBytes: (b) => b.toString('utf8'),
};

/** JSON of a type that both peers trust each other to send well-formed (the connection is authenticated by then). */
export function json<T>(check: (value: unknown) => T = (value) => value as T): VarField<T> {
  return {
    kind: 'var',
    prefix: 4,
    toBytes: (v) => Buffer.from(JSON.stringify(v), 'utf8'),
    fromBytes: (b) => {
      let value: unknown;
      try {
        value = JSON.parse(b.toString('utf8'));
      } catch (cause) {
        throw new DbError('WIRE_BAD_VALUE', 'a JSON field does not parse', { cause });
      }
      return check(value);
    },
  };
}

/** A sequence of structs: u32 byte length, then the items back to back. */
export function list<S extends Shape>(item: Struct<S>): VarField<Of<S>[]> {
  return {
    kind: 'var',
    prefix: 4,
    toBytes: (items) => Buffer.concat(items.map((value) => item.encode(value))),
    fromBytes: (b) => {
      const out: Of<S>[] = [];
      let at = 0;
      while (at < b.length) {
        const [value, next] = item.decodeAt(b, at);
        out.push(value);
        at = next;
      }
      return out;
    },
  };
}

export interface Struct<S extends Shape> {
  readonly name: string;
  /** Encodes after `headroom` bytes that the caller fills (the frame header). */
  encode(value: Of<S>, headroom?: number): Buffer;
  /** Decodes the whole of `buf` from `at` on. Throws WIRE_SHORT, WIRE_TRAILING, WIRE_BAD_VALUE. */
  decode(buf: Buffer, at?: number): Of<S>;
  /** Decodes one struct and says where it ended. */
  decodeAt(buf: Buffer, at: number): [Of<S>, number];
}

export function struct<S extends Shape>(name: string, shape: S): Struct<S> {
  const slots = Object.entries(shape);
  slots.forEach(([key, field], i) => {
    if (field.kind === 'var' && field.prefix === 0 && i !== slots.length - 1)
      throw new DbError('WIRE_BAD_STRUCT', `${name}.${key}: a field without a length must come last`);
  });

  function decodeAt(buf: Buffer, start: number): [Of<S>, number] {
    const out: Record<string, unknown> = {};
    let at = start;
    for (const [key, field] of slots) {
      const head = field.kind === 'fixed' ? field.size : field.prefix;
      need(name, key, buf, at, head);
      if (field.kind === 'fixed') {
        out[key] = field.get(buf, at);
        at += head;
        continue;
      }
      const length = head === 0 ? buf.length - at : head === 2 ? buf.readUInt16LE(at) : buf.readUInt32LE(at);
      need(name, key, buf, at + head, length);
      out[key] = field.fromBytes(buf.subarray(at + head, at + head + length));
      at += head + length;
    }
    return [out as Of<S>, at];
  }

  return {
    name,
    encode(value, headroom = 0) {
      const given = value as Record<string, unknown>;
      const parts: (Buffer | null)[] = [];
      let size = headroom;
      for (const [key, field] of slots) {
        if (field.kind === 'fixed') {
          size += field.size;
          parts.push(null);
        } else {
          const part = field.toBytes(given[key]);
          if (field.prefix === 2 && part.length > 0xffff)
            throw new DbError('WIRE_BAD_VALUE', `${name}.${key}: ${part.length} bytes, at most 65535`);
          size += field.prefix + part.length;
          parts.push(part);
        }
      }
      const out = Buffer.allocUnsafe(size); // every byte after the headroom is written below
      let at = headroom;
      slots.forEach(([key, field], i) => {
        if (field.kind === 'fixed') {
          field.put(out, at, given[key]);
          at += field.size;
          return;
        }
        const part = parts[i]!;
        if (field.prefix === 2) out.writeUInt16LE(part.length, at);
        else if (field.prefix === 4) out.writeUInt32LE(part.length, at);
        at += field.prefix;
        at += part.copy(out, at);
      });
      return out;
    },
    decode(buf, at = 0) {
      const [value, end] = decodeAt(buf, at);
      if (end !== buf.length)
        throw new DbError('WIRE_TRAILING', `${name}: ${buf.length - end} bytes after the end`);
      return value;
    },
    decodeAt,
  };
}

function need(name: string, key: string, buf: Buffer, at: number, size: number): void {
  if (buf.length - at < size)
    throw new DbError(
      'WIRE_SHORT',
      `${name}.${key}: need ${size} bytes, have ${Math.max(0, buf.length - at)}`,
    );
}
