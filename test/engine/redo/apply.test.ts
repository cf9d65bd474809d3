/**
 * What this proves: the rules of the redo driver that hold for every record type (images, WILL_INIT, page LSNs, new pages), the
 * exceptions of the visibility map, and that nothing unknown passes.
 */
import assert from 'node:assert/strict';
import { isDbError } from '../../../src/engine/errors.js';
import { lsn, readPageLsn, writePageLsn } from '../../../src/engine/lsn.js';
import { pageInit, PD_ALL_VISIBLE, pdFlags } from '../../../src/engine/page/header.js';
import { heapItems } from '../../../src/engine/page/heap.js';
import { itemCount } from '../../../src/engine/page/items.js';
import { vmBitsOf } from '../../../src/engine/page/vm.js';
import {
  applyRecord,
  assertReplayable,
  changesBlock,
  compareWithImage,
} from '../../../src/engine/redo/index.js';
import { Rmgr, type WalRecord } from '../../../src/engine/wal/types.js';
import { END, record, START, u16s, u32s } from '../../helpers/redo-records.js';

const CTX = { walLogHints: false, checksums: false };
const APPLY = 0x02;

/** A heap page with `rows` rows, its LSN below the records of this test. */
function heapPage(rows: number, at = lsn(0x2000000)): Buffer {
  const page = Buffer.alloc(8192);
  pageInit(page, 0);
  for (let i = 1; i <= rows; i++) {
    writePageLsn(page, 0);
    applyRecord(page, insert(i, 7), insert(i, 7).blocks[0]!, CTX);
  }
  writePageLsn(page, at);
  return page;
}

/** xl_heap_header of a row with one column, one byte of padding after the 23 header bytes, and an int4. */
function rowData(value: number): Buffer {
  return Buffer.from([...u16s(1, 0x0800), 24, 0, ...u32s(value)]);
}

function insert(offnum: number, value: number, init = false): WalRecord {
  return record({
    rmid: Rmgr.Heap,
    info: init ? 0x80 : 0,
    main: [...u16s(offnum), 0],
    blocks: [{ blkno: 3, data: rowData(value), willInit: init }],
  });
}

function fpi(image: Buffer, info = APPLY): WalRecord {
  return record({ rmid: Rmgr.XLOG, info: 0xb0, blocks: [{ blkno: 3, image, imageInfo: info }] });
}

const visible = (flags: number): WalRecord =>
  record({
    rmid: Rmgr.Heap2,
    info: 0x40,
    main: [...u32s(0), flags],
    blocks: [{ blkno: 0, fork: 2 }, { blkno: 9 }],
  });

