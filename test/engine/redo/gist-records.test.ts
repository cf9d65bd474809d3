/**
 * What this proves: hand-made GiST records change pages as gistxlog.c of PostgreSQL 18 says, where a real server cannot be made to write them
 * (splits into as many pages as a record can name) or its images hide the outcome; records that it does not write are refused.
 */
import assert from 'node:assert/strict';
import { isDbError } from '../../../src/engine/errors.js';
import { lsn, writePageLsn } from '../../../src/engine/lsn.js';
import {
  GIST_DELETED,
  GIST_FOLLOW_RIGHT,
  GIST_LEAF,
  GIST_TUPLES_DELETED,
  gistFlags,
  gistNsn,
  gistPageInit,
  parseGistPage,
  setGistFlags,
} from '../../../src/engine/page/gist.js';
import { addItem } from '../../../src/engine/page/items.js';
import { applyRecord, assertReplayable, type RedoResult } from '../../../src/engine/redo/index.js';
import { Rmgr, type WalRecord } from '../../../src/engine/wal/types.js';
import { APPLY, CTX, END, record, u16s, u32s, type RecordSpec } from '../../helpers/redo-records.js';

/** An index tuple of `size` bytes, its content told by `fill`. */
function tuple(size: number, fill: number): Buffer {
  const bytes = Buffer.alloc(size, fill);
  bytes.writeUInt16LE(size, 6);
  return bytes;
}

function gistPage(flags: number, items: number): Buffer {
  const page = Buffer.alloc(8192);
  gistPageInit(page, flags);
  for (let i = 1; i <= items; i++) addItem(page, tuple(16, i), i);
  writePageLsn(page, lsn(0x2000000));
  return page;
}

interface SplitSpec {
  blocks: number[];
  /** Of a left child below. */
  child?: number;
  leaf?: number;
  follow?: number;
  rightlink?: number;
  npage?: number;
}

function split(spec: SplitSpec): RecordSpec {
  const { blocks, child, leaf = 1, follow = 1, rightlink = 99 } = spec;
  const data = (i: number): Buffer => Buffer.concat([Buffer.from(u32s(2)), tuple(16, i), tuple(24, i)]);
  return {
    rmid: Rmgr.Gist,
    info: 0x30,
    main: [
      ...u32s(rightlink, 0xdead),
      ...u32s(0x1234, 0),
      leaf,
      0xee,
      ...u16s(spec.npage ?? blocks.length),
      follow,
      1,
      2,
      3,
    ],
    blocks: [
      ...(child === undefined ? [] : [{ blkno: child }]),
      ...blocks.map((blkno, i) => ({ id: i + 1, blkno, willInit: true, data: data(i + 1) })),
    ],
  };
}

function update(toDelete: number[], tuples: Buffer[], more: Partial<RecordSpec> = {}): RecordSpec {
  const data = Buffer.concat([Buffer.from(u16s(...toDelete)), ...tuples]);
  return {
    rmid: Rmgr.Gist,
    info: 0,
    main: u16s(toDelete.length, tuples.length),
    blocks: [{ blkno: 3, data }],
    ...more,
  };
}

function apply(page: Buffer, rec: WalRecord, id: number): RedoResult {
  return applyRecord(
    page,
    rec,
    rec.blocks.find((block) => block.id === id)!,
    CTX,
  );
}

