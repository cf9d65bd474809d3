/** One record's bytes: every rule about lengths, ids and flags, and no way to make the decoder read past the end. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { isDbError } from '../../../src/engine/errors.js';
import { lsn } from '../../../src/engine/lsn.js';
import { recordCrc } from '../../../src/engine/wal/crc32c.js';
import { decodeRecord } from '../../../src/engine/wal/decode.js';
import { describeRecord, formatRecord } from '../../../src/engine/wal/describe.js';
import { encodeRecord } from '../../../src/engine/wal/writer.js';
import { arbitraryContent } from './log-builder.js';

const START = lsn(0x2000028);
const END = lsn(0x2000100);

/** A record whose body is exactly `body`, with a right length and checksum. */
function recordOf(body: readonly number[] | Buffer): Buffer {
  const raw = Buffer.concat([Buffer.alloc(24), Buffer.from(body)]);
  raw.writeUInt32LE(raw.length, 0);
  raw[17] = 10;
  raw.writeUInt32LE(recordCrc(raw), 20);
  return raw;
}

function codeOf(raw: Buffer): string {
  try {
    decodeRecord(raw, START, END);
    return 'none';
  } catch (err) {
    if (!isDbError(err)) throw err;
    assert.match(err.message, /WAL record at 0\/2000028/);
    return err.code;
  }
}

const REL = [0x7f, 6, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0];
const BLK = [9, 0, 0, 0];
const u16 = (n: number): number[] => [n & 255, n >> 8];
/** Block header with an image header of these values. */
const withImage = (length: number, offset: number, info: number, hole: number[] = []): number[] => [
  ...[0, 0x10, 0, 0, ...u16(length), ...u16(offset), info, ...hole, ...REL, ...BLK],
];

