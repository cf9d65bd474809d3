/**
 * What this proves: what no server of today can be made to write about GIN (leaves from before 9.4), what the comparison with its pages hides (who
 * deleted a page), and that records which PostgreSQL 18 does not write are refused.
 */
import assert from 'node:assert/strict';
import { lsn, writePageLsn } from '../../../src/engine/lsn.js';
import { setTidBlock, setTidOffset } from '../../../src/engine/page/btree.js';
import {
  GIN_COMPRESSED,
  GIN_DATA,
  GIN_DELETED,
  GIN_LEAF,
  GIN_LIST,
  GIN_MAX_POSTING_ITEMS,
  NO_BLOCK,
  ginPageInit,
  parseGinPage,
  setGinMaxoff,
  setGinRightlink,
  setPostingItemChild,
  setPostingItemCount,
  type GinPageInfo,
} from '../../../src/engine/page/gin.js';
import { encodePostingList, postingListSize } from '../../../src/engine/page/gin-posting.js';
import { pdLower, pdPruneXid, setPdLower } from '../../../src/engine/page/header.js';
import { applyRecord, assertReplayable } from '../../../src/engine/redo/index.js';
import { Rmgr, type WalRecord } from '../../../src/engine/wal/types.js';
import { APPLY, CTX, record, u16s, u32s, type RecordSpec } from '../../helpers/redo-records.js';

const [CREATE_PTREE, INSERT, SPLIT, VACUUM_PAGE, DELETE_PAGE] = [0x10, 0x20, 0x30, 0x40, 0x50] as const;
const [UPDATE_META, INSERT_LIST, DELETE_LIST, VACUUM_LEAF] = [0x60, 0x70, 0x80, 0x90] as const;
const [DELETE, ADD, REPLACE, ADDITEMS] = [1, 2, 3, 4] as const;

type Pair = readonly [block: number, offset: number];

const gin = (info: number, main: number[], blocks: RecordSpec['blocks']): WalRecord =>
  record({ rmid: Rmgr.Gin, info, main, blocks });

function tids(...pairs: Pair[]): number[] {
  return pairs.flatMap(([block, offset]) => [...u16s(block >>> 16, block & 0xffff), ...u16s(offset)]);
}

function list(...pairs: Pair[]): number[] {
  const out = Buffer.alloc(4096);
  const items = Float64Array.from(pairs, ([block, offset]) => block * 2048 + offset);
  encodePostingList(items, 0, items.length, out, 0, out.length);
  return [...out.subarray(0, postingListSize(out, 0, out.length))];
}

const blockId = (blkno: number): number[] => u16s(blkno >>> 16, blkno & 0xffff);

/** Changes of a posting tree leaf: [segment, type, ...what belongs to it]. */
function actions(...each: number[][]): Buffer {
  return Buffer.from([...u16s(each.length), ...each.flat()]);
}

function ginPage(flags: number): Buffer {
  const page = Buffer.alloc(8192);
  ginPageInit(page, flags);
  writePageLsn(page, lsn(0x2000000));
  return page;
}

/** A leaf as PostgreSQL 9.3 left it: an array of tids, and pd_lower where PageInit put it. */
function oldLeaf(...pairs: Pair[]): Buffer {
  const page = ginPage(GIN_DATA | GIN_LEAF);
  Buffer.from(tids(...pairs)).copy(page, 32);
  setGinMaxoff(page, pairs.length);
  return page;
}

function leaf(...lists: number[][]): Buffer {
  const page = ginPage(GIN_DATA | GIN_LEAF | GIN_COMPRESSED);
  const bytes = Buffer.from(lists.flat());
  bytes.copy(page, 32);
  setPdLower(page, 32 + bytes.length);
  return page;
}

function internal(...children: number[]): Buffer {
  const page = ginPage(GIN_DATA);
  children.forEach((child, i) => {
    setPostingItemChild(page, i + 1, child);
    setTidOffset(page, 32 + i * 10 + 4, i + 1);
  });
  setPostingItemCount(page, children.length);
  return page;
}

