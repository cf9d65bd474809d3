/** Page images: each compression against what the original libraries make, and damage, which must give a code and nothing else. */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import fc from 'fast-check';
import { isDbError } from '../../../src/engine/errors.js';
import { lsn } from '../../../src/engine/lsn.js';
import {
  BKPIMAGE_APPLY,
  BKPIMAGE_HAS_HOLE,
  BKPIMAGE_LZ4,
  BKPIMAGE_PGLZ,
  BKPIMAGE_ZSTD,
} from '../../../src/engine/wal/format.js';
import { restoreImage } from '../../../src/engine/wal/image.js';
import { lz4Decompress } from '../../../src/engine/wal/lz4.js';
import { pglzDecompress } from '../../../src/engine/wal/pglz.js';
import type { BlockRef } from '../../../src/engine/wal/types.js';
import { zstdDecompress } from '../../../src/engine/wal/zstd.js';
import { fixturePage, HOLE, LZ4_BLOCK, withoutHole, ZSTD_FRAME } from './image-fixtures.js';

interface Lz4js {
  makeBuffer(size: number): Uint8Array;
  compressBlock(src: Uint8Array, dst: Uint8Array, at: number, length: number, table: Uint32Array): number;
}
const lz4js = createRequire(import.meta.url)('lz4js') as Lz4js;

const AT = lsn(0x1000028);

function blockOf(image: Buffer, method: number, hole = HOLE): BlockRef {
  return {
    spcOid: 1663,
    dbOid: 5,
    relNumber: 16384,
    id: 0,
    fork: 0,
    blkno: 0,
    willInit: false,
    hasImage: true,
    applyImage: true,
    imageInfo: method | BKPIMAGE_APPLY | (hole.length > 0 ? BKPIMAGE_HAS_HOLE : 0),
    holeOffset: hole.offset,
    holeLength: hole.length,
    image,
    data: Buffer.alloc(0),
  };
}

/** Throws what restoreImage throws unless it is WAL_BAD_IMAGE. */
function restoresOrRefuses(block: BlockRef): Buffer | null {
  try {
    return restoreImage(block, AT);
  } catch (err) {
    if (isDbError(err, 'WAL_BAD_IMAGE') && err.message.includes('0/1000028')) return null;
    throw err;
  }
}

