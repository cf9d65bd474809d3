/**
 * Hash index pages of PostgreSQL 18 (access/hash.h) for 8 kB pages. Little-endian.
 *
 * Special area, 16 bytes at 8176: prev u32 @0 (of a primary bucket page: the highest bucket when the bucket was made or last
 * split), next u32 @4, bucket u32 @8, flag u16 @12 (low four bits: page type), page id u16 @14. No block, no bucket: 0xFFFFFFFF.
 *
 * Metapage (block 0), 4544 bytes at 24: magic u32 @0, version u32 @4, ntuples f64 @8, ffactor u16 @16, bsize u16 @18, bmsize u16 @20,
 * bmshift u16 @22, maxbucket u32 @24, highmask u32 @28, lowmask u32 @32, ovflpoint u32 @36, firstfree u32 @40, nmaps u32 @44, procid u32 @48,
 * spares u32[98] @52, mapp u32[1024] @444.
 *
 * Bitmap page: 32768 bits from byte 24 on, a set bit for an overflow page in use. Bucket and overflow pages: index tuples of
 * 16 bytes (tid 6, t_info u16, hash code u32, 4 bytes of padding) in order of their hash codes.
 */
import { DbError } from '../errors.js';
import { BLCKSZ } from './constants.js';
import { PAGE_HEADER_SIZE, checkPageBounds, pageInit, pdSpecial, setPdLower } from './header.js';
import { LP_DEAD, item, itemCount, itemFlags } from './itemid.js';

export const HASH_SPECIAL_SIZE = 16;
/** Position of the special area on every hash page. */
export const HASH_SPECIAL = BLCKSZ - HASH_SPECIAL_SIZE;

export const LH_UNUSED_PAGE = 0;
export const LH_OVERFLOW_PAGE = 0x1;
export const LH_BUCKET_PAGE = 0x2;
export const LH_BITMAP_PAGE = 0x4;
export const LH_META_PAGE = 0x8;
export const LH_BUCKET_BEING_POPULATED = 0x10;
export const LH_BUCKET_BEING_SPLIT = 0x20;
export const LH_BUCKET_NEEDS_SPLIT_CLEANUP = 0x40;
export const LH_PAGE_HAS_DEAD_TUPLES = 0x80;
const LH_PAGE_TYPE = 0x0f;

const HASHO_PAGE_ID = 0xff80;
export const INVALID_BLOCK = 0xffffffff;

const HASH_MAGIC = 0x6440640;
const HASH_VERSION = 4;
const BUCKET_BYTES = HASH_SPECIAL - PAGE_HEADER_SIZE;
/** hashm_bmsize: bytes of a bitmap, the largest power of two that fits on a page. */
export const HASH_BITMAP_BYTES = 4096;
const BITMAP_SHIFT = 15;
export const HASH_MAX_SPLITPOINTS = 98;
export const HASH_MAX_BITMAPS = 1024;

/** Of every hash index tuple: an index tuple header and the hash code, padded to 16 bytes. */
export const HASH_TUPLE_SIZE = 16;
/** t_info of a tuple that a split has copied to the new bucket; scans skip it while the split is not complete. */
export const HASH_MOVED_BY_SPLIT = 0x2000;

const M_NTUPLES = PAGE_HEADER_SIZE + 8;
const M_FFACTOR = PAGE_HEADER_SIZE + 16;
const M_MAXBUCKET = PAGE_HEADER_SIZE + 24;
const M_HIGHMASK = PAGE_HEADER_SIZE + 28;
const M_LOWMASK = PAGE_HEADER_SIZE + 32;
const M_OVFLPOINT = PAGE_HEADER_SIZE + 36;
const M_FIRSTFREE = PAGE_HEADER_SIZE + 40;
const M_NMAPS = PAGE_HEADER_SIZE + 44;
const M_PROCID = PAGE_HEADER_SIZE + 48;
const M_SPARES = PAGE_HEADER_SIZE + 52;
const M_MAPP = PAGE_HEADER_SIZE + 444;
const META_END = PAGE_HEADER_SIZE + 4544;

