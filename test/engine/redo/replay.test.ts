/**
 * What this proves: every record of the Heap, Heap2, Btree, Sequence and XLOG resource managers that real PostgreSQL writes makes the
 * same page here as there. PostgreSQL put the page it made into each record (wal_consistency_checking); in the end whole
 * relations, their page LSNs and visibility maps equal the files of the stopped server. Damaged records and pages give coded errors.
 */
import assert from 'node:assert/strict';
import { assertDamageIsRefused } from '../../helpers/redo-damage.js';
import { coverageTable } from '../../helpers/redo-replay.js';
import { assertCoverage, assertExact, runAndReplay, runFile, type Outcome } from '../../helpers/redo-run.js';
import { BTREE_INTERRUPTIONS, runInterrupted } from '../../helpers/redo-interrupted.js';
import { CRASH_SETTINGS } from '../../helpers/redo-steps.js';

const HEAP_TYPES = [
  'Heap/INSERT',
  'Heap/INSERT+INIT',
  'Heap/DELETE',
  'Heap/UPDATE',
  'Heap/UPDATE+INIT',
  'Heap/HOT_UPDATE',
  'Heap/HEAP_CONFIRM',
  'Heap/LOCK',
  'Heap/INPLACE',
  'Heap2/PRUNE_ON_ACCESS',
  'Heap2/PRUNE_VACUUM_SCAN',
  'Heap2/PRUNE_VACUUM_CLEANUP',
  'Heap2/VISIBLE',
  'Heap2/MULTI_INSERT',
  'Heap2/MULTI_INSERT+INIT',
  'Heap2/LOCK_UPDATED',
  'Sequence/LOG',
];

const BTREE_TYPES = [
  'Btree/INSERT_LEAF',
  'Btree/INSERT_UPPER',
  'Btree/INSERT_META',
  'Btree/INSERT_POST',
  'Btree/SPLIT_L',
  'Btree/SPLIT_R',
  'Btree/DEDUP',
  'Btree/DELETE',
  'Btree/VACUUM',
  'Btree/UNLINK_PAGE',
  'Btree/UNLINK_PAGE_META',
  'Btree/NEWROOT',
  'Btree/MARK_PAGE_HALFDEAD',
  'Btree/META_CLEANUP',
];

const HEAP_TRAITS = [
  'Heap/INSERT speculative',
  'Heap/INSERT clears VM',
  'Heap/DELETE super',
  'Heap/DELETE partition move',
  'Heap/DELETE clears VM',
  'Heap/UPDATE prefix',
  'Heap/UPDATE suffix',
  'Heap/UPDATE across pages',
  'Heap/UPDATE clears VM',
  'Heap/HOT_UPDATE prefix',
  'Heap/HOT_UPDATE suffix',
  'Heap/HOT_UPDATE clears VM',
  'Heap/LOCK multixact',
  'Heap/LOCK clears VM',
  'Heap2/MULTI_INSERT frozen',
  'Heap2/MULTI_INSERT clears VM',
  'Heap2/PRUNE_ON_ACCESS redirect',
  'Heap2/PRUNE_ON_ACCESS dead',
  'Heap2/PRUNE_ON_ACCESS unused',
  'Heap2/PRUNE_VACUUM_SCAN redirect',
  'Heap2/PRUNE_VACUUM_SCAN dead',
  'Heap2/PRUNE_VACUUM_SCAN unused',
  'Heap2/PRUNE_VACUUM_SCAN freeze',
  'Heap2/PRUNE_VACUUM_CLEANUP without cleanup lock',
];

const LOCK_TRAITS = [
  'Heap/LOCK FOR KEY SHARE',
  'Heap/LOCK FOR SHARE',
  'Heap/LOCK FOR NO KEY UPDATE',
  'Heap/LOCK FOR UPDATE',
  'Heap2/PRUNE_VACUUM_SCAN freeze leaves no locker or updater',
  'Heap2/PRUNE_VACUUM_SCAN freeze keeps one updater',
  'Heap2/PRUNE_VACUUM_SCAN freeze makes a smaller multixact',
];