describe('WAL record decoder', () => {
  it('leaves the buffers as views into the record', () => {
    const raw = recordOf([0, 0x20, 2, 0, ...REL, ...BLK, 255, 3, 7, 8, 1, 2, 3]);
    const rec = decodeRecord(raw, START, END);
    raw[raw.length - 1] = 99;
    assert.deepEqual([...rec.mainData], [1, 2, 99]);
    assert.deepEqual([...rec.blocks[0]!.data], [7, 8]);
    assert.equal(rec.blocks[0]!.relNumber, 1);
    assert.equal(rec.blocks[0]!.blkno, 9);
  });

  const cases: [string, string, number[]][] = [
    ['an empty body', 'none', []],
    ['a block without data', 'none', [0, 0, 0, 0, ...REL, ...BLK]],
    ['a data flag without data', 'WAL_BAD_BLOCK_REF', [0, 0x20, 0, 0, ...REL, ...BLK]],
    ['data without its flag', 'WAL_BAD_BLOCK_REF', [0, 0, 1, 0, ...REL, ...BLK, 1]],
    ['an unknown fork', 'WAL_BAD_BLOCK_REF', [0, 0x04, 0, 0, ...REL, ...BLK]],
    ['same relation as none', 'WAL_BAD_BLOCK_REF', [0, 0x80, 0, 0, ...BLK]],
    ['same relation as before', 'none', [0, 0, 0, 0, ...REL, ...BLK, 3, 0x80, 0, 0, ...BLK]],
    ['ids that do not ascend', 'WAL_BAD_BLOCK_REF', [1, 0, 0, 0, ...REL, ...BLK, 1, 0x80, 0, 0, ...BLK]],
    ['an id between blocks and fragments', 'WAL_BAD_RECORD', [33, 0, 0, 0, ...REL, ...BLK]],
    ['a block header cut short', 'WAL_BAD_RECORD', [0, 0, 0, 0, ...REL, 1]],
    ['a relation cut short', 'WAL_BAD_RECORD', [0, 0, 0, 0, 1, 2, 3]],
    ['an origin cut short', 'WAL_BAD_RECORD', [253, 1]],
    ['a top-level xid cut short', 'WAL_BAD_RECORD', [252, 1, 2]],
    ['less data than announced', 'WAL_BAD_RECORD', [255, 5, 1, 2]],
    ['more data than announced', 'WAL_BAD_RECORD', [255, 1, 1, 2]],
    ['long data cut short', 'WAL_BAD_RECORD', [254, 1, 0, 0]],
    ['long data beyond the record', 'WAL_BAD_RECORD', [254, 255, 255, 255, 255, 1]],
    ['a hole without an offset', 'WAL_BAD_IMAGE', [...withImage(100, 0, 0x03), ...Buffer.alloc(100)]],
    ['a hole beyond the page', 'WAL_BAD_IMAGE', [...withImage(100, 200, 0x03), ...Buffer.alloc(100)]],
    ['a proper hole', 'none', [...withImage(100, 100, 0x03), ...Buffer.alloc(100)]],
    [
      'a whole image with a hole flag',
      'WAL_BAD_IMAGE',
      [...withImage(8192, 100, 0x01), ...Buffer.alloc(8192)],
    ],
    ['a short image without a hole', 'WAL_BAD_IMAGE', [...withImage(100, 0, 0x02), ...Buffer.alloc(100)]],
    ['an offset without a hole', 'WAL_BAD_IMAGE', [...withImage(8192, 5, 0x02), ...Buffer.alloc(8192)]],
    ['unknown image flags', 'WAL_BAD_IMAGE', [...withImage(8192, 0, 0x22), ...Buffer.alloc(8192)]],
    ['two compressions', 'WAL_BAD_IMAGE', [...withImage(50, 0, 0x0c), ...Buffer.alloc(50)]],
    [
      'a compressed image of page size',
      'WAL_BAD_IMAGE',
      [...withImage(8192, 0, 0x04), ...Buffer.alloc(8192)],
    ],
    ['an image above page size', 'WAL_BAD_IMAGE', [...withImage(9000, 0, 0x04), ...Buffer.alloc(9000)]],
    ['a compressed image with a hole', 'none', [...withImage(50, 24, 0x0b, u16(8000)), ...Buffer.alloc(50)]],
    [
      'a compressed image, hole too long',
      'WAL_BAD_IMAGE',
      [...withImage(50, 300, 0x0b, u16(8000)), ...Buffer.alloc(50)],
    ],
  ];
  for (const [what, code, body] of cases)
    it(`${code === 'none' ? 'takes' : 'refuses'} ${what}`, () => {
      assert.equal(codeOf(recordOf(body)), code);
    });

  it('refuses a length that is not the bytes given, and a wrong checksum unless told not to look', () => {
    const raw = recordOf([255, 1, 42]);
    assert.equal(codeOf(raw.subarray(0, raw.length - 1)), 'WAL_BAD_LENGTH');
    assert.equal(codeOf(raw.subarray(0, 3)), 'WAL_BAD_LENGTH');
    raw[4]! ^= 1;
    assert.equal(codeOf(raw), 'WAL_BAD_CRC');
    assert.equal(decodeRecord(raw, START, END, { crc: false }).mainData[0], 42);
  });

  it('meets garbage with a right checksum calmly: a record that adds up, or a code; its description too', () => {
    const body = fc.oneof(
      fc.uint8Array({ maxLength: 120 }),
      arbitraryContent.map((c) => encodeRecord({ ...c, prevLsn: lsn(0) }).subarray(24, 400)),
    );
    fc.assert(
      fc.property(body, fc.nat(21), fc.nat(15), fc.nat(), fc.nat(255), (bytes, rmid, op, at, value) => {
        const changed = Buffer.from(bytes);
        if (changed.length > 0) changed[at % changed.length] = value;
        const raw = recordOf(changed);
        raw[16] = op << 4;
        raw[17] = rmid;
        try {
          const rec = decodeRecord(raw, START, END, { crc: false });
          const payload =
            rec.mainData.length +
            rec.blocks.reduce((sum, b) => sum + b.data.length + (b.image?.length ?? 0), 0);
          assert.ok(payload <= changed.length);
          describeRecord(rec);
          formatRecord(rec);
        } catch (err) {
          if (!isDbError(err) || !err.code.startsWith('WAL_')) throw err;
        }
      }),
      { numRuns: 3000 },
    );
  });
});
