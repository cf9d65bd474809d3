/**
 * What this proves: the rules of hash redo that no server shows: changes after an image that lacks them, blocks that are referenced for
 * a lock only, the successor of a freed page, allocation in phases up to the largest index; and which records are refused.
 */
import assert from 'node:assert/strict';
import { isDbError } from '../../../src/engine/errors.js';
import { readPageLsn } from '../../../src/engine/lsn.js';
import {
  hashBitmapInit,
  hashMetaInit,
  hashPageInit,
  hashSpareIndex,
  hashTotalBuckets,
  INVALID_BLOCK,
  LH_BUCKET_BEING_POPULATED,
  LH_BUCKET_BEING_SPLIT,
  LH_BUCKET_NEEDS_SPLIT_CLEANUP,
  LH_BUCKET_PAGE,
  LH_OVERFLOW_PAGE,
  LH_PAGE_HAS_DEAD_TUPLES,
  parseHashPage,
  setHashTuples,
} from '../../../src/engine/page/hash.js';
import { addItem } from '../../../src/engine/page/items.js';
import { applyRecord, assertReplayable, changesBlock } from '../../../src/engine/redo/index.js';
import { Rmgr, type WalRecord } from '../../../src/engine/wal/types.js';
import { APPLY, CTX, END, record, u16s, u32s, type RecordSpec } from '../../helpers/redo-records.js';

const NONE = INVALID_BLOCK;
const SPLITTING = LH_BUCKET_PAGE | LH_BUCKET_BEING_SPLIT;
const POPULATED = LH_BUCKET_PAGE | LH_BUCKET_BEING_POPULATED;

const hash = (info: number, main: number[], blocks: RecordSpec['blocks']): WalRecord =>
  record({ rmid: Rmgr.Hash, info, main, blocks });

function page(flags: number, prev = NONE): Buffer {
  const bytes = Buffer.alloc(8192);
  hashPageInit(bytes, flags, prev, 5);
  return bytes;
}
function bitmap(): Buffer {
  const bytes = Buffer.alloc(8192);
  hashBitmapInit(bytes);
  return bytes;
}

/** t_tid of block 7, row `n`; t_info; the hash code. */
const tuple = (n: number): number[] => [...u16s(0, 7, n, 16), ...u32s(1000 + n), 0, 0, 0, 0];

/** xl_hash_squeeze_page. */
const squeeze = (prev: number, next: number, tuples: number, primary: number, adjacent: number): number[] => [
  ...u32s(prev, next),
  ...u16s(tuples),
  primary,
  adjacent,
];

function apply(rec: WalRecord, id: number, to: Buffer): Buffer {
  const block = rec.blocks.find((b) => b.id === id)!;
  applyRecord(to, rec, block, CTX);
  return to;
}

