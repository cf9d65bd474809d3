/** PAGE_SPLIT of gistxlog.c, PostgreSQL 18: one page becomes several, all rebuilt from the record. */
import { readLsn } from '../lsn.js';
import {
  GIST_FOLLOW_RIGHT,
  GIST_LEAF,
  GIST_NO_RIGHTLINK,
  GIST_ROOT_BLOCK,
  checkGistPage,
  gistFlags,
  gistPageInit,
  setGistFlags,
  setGistNsn,
  setGistRightlink,
} from '../page/gist.js';
import type { BlockRef, WalRecord } from '../wal/types.js';
import { appendTuples } from './gist-tuples.js';
import { redoError, type PageRedo } from './types.js';

/** sizeof(gistxlogPageSplit). */
const MAIN_SIZE = 24;
const ORIG_NSN = 8;
const ORIG_LEAF = 16;
const NPAGE = 18;
const MARK_FOLLOW_RIGHT = 20;

/**
 * gistRedoClearFollowRight: the page's right sibling now has a downlink; scans that saw the parent before tell by the NSN that
 * they must go right. Runs even after an image was restored: the primary made this change after it took the image.
 */
export function clearFollowRight(page: Buffer, rec: WalRecord): void {
  checkGistPage(page);
  setGistNsn(page, rec.endLsn);
  setGistFlags(page, gistFlags(page) & ~GIST_FOLLOW_RIGHT);
}

/**
 * gistxlogPageSplit { origrlink u32, pad u32, orignsn u64, origleaf u8, pad u8, npage u16, markfollowright u8 }. Blocks: 1 ... npage the
 * pages from left to right, the first of which was split; in a split of the root, the first is the new root above the others.
 * 0: the left child of a split below, whose downlink made this page too full. Block data: count i32, the tuples.
 */
export const redoPageSplit: PageRedo = (page, rec, block) => {
  if (block.id === 0) clearFollowRight(page, rec);
  else fillPage(page, rec, block);
};

function fillPage(page: Buffer, rec: WalRecord, block: BlockRef): void {
  const main = rec.mainData;
  const { data } = block;
  if (data.length < 4) throw redoError('REDO_BAD_RECORD', `${data.length} bytes of data for a split page`);
  const isRoot = block.blkno === GIST_ROOT_BLOCK;
  const next = rec.blocks.find((other) => other.id === block.id + 1);
  let flags = main[ORIG_LEAF] !== 0 && !isRoot ? GIST_LEAF : 0;
  if (next !== undefined && main[MARK_FOLLOW_RIGHT] !== 0 && !splitsRoot(rec)) flags |= GIST_FOLLOW_RIGHT;
  gistPageInit(page, flags);
  setGistNsn(page, readLsn(main, ORIG_NSN));
  if (!isRoot) setGistRightlink(page, next?.blkno ?? main.readUInt32LE(0));
  appendTuples(page, data, 4, data.readInt32LE(0));
}

/** The root stays where it is: it comes first, and the pages it was split into follow. */
export function splitsRoot(rec: WalRecord): boolean {
  return rec.blocks.some((block) => block.id === 1 && block.blkno === GIST_ROOT_BLOCK);
}

/**
 * Not a RecordForm: a split may have as many pages as a record can name blocks (32 of them, up to id 32), too many for a bit mask.
 * Throws REDO_BAD_RECORD, REDO_UNKNOWN_RECORD.
 */
export function checkPageSplit(rec: WalRecord): void {
  const main = rec.mainData;
  if (main.length !== MAIN_SIZE)
    throw redoError('REDO_BAD_RECORD', `${main.length} bytes of main data instead of ${MAIN_SIZE}`);
  if (main[ORIG_LEAF]! > 1 || main[MARK_FOLLOW_RIGHT]! > 1)
    throw redoError('REDO_UNKNOWN_RECORD', 'unknown flags of a page split');
  const npage = main.readUInt16LE(NPAGE);
  const first = rec.blocks[0]?.id === 0 ? 1 : 0;
  const fits =
    rec.blocks.length === first + npage &&
    rec.blocks.every((b, i) => b.id === i + 1 - first && b.willInit === b.id > 0);
  if (!fits) {
    const found = rec.blocks.map((b) => `${b.id}${b.willInit ? ' (init)' : ''}`).join(', ');
    throw redoError(
      'REDO_BAD_RECORD',
      `unexpected set of block references of a split into ${npage} pages: ${found || 'none'}`,
    );
  }
  const root = splitsRoot(rec);
  if (npage < (root ? 3 : 2))
    throw redoError('REDO_BAD_RECORD', `split of ${root ? 'the root' : 'a page'} into ${npage} pages`);
  if (rec.blocks.some((b) => b.blkno === GIST_ROOT_BLOCK && b.id !== 1))
    throw redoError('REDO_BAD_RECORD', 'the root is not the first of the split pages');
  if (root && main.readUInt32LE(0) !== GIST_NO_RIGHTLINK)
    throw redoError('REDO_BAD_RECORD', `the split root had a rightlink to block ${main.readUInt32LE(0)}`);
}
