/**
 * Rebuilds a B-tree page from its own items, as splits and deduplication do: PostgreSQL adds them to a temporary page in item number
 * order (PageGetTempPageCopySpecial, PageAddItem, PageRestoreTempPage) and copies that back.
 *
 * Here both pages lie in one 16 kB workspace, old page last, so that tuples move by copyWithin, which allocates nothing; runs of
 * tuples that lie side by side, which is the rule, move in one go. The workspace is shared by all rebuilds: they are synchronous and
 * end before the next one starts.
 */
import { DbError } from '../errors.js';
import {
  BT_IS_POSTING,
  BT_MAX_ITEM_SIZE,
  BT_SPECIAL,
  INDEX_ALT_TID,
  INDEX_SIZE_MASK,
  INDEX_TUPLE_HEADER_SIZE,
  TID_SIZE,
  btPageInit,
  checkBtreePage,
  checkPosting,
  isPivot,
  isPosting,
  postingCount,
  setTidBlock,
  setTidOffset,
  tupleSize,
} from '../page/btree.js';
import { BLCKSZ } from '../page/constants.js';
import { PAGE_HEADER_SIZE, setPdLower, setPdUpper } from '../page/header.js';
import {
  ITEM_ID_SIZE,
  LP_NORMAL,
  checkedItemOffset,
  itemCount,
  itemLength,
  setItemId,
} from '../page/items.js';

export class PageRebuild {
  private readonly workspace = Buffer.alloc(2 * BLCKSZ);
  private readonly fresh = this.workspace.subarray(0, BLCKSZ);
  private readonly old = this.workspace.subarray(BLCKSZ);
  private count = 0;
  private upper = 0;
  /** Old-page range [runStart, runEnd) of kept tuples that are not moved yet; their new place ends at `runTo`. */
  private runStart = 0;
  private runEnd = 0;
  private runTo = 0;

  /** Starts over with `page`'s items as source and an empty page with its special area as target. Throws REDO_BAD_PAGE. */
  start(page: Buffer): void {
    checkBtreePage(page);
    page.copy(this.old);
    btPageInit(this.fresh);
    page.copy(this.fresh, BT_SPECIAL, BT_SPECIAL, BLCKSZ);
    this.count = 0;
    this.upper = BT_SPECIAL;
    this.runStart = this.runEnd = this.runTo = 0;
  }

  /** Number of items of the old page. */
  get oldCount(): number {
    return itemCount(this.old);
  }

  /** Appends item `offnum` of the old page, dead mark removed. Throws REDO_BAD_ITEM, REDO_ADD_ITEM. */
  keep(offnum: number): void {
    const from = checkedItemOffset(this.old, offnum);
    const length = itemLength(this.old, offnum);
    const at = this.claim(length);
    const end = from + ((length + 7) & ~7);
    if ((length & 7) === 0 && end === this.runStart) {
      this.runStart = from;
      return;
    }
    this.flush();
    if ((length & 7) === 0) {
      this.runStart = from;
      this.runEnd = end;
      this.runTo = at + length;
    } else {
      this.workspace.copyWithin(at, BLCKSZ + from, BLCKSZ + from + length);
    }
  }

  /** Appends `length` bytes of `source`. Throws REDO_ADD_ITEM. */
  append(source: Buffer, start: number, length: number): void {
    this.flush();
    const at = this.claim(length);
    source.copy(this.fresh, at, start, start + length);
  }