export function hashFlags(page: Buffer): number {
  return page[HASH_SPECIAL + 12]! | (page[HASH_SPECIAL + 13]! << 8);
}
export function setHashFlags(page: Buffer, flags: number): void {
  page[HASH_SPECIAL + 12] = flags;
  page[HASH_SPECIAL + 13] = flags >>> 8;
}
export function hashPrev(page: Buffer): number {
  return page.readUInt32LE(HASH_SPECIAL);
}
export function setHashPrev(page: Buffer, value: number): void {
  page.writeUInt32LE(value, HASH_SPECIAL);
}
export function hashNext(page: Buffer): number {
  return page.readUInt32LE(HASH_SPECIAL + 4);
}
export function setHashNext(page: Buffer, blkno: number): void {
  page.writeUInt32LE(blkno, HASH_SPECIAL + 4);
}
export function hashBucket(page: Buffer): number {
  return page.readUInt32LE(HASH_SPECIAL + 8);
}

/** _hash_pageinit and the special area: an empty page without a successor. */
export function hashPageInit(
  page: Buffer,
  flags: number,
  prev = INVALID_BLOCK,
  bucket = INVALID_BLOCK,
): void {
  pageInit(page, HASH_SPECIAL_SIZE);
  setHashPrev(page, prev);
  setHashNext(page, INVALID_BLOCK);
  page.writeUInt32LE(bucket, HASH_SPECIAL + 8);
  setHashFlags(page, flags);
  page.writeUInt16LE(HASHO_PAGE_ID, HASH_SPECIAL + 14);
}

/** Throws REDO_BAD_PAGE unless the page has sane bounds and a hash index's special area. */
export function checkHashPage(page: Buffer): void {
  checkPageBounds(page);
  if (pdSpecial(page) !== HASH_SPECIAL || page.readUInt16LE(HASH_SPECIAL + 14) !== HASHO_PAGE_ID) {
    throw new DbError(
      'REDO_BAD_PAGE',
      `not a hash index page: its special area starts at ${pdSpecial(page)}`,
    );
  }
}

/** The same, and that the page's type is among `types` (LH_*_PAGE bits), as _hash_checkpage does. */
export function checkHashPageType(page: Buffer, types: number): void {
  checkHashPage(page);
  const type = hashFlags(page) & LH_PAGE_TYPE;
  if ((type & types) === 0)
    throw new DbError('REDO_BAD_PAGE', `hash page has type ${type}, not one of ${types}`);
}

/** _hash_initbitmapbuffer: a bitmap page with all its overflow pages in use. */
export function hashBitmapInit(page: Buffer): void {
  hashPageInit(page, LH_BITMAP_PAGE);
  page.fill(0xff, PAGE_HEADER_SIZE, PAGE_HEADER_SIZE + HASH_BITMAP_BYTES);
  setPdLower(page, PAGE_HEADER_SIZE + HASH_BITMAP_BYTES);
}

/** Marks an overflow page as used or free; `bit` counts from the first one of this bitmap page. Throws REDO_BAD_RECORD. */
export function setBitmapBit(page: Buffer, bit: number, used: boolean): void {
  if (bit >= HASH_BITMAP_BYTES * 8)
    throw new DbError('REDO_BAD_RECORD', `no bit ${bit} in a hash bitmap page`);
  const at = PAGE_HEADER_SIZE + (bit >>> 3);
  const mask = 1 << (bit & 7);
  page[at] = used ? page[at]! | mask : page[at]! & ~mask;
}

/** pg_ceil_log2_32. */
function ceilLog2(n: number): number {
  return n < 2 ? 0 : 32 - Math.clz32(n - 1);
}

/** Up to group 9 buckets are allocated a whole power of two at a time, beyond that in four equal phases. */
const ONE_PHASE_GROUPS = 10;

/** _hash_spareindex: the splitpoint phase that bucket number `buckets` - 1 was allocated in, which indexes hashm_spares. */
export function hashSpareIndex(buckets: number): number {
  const group = ceilLog2(buckets);
  if (group < ONE_PHASE_GROUPS) return group;
  return ONE_PHASE_GROUPS + ((group - ONE_PHASE_GROUPS) << 2) + (((buckets - 1) >>> (group - 3)) & 3);
}

/** _hash_get_totalbuckets: how many buckets there are at the end of a splitpoint phase. */
export function hashTotalBuckets(phase: number): number {
  if (phase < ONE_PHASE_GROUPS) return 2 ** phase;
  const half = 2 ** (ONE_PHASE_GROUPS + ((phase - ONE_PHASE_GROUPS) >>> 2) - 1);
  return half + (half / 4) * (((phase - ONE_PHASE_GROUPS) & 3) + 1);
}

const MAX_INITIAL_BUCKETS = 0x40000000;

