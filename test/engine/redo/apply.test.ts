/**
 * What this proves: the rules of the redo driver that hold for every record type (images, WILL_INIT, page LSNs, new pages), the
 * exceptions of the visibility map, and the comparison with consistency images.
 */
import assert from 'node:assert/strict';
import { lsn, readPageLsn, writePageLsn } from '../../../src/engine/lsn.js';
import { PD_ALL_VISIBLE, pdFlags } from '../../../src/engine/page/header.js';
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
import {
  APPLY,
  CTX,
  END,
  fpi,
  heapPage,
  insert,
  record,
  rowData,
  u16s,
  u32s,
} from '../../helpers/redo-records.js';

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
    assert.throws(() => assertReplayable(rec), { code: 'REDO_BAD_RECORD' });
    assert.throws(() => applyRecord(heapPage(1), rec, rec.blocks[0]!, CTX), { code: 'REDO_BAD_RECORD' });
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
