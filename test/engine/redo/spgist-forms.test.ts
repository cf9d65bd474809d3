/**
 * What this proves: SP-GiST records that no PostgreSQL 18 writes are refused before they are applied, records that do not suit their page when
 * they are; and the one variant that no workload reaches does what spgxlog.c does.
 */
import assert from 'node:assert/strict';
import { isDbError } from '../../../src/engine/errors.js';
import { lsn, readPageLsn, writePageLsn } from '../../../src/engine/lsn.js';
import { addItem } from '../../../src/engine/page/items.js';
import {
  NOWHERE,
  SPGIST_LEAF,
  SPGIST_PLACEHOLDER,
  SPGIST_REDIRECT,
  countTuples,
  formDeadTuple,
  parseSpgistPage,
  spgPageInit,
  spgPlaceholders,
  type SpgistInnerTuple,
} from '../../../src/engine/page/spgist.js';
import { applyRecord, assertReplayable } from '../../../src/engine/redo/index.js';
import { Rmgr, type WalRecord } from '../../../src/engine/wal/types.js';
import { CTX, END, record, u16s, u32s, type RecordSpec } from '../../helpers/redo-records.js';

const [ADD_LEAF, MOVE_LEAFS, ADD_NODE, SPLIT_TUPLE, PICKSPLIT, VACUUM_LEAF, VACUUM_ROOT, VACUUM_REDIRECT] = [
  0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80,
] as const;

/** A live leaf tuple of 24 bytes. */
const LEAF = Buffer.from([...u32s(24 << 2), ...u16s(0, 0, 9, 1), ...u32s(0), ...u32s(1, 2)]);

/** A live inner tuple whose nodes have labels of 8 bytes and lead nowhere. */
function inner(nodes: number): Buffer {
  const node = [...u32s(0xffffffff), ...u16s(0, 16), ...u32s(7, 0)];
  const size = 8 + 16 * nodes;
  return Buffer.from([...u32s(nodes << 3), ...u16s(size, 0), ...Array<number[]>(nodes).fill(node).flat()]);
}

const state = (xid: number, isBuild = 0): number[] => [...u32s(xid), isBuild, 0, 0, 0];

function spgist(info: number, main: (number | Buffer)[], blocks: RecordSpec['blocks']): WalRecord {
  const bytes = main.flatMap((part) => (typeof part === 'number' ? [part] : [...part]));
  return record({ rmid: Rmgr.SPGist, info, main: bytes, ...(blocks && { blocks }) });
}

function page(flags: number, ...tuples: Buffer[]): Buffer {
  const bytes = Buffer.alloc(8192);
  spgPageInit(bytes, flags);
  tuples.forEach((tuple, i) => addItem(bytes, tuple, i + 1));
  writePageLsn(bytes, lsn(0x2000000));
  return bytes;
}

function expectCode(run: () => unknown, code: string): void {
  assert.throws(run, (err) => isDbError(err) && err.code === code && err.message.includes('0/3000100'));
}

const ONE = [{ blkno: 5 }];
const TWO = [{ blkno: 5 }, { blkno: 6 }];
const THREE = [...TWO, { blkno: 7 }];

