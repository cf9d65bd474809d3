/**
 * What this proves: every hash index record that real PostgreSQL writes makes the same page here as there, with and without page images in
 * the log, and so do a split that a crash interrupted and the records after it; damaged records and pages give coded errors.
 */
import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { parseLsn } from '../../../src/engine/lsn.js';
import { Rmgr } from '../../../src/engine/wal/types.js';
import type { PlainPostgres } from '../../helpers/plain-postgres.js';
import { assertDamageIsRefused } from '../../helpers/redo-damage.js';
import { CTX } from '../../helpers/redo-records.js';
import { coverageTable } from '../../helpers/redo-replay.js';
import { assertCoverage, assertExact, runAndReplay, runFile, type Outcome } from '../../helpers/redo-run.js';

const TYPES = [
  'Hash/INIT_META_PAGE',
  'Hash/INIT_BITMAP_PAGE',
  'Hash/INSERT',
  'Hash/ADD_OVFL_PAGE',
  'Hash/SPLIT_ALLOCATE_PAGE',
  'Hash/SPLIT_COMPLETE',
  'Hash/MOVE_PAGE_CONTENTS',
  'Hash/SQUEEZE_PAGE',
  'Hash/DELETE',
  'Hash/SPLIT_CLEANUP',
  'Hash/UPDATE_META_PAGE',
  'Hash/VACUUM_ONE_PAGE',
];

const TRAITS = [
  'Hash/INIT_META_PAGE of an init fork',
  'Hash/INIT_META_PAGE with 2 buckets',
  'Hash/INIT_META_PAGE with more buckets',
  'Hash/INIT_META_PAGE with buckets in phases',
  'Hash/INIT_BITMAP_PAGE of an init fork',
  'Hash/ADD_OVFL_PAGE of a new page',
  'Hash/ADD_OVFL_PAGE of a free page',
  'Hash/SPLIT_ALLOCATE_PAGE alone',
  'Hash/SPLIT_ALLOCATE_PAGE with a splitpoint',
  'Hash/SPLIT_ALLOCATE_PAGE with masks and a splitpoint',
  'Hash/SPLIT_PAGE with an image of block 0',
  'Hash/MOVE_PAGE_CONTENTS to the primary page',
  'Hash/MOVE_PAGE_CONTENTS to an overflow page',
  ...['some', 'no'].flatMap((n) =>
    ['the primary page', 'an overflow page'].flatMap((page) =>
      ['adjacent', 'apart'].map((where) => `Hash/SQUEEZE_PAGE of ${n} tuples to ${page}, ${where}`),
    ),
  ),
  'Hash/SQUEEZE_PAGE with a new first free page',
  'Hash/SQUEEZE_PAGE without a new first free page',
  'Hash/DELETE from the primary page',
  'Hash/DELETE from an overflow page',
  'Hash/DELETE clears the dead mark',
  'Hash/DELETE keeps the dead mark',
];

/** What an image restores before redo goes on, or what has nothing to do after it. Only with full_page_writes. */
const IMAGE_TRAITS = [
  'Hash/INSERT with an image of block 0',
  'Hash/INSERT with an image of block 1',
  'Hash/SPLIT_ALLOCATE_PAGE with an image of block 0',
  'Hash/SPLIT_COMPLETE with an image of block 0',
  'Hash/SQUEEZE_PAGE with an image of a write page left alone',
  'Hash/SQUEEZE_PAGE with an image of block 2',
  'Hash/SQUEEZE_PAGE with an image of block 3',
  'Hash/SQUEEZE_PAGE with an image of block 5',
  'Hash/DELETE with an image of block 1',
  'Hash/VACUUM_ONE_PAGE with an image of block 0',
];

const SEGMENT_SIZE = 16 * 1024 * 1024;

/**
 * A split whose tuples are only partly copied when the server dies: the log is cut in the midst of it, which is what a crash at that
 * moment leaves, because no page has been written since the last checkpoint. The next insertion into the old bucket completes the split.
 */
