/**
 * Heap tuples as they lie on a page (HeapTupleHeaderData, access/htup_details.h, PostgreSQL 18). Little-endian.
 *
 *    0 t_xmin u32    4 t_xmax u32    8 t_cid u32 (or t_xvac)   12 t_ctid: block u16 high, u16 low, offset u16
 *   18 t_infomask2 u16   20 t_infomask u16   22 t_hoff u8   23 null bitmap, padding to t_hoff (a multiple of 8), data
 */
import { DbError } from '../errors.js';
import {
  checkedItemOffset,
  itemCount,
  itemFlags,
  itemId,
  itemLength,
  LP_NORMAL,
  type ItemId,
} from './items.js';

export const T_XMIN = 0;
export const T_XMAX = 4;
export const T_CID = 8;
export const T_CTID = 12;
export const T_INFOMASK2 = 18;
export const T_INFOMASK = 20;
export const T_HOFF = 22;
/** SizeofHeapTupleHeader: where t_bits starts, and where the tuple bytes of a WAL record start. */
export const HEAP_TUPLE_HEADER_SIZE = 23;
/** MaxHeapTupleSize: page less its header and one line pointer, rounded down to 8. */
export const MAX_HEAP_TUPLE_SIZE = 8160;

/** t_infomask. */
export const HEAP_HASNULL = 0x0001;
export const HEAP_HASVARWIDTH = 0x0002;
export const HEAP_HASEXTERNAL = 0x0004;
export const HEAP_XMAX_KEYSHR_LOCK = 0x0010;
export const HEAP_COMBOCID = 0x0020;
export const HEAP_XMAX_EXCL_LOCK = 0x0040;
export const HEAP_XMAX_LOCK_ONLY = 0x0080;
export const HEAP_XMIN_COMMITTED = 0x0100;
export const HEAP_XMIN_INVALID = 0x0200;
export const HEAP_XMIN_FROZEN = HEAP_XMIN_COMMITTED | HEAP_XMIN_INVALID;
export const HEAP_XMAX_COMMITTED = 0x0400;
export const HEAP_XMAX_INVALID = 0x0800;
export const HEAP_XMAX_IS_MULTI = 0x1000;
export const HEAP_UPDATED = 0x2000;
export const HEAP_MOVED = 0xc000;
export const HEAP_XMAX_BITS = 0x1cd0;
/** All visibility bits of t_infomask. */
export const HEAP_XACT_MASK = 0xfff0;
/** t_infomask2. */
export const HEAP_NATTS_MASK = 0x07ff;
export const HEAP_KEYS_UPDATED = 0x2000;
export const HEAP_HOT_UPDATED = 0x4000;
export const HEAP_ONLY_TUPLE = 0x8000;

/** t_ctid offset of a speculative insertion: its block field is then a token. */
export const SPECULATIVE_TOKEN_OFFSET = 0xfffe;
/** t_ctid of a row that an UPDATE moved to another partition. */
export const MOVED_PARTITIONS_OFFSET = 0xfffd;
export const INVALID_BLOCK = 0xffffffff;

const FIRST_NORMAL_XID = 3;

/** TransactionIdPrecedes: normal xids compare on a circle of 2^32, the permanent ones precede them all. */
export function xidPrecedes(a: number, b: number): boolean {
  if (a < FIRST_NORMAL_XID || b < FIRST_NORMAL_XID) return a < b;
  return ((a - b) | 0) < 0;
}

/** Byte position of the tuple of normal item `offnum`, all of its header on the page. Throws REDO_BAD_ITEM. */
export function heapTupleAt(page: Buffer, offnum: number): number {
  const at = checkedItemOffset(page, offnum);
  if (itemFlags(page, offnum) !== LP_NORMAL || itemLength(page, offnum) < HEAP_TUPLE_HEADER_SIZE)
    throw new DbError('REDO_BAD_ITEM', `item ${offnum} is not a heap tuple`);
  return at;
}

export function writeCtid(page: Buffer, tupleAt: number, blkno: number, offnum: number): void {
  const at = tupleAt + T_CTID;
  page.writeUInt16LE(blkno >>> 16, at);
  page.writeUInt16LE(blkno & 0xffff, at + 2);
  page.writeUInt16LE(offnum, at + 4);
}

/** A heap tuple taken apart, for inspection. */
export interface HeapTuple {
  readonly xmin: number;
  readonly xmax: number;
  /** t_cid: cmin, cmax or a combo command id; redo leaves 0. */
  readonly cid: number;
  readonly ctid: { readonly blkno: number; readonly offnum: number };
  readonly infomask: number;
  readonly infomask2: number;
  readonly hoff: number;
  /** Number of attributes. */
  readonly natts: number;
  /** One bit an attribute, 1 = present; null when the tuple has no NULLs. A view of the page. */
  readonly nullBitmap: Buffer | null;
  /** User data from t_hoff on; a view of the page. */
  readonly data: Buffer;
}

