/**
 * The page primitives leave the same bytes behind as PostgreSQL's bufpage.c, stale ones included, keep every tuple that they should keep, and
 * refuse with a code what does not fit.
 */
import { strict as assert } from 'node:assert';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { isDbError } from '../../../src/engine/errors.js';
import { BLCKSZ } from '../../../src/engine/page/constants.js';
import {
  PD_HAS_FREE_LINES,
  pdFlags,
  pdLower,
  pdUpper,
  setPdSpecial,
} from '../../../src/engine/page/header.js';
import {
  LP_DEAD,
  LP_REDIRECT,
  LP_UNUSED,
  addItem,
  indexMultiDelete,
  indexTupleDelete,
  indexTupleDeleteNoCompact,
  indexTupleOverwrite,
  item,
  itemCount,
  itemId,
  pageInit,
  repairFragmentation,
  setItemId,
  tempPageCopySpecial,
  truncateLinePointerArray,
} from '../../../src/engine/page/items.js';
import { pageOps, performOp } from './page-ops.js';

/** SHA-256 over (0 done | 1 refused, page) after each of 9000 operations, as the C functions of PostgreSQL 18 gave it. */
const BUFPAGE_DIGESTS = [
  'c089cc4c09892c3a349e4755574fcc6472d4109c14ee8d86dfed54fd37a5e331',
  'c5f77c0eabfeeb47a3d4331e497d244acb295966e7615bbdd7592e4b39685681',
  'bdc766983729b593ed974c7af7db2a416abd18426249b515f29140be6b26e33e',
];

function emptyPage(special = 16): Buffer {
  const page = Buffer.alloc(BLCKSZ);
  pageInit(page, special);
  return page;
}

function pageWith(sizes: number[]): Buffer {
  const page = emptyPage(0);
  sizes.forEach((size, i) => addItem(page, Buffer.alloc(size, i + 1), i + 1));
  return page;
}

function refuses(code: string, act: () => void): void {
  assert.throws(act, (err) => isDbError(err, code));
}

