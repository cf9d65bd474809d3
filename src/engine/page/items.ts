/**
 * The tuple space of a page: the primitives of PostgreSQL 18's bufpage.c with the same effect on every byte, the unused ones
 * included, because later records address what earlier ones left behind.
 *
 * Limits that are broken throw DbError REDO_ADD_ITEM (the item cannot go there), REDO_BAD_ITEM (a line pointer or offset number
 * that makes no sense) or REDO_BAD_PAGE; the driver of the redo adds the LSN, and throws the page away.
 */
import { DbError } from '../errors.js';
import { BLCKSZ } from './constants.js';
import {
  PAGE_HEADER_SIZE,
  PD_HAS_FREE_LINES,
  checkPageBounds,
  pageInit,
  pdFlags,
  pdLower,
  pdSpecial,
  pdUpper,
  setPdFlags,
  setPdLower,
  setPdUpper,
} from './header.js';
import {
  ITEM_ID_SIZE,
  LP_NORMAL,
  LP_UNUSED,
  badLinePointer,
  checkOffset,
  itemCount,
  itemFlags,
  itemLength,
  itemWord,
  setItemId,
  shiftItemOffset,
} from './itemid.js';

export { pageInit } from './header.js';
export * from './itemid.js';

/** MaxHeapTuplesPerPage and MaxIndexTuplesPerPage for 8 kB pages. */
export const MAX_HEAP_TUPLES_PER_PAGE = 291;
export const MAX_INDEX_TUPLES_PER_PAGE = 408;

export interface AddItemOptions {
  /** PAI_OVERWRITE: take the named line pointer, which must be unused, instead of making room before it. */
  readonly overwrite?: boolean;
  /** PAI_IS_HEAP: no more than MAX_HEAP_TUPLES_PER_PAGE line pointers. */
  readonly heap?: boolean;
}

const NO_OPTIONS: AddItemOptions = {};

/** PageAddItemExtended for a given offset number; see `addItemBytes`. */
export function addItem(
  page: Buffer,
  tuple: Buffer,
  offnum: number,
  options: AddItemOptions = NO_OPTIONS,
): void {
  addItemBytes(page, tuple, 0, tuple.length, offnum, options);
}

/**
 * Adds `source[start, start + length)` as item `offnum`: appended when that is one past the last item, else
 * into an unused line pointer (overwrite) or with the later line pointers moved up by one. The tuple goes right below pd_upper;
 * padding up to a multiple of 8 keeps its old content. `source` must not be the page itself. Throws REDO_ADD_ITEM.
 */
export function addItemBytes(
  page: Buffer,
  source: Buffer,
  start: number,
  length: number,
  offnum: number,
  options: AddItemOptions = NO_OPTIONS,
): void {
  checkPageBounds(page);
  if (start < 0 || length < 0 || start + length > source.length) {
    throw new DbError(
      'REDO_ADD_ITEM',
      `tuple of ${length} bytes does not lie in its source of ${source.length} bytes`,
    );
  }
  const lower = pdLower(page);
  const limit = itemCount(page) + 1;
  if (!(offnum >= 1 && offnum <= limit)) {
    throw new DbError('REDO_ADD_ITEM', `cannot add item ${offnum} to a page with ${limit - 1} items`);
  }
  if (options.heap && offnum > MAX_HEAP_TUPLES_PER_PAGE) {
    throw new DbError(
      'REDO_ADD_ITEM',
      `item ${offnum} is beyond the ${MAX_HEAP_TUPLES_PER_PAGE} of a heap page`,
    );
  }
  const existing = offnum < limit;
  if (existing && options.overwrite) {
    const word = itemWord(page, offnum);
    if (((word >>> 15) & 3) !== LP_UNUSED || word >>> 17 !== 0) {
      throw new DbError('REDO_ADD_ITEM', `will not overwrite item ${offnum}, which is in use`);
    }
  }
  const makeRoom = existing && !options.overwrite;
  const newLower = !existing || makeRoom ? lower + ITEM_ID_SIZE : lower;
  const upper = pdUpper(page) - ((length + 7) & ~7);
  if (newLower > upper) {
    throw new DbError(
      'REDO_ADD_ITEM',
      `no room for an item of ${length} bytes: ${pdUpper(page) - lower} bytes are free`,
    );
  }
  if (makeRoom) {
    const at = PAGE_HEADER_SIZE + (offnum - 1) * ITEM_ID_SIZE;
    page.copyWithin(at + ITEM_ID_SIZE, at, at + (limit - offnum) * ITEM_ID_SIZE);
  }
  setItemId(page, offnum, upper, LP_NORMAL, length);
  source.copy(page, upper, start, start + length);
  setPdLower(page, newLower);
  setPdUpper(page, upper);
}

