/**
 * What this proves: every Generic WAL record that real PostgreSQL writes for contrib's access method makes the same page here as there, with
 * and without page images in the log; a delta that does not fit its page is refused with a coded error.
 */
import assert from 'node:assert/strict';
import { isDbError } from '../../../src/engine/errors.js';
import { pageInit, pdLower, setPdLower, setPdUpper } from '../../../src/engine/page/header.js';
import { applyRecord, assertReplayable } from '../../../src/engine/redo/index.js';
import { maskPage } from '../../../src/engine/redo/mask.js';
import { Rmgr, type WalRecord } from '../../../src/engine/wal/types.js';
import { assertDamageIsRefused } from '../../helpers/redo-damage.js';
import { CTX, record, u16s } from '../../helpers/redo-records.js';
import { coverageTable } from '../../helpers/redo-replay.js';
import { assertCoverage, assertExact, runAndReplay, runFile, type Outcome } from '../../helpers/redo-run.js';

/** An image that redo applies is never compared: that is a trait, and the final comparison with the files is its proof. */
const TRAITS = [
  'Generic image',
  'Generic of several pages',
  'Generic delta of one fragment',
  'Generic delta of several fragments',
];

describe('Generic redo, against the pages that PostgreSQL made', function () {
  this.timeout(120_000);
  /** New pages are logged as images in any case. */
  let imagesOfNewPages = 0;

  describe('without page images in the log', () => {
    let outcome: Outcome;
    before(async () => {
      outcome = await runAndReplay({ full_page_writes: 'off', autovacuum: 'off' }, CTX, (server) =>
        runFile(server, 'generic.sql'),
      );
    });

    it('makes the same pages', () => {
      if (process.env['REDO_COVERAGE']) console.log(coverageTable(outcome.report));
      assertExact(outcome);
    });

    it('has met every variant', () => {
      assertCoverage(outcome.report, ['Generic/Generic'], [...TRAITS, 'Generic page without a change']);
      imagesOfNewPages = outcome.report.types.get('Generic/Generic')!.results.restored;
    });

    it('answers damaged records with a coded error that names the LSN, whatever the damage', () => {
      const samples = outcome.report.samples.filter(({ rec }) => rec.rmid === Rmgr.Generic);
      assert.ok(samples.length >= 5, `${samples.length} samples`);
      assertDamageIsRefused(samples);
    });
  });

  describe('with page images in the log', () => {
    let outcome: Outcome;
    before(async () => {
      outcome = await runAndReplay({ autovacuum: 'off' }, CTX, (server) => runFile(server, 'generic.sql'));
    });

    it('makes the same pages', () => {
      if (process.env['REDO_COVERAGE']) console.log(coverageTable(outcome.report));
      assertExact(outcome);
    });

    it('has met every variant, and images instead of deltas', () => {
      assertCoverage(outcome.report, ['Generic/Generic'], TRAITS);
      assert.ok(outcome.report.types.get('Generic/Generic')!.results.restored > imagesOfNewPages);
    });
  });
});

/** A page whose content ends at byte 40 and whose special area begins at 8176, with something in the hole. */
function page(): Buffer {
  const bytes = Buffer.alloc(8192);
  pageInit(bytes, 16);
  setPdLower(bytes, 40);
  bytes.fill(0x11, 24, 40);
  return bytes;
}

function fragment(offset: number, ...bytes: number[]): number[] {
  return [...u16s(offset, bytes.length), ...bytes];
}

function generic(...deltas: number[][]): WalRecord {
  return record({
    rmid: Rmgr.Generic,
    info: 0,
    blocks: deltas.map((delta, i) => ({ blkno: 5 + i, data: Buffer.from(delta) })),
  });
}