/** _hash_init_metabuffer: the metapage of an index made for `tuples` rows at `ffactor` rows a bucket. */
export function hashMetaInit(page: Buffer, tuples: number, procid: number, ffactor: number): void {
  const wanted = tuples / ffactor;
  let buckets = 2;
  if (wanted >= MAX_INITIAL_BUCKETS) buckets = MAX_INITIAL_BUCKETS;
  else if (wanted > 2) buckets = hashTotalBuckets(hashSpareIndex(Math.trunc(wanted)));
  const phase = hashSpareIndex(buckets);
  const highMask = 2 ** ceilLog2(buckets + 1) - 1;
  hashPageInit(page, LH_META_PAGE);
  page.writeUInt32LE(HASH_MAGIC, PAGE_HEADER_SIZE);
  page.writeUInt32LE(HASH_VERSION, PAGE_HEADER_SIZE + 4);
  page.writeUInt16LE(ffactor, M_FFACTOR);
  page.writeUInt16LE(BUCKET_BYTES, PAGE_HEADER_SIZE + 18);
  page.writeUInt16LE(HASH_BITMAP_BYTES, PAGE_HEADER_SIZE + 20);
  page.writeUInt16LE(BITMAP_SHIFT, PAGE_HEADER_SIZE + 22);
  page.writeUInt32LE(buckets - 1, M_MAXBUCKET);
  page.writeUInt32LE(highMask, M_HIGHMASK);
  page.writeUInt32LE(highMask >>> 1, M_LOWMASK);
  page.writeUInt32LE(phase, M_OVFLPOINT);
  page.writeUInt32LE(procid, M_PROCID);
  page.writeUInt32LE(1, M_SPARES + phase * 4); // the bitmap page
  setPdLower(page, META_END);
}

export function hashMaxBucket(page: Buffer): number {
  return page.readUInt32LE(M_MAXBUCKET);
}
export function setHashMaxBucket(page: Buffer, bucket: number): void {
  page.writeUInt32LE(bucket, M_MAXBUCKET);
}
export function setHashMasks(page: Buffer, low: number, high: number): void {
  page.writeUInt32LE(high, M_HIGHMASK);
  page.writeUInt32LE(low, M_LOWMASK);
}
export function setHashFirstFree(page: Buffer, bit: number): void {
  page.writeUInt32LE(bit, M_FIRSTFREE);
}
export function hashTuples(page: Buffer): number {
  return page.readDoubleLE(M_NTUPLES);
}
export function setHashTuples(page: Buffer, count: number): void {
  page.writeDoubleLE(count, M_NTUPLES);
}

/** Starts a splitpoint phase with `spares` overflow pages before it. Throws REDO_BAD_RECORD. */
export function setHashSplitpoint(page: Buffer, phase: number, spares: number): void {
  if (phase >= HASH_MAX_SPLITPOINTS) throw new DbError('REDO_BAD_RECORD', `no splitpoint phase ${phase}`);
  page.writeUInt32LE(spares, M_SPARES + phase * 4);
  page.writeUInt32LE(phase, M_OVFLPOINT);
}

/** Counts `pages` more overflow pages (bitmap pages are some) in the present splitpoint phase. Throws REDO_BAD_PAGE. */
export function addHashSpares(page: Buffer, pages: number): void {
  const phase = page.readUInt32LE(M_OVFLPOINT);
  if (phase >= HASH_MAX_SPLITPOINTS)
    throw new DbError('REDO_BAD_PAGE', `metapage at splitpoint phase ${phase}`);
  const at = M_SPARES + phase * 4;
  page.writeUInt32LE((page.readUInt32LE(at) + pages) >>> 0, at);
}

/** Appends a bitmap page to the metapage's list. Throws REDO_BAD_PAGE. */
export function addHashBitmap(page: Buffer, blkno: number): void {
  const count = page.readUInt32LE(M_NMAPS);
  if (count >= HASH_MAX_BITMAPS) throw new DbError('REDO_BAD_PAGE', `metapage with ${count} bitmap pages`);
  page.writeUInt32LE(blkno, M_MAPP + count * 4);
  page.writeUInt32LE(count + 1, M_NMAPS);
}

export interface HashTuple {
  readonly offnum: number;
  /** The line pointer is marked dead: a hint that the tid leads to no visible row. */
  readonly dead: boolean;
  readonly tid: { readonly block: number; readonly offset: number };
  readonly hash: number;
  readonly movedBySplit: boolean;
}