describe('redo: the driver', () => {
  it('restores an image over whatever the page holds, a newer page too', () => {
    const page = heapPage(2, lsn(0x9000000));
    const image = heapPage(5);
    assert.equal(applyRecord(page, fpi(image), fpi(image).blocks[0]!, CTX), 'restored');
    assert.equal(readPageLsn(page), END);
    assert.ok(page.subarray(8).equals(image.subarray(8)));
  });

  it('leaves the LSN of a restored new page at zero', () => {
    const page = heapPage(1);
    assert.equal(
      applyRecord(page, fpi(Buffer.alloc(8192)), fpi(Buffer.alloc(8192)).blocks[0]!, CTX),
      'restored',
    );
    assert.ok(page.equals(Buffer.alloc(8192)));
  });

  it('prefers the image when a record carries data as well', () => {
    const image = heapPage(1);
    const rec = record({
      rmid: Rmgr.Heap,
      info: 0,
      main: [...u16s(2), 0],
      blocks: [{ blkno: 3, data: rowData(1), image, imageInfo: APPLY }],
    });
    const page = Buffer.alloc(8192);
    assert.equal(applyRecord(page, rec, rec.blocks[0]!, CTX), 'restored');
    assert.equal(itemCount(page), 1);
  });

  it('builds a WILL_INIT page anew, whatever it held', () => {
    const rec = insert(1, 42, true);
    for (const page of [Buffer.alloc(8192), Buffer.alloc(8192, 0xee), heapPage(9, lsn(0x9000000))]) {
      assert.equal(applyRecord(page, rec, rec.blocks[0]!, CTX), 'applied');
      assert.equal(readPageLsn(page), END);
      const [item, ...others] = heapItems(page);
      assert.deepEqual(others, []);
      assert.equal(item!.tuple!.data.readInt32LE(), 42);
      assert.deepEqual(item!.tuple!.ctid, { blkno: 3, offnum: 1 });
      assert.equal(
        page.subarray(28, item!.off).every((byte) => byte === 0),
        true,
      );
    }
  });

  it('applies a delta to an older page and skips one that is as new', () => {
    const rec = insert(3, 1);
    for (const [at, result] of [
      [END - 1, 'applied'],
      [END, 'skipped'],
      [END + 1, 'skipped'],
    ] as const) {
      const page = heapPage(2, lsn(at));
      const before = Buffer.from(page);
      assert.equal(applyRecord(page, rec, rec.blocks[0]!, CTX), result);
      assert.equal(itemCount(page), result === 'applied' ? 3 : 2);
      assert.equal(readPageLsn(page), result === 'applied' ? END : at);
      assert.equal(page.equals(before), result === 'skipped');
    }
  });

  it('leaves a page that was never written alone and says so', () => {
    const rec = insert(1, 1);
    const page = Buffer.alloc(8192);
    assert.equal(applyRecord(page, rec, rec.blocks[0]!, CTX), 'notfound');
    assert.ok(page.equals(Buffer.alloc(8192)));
  });

  it('changes nothing for a hint record without an image', () => {
    const rec = record({ rmid: Rmgr.XLOG, info: 0xa0, blocks: [{ blkno: 3 }] });
    assert.equal(changesBlock(rec, rec.blocks[0]!), false);
    assert.equal(changesBlock(insert(1, 1), insert(1, 1).blocks[0]!), true);
    const page = heapPage(1);
    const before = Buffer.from(page);
    assert.equal(applyRecord(page, rec, rec.blocks[0]!, CTX), 'skipped');
    assert.ok(page.equals(before));
  });

  it('stamps the heap page of VISIBLE only where hint bits are logged', () => {
    const rec = visible(1);
    for (const [ctx, expected] of [
      [CTX, 0x2000000],
      [{ walLogHints: true, checksums: false }, END],
      [{ walLogHints: false, checksums: true }, END],
    ] as const) {
      const page = heapPage(1);
      assert.equal(applyRecord(page, rec, rec.blocks[1]!, ctx), 'applied');
      assert.equal(pdFlags(page) & PD_ALL_VISIBLE, PD_ALL_VISIBLE);
      assert.equal(readPageLsn(page), expected);
    }
  });

  it('creates the map page of VISIBLE, adds to its bits, and stamps it when they change', () => {
    const map = Buffer.alloc(8192);
    const first = visible(1);
    assert.equal(applyRecord(map, first, first.blocks[0]!, CTX), 'applied');
    assert.equal(vmBitsOf(map, 9), 1);
    assert.equal(readPageLsn(map), END);
    assert.equal(map.readUInt16LE(18), 0x2004); // initialised, not just written to

    writePageLsn(map, 5);
    applyRecord(map, visible(1), visible(1).blocks[0]!, CTX);
    assert.equal(readPageLsn(map), 5);
    applyRecord(map, visible(3), visible(3).blocks[0]!, CTX);
    assert.equal(vmBitsOf(map, 9), 3);
    assert.equal(vmBitsOf(map, 8) | vmBitsOf(map, 10), 0);
    assert.equal(readPageLsn(map), END);
  });

  it('refuses an FPI record with a block that has no image to apply', () => {
    const rec = fpi(heapPage(1), 0);
    expectCode(() => assertReplayable(rec), 'REDO_BAD_RECORD');
    expectCode(() => applyRecord(heapPage(1), rec, rec.blocks[0]!, CTX), 'REDO_BAD_RECORD');
  });

  it('finds a single wrong byte by its consistency image, and masks what may differ', () => {
    const good = heapPage(3);
    applyRecord(good, insert(4, 4), insert(4, 4).blocks[0]!, CTX);
    const rec = record({
      rmid: Rmgr.Heap,
      info: 0x02,
      main: [...u16s(4), 0],
      blocks: [{ blkno: 3, data: rowData(4), image: good, imageInfo: 0 }],
    });
    const page = heapPage(3);
    applyRecord(page, rec, rec.blocks[0]!, CTX);
    assert.equal(compareWithImage(page, rec, rec.blocks[0]!), null);

    const tuple = heapItems(page)[1]!.off;
    page[tuple + 8] = 0x55; // t_cid
    page[tuple + 21] = page[tuple + 21]! | 0x01; // XMIN_COMMITTED
    page[4000] = 0x55; // the hole
    assert.equal(compareWithImage(page, rec, rec.blocks[0]!), null);

    page[tuple + 24] = page[tuple + 24]! ^ 1;
    const mismatch = compareWithImage(page, rec, rec.blocks[0]!);
    assert.equal(mismatch?.offset, tuple + 24);
    assert.equal(mismatch?.bytes, 1);
    assert.equal(mismatch?.what, 'item 2 + 24');
  });
});

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
    ['Hash', 'REDO_UNSUPPORTED', { rmid: Rmgr.Hash, info: 0x20 }],
    ['Gin', 'REDO_UNSUPPORTED', { rmid: Rmgr.Gin, info: 0x20 }],
    ['Gist', 'REDO_UNSUPPORTED', { rmid: Rmgr.Gist, info: 0x00 }],
    ['SPGist', 'REDO_UNSUPPORTED', { rmid: Rmgr.SPGist, info: 0x10 }],
    ['BRIN', 'REDO_UNSUPPORTED', { rmid: Rmgr.BRIN, info: 0x10 }],
    ['Generic', 'REDO_UNSUPPORTED', { rmid: Rmgr.Generic, info: 0x00 }],
    ['an extension', 'REDO_UNKNOWN_RECORD', { rmid: 128, info: 0x00 }],
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

  it('but accepts the images of an unsupported index', () => {
    assertReplayable(fpi(Buffer.alloc(8192, 0x11)));
  });
});