describe('SP-GiST redo: records that PostgreSQL does not write', () => {
  const addLeaf = (flags: number[], offsets: number[], ...tuples: Buffer[]): (number | Buffer)[] => [
    ...flags, ...u16s(...offsets), ...tuples,
  ]; // prettier-ignore
  const moveLeafs = (isBuild: number): (number | Buffer)[] => [
    ...u16s(1), 0, 0, 0, 0, ...u16s(1, 0, 0), ...state(700, isBuild), ...u16s(1, 1, 2), LEAF, LEAF,
  ]; // prettier-ignore
  const addNode = (parentBlk: number, isBuild = 0, newPage = 0): (number | Buffer)[] => [
    ...u16s(1, 2), newPage, parentBlk & 0xff, ...u16s(1, 0, 0), ...state(700, isBuild), inner(2),
  ]; // prettier-ignore
  /** Flags: root split, new source, new destination, new inner page, inner page is the parent's. */
  const split = (flags: number[], deletes: number[], ...selectors: number[]): (number | Buffer)[] => {
    const [root, source, dest, innerPage, parent] = flags as [number, number, number, number, number];
    const places = selectors.map((_, i) => i + 1);
    return [
      root, 0, ...u16s(deletes.length, selectors.length), source, dest, ...u16s(1), innerPage, 0, parent, 0, ...u16s(1, 0, 0),
      ...state(700), ...u16s(...deletes, ...places), ...selectors, inner(2), ...selectors.map(() => LEAF),
    ]; // prettier-ignore
  };
  const at = (...blocks: [id: number, willInit?: boolean][]): RecordSpec['blocks'] =>
    blocks.map(([id, willInit = false]) => ({ id, blkno: 5 + id, willInit }));

  it('accepts the forms that it does write', () => {
    for (const [info, main, blocks] of [
      [ADD_LEAF, addLeaf([0, 0], [1, 0, 0, 0], LEAF), ONE],
      [ADD_LEAF, addLeaf([1, 1], [1, 0, 1, 0], LEAF), at([0, true], [1])],
      [MOVE_LEAFS, moveLeafs(0), THREE],
      [ADD_NODE, addNode(-1), ONE],
      [ADD_NODE, addNode(0), TWO],
      [ADD_NODE, addNode(2, 0, 1), at([0], [1, true], [2])],
      [SPLIT_TUPLE, [...u16s(1, 2), 0, 1, inner(1), inner(2)], ONE],
      [SPLIT_TUPLE, [...u16s(1, 2), 1, 0, inner(1), inner(2)], at([0], [1, true])],
      [PICKSPLIT, split([1, 0, 1, 1, 0], [], 1, 1), at([1, true], [2, true])],
      [PICKSPLIT, split([1, 0, 0, 1, 0], []), at([2, true])],
      [PICKSPLIT, split([0, 0, 0, 0, 0], [1, 2], 0, 1), at([0], [1], [2], [3])],
      [PICKSPLIT, split([0, 1, 0, 0, 1], [], 0), at([0, true], [2])],
      [VACUUM_LEAF, [...u16s(1, 1, 1, 1), ...state(0), ...u16s(1, 2, 3, 4, 5, 0)], ONE],
      [VACUUM_ROOT, [...u16s(2, 0), ...state(0), ...u16s(1, 2)], ONE],
      [VACUUM_REDIRECT, [...u16s(1, 4), ...u32s(700), 0, 0, ...u16s(3)], ONE],
    ] as const)
      assert.doesNotThrow(() => assertReplayable(spgist(info, [...main], blocks as RecordSpec['blocks'])));
  });

  const refused: [string, string, number, (number | Buffer)[], RecordSpec['blocks']][] = [
    ['the old CREATE_INDEX', 'REDO_UNKNOWN_RECORD', 0x00, [], ONE],
    ['a flag that is no flag', 'REDO_UNKNOWN_RECORD', ADD_LEAF, addLeaf([2, 0], [1, 0, 0, 0], LEAF), ONE],
    ['a leaf without a parent to link it', 'REDO_BAD_RECORD', ADD_LEAF, addLeaf([0, 0], [1, 0, 1, 0], LEAF), ONE],
    ['a leaf in a chain and with a downlink', 'REDO_BAD_RECORD', ADD_LEAF, addLeaf([0, 0], [2, 1, 1, 0], LEAF), TWO],
    ['two leaf tuples at once', 'REDO_BAD_RECORD', ADD_LEAF, addLeaf([0, 0], [1, 0, 0, 0], LEAF, LEAF), ONE],
    ['a new page that is not initialised', 'REDO_BAD_RECORD', ADD_LEAF, addLeaf([1, 0], [1, 0, 1, 0], LEAF), TWO],
    ['half a leaf tuple', 'REDO_BAD_RECORD', ADD_LEAF, addLeaf([0, 0], [1, 0, 0, 0], LEAF.subarray(0, 16)), ONE],
    ['moves of an index build', 'REDO_UNKNOWN_RECORD', MOVE_LEAFS, moveLeafs(1), THREE],
    ['a node of an index build', 'REDO_UNKNOWN_RECORD', ADD_NODE, addNode(0, 1), TWO],
    ['moves without a parent', 'REDO_BAD_RECORD', MOVE_LEAFS, moveLeafs(0), TWO],
    ['a parent in no block', 'REDO_UNKNOWN_RECORD', ADD_NODE, addNode(3), THREE],
    ['a node that grows in place on a new page', 'REDO_BAD_RECORD', ADD_NODE, addNode(-1, 0, 1), ONE],
    ['a parent elsewhere without its block', 'REDO_BAD_RECORD', ADD_NODE, addNode(2), TWO],
    ['one tuple where two must be', 'REDO_BAD_RECORD', SPLIT_TUPLE, [...u16s(1, 2), 0, 1, inner(2)], ONE],
    ['a root split that deletes', 'REDO_BAD_RECORD', PICKSPLIT, split([1, 0, 1, 1, 0], [1], 1), at([1, true], [2, true])],
    ['a root split to its source', 'REDO_BAD_RECORD', PICKSPLIT, split([1, 0, 1, 1, 0], [], 0), at([1, true], [2, true])],
    ['a leaf tuple for no page', 'REDO_BAD_RECORD', PICKSPLIT, split([0, 0, 0, 0, 1], [1], 1), at([0], [2])],
    ['deletes on a new source', 'REDO_BAD_RECORD', PICKSPLIT, split([0, 1, 0, 0, 1], [1], 0), at([0, true], [2])],
    ['a new inner page with the parent', 'REDO_BAD_RECORD', PICKSPLIT, split([0, 0, 0, 1, 1], [1], 0), at([0], [2, true])],
    ['a list that is too short', 'REDO_BAD_RECORD', VACUUM_LEAF, [...u16s(1, 1, 1, 1), ...state(0), ...u16s(1)], ONE],
    ['a list that is too long', 'REDO_BAD_RECORD', VACUUM_ROOT, [...u16s(1, 0), ...state(0), ...u16s(1, 2)], ONE],
    ['a catalog flag of 7', 'REDO_UNKNOWN_RECORD', VACUUM_REDIRECT, [...u16s(0, 4), ...u32s(0), 7, 0], ONE],
  ]; // prettier-ignore
  for (const [what, code, info, main, blocks] of refused)
    it(`refuses ${what}`, () => expectCode(() => assertReplayable(spgist(info, main, blocks)), code));
});

