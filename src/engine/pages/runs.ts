/**
 * Runs: deltas of one page that came in one ingest batch, stored as one value under the LSN of the oldest. A page that a thousand records of a
 * batch change costs a few rows so, not a thousand. Little-endian:
 *
 *   count u16
 *   count times, oldest first: LSN u32 counted from the key's, kind u8, length u16
 *   the values one after another, each as it would be stored alone
 *
 * What all who read versions rely on:
 *   - From a run's first LSN to its last there is no other version of the page, but that an image may lie at the last. So whoever goes back from
 *     some LSN meets the run that begins at or before it, and has to pass over the deltas beyond that LSN.
 *   - No run reaches across a change of its fork (creation, drop, truncation): what hides its first delta hides all of them.
 *   - What one record did is never divided between two runs.
 */
import { DbError } from '../errors.js';
import { formatLsn, lsn, type Lsn } from '../lsn.js';
import { FIRST_DELTA_KIND, Kind, versionKind, versionLsn } from './keys.js';

export interface Delta {
  readonly at: Lsn;
  readonly kind: number;
  readonly value: Buffer;
}

export interface LinkedDelta extends Delta {
  readonly older: LinkedDelta | null;
}

const HEAD = 2;
const ENTRY = 7;
const KIND_AT = 4;
const LENGTH_AT = 5;
/** A run is read whole for each of its deltas: it should cost no more than an image. */
export const RUN_BYTES_MAX = 8192;
export const RUN_DELTAS_MAX = 128;
/** Of values longer than this, putting them together saves little. */
const VALUE_MAX = 2048;
const SPAN_MAX = 0xffff_ffff;

/** Whether this delta may be part of a run at all. */
export function fitsRun({ kind, value }: Delta): boolean {
  return kind >= FIRST_DELTA_KIND && kind !== Kind.run && value.length <= VALUE_MAX;
}

/** Deltas from `oldest` to `newest` in one value. */
export function fitsSpan(oldest: Delta, newest: Delta): boolean {
  return newest.at - oldest.at <= SPAN_MAX;
}

/** What encodeRun() gives is a view of this. */
const scratch = Buffer.alloc(HEAD + ENTRY * RUN_DELTAS_MAX + RUN_BYTES_MAX);

/**
 * The value for `count` deltas from `newest` to older ones, the last of them at `first`; within the bounds above. The buffer is used again by the
 * next call.
 */
export function encodeRun(newest: LinkedDelta, first: Lsn, count: number): Buffer {
  let entry = HEAD + ENTRY * count;
  let bytes = 0;
  let delta: LinkedDelta | null = newest;
  for (let i = 0; i < count; i++, delta = delta!.older) bytes += delta!.value.length;
  let at = entry + bytes;
  const run = scratch.subarray(0, at);
  delta = newest;
  for (let i = 0; i < count; i++, delta = delta!.older) {
    const { at: deltaLsn, kind, value } = delta!;
    entry -= ENTRY;
    run.writeUInt32LE(deltaLsn - first, entry);
    run[entry + KIND_AT] = kind;
    run.writeUInt16LE(value.length, entry + LENGTH_AT);
    at -= value.length;
    run.set(value, at);
  }
  run.writeUInt16LE(count, 0);
  return run;
}

/** Number of deltas in the run. Throws PAGE_BAD_VALUE. */
export function runLength(key: Buffer, value: Buffer): number {
  const count = value.length < HEAD ? 0 : value.readUInt16LE(0);
  if (count === 0 || value.length < HEAD + ENTRY * count)
    throw badRun(key, `${value.length} bytes are too few for its ${count} deltas`);
  return count;
}

/** LSN of the newest delta in the run. */
export function runEnd(key: Buffer, value: Buffer): Lsn {
  return deltaLsn(versionLsn(key), value, runLength(key, value) - 1);
}

/** LSN of the newest delta at or before `upTo`, which the run's own LSN must be, too. */
export function newestInRun(key: Buffer, value: Buffer, upTo: Lsn): Lsn {
  const first = versionLsn(key);
  let i = runLength(key, value) - 1;
  while (i > 0 && deltaLsn(first, value, i) > upTo) i--;
  return deltaLsn(first, value, i);
}

/** The deltas after `after` and not after `upTo`, oldest first; gives how many there are. Throws PAGE_BAD_VALUE. */
export function eachInRun(
  key: Buffer,
  value: Buffer,
  after: Lsn,
  upTo: Lsn,
  use: (at: Lsn, kind: number, value: Buffer) => void,
): number {
  const count = runLength(key, value);
  const first = versionLsn(key);
  let used = 0;
  let start = HEAD + ENTRY * count;
  for (let i = 0; i < count; i++) {
    const end = start + value.readUInt16LE(HEAD + ENTRY * i + LENGTH_AT);
    const at = deltaLsn(first, value, i);
    if (at > upTo) return used;
    if (end > value.length) throw badRun(key, `its delta at ${formatLsn(at)} is cut off`);
    if (at > after) {
      use(at, value[HEAD + ENTRY * i + KIND_AT]!, value.subarray(start, end));
      used++;
    }
    start = end;
  }
  return used;
}

/**
 * The part of the run beyond `at` as a run of its own, which begins at `first`; null if there is none. The value is used again by the next
 * call of encodeRun(). Throws PAGE_BAD_VALUE.
 */
export function restOfRun(key: Buffer, value: Buffer, at: Lsn): { first: Lsn; value: Buffer } | null {
  const deltas: LinkedDelta[] = [];
  eachInRun(key, value, at, runEnd(key, value), (deltaAt, kind, delta) =>
    deltas.push({ at: deltaAt, kind, value: delta, older: deltas.at(-1) ?? null }),
  );
  const [oldest] = deltas;
  return oldest ? { first: oldest.at, value: encodeRun(deltas.at(-1)!, oldest.at, deltas.length) } : null;
}

/** LSN of the newest version at or before `upTo` in a row that begins there or before. */
export function newestInRow(key: Buffer, value: Buffer, upTo: Lsn): Lsn {
  return versionKind(key) === Kind.run ? newestInRun(key, value, upTo) : versionLsn(key);
}

function deltaLsn(first: Lsn, value: Buffer, i: number): Lsn {
  return lsn(first + value.readUInt32LE(HEAD + ENTRY * i));
}

function badRun(key: Buffer, what: string): DbError {
  return new DbError('PAGE_BAD_VALUE', `the stored run at ${formatLsn(versionLsn(key))} is damaged: ${what}`);
}