/** The tests bufpage.c makes of an index item before it moves bytes around it. Returns its offset. */
function checkIndexItem(page: Buffer, offnum: number): number {
  checkPageBounds(page);
  checkOffset(page, offnum);
  return checkIndexPointer(page, offnum);
}

function checkIndexPointer(page: Buffer, offnum: number): number {
  const word = itemWord(page, offnum);
  const off = word & 0x7fff;
  const len = word >>> 17;
  if (off < pdUpper(page) || off + len > pdSpecial(page) || (off & 7) !== 0)
    throw badLinePointer(offnum, off, len);
  return off;
}

/**
 * Moves the tuples that lie below `offset` by `delta` bytes (up when positive) and fixes their line pointers. As in C,
 * an item *at* `offset` counts as one of them; `skipEmpty` leaves items without storage alone.
 */
function slideTuples(page: Buffer, offset: number, delta: number, skipEmpty: boolean): void {
  const upper = pdUpper(page);
  if (offset > upper) page.copyWithin(upper + delta, upper, offset);
  setPdUpper(page, upper + delta);
  // Written out on the bytes: one record may slide the tuples of a page many times over.
  const end = slot(itemCount(page) + 1);
  for (let at = PAGE_HEADER_SIZE; at < end; at += ITEM_ID_SIZE) {
    const high = page[at + 1]!;
    const off = page[at]! | ((high & 0x7f) << 8);
    if (off > offset) continue;
    if (skipEmpty && page[at + 3] === 0 && page[at + 2]! < 2) continue;
    const moved = off + delta;
    page[at] = moved;
    page[at + 1] = ((moved >>> 8) & 0x7f) | (high & 0x80);
  }
}

/** PageIndexTupleDelete: removes the line pointer and closes both gaps. Throws REDO_BAD_ITEM, REDO_BAD_PAGE. */
export function indexTupleDelete(page: Buffer, offnum: number): void {
  const offset = checkIndexItem(page, offnum);
  const size = (itemLength(page, offnum) + 7) & ~7;
  const lower = pdLower(page);
  const at = PAGE_HEADER_SIZE + (offnum - 1) * ITEM_ID_SIZE;
  page.copyWithin(at, at + ITEM_ID_SIZE, lower);
  setPdLower(page, lower - ITEM_ID_SIZE);
  slideTuples(page, offset, size, false);
}

/**
 * PageIndexTupleDeleteNoCompact: frees the tuple's space but keeps the other items' numbers: the line pointer becomes
 * unused, or goes when it is the last one (only that one, even if unused ones precede it).
 */
export function indexTupleDeleteNoCompact(page: Buffer, offnum: number): void {
  const offset = checkIndexItem(page, offnum);
  const size = (itemLength(page, offnum) + 7) & ~7;
  if (offnum < itemCount(page)) setItemId(page, offnum, 0, LP_UNUSED, 0);
  else setPdLower(page, pdLower(page) - ITEM_ID_SIZE);
  slideTuples(page, offset, size, true);
}

/**
 * PageIndexTupleOverwrite: puts `tuple` exactly where the old one was, sliding what lies below when the size differs;
 * lp_flags stay. `tuple` must not be a view of the page. Throws REDO_ADD_ITEM when there is no room.
 */
export function indexTupleOverwrite(page: Buffer, offnum: number, tuple: Buffer): void {
  const offset = checkIndexItem(page, offnum);
  const oldSize = (itemLength(page, offnum) + 7) & ~7;
  const newSize = (tuple.length + 7) & ~7;
  const free = pdUpper(page) - pdLower(page);
  if (newSize > oldSize + free) {
    throw new DbError(
      'REDO_ADD_ITEM',
      `no room to grow item ${offnum} to ${newSize} bytes: ${free} are free`,
    );
  }
  const flags = itemFlags(page, offnum);
  if (newSize !== oldSize) slideTuples(page, offset, oldSize - newSize, true);
  const start = offset + oldSize - newSize;
  setItemId(page, offnum, start, flags, tuple.length);
  tuple.copy(page, start);
}