function apply(page: Buffer, rec: WalRecord, index = 0): GinPageInfo {
  assert.equal(applyRecord(page, rec, rec.blocks[index]!, CTX), 'applied');
  return parseGinPage(page);
}

const pairsOf = (info: GinPageInfo): Pair[][] =>
  info.segments.map((s) => s.tids.map(({ block, offset }) => [block, offset] as const));

const insertLeaf = (data: Buffer): WalRecord => gin(INSERT, u16s(3), [{ blkno: 5, data }]);

describe('redo of GIN: leaves from before PostgreSQL 9.4', () => {
  const old: Pair[] = [
    [1, 1],
    [1, 9],
    [70000, 3],
  ];

  it('become one compressed segment before the change', () => {
    const page = oldLeaf(...old);
    const info = apply(page, insertLeaf(actions([0, ADDITEMS, ...u16s(2), ...tids([1, 4], [70000, 4])])));
    assert.deepEqual(pairsOf(info), [
      [
        [1, 1],
        [1, 4],
        [1, 9],
        [70000, 3],
        [70000, 4],
      ],
    ]);
    assert.equal(info.flags, GIN_DATA | GIN_LEAF | GIN_COMPRESSED);
    assert.equal(info.maxoff, 0);
    assert.equal(pdLower(page), 32 + info.segments[0]!.size);
  });

  it('are replaced by the segments of VACUUM or of an insertion', () => {
    const vacuum = gin(VACUUM_LEAF, [], [{ blkno: 5, data: actions([0, REPLACE, ...list([1, 9])]) }]);
    assert.deepEqual(pairsOf(apply(oldLeaf(...old), vacuum)), [[[1, 9]]]);
    const twice = insertLeaf(actions([0, REPLACE, ...list([1, 1])], [1, ADD, ...list([1, 9], [2, 2])]));
    assert.deepEqual(pairsOf(apply(oldLeaf(...old), twice)), [
      [[1, 1]],
      [
        [1, 9],
        [2, 2],
      ],
    ]);
  });

  it('may be empty', () => {
    const info = apply(oldLeaf(), insertLeaf(actions([0, ADD, ...list([3, 3])])));
    assert.deepEqual(pairsOf(info), [[[3, 3]]]);
    assert.equal(info.flags, GIN_DATA | GIN_LEAF | GIN_COMPRESSED);
  });

  it('of full size fit when compressed', () => {
    const many = Array.from({ length: 1358 }, (_, i): Pair => [i * 40_000, 1 + (i % 200)]);
    const info = apply(oldLeaf(...many), insertLeaf(actions([0, ADDITEMS, ...u16s(1), ...tids([1, 1])])));
    assert.equal(info.segments[0]!.tids.length, 1359);
  });

  it('are refused when their tids cannot be', () => {
    const change = insertLeaf(actions([0, ADDITEMS, ...u16s(1), ...tids([1, 4])]));
    const tooMany = oldLeaf(...old);
    setGinMaxoff(tooMany, 1359);
    for (const page of [oldLeaf([2, 1], [1, 1]), oldLeaf([1, 1], [1, 1]), oldLeaf([1, 0]), tooMany])
      assert.throws(() => apply(page, change), { code: /^REDO_BAD_(ITEM|PAGE)$/ });
  });
});

