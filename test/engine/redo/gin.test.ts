/**
 * What this proves: every record of the GIN resource manager that real PostgreSQL writes makes the same page here as there; see
 * replay.test.ts. Both trees and the pending list are driven through every change there is, with and without page images. Pages
 * are read as pageinspect reads them, and posting lists are written byte for byte as PostgreSQL wrote them.
 */
import assert from 'node:assert/strict';
import { BLCKSZ } from '../../../src/engine/page/constants.js';
import { parseGinPage } from '../../../src/engine/page/gin.js';
import { decodePostingList, encodePostingList } from '../../../src/engine/page/gin-posting.js';
import type { PlainPostgres } from '../../helpers/plain-postgres.js';
import { assertDamageIsRefused } from '../../helpers/redo-damage.js';
import { coverageTable } from '../../helpers/redo-replay.js';
import { assertCoverage, assertExact, runAndReplay, runFile, type Outcome } from '../../helpers/redo-run.js';

const TYPES = [
  'Gin/CREATE_PTREE',
  'Gin/INSERT',
  'Gin/SPLIT',
  'Gin/DELETE_PAGE',
  'Gin/UPDATE_META_PAGE',
  'Gin/INSERT_LISTPAGE',
  'Gin/DELETE_LISTPAGE',
  'Gin/VACUUM_DATA_LEAF_PAGE',
];

const TRAITS = [
  'Gin/CREATE_PTREE without tids',
  'Gin/DELETE_LISTPAGE of 16 pages',
  'Gin/DELETE_LISTPAGE of fewer pages',
  'Gin/INSERT additems',
  'Gin/INSERT delete',
  'Gin/INSERT insert',
  'Gin/INSERT replace',
  'Gin/INSERT several actions',
  'Gin/INSERT into entry leaf',
  'Gin/INSERT into entry leaf, replacing',
  'Gin/INSERT into entry internal',
  'Gin/INSERT into data internal',
  'Gin/INSERT_LISTPAGE last',
  'Gin/INSERT_LISTPAGE with successor',
  'Gin/SPLIT of entry leaf',
  'Gin/SPLIT of entry internal',
  'Gin/SPLIT of data leaf',
  'Gin/SPLIT of root entry leaf',
  'Gin/SPLIT of root entry internal',
  'Gin/SPLIT of root data leaf',
  'Gin/UPDATE_META_PAGE adds tuples',
  'Gin/UPDATE_META_PAGE alone',
  'Gin/UPDATE_META_PAGE links pages',
  'Gin/VACUUM_DATA_LEAF_PAGE delete',
  'Gin/VACUUM_DATA_LEAF_PAGE replace',
  'Gin/VACUUM_DATA_LEAF_PAGE several actions',
];

/**
 * Not to be had by plan: an image of a page that was split or emptied just before, which takes a checkpoint between two records of one
 * statement. To the driver they are images like any other.
 */
const IMAGE_TRAITS = [
  'Gin/DELETE_PAGE image of block 1',
  'Gin/DELETE_PAGE image of block 2',
  'Gin/INSERT image of block 0',
  'Gin/UPDATE_META_PAGE image of block 1',
  'Gin/VACUUM_DATA_LEAF_PAGE image of block 0',
];

const INDEXES = ['tall_k', 'post_k', 'grow_k', 'pend_k', 'words_trgm', 'words_doc'];

interface InspectedPage {
  index: string;
  blk: string;
  page: Buffer;
  rightlink: string;
  maxoff: number;
  flags: string[];
  lists: { first: string; nbytes: number; tids: string[] }[] | null;
}

/** Pages of some indexes with what pageinspect says of them. */
async function inspected(server: PlainPostgres): Promise<InspectedPage[]> {
  await server.sql('CREATE EXTENSION pageinspect');
  const rows = await server.sql(
    `SELECT index, blk, page, o.rightlink::text, o.maxoff, o.flags,
            CASE WHEN o.flags @> '{data,leaf,compressed}' AND NOT o.flags @> '{deleted}' THEN
              (SELECT json_agg(json_build_object('first', i.first_tid, 'nbytes', i.nbytes, 'tids', i.tids))
                 FROM gin_leafpage_items(page) i) END AS lists
       FROM unnest('{${INDEXES.join()}}'::text[]) index,
            generate_series(0, pg_relation_size('gn.' || index) / ${BLCKSZ} - 1) blk,
            get_raw_page('gn.' || index, blk::int) page, gin_page_opaque_info(page) o`,
  );
  return rows as unknown as InspectedPage[];
}

describe('redo of GIN, against the pages that PostgreSQL made', function () {
  this.timeout(120_000);

  describe('without page images', () => {
    let outcome: Outcome;
    let pages: InspectedPage[];
    before(async () => {
      outcome = await runAndReplay(
        { full_page_writes: 'off', autovacuum: 'off' },
        { walLogHints: false, checksums: false },
        async (server) => {
          await runFile(server, 'gin.sql');
          pages = await inspected(server);
        },
      );
    });

    it('makes the same pages', () => {
      if (process.env['REDO_COVERAGE']) console.log(coverageTable(outcome.report));
      assertExact(outcome);
    });

    it('has met every record type and variant', () => {
      assertCoverage(outcome.report, TYPES, TRAITS);
      assert.ok(outcome.report.types.get('Gin/VACUUM_PAGE')!.results.restored > 0);
    });

    it('answers damaged records with a coded error that names the LSN, whatever the damage', () => {
      const samples = outcome.report.samples.filter(({ type }) => type.startsWith('Gin/'));
      assert.ok(samples.length > 30, `${samples.length} samples`);
      assertDamageIsRefused(samples);
    });

    it('reads pages as pageinspect does, and writes their posting lists byte for byte', () => {
      const text = ({ block, offset }: { block: number; offset: number }): string => `(${block},${offset})`;
      const items = new Float64Array(BLCKSZ);
      let lists = 0;
      for (const theirs of pages) {
        const ours = parseGinPage(theirs.page);
        const where = `${theirs.index} block ${theirs.blk}`;
        assert.equal(ours.rightlink ?? 0xffffffff, Number(theirs.rightlink), where);
        assert.equal(ours.maxoff, theirs.maxoff, where);
        assert.equal(ours.kind === 'deleted', theirs.flags.includes('deleted'), where);
        assert.equal(ours.leaf, theirs.flags.includes('leaf'), where);
        if (theirs.lists === null) continue;
        assert.deepEqual(
          ours.segments.map((s) => s.tids.map(text)),
          theirs.lists.map((l) => l.tids),
          where,
        );
        let at = 32;
        for (const { size } of ours.segments) {
          const count = decodePostingList(theirs.page, at, at + size, items, 0);
          const again = Buffer.alloc(size, 0xff);
          assert.equal(encodePostingList(items, 0, count, again, 0, size), count, where);
          assert.deepEqual(again, theirs.page.subarray(at, at + size), where);
          at += size;
          lists++;
        }
      }
      assert.ok(lists > 50, `${lists} posting lists`);
    });
  });

  describe('with page images after each checkpoint', () => {
    let outcome: Outcome;
    before(async () => {
      outcome = await runAndReplay(
        { autovacuum: 'off' },
        { walLogHints: false, checksums: false },
        (server) => runFile(server, 'gin.sql'),
      );
    });

    it('makes the same pages', () => {
      if (process.env['REDO_COVERAGE']) console.log(coverageTable(outcome.report));
      assertExact(outcome);
    });

    it('has met every record type and variant, and images in place of changes', () => {
      assertCoverage(outcome.report, TYPES, [...TRAITS, ...IMAGE_TRAITS]);
    });
  });
});