describe('Generic redo, on its own', () => {
  it('applies each fragment and clears the hole as it is afterwards', () => {
    const target = page();
    target.fill(0x22, 40, 8176);
    const rec = generic([...fragment(12, ...u16s(32)), ...fragment(24, 7, 8), ...fragment(8190, 9, 10)]);
    assert.equal(applyRecord(target, rec, rec.blocks[0]!, CTX), 'applied');
    assert.equal(pdLower(target), 32);
    assert.equal(target.toString('hex', 24, 32), '0708111111111111');
    assert.ok(target.subarray(32, 8176).every((byte) => byte === 0));
    assert.equal(target.toString('hex', 8188), '0000090a');
  });

  it('changes up to four pages, each by its own delta', () => {
    const rec = generic(fragment(24, 1), fragment(24, 2), fragment(24, 3), fragment(24, 4));
    const first = rec.blocks.map((block) => {
      const target = page();
      applyRecord(target, rec, block, CTX);
      return target[24];
    });
    assert.deepEqual(first, [1, 2, 3, 4]);
  });

  it('a page that was registered but not changed only gets the LSN, and its hole cleared', () => {
    const target = page();
    target[100] = 1;
    const rec = generic([]);
    assert.equal(applyRecord(target, rec, rec.blocks[0]!, CTX), 'applied');
    const expected = page();
    target.copy(expected, 0, 0, 8);
    assert.deepEqual(target, expected);
  });

  it('the mask hides the hole and nothing else', () => {
    const bytes = page();
    bytes[40] = 1;
    bytes[8175] = 1;
    maskPage(Rmgr.Generic, bytes, 5);
    assert.deepEqual(bytes, page());
  });

  const refused: [string, string, WalRecord][] = [
    ['five pages', 'REDO_BAD_RECORD', generic([], [], [], [], [])],
    ['main data', 'REDO_BAD_RECORD', record({ rmid: Rmgr.Generic, info: 0, main: [1] })],
    [
      'a page to initialise',
      'REDO_BAD_RECORD',
      record({ rmid: Rmgr.Generic, info: 0, blocks: [{ blkno: 1, willInit: true }] }),
    ],
    ['an opcode', 'REDO_UNKNOWN_RECORD', record({ rmid: Rmgr.Generic, info: 0x10, blocks: [{ blkno: 1 }] })],
  ];
  for (const [what, code, rec] of refused) {
    it(`${what}: ${code}`, () => {
      assert.throws(
        () => assertReplayable(rec),
        (err) => isDbError(err, code) && err.message.includes('0/3000100'),
      );
    });
  }

  const onPage: [string, string, number[]][] = [
    ['a fragment beyond the page', 'REDO_BAD_RECORD', fragment(8190, 1, 2, 3)],
    ['an offset beyond the page', 'REDO_BAD_RECORD', fragment(8193)],
    ['a fragment longer than the delta', 'REDO_BAD_RECORD', [...u16s(24, 3), 1, 2]],
    ['half a fragment header', 'REDO_BAD_RECORD', [...fragment(24, 1), 0, 0, 1]],
    [
      'a fragment of everything but the end of the page',
      'REDO_BAD_PAGE',
      fragment(0, ...new Array<number>(8191).fill(255)),
    ],
    ['a hole that ends before it begins', 'REDO_BAD_PAGE', fragment(12, ...u16s(8180))],
    ['a hole in the header', 'REDO_BAD_PAGE', fragment(12, ...u16s(20))],
    ['a hole beyond the page', 'REDO_BAD_PAGE', fragment(14, ...u16s(8200))],
  ];
  for (const [what, code, delta] of onPage) {
    it(`on the page, ${what}: ${code}`, () => {
      const rec = generic(delta);
      assertReplayable(rec);
      const room = Buffer.alloc(3 * 8192, 0xa5);
      const target = room.subarray(8192, 2 * 8192);
      page().copy(target);
      assert.throws(
        () => applyRecord(target, rec, rec.blocks[0]!, CTX),
        (err) => isDbError(err, code) && err.message.includes('0/3000100'),
      );
      const beside = Buffer.concat([room.subarray(0, 8192), room.subarray(2 * 8192)]);
      assert.ok(beside.every((byte) => byte === 0xa5));
    });
  }

  it('refuses to mask a page without a sane hole', () => {
    const bytes = page();
    setPdUpper(bytes, 8192);
    assert.throws(
      () => maskPage(Rmgr.Generic, bytes, 5),
      (err) => isDbError(err, 'REDO_BAD_PAGE'),
    );
  });
});
