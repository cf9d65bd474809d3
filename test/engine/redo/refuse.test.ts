/** What this proves: a record that is unknown, an extension's own, or contradicts itself or its page stops redo with a coded error. */
import assert from 'node:assert/strict';
import { isDbError } from '../../../src/engine/errors.js';
import { applyRecord, assertReplayable } from '../../../src/engine/redo/index.js';
import { Rmgr } from '../../../src/engine/wal/types.js';
import {
  CTX,
  fpi,
  heapPage,
  insert,
  record,
  rowData,
  START,
  u16s,
  u32s,
} from '../../helpers/redo-records.js';

function expectCode(run: () => unknown, code: string): void {
  assert.throws(run, (err) => {
    assert.ok(isDbError(err), String(err));
    assert.equal(err.code, code, err.message);
    assert.ok(err.message.includes('0/3000100'), err.message); // START
    return true;
  });
}

describe('redo: what is refused', () => {
  const data = rowData(1);
  const cases: [string, string, Parameters<typeof record>[0]][] = [
    ['an unused Hash opcode', 'REDO_UNKNOWN_RECORD', { rmid: Rmgr.Hash, info: 0xd0 }],
    ['an unused Gin opcode', 'REDO_UNKNOWN_RECORD', { rmid: Rmgr.Gin, info: 0xa0 }],
    ['an unused Gist opcode', 'REDO_UNKNOWN_RECORD', { rmid: Rmgr.Gist, info: 0x40 }],
    ['an unused SPGist opcode', 'REDO_UNKNOWN_RECORD', { rmid: Rmgr.SPGist, info: 0x00 }],
    ['an unused BRIN opcode', 'REDO_UNKNOWN_RECORD', { rmid: Rmgr.BRIN, info: 0x60 }],
    ['an unused Generic opcode', 'REDO_UNKNOWN_RECORD', { rmid: Rmgr.Generic, info: 0x10 }],
    ['an extension', 'REDO_CUSTOM_RMGR', { rmid: 128, info: 0x00 }],
    ['the last id of an extension', 'REDO_CUSTOM_RMGR', { rmid: 255, info: 0xf0 }],
    ['an unused XLOG opcode', 'REDO_UNKNOWN_RECORD', { rmid: Rmgr.XLOG, info: 0xc0 }],
    ['an unused Transaction opcode', 'REDO_UNKNOWN_RECORD', { rmid: Rmgr.Transaction, info: 0x70 }],
    ['the dropped CommitTs SETTS', 'REDO_UNKNOWN_RECORD', { rmid: Rmgr.CommitTs, info: 0x20 }],
    [
      'INIT on a delete',
      'REDO_UNKNOWN_RECORD',
      { rmid: Rmgr.Heap, info: 0x90, main: Buffer.alloc(8), blocks: [{ blkno: 1 }] },
    ],
    [
      'an unknown insert flag',
      'REDO_UNKNOWN_RECORD',
      { rmid: Rmgr.Heap, info: 0, main: [...u16s(1), 0x40], blocks: [{ blkno: 1, data }] },
    ],
    [
      'an unknown update flag',
      'REDO_UNKNOWN_RECORD',
      {
        rmid: Rmgr.Heap,
        info: 0x20,
        main: [0, 0, 0, 0, 1, 0, 0, 0x80, 0, 0, 0, 0, 2, 0],
        blocks: [{ blkno: 1, data }],
      },
    ],
    [
      'an unknown infobit',
      'REDO_UNKNOWN_RECORD',
      { rmid: Rmgr.Heap, info: 0x60, main: [...u32s(7), ...u16s(1), 0x20, 0], blocks: [{ blkno: 1 }] },
    ],
    [
      'an unknown visibility flag',
      'REDO_UNKNOWN_RECORD',
      { rmid: Rmgr.Heap2, info: 0x40, main: [...u32s(0), 8], blocks: [{ blkno: 0, fork: 2 }, { blkno: 1 }] },
    ],
    [
      'an unknown prune flag',
      'REDO_UNKNOWN_RECORD',
      { rmid: Rmgr.Heap2, info: 0x10, main: [0, 0x01], blocks: [{ blkno: 1 }] },
    ],
    [
      'a commit that names a block',
      'REDO_BAD_RECORD',
      { rmid: Rmgr.Transaction, info: 0, main: Buffer.alloc(8), blocks: [{ blkno: 1 }] },
    ],
    [
      'an insert of the wrong length',
      'REDO_BAD_RECORD',
      { rmid: Rmgr.Heap, info: 0, main: [1, 0], blocks: [{ blkno: 1, data }] },
    ],
    ['an insert without a block', 'REDO_BAD_RECORD', { rmid: Rmgr.Heap, info: 0, main: [1, 0, 0] }],
    [
      'INIT without WILL_INIT',
      'REDO_BAD_RECORD',
      { rmid: Rmgr.Heap, info: 0x80, main: [1, 0, 0], blocks: [{ blkno: 1, data }] },
    ],
    [
      'WILL_INIT without INIT',
      'REDO_BAD_RECORD',
      { rmid: Rmgr.Heap, info: 0, main: [1, 0, 0], blocks: [{ blkno: 1, data, willInit: true }] },
    ],
    [
      'a HOT update of two pages',
      'REDO_BAD_RECORD',
      { rmid: Rmgr.Heap, info: 0x40, main: Buffer.alloc(14), blocks: [{ blkno: 1, data }, { blkno: 2 }] },
    ],
    [
      'a prefix from another page',
      'REDO_BAD_RECORD',
      {
        rmid: Rmgr.Heap,
        info: 0x20,
        main: [0, 0, 0, 0, 1, 0, 0, 0x20, 0, 0, 0, 0, 2, 0],
        blocks: [{ blkno: 1, data }, { blkno: 2 }],
      },
    ],
    [
      'dead items without a cleanup lock',
      'REDO_BAD_RECORD',
      {
        rmid: Rmgr.Heap2,
        info: 0x10,
        main: [0, 0x40],
        blocks: [{ blkno: 1, data: Buffer.from(u16s(1, 1)) }],
      },
    ],
    [
      'visibility bits on the wrong map page',
      'REDO_BAD_RECORD',
      { rmid: Rmgr.Heap2, info: 0x40, main: [...u32s(0), 1], blocks: [{ blkno: 1, fork: 2 }, { blkno: 9 }] },
    ],
    [
      'a sequence without WILL_INIT',
      'REDO_BAD_RECORD',
      { rmid: Rmgr.Sequence, info: 0, main: Buffer.alloc(53), blocks: [{ blkno: 0 }] },
    ],
  ];
  for (const [what, code, spec] of cases) {
    it(`${what}: ${code}`, () => {
      const rec = record(spec);
      assert.equal(rec.startLsn, START);
      expectCode(() => assertReplayable(rec), code);
      if (rec.blocks[0]) expectCode(() => applyRecord(heapPage(2), rec, rec.blocks[0]!, CTX), code);
    });
  }

  const onPage: [string, string, Parameters<typeof record>[0]][] = [
    [
      'an insert that leaves a gap',
      'REDO_ADD_ITEM',
      { rmid: Rmgr.Heap, info: 0, main: [...u16s(4), 0], blocks: [{ blkno: 3, data }] },
    ],
    [
      'an insert into a used slot',
      'REDO_ADD_ITEM',
      { rmid: Rmgr.Heap, info: 0, main: [...u16s(1), 0], blocks: [{ blkno: 3, data }] },
    ],
    [
      'a row larger than the room',
      'REDO_ADD_ITEM',
      {
        rmid: Rmgr.Heap,
        info: 0,
        main: [...u16s(3), 0],
        blocks: [{ blkno: 3, data: Buffer.concat([data, Buffer.alloc(8100)]) }],
      },
    ],
    [
      'a row larger than a page',
      'REDO_BAD_RECORD',
      {
        rmid: Rmgr.Heap,
        info: 0,
        main: [...u16s(3), 0],
        blocks: [{ blkno: 3, data: Buffer.concat([data, Buffer.alloc(9000)]) }],
      },
    ],
    [
      'a delete of no item',
      'REDO_BAD_ITEM',
      { rmid: Rmgr.Heap, info: 0x10, main: [...u32s(7), ...u16s(3), 0, 0], blocks: [{ blkno: 3 }] },
    ],
    [
      'a delete of item 0',
      'REDO_BAD_ITEM',
      { rmid: Rmgr.Heap, info: 0x10, main: [...u32s(7), ...u16s(0), 0, 0], blocks: [{ blkno: 3 }] },
    ],
    [
      'an in-place update of another length',
      'REDO_BAD_RECORD',
      {
        rmid: Rmgr.Heap,
        info: 0x70,
        main: [...u32s(1), ...new Array<number>(16).fill(0)],
        blocks: [{ blkno: 3, data: Buffer.alloc(3) }],
      },
    ],
    [
      'a redirection to no item',
      'REDO_BAD_ITEM',
      {
        rmid: Rmgr.Heap2,
        info: 0x10,
        main: [0, 0x24],
        blocks: [{ blkno: 3, data: Buffer.from(u16s(1, 1, 99)) }],
      },
    ],
    [
      'a list that runs past its data',
      'REDO_BAD_RECORD',
      {
        rmid: Rmgr.Heap2,
        info: 0x10,
        main: [0, 0x44],
        blocks: [{ blkno: 3, data: Buffer.from(u16s(2, 1)) }],
      },
    ],
    [
      'a list that ends before its data',
      'REDO_BAD_RECORD',
      {
        rmid: Rmgr.Heap2,
        info: 0x10,
        main: [0, 0x44],
        blocks: [{ blkno: 3, data: Buffer.from(u16s(1, 1, 5)) }],
      },
    ],
  ];
  for (const [what, code, spec] of onPage) {
    it(`on the page, ${what}: ${code}`, () => {
      const rec = record(spec);
      assertReplayable(rec);
      expectCode(() => applyRecord(heapPage(2), rec, rec.blocks[0]!, CTX), code);
    });
  }

  it('a page whose header makes no sense: REDO_BAD_PAGE', () => {
    const page = heapPage(2);
    page.writeUInt16LE(9000, 16); // pd_special
    expectCode(() => applyRecord(page, insert(3, 1), insert(3, 1).blocks[0]!, CTX), 'REDO_BAD_PAGE');
  });

  it('but accepts an image, whatever it shows', () => {
    assertReplayable(fpi(Buffer.alloc(8192, 0x11)));
  });
});
