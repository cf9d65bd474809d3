/** A mismatch is shown whatever the pages hold: index tuples with their tid, page kinds without line pointers, garbage; and never at great length. */
import assert from 'node:assert/strict';
import { addItem } from '../../../src/engine/page/items.js';
import { btPageInit } from '../../../src/engine/page/btree.js';
import { setPdLower } from '../../../src/engine/page/header.js';
import { formatMismatch, type Mismatch } from '../../../src/engine/verify/index.js';
import { Rmgr } from '../../../src/engine/wal/types.js';
import { heapPage, record, u16s } from '../../helpers/redo-records.js';

function mismatch(rmid: number, ours: Buffer, theirs: Buffer): Mismatch {
  const rec = record({ rmid, info: 0, main: [...u16s(1), 0], blocks: [{ blkno: 3 }] });
  const pages = { ours, theirs, maskedOurs: ours, maskedTheirs: theirs };
  return { kind: 'page', rec, block: rec.blocks[0]!, type: 'X/Y', ...pages, summary: 'they differ' };
}

/** (block, offset), t_info with the size, a key. */
function indexTuple(block: number, offset: number, key: number): Buffer {
  return Buffer.from([...u16s(block >>> 16, block & 0xffff, offset, 16), key, 0, 0, 0, 0, 0, 0, 0]);
}

describe('diff of two pages', () => {
  it('names the tid of index tuples', () => {
    const [ours, theirs] = [Buffer.alloc(8192), Buffer.alloc(8192)];
    for (const page of [ours, theirs]) {
      btPageInit(page);
      addItem(page, indexTuple(7, 1, 0xaa), 1);
    }
    addItem(ours, indexTuple(70000, 2, 0xbb), 2);
    addItem(theirs, indexTuple(70000, 3, 0xbb), 2);
    const lines = formatMismatch(mismatch(Rmgr.Btree, ours, theirs));
    assert.deepEqual(
      lines.filter((line) => /tuple|tid/.test(line)),
      [
        '  tuple 2',
        '    here        tid (70000,2) size 16 flags 0x0',
        '    PostgreSQL  tid (70000,3) size 16 flags 0x0',
      ],
    );
    assert.ok(!lines.some((line) => line.startsWith('item')), lines.join('\n'));
  });

  it('shows only bytes where a page keeps something else than line pointers', () => {
    const [ours, theirs] = [Buffer.alloc(8192), Buffer.alloc(8192)];
    for (const page of [ours, theirs]) {
      btPageInit(page);
      page.fill(0x77, 24, 1024);
      setPdLower(page, 1024);
    }
    ours[100] = 0;
    const lines = formatMismatch(mismatch(Rmgr.Gin, ours, theirs));
    assert.equal(lines.length, 4);
    assert.match(
      lines[3]!,
      /^ {4}96 +77777777 00777777 77777777 77777777 +77777777 77777777 77777777 77777777$/,
    );
  });

  it('says "applied twice" of a record that does not bear repetition', () => {
    const lines = formatMismatch({ ...mismatch(Rmgr.Heap, heapPage(1), heapPage(2)), kind: 'repeat' });
    assert.match(lines[2]!, /replayed here +applied twice$/);
  });

  it('copes with garbage, in bounded length', () => {
    const right = heapPage(200);
    let state = 7;
    const byte = (): number => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) >>> 24;
    for (let round = 0; round < 200; round++) {
      const ours = Buffer.from(right);
      for (let n = 1 << (round % 12); n > 0; n--)
        ours[(byte() * 256 + byte()) % (round % 2 ? 8192 : 400)] = byte();
      for (const rmid of [Rmgr.Heap, Rmgr.Btree, Rmgr.SPGist])
        for (const [a, b] of [[ours, right] as const, [right, ours] as const]) {
          const lines = formatMismatch(mismatch(rmid, a, b));
          assert.ok(lines.length <= 90, `${lines.length} lines`);
          assert.ok(lines.every((line) => line.length < 1300));
        }
    }
  });
});
