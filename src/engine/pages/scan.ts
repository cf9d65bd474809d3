/** Listing: the newest version at an LSN of each of many things whose keys share a prefix and end in an inverted LSN. */
import type { Lsn } from '../lsn.js';
import { LSN_BYTES, prefixEnd, readInvertedLsn, writeInvertedLsn } from './keys.js';
import type { Rocks } from './rocks.js';

const MIN_CHUNK = 4;
const MAX_CHUNK = 256;

/**
 * Calls `use` with key and value of the newest version at or before `at` of each id under `prefix`, in key order.
 *
 * A range read where things have few versions, a search where they have many: when a chunk ends within an id that is done (or whose
 * versions are too new), the next chunk starts past it, and chunks shrink; else they grow.
 */
export function newestOfEach(
  db: Rocks,
  prefix: Buffer,
  at: Lsn,
  use: (key: Buffer, value: Buffer) => void,
): void {
  const end = prefixEnd(prefix);
  let from = prefix;
  let chunk = MIN_CHUNK;
  let done: Buffer | null = null;
  for (;;) {
    const rows = db.range(from, end, chunk);
    let found = 0;
    for (let i = 0; i < rows.length; i += 2) {
      const key = rows[i]!;
      const id = key.subarray(0, key.length - LSN_BYTES);
      if (done?.equals(id)) continue;
      if (readInvertedLsn(key, id.length) > at) continue;
      done = id;
      found++;
      use(key, rows[i + 1]!);
    }
    if (rows.length < 2 * chunk) return;
    const last = rows[rows.length - 2]!;
    from = afterLast(last, done, at);
    chunk = found * 2 >= chunk ? Math.min(chunk * 2, MAX_CHUNK) : Math.max(chunk >> 1, MIN_CHUNK);
  }
}

/** Where to go on after a chunk that ended with key `last`. */
function afterLast(last: Buffer, done: Buffer | null, at: Lsn): Buffer {
  const idLength = last.length - LSN_BYTES;
  if (done?.equals(last.subarray(0, idLength))) return prefixEnd(done);
  const next = Buffer.from(last);
  writeInvertedLsn(next, at, idLength);
  return next;
}
