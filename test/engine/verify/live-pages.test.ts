/**
 * Which pages the verifier inside ingest believes, on hand-made records and a store that stands still: what the batch changed, never what it cut off;
 * and when it asks for the batch to be written: after whatever makes pages vanish or appear unseen, and when it can keep no more.
 */
import assert from 'node:assert/strict';
import { lsn, type Lsn } from '../../../src/engine/lsn.js';
import type { PageKey } from '../../../src/engine/pages/types.js';
import { applyRecord } from '../../../src/engine/redo/index.js';
import { LiveVerifier } from '../../../src/engine/verify/index.js';
import { Rmgr, type WalRecord } from '../../../src/engine/wal/types.js';
import { CTX, heapPage, record, REL, rowData, u16s, u32s } from '../../helpers/redo-records.js';

const { spcOid, dbOid, relNumber } = REL;
const NEVER = (lines: string[]): void => assert.fail(lines.join('\n'));
let count = 0;

/** The next record of the log: row `offnum` into a block, with the page as PostgreSQL made it from `page`, which is changed. */
function insert(blkno: number, offnum: number, page: Buffer, init = false): WalRecord {
  const endLsn = lsn(0x4000000 + 0x100 * ++count);
  const spec = (image: Buffer | null): WalRecord =>
    record({
      rmid: Rmgr.Heap,
      info: (init ? 0x80 : 0) | 0x02,
      main: [...u16s(offnum), 0],
      blocks: [{ blkno, data: rowData(blkno), willInit: init, ...(image ? { image, imageInfo: 0 } : {}) }],
      endLsn,
    });
  const bare = spec(null);
  applyRecord(page, bare, bare.blocks[0]!, CTX);
  return spec(page);
}

/** A heap of four pages with two rows each, applied up to an LSN before the records. */
class Store {
  appliedLsn = lsn(0x3000000);
  asked = 0;
  constructor(private readonly nblocks = 4) {}

  appliedPage(key: PageKey): Buffer | null {
    this.asked++;
    return key.relNumber === relNumber && key.blkno < this.nblocks ? heapPage(2) : null;
  }
}

describe('pages of the verifier inside ingest', () => {
  const truncate = (blocks: number): WalRecord =>
    record({ rmid: Rmgr.Storage, info: 0x20, main: u32s(blocks, spcOid, dbOid, relNumber, 1) });

  it('reads a page once, and keeps what the batch did to it', () => {
    const store = new Store();
    const check = new LiveVerifier(store, { redo: CTX, onMismatch: NEVER });
    const theirs = heapPage(2);
    assert.equal(check.record(insert(1, 3, theirs)), false);
    assert.equal(check.record(insert(1, 4, theirs)), false);
    assert.deepEqual([store.asked, check.compared, check.mismatched], [1, 2, 0]);
    check.forget();
    // As if neither had come.
    check.record(insert(1, 3, heapPage(2)));
    assert.equal(store.asked, 2);
  });

  it('does not find again what was cut off, and wants a truncation written', () => {
    const shown: string[][] = [];
    const check = new LiveVerifier(new Store(), { redo: CTX, onMismatch: (lines) => shown.push(lines) });
    check.record(insert(3, 3, heapPage(2)));
    assert.equal(check.record(truncate(2)), true);
    // The store would still have the old page; written, it has not.
    const cut = new LiveVerifier(new Store(2), { redo: CTX, onMismatch: (lines) => shown.push(lines) });
    assert.equal(cut.record(insert(3, 1, Buffer.alloc(8192), true)), false);
    assert.equal(cut.record(truncate(2)), true);
    assert.throws(() => cut.record(insert(3, 2, heapPage(1))), { code: 'REDO_MISMATCH' });
    assert.match(shown[0]![0]!, /blk 3/);
  });

  it('wants drops and copies written', () => {
    const check = new LiveVerifier(new Store(), { redo: CTX, onMismatch: NEVER });
    const database = (info: number, main: number[]): WalRecord => record({ rmid: Rmgr.Database, info, main });
    assert.equal(check.record(database(0x00, u32s(77, 1663, 5, 1663))), true);
    assert.equal(check.record(database(0x10, u32s(78, 1663))), true);
    assert.equal(check.record(database(0x20, u32s(77, 1, 1663))), true);
    // xl_xact_commit: time, XACT_XINFO_HAS_RELFILELOCATORS, one relation.
    const commit = record({
      rmid: Rmgr.Transaction,
      info: 0x80,
      main: [...u32s(0, 0, 4, 1), ...u32s(spcOid, dbOid, relNumber)],
    });
    assert.equal(check.record(commit), true);
    assert.equal(check.record(record({ rmid: Rmgr.Transaction, info: 0x00, main: u32s(0, 0) })), false);
  });

  it('lets go of what is written only, and wants a batch written that it cannot hold', () => {
    const store = new Store();
    const check = new LiveVerifier(store, { redo: CTX, maxPages: 2, onMismatch: NEVER });
    const pages = [0, 1, 2].map(() => heapPage(2));
    const wants = pages.map((page, blkno) => check.record(insert(blkno, 3, page)));
    assert.deepEqual(wants, [false, false, true]);
    // It was not: all three are still here.
    for (const [blkno, page] of pages.entries()) check.record(insert(blkno, 4, page));
    assert.equal(store.asked, 3);
    store.appliedLsn = lsn(0x4000000 + 0x100 * count) as Lsn;
    assert.equal(check.record(insert(3, 3, heapPage(2))), false);
    assert.equal(store.asked, 4);
    assert.throws(() => check.record(insert(0, 5, pages[0]!)), /item 5/); // read anew from a store that stands still
  });
});
