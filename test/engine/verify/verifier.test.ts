/**
 * What the verifier proves, and what it does not: on hand-made records, that a right page passes, that a wrong one is found and shown, that
 * a page of unknown content is never counted as compared, and that cut, dropped and copied relations are what they should be.
 */
import assert from 'node:assert/strict';
import type { DbError } from '../../../src/engine/errors.js';
import { lsn, writePageLsn } from '../../../src/engine/lsn.js';
import { pageInit } from '../../../src/engine/page/header.js';
import { applyRecord } from '../../../src/engine/redo/index.js';
import {
  EMPTY_BASE,
  formatMismatch,
  MemoryPages,
  RedoVerifier,
  type BasePages,
  type Mismatch,
  type TypeCount,
} from '../../../src/engine/verify/index.js';
import { Rmgr, type RelFileLocator, type WalRecord } from '../../../src/engine/wal/types.js';
import { insertedRowAt, withAlteredImage } from '../../helpers/redo-alter.js';
import { CTX, heapPage, record, REL, rowData, u16s, u32s } from '../../helpers/redo-records.js';

const AT = 0x3000000;

/** The n-th record of a log: a row goes into block `blkno`, and `image` is the page that PostgreSQL made of it. */
function checkedInsert(n: number, offnum: number, image: Buffer | null, blkno = 3): WalRecord {
  const main = [...u16s(offnum), 0];
  const data = rowData(100 + n);
  return record({
    rmid: Rmgr.Heap,
    info: image ? 0x02 : 0,
    main,
    blocks: [{ blkno, data, ...(image ? { image, imageInfo: 0 } : {}) }],
    endLsn: lsn(AT + 0x100 * n),
  });
}

/** The same with the right image: `page` with the row in it. */
function honestInsert(n: number, offnum: number, page: Buffer, blkno = 3): WalRecord {
  const rec = checkedInsert(n, offnum, null, blkno);
  applyRecord(page, rec, rec.blocks[0]!, CTX);
  return checkedInsert(n, offnum, page, blkno);
}

/** Block 3 of REL holds `page`; nothing else exists. */
function baseWith(page: Buffer): BasePages {
  const isRel = (rel: RelFileLocator, fork: number): boolean => rel.relNumber === REL.relNumber && fork === 0;
  return {
    size: (rel, fork) => (isRel(rel, fork) ? 4 : null),
    read: (_rel, _fork, blkno) => (blkno === 3 ? Buffer.from(page) : Buffer.alloc(8192)),
    list: () => [{ ...REL, fork: 0 }],
  };
}

