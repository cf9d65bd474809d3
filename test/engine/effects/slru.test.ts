/**
 * Proves what a live server seldom writes: truncations in wrap-around order, members that go on at position 0, and multixact WAL of 18.0 and 18.1,
 * whose offsets pages are zeroed after they were written to. Also that status bits leave their neighbours alone.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { advance } from '../../../src/engine/control/advance.js';
import type { ControlState } from '../../../src/engine/control/state.js';
import { nextXidPast, fullXidNear, xidPrecedes } from '../../../src/engine/control/xid.js';
import { isDbError } from '../../../src/engine/errors.js';
import type { Lsn } from '../../../src/engine/lsn.js';
import {
  applySlruDelta,
  effectsOf,
  NO_EFFECTS,
  slruSegmentPrecedes,
  type Effect,
} from '../../../src/engine/pages/effects/index.js';
import { statusDelta } from '../../../src/engine/pages/effects/slru.js';
import { Rmgr, type WalRecord } from '../../../src/engine/wal/types.js';

const TWO_32 = 0x1_0000_0000;

function record(rmid: number, info: number, mainData: Buffer, xid = 0): WalRecord {
  const lsn = 0x1000028 as Lsn;
  const endLsn = 0x1000100 as Lsn;
  return {
    startLsn: lsn,
    endLsn,
    xid,
    prevLsn: lsn,
    info,
    rmid,
    blocks: [],
    mainData,
    origin: 0,
    toplevelXid: 0,
    raw: mainData,
  };
}

function words(...values: number[]): Buffer {
  const buf = Buffer.alloc(values.length * 4);
  values.forEach((value, i) => buf.writeUInt32LE(value, i * 4));
  return buf;
}

const createId = (multi: number, offset: number, ...xids: number[]): WalRecord =>
  record(Rmgr.MultiXact, 0x20, words(multi, offset, xids.length, ...xids.flatMap((xid) => [xid, 1])));
const zeroOffsets = (pageno: number): WalRecord => record(Rmgr.MultiXact, 0x00, words(pageno, 0));

function newState(): ControlState {
  const checkpoint = {
    redo: 0 as Lsn, thisTimeLineId: 1, prevTimeLineId: 1, fullPageWrites: false, walLevel: 1, nextXid: 1000, nextOid: 16384, nextMulti: 2040,
    nextMultiOffset: 100, oldestXid: 700, oldestXidDb: 1, oldestMulti: 1, oldestMultiDb: 1, time: 0, oldestCommitTsXid: 0,
    newestCommitTsXid: 0, oldestActiveXid: 0,
  }; // prettier-ignore
  const parameters = {
    maxConnections: 100, maxWorkerProcesses: 8, maxWalSenders: 10, maxPreparedXacts: 0, maxLocksPerXact: 64, walLevel: 1,
    walLogHints: false, trackCommitTimestamp: false,
  }; // prettier-ignore
  return {
    systemIdentifier: '1',
    segmentSize: 16 * 1024 * 1024,
    checkpoint,
    parameters,
    lastRecordLsn: 0 as Lsn,
    lastRecordEnd: 0 as Lsn,
    lastCheckpoint: null,
    multixactOffsets: { lastInitialized: 0, preInitialized: -1 },
    controlImage: '',
  };
}

/** Replays records onto SLRU pages; returns the pages by "slru page". */
function replay(state: ControlState, records: readonly WalRecord[]): Map<string, Buffer> {
  const pages = new Map<string, Buffer>();
  for (const rec of records) {
    for (const effect of effectsOf(rec, { control: state, secret: null })) {
      if (effect.kind !== 'slru') continue;
      const key = `${effect.slru} ${effect.pageno}`;
      if (!pages.has(key)) pages.set(key, Buffer.alloc(8192));
      applySlruDelta(pages.get(key)!, effect.delta);
    }
    advance(state, rec);
  }
  return pages;
}