export interface HashMeta {
  readonly version: number;
  readonly tuples: number;
  /** Tuples a bucket that a split is due at. */
  readonly fillFactor: number;
  readonly maxBucket: number;
  readonly highMask: number;
  readonly lowMask: number;
  readonly splitpointPhase: number;
  /** Number of the first overflow page that may be free. */
  readonly firstFree: number;
  readonly procOid: number;
  /** Overflow pages before the end of each splitpoint phase, up to the present one. */
  readonly spares: readonly number[];
  /** Blocks of the bitmap pages. */
  readonly bitmaps: readonly number[];
}

export interface HashPageInfo {
  readonly type: 'unused' | 'overflow' | 'bucket' | 'bitmap' | 'meta';
  /** Previous page of the chain; of a primary bucket page: the highest bucket at its last split. */
  readonly prev: number;
  readonly next: number;
  readonly bucket: number;
  readonly flags: number;
  readonly meta: HashMeta | null;
  /** Of a bitmap page: how many of its overflow pages are free. */
  readonly freePages: number | null;
  readonly items: readonly HashTuple[];
}

const TYPE_NAMES = new Map<number, HashPageInfo['type']>([
  [LH_UNUSED_PAGE, 'unused'],
  [LH_OVERFLOW_PAGE, 'overflow'],
  [LH_BUCKET_PAGE, 'bucket'],
  [LH_BITMAP_PAGE, 'bitmap'],
  [LH_META_PAGE, 'meta'],
]);

/** Everything on a hash index page, for inspection. Throws REDO_BAD_PAGE, REDO_BAD_ITEM. */
export function parseHashPage(page: Buffer): HashPageInfo {
  checkHashPage(page);
  const flags = hashFlags(page);
  const type = TYPE_NAMES.get(flags & LH_PAGE_TYPE);
  if (type === undefined) throw new DbError('REDO_BAD_PAGE', `hash page of no known type: flags ${flags}`);
  const items: HashTuple[] = [];
  if (type === 'bucket' || type === 'overflow')
    for (let offnum = 1; offnum <= itemCount(page); offnum++) items.push(parseTuple(page, offnum));
  return {
    type, flags, items, prev: hashPrev(page), next: hashNext(page), bucket: hashBucket(page),
    meta: type === 'meta' ? parseMeta(page) : null,
    freePages: type === 'bitmap' ? countFree(page) : null,
  }; // prettier-ignore
}

function parseTuple(page: Buffer, offnum: number): HashTuple {
  const tuple = item(page, offnum);
  if (tuple.length !== HASH_TUPLE_SIZE)
    throw new DbError('REDO_BAD_ITEM', `item ${offnum}: ${tuple.length} bytes are no hash index tuple`);
  return {
    offnum,
    dead: itemFlags(page, offnum) === LP_DEAD,
    tid: { block: tuple.readUInt16LE(0) * 0x1_0000 + tuple.readUInt16LE(2), offset: tuple.readUInt16LE(4) },
    hash: tuple.readUInt32LE(8),
    movedBySplit: (tuple.readUInt16LE(6) & HASH_MOVED_BY_SPLIT) !== 0,
  };
}

function parseMeta(page: Buffer): HashMeta {
  if (page.readUInt32LE(PAGE_HEADER_SIZE) !== HASH_MAGIC)
    throw new DbError('REDO_BAD_PAGE', 'hash metapage without its magic');
  const words = (at: number, count: number): number[] =>
    Array.from({ length: count }, (_, i) => page.readUInt32LE(at + i * 4));
  const phase = page.readUInt32LE(M_OVFLPOINT);
  return {
    version: page.readUInt32LE(PAGE_HEADER_SIZE + 4),
    tuples: hashTuples(page),
    fillFactor: page.readUInt16LE(M_FFACTOR),
    maxBucket: hashMaxBucket(page),
    highMask: page.readUInt32LE(M_HIGHMASK),
    lowMask: page.readUInt32LE(M_LOWMASK),
    splitpointPhase: phase,
    firstFree: page.readUInt32LE(M_FIRSTFREE),
    procOid: page.readUInt32LE(M_PROCID),
    spares: words(M_SPARES, Math.min(phase + 1, HASH_MAX_SPLITPOINTS)),
    bitmaps: words(M_MAPP, Math.min(page.readUInt32LE(M_NMAPS), HASH_MAX_BITMAPS)),
  };
}

function countFree(page: Buffer): number {
  let free = 0;
  for (const byte of page.subarray(PAGE_HEADER_SIZE, PAGE_HEADER_SIZE + HASH_BITMAP_BYTES))
    for (let bits = ~byte & 0xff; bits !== 0; bits &= bits - 1) free++;
  return free;
}
