/**
 * Visibility map arithmetic (access/heap/visibilitymap.c, PostgreSQL 18). A map page has the standard header and no special
 * area; from byte 24 on, each byte holds the two bits of four heap blocks, the lowest block in the lowest bits.
 */
import { BLCKSZ } from './constants.js';
import { PAGE_HEADER_SIZE } from './header.js';

export const VM_ALL_VISIBLE = 0x1;
export const VM_ALL_FROZEN = 0x2;
/** Both bits of a heap block. */
export const VM_VALID_BITS = 0x3;

const BITS_PER_HEAPBLOCK = 2;
const HEAPBLOCKS_PER_BYTE = 4;
/** Heap blocks that one map page covers: 32672. */
export const VM_HEAPBLOCKS_PER_PAGE = (BLCKSZ - PAGE_HEADER_SIZE) * HEAPBLOCKS_PER_BYTE;

/** Block of the map fork that covers the heap block. */
export function vmBlockOf(heapBlk: number): number {
  return Math.floor(heapBlk / VM_HEAPBLOCKS_PER_PAGE);
}

/** Position on that page of the byte with the heap block's bits, from the start of the page. */
export function vmByteOf(heapBlk: number): number {
  return PAGE_HEADER_SIZE + Math.floor((heapBlk % VM_HEAPBLOCKS_PER_PAGE) / HEAPBLOCKS_PER_BYTE);
}

/** How far the heap block's bits are shifted within that byte. */
export function vmShiftOf(heapBlk: number): number {
  return (heapBlk % HEAPBLOCKS_PER_BYTE) * BITS_PER_HEAPBLOCK;
}

/** The two bits of a heap block. `vmPage` must be map page vmBlockOf(heapBlk); all-zero if it does not exist. */
export function vmBitsOf(vmPage: Buffer, heapBlk: number): number {
  return (vmPage[vmByteOf(heapBlk)]! >>> vmShiftOf(heapBlk)) & VM_VALID_BITS;
}

/** Clears bits of one heap block; the page's LSN stays (visibilitymap_clear). */
export function vmClearBits(vmPage: Buffer, heapBlk: number, bits: number): void {
  const at = vmByteOf(heapBlk);
  vmPage[at] = vmPage[at]! & ~(bits << vmShiftOf(heapBlk));
}

/**
 * Clears the bits of `firstHeapBlk` and of all later blocks on its map page, as the truncation of a heap to that many
 * blocks does on the last map page that stays (visibilitymap_prepare_truncate).
 */
export function vmClearFrom(vmPage: Buffer, firstHeapBlk: number): void {
  const at = vmByteOf(firstHeapBlk);
  vmPage[at] = vmPage[at]! & ((1 << vmShiftOf(firstHeapBlk)) - 1);
  vmPage.fill(0, at + 1, BLCKSZ);
}