describe('multixact effects', () => {
  const last = createId(2047, 200, 7, 8);
  const first = createId(2048, 202, 7, 9);

  for (const lastInitialized of [0, -1]) {
    it(`give the same pages for WAL of 18.1 and 18.2, offsets page ${lastInitialized === 0 ? '0' : 'not'} known`, () => {
      const start = (): ControlState => ({
        ...newState(),
        multixactOffsets: { lastInitialized, preInitialized: -1 },
      });
      const older = replay(start(), [last, zeroOffsets(1), first]);
      const newer = replay(start(), [zeroOffsets(1), last, first]);
      assert.deepEqual(older, newer);
      assert.equal(older.get('multixact_offsets 1')!.readUInt32LE(0), 202);
      assert.equal(older.get('multixact_offsets 0')!.readUInt32LE(2047 * 4), 200);
    });
  }

  it('keep the start of the next multixact between CREATE_ID and a late ZERO_OFF_PAGE', () => {
    const pages = replay(newState(), [last, zeroOffsets(1)]);
    assert.equal(pages.get('multixact_offsets 1')!.readUInt32LE(0), 202);
  });

  it('zero a page again when it comes round again', () => {
    const state = newState();
    const pages = replay(state, [last, zeroOffsets(1), first, zeroOffsets(1)]);
    assert.ok(pages.get('multixact_offsets 1')!.equals(Buffer.alloc(8192)));
  });

  it('go on with member 0 after the last possible one, and store 1 for a start of 0', () => {
    const pages = replay(newState(), [createId(5, TWO_32 - 2, 10, 11, 12), createId(8, TWO_32 - 2, 20, 21)]);
    const lastPage = pages.get('multixact_members 2625285')!;
    const index = (TWO_32 - 2) % 1636;
    const at = Math.floor(index / 4) * 20 + 4 + (index % 4) * 4;
    assert.deepEqual([lastPage.readUInt32LE(at), lastPage.readUInt32LE(at + 4)], [20, 21]);
    assert.equal(pages.get('multixact_members 0')!.readUInt32LE(4), 12);
    assert.equal(pages.get('multixact_members 0')![0], 1);
    const offsets = pages.get('multixact_offsets 0')!;
    assert.deepEqual(
      [6, 9].map((multi) => offsets.readUInt32LE(multi * 4)),
      [1, 1],
    );
  });

  it('drop ranges of member segments, also over the end, and offsets before the oldest multixact', () => {
    const truncate = (endOffset: number, startMember: number, endMember: number): readonly Effect[] =>
      effectsOf(record(Rmgr.MultiXact, 0x30, words(5, 1, endOffset, startMember, endMember)), {
        control: newState(),
        secret: null,
      });
    const slru = 'multixact_members';
    const perSegment = 1636 * 32;
    assert.deepEqual(truncate(4096, 10, 3 * perSegment + 7), [
      { kind: 'slruDrop', slru, firstPage: 0, endPage: 96 },
      { kind: 'slruTruncate', slru: 'multixact_offsets', cutoffPage: 1 },
    ]);
    assert.deepEqual(truncate(1, TWO_32 - 1, 2 * perSegment), [
      { kind: 'slruDrop', slru, firstPage: 2625280, endPage: 2625286 },
      { kind: 'slruDrop', slru, firstPage: 0, endPage: 64 },
      { kind: 'slruTruncate', slru: 'multixact_offsets', cutoffPage: 2097151 },
    ]);
  });
});

describe('SLRU truncation', () => {
  const segmentsOf = (slru: 'xact' | 'commit_ts', cutoff: number, segments: number[]): number[] =>
    segments.filter((segment) => slruSegmentPrecedes(slru, segment * 32 + 5, cutoff));

  it('removes whole segments before the cutoff page', () => {
    assert.deepEqual(segmentsOf('xact', 95, [0, 1, 2, 3]), [0, 1]);
    assert.deepEqual(segmentsOf('xact', 96, [0, 1, 2, 3]), [0, 1, 2]);
  });

  it('knows that pages of the last epoch precede those of this one', () => {
    assert.deepEqual(segmentsOf('xact', 40, [0, 1, 2, 0xffe, 0xfff]), [0, 0xffe, 0xfff]);
    assert.deepEqual(segmentsOf('xact', 0xfff * 32, [0, 1, 0xffe, 0xfff]), [0xffe]);
  });

  it('of clog is refused when it would take the page in use', () => {
    const at = (cutoffPage: number): readonly Effect[] =>
      effectsOf(record(Rmgr.CLOG, 0x10, words(cutoffPage, 0, 1, 1)), { control: newState(), secret: null });
    assert.equal(at(40), NO_EFFECTS);
    assert.deepEqual(at(0), [{ kind: 'slruTruncate', slru: 'xact', cutoffPage: 0 }]);
  });
});