describe('SP-GiST redo: records that do not suit their page', () => {
  const placeholder = formDeadTuple(SPGIST_PLACEHOLDER, NOWHERE, 0);
  const redirect = formDeadTuple(SPGIST_REDIRECT, { block: 9, offset: 3 }, 700);
  const addAt = (leaf: number, head: number): WalRecord =>
    spgist(ADD_LEAF, [0, 0, ...u16s(leaf, head, 0, 0), LEAF], ONE);
  const toPlaceholder = (offnum: number, first: number): WalRecord =>
    spgist(VACUUM_REDIRECT, [...u16s(1, first), ...u32s(700), 0, 0, ...u16s(offnum)], ONE);
  const withOneRedirect = (): Buffer => {
    const bytes = page(SPGIST_LEAF, LEAF, redirect);
    countTuples(bytes, 1, 0);
    return bytes;
  };
  const cases: [string, string, WalRecord, Buffer][] = [
    ['a page of another kind', 'REDO_BAD_PAGE', addAt(1, 0), page(0, inner(1))],
    ['a page of another access method', 'REDO_BAD_PAGE', addAt(1, 0), page(SPGIST_LEAF).fill(0x80, 8190)],
    ['a leaf tuple in the place of a live one', 'REDO_BAD_ITEM', addAt(1, 0), page(SPGIST_LEAF, LEAF)],
    ['a placeholder that was not counted', 'REDO_BAD_PAGE', addAt(1, 0), page(SPGIST_LEAF, placeholder)],
    ['a chain without a head', 'REDO_BAD_ITEM', addAt(2, 1), page(SPGIST_LEAF, placeholder)],
    ['a dead tuple that is not dead', 'REDO_BAD_ITEM', addAt(1, 1), page(SPGIST_LEAF, LEAF)],
    ['an old redirect that is a leaf tuple', 'REDO_BAD_ITEM', toPlaceholder(1, 0), withOneRedirect()],
    ['items to drop behind the last one', 'REDO_BAD_ITEM', toPlaceholder(2, 3), withOneRedirect()],
    ['live items among the ones to drop', 'REDO_BAD_PAGE', toPlaceholder(2, 1), withOneRedirect()],
  ];
  for (const [what, code, rec, bytes] of cases)
    it(`refuses ${what}`, () => expectCode(() => applyRecord(bytes, rec, rec.blocks[0]!, CTX), code));
});

/**
 * PostgreSQL has code for a parent tuple on the page that the enlarged tuple moves to, but its search for that page passes over
 * the parent's, which the same backend holds locked (SpGistGetBuffer, ConditionalLockBuffer).
 */
describe('SP-GiST redo: ADD_NODE to the page of the parent', () => {
  const main = [...u16s(2, 2), 0, 1, ...u16s(1, 1, 0), ...state(700), inner(4)];
  const rec = spgist(ADD_NODE, main, TWO);

  it('puts the tuple there and links it', () => {
    const bytes = page(0, inner(3), formDeadTuple(SPGIST_PLACEHOLDER, NOWHERE, 0));
    countTuples(bytes, 0, 1);
    assert.equal(applyRecord(bytes, rec, rec.blocks[1]!, CTX), 'applied');
    const [parent, moved] = parseSpgistPage(bytes).tuples as SpgistInnerTuple[];
    assert.equal(moved!.nodes.length, 4);
    assert.deepEqual(
      parent!.nodes.map((node) => node.downlink),
      [null, { block: 6, offset: 2 }, null],
    );
    assert.equal(spgPlaceholders(bytes), 0);
    assert.equal(readPageLsn(bytes), END);
  });

  it('leaves a redirect where it was, and no link', () => {
    const bytes = page(0, inner(3), inner(3));
    applyRecord(bytes, rec, rec.blocks[0]!, CTX);
    const { tuples, redirects } = parseSpgistPage(bytes);
    assert.deepEqual(tuples[1], { offnum: 2, kind: 'redirect', target: { block: 6, offset: 2 }, xid: 700 });
    assert.ok((tuples[0] as SpgistInnerTuple).nodes.every((node) => node.downlink === null));
    assert.equal(redirects, 1);
  });
});