describe('page images', () => {
  const page = fixturePage();
  const body = withoutHole(page);

  it('restore a plain image around its hole, into a dirty buffer too', () => {
    assert.ok(restoreImage(blockOf(body, 0), AT).equals(page));
    assert.ok(restoreImage(blockOf(body, 0), AT, Buffer.alloc(8192, 0xaa)).equals(page));
    assert.ok(
      restoreImage(blockOf(page, 0, { offset: 0, length: 0 }), AT, Buffer.alloc(8192, 1)).equals(page),
    );
  });

  it('restore what liblz4 and libzstd compressed', () => {
    assert.ok(restoreImage(blockOf(Buffer.from(LZ4_BLOCK, 'base64'), BKPIMAGE_LZ4), AT).equals(page));
    const dirty = Buffer.alloc(8192, 0xaa);
    assert.ok(
      restoreImage(blockOf(Buffer.from(ZSTD_FRAME, 'base64'), BKPIMAGE_ZSTD), AT, dirty).equals(page),
    );
  });

  it('restore zstd frames of raw and run-length blocks', () => {
    const header = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x60, 0x00, 0x1f]); // 8192 bytes, single segment
    const block = (last: number, type: number, size: number): Buffer => {
      const out = Buffer.alloc(3);
      out.writeUIntLE((size << 3) | (type << 1) | last, 0, 3);
      return out;
    };
    const frame = Buffer.concat([
      header,
      block(0, 0, 5),
      Buffer.from('hello'),
      block(1, 1, 8187),
      Buffer.from([7]),
    ]);
    const whole = { offset: 0, length: 0 };
    const expected = Buffer.concat([Buffer.from('hello'), Buffer.alloc(8187, 7)]);
    assert.ok(restoreImage(blockOf(frame, BKPIMAGE_ZSTD, whole), AT).equals(expected));
    const short = Buffer.concat([header, block(1, 1, 8186), Buffer.from([7])]);
    assert.throws(() => restoreImage(blockOf(short, BKPIMAGE_ZSTD, whole), AT), /output has 8186 bytes/);
    const long = Buffer.concat([header, block(1, 1, 8193), Buffer.from([7])]);
    assert.throws(() => restoreImage(blockOf(long, BKPIMAGE_ZSTD, whole), AT), /beyond the page/);
  });

  it('decode whatever another lz4 implementation encodes', () => {
    const runs = fc.array(
      fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.integer({ min: 1, max: 60 })),
      {
        minLength: 1,
        maxLength: 12,
      },
    );
    fc.assert(
      fc.property(runs, (parts) => {
        const plain = Buffer.concat(parts.flatMap(([bytes, times]) => Array<Uint8Array>(times).fill(bytes)));
        const packed = lz4js.makeBuffer(plain.length + 400);
        const size = lz4js.compressBlock(plain, packed, 0, plain.length, new Uint32Array(1 << 16));
        fc.pre(size > 0);
        const out = Buffer.alloc(plain.length);
        assert.equal(lz4Decompress(packed.subarray(0, size), out), null);
        assert.ok(out.equals(plain));
      }),
    );
  });

  it('decode pglz by its description', () => {
    const out = Buffer.alloc(30);
    // Literals a b c, then 9 bytes from 3 back, then 18 = 15 + 3 with the extra length byte from 1 back.
    const packed = Buffer.from([0b00011000, 0x61, 0x62, 0x63, 0x06, 0x03, 0x0f, 0x01, 0x00]);
    assert.equal(pglzDecompress(packed, out), null);
    assert.equal(out.toString(), 'abcabcabcabc' + 'c'.repeat(18));
    assert.match(
      pglzDecompress(Buffer.from([0b1, 0x00, 0x01]), out) ?? '',
      /back reference by 1 at output offset 0/,
    );
    assert.match(pglzDecompress(packed, Buffer.alloc(31)) ?? '', /output has 30 bytes/);
    assert.match(pglzDecompress(packed, Buffer.alloc(12)) ?? '', /left over/);
  });

  it('refuse every cut of an image', () => {
    for (const [bytes, method] of [
      [Buffer.from(LZ4_BLOCK, 'base64'), BKPIMAGE_LZ4],
      [Buffer.from(ZSTD_FRAME, 'base64'), BKPIMAGE_ZSTD],
      [body, 0],
    ] as const) {
      for (let n = 0; n < bytes.length; n += 7)
        assert.equal(restoresOrRefuses(blockOf(bytes.subarray(0, n), method)), null);
    }
  });

  it('give a page or WAL_BAD_IMAGE for damaged and random bytes, never anything else', () => {
    const fixtures = { lz4: Buffer.from(LZ4_BLOCK, 'base64'), zstd: Buffer.from(ZSTD_FRAME, 'base64') };
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(damage, fc.uint8Array({ maxLength: 300 }), (changes, random) => {
        for (const [name, method] of [
          ['lz4', BKPIMAGE_LZ4],
          ['zstd', BKPIMAGE_ZSTD],
        ] as const) {
          const bytes = Buffer.from(fixtures[name]);
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          const result = restoresOrRefuses(blockOf(bytes, method));
          if (result !== null) assert.equal(result.length, 8192);
        }
        for (const method of [BKPIMAGE_PGLZ, BKPIMAGE_LZ4, BKPIMAGE_ZSTD])
          restoresOrRefuses(blockOf(Buffer.from(random), method));
        const frame = Buffer.concat([fixtures.zstd.subarray(0, 7), Buffer.from(random)]);
        const target = Buffer.alloc(5592);
        const fault = zstdDecompress(frame, target);
        assert.ok(fault === null || typeof fault === 'string');
      }),
      { numRuns: 300 },
    );
  });

  it('refuse a block without an image', () => {
    assert.throws(
      () => restoreImage({ ...blockOf(body, 0), image: null, hasImage: false }, AT),
      (err) => isDbError(err, 'WAL_NO_IMAGE'),
    );
  });
});