describe('transaction ids', () => {
  it('advance past any xid in modulo order, and into the next epoch', () => {
    assert.equal(nextXidPast(1000, 999), 1000);
    assert.equal(nextXidPast(1000, 1000), 1001);
    assert.equal(nextXidPast(1000, TWO_32 - 5), 1000);
    assert.equal(nextXidPast(TWO_32 - 1, TWO_32 - 1), TWO_32 + 3);
    assert.equal(nextXidPast(3 * TWO_32 - 10, 3), 3 * TWO_32 + 4);
  });

  it('are found again as full ids around the next one', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 3, max: 2 ** 40 }),
        fc.integer({ min: 1, max: 2 ** 31 - 8 }),
        (next, age) => {
          const full = next - age;
          fc.pre(next % TWO_32 >= 3 && full >= 3 && full % TWO_32 >= 3);
          assert.equal(fullXidNear(next, full % TWO_32), full);
          assert.ok(xidPrecedes(full % TWO_32, next % TWO_32));
          assert.equal(nextXidPast(full, next % TWO_32), next + (next % TWO_32 === TWO_32 - 1 ? 4 : 1));
        },
      ),
    );
  });

  it('of any order and repetition leave exactly their statuses on the page', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 63 }), fc.integer({ min: 0, max: 3 }))),
        (changes) => {
          const page = Buffer.alloc(8192);
          const model = new Array<number>(64).fill(0);
          for (const [xid, status] of changes) {
            applySlruDelta(page, statusDelta(status, [xid + 32768 * 9]));
            model[xid] = status;
          }
          const bits = [...page.subarray(0, 16)].map((byte) => byte.toString(2).padStart(8, '0')).reverse();
          assert.equal(
            bits.join(''),
            model
              .map((s) => s.toString(2).padStart(2, '0'))
              .reverse()
              .join(''),
          );
          assert.ok(page.subarray(16).equals(Buffer.alloc(8192 - 16)));
        },
      ),
    );
  });

  it('make one delta per page of a transaction tree', () => {
    const time = Buffer.alloc(8, 7);
    const xinfo = words(0x2, 3, 32767, 32768, 32769);
    const rec = record(Rmgr.Transaction, 0x80, Buffer.concat([time, xinfo]), 32766);
    const control = newState();
    control.parameters.trackCommitTimestamp = true;
    const effects = effectsOf(rec, { control, secret: null });
    assert.deepEqual(
      effects.map((e) => e.kind === 'slru' && `${e.slru} ${e.pageno}`),
      ['xact 0', 'xact 1', 'commit_ts 40'],
    );
    advance(control, rec);
    assert.equal(control.checkpoint.nextXid, 32770);
    assert.equal(control.checkpoint.newestCommitTsXid, 32769);
  });
});

describe('refused records', () => {
  const context = { control: newState(), secret: null };

  it('tablespaces outside the data directory, with a hint', () => {
    const mainData = Buffer.concat([words(16500), Buffer.from('/srv/ts\0')]);
    assert.throws(
      () => effectsOf(record(Rmgr.Tablespace, 0, mainData), context),
      (err) =>
        isDbError(err, 'REDO_UNSUPPORTED') && err.reaction === 'usage' && /in-place/.test(err.hint ?? ''),
    );
  });

  it('unknown opcodes, resource managers and xinfo bits', () => {
    for (const rmid of [1, 2, 3, 4, 5, 6, 7, 18, 19, 21, 128])
      assert.throws(
        () => effectsOf(record(rmid, 0xf0, Buffer.alloc(64)), context),
        (err) => isDbError(err, 'REDO_UNKNOWN_RECORD'),
        `rmgr ${rmid}`,
      );
    const rec = record(Rmgr.Transaction, 0x80, Buffer.concat([Buffer.alloc(8), words(0x200)]), 5);
    assert.throws(
      () => effectsOf(rec, context),
      (err) => isDbError(err, 'REDO_BAD_RECORD'),
    );
  });

  it('cost nothing: records without effects share one empty array', () => {
    assert.equal(effectsOf(record(Rmgr.Btree, 0, Buffer.alloc(2)), context), NO_EFFECTS);
    assert.equal(effectsOf(record(Rmgr.Standby, 0, Buffer.alloc(4)), context), NO_EFFECTS);
    const insert = { ...record(Rmgr.Heap, 0, Buffer.from([1, 0, 0])) };
    assert.equal(effectsOf(insert, context), NO_EFFECTS);
  });
});
