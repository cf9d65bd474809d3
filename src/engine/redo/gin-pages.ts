/** What the record types of GIN share, and the mask of its pages (gin_mask of ginxlog.c, PostgreSQL 18). */
import {
  GIN_DATA,
  GIN_DELETED,
  GIN_INCOMPLETE_SPLIT,
  GIN_LEAF,
  GIN_LIST,
  GIN_META,
  checkGinPage,
  ginFlags,
  setGinFlags,
} from '../page/gin.js';
import { PAGE_HEADER_SIZE, pdLower } from '../page/header.js';
import { maskHintBits, maskLsnAndChecksum, maskPageContent, maskUnusedSpace } from './mask-common.js';
import { redoError } from './types.js';

const KIND_MASK = GIN_DATA | GIN_LEAF | GIN_DELETED | GIN_META | GIN_LIST;

/** Throws REDO_BAD_PAGE unless the page is of that kind: GIN_DATA, GIN_LEAF and GIN_LIST in any combination that exists. */
export function expectKind(page: Buffer, kind: number): void {
  checkGinPage(page);
  const flags = ginFlags(page);
  if ((flags & KIND_MASK) !== kind)
    throw redoError(
      'REDO_BAD_PAGE',
      `GIN page flags 0x${flags.toString(16)} instead of 0x${kind.toString(16)}`,
    );
}

/** A page of a posting tree, leaf or not. */
export function expectDataPage(page: Buffer): void {
  checkGinPage(page);
  expectKind(page, GIN_DATA | (ginFlags(page) & GIN_LEAF));
}

/** ginRedoClearIncompleteSplit: the page's right sibling now has a downlink. `data` tells the tree that it belongs to. */
export function clearIncompleteSplit(page: Buffer, data: boolean): void {
  checkGinPage(page);
  const flags = ginFlags(page);
  expectKind(page, (data ? GIN_DATA : 0) | (flags & GIN_LEAF));
  setGinFlags(page, flags & ~GIN_INCOMPLETE_SPLIT);
}

/**
 * Masks `page` in place, for comparison only: LSN, checksum, header hints (pd_prune_xid with them), and the hole where pd_lower is set; of a deleted
 * page all content, because redo empties pages of the pending list that the primary only marks. Throws REDO_BAD_PAGE.
 */
export function maskGin(page: Buffer, _blkno: number): void {
  checkGinPage(page);
  maskLsnAndChecksum(page);
  maskHintBits(page);
  if ((ginFlags(page) & GIN_DELETED) !== 0) maskPageContent(page);
  else if (pdLower(page) > PAGE_HEADER_SIZE) maskUnusedSpace(page);
}
