/** Index tuples as GiST's records carry them: back to back, each as long as its own header says. */
import { INDEX_TUPLE_HEADER_SIZE, tupleSize } from '../page/btree.js';
import { addItemBytes, itemCount } from '../page/items.js';
import { redoError } from './types.js';

/** End of the tuple that starts at `at` of `data`. Throws REDO_BAD_RECORD unless it lies in there. */
export function tupleEnd(data: Buffer, at: number): number {
  const size = at + INDEX_TUPLE_HEADER_SIZE <= data.length ? tupleSize(data, at) : 0;
  if (size < INDEX_TUPLE_HEADER_SIZE || at + size > data.length) {
    throw redoError('REDO_BAD_RECORD', `no whole index tuple at ${at} of ${data.length} bytes of block data`);
  }
  return at + size;
}

/** Appends the tuples from `at` on, `count` in number, to the items of the page. Throws REDO_BAD_RECORD, REDO_ADD_ITEM. */
export function appendTuples(page: Buffer, data: Buffer, at: number, count: number): void {
  let offnum = itemCount(page) + 1;
  let added = 0;
  for (let end = at; end < data.length; added++) {
    const start = end;
    end = tupleEnd(data, start);
    addItemBytes(page, data, start, end - start, offnum++);
  }
  if (added !== count)
    throw redoError('REDO_BAD_RECORD', `${added} index tuples in the block data instead of ${count}`);
}
