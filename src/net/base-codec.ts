import type { BaseRow } from '../engine/pages/base.js';
import { bytes, list, struct } from './wire.js';

/** The body of a GetBaseRows answer, cut into Part messages by the sender. Keys and values as the page store keeps them. */
const row = struct('BaseRow', { key: bytes, value: bytes });
const rows = struct('BaseRows', { rows: list(row) });

export function encodeBaseRows(value: readonly BaseRow[]): Buffer {
  return rows.encode({ rows: [...value] });
}

/** Buffers in the result are views into `buf`. Throws WIRE_*. */
export function decodeBaseRows(buf: Buffer): BaseRow[] {
  return rows.decode(buf).rows;
}