const LOGICAL_TRAITS = [
  'Heap/DELETE with the old row',
  'Heap/DELETE with the old key',
  'Heap/UPDATE with the old row',
  'Heap/UPDATE with the old key',
  'Heap/HOT_UPDATE with the old row',
  'XLOG/FPI of fork main',
  'XLOG/FPI of fork fsm',
  'XLOG/FPI of fork vm',
  'XLOG/FPI of fork init',
  'XLOG/FPI of several blocks',
  'XLOG/FPI_FOR_HINT of fork main, no image',
  'Storage/TRUNCATE of all forks',
  'Storage/TRUNCATE of the visibility map alone',
];

const BTREE_TRAITS = [
  'Btree/SPLIT_L of an internal page',
  'Btree/SPLIT_R of an internal page',
  'Btree/SPLIT of a posting list',
  'Btree/UNLINK_PAGE of an internal page',
  'Btree/DELETE updates posting lists',
  'Btree/VACUUM updates posting lists',
];

describe('redo, against the pages that PostgreSQL made', function () {
  this.timeout(120_000);

  describe('as a compute runs: no page images, no hint bits in the log', () => {
    let outcome: Outcome;
    before(async () => {
      outcome = await runAndReplay(
        { full_page_writes: 'off', autovacuum: 'off', ...CRASH_SETTINGS },
        { walLogHints: false, checksums: false },
        async (server) => {
          await runFile(server, 'heap.sql', 'btree.sql', 'ddl.sql', 'locks.sql', 'mixed.sql');
          await runInterrupted(server, BTREE_INTERRUPTIONS);
        },
      );
    });

    it('makes the same pages and visibility maps', () => {
      assertExact(outcome);
      if (process.env['REDO_COVERAGE']) console.log(coverageTable(outcome.report));
    });

    it('has met every record type and variant', () => {
      assertCoverage(
        outcome.report,
        [...HEAP_TYPES, ...BTREE_TYPES],
        [...HEAP_TRAITS, ...LOCK_TRAITS, ...BTREE_TRAITS],
      );
      // These two change no page that could be compared: an image is all there is, or nothing but a note for standbys.
      assert.ok(outcome.report.types.get('XLOG/FPI')!.results.restored > 0);
      assert.ok(outcome.report.types.get('Btree/REUSE_PAGE')!.seen > 0);
    });

    it('answers damaged records with a coded error that names the LSN, whatever the damage', () => {
      const { samples } = outcome.report;
      assert.ok(samples.length > 80, `${samples.length} samples`);
      assertDamageIsRefused(samples);
    });
  });

  describe('with full logical information, page images, hint bits in the log, autovacuum', () => {
    let outcome: Outcome;
    before(async () => {
      outcome = await runAndReplay(
        {
          wal_level: 'logical',
          wal_log_hints: 'on',
          autovacuum_naptime: '1s',
          track_commit_timestamp: 'on',
          max_prepared_transactions: '10',
        },
        { walLogHints: true, checksums: false },
        async (server) => {
          await runFile(server, 'heap.sql', 'system.sql', 'locks.sql', 'mixed.sql', 'hints.sql', 'xact.sql');
        },
      );
    });

    it('makes the same pages and visibility maps', () => {
      assertExact(outcome);
      if (process.env['REDO_COVERAGE']) console.log(coverageTable(outcome.report));
    });

    it('has met what is only written then', () => {
      const { types } = outcome.report;
      assertCoverage(outcome.report, HEAP_TYPES, LOGICAL_TRAITS);
      for (const type of ['Heap/TRUNCATE', 'Heap2/NEW_CID', 'Heap2/REWRITE'])
        assert.ok(types.has(type), `${type} not seen`);
      for (const type of ['Heap/UPDATE', 'Heap/LOCK', 'Heap2/VISIBLE'])
        assert.ok(types.get(type)!.results.restored > 0, `${type} never with an image to apply`);
      const hints = types.get('XLOG/FPI_FOR_HINT')!.results;
      assert.ok(hints.restored > 0 && hints.skipped > 0, `hint records: ${JSON.stringify(hints)}`);
    });
  });
});