/**
 * Scratch of the functions below, which are synchronous and never nested: the tuples to keep in line pointer order, and a
 * copy of the page to move them from. Allocating them per call would cost more than the work.
 */
const keptIndex = new Uint16Array(MAX_INDEX_TUPLES_PER_PAGE);
const keptOffset = new Uint16Array(MAX_INDEX_TUPLES_PER_PAGE);
const keptSize = new Uint16Array(MAX_INDEX_TUPLES_PER_PAGE);
const scratch = Buffer.alloc(BLCKSZ);

/**
 * compactify_tuples: lays the kept tuples out below pd_special in line pointer order. Bytes below the new pd_upper
 * keep their content in C too (both of its variants write final positions only), so one scheme serves: runs that stay
 * together move together, from a copy unless they already lie in that order.
 */
function compactify(page: Buffer, count: number, presorted: boolean): void {
  let upper = pdSpecial(page);
  let first = 0;
  while (first < count && keptOffset[first]! + keptSize[first]! === upper) upper -= keptSize[first++]!;
  if (first === count) {
    setPdUpper(page, upper);
    return;
  }
  let source = page;
  if (!presorted) {
    page.copy(scratch, pdUpper(page), pdUpper(page), pdSpecial(page));
    source = scratch;
  }
  let tail = keptOffset[first]! + keptSize[first]!;
  let head = tail;
  for (let i = first; i < count; i++) {
    const end = keptOffset[i]! + keptSize[i]!;
    if (head !== end) {
      moveBytes(page, upper, source, head, tail);
      tail = end;
    }
    upper -= keptSize[i]!;
    head = keptOffset[i]!;
    shiftItemOffset(page, keptIndex[i]!, upper - head);
  }
  moveBytes(page, upper, source, head, tail);
  setPdUpper(page, upper);
}

function moveBytes(page: Buffer, to: number, source: Buffer, start: number, end: number): void {
  if (source === page) page.copyWithin(to, start, end);
  else source.copy(page, to, start, end);
}

/**
 * PageIndexMultiDelete: removes the items numbered in `offnums`, which must ascend. Throws REDO_BAD_ITEM when they do not
 * or name no item.
 */
export function indexMultiDelete(page: Buffer, offnums: ArrayLike<number>): void {
  checkPageBounds(page);
  const count = itemCount(page);
  for (let i = 0; i < offnums.length; i++) {
    const offnum = offnums[i]!;
    checkOffset(page, offnum);
    if (i > 0 && offnum <= offnums[i - 1]!) {
      throw new DbError(
        'REDO_BAD_ITEM',
        `items to delete are not in order: ${offnum} after ${offnums[i - 1]}`,
      );
    }
  }
  if (offnums.length <= 2) {
    for (let i = 0; i < offnums.length; i++) checkIndexPointer(page, offnums[i]!);
    for (let i = offnums.length - 1; i >= 0; i--) indexTupleDelete(page, offnums[i]!);
    return;
  }
  if (count > MAX_INDEX_TUPLES_PER_PAGE) {
    throw new DbError(
      'REDO_BAD_PAGE',
      `${count} items on an index page, at most ${MAX_INDEX_TUPLES_PER_PAGE} fit`,
    );
  }
  const lower = pdLower(page);
  const special = pdSpecial(page);
  let kept = 0;
  let next = 0;
  let total = 0;
  let last = special;
  let presorted = true;
  for (let offnum = 1; offnum <= count; offnum++) {
    const off = checkIndexPointer(page, offnum);
    if (next < offnums.length && offnum === offnums[next]) {
      next++;
      continue;
    }
    if (off < last) last = off;
    else presorted = false;
    keptIndex[kept] = offnum;
    keptOffset[kept] = off;
    total += keptSize[kept] = (itemLength(page, offnum) + 7) & ~7;
    kept++;
  }
  checkTotal(total, special - lower);
  for (let i = 0; i < kept; i++) {
    // Line pointers only ever move towards the front, so the array can be closed up in place. Four stores beat a copyWithin.
    const from = slot(keptIndex[i]!);
    const to = slot(i + 1);
    page[to] = page[from]!;
    page[to + 1] = page[from + 1]!;
    page[to + 2] = page[from + 2]!;
    page[to + 3] = page[from + 3]!;
    keptIndex[i] = i + 1;
  }
  setPdLower(page, slot(kept + 1));
  compactify(page, kept, presorted);
}