describe('redo of GiST, by hand', () => {
  it('splits into as many pages as a record can name, each linked to the next', () => {
    const blocks = Array.from({ length: 32 }, (_, i) => 7 + i * 2);
    const rec = record(split({ blocks, child: 5 }));
    assertReplayable(rec);
    for (const [i, blkno] of blocks.entries()) {
      const page = Buffer.alloc(8192, 0xff);
      assert.equal(apply(page, rec, i + 1), 'applied');
      const info = parseGistPage(page);
      const last = i === blocks.length - 1;
      assert.equal(info.rightlink, last ? 99 : blkno + 2);
      assert.equal(info.flags, GIST_LEAF | (last ? 0 : GIST_FOLLOW_RIGHT));
      assert.equal(info.nsn, 0x1234);
      assert.deepEqual(
        info.items.map(({ key }) => key),
        [Buffer.alloc(8, i + 1), Buffer.alloc(16, i + 1)],
      );
    }
  });

  it('keeps a split root above its pages, which need no mark', () => {
    const rec = record(split({ blocks: [0, 8, 9], rightlink: 0xffffffff }));
    const pages = [1, 2, 3].map((id) => {
      const page = Buffer.alloc(8192);
      apply(page, rec, id);
      return parseGistPage(page);
    });
    assert.deepEqual(
      pages.map(({ flags }) => flags),
      [0, GIST_LEAF, GIST_LEAF],
    );
    assert.deepEqual(
      pages.map(({ rightlink }) => rightlink),
      [null, 9, null],
    );
  });

  it('leaves the mark out when the record says so', () => {
    const rec = record(split({ blocks: [6, 8], follow: 0, leaf: 0 }));
    const page = Buffer.alloc(8192);
    apply(page, rec, 1);
    assert.equal(gistFlags(page), 0);
  });

  it('ends the split of the left half, image or not, and nothing else on that page', () => {
    const before = gistPage(GIST_LEAF | GIST_FOLLOW_RIGHT | GIST_TUPLES_DELETED, 3);
    const image = { image: before, imageInfo: APPLY };
    const parent = { blkno: 3, data: tuple(16, 1) };
    const records = [
      {
        rec: record(update([], [tuple(16, 1)], { blocks: [parent, { blkno: 4 }] })),
        id: 1,
        result: 'applied',
      },
      {
        rec: record(update([], [tuple(16, 1)], { blocks: [parent, { blkno: 4, ...image }] })),
        id: 1,
        result: 'restored',
      },
      { rec: record(split({ blocks: [6, 8], child: 4 })), id: 0, result: 'applied' },
    ];
    for (const { rec, id, result } of records) {
      assertReplayable(rec);
      const page = Buffer.from(before);
      assert.equal(apply(page, rec, id), result);
      assert.equal(gistNsn(page), END);
      const expected = Buffer.from(before);
      setGistFlags(expected, GIST_LEAF | GIST_TUPLES_DELETED);
      writePageLsn(expected, END);
      writePageLsn(expected, END, 8176);
      assert.ok(page.equals(expected));
    }
  });

  it('deletes a page: no items, the transaction id behind the header', () => {
    const rec = record({
      rmid: Rmgr.Gist,
      info: 0x60,
      main: [...u32s(0x11223344, 5), ...u16s(2)],
      blocks: [{ blkno: 4 }, { blkno: 3 }],
    });
    const leaf = gistPage(GIST_LEAF | GIST_TUPLES_DELETED, 0);
    apply(leaf, rec, 0);
    assert.equal(parseGistPage(leaf).deleteXid, 0x5_1122_3344n);
    assert.equal(gistFlags(leaf), GIST_LEAF | GIST_TUPLES_DELETED | GIST_DELETED);
    const parent = gistPage(0, 3);
    apply(parent, rec, 1);
    assert.deepEqual(
      parseGistPage(parent).items.map(({ key }) => key[0]),
      [1, 3],
    );
  });

  it('replaces one tuple by one where it was, and by two at the end', () => {
    const one = gistPage(0, 3);
    apply(one, record(update([2], [tuple(32, 9)])), 0);
    assert.deepEqual(
      parseGistPage(one).items.map(({ key }) => key[0]),
      [1, 9, 3],
    );
    const two = gistPage(0, 3);
    apply(two, record(update([2], [tuple(16, 8), tuple(16, 9)])), 0);
    assert.deepEqual(
      parseGistPage(two).items.map(({ key }) => key[0]),
      [1, 3, 8, 9],
    );
    assert.equal(gistFlags(two), 0);
  });

  const gist = (info: number, main: number[], blocks: RecordSpec['blocks'] = []): RecordSpec => ({
    rmid: Rmgr.Gist,
    info,
    main,
    blocks,
  });
  const refused: [string, string, RecordSpec][] = [
    ['an update of nothing', 'REDO_BAD_RECORD', update([], [])],
    ['an update without its page', 'REDO_BAD_RECORD', update([1], [], { blocks: [] })],
    [
      'an update of three pages',
      'REDO_BAD_RECORD',
      update([1], [], { blocks: [{ blkno: 1 }, { blkno: 2 }, { blkno: 3 }] }),
    ],
    [
      'a cut list of dead items',
      'REDO_BAD_RECORD',
      gist(0x10, [...u32s(7), ...u16s(2), 0, 0, ...u16s(1)], [{ blkno: 3 }]),
    ],
    ['no dead items', 'REDO_BAD_RECORD', gist(0x10, [...u32s(7), ...u16s(0), 0, 0], [{ blkno: 3 }])],
    [
      'a reuse that names a block',
      'REDO_BAD_RECORD',
      gist(0x20, Buffer.alloc(25).toJSON().data, [{ blkno: 3 }]),
    ],
    [
      'a deletion without the parent',
      'REDO_BAD_RECORD',
      gist(0x60, Buffer.alloc(10).toJSON().data, [{ blkno: 3 }]),
    ],
    ['an LSN of the wrong length', 'REDO_BAD_RECORD', gist(0x70, [0, 0])],
    ['a split into one page', 'REDO_BAD_RECORD', split({ blocks: [6] })],
    [
      'a split of the root into one page',
      'REDO_BAD_RECORD',
      split({ blocks: [0, 6], rightlink: 0xffffffff }),
    ],
    ['a root with a right sibling', 'REDO_BAD_RECORD', split({ blocks: [0, 6, 7] })],
    ['a root to the right', 'REDO_BAD_RECORD', split({ blocks: [6, 0] })],
    ['a split with a page too few', 'REDO_BAD_RECORD', split({ blocks: [6, 7], npage: 3 })],
    ['a split with a page too many', 'REDO_BAD_RECORD', split({ blocks: [6, 7, 8], npage: 2 })],
    ['a leaf that is neither', 'REDO_UNKNOWN_RECORD', split({ blocks: [6, 7], leaf: 2 })],
    ['a mark that is neither', 'REDO_UNKNOWN_RECORD', split({ blocks: [6, 7], follow: 3 })],
  ];
  for (const [what, code, spec] of refused) {
    it(`refuses ${what}: ${code}`, () => {
      assert.throws(
        () => assertReplayable(record(spec)),
        (err) => isDbError(err) && err.code === code,
      );
    });
  }

  const onPage: [string, string, RecordSpec, Buffer, number][] = [
    [
      'a tuple that runs past its data',
      'REDO_BAD_RECORD',
      update([1], [tuple(16, 1).fill(255, 6, 7)]),
      gistPage(0, 2),
      0,
    ],
    [
      'two tuples instead of one',
      'REDO_BAD_RECORD',
      update([], [Buffer.concat([tuple(16, 1), tuple(16, 2)])]),
      gistPage(0, 2),
      0,
    ],
    [
      'two tuples for one',
      'REDO_BAD_RECORD',
      update([1], [Buffer.concat([tuple(16, 1), tuple(16, 2)])]),
      gistPage(0, 2),
      0,
    ],
    ['an item that is not there', 'REDO_BAD_ITEM', update([3], [tuple(16, 1)]), gistPage(0, 2), 0],
    ['items in disorder', 'REDO_BAD_ITEM', update([2, 1], []), gistPage(1, 2), 0],
    ['a page that is full', 'REDO_ADD_ITEM', update([], [tuple(8000, 1)]), gistPage(0, 20), 0],
    [
      'dead items of an inner page',
      'REDO_BAD_PAGE',
      gist(0x10, [...u32s(7), ...u16s(1), 0, 0, ...u16s(1)], [{ blkno: 3 }]),
      gistPage(0, 2),
      0,
    ],
    [
      'the deletion of a page with items',
      'REDO_BAD_PAGE',
      gist(0x60, Buffer.alloc(10).toJSON().data, [{ blkno: 4 }, { blkno: 3 }]),
      gistPage(GIST_LEAF, 1),
      0,
    ],
  ];
  for (const [what, code, spec, page, id] of onPage) {
    it(`refuses ${what}: ${code}`, () => {
      const rec = record(spec);
      assertReplayable(rec);
      assert.throws(
        () => apply(page, rec, id),
        (err) => isDbError(err) && err.code === code,
      );
    });
  }
});