describe('hash redo, on its own', () => {
  it('a split marks its old bucket even if an image was restored', () => {
    const image = page(LH_BUCKET_PAGE, 3);
    const rec = hash(
      0x40,
      [...u32s(9), ...u16s(SPLITTING, POPULATED), 0],
      [{ blkno: 1, image, imageInfo: APPLY }, { blkno: 2, willInit: true }, { blkno: 0 }],
    );
    const old = parseHashPage(apply(rec, 0, Buffer.alloc(8192)));
    assert.deepEqual([old.flags, old.prev, old.bucket], [SPLITTING, 9, 5]);
    const fresh = parseHashPage(apply(rec, 1, Buffer.alloc(8192)));
    assert.deepEqual([fresh.flags, fresh.prev, fresh.bucket], [POPULATED, 9, 9]);
  });

  it('the end of a split marks both buckets even if images were restored', () => {
    const rec = hash(0x60, u16s(LH_BUCKET_PAGE | LH_BUCKET_NEEDS_SPLIT_CLEANUP, LH_BUCKET_PAGE), [
      { blkno: 1, image: page(SPLITTING), imageInfo: APPLY },
      { blkno: 2, image: page(POPULATED), imageInfo: APPLY },
    ]);
    const [old, fresh] = [0, 1].map((id) => apply(rec, id, Buffer.alloc(8192)));
    assert.equal(parseHashPage(old!).flags, LH_BUCKET_PAGE | LH_BUCKET_NEEDS_SPLIT_CLEANUP);
    assert.equal(parseHashPage(fresh!).flags, LH_BUCKET_PAGE);
    assert.deepEqual([readPageLsn(old!), readPageLsn(fresh!)], [END, END]);
  });

  it('a freed page is taken out of the chain, with a page after it too', () => {
    const rec = hash(0x80, squeeze(4, 6, 1, 0, 1), [
      { id: 0, blkno: 1 },
      { id: 1, blkno: 4, data: Buffer.from([...u16s(1), ...tuple(1)]) },
      { id: 2, blkno: 5 },
      { id: 4, blkno: 6 },
      { id: 5, blkno: 3, data: Buffer.from(u32s(33)) },
    ]);
    const write = parseHashPage(apply(rec, 1, page(LH_OVERFLOW_PAGE)));
    assert.deepEqual(
      [write.next, write.items[0]!.hash, write.items[0]!.tid],
      [6, 1001, { block: 7, offset: 1 }],
    );
    assert.equal(parseHashPage(apply(rec, 2, page(LH_OVERFLOW_PAGE))).type, 'unused');
    assert.equal(parseHashPage(apply(rec, 4, page(LH_OVERFLOW_PAGE, 5))).prev, 4);
    const map = apply(rec, 5, bitmap());
    assert.equal(parseHashPage(map).freePages, 1);
    assert.equal(map[24 + 4], 0xfd);
  });

  it('blocks that are referenced for a lock stay as they are', () => {
    const alone = hash(0x80, squeeze(5, NONE, 0, 1, 0), [
      { id: 1, blkno: 1 },
      { id: 2, blkno: 6 },
      { id: 3, blkno: 5 },
      { id: 5, blkno: 3, data: Buffer.from(u32s(2)) },
    ]);
    const moved = hash(
      0x70,
      [...u16s(1), 0],
      [
        { blkno: 1 },
        { blkno: 4, data: Buffer.from([...u16s(1), ...tuple(1)]) },
        { blkno: 5, data: Buffer.from(u16s(1)) },
      ],
    );
    const deleted = hash(0x90, [0, 0], [{ blkno: 1 }, { blkno: 4, data: Buffer.from(u16s(1)) }]);
    for (const rec of [alone, moved, deleted]) {
      assert.equal(changesBlock(rec, rec.blocks[0]!), false);
      assert.ok(rec.blocks.slice(1).every((block) => changesBlock(rec, block)));
      const primary = page(LH_BUCKET_PAGE);
      const before = Buffer.from(primary);
      assert.equal(applyRecord(primary, rec, rec.blocks[0]!, CTX), 'skipped');
      assert.ok(primary.equals(before));
    }
  });

  it('the hint that there are dead tuples goes when the record says so', () => {
    const dead = LH_BUCKET_PAGE | LH_PAGE_HAS_DEAD_TUPLES;
    const vacuumed = hash(0xc0, [...u32s(7), ...u16s(1), 0, 0, ...u16s(1)], [{ blkno: 1 }, { blkno: 0 }]);
    const deleted = (clears: number): WalRecord =>
      hash(0x90, [clears, 1], [{ id: 1, blkno: 1, data: Buffer.from(u16s(1)) }]);
    for (const [rec, id, flags] of [
      [deleted(0), 1, dead],
      [deleted(1), 1, LH_BUCKET_PAGE],
      [vacuumed, 0, LH_BUCKET_PAGE],
    ] as const) {
      const bytes = page(dead);
      addItem(bytes, Buffer.from(tuple(1)), 1);
      const left = parseHashPage(apply(rec, id, bytes));
      assert.deepEqual([left.flags, left.items], [flags, []]);
    }
    const meta = metapage();
    setHashTuples(meta, 10);
    assert.equal(parseHashPage(apply(vacuumed, 1, meta)).meta!.tuples, 9);
  });

  it('allocates buckets in phases, each of which begins where the last one ended', () => {
    assert.deepEqual([0, 1, 9, 10, 13, 14, 93].map(hashTotalBuckets), [1, 2, 512, 640, 1024, 1280, 2 ** 30]);
    for (let phase = 1; phase <= 93; phase++) {
      assert.equal(hashSpareIndex(hashTotalBuckets(phase)), phase);
      assert.equal(hashSpareIndex(hashTotalBuckets(phase - 1) + 1), phase);
    }
    const meta = Buffer.alloc(8192);
    hashMetaInit(meta, 1e13, 450, 10);
    const { maxBucket, highMask, lowMask, spares } = parseHashPage(meta).meta!;
    assert.deepEqual([maxBucket, highMask, lowMask], [2 ** 30 - 1, 2 ** 31 - 1, 2 ** 30 - 1]);
    assert.deepEqual([spares.length, spares[93]], [94, 1]);
  });
});

