/** Changes of posting trees: leaves of compressed posting lists, and internal pages of posting items (ginxlog.c, PostgreSQL 18). */
import {
  GIN_COMPRESSED,
  GIN_DATA_AT,
  GIN_MAX_POSTING_ITEMS,
  GIN_SPECIAL,
  NO_BLOCK,
  POSTING_ITEM_SIZE,
  ginFlags,
  ginMaxoff,
  postingItemAt,
  postingItemChild,
  postingItemCount,
  postingListsEnd,
  setGinFlags,
  setGinMaxoff,
  setPostingItemChild,
  setPostingItemCount,
} from '../page/gin.js';
import { tidBlock } from '../page/btree.js';
import { BLCKSZ } from '../page/constants.js';
import {
  decodePostingList,
  encodePostingList,
  mergeTids,
  POSTING_LIST_HEADER,
  postingListSize,
} from '../page/gin-posting.js';
import { setPdLower } from '../page/header.js';
import { redoError } from './types.js';

const SEGMENT_DELETE = 1;
const SEGMENT_INSERT = 2;
const SEGMENT_REPLACE = 3;
const SEGMENT_ADDITEMS = 4;

/**
 * Scratch of `recompress`, which is synchronous and never nested: segments that are still to be read while the page is written over, and
 * decoded items. A page holds no more items than bytes.
 */
const oldTail = Buffer.alloc(BLCKSZ);
const oldItems = new Float64Array(BLCKSZ);
const newItems = new Float64Array(BLCKSZ);

/**
 * ginRedoRecompress. `data`: nactions u16, then per action segment number u8, type u8 and, for INSERT and REPLACE, a posting list; for ADDITEMS
 * a count u16 and that many tids. Segment numbers are those of the page as it was and do not descend. `page` is a leaf of a posting tree.
 *
 * Segments before the first action stay where they are. From there on the page is written over, so the rest of it is read from a copy.
 */
export function recompress(page: Buffer, data: Buffer): void {
  if ((ginFlags(page) & GIN_COMPRESSED) === 0) compressPage(page);
  const actions = data.length >= 2 ? data.readUInt16LE(0) : 0;
  if (actions === 0) throw redoError('REDO_BAD_RECORD', 'no change of a posting tree leaf in its record');
  const end = postingListsEnd(page);
  let source = page;
  let from = GIN_DATA_AT;
  let to = GIN_DATA_AT;
  let segment = 0;
  let at = 2;
  for (let i = 0; i < actions; i++) {
    if (at + 2 > data.length) throw cutOff(data, i);
    const target = data[at]!;
    const type = data[at + 1]!;
    at += 2;
    if (target < segment) throw redoError('REDO_BAD_RECORD', `segment ${target} after segment ${segment}`);
    const kept = from;
    for (; segment < target; segment++) from += segmentSize(source, from, end, target);
    if (source === page) {
      to = from;
      page.copy(oldTail, from, from, end);
      source = oldTail;
    } else {
      to = put(page, to, source, kept, from);
    }
    const old = from < end || type !== SEGMENT_INSERT ? segmentSize(source, from, end, target) : 0;
    switch (type) {
      case SEGMENT_DELETE:
        break;
      case SEGMENT_INSERT:
      case SEGMENT_REPLACE: {
        const next = at + loggedSize(data, at, i);
        to = put(page, to, data, at, next);
        at = next;
        break;
      }
      case SEGMENT_ADDITEMS: {
        const count = at + 2 <= data.length ? data.readUInt16LE(at) : -1;
        const next = at + 2 + count * 6;
        if (count < 1 || next > data.length) throw cutOff(data, i);
        to = addItems(page, to, source, from, from + old, data, at + 2, count);
        at = next;
        break;
      }
      default:
        throw redoError('REDO_BAD_RECORD', `unknown change ${type} of a posting tree leaf`);
    }
    if (type !== SEGMENT_INSERT) {
      from += old;
      segment++;
    }
  }
  if (at !== data.length)
    throw redoError('REDO_BAD_RECORD', `${data.length - at} bytes after the last change`);
  setPdLower(page, put(page, to, source, from, end));
}

function cutOff(data: Buffer, i: number): Error {
  return redoError('REDO_BAD_RECORD', `change ${i + 1} does not lie in the record's ${data.length} bytes`);
}

