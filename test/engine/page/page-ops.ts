/**
 * A reproducible stream of page operations, legal and illegal ones, over pages with stale bytes: the same operations were fed to the C
 * functions of PostgreSQL 18's bufpage.c to obtain the digests in items.test.ts.
 */
import { BLCKSZ } from '../../../src/engine/page/constants.js';
import {
  addItem,
  indexMultiDelete,
  indexTupleDelete,
  indexTupleDeleteNoCompact,
  indexTupleOverwrite,
  itemCount,
  pageInit,
  repairFragmentation,
  setItemId,
  truncateLinePointerArray,
} from '../../../src/engine/page/items.js';

export type PageOpName =
  | 'init' | 'add' | 'delete' | 'multiDelete' | 'noCompact' | 'overwrite' | 'repair' | 'truncate' | 'load'; // prettier-ignore

export interface PageOp {
  readonly name: PageOpName;
  /** Special size for 'init', else the offset number. */
  readonly arg: number;
  /** 1 overwrite, 2 heap. */
  readonly flags: number;
  /** Tuple, page to load, or u16 offset numbers. */
  readonly data: Buffer;
}

/** Linear congruential generator: the operations must never change with a library version. */
class Dice {
  constructor(private state: number) {}
  roll(below: number): number {
    this.state = (Math.imul(this.state, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.state / 2 ** 32) * below);
  }
  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.roll(256)));
  }
}

const NOTHING = Buffer.alloc(0);

/** Yields the operations one by one; `page` must be up to date (with the operation applied or refused) when the next is asked for. */
export function* pageOps(seed: number, count: number, page: Buffer): Generator<PageOp> {
  const dice = new Dice(seed);
  let kind = 0;
  for (let i = 0; i < count; i++) {
    if (i % 300 === 0) {
      kind = i % 900; // 0 B-tree-like, 300 heap-like, 600 with fixed item numbers
      yield { name: 'load', arg: 0, flags: 0, data: dice.bytes(BLCKSZ) };
      yield { name: 'init', arg: [16, 0, 8][kind / 300]!, flags: 0, data: NOTHING };
      const stale = Buffer.from(page);
      dice.bytes(BLCKSZ).copy(stale, 24, 24, page.readUInt16LE(14));
      yield { name: 'load', arg: 0, flags: 0, data: stale };
    }
    yield nextOp(dice, kind, page);
  }
}

function nextOp(dice: Dice, kind: number, page: Buffer): PageOp {
  const count = itemCount(page);
  const offnum = dice.roll(20) === 0 ? dice.roll(count + 4) : 1 + dice.roll(Math.max(count, 1));
  const length = [8 + dice.roll(40), 16, 24, 1 + dice.roll(300), dice.roll(60) === 0 ? 2000 : 32][
    dice.roll(5)
  ]!;
  const choice = dice.roll(100);
  if (choice < 55) {
    const flags = kind === 0 ? 0 : dice.roll(2) | (kind === 300 ? 2 : 0);
    const at = dice.roll(3) === 0 ? count + 1 : dice.roll(count + 2);
    return { name: 'add', arg: at, flags, data: dice.bytes(length) };
  }
  if (kind === 300) return heapOp(dice, choice, page);
  if (choice < 72) return { name: kind === 0 ? 'delete' : 'noCompact', arg: offnum, flags: 0, data: NOTHING };
  if (choice < 94 || kind !== 0)
    return { name: 'overwrite', arg: offnum, flags: 0, data: dice.bytes(length) };
  const percent = [5, 30, 90][dice.roll(3)]!;
  const chosen = Array.from({ length: count }, (_, i) => i + 1).filter(() => dice.roll(100) < percent);
  const data = Buffer.alloc(chosen.length * 2);
  chosen.forEach((n, i) => data.writeUInt16LE(n, i * 2));
  return { name: 'multiDelete', arg: 0, flags: 0, data };
}

/** Pruning: some line pointers become unused, dead or redirects, then the page is tidied up. */
function heapOp(dice: Dice, choice: number, page: Buffer): PageOp {
  if (choice >= 92) return { name: 'truncate', arg: 0, flags: 0, data: NOTHING };
  if (choice >= 82) return { name: 'repair', arg: 0, flags: 0, data: NOTHING };
  const data = Buffer.from(page);
  const count = itemCount(page);
  for (let n = dice.roll(4); n > 0 && count > 0; n--) {
    const offnum = dice.roll(3) === 0 ? count : 1 + dice.roll(count);
    const flags = [0, 0, 2, 3][dice.roll(4)]!;
    setItemId(data, offnum, flags === 2 ? 1 : 0, flags, 0);
  }
  return { name: 'load', arg: 0, flags: 0, data };
}

/** Performs an operation. Throws what the page functions throw. */
export function performOp(page: Buffer, op: PageOp): void {
  switch (op.name) {
    case 'init':
      return pageInit(page, op.arg);
    case 'add':
      return addItem(page, op.data, op.arg, { overwrite: (op.flags & 1) !== 0, heap: (op.flags & 2) !== 0 });
    case 'delete':
      return indexTupleDelete(page, op.arg);
    case 'multiDelete':
      return indexMultiDelete(page, offnumsOf(op));
    case 'noCompact':
      return indexTupleDeleteNoCompact(page, op.arg);
    case 'overwrite':
      return indexTupleOverwrite(page, op.arg, op.data);
    case 'repair':
      return repairFragmentation(page);
    case 'truncate':
      return truncateLinePointerArray(page);
    case 'load':
      op.data.copy(page);
  }
}

export function offnumsOf(op: PageOp): number[] {
  return Array.from({ length: op.data.length / 2 }, (_, i) => op.data.readUInt16LE(i * 2));
}