describe('hash redo: what is refused', () => {
  const data = Buffer.from(tuple(1));
  const whole = Buffer.from([...u16s(1), ...tuple(1)]);
  const bit = Buffer.from(u32s(1));
  const f64 = (value: number): number[] => {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleLE(value);
    return [...bytes];
  };
  const overflow = (main: number[], last: RecordSpec['blocks'] = []): WalRecord =>
    hash(0x30, main, [
      { id: 0, blkno: 9, data: bit, willInit: true },
      { id: 1, blkno: 1 },
      ...last,
      { id: 4, blkno: 0, data: bit },
    ]);
  const allocate = (flags: number[], more: number, meta?: Buffer): WalRecord =>
    hash(
      0x40,
      [...u32s(9), ...u16s(...flags), more],
      [{ blkno: 1 }, { blkno: 2, willInit: true }, { blkno: 0, ...(meta && { data: meta }) }],
    );
  const image = { image: page(LH_BUCKET_PAGE), imageInfo: APPLY };

  const cases: [string, string, WalRecord][] = [
    ['an unused opcode', 'REDO_UNKNOWN_RECORD', hash(0xd0, [], [{ blkno: 1 }])],
    ['an index of NaN rows', 'REDO_BAD_RECORD', hash(0, [...f64(NaN), ...u32s(450), ...u16s(300)], [{ blkno: 0, willInit: true }])],
    ['no rows a bucket', 'REDO_BAD_RECORD', hash(0, [...f64(9), ...u32s(450), ...u16s(0)], [{ blkno: 0, willInit: true }])],
    ['a bitmap of another size', 'REDO_UNKNOWN_RECORD', hash(0x10, u16s(2048), [{ blkno: 3, willInit: true }, { blkno: 0 }])],
    ['an insert of half a tuple', 'REDO_BAD_RECORD', hash(0x20, u16s(1), [{ blkno: 1, data: data.subarray(8) }, { blkno: 0 }])],
    ['an insert without the metapage', 'REDO_BAD_RECORD', hash(0x20, u16s(1), [{ blkno: 1, data }])],
    ['a found page without its bitmap', 'REDO_BAD_RECORD', overflow([...u16s(4096), 1])],
    ['a new page with a bitmap bit', 'REDO_BAD_RECORD', overflow([...u16s(4096), 0], [{ id: 2, blkno: 3, data: bit }])],
    ['a bool that is none', 'REDO_UNKNOWN_RECORD', overflow([...u16s(4096), 2])],
    ['a split with unknown flags', 'REDO_UNKNOWN_RECORD', allocate([SPLITTING, POPULATED], 4)],
    ['a split without its masks', 'REDO_BAD_RECORD', allocate([SPLITTING, POPULATED], 1)],
    ['a split of no bucket', 'REDO_UNKNOWN_RECORD', allocate([LH_OVERFLOW_PAGE, POPULATED], 0)],
    ['a split page without an image', 'REDO_BAD_RECORD', hash(0x50, [], [{ blkno: 1 }])],
    ['a split that ends in a split', 'REDO_UNKNOWN_RECORD', hash(0x60, u16s(SPLITTING, LH_BUCKET_PAGE), [{ blkno: 1 }, { blkno: 2 }])],
    ['a move of nothing', 'REDO_BAD_RECORD', hash(0x70, [...u16s(0), 1], [{ id: 1, blkno: 1 }, { id: 2, blkno: 4 }])],
    [
      'a locked block with an image',
      'REDO_BAD_RECORD',
      hash(0x70, [...u16s(1), 0], [{ blkno: 1, ...image }, { blkno: 4, data: whole }, { blkno: 5, data: Buffer.from(u16s(1)) }]),
    ],
    [
      'a squeeze behind another page',
      'REDO_BAD_RECORD',
      hash(0x80, squeeze(8, NONE, 0, 1, 1), [{ id: 1, blkno: 4 }, { id: 2, blkno: 5 }, { id: 5, blkno: 3, data: bit }]),
    ],
    [
      'a squeeze without the next page',
      'REDO_BAD_RECORD',
      hash(0x80, squeeze(4, 6, 0, 1, 1), [{ id: 1, blkno: 4 }, { id: 2, blkno: 5 }, { id: 5, blkno: 3, data: bit }]),
    ],
    ['a delete of nothing', 'REDO_BAD_RECORD', hash(0x90, [0, 1], [{ id: 1, blkno: 4 }])],
    ['an update of half a number', 'REDO_BAD_RECORD', hash(0xb0, u32s(1), [{ blkno: 0 }])],
    ['a list that ends early', 'REDO_BAD_RECORD', hash(0xc0, [...u32s(7), ...u16s(2), 0, 0, ...u16s(1)], [{ blkno: 1 }, { blkno: 0 }])],
  ]; // prettier-ignore
  for (const [what, code, rec] of cases)
    it(`${what}: ${code}`, () => expectCode(() => assertReplayable(rec), code));

  const onPage: [string, string, WalRecord, number, Buffer][] = [
    ['a tuple on a bitmap page', 'REDO_BAD_PAGE', hash(0x20, u16s(1), [{ blkno: 1, data }, { blkno: 0 }]), 0, bitmap()],
    ['a tuple after a gap', 'REDO_ADD_ITEM', hash(0x20, u16s(2), [{ blkno: 1, data }, { blkno: 0 }]), 0, page(LH_BUCKET_PAGE)],
    [
      'bytes that are no tuple',
      'REDO_BAD_RECORD',
      hash(0x20, u16s(1), [{ blkno: 1, data: Buffer.alloc(16, 0x55) }, { blkno: 0 }]),
      0,
      page(LH_BUCKET_PAGE),
    ],
    ['a count on a bucket page', 'REDO_BAD_PAGE', hash(0xb0, f64(1), [{ blkno: 0 }]), 0, page(LH_BUCKET_PAGE)],
    [
      'a bit beyond the bitmap',
      'REDO_BAD_RECORD',
      overflow([...u16s(4096), 1], [{ id: 2, blkno: 3, data: Buffer.from(u32s(32768)) }]),
      2,
      bitmap(),
    ],
    [
      'a splitpoint beyond the last',
      'REDO_BAD_RECORD',
      allocate([SPLITTING, POPULATED], 2, Buffer.from(u32s(98, 1))),
      2,
      metapage(),
    ],
  ]; // prettier-ignore
  for (const [what, code, rec, id, bytes] of onPage)
    it(`on the page, ${what}: ${code}`, () => {
      assertReplayable(rec);
      expectCode(() => apply(rec, id, bytes), code);
    });
});

function metapage(): Buffer {
  const bytes = Buffer.alloc(8192);
  hashMetaInit(bytes, 0, 450, 307);
  return bytes;
}

function expectCode(run: () => unknown, code: string): void {
  assert.throws(run, (err) => {
    assert.ok(isDbError(err), String(err));
    assert.equal(err.code, code, err.message);
    assert.ok(err.message.includes('0/3000100'), err.message); // START
    return true;
  });
}