function segmentSize(source: Buffer, from: number, end: number, target: number): number {
  if (from >= end) throw redoError('REDO_BAD_RECORD', `the page has no segment ${target}`);
  return postingListSize(source, from, end);
}

/** Size of a posting list inside the record. */
function loggedSize(data: Buffer, at: number, i: number): number {
  const size =
    at + POSTING_LIST_HEADER <= data.length
      ? POSTING_LIST_HEADER + ((data.readUInt16LE(at + 6) + 1) & ~1)
      : Infinity;
  if (at + size > data.length) throw cutOff(data, i);
  return size;
}

/** Copies source[start, end) to `to` on the page and returns where it ends there. */
function put(page: Buffer, to: number, source: Buffer, start: number, end: number): number {
  if (to + end - start > GIN_SPECIAL) throw noRoom();
  source.copy(page, to, start, end);
  return to + end - start;
}

function noRoom(): Error {
  return redoError('REDO_BAD_RECORD', 'the posting lists do not fit on the page any more');
}

/** The segment source[from, end) with `count` more tids, written to `to` on the page. Returns where it ends there. */
function addItems(
  page: Buffer,
  to: number,
  source: Buffer,
  from: number,
  end: number,
  tids: Buffer,
  at: number,
  count: number,
): number {
  const old = decodePostingList(source, from, end, oldItems, 0);
  const total = mergeTids(oldItems, old, tids, at, count, newItems);
  if (encodePostingList(newItems, 0, total, page, to, GIN_SPECIAL - to) !== total) throw noRoom();
  return to + postingListSize(page, to, GIN_SPECIAL);
}

/** Brings a leaf from before PostgreSQL 9.4, an array of tids, into the present form: one segment with all of them. */
function compressPage(page: Buffer): void {
  const count = ginMaxoff(page);
  if (count * 6 > GIN_SPECIAL - GIN_DATA_AT) throw redoError('REDO_BAD_PAGE', `${count} tids on a page`);
  let end = GIN_DATA_AT;
  if (count > 0) {
    mergeTids(oldItems, 0, page, GIN_DATA_AT, count, newItems);
    if (encodePostingList(newItems, 0, count, page, GIN_DATA_AT, GIN_SPECIAL - GIN_DATA_AT) !== count)
      throw redoError('REDO_BAD_PAGE', `${count} tids do not fit on the page when compressed`);
    end += postingListSize(page, GIN_DATA_AT, GIN_SPECIAL);
  }
  setPdLower(page, end);
  setGinFlags(page, ginFlags(page) | GIN_COMPRESSED);
  setGinMaxoff(page, 0);
}

/**
 * ginRedoInsertData of an internal page. `data`: offset u16, posting item. The left child was split: its posting item goes on to lead to the right
 * half, whose upper bound it is, and a new one for the left half comes before it.
 */
export function insertPostingItem(page: Buffer, data: Buffer, left: number, right: number): void {
  if (data.length !== 2 + POSTING_ITEM_SIZE || tidBlock(data, 2) !== left || right === NO_BLOCK) {
    throw redoError('REDO_BAD_RECORD', `${data.length} bytes of data are no posting item for block ${left}`);
  }
  const offnum = data.readUInt16LE(0);
  const count = postingItemCount(page);
  checkChild(page, offnum, count, left);
  if (count === GIN_MAX_POSTING_ITEMS)
    throw redoError('REDO_ADD_ITEM', `no room for posting item ${count + 1}`);
  setPostingItemChild(page, offnum, right);
  page.copyWithin(postingItemAt(offnum + 1), postingItemAt(offnum), postingItemAt(count + 1));
  data.copy(page, postingItemAt(offnum), 2);
  setPostingItemCount(page, count + 1);
}

/** GinPageDeletePostingItem, of the item that leads to `child`. */
export function deletePostingItem(page: Buffer, offnum: number, child: number): void {
  const count = postingItemCount(page);
  checkChild(page, offnum, count, child);
  page.copyWithin(postingItemAt(offnum), postingItemAt(offnum + 1), postingItemAt(count + 1));
  setPostingItemCount(page, count - 1);
}

/** PostgreSQL looked the item up by its child, so anything else there means that page and record do not belong together. */
function checkChild(page: Buffer, offnum: number, count: number, child: number): void {
  if (!(offnum >= 1 && offnum <= count) || postingItemChild(page, offnum) !== child) {
    throw redoError('REDO_BAD_ITEM', `posting item ${offnum} of ${count} does not lead to block ${child}`);
  }
}