describe('redo of GIN: segments of a leaf', () => {
  const lists = [list([1, 1], [1, 2]), list([2, 1]), list([3, 1], [3, 9])];

  it('are deleted, inserted, replaced and added to in one record, the others stay', () => {
    const data = actions(
      [0, DELETE],
      [2, ADD, ...list([2, 5])],
      [2, ADDITEMS, ...u16s(3), ...tids([2, 9], [3, 4], [4, 1])],
      [3, ADD, ...list([5, 5])],
    );
    assert.deepEqual(pairsOf(apply(leaf(...lists), insertLeaf(data))), [
      [[2, 1]],
      [[2, 5]],
      [
        [2, 9],
        [3, 1],
        [3, 4],
        [3, 9],
        [4, 1],
      ],
      [[5, 5]],
    ]);
  });

  it('are refused when page and record do not belong together', () => {
    const full = leaf(...Array.from({ length: 800 }, (_, i) => list([i, 1], [i, 2])));
    const cases: [string, Buffer, Buffer, RegExp][] = [
      ['a segment that is not there', leaf(...lists), actions([3, DELETE]), /no segment 3/],
      ['a segment far beyond', leaf(...lists), actions([200, ADD, ...list([9, 9])]), /no segment 200/],
      ['descending segments', leaf(...lists), actions([1, DELETE], [0, DELETE]), /segment 0 after segment 2/],
      ['an unknown change', leaf(...lists), actions([0, 5]), /unknown change 5/],
      ['no change', leaf(...lists), actions(), /no change/],
      ['no data', leaf(...lists), Buffer.alloc(0), /no change/],
      ['bytes left over', leaf(...lists), actions([0, DELETE, 0, 0]), /2 bytes after/],
      ['a missing change', leaf(...lists), Buffer.from(u16s(1)), /does not lie in/],
      ['a list cut off', leaf(...lists), actions([0, REPLACE, ...list([1, 1], [9, 9]).slice(0, 8)]), /does not lie/],
      ['tids cut off', leaf(...lists), actions([0, ADDITEMS, ...u16s(2), ...tids([1, 3])]), /does not lie in/],
      ['no tids', leaf(...lists), actions([0, ADDITEMS, ...u16s(0)]), /does not lie in/],
      ['a tid that is there', leaf(...lists), actions([1, ADDITEMS, ...u16s(1), ...tids([2, 1])]), /ascend/],
      ['a list too many', full, actions([7, ADD, ...Array<number[]>(20).fill(list([7, 3])).flat()]), /after the last/],
      ['a page too full', leaf(...Array<number[]>(1019).fill(list([1, 1]))), actions([0, ADD, ...list([7, 3])]), /do not fit/],
      ['a damaged page', leaf([...list([1, 1]).slice(0, 6), 9, 9]), actions([0, DELETE]), /does not end/],
      ['the wrong page', ginPage(GIN_DATA), actions([0, DELETE]), /flags 0x1 instead of 0x3/],
    ]; // prettier-ignore
    for (const [what, page, data, message] of cases)
      assert.throws(() => apply(page, insertLeaf(data)), message, what);
  });
});

describe('redo of GIN: pages that go, and downlinks', () => {
  const main = [...u16s(2), 0, 0, ...u32s(77), ...u32s(0x89abcdef)];
  const rec = gin(DELETE_PAGE, main, [{ blkno: 11 }, { blkno: 2 }, { blkno: 10 }]);

  it('a deleted page keeps its right sibling and learns who may still be on the way to it', () => {
    const page = leaf();
    setGinRightlink(page, 12);
    const info = apply(page, rec);
    assert.equal(info.kind, 'deleted');
    assert.equal(info.flags, GIN_DATA | GIN_LEAF | GIN_COMPRESSED | GIN_DELETED);
    assert.equal(info.rightlink, 12);
    assert.equal(info.deleteXid, 0x89abcdef);
    assert.equal(pdPruneXid(page), 0x89abcdef);
  });

  it('its parent loses the downlink, its left sibling gets a new right one', () => {
    assert.deepEqual(
      apply(internal(10, 11, 12), rec, 1).postingItems.map((p) => [p.child, p.key.offset]),
      [
        [10, 1],
        [12, 3],
      ],
    );
    assert.equal(apply(leaf(), rec, 2).rightlink, 77);
    assert.throws(() => apply(internal(10, 13, 12), rec, 1), /posting item 2 of 3 does not lead to block 11/);
    assert.throws(() => apply(internal(10), rec, 1), /posting item 2 of 1/);
  });

  it('the downlink of a split page leads to its right half, a new one before it to the left half', () => {
    const pair = [...u16s(1), ...blockId(0x30011), ...blockId(0x30012)];
    const newItem = [...u16s(2), ...blockId(0x30011), ...tids([8, 8])];
    const insert = gin(INSERT, pair, [{ blkno: 2, data: Buffer.from(newItem) }, { blkno: 0x30011 }]);
    const page = internal(10, 0x30011, 12);
    assert.deepEqual(
      apply(page, insert).postingItems.map((p) => p.child),
      [10, 0x30011, 0x30012, 12],
    );
    assert.throws(() => apply(internal(10, 11), insert), /does not lead to block 196625/);
    const full = internal(...Array<number>(GIN_MAX_POSTING_ITEMS).fill(0x30011));
    assert.throws(() => apply(full, insert), { code: 'REDO_ADD_ITEM' });
    setGinMaxoff(full, GIN_MAX_POSTING_ITEMS + 1);
    assert.throws(() => apply(full, insert), { code: 'REDO_BAD_PAGE' });
  });
});

