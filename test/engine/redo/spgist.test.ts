/**
 * What this proves: every record that SP-GiST writes in a real PostgreSQL makes the same page here as there. PostgreSQL put the page it
 * made into each record (wal_consistency_checking); in the end whole indexes and their page LSNs equal the files of the stopped server.
 * Damaged records and pages give coded errors. And what we read in those files is what SQL reads in the tables.
 */
import assert from 'node:assert/strict';
import { spgistTable } from '../../../src/engine/redo/spgist.js';
import { assertDamageIsRefused } from '../../helpers/redo-damage.js';
import { coverageTable } from '../../helpers/redo-replay.js';
import { assertCoverage, assertExact, runAndReplay, runFile, type Outcome } from '../../helpers/redo-run.js';
import { readTrees, type Tree } from './spgist-tree.js';

const TYPES = Object.values(spgistTable.ops).map((op) => `SPGist/${op.name}`);

const TRAITS = {
  ADD_LEAF: [
    'on a root', 'into a chain', 'in the place of a dead tuple', 'starts a chain on a page in use', 'starts a chain on a new page',
    'of a null on a root', 'of a null into a chain',
  ],
  MOVE_LEAFS: [
    'to a new page', 'to a page in use', 'of nulls', 'of nulls to a new page', 'of one or two tuples', 'of more tuples',
    'in the place of a dead tuple', 'without a transaction id',
  ],
  ADD_NODE: [
    'in place', 'with the parent on the old page', 'with the parent elsewhere', 'to a new page', 'to a page in use',
  ],
  SPLIT_TUPLE: ['on one page', 'to a new page', 'to a page in use'],
  PICKSPLIT: [
    'of a root', 'of the root of nulls', 'of an empty root', 'of nulls below the root', 'without a destination', 'to a destination only',
    'to source and destination', 'on a new source', 'on a new source with a tuple', 'to a new destination', 'to a destination in use',
    'with its tuple beside the parent', 'with its tuple on a new page', 'with its tuple on another page in use',
    'of one tuple or two', 'without a transaction id',
  ],
  VACUUM_LEAF: ['makes dead tuples', 'makes placeholders', 'moves heads', 'links chains', 'does all four'],
  VACUUM_ROOT: ['of one or two tuples', 'of more tuples', 'of nulls'],
  VACUUM_REDIRECT: [
    'keeps all items', 'drops items only', 'does both', 'drops all items', 'of redirects without a transaction id',
  ],
}; // prettier-ignore

describe('SP-GiST redo, against the pages that PostgreSQL made', function () {
  this.timeout(120_000);

  describe('without page images', () => {
    let outcome: Outcome;
    let trees: Tree[];
    before(async () => {
      outcome = await runAndReplay(
        { full_page_writes: 'off', autovacuum: 'off' },
        { walLogHints: false, checksums: false },
        async (server) => {
          await runFile(server, 'spgist.sql');
          trees = await readTrees(server);
        },
      );
    });

    it('makes the same pages', () => {
      assertExact(outcome);
      if (process.env['REDO_COVERAGE']) console.log(coverageTable(outcome.report));
    });

    it('has met every record type and variant', () => {
      const traits = Object.entries(TRAITS).flatMap(([op, names]) =>
        names.map((name) => `SPGist/${op} ${name}`),
      );
      assertCoverage(outcome.report, TYPES, traits);
    });

    it('answers damaged records and pages with a coded error that names the LSN', () => {
      const samples = outcome.report.samples.filter((sample) => sample.type.startsWith('SPGist/'));
      assert.ok(samples.length > 30, `${samples.length} samples`);
      assertDamageIsRefused(samples);
    });

    it('finds the rows of the table in the pages of each index, and counts its tuples as PostgreSQL does', () => {
      assert.ok(trees.length >= 11, `${trees.length} indexes`);
      for (const tree of trees) {
        assert.deepEqual(tree.problems, [], tree.name);
        assert.deepEqual(tree.heapTids, tree.rows, tree.name);
      }
      assert.ok(trees.some((tree) => tree.allTheSame > 0 && tree.depth > 3));
      assert.ok(trees.some((tree) => tree.unloggedInits > 0));
    });
  });

  describe('with page images, after checkpoints in between', () => {
    let outcome: Outcome;
    before(async () => {
      outcome = await runAndReplay(
        { wal_log_hints: 'on', autovacuum: 'off' },
        { walLogHints: true, checksums: false },
        (server) => runFile(server, 'spgist.sql'),
      );
    });

    it('makes the same pages', () => {
      assertExact(outcome);
      if (process.env['REDO_COVERAGE']) console.log(coverageTable(outcome.report));
    });

    it('has met every record type, with images to apply and without', () => {
      assertCoverage(outcome.report, TYPES, []);
      const imageless = TYPES.filter((type) => outcome.report.types.get(type)!.results.restored === 0);
      assert.deepEqual(imageless, []);
    });
  });
});
