/**
 * What this proves: posting lists of GIN are written as ginCompressPostingList writes them (bytes worked out by hand here, bytes of real pages in
 * gin.test.ts), in as much room as there is, and read back the same; damaged ones give a coded error and nothing is written out of bounds.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { isDbError } from '../../../src/engine/errors.js';
import {
  decodePostingList,
  encodePostingList,
  itemAt,
  mergeTids,
  postingListSize,
  putItem,
} from '../../../src/engine/page/gin-posting.js';

const item = (block: number, offset: number): number => block * 2048 + offset;

/** Ascending, of every distance in size: the exponent of two is drawn first. */
const ascending = fc
  .array(
    fc.integer({ min: 0, max: 36 }).chain((bits) => fc.integer({ min: 1, max: 2 ** bits })),
    { minLength: 1, maxLength: 80 },
  )
  .map((distances) => {
    let sum = 0;
    return distances.map((d) => (sum += d));
  })
  // Offset number 0 does not exist, and only the first tid is written with one.
  .filter((items) => items[0]! % 2048 !== 0);

function encode(items: readonly number[], room = 4096): { list: Buffer; written: number } {
  const out = Buffer.alloc(room + 16, 0xa5);
  const written = encodePostingList(Float64Array.from(items), 0, items.length, out, 8, room);
  const size = written === 0 ? 0 : postingListSize(out, 8, out.length);
  assert.ok(size <= room);
  assert.ok(out.subarray(0, 8).every((b) => b === 0xa5) && out.subarray(8 + room).every((b) => b === 0xa5));
  return { list: Buffer.from(out.subarray(8, 8 + size)), written };
}

function decode(list: Buffer): number[] {
  const out = new Float64Array(4096);
  return [...out.subarray(0, decodePostingList(list, 0, list.length, out, 0))];
}

describe('posting lists of GIN', () => {
  it('are the first tid, the number of bytes, and distances of 7 bits a byte', () => {
    const items = [
      item(0, 1),
      item(0, 2),
      item(1, 1),
      item(70000, 5),
      item(70000, 2047),
      item(0xffffffff, 2047),
    ];
    const distances = '01' + 'ff0f' + '84f0ad44' + 'fa0f' + '80f0d1bbffff01';
    assert.equal(encode(items).list.toString('hex'), '000000000100' + '1000' + distances);
    assert.deepEqual(decode(encode(items).list), items);
  });

  it('hold the largest distance in seven bytes', () => {
    const { list } = encode([item(0, 1), 2 ** 43 - 1]);
    assert.equal(list.toString('hex'), '0000000001000700' + 'feffffffffff01' + '00');
    assert.deepEqual(decode(list), [1, 2 ** 43 - 1]);
  });

  it('keep block numbers high half first', () => {
    const tid = Buffer.alloc(6);
    putItem(tid, 0, item(0xfedcba98, 291));
    assert.equal(tid.toString('hex'), 'dcfe98ba2301');
    assert.equal(itemAt(tid, 0), item(0xfedcba98, 291));
  });

  it('come back as they went in', () => {
    fc.assert(
      fc.property(ascending, (items) => {
        const { list, written } = encode(items);
        assert.equal(written, items.length);
        assert.deepEqual(decode(list), items);
      }),
    );
  });

  it('take in as many items as the room allows, not one less', () => {
    fc.assert(
      fc.property(ascending, fc.integer({ min: 0, max: 300 }), (items, room) => {
        const { written } = encode(items, room);
        const sizeOf = (n: number): number => encode(items.slice(0, n)).list.length;
        if (written > 0) assert.ok(sizeOf(written) <= room);
        if (written < items.length) assert.ok(sizeOf(written + 1) > (room & ~1));
      }),
    );
  });

  it('are merged with tids in order', () => {
    fc.assert(
      fc.property(ascending, ascending, (a, b) => {
        // Parity keeps the two apart.
        const olds = a.map((i) => i * 2);
        const offsets = [...new Set(b.map((i) => (i * 2 + 1) % 2 ** 40))].sort((x, y) => x - y);
        const tids = Buffer.alloc(offsets.length * 6);
        offsets.forEach((value, i) => putItem(tids, i * 6, value));
        const out = new Float64Array(400);
        const n = mergeTids(Float64Array.from(olds), olds.length, tids, 0, offsets.length, out);
        assert.deepEqual(
          [...out.subarray(0, n)],
          [...olds, ...offsets].sort((x, y) => x - y),
        );
      }),
    );
  });

  it('are refused when items repeat or descend', () => {
    for (const items of [
      [5, 5],
      [9, 7],
    ])
      assert.throws(() => encode(items), { code: 'REDO_BAD_ITEM' });
  });

  it('are refused when cut off, too long, or with a tid that cannot be', () => {
    const bad: Record<string, string> = {
      'no room for the header': '00000000010001',
      'more bytes than there are': '0000000001000400' + '0101',
      'a distance without its end': '0000000001000200' + '0180',
      'a distance of nothing': '0000000001000200' + '0100',
      'a distance of eight bytes': '0000000001000800' + '8080808080808001',
      'a tid beyond the last block': '0000000001000700' + 'ffffffffffff0100',
      'offset number zero': '0000000000000200' + '0101',
      'an offset number of twelve bits': '0000000000080200' + '0101',
    };
    for (const [what, hex] of Object.entries(bad))
      assert.throws(() => decode(Buffer.from(hex, 'hex')), { code: 'REDO_BAD_ITEM' }, what);
    const out = new Float64Array(3);
    const list = encode([1, 2, 3, 4]).list;
    assert.throws(() => decodePostingList(list, 0, list.length, out, 0), { code: 'REDO_BAD_ITEM' });
  });

  it('give ascending items or a coded error, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(60), (bytes, nbytes) => {
        const list = Buffer.concat([Buffer.from([0, 0, 3, 0, 7, 0, nbytes, 0]), bytes]);
        try {
          const items = decode(list);
          items.forEach((value, i) => assert.ok(i === 0 || (value > items[i - 1]! && value < 2 ** 43)));
        } catch (err) {
          if (!isDbError(err)) throw err;
          assert.equal(err.code, 'REDO_BAD_ITEM');
        }
      }),
    );
  });
});
