/** What may differ between a replayed hash index page and the primary's: hash_mask of hash_xlog.c, PostgreSQL 18. */
import {
  LH_BITMAP_PAGE,
  LH_BUCKET_PAGE,
  LH_META_PAGE,
  LH_OVERFLOW_PAGE,
  LH_PAGE_HAS_DEAD_TUPLES,
  LH_UNUSED_PAGE,
  checkHashPage,
  hashFlags,
  setHashFlags,
} from '../page/hash.js';
import {
  maskHintBits,
  maskLpFlags,
  maskLsnAndChecksum,
  maskPageContent,
  maskUnusedSpace,
} from './mask-common.js';

const PAGE_TYPE = LH_OVERFLOW_PAGE | LH_BUCKET_PAGE | LH_BITMAP_PAGE | LH_META_PAGE;

/**
 * Masks `page` in place, for comparison only: LSN, checksum, header hints and the hole; all of a page that is free; dead marks of
 * tuples, and the hint that there are some. Throws REDO_BAD_PAGE.
 */
export function maskHash(page: Buffer, _blkno: number): void {
  checkHashPage(page);
  maskLsnAndChecksum(page);
  maskHintBits(page);
  maskUnusedSpace(page);
  const type = hashFlags(page) & PAGE_TYPE;
  if (type === LH_UNUSED_PAGE) maskPageContent(page);
  else if (type === LH_BUCKET_PAGE || type === LH_OVERFLOW_PAGE) maskLpFlags(page);
  setHashFlags(page, hashFlags(page) & ~LH_PAGE_HAS_DEAD_TUPLES);
}
