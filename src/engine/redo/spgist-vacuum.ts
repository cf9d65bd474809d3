/** What VACUUM does to SP-GiST pages: spgRedoVacuumLeaf, VacuumRoot and VacuumRedirect of spgxlog.c, PostgreSQL 18. */
import {
  NOWHERE,
  SPGIST_DEAD,
  SPGIST_LIVE,
  SPGIST_PLACEHOLDER,
  SPGIST_REDIRECT,
  checkSpgistPage,
  countTuples,
  setNextOffset,
  setTid,
  spgTuple,
  tupleState,
} from '../page/spgist.js';
import { checkOffset, indexMultiDelete, itemCount, itemId, setItemId } from '../page/items.js';
import type { RecordForm } from './record-form.js';
import { B0 } from './record-form.js';
import { checkEnd, checkLeafPage, checkState, flagAt, multiDelete, offsetList } from './spgist-pages.js';
import { redoError, type PageRedo } from './types.js';

/**
 * spgxlogVacuumLeaf { nDead u16, nPlaceholder u16, nMove u16, nChain u16, spgxlogState @8 }, then arrays of u16: offsets that become dead;
 * that become placeholders; nMove sources and nMove targets of tuples that move within the page, to the head of their chain; nChain tuples
 * and what each of them gets as its next one (0 = end of the chain). In this order; the move keeps tuples where they are and
 * swaps line pointers.
 */
export const redoVacuumLeaf: PageRedo = (page, rec) => {
  const data = rec.mainData;
  const [dead, placeholders, moves, chains] = [0, 2, 4, 6].map((at) => data.readUInt16LE(at)) as Counts;
  checkLeafPage(page);
  let at = VACUUM_LEAF_SIZE;
  multiDelete(page, data, at, dead, remnant(SPGIST_DEAD), SPGIST_DEAD);
  at += 2 * dead;
  multiDelete(page, data, at, placeholders, remnant(SPGIST_PLACEHOLDER), SPGIST_PLACEHOLDER);
  at += 2 * placeholders;
  for (let i = 0; i < moves; i++)
    swapItems(page, data.readUInt16LE(at + 2 * i), data.readUInt16LE(at + 2 * (moves + i)));
  multiDelete(page, data, at, moves, remnant(SPGIST_PLACEHOLDER), SPGIST_PLACEHOLDER);
  at += 4 * moves;
  for (let i = 0; i < chains; i++)
    chain(page, data.readUInt16LE(at + 2 * i), data.readUInt16LE(at + 2 * (chains + i)));
};

type Counts = [number, number, number, number];
const VACUUM_LEAF_SIZE = 16;

function remnant(state: number): Parameters<typeof multiDelete>[4] {
  return { state, target: NOWHERE, xid: 0 };
}

function swapItems(page: Buffer, a: number, b: number): void {
  checkOffset(page, a);
  checkOffset(page, b);
  const [idA, idB] = [itemId(page, a), itemId(page, b)];
  setItemId(page, a, idB.off, idB.flags, idB.len);
  setItemId(page, b, idA.off, idA.flags, idA.len);
}

function chain(page: Buffer, offnum: number, next: number): void {
  const tuple = spgTuple(page, offnum);
  if (tupleState(tuple, 0) !== SPGIST_LIVE || next > itemCount(page))
    throw redoError('REDO_BAD_ITEM', `item ${offnum} cannot have item ${next} as its next one`);
  setNextOffset(tuple, 0, next);
}

export const vacuumLeafForm: RecordForm = {
  main: VACUUM_LEAF_SIZE,
  longer: true,
  need: B0,
  also: ({ mainData: data }) => {
    checkState(data, 8);
    const single = data.readUInt16LE(0) + data.readUInt16LE(2);
    const pairs = data.readUInt16LE(4) + data.readUInt16LE(6);
    checkEnd(data, VACUUM_LEAF_SIZE + 2 * (single + 2 * pairs));
    return 0;
  },
};

/** spgxlogVacuumRoot { nDelete u16, pad u16, spgxlogState @4 }, then the offsets, ascending: a root that is a leaf keeps no places. */
export const redoVacuumRoot: PageRedo = (page, rec) => {
  const data = rec.mainData;
  checkLeafPage(page);
  indexMultiDelete(page, offsetList(data, VACUUM_ROOT_SIZE, data.readUInt16LE(0)));
};

const VACUUM_ROOT_SIZE = 12;

export const vacuumRootForm: RecordForm = {
  main: VACUUM_ROOT_SIZE,
  longer: true,
  need: B0,
  also: ({ mainData: data }) => {
    checkState(data, 4);
    checkEnd(data, VACUUM_ROOT_SIZE + 2 * data.readUInt16LE(0));
    return 0;
  },
};

/**
 * spgxlogVacuumRedirect { nToPlaceholder u16, firstPlaceholder u16, snapshotConflictHorizon u32, isCatalogRel bool, pad }, then the offsets of
 * redirects that nobody can be following any more. They become placeholders, but keep their transaction id; then all items from
 * firstPlaceholder on go, if it is not 0. Leaf pages and inner pages alike.
 */
export const redoVacuumRedirect: PageRedo = (page, rec) => {
  const data = rec.mainData;
  const count = data.readUInt16LE(0);
  const first = data.readUInt16LE(2);
  checkSpgistPage(page);
  for (const offnum of offsetList(data, VACUUM_REDIRECT_SIZE, count)) {
    const tuple = spgTuple(page, offnum);
    if (tupleState(tuple, 0) !== SPGIST_REDIRECT)
      throw redoError('REDO_BAD_ITEM', `item ${offnum} is not a redirect`);
    tuple[0] = tuple[0]! | SPGIST_PLACEHOLDER;
    setTid(tuple, 6, NOWHERE);
  }
  countTuples(page, -count, count);
  if (first === 0) return;
  checkOffset(page, first);
  const drop = Uint16Array.from({ length: itemCount(page) - first + 1 }, (_, i) => first + i);
  indexMultiDelete(page, drop);
  countTuples(page, 0, -drop.length);
};

const VACUUM_REDIRECT_SIZE = 10;

export const vacuumRedirectForm: RecordForm = {
  main: VACUUM_REDIRECT_SIZE,
  longer: true,
  need: B0,
  also: ({ mainData: data }) => {
    flagAt(data, 8);
    checkEnd(data, VACUUM_REDIRECT_SIZE + 2 * data.readUInt16LE(0));
    return 0;
  },
};