describe('page items', () => {
  for (const [i, digest] of BUFPAGE_DIGESTS.entries()) {
    it(`leave the bytes that bufpage.c leaves, operations ${i + 1}`, () => {
      const page = Buffer.alloc(BLCKSZ);
      const hash = createHash('sha256');
      for (const op of pageOps(i + 1, 9000, page)) {
        const before = Buffer.from(page);
        let refused = 0;
        try {
          performOp(page, op);
        } catch (err) {
          assert.ok(isDbError(err), String(err));
          before.copy(page);
          refused = 1;
        }
        hash.update(Buffer.from([refused])).update(page);
      }
      assert.equal(hash.digest('hex'), digest);
    });
  }

  it('keep an index page equal to a list of tuples, without gaps', () => {
    const tuple = fc.uint8Array({ minLength: 1, maxLength: 200 }).map((bytes) => Buffer.from(bytes));
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ op: fc.constant('add' as const), at: fc.nat(500), tuple }) },
      { weight: 2, arbitrary: fc.record({ op: fc.constant('replace' as const), at: fc.nat(500), tuple }) },
      { weight: 1, arbitrary: fc.record({ op: fc.constant('delete' as const), at: fc.nat(500), tuple }) },
      { weight: 1, arbitrary: fc.record({ op: fc.constant('deleteMany' as const), at: fc.integer({ min: 2, max: 9 }), tuple }) },
    ); // prettier-ignore
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 120 }), (steps) => {
        const page = emptyPage();
        let model: Buffer[] = [];
        for (const s of steps) {
          const at = s.at % (model.length + (s.op === 'add' ? 1 : 0) || 1);
          if (s.op === 'add') {
            if (pdUpper(page) - pdLower(page) < s.tuple.length + 12) continue;
            addItem(page, s.tuple, at + 1);
            model.splice(at, 0, s.tuple);
          } else if (model.length === 0) continue;
          else if (s.op === 'replace') {
            if (pdUpper(page) - pdLower(page) < s.tuple.length) continue;
            indexTupleOverwrite(page, at + 1, s.tuple);
            model[at] = s.tuple;
          } else if (s.op === 'delete') {
            indexTupleDelete(page, at + 1);
            model.splice(at, 1);
          } else {
            const offnums = model.map((_, i) => i + 1).filter((n) => n % s.at === 1);
            indexMultiDelete(page, offnums);
            model = model.filter((_, i) => (i + 1) % s.at !== 1);
          }
          assert.equal(itemCount(page), model.length);
          model.forEach((t, i) => assert.ok(item(page, i + 1).equals(t), `item ${i + 1} after ${s.op}`));
          const used = model.reduce((sum, t) => sum + Math.ceil(t.length / 8) * 8, 0);
          assert.equal(pdUpper(page), BLCKSZ - 16 - used);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('repair a pruned heap page: close gaps, drop unused pointers at the end, note those that stay', () => {
    const page = pageWith([40, 41, 42, 43, 44]);
    setItemId(page, 2, 0, LP_UNUSED, 0);
    setItemId(page, 3, 1, LP_REDIRECT, 0);
    setItemId(page, 5, 0, LP_UNUSED, 0);
    repairFragmentation(page);
    assert.equal(itemCount(page), 4);
    assert.deepEqual(
      [pdUpper(page), pdFlags(page) & PD_HAS_FREE_LINES],
      [BLCKSZ - 40 - 48, PD_HAS_FREE_LINES],
    );
    assert.deepEqual(itemId(page, 3), { off: 1, flags: LP_REDIRECT, len: 0 });
    assert.ok(item(page, 1).equals(Buffer.alloc(40, 1)) && item(page, 4).equals(Buffer.alloc(43, 4)));
    setItemId(page, 1, 0, LP_DEAD, 0);
    setItemId(page, 2, 0, LP_DEAD, 0);
    setItemId(page, 4, 0, LP_DEAD, 0);
    repairFragmentation(page);
    assert.deepEqual([itemCount(page), pdUpper(page), pdFlags(page)], [4, BLCKSZ, 0]);
  });

  it('truncate the line pointers of a vacuumed heap page, but keep one', () => {
    const page = pageWith([40, 40, 40]);
    for (const offnum of [1, 2, 3]) setItemId(page, offnum, 0, LP_UNUSED, 0);
    truncateLinePointerArray(page);
    assert.deepEqual([itemCount(page), pdFlags(page)], [1, PD_HAS_FREE_LINES]);
  });

  it('keep item numbers when told to', () => {
    const page = pageWith([40, 41, 42]);
    indexTupleDeleteNoCompact(page, 2);
    assert.deepEqual(itemId(page, 2), { off: 0, flags: LP_UNUSED, len: 0 });
    assert.ok(item(page, 3).equals(Buffer.alloc(42, 3)));
    indexTupleDeleteNoCompact(page, 3);
    assert.equal(itemCount(page), 2);
    refuses('REDO_BAD_ITEM', () => item(page, 2));
  });

  it('copy only the special area to a temporary page', () => {
    const page = emptyPage(16);
    page.fill(7, BLCKSZ - 16);
    addItem(page, Buffer.alloc(100, 1), 1);
    const temp = Buffer.alloc(BLCKSZ, 0xff);
    tempPageCopySpecial(page, temp);
    const expected = emptyPage(16);
    expected.fill(7, BLCKSZ - 16);
    assert.ok(temp.equals(expected));
  });

  it('refuse what does not fit or does not exist', () => {
    const page = pageWith([4000, 4000]);
    refuses('REDO_ADD_ITEM', () => addItem(page, Buffer.alloc(200), 1));
    refuses('REDO_ADD_ITEM', () => addItem(page, Buffer.alloc(8), 4));
    refuses('REDO_ADD_ITEM', () => addItem(page, Buffer.alloc(8), 0));
    refuses('REDO_ADD_ITEM', () => addItem(page, Buffer.alloc(8), 2, { overwrite: true }));
    refuses('REDO_ADD_ITEM', () => indexTupleOverwrite(page, 1, Buffer.alloc(4200)));
    refuses('REDO_BAD_ITEM', () => indexTupleDelete(page, 3));
    refuses('REDO_BAD_ITEM', () => indexMultiDelete(page, [2, 1]));
    const many = pageWith(Array<number>(291).fill(8));
    refuses('REDO_ADD_ITEM', () => addItem(many, Buffer.alloc(8), 292, { heap: true }));
    setItemId(page, 1, 8190, 1, 100);
    refuses('REDO_BAD_ITEM', () => item(page, 1));
    refuses('REDO_BAD_ITEM', () => repairFragmentation(page));
    setPdSpecial(page, 9000);
    refuses('REDO_BAD_PAGE', () => addItem(page, Buffer.alloc(8), 1));
  });
});
