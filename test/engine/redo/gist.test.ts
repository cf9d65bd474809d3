/**
 * What this proves: every GiST record that real PostgreSQL writes makes the same page here as there: compared record by record with the
 * images of wal_consistency_checking, and at the end with the server's files, where even the NSN and FOLLOW_RIGHT that the mask hides must be
 * equal. Damaged records and pages give coded errors. Page accessors say what pageinspect says.
 */
import assert from 'node:assert/strict';
import { formatLsn } from '../../../src/engine/lsn.js';
import {
  GIST_DELETED,
  GIST_FOLLOW_RIGHT,
  GIST_HAS_GARBAGE,
  GIST_LEAF,
  GIST_TUPLES_DELETED,
  parseGistPage,
} from '../../../src/engine/page/gist.js';
import type { PlainPostgres } from '../../helpers/plain-postgres.js';
import { assertDamageIsRefused } from '../../helpers/redo-damage.js';
import { CTX } from '../../helpers/redo-records.js';
import { coverageTable } from '../../helpers/redo-replay.js';
import { assertCoverage, assertExact, runAndReplay, runFile, type Outcome } from '../../helpers/redo-run.js';

const TYPES = ['Gist/PAGE_UPDATE', 'Gist/DELETE', 'Gist/PAGE_SPLIT', 'Gist/PAGE_DELETE'];

const TRAITS = [
  'Gist/PAGE_UPDATE overwrites',
  'Gist/PAGE_UPDATE appends',
  'Gist/PAGE_UPDATE replaces one by more',
  'Gist/PAGE_UPDATE deletes one or two',
  'Gist/PAGE_UPDATE deletes more',
  'Gist/PAGE_UPDATE completes a split',
  'Gist/PAGE_UPDATE gives a page further right its downlink',
  'Gist/PAGE_SPLIT of a leaf',
  'Gist/PAGE_SPLIT of an inner page',
  'Gist/PAGE_SPLIT of a root without children',
  'Gist/PAGE_SPLIT of a root with children',
  'Gist/PAGE_SPLIT of the root into more than two',
  'Gist/PAGE_SPLIT into three',
  'Gist/PAGE_SPLIT into more than three',
  'Gist/PAGE_SPLIT of a page that had a right sibling',
  'Gist/PAGE_SPLIT of a page that was split before',
  'Gist/PAGE_SPLIT completes a split below',
  'Gist/PAGE_SPLIT completes a split below, of the root',
];

const IMAGE_TRAITS = [
  'Gist/PAGE_UPDATE completes a split after an image of the left half',
  'Gist/PAGE_UPDATE completes a split, with an image of the parent only',
  'Gist/PAGE_SPLIT completes a split below after an image of the left half',
  'Gist/PAGE_DELETE with an image of the parent',
];

describe('redo of GiST, against the pages that PostgreSQL made', function () {
  this.timeout(120_000);

  describe('without page images', () => {
    let outcome: Outcome;
    before(async () => {
      outcome = await runAndReplay({ full_page_writes: 'off', autovacuum: 'off' }, CTX, async (server) => {
        await runFile(server, 'gist.sql');
        await compareWithPageinspect(server);
      });
    });

    it('makes the same pages', () => {
      assertExact(outcome);
      if (process.env['REDO_COVERAGE']) console.log(coverageTable(outcome.report));
    });

    it('has met every record type and variant', () => {
      assertCoverage(outcome.report, TYPES, TRAITS);
      assert.ok((outcome.report.types.get('Gist/PAGE_REUSE')?.seen ?? 0) > 0);
    });

    it('answers damaged records and pages with a coded error, whatever the damage', () => {
      const samples = outcome.report.samples.filter((sample) => sample.type.startsWith('Gist/'));
      assert.ok(samples.length >= 15, `${samples.length} samples`);
      assertDamageIsRefused(samples);
    });
  });

  // Under wal_level = minimal, the only one that writes ASSIGN_LSN; large new relations would be synced instead of logged.
  describe('with page images after checkpoints', () => {
    let outcome: Outcome;
    before(async () => {
      const minimal = { wal_level: 'minimal', max_wal_senders: '0', wal_skip_threshold: '1GB' };
      outcome = await runAndReplay({ autovacuum: 'off', ...minimal }, CTX, (server) =>
        runFile(server, 'gist.sql'),
      );
    });

    it('makes the same pages', () => {
      assertExact(outcome);
      if (process.env['REDO_COVERAGE']) console.log(coverageTable(outcome.report));
    });

    it('has met what is only written then', () => {
      const { types } = outcome.report;
      assertCoverage(outcome.report, TYPES, [...TRAITS, ...IMAGE_TRAITS]);
      assert.ok((types.get('Gist/ASSIGN_LSN')?.seen ?? 0) > 0);
      for (const type of ['Gist/PAGE_UPDATE', 'Gist/PAGE_SPLIT', 'Gist/PAGE_DELETE'])
        assert.ok(types.get(type)!.results.restored > 0, `${type} never with an image to apply`);
    });
  });
});

interface OpaqueRow {
  page: Buffer;
  lsn: string;
  nsn: string;
  rightlink: string;
  flags: string[];
  items: string[] | null;
}

const FLAG_NAMES: readonly [number, string][] = [
  [GIST_LEAF, 'leaf'],
  [GIST_DELETED, 'deleted'],
  [GIST_TUPLES_DELETED, 'tuples_deleted'],
  [GIST_FOLLOW_RIGHT, 'follow_right'],
  [GIST_HAS_GARBAGE, 'has_garbage'],
];

/** Our reading of every page of some indexes of the workload beside that of the contributed extension. */
async function compareWithPageinspect(server: PlainPostgres): Promise<void> {
  let deleted = 0;
  for (const index of ['gi.shapes_p', 'gi.tall_k', 'gi.crowd_k']) {
    const rows = (await server.sql(
      `SELECT page, (o).lsn::text, (o).nsn::text, (o).rightlink::text, (o).flags,
              CASE WHEN NOT 'deleted' = ANY ((o).flags) THEN
                (SELECT array_agg(format('%s %s %s %s', itemoffset, ctid, itemlen, dead) ORDER BY itemoffset) FROM gist_page_items_bytea(page)) END AS items
         FROM generate_series(0, pg_relation_size('${index}') / 8192 - 1) blk, LATERAL get_raw_page('${index}', blk) page,
              LATERAL gist_page_opaque_info(page) o`,
    )) as unknown as OpaqueRow[];
    assert.ok(rows.length > 1, `${index}: ${rows.length} pages`);
    for (const row of rows) {
      const info = parseGistPage(row.page);
      assert.equal(formatLsn(info.nsn), row.nsn);
      assert.equal(info.rightlink ?? 0xffffffff, Number(row.rightlink));
      const names = FLAG_NAMES.filter(([flag]) => (info.flags & flag) !== 0).map(([, name]) => name);
      assert.deepEqual(names.sort(), row.flags.sort());
      const items = info.items.map(
        ({ offnum, tid, downlink, key, dead }) =>
          `${offnum} ${tid ? `(${tid.block},${tid.offset})` : `(${downlink},65535)`} ${key.length + 8} ${dead ? 't' : 'f'}`,
      );
      assert.deepEqual(items, row.items ?? []);
      if (info.deleteXid !== null) deleted++;
      assert.equal(info.deleteXid !== null, row.flags.includes('deleted'));
    }
  }
  assert.ok(deleted > 0, 'no deleted page among them');
}