export interface HeapItem extends ItemId {
  readonly offnum: number;
  /** Null for unused, redirected and dead line pointers. */
  readonly tuple: HeapTuple | null;
}

/** Every line pointer of a heap page with its tuple. Throws REDO_BAD_ITEM when one leads off the page. */
export function heapItems(page: Buffer): HeapItem[] {
  const items: HeapItem[] = [];
  for (let offnum = 1; offnum <= itemCount(page); offnum++) {
    const id = itemId(page, offnum);
    items.push({ offnum, ...id, tuple: id.flags === LP_NORMAL ? heapTuple(page, offnum) : null });
  }
  return items;
}

/** Decodes one tuple. Throws REDO_BAD_ITEM. */
export function heapTuple(page: Buffer, offnum: number): HeapTuple {
  const at = heapTupleAt(page, offnum);
  const tuple = page.subarray(at, at + itemLength(page, offnum));
  const infomask = tuple.readUInt16LE(T_INFOMASK);
  const infomask2 = tuple.readUInt16LE(T_INFOMASK2);
  const hoff = tuple[T_HOFF]!;
  const natts = infomask2 & HEAP_NATTS_MASK;
  const bitmapBytes = infomask & HEAP_HASNULL ? (natts + 7) >>> 3 : 0;
  if (hoff < HEAP_TUPLE_HEADER_SIZE + bitmapBytes || hoff > tuple.length)
    throw new DbError('REDO_BAD_ITEM', `tuple ${offnum} of ${tuple.length} bytes has its data at ${hoff}`);
  return {
    xmin: tuple.readUInt32LE(T_XMIN),
    xmax: tuple.readUInt32LE(T_XMAX),
    cid: tuple.readUInt32LE(T_CID),
    ctid: {
      blkno: tuple.readUInt16LE(T_CTID) * 0x10000 + tuple.readUInt16LE(T_CTID + 2),
      offnum: tuple.readUInt16LE(T_CTID + 4),
    },
    infomask,
    infomask2,
    hoff,
    natts,
    nullBitmap:
      bitmapBytes === 0 ? null : tuple.subarray(HEAP_TUPLE_HEADER_SIZE, HEAP_TUPLE_HEADER_SIZE + bitmapBytes),
    data: tuple.subarray(hoff),
  };
}

const INFOMASK_NAMES: readonly (readonly [number, string])[] = [
  [HEAP_HASNULL, 'HASNULL'],
  [HEAP_HASVARWIDTH, 'HASVARWIDTH'],
  [HEAP_HASEXTERNAL, 'HASEXTERNAL'],
  [0x0008, 'HASOID_OLD'],
  [HEAP_XMAX_KEYSHR_LOCK, 'XMAX_KEYSHR_LOCK'],
  [HEAP_COMBOCID, 'COMBOCID'],
  [HEAP_XMAX_EXCL_LOCK, 'XMAX_EXCL_LOCK'],
  [HEAP_XMAX_LOCK_ONLY, 'XMAX_LOCK_ONLY'],
  [HEAP_XMIN_COMMITTED, 'XMIN_COMMITTED'],
  [HEAP_XMIN_INVALID, 'XMIN_INVALID'],
  [HEAP_XMAX_COMMITTED, 'XMAX_COMMITTED'],
  [HEAP_XMAX_INVALID, 'XMAX_INVALID'],
  [HEAP_XMAX_IS_MULTI, 'XMAX_IS_MULTI'],
  [HEAP_UPDATED, 'UPDATED'],
  [0x4000, 'MOVED_OFF'],
  [0x8000, 'MOVED_IN'],
];

const INFOMASK2_NAMES: readonly (readonly [number, string])[] = [
  [HEAP_KEYS_UPDATED, 'KEYS_UPDATED'],
  [HEAP_HOT_UPDATED, 'HOT_UPDATED'],
  [HEAP_ONLY_TUPLE, 'ONLY_TUPLE'],
];

/** Names of the bits that are set, as heap_tuple_infomask_flags() of pageinspect prints them, without the HEAP_ prefix. */
export function heapFlagNames(infomask: number, infomask2: number): string[] {
  return [
    ...INFOMASK_NAMES.filter(([bit]) => infomask & bit),
    ...INFOMASK2_NAMES.filter(([bit]) => infomask2 & bit),
  ].map(([, name]) => name);
}