async function runInterruptedSplit(server: PlainPostgres): Promise<void> {
  const insert = (from: number, to: number, bucket = 16): string =>
    `INSERT INTO half SELECT k, n FROM ha.key, generate_series(${from}, ${to}) n WHERE b = ${bucket}`;
  await server.sql('CREATE TABLE half (k int, n int)');
  await server.sql('VACUUM half'); // else it is taken for ten pages, and the index begins with more buckets
  await server.sql('CREATE INDEX half_k ON half USING hash (k) WITH (fillfactor = 10)');
  await server.sql(insert(1, 640));
  await server.sql('CHECKPOINT');
  const [before] = await server.sql('SELECT pg_current_wal_insert_lsn()::text AS lsn');
  await server.sql(insert(641, 641)); // of 16 buckets one more: all tuples of bucket 0 go to bucket 16
  await server.sql('CREATE EXTENSION IF NOT EXISTS pg_walinspect');
  const records = await server.sql(
    `SELECT record_type, end_lsn::text AS end FROM pg_get_wal_records_info('${String(before!['lsn'])}', pg_current_wal_lsn())
      WHERE resource_manager = 'Hash' ORDER BY start_lsn`,
  );
  const types = records.map((r) => String(r['record_type']));
  const first = types.indexOf('SPLIT_ALLOCATE_PAGE');
  assert.deepEqual(types.slice(first, first + 5), [
    'SPLIT_ALLOCATE_PAGE',
    'SPLIT_PAGE',
    'ADD_OVFL_PAGE',
    'SPLIT_PAGE',
    'SPLIT_COMPLETE',
  ]);
  await server.stop('immediate');
  await cutLog(path.join(server.dataDir, 'pg_wal'), parseLsn(String(records[first + 2]!['end'])));
  await server.start();
  const [lost] = await server.sql('SELECT count(*)::int AS rows FROM half');
  assert.equal(lost!['rows'], 640);
  await server.sql(insert(642, 642, 0));
  await server.sql(insert(643, 700));
  await server.sql('DELETE FROM half WHERE n % 3 = 0');
  await server.sql('VACUUM half');
}

/** Zeroes the log from `end` on. */
async function cutLog(folder: string, end: number): Promise<void> {
  const hex = (n: number): string => n.toString(16).toUpperCase().padStart(8, '0');
  const segno = Math.floor(end / SEGMENT_SIZE);
  const last = `00000001${hex(Math.floor(segno / 256))}${hex(segno % 256)}`;
  for (const name of await fs.readdir(folder))
    if (/^[0-9A-F]{24}$/.test(name) && name > last) await fs.rm(path.join(folder, name));
  const file = await fs.open(path.join(folder, last), 'r+');
  const at = end % SEGMENT_SIZE;
  await file.write(Buffer.alloc(SEGMENT_SIZE - at), 0, SEGMENT_SIZE - at, at);
  await file.close();
}

async function workload(server: PlainPostgres): Promise<void> {
  await runFile(server, 'hash.sql');
  await runInterruptedSplit(server);
}

/** bgwriter_lru_maxpages: see runInterruptedSplit. */
const SETTINGS = { autovacuum: 'off', bgwriter_lru_maxpages: '0' };

describe('hash redo, against the pages that PostgreSQL made', function () {
  this.timeout(120_000);

  describe('without page images in the log', () => {
    let outcome: Outcome;
    before(async () => {
      outcome = await runAndReplay({ ...SETTINGS, full_page_writes: 'off' }, CTX, workload);
    });

    it('makes the same pages', () => {
      if (process.env['REDO_COVERAGE']) console.log(coverageTable(outcome.report));
      assertExact(outcome);
    });

    it('has met every record type and variant', () => assertCoverage(outcome.report, TYPES, TRAITS));

    it('answers damaged records with a coded error that names the LSN, whatever the damage', () => {
      const samples = outcome.report.samples.filter(({ rec }) => rec.rmid === Rmgr.Hash);
      assert.ok(samples.length >= 40, `${samples.length} samples`);
      assertDamageIsRefused(samples);
    });
  });

  describe('with page images in the log', () => {
    let outcome: Outcome;
    before(async () => {
      outcome = await runAndReplay(SETTINGS, CTX, workload);
    });

    it('makes the same pages', () => {
      if (process.env['REDO_COVERAGE']) console.log(coverageTable(outcome.report));
      assertExact(outcome);
    });

    it('has met every variant that an image makes a difference to', () =>
      assertCoverage(outcome.report, TYPES, [...TRAITS, ...IMAGE_TRAITS]));
  });
});