describe('redo of GIN: forms of records', () => {
  const metadata = new Array<number>(56).fill(0);
  const update = (prevTail: number, ntuples: number): number[] => [
    ...new Array<number>(16).fill(0),
    ...metadata,
    ...u32s(prevTail, 9, ntuples, 0),
  ];
  const split = (flags: number): number[] => [...new Array<number>(24).fill(0), ...u16s(flags, 0)];
  const image = { image: Buffer.alloc(8192), imageInfo: APPLY };
  const init = { willInit: true };
  const tuple = Buffer.alloc(16);
  tuple.writeUInt16LE(16, 6);
  setTidBlock(tuple, 0, 3);
  setTidOffset(tuple, 0, 0xffff);

  it('takes what PostgreSQL writes', () => {
    for (const rec of [
      gin(CREATE_PTREE, u32s(0), [{ blkno: 5, ...init }]),
      gin(SPLIT, split(3), [
        { blkno: 5, ...image },
        { blkno: 6, ...image },
      ]),
      gin(SPLIT, split(4), [
        { blkno: 5, ...image },
        { blkno: 6, ...image },
        { blkno: 1, ...image },
        { blkno: 7 },
      ]),
      gin(UPDATE_META, update(NO_BLOCK, 0), [{ blkno: 0, ...init }]),
      gin(
        DELETE_LIST,
        [...metadata, ...u32s(1, 0)],
        [
          { blkno: 0, ...init },
          { blkno: 4, ...init },
        ],
      ),
    ])
      // prettier-ignore
      assertReplayable(rec);
  });

  it('refuses anything else', () => {
    const cases: [string, WalRecord][] = [
      ['opcode 0', gin(0, [], [])],
      ['opcode 0xA0', gin(0xa0, [], [])],
      ['a tree of another size', gin(CREATE_PTREE, [...u32s(8), 1, 2], [{ blkno: 5, ...init }])],
      ['a tree that is too large', gin(CREATE_PTREE, [...u32s(8154), ...Array<number>(8154).fill(0)], [{ blkno: 5, ...init }])],
      ['a tree on an old page', gin(CREATE_PTREE, u32s(0), [{ blkno: 5 }])],
      ['INSERT with unknown flags', gin(INSERT, u16s(6), [{ blkno: 5 }])],
      ['INSERT without children', gin(INSERT, u16s(1), [{ blkno: 5 }, { blkno: 6 }])],
      ['INSERT into a leaf with children', gin(INSERT, [...u16s(2), ...blockId(1), ...blockId(2)], [{ blkno: 5 }])],
      ['INSERT without the child', gin(INSERT, [...u16s(0), ...blockId(1), ...blockId(2)], [{ blkno: 5 }])],
      ['SPLIT with unknown flags', gin(SPLIT, split(11), [{ blkno: 5, ...image }, { blkno: 6, ...image }])],
      ['SPLIT without an image', gin(SPLIT, split(3), [{ blkno: 5, ...image }, { blkno: 6 }])],
      ['SPLIT without the root', gin(SPLIT, split(7), [{ blkno: 5, ...image }, { blkno: 6, ...image }])],
      ['SPLIT without the child', gin(SPLIT, split(1), [{ blkno: 5, ...image }, { blkno: 6, ...image }])],
      ['VACUUM_PAGE without an image', gin(VACUUM_PAGE, [], [{ blkno: 5 }])],
      ['DELETE_PAGE without a sibling', gin(DELETE_PAGE, Array<number>(12).fill(0), [{ blkno: 5 }, { blkno: 6 }])],
      ['metadata on block 3', gin(UPDATE_META, update(NO_BLOCK, 0), [{ blkno: 3, ...init }])],
      ['a new tail and tuples', gin(UPDATE_META, update(4, 1), [{ blkno: 0, ...init }, { blkno: 4 }])],
      ['fewer than no tuples', gin(UPDATE_META, update(NO_BLOCK, -1), [{ blkno: 0, ...init }, { blkno: 4 }])],
      ['a new tail that is missing', gin(UPDATE_META, update(4, 0), [{ blkno: 0, ...init }])],
      ['no list page freed', gin(DELETE_LIST, [...metadata, ...u32s(0, 0)], [{ blkno: 0, ...init }])],
      ['a page freed but kept', gin(DELETE_LIST, [...metadata, ...u32s(1, 0)], [{ blkno: 0, ...init }, { blkno: 4 }])],
      ['17 list pages freed', gin(DELETE_LIST, [...metadata, ...u32s(17, 0)], Array.from({ length: 18 }, (_, blkno) => ({ blkno, ...init })))],
    ]; // prettier-ignore
    for (const [what, rec] of cases)
      assert.throws(() => assertReplayable(rec), { code: /^REDO_(BAD|UNKNOWN)_RECORD$/ }, what);
  });

  it('refuses tuples that are not as many as it says, or no tuples', () => {
    const listPage = (count: number, data: Buffer): GinPageInfo =>
      apply(
        Buffer.alloc(8192),
        gin(INSERT_LIST, [...u32s(NO_BLOCK), ...u32s(count)], [{ blkno: 9, data, ...init }]),
      );
    const info = listPage(2, Buffer.concat([tuple, tuple]));
    assert.deepEqual([info.kind, info.maxoff, info.tuples.length], ['list', 1, 2]);
    for (const [count, data] of [
      [0, tuple],
      [1, Buffer.concat([tuple, tuple])],
      [3, Buffer.concat([tuple, tuple])],
      [1, tuple.subarray(0, 12)],
      [2 ** 31 - 1, tuple],
    ] as const)
      // prettier-ignore
      assert.throws(() => listPage(count, data), { code: 'REDO_BAD_RECORD' }, `${count} tuples`);
    const entry = (data: Buffer): GinPageInfo =>
      apply(ginPage(GIN_LEAF), gin(INSERT, u16s(2), [{ blkno: 1, data }]));
    assert.equal(entry(Buffer.concat([Buffer.from([1, 0, 0, 0]), tuple])).tuples.length, 1);
    assert.throws(() => entry(Buffer.concat([Buffer.from([1, 0, 2, 0]), tuple])), {
      code: 'REDO_BAD_RECORD',
    });
    assert.throws(() => entry(Buffer.concat([Buffer.from([1, 0, 0, 0]), tuple, tuple])), {
      code: 'REDO_BAD_RECORD',
    });
    assert.throws(() => entry(Buffer.from([1, 0, 1, 0])), { code: 'REDO_BAD_RECORD' });
    assert.throws(() => apply(ginPage(GIN_LIST), gin(INSERT, u16s(2), [{ blkno: 1, data: tuple }])), {
      code: 'REDO_BAD_PAGE',
    });
  });
});