describe('redo verifier', () => {
  let mismatches: Mismatch[];
  let failures: DbError[];

  beforeEach(() => {
    mismatches = [];
    failures = [];
  });

  function verifier(pages: MemoryPages, more: object = {}): RedoVerifier {
    return new RedoVerifier(pages, {
      redo: CTX,
      onMismatch: (m) => mismatches.push(m),
      onFailure: (err) => failures.push(err),
      ...more,
    });
  }

  function counts(v: RedoVerifier, type = 'Heap/INSERT'): Partial<TypeCount> {
    const { seen, compared, mismatched, adopted, unknown, failed } = v.types.get(type)!;
    return { seen, compared, mismatched, adopted, unknown, failed };
  }
  const none = { seen: 0, compared: 0, mismatched: 0, adopted: 0, unknown: 0, failed: 0 };

  it('passes pages that are as PostgreSQL made them', () => {
    const theirs = heapPage(2);
    const v = verifier(new MemoryPages(baseWith(heapPage(2))), { repeat: true });
    v.record(honestInsert(1, 3, theirs));
    v.record(honestInsert(2, 4, theirs));
    assert.deepEqual(counts(v), { ...none, seen: 2, compared: 2 });
    assert.equal(v.types.get('Heap/INSERT')!.results.applied, 2);
    assert.deepEqual(mismatches, []);
  });

  it('finds one wrong byte, shows it, and judges what follows by itself', () => {
    const theirs = heapPage(2);
    const v = verifier(new MemoryPages(baseWith(heapPage(2))));
    const lie = withAlteredImage(honestInsert(1, 3, theirs));
    v.record(lie);
    // PostgreSQL would have gone on from its own page, wrong or not.
    const at = insertedRowAt(lie);
    theirs[at] = theirs[at]! ^ 0xff;
    v.record(honestInsert(2, 4, theirs));
    assert.deepEqual(counts(v), { ...none, seen: 2, compared: 2, mismatched: 1 });
    assert.equal(mismatches.length, 1);
    const text = formatMismatch(mismatches[0]!).join('\n');
    assert.match(
      text,
      /^0\/3000100 Heap\/INSERT block 0 = 1663\/5\/16384 fork main blk 3: 1 byte\(s\) differ/,
    );
    assert.match(text, /rmgr: Heap .* desc: INSERT off: 3/);
    assert.match(
      text,
      /tuple 3\n {4}here +xmin 800 .*ctid \(3,3\).*\n {4}PostgreSQL +xmin 991 .*ctid \(3,3\)/,
    );
    assert.match(text, /\n +8096 +20030000 .* df030000 [^\n]*$/);
  });

  it('shows a missing row: header, line pointer and tuple of one side only', () => {
    const theirs = heapPage(2);
    const rec = honestInsert(1, 3, theirs);
    const v = verifier(new MemoryPages(baseWith(heapPage(1))));
    v.record(rec); // the base lacks a row, so row 3 does not fit
    assert.match(failures[0]!.message, /Heap\/INSERT at 0\/3000100/);
    const other = verifier(new MemoryPages(baseWith(heapPage(3))));
    other.record(checkedInsert(1, 4, theirs));
    const text = formatMismatch(mismatches[0]!).join('\n');
    assert.match(text, /pd_lower +40 +36/);
    assert.match(text, /item 4 +normal at \d+, 28 bytes +-/);
    assert.match(text, /tuple 4\n {4}here .*xmin 800/);
  });

  it('believes the first image of a page when nobody knows what was there, and only the first', () => {
    const theirs = heapPage(2);
    const v = verifier(new MemoryPages(null));
    v.record(checkedInsert(1, 1, null)); // of whatever is there
    const first = heapPage(5, lsn(0x1000));
    v.record(checkedInsert(2, 5, first));
    theirs.set(first);
    writePageLsn(theirs, AT + 0x200);
    v.record(honestInsert(3, 6, theirs));
    assert.deepEqual(counts(v), { ...none, seen: 3, unknown: 1, adopted: 1, compared: 1 });
    assert.deepEqual(mismatches, []);
  });

  it('goes on from the image after a record that cannot be replayed, or throws where nobody is told', () => {
    const theirs = heapPage(2);
    const bad = checkedInsert(1, 9, theirs);
    const v = verifier(new MemoryPages(baseWith(heapPage(2))));
    v.record(bad);
    writePageLsn(theirs, AT + 0x100);
    v.record(honestInsert(2, 3, theirs));
    assert.deepEqual(counts(v), { ...none, seen: 2, failed: 1, compared: 1 });
    assert.equal(failures.length, 1);
    const strict = verifier(new MemoryPages(baseWith(heapPage(2))), { onFailure: undefined });
    assert.throws(() => strict.record(bad), /item 9/);
    assert.throws(
      () => strict.record(record({ rmid: 200, info: 0 })),
      /resource manager 200|unknown resource manager/,
    );
  });

  it('replays what it is not to judge, without a word', () => {
    const theirs = heapPage(2);
    const v = verifier(new MemoryPages(baseWith(heapPage(2))));
    v.record(withAlteredImage(honestInsert(1, 3, theirs)), false);
    v.record(honestInsert(2, 4, theirs));
    assert.deepEqual(counts(v), { ...none, seen: 1, compared: 1 });
    assert.equal(v.records, 1);
    assert.deepEqual(mismatches, []);
  });

  it('forgets what a truncation cut off, in the base too', () => {
    const pages = new MemoryPages(baseWith(heapPage(2)));
    const v = verifier(pages);
    const { spcOid, dbOid, relNumber } = REL;
    v.record(record({ rmid: Rmgr.Storage, info: 0x20, main: u32s(3, spcOid, dbOid, relNumber, 1) }));
    assert.equal(pages.fork(REL, 0).length, 3);
    v.record(checkedInsert(1, 3, null));
    assert.equal(v.types.get('Heap/INSERT')!.results.notfound, 1);
  });

  it('knows that a relation made by the log was empty, and that a truncated one was not made by it', () => {
    const v = verifier(new MemoryPages(null));
    const { spcOid, dbOid, relNumber } = REL;
    const create = record({ rmid: Rmgr.Storage, info: 0x10, main: u32s(spcOid, dbOid, relNumber, 0) });
    const truncate = record({ rmid: Rmgr.Storage, info: 0x20, main: u32s(0, spcOid, dbOid, relNumber, 1) });
    v.record(truncate);
    v.record(checkedInsert(1, 1, null));
    assert.equal(counts(v).unknown, 1);
    v.record(create);
    v.record(checkedInsert(2, 1, null));
    assert.equal(counts(v).unknown, 1);
    assert.equal(v.types.get('Heap/INSERT')!.results.notfound, 1);
  });

  it('copies databases with what the log changed, and drops them', () => {
    const theirs = heapPage(2);
    const base = baseWith(heapPage(2));
    const pages = new MemoryPages(base);
    const v = verifier(pages);
    v.record(honestInsert(1, 3, theirs));
    v.record(record({ rmid: Rmgr.Database, info: 0x00, main: u32s(77, 1663, 5, 1663) }));
    const copy = { ...REL, dbOid: 77 };
    assert.deepEqual(pages.page(copy, 0, 3), pages.page(REL, 0, 3));
    assert.notEqual(pages.page(copy, 0, 3), pages.page(REL, 0, 3));
    v.record(record({ rmid: Rmgr.Database, info: 0x20, main: u32s(5, 1, 1663) }));
    assert.equal(pages.existing(REL, 0, 3), null);
    assert.notEqual(pages.existing(copy, 0, 3), null);
  });

  it('compares the visibility bits that the mask hides', () => {
    const map = Buffer.alloc(8192);
    pageInit(map, 0);
    const visible = (n: number, image: Buffer): WalRecord =>
      record({
        rmid: Rmgr.Heap2,
        info: 0x42,
        main: [...u32s(700), 0x01],
        blocks: [{ fork: 2, blkno: 0, image, imageInfo: 0 }, { blkno: 3 }],
        endLsn: lsn(AT + 0x100 * n),
      });
    const right = Buffer.from(map);
    right[24] = 0x01 << 6;
    const wrong = Buffer.from(map);
    wrong[24] = 0x03 << 6;
    const v = verifier(new MemoryPages(baseWith(heapPage(2))));
    v.record(visible(1, right));
    assert.equal(mismatches.length, 0);
    v.record(visible(2, wrong));
    assert.equal(mismatches[0]?.summary, 'bits of heap block 3: ours 1, theirs 3');
    // A row comes: the map's bits go, and with EMPTY_BASE there is no map to clear.
    const clearing = record({
      rmid: Rmgr.Heap,
      info: 0,
      main: [...u16s(3), 0x01],
      blocks: [{ blkno: 3, data: rowData(1) }],
      endLsn: lsn(AT + 0x300),
    });
    const pages = new MemoryPages(EMPTY_BASE);
    verifier(pages).record(clearing);
    assert.equal(pages.existing(REL, 2, 0), null);
  });
});
