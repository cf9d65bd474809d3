/** Posting list splits: _bt_swap_posting of nbtdedup.c, and reading index tuples out of a record's block data. */
import { INDEX_TUPLE_HEADER_SIZE, TID_SIZE, checkPosting, postingCount, tupleSize } from '../page/btree.js';
import { redoError } from './types.js';

/**
 * A new tuple's tid lies inside an existing posting list: the list takes it in at `postingOff` and gives up its last tid, which
 * becomes the tid of the new tuple. Both tuples are changed in place and keep their sizes. `offnum` is the posting list's, for messages.
 * Throws REDO_BAD_ITEM, REDO_BAD_RECORD.
 */
export function swapPosting(newItem: Buffer, posting: Buffer, postingOff: number, offnum: number): void {
  if (posting.length < INDEX_TUPLE_HEADER_SIZE)
    throw redoError('REDO_BAD_ITEM', `item ${offnum} is no index tuple`);
  const tids = checkPosting(posting, 0, posting.length, offnum);
  const count = postingCount(posting, 0);
  if (!(postingOff > 0 && postingOff < count)) {
    throw redoError('REDO_BAD_RECORD', `posting list of ${count} tids cannot be split at ${postingOff}`);
  }
  const gap = tids + postingOff * TID_SIZE;
  const last = tids + (count - 1) * TID_SIZE;
  const lastTid = Buffer.from(posting.subarray(last, last + TID_SIZE));
  posting.copyWithin(gap + TID_SIZE, gap, last);
  newItem.copy(posting, gap, 0, TID_SIZE);
  lastTid.copy(newItem);
}

/** Aligned size of the index tuple at `at` of a record's data. Throws REDO_BAD_RECORD if it does not lie in there. */
export function tupleSpan(data: Buffer, at: number): number {
  const size = at + INDEX_TUPLE_HEADER_SIZE <= data.length ? tupleSize(data, at) : 0;
  const span = (size + 7) & ~7;
  if (size < INDEX_TUPLE_HEADER_SIZE || at + span > data.length) {
    throw redoError(
      'REDO_BAD_RECORD',
      `no whole index tuple at byte ${at} of ${data.length} bytes of block data`,
    );
  }
  return span;
}
