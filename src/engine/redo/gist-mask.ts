/** What may differ between a replayed GiST page and the primary's: gist_mask of gistxlog.c, PostgreSQL 18. */
import {
  GIST_FOLLOW_RIGHT,
  GIST_HAS_GARBAGE,
  GIST_LEAF,
  checkGistPage,
  gistFlags,
  setGistFlags,
  setGistNsn,
} from '../page/gist.js';
import { maskHintBits, maskLpFlags, maskLsnAndChecksum, maskUnusedSpace } from './mask-common.js';

/**
 * Masks `page` in place, for comparison only: LSN, checksum, header hints and the hole; NSN and FOLLOW_RIGHT, which the primary sets after it
 * took the image; dead marks of leaf items (on a deleted leaf this hits two bits of its deleteXid, as in PostgreSQL); the
 * garbage hint. Throws REDO_BAD_PAGE.
 */
export function maskGist(page: Buffer, _blkno: number): void {
  checkGistPage(page);
  maskLsnAndChecksum(page);
  maskHintBits(page);
  maskUnusedSpace(page);
  const flags = gistFlags(page);
  setGistNsn(page, 0);
  if ((flags & GIST_LEAF) !== 0) maskLpFlags(page);
  setGistFlags(page, (flags | GIST_FOLLOW_RIGHT) & ~GIST_HAS_GARBAGE);
}