function slot(offnum: number): number {
  return PAGE_HEADER_SIZE + (offnum - 1) * ITEM_ID_SIZE;
}

function checkTotal(total: number, available: number): void {
  if (total > available) {
    throw new DbError(
      'REDO_BAD_PAGE',
      `corrupted item lengths: total ${total}, available space ${available}`,
    );
  }
}

/**
 * PageRepairFragmentation of a heap page: closes the gaps between tuples, drops unused line pointers from the end
 * and sets or clears PD_HAS_FREE_LINES. Throws REDO_BAD_PAGE, REDO_BAD_ITEM.
 */
export function repairFragmentation(page: Buffer): void {
  checkPageBounds(page);
  const count = itemCount(page);
  const upper = pdUpper(page);
  const special = pdSpecial(page);
  let kept = 0;
  let total = 0;
  let unused = 0;
  let lastUsed = 0;
  let last = special;
  let presorted = true;
  for (let offnum = 1; offnum <= count; offnum++) {
    const word = itemWord(page, offnum);
    const len = word >>> 17;
    if (((word >>> 15) & 3) === LP_UNUSED) {
      unused++;
      continue;
    }
    lastUsed = offnum;
    if (len === 0) continue;
    const off = word & 0x7fff;
    const size = (len + 7) & ~7;
    if (off < upper || off + size > special) throw badLinePointer(offnum, off, len);
    if (kept === MAX_HEAP_TUPLES_PER_PAGE) {
      throw new DbError('REDO_BAD_PAGE', `more than ${MAX_HEAP_TUPLES_PER_PAGE} tuples on a heap page`);
    }
    if (off < last) last = off;
    else presorted = false;
    keptIndex[kept] = offnum;
    keptOffset[kept] = off;
    keptSize[kept] = size;
    total += size;
    kept++;
  }
  checkTotal(total, special - pdLower(page));
  for (let offnum = 1; unused > 0 && offnum <= count; offnum++) {
    if (itemFlags(page, offnum) === LP_UNUSED) setItemId(page, offnum, 0, LP_UNUSED, 0);
  }
  compactify(page, kept, presorted);
  dropLastPointers(page, count - lastUsed, unused > count - lastUsed);
}

/**
 * PageTruncateLinePointerArray of a heap page: drops unused line pointers from the end, but never the first one, moves no
 * tuple, and sets or clears PD_HAS_FREE_LINES.
 */
export function truncateLinePointerArray(page: Buffer): void {
  checkPageBounds(page);
  const count = itemCount(page);
  let keep = count;
  while (keep > 1 && itemFlags(page, keep) === LP_UNUSED) keep--;
  let anyUnused = false;
  for (let offnum = keep; offnum >= 1 && !anyUnused; offnum--) {
    anyUnused = itemFlags(page, offnum) === LP_UNUSED;
  }
  dropLastPointers(page, count - keep, anyUnused);
}

function dropLastPointers(page: Buffer, drop: number, anyUnusedLeft: boolean): void {
  setPdLower(page, pdLower(page) - drop * ITEM_ID_SIZE);
  const flags = pdFlags(page);
  setPdFlags(page, anyUnusedLeft ? flags | PD_HAS_FREE_LINES : flags & ~PD_HAS_FREE_LINES);
}

/**
 * PageGetTempPageCopySpecial: initialises `into` as an empty page with the special area of `page` copied. Build the new
 * content there, then copy it over the whole page (pd_flags and pd_prune_xid are meant to become 0; the LSN is stamped later).
 * Throws REDO_BAD_PAGE.
 */
export function tempPageCopySpecial(page: Buffer, into: Buffer): void {
  checkPageBounds(page);
  const special = pdSpecial(page);
  pageInit(into, BLCKSZ - special);
  page.copy(into, special, special, BLCKSZ);
}
