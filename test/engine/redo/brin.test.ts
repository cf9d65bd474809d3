/**
 * What this proves: every BRIN record that real PostgreSQL writes makes the same page here as there, the range map and the page LSNs
 * included, with and without page images in the log; records and pages that cannot be are refused with a coded error.
 */
import assert from 'node:assert/strict';
import { isDbError } from '../../../src/engine/errors.js';
import {
  BRIN_EVACUATE_PAGE,
  brinFlags,
  brinMetaInit,
  brinPageInit,
  BrinPageType,
  parseBrinPage,
  setBrinFlags,
} from '../../../src/engine/page/brin.js';
import { applyRecord, assertReplayable } from '../../../src/engine/redo/index.js';
import { maskPage } from '../../../src/engine/redo/mask.js';
import { Rmgr, type WalRecord } from '../../../src/engine/wal/types.js';
import { assertDamageIsRefused } from '../../helpers/redo-damage.js';
import { CTX, record, START, u16s, u32s, type RecordSpec } from '../../helpers/redo-records.js';
import { coverageTable } from '../../helpers/redo-replay.js';
import { assertCoverage, assertExact, runAndReplay, runFile, type Outcome } from '../../helpers/redo-run.js';

const TYPES = [
  'BRIN/CREATE_INDEX',
  'BRIN/INSERT',
  'BRIN/INSERT+INIT',
  'BRIN/UPDATE',
  'BRIN/UPDATE+INIT',
  'BRIN/SAMEPAGE_UPDATE',
  'BRIN/REVMAP_EXTEND',
  'BRIN/DESUMMARIZE',
];

const TRAITS = [
  'BRIN/INSERT in a later page of the range map',
  'BRIN/INSERT of a placeholder',
  'BRIN/UPDATE in a later page of the range map',
  'BRIN/UPDATE to an earlier page',
  'BRIN/UPDATE moves a tuple out of the way of the range map',
  'BRIN/SAMEPAGE_UPDATE of a placeholder',
  'BRIN/REVMAP_EXTEND beyond the first page',
  'BRIN/DESUMMARIZE in a later page of the range map',
];

describe('BRIN redo, against the pages that PostgreSQL made', function () {
  this.timeout(120_000);

  describe('without page images in the log', () => {
    let outcome: Outcome;
    before(async () => {
      outcome = await runAndReplay({ full_page_writes: 'off', autovacuum: 'off' }, CTX, (server) =>
        runFile(server, 'brin.sql'),
      );
    });

    it('makes the same pages', () => {
      if (process.env['REDO_COVERAGE']) console.log(coverageTable(outcome.report));
      assertExact(outcome);
    });

    it('has met every record type and variant', () => assertCoverage(outcome.report, TYPES, TRAITS));

    it('answers damaged records with a coded error that names the LSN, whatever the damage', () => {
      const samples = outcome.report.samples.filter(({ rec }) => rec.rmid === Rmgr.BRIN);
      assert.ok(samples.length >= 30, `${samples.length} samples`);
      assertDamageIsRefused(samples);
    });
  });

  describe('with page images in the log', () => {
    let outcome: Outcome;
    before(async () => {
      outcome = await runAndReplay({ autovacuum: 'off' }, CTX, (server) => runFile(server, 'brin.sql'));
    });

    it('makes the same pages', () => {
      if (process.env['REDO_COVERAGE']) console.log(coverageTable(outcome.report));
      assertExact(outcome);
    });

    it('has met records with an image to apply', () => {
      for (const type of ['BRIN/INSERT', 'BRIN/UPDATE', 'BRIN/SAMEPAGE_UPDATE', 'BRIN/DESUMMARIZE'])
        assert.ok((outcome.report.types.get(type)?.results.restored ?? 0) > 0, `${type} never with an image`);
    });
  });
});

/** Summary tuple of `heapBlk` whose values begin at byte 8. */
function tuple(heapBlk: number, ...values: number[]): Buffer {
  return Buffer.from([...u32s(heapBlk), 8, 0, 0, 0, ...u32s(...values)]);
}

function page(type: number): Buffer {
  const bytes = Buffer.alloc(8192);
  brinPageInit(bytes, type);
  return bytes;
}

/** Whatever was applied before: the records of this test end at one and the same LSN. */
function apply(rec: WalRecord, id: number, to: Buffer): Buffer {
  to.fill(0, 0, 8);
  assert.equal(applyRecord(to, rec, rec.blocks[id]!, CTX), 'applied');
  return to;
}

const insert = (offnum: number, heapBlk: number, more: Partial<RecordSpec> = {}): WalRecord =>
  record({
    rmid: Rmgr.BRIN,
    info: 0x10,
    main: [...u32s(heapBlk, 1), ...u16s(offnum)],
    blocks: [{ blkno: 9, data: tuple(heapBlk, 1, 2) }, { blkno: 1 }],
    ...more,
  });