  /**
   * Appends old items [first, first + n) merged into one posting list tuple: the key part of the first and all tids in order
   * (_bt_form_posting). Throws REDO_BAD_ITEM, REDO_ADD_ITEM.
   */
  merge(first: number, n: number): void {
    const base = checkedItemOffset(this.old, first);
    const keySize = this.keySize(first, base);
    let tids = 0;
    for (let offnum = first; offnum < first + n; offnum++) {
      tids += this.tidCount(offnum, checkedItemOffset(this.old, offnum));
    }
    const size = (keySize + tids * TID_SIZE + 7) & ~7;
    if (size > BT_MAX_ITEM_SIZE || (keySize & 7) !== 0) {
      throw new DbError(
        'REDO_BAD_ITEM',
        `items ${first} to ${first + n - 1} do not merge: ${tids} tids, key ${keySize}`,
      );
    }
    this.flush();
    const at = this.claim(size);
    this.workspace.copyWithin(at, BLCKSZ + base, BLCKSZ + base + keySize);
    let to = at + keySize;
    for (let offnum = first; offnum < first + n; offnum++) {
      const from = checkedItemOffset(this.old, offnum);
      const posting = isPosting(this.old, from);
      const start = BLCKSZ + from + (posting ? this.keySize(offnum, from) : 0);
      const bytes = (posting ? postingCount(this.old, from) : 1) * TID_SIZE;
      this.workspace.copyWithin(to, start, start + bytes);
      to += bytes;
    }
    setPostingHeader(this.fresh, at, keySize, size, tids);
  }

  /** Copies the new page over `page`, header included (LSN 0, flags 0). */
  finish(page: Buffer): void {
    this.flush();
    setPdLower(this.fresh, PAGE_HEADER_SIZE + this.count * ITEM_ID_SIZE);
    setPdUpper(this.fresh, this.upper);
    this.fresh.copy(page);
  }

  /** Takes room for the next item and points a line pointer at it. */
  private claim(length: number): number {
    const at = this.upper - ((length + 7) & ~7);
    if (PAGE_HEADER_SIZE + (this.count + 1) * ITEM_ID_SIZE > at) {
      throw new DbError(
        'REDO_ADD_ITEM',
        `rebuilt page has no room for item ${this.count + 1} of ${length} bytes`,
      );
    }
    this.upper = at;
    this.count++;
    setItemId(this.fresh, this.count, at, LP_NORMAL, length);
    return at;
  }

  private flush(): void {
    if (this.runEnd > this.runStart) {
      const to = this.runTo - (this.runEnd - this.runStart);
      this.workspace.copyWithin(to, BLCKSZ + this.runStart, BLCKSZ + this.runEnd);
    }
    this.runStart = this.runEnd = 0;
  }

  private tidCount(offnum: number, at: number): number {
    if (itemLength(this.old, offnum) < INDEX_TUPLE_HEADER_SIZE || isPivot(this.old, at)) {
      throw new DbError('REDO_BAD_ITEM', `item ${offnum} has no heap tids to merge`);
    }
    return isPosting(this.old, at) ? postingCount(this.old, at) : 1;
  }

  /** Bytes of a tuple before its posting list, or all of it. */
  private keySize(offnum: number, at: number): number {
    const length = itemLength(this.old, offnum);
    if (isPosting(this.old, at)) return checkPosting(this.old, at, length, offnum);
    const size = tupleSize(this.old, at);
    if (size < INDEX_TUPLE_HEADER_SIZE || size > length) {
      throw new DbError(
        'REDO_BAD_ITEM',
        `item ${offnum}: ${length} bytes cannot hold an index tuple of ${size}`,
      );
    }
    return size;
  }
}

/** BTreeTupleSetPosting on a copied tuple header: its size, and the tid field as count and place of the posting list. */
export function setPostingHeader(buf: Buffer, at: number, keySize: number, size: number, tids: number): void {
  const info = (buf[at + 6]! | (buf[at + 7]! << 8)) & ~INDEX_SIZE_MASK;
  setTupleInfo(buf, at, info | size | INDEX_ALT_TID);
  setTidBlock(buf, at, keySize);
  setTidOffset(buf, at, tids | BT_IS_POSTING);
}

export function setTupleInfo(buf: Buffer, at: number, info: number): void {
  buf[at + 6] = info;
  buf[at + 7] = info >>> 8;
}
