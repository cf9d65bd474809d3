/**
 * Compressed posting lists of GIN (ginpostinglist.c, PostgreSQL 18): heap tids in ascending order, each as its distance to the one before.
 *
 * One list, also called a segment: first tid @0 (block hi u16, lo u16, offset u16), nbytes u16 @6, nbytes of distances @8, and a
 * zero byte if nbytes is odd. A tid counts as the integer block * 2048 + offset: 43 bits, so plain numbers hold it exactly. A distance
 * is written 7 bits a byte, low ones first, with 0x80 set on all but its last byte.
 *
 * Lists are decoded into a Float64Array of such integers that the caller owns; nothing here allocates per item.
 */
import { DbError } from '../errors.js';

/** Bytes of a list before its distances. */
export const POSTING_LIST_HEADER = 8;
/** Tids that one offset number's 11 bits leave per block; real offset numbers stay far below. */
const OFFSETS = 2048;
const ITEM_LIMIT = 2 ** 43;
/** Bytes of the longest distance. */
const MAX_VARBYTE = 7;

/** The tid at `at` as an integer. Throws REDO_BAD_ITEM if its offset number is 0 or needs more than 11 bits. */
export function itemAt(buf: Buffer, at: number): number {
  const offset = buf[at + 4]! | (buf[at + 5]! << 8);
  if (!(offset > 0 && offset < OFFSETS))
    throw new DbError('REDO_BAD_ITEM', `offset number ${offset} in a tid of a posting list`);
  const high = buf[at]! | (buf[at + 1]! << 8);
  const low = buf[at + 2]! | (buf[at + 3]! << 8);
  return (high * 0x1_0000 + low) * OFFSETS + offset;
}

/** Writes the tid that `item` stands for. */
export function putItem(buf: Buffer, at: number, item: number): void {
  const block = Math.floor(item / OFFSETS);
  const offset = item - block * OFFSETS;
  buf[at] = block >>> 16;
  buf[at + 1] = block >>> 24;
  buf[at + 2] = block;
  buf[at + 3] = block >>> 8;
  buf[at + 4] = offset;
  buf[at + 5] = offset >>> 8;
}

/** Bytes of the list at `at`, its padding included. Throws REDO_BAD_ITEM unless all of it lies before `end`. */
export function postingListSize(buf: Buffer, at: number, end: number): number {
  const size =
    at + POSTING_LIST_HEADER <= end
      ? POSTING_LIST_HEADER + (((buf[at + 6]! | (buf[at + 7]! << 8)) + 1) & ~1)
      : Infinity;
  if (!(at + size <= end))
    throw new DbError('REDO_BAD_ITEM', `posting list at byte ${at} does not end before byte ${end}`);
  return size;
}

/**
 * Appends the items of the list at `at`, which must end before `end`, to `out` from index `count` on; returns the new count.
 * Throws REDO_BAD_ITEM if the list is damaged or `out` is too short.
 */
export function decodePostingList(
  buf: Buffer,
  at: number,
  end: number,
  out: Float64Array,
  count: number,
): number {
  postingListSize(buf, at, end);
  const stop = at + POSTING_LIST_HEADER + (buf[at + 6]! | (buf[at + 7]! << 8));
  let item = itemAt(buf, at);
  let n = count;
  // Every item but the first takes a byte at least.
  if (n + 1 + (stop - at - POSTING_LIST_HEADER) > out.length) {
    throw new DbError('REDO_BAD_ITEM', `posting list at byte ${at} holds too many items`);
  }
  out[n++] = item;
  for (let p = at + POSTING_LIST_HEADER; p < stop;) {
    let byte = buf[p++]!;
    let distance = byte & 0x7f;
    for (let scale = 0x80; byte >= 0x80; scale *= 0x80) {
      if (p === stop || scale >= ITEM_LIMIT) throw badDistance(at, p);
      byte = buf[p++]!;
      distance += (byte & 0x7f) * scale;
    }
    item += distance;
    if (distance === 0 || item >= ITEM_LIMIT) throw badDistance(at, p);
    out[n++] = item;
  }
  return n;
}

function badDistance(at: number, p: number): DbError {
  return new DbError('REDO_BAD_ITEM', `posting list at byte ${at} is damaged before byte ${p}`);
}

function varbyteLength(distance: number): number {
  let bytes = 1;
  for (let limit = 0x80; distance >= limit; limit *= 0x80) bytes++;
  return bytes;
}

/**
 * ginCompressPostingList: writes items[start, start + count) as one list at `at` of `out`, in at most `maxSize` bytes. Returns how many
 * of them fitted. Items must ascend; throws REDO_BAD_ITEM if they do not.
 */
export function encodePostingList(
  items: Float64Array,
  start: number,
  count: number,
  out: Buffer,
  at: number,
  maxSize: number,
): number {
  const first = at + POSTING_LIST_HEADER;
  const stop = at + (maxSize & ~1);
  if (count < 1 || first > stop) return 0;
  let previous = items[start]!;
  putItem(out, at, previous);
  let p = first;
  let done = 1;
  for (; done < count; done++) {
    const item = items[start + done]!;
    let distance = item - previous;
    if (!(distance > 0)) throw new DbError('REDO_BAD_ITEM', 'tids of a posting list do not ascend');
    if (stop - p < MAX_VARBYTE && varbyteLength(distance) > stop - p) break;
    previous = item;
    for (; distance >= 0x8000_0000; distance = Math.floor(distance / 0x80))
      out[p++] = 0x80 | (distance % 0x80);
    for (distance |= 0; distance > 0x7f; distance >>>= 7) out[p++] = 0x80 | (distance & 0x7f);
    out[p++] = distance;
  }
  const nbytes = p - first;
  out[at + 6] = nbytes;
  out[at + 7] = nbytes >>> 8;
  if ((nbytes & 1) !== 0) out[p] = 0;
  return done;
}

/**
 * ginMergeItemPointers of a decoded list with the `count` tids at `at` of `tids`, both ascending, into `out`; returns how many
 * items came out. A tid on both sides comes out twice, which encodePostingList() refuses. Throws REDO_BAD_ITEM if `out` is too short.
 */
export function mergeTids(
  items: Float64Array,
  itemCount: number,
  tids: Buffer,
  at: number,
  count: number,
  out: Float64Array,
): number {
  if (itemCount + count > out.length)
    throw new DbError('REDO_BAD_ITEM', `${itemCount + count} items do not fit into one posting list`);
  let i = 0;
  let n = 0;
  for (let k = 0; k < count; k++) {
    const added = itemAt(tids, at + k * 6);
    while (i < itemCount && items[i]! < added) out[n++] = items[i++]!;
    out[n++] = added;
  }
  while (i < itemCount) out[n++] = items[i++]!;
  return n;
}
