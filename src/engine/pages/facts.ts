/**
 * Everything that is not a page or a fork size, as small facts versioned by LSN: which databases and tablespaces exist, relation maps,
 * prepared transactions, replication origins, the volume's files, which SLRU pages exist, the control state.
 *
 * Key: space, branch, class, id, ~lsn. Value: 00 (no longer true) or 01 and the fact's data.
 */
import type { Lsn } from '../lsn.js';
import {
  KeySpace,
  LSN_BYTES,
  OLDEST,
  prefixEnd,
  readInvertedLsn,
  slruNames,
  slruNumber,
  writeInvertedLsn,
} from './keys.js';
import type { RocksBatch, Rocks } from './rocks.js';
import { newestOfEach } from './scan.js';
import type { SlruName } from './effects/types.js';
import type { BranchId, SlruPages } from './types.js';

/** Part of the format: never renumber. */
export const FactClass = {
  database: 1,
  tablespace: 2,
  relmap: 3,
  twoPhase: 4,
  origin: 5,
  file: 6,
  slruPages: 7,
  control: 8,
} as const;

/** Of facts of which there is one. */
export const EMPTY_ID = Buffer.alloc(0);

const ID_AT = 6;
const GONE = Buffer.from([0]);
const PRESENT = Buffer.from([1]);

/** Ids of fixed length, big-endian u32 each. */
export function numberId(...parts: number[]): Buffer {
  const id = Buffer.alloc(4 * parts.length);
  parts.forEach((part, i) => id.writeUInt32BE(part, 4 * i));
  return id;
}

/** A file name; the NUL keeps one name from being another's prefix. */
export function nameId(name: string): Buffer {
  return Buffer.from(`${name}\0`);
}

export function nameOfId(id: Buffer): string {
  return id.toString('utf8', 0, id.length - 1);
}

export class Facts {
  constructor(private readonly db: Rocks) {}

  /** `data` null: no longer true from `at` on. */
  put(
    batch: RocksBatch,
    branch: BranchId,
    factClass: number,
    id: Buffer,
    at: Lsn,
    data: Buffer | null,
  ): void {
    batch.put(factKey(branch, factClass, id, at), data ? Buffer.concat([PRESENT, data]) : GONE);
  }

  /** The fact as of `at`, with the LSN since when it holds; null if there is none. */
  get(branch: BranchId, factClass: number, id: Buffer, at: Lsn): { since: Lsn; data: Buffer } | null {
    const rows = this.db.range(factKey(branch, factClass, id, at), factEnd(branch, factClass, id), 1);
    const [key, value] = rows;
    if (!key || !value || value[0] === GONE[0]) return null;
    return { since: readInvertedLsn(key, key.length - LSN_BYTES), data: value.subarray(1) };
  }

  /** All facts of a class as of `at`, by id. */
  list(branch: BranchId, factClass: number, at: Lsn): { id: Buffer; data: Buffer }[] {
    const found: { id: Buffer; data: Buffer }[] = [];
    newestOfEach(this.db, factKey(branch, factClass, EMPTY_ID, 0).subarray(0, ID_AT), at, (key, value) => {
      if (value[0] === GONE[0]) return;
      found.push({ id: key.subarray(ID_AT, key.length - LSN_BYTES), data: value.subarray(1) });
    });
    return found;
  }

  slruPages(branch: BranchId, slru: SlruName, at: Lsn): PageRange[] {
    const fact = this.get(branch, FactClass.slruPages, numberId(slruNumber(slru)), at);
    return fact ? decodeRanges(fact.data) : [];
  }

  allSlruPages(branch: BranchId, at: Lsn): SlruPages[] {
    return slruNames.map((slru) => ({ slru, ranges: this.slruPages(branch, slru, at) }));
  }

  putSlruPages(
    batch: RocksBatch,
    branch: BranchId,
    slru: SlruName,
    at: Lsn,
    ranges: readonly PageRange[],
  ): void {
    this.put(batch, branch, FactClass.slruPages, numberId(slruNumber(slru)), at, encodeRanges(ranges));
  }
}

function factKey(branch: BranchId, factClass: number, id: Buffer, at: number): Buffer {
  const key = Buffer.allocUnsafe(ID_AT + id.length + LSN_BYTES);
  key[0] = KeySpace.fact;
  key.writeUInt32BE(branch, 1);
  key[5] = factClass;
  id.copy(key, ID_AT);
  writeInvertedLsn(key, at, ID_AT + id.length);
  return key;
}

/** Exclusive end of one fact's versions. */
function factEnd(branch: BranchId, factClass: number, id: Buffer): Buffer {
  return prefixEnd(factKey(branch, factClass, id, OLDEST).subarray(0, ID_AT + id.length));
}

/** Pages of an SLRU, first and last inclusive. */
export type PageRange = readonly [first: number, last: number];

function encodeRanges(ranges: readonly PageRange[]): Buffer {
  const out = Buffer.allocUnsafe(8 * ranges.length);
  ranges.forEach(([first, last], i) => {
    out.writeUInt32LE(first, 8 * i);
    out.writeUInt32LE(last, 8 * i + 4);
  });
  return out;
}

export function decodeRanges(data: Buffer): PageRange[] {
  const ranges: PageRange[] = [];
  for (let at = 0; at < data.length; at += 8) ranges.push([data.readUInt32LE(at), data.readUInt32LE(at + 4)]);
  return ranges;
}

export function rangesHave(ranges: readonly PageRange[], pageno: number): boolean {
  return ranges.some(([first, last]) => first <= pageno && pageno <= last);
}

/** With `pageno` added: ascending, disjoint, neighbours merged. */
export function rangesWith(ranges: readonly PageRange[], pageno: number): PageRange[] {
  const sorted = [...ranges, [pageno, pageno] as const].sort((a, b) => a[0] - b[0]);
  const merged: [number, number][] = [];
  for (const [first, last] of sorted) {
    const before = merged[merged.length - 1];
    if (before && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else merged.push([first, last]);
  }
  return merged;
}

/** Without pages from `first` to `last`, both inclusive. */
export function rangesWithout(ranges: readonly PageRange[], first: number, last: number): PageRange[] {
  const left: PageRange[] = [];
  for (const [from, to] of ranges) {
    if (from < first) left.push([from, Math.min(to, first - 1)]);
    if (to > last) left.push([Math.max(from, last + 1), to]);
  }
  return left;
}
