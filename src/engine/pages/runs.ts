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

/** Whether a delta of this kind, with a value of this length, may be part of a run at all. */
export function fitsRun(kind: number, length: number): boolean {
  return kind >= FIRST_DELTA_KIND && kind !== Kind.run && length <= VALUE_MAX;
}

/** Whether one value can hold deltas from `oldest` to `newest`. */
export function fitsSpan(oldest: Lsn, newest: Lsn): boolean {
  return newest - oldest <= SPAN_MAX;
}

/** Bytes of a run before the values of its deltas. */
export function runHeadLength(count: number): number {
  return HEAD + ENTRY * count;
}

/** Writes what precedes the deltas of a run that begins at `run` of `buffer`. */
export function writeRunHead(buffer: Buffer, run: number, count: number): void {
  buffer.writeUInt16LE(count, run);
}

/** Writes the entry of delta `i`, counted from the oldest, `sinceFirst` bytes of log after it. Its value is the caller's to write. */
export function writeRunEntry(
  buffer: Buffer,
  run: number,
  i: number,
  sinceFirst: number,
  kind: number,
  length: number,
): void {
  const at = run + HEAD + ENTRY * i;
  buffer.writeUInt32LE(sinceFirst, at);
  buffer[at + KIND_AT] = kind;
  buffer.writeUInt16LE(length, at + LENGTH_AT);
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

/** The part of the run beyond `at` as a run of its own, which begins at `first`; null if there is none. Throws PAGE_BAD_VALUE. */
export function restOfRun(key: Buffer, value: Buffer, at: Lsn): { first: Lsn; value: Buffer } | null {
  const deltas: { at: Lsn; kind: number; value: Buffer }[] = [];
  eachInRun(key, value, at, runEnd(key, value), (deltaAt, kind, delta) => {
    deltas.push({ at: deltaAt, kind, value: delta });
  });
  const [oldest] = deltas;
  if (!oldest) return null;
  const head = Buffer.allocUnsafe(runHeadLength(deltas.length));
  writeRunHead(head, 0, deltas.length);
  deltas.forEach((delta, i) =>
    writeRunEntry(head, 0, i, delta.at - oldest.at, delta.kind, delta.value.length),
  );
  return { first: oldest.at, value: Buffer.concat([head, ...deltas.map((delta) => delta.value)]) };
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