describe('BRIN redo, on its own', () => {
  it('a range map that grew, filled and lost an entry reads as such', () => {
    const extend = record({
      rmid: Rmgr.BRIN,
      info: 0x40,
      main: u32s(2),
      blocks: [{ blkno: 0 }, { blkno: 2, willInit: true }],
    });
    const meta = Buffer.alloc(8192);
    brinMetaInit(meta, 4, 1);
    assert.deepEqual(parseBrinPage(apply(extend, 0, meta)).meta, {
      version: 1,
      pagesPerRange: 4,
      lastRevmapPage: 2,
    });
    const map = apply(extend, 1, Buffer.alloc(8192, 0x77));
    assert.deepEqual(parseBrinPage(map).entries, []);

    const heapBlk = 4 * (1360 + 1359); // the last range of the second page
    const first = insert(3, heapBlk, {
      main: [...u32s(heapBlk, 4), ...u16s(3)],
      blocks: [{ blkno: 0x10009, data: tuple(heapBlk, 1, 2) }, { blkno: 2 }],
    });
    apply(first, 1, map);
    assert.deepEqual(parseBrinPage(map).entries, [{ index: 1359, block: 0x10009, offset: 3 }]);

    const gone = record({
      rmid: Rmgr.BRIN,
      info: 0x50,
      main: [...u32s(4, heapBlk + 3), ...u16s(3)],
      blocks: [{ blkno: 2 }, { blkno: 9 }],
    });
    apply(gone, 0, map);
    assert.deepEqual(parseBrinPage(map).entries, []);
    assert.equal(map.toString('hex', 8178, 8184), 'ffffffff0000');
  });

  it('tuples keep their numbers when others go', () => {
    const regular = page(BrinPageType.regular);
    for (const offnum of [1, 2, 3]) apply(insert(offnum, offnum * 10), 0, regular);
    const update = record({
      rmid: Rmgr.BRIN,
      info: 0x20,
      main: [...u16s(2, 0), ...u32s(20, 1), ...u16s(1)],
      blocks: [{ blkno: 8, data: tuple(20, 5, 6) }, { blkno: 1 }, { blkno: 9 }],
    });
    apply(update, 2, regular);
    const seen = parseBrinPage(regular).tuples.map(({ offnum, heapBlk, values }) => [
      offnum,
      heapBlk,
      values.length,
    ]);
    assert.deepEqual(seen, [
      [1, 10, 8],
      [3, 30, 8],
    ]);
  });

  it('the mask hides the hole of a regular page, never that of the range map', () => {
    for (const [type, hidden] of [
      [BrinPageType.regular, true],
      [BrinPageType.revmap, false],
    ] as const) {
      const bytes = page(type);
      bytes[100] = 1;
      setBrinFlags(bytes, BRIN_EVACUATE_PAGE);
      maskPage(Rmgr.BRIN, bytes, 5);
      assert.equal(bytes[100] === 0, hidden);
      assert.equal(brinFlags(bytes), 0);
    }
  });

  const refused: [string, string, WalRecord][] = [
    ['no pages a range', 'REDO_BAD_RECORD', insert(1, 7, { main: [...u32s(7, 0), ...u16s(1)] })],
    ['offset number 0', 'REDO_BAD_RECORD', insert(0, 7)],
    ['another page of the range map', 'REDO_BAD_RECORD', insert(1, 1360)],
    ['INIT without WILL_INIT', 'REDO_BAD_RECORD', insert(1, 7, { info: 0x90 })],
    [
      'a range map that grows elsewhere',
      'REDO_BAD_RECORD',
      record({
        rmid: Rmgr.BRIN,
        info: 0x40,
        main: u32s(2),
        blocks: [{ blkno: 0 }, { blkno: 3, willInit: true }],
      }),
    ],
    ['an unused opcode', 'REDO_UNKNOWN_RECORD', insert(1, 7, { info: 0x60 })],
    [
      'INIT on a same-page update',
      'REDO_UNKNOWN_RECORD',
      record({ rmid: Rmgr.BRIN, info: 0xb0, main: u16s(1), blocks: [{ blkno: 9, data: tuple(1, 1) }] }),
    ],
  ];
  for (const [what, code, rec] of refused) {
    it(`${what}: ${code}`, () => {
      assert.equal(rec.startLsn, START);
      assert.throws(
        () => assertReplayable(rec),
        (err) => isDbError(err, code) && err.message.includes('0/3000100'),
      );
    });
  }

  const onPage: [string, string, WalRecord, Buffer][] = [
    ['a gap before the tuple', 'REDO_ADD_ITEM', insert(2, 7), page(BrinPageType.regular)],
    ['a tuple on a range map page', 'REDO_BAD_PAGE', insert(1, 7), page(BrinPageType.revmap)],
    [
      'a tuple of another range',
      'REDO_BAD_RECORD',
      insert(1, 7, { blocks: [{ blkno: 9, data: tuple(8, 1, 2) }, { blkno: 1 }] }),
      page(BrinPageType.regular),
    ],
    [
      'a tuple of odd length',
      'REDO_BAD_RECORD',
      insert(1, 7, { blocks: [{ blkno: 9, data: tuple(7, 1) }, { blkno: 1 }] }),
      page(BrinPageType.regular),
    ],
  ];
  for (const [what, code, rec, target] of onPage) {
    it(`on the page, ${what}: ${code}`, () => {
      assertReplayable(rec);
      assert.throws(
        () => applyRecord(target, rec, rec.blocks[0]!, CTX),
        (err) => isDbError(err, code) && err.message.includes('0/3000100'),
      );
    });
  }
});
