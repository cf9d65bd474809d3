/** Full-page images back to pages (xlogreader.c RestoreBlockImage): decompress, then put the hole's zeros back. */
import { DbError } from '../errors.js';
import { formatLsn, type Lsn } from '../lsn.js';
import { BLCKSZ } from '../page/constants.js';
import { BKPIMAGE_COMPRESSED, BKPIMAGE_LZ4, BKPIMAGE_PGLZ } from './format.js';
import { lz4Decompress } from './lz4.js';
import { pglzDecompress } from './pglz.js';
import type { BlockRef } from './types.js';
import { zstdDecompress } from './zstd.js';

/**
 * The 8192-byte page that `block`'s image stands for, written into `into` when given (8192 bytes; every byte is overwritten).
 * `lsnForErrors` is the record's start. Throws WAL_NO_IMAGE, or WAL_BAD_IMAGE when the bytes do not make a page.
 */
export function restoreImage(block: BlockRef, lsnForErrors: Lsn, into?: Buffer): Buffer {
  const { image, holeOffset, holeLength } = block;
  if (image === null) {
    throw new DbError(
      'WAL_NO_IMAGE',
      `block reference ${block.id} of the WAL record at ${formatLsn(lsnForErrors)} has no page image`,
      { reaction: 'bug' },
    );
  }
  const page = into ?? Buffer.allocUnsafe(BLCKSZ);
  const size = BLCKSZ - holeLength;
  if (page.length !== BLCKSZ || holeOffset > size)
    throw badImage(block, lsnForErrors, `hole ${holeOffset}+${holeLength} in a page of ${page.length} bytes`);
  const method = block.imageInfo & BKPIMAGE_COMPRESSED;
  if (method === 0) {
    if (image.length !== size) throw badImage(block, lsnForErrors, `${image.length} bytes, expected ${size}`);
    image.copy(page, 0, 0, holeOffset);
    image.copy(page, holeOffset + holeLength, holeOffset, size);
  } else {
    // Decompressed in place, then what follows the hole moves up: no second buffer.
    const fault = decompress(image, page.subarray(0, size), method);
    if (fault !== null) throw badImage(block, lsnForErrors, fault);
    if (holeLength > 0) page.copyWithin(holeOffset + holeLength, holeOffset, size);
  }
  page.fill(0, holeOffset, holeOffset + holeLength);
  return page;
}

function decompress(image: Buffer, target: Buffer, method: number): string | null {
  if (method === BKPIMAGE_PGLZ) return pglzDecompress(image, target);
  if (method === BKPIMAGE_LZ4) return lz4Decompress(image, target);
  return zstdDecompress(image, target);
}

function badImage(block: BlockRef, start: Lsn, what: string): DbError {
  return new DbError(
    'WAL_BAD_IMAGE',
    `page image of block reference ${block.id} in the WAL record at ${formatLsn(start)} cannot be restored: ${what}`,
    { details: { lsn: start } },
  );
}
