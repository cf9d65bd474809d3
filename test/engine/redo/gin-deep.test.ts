/**
 * What this proves: a posting tree of three levels, whose internal pages are split and deleted, is replayed like any other. It takes five million
 * rows to have one, so all but the last steps happen before the base that the log is replayed onto.
 *
 * One key leads to every row. Gaps in the heap are filled by rows that never commit: the flush of the pending list then splits every leaf in two, and
 * the root and an internal page with them. VACUUM empties all leaves below the internal page in the middle, and deletes it too.
 */
import { startPlainPostgres } from '../../helpers/plain-postgres.js';
import { compareWithFiles, permanentRelations } from '../../helpers/redo-files.js';
import { PageMap } from '../../helpers/redo-pages.js';
import { coverageTable, replay, shutdownCheckpoint } from '../../helpers/redo-replay.js';
import { assertCoverage, assertExact, type Outcome } from '../../helpers/redo-run.js';

/** Heap pages, rows on each of them, and gaps made on each before the index is built. */
const PAGES = 16_900;
const ROWS = 291;
const GAPS = 10;

const PREPARE = [
  `BEGIN;
   CREATE TABLE deep (c bool) WITH (autovacuum_enabled = off);
   COPY deep FROM PROGRAM 'yes "\\N" | head -n ${PAGES * ROWS}' WITH (FREEZE);
   COMMIT`,
  `DELETE FROM deep WHERE ctid = ANY (ARRAY(
     SELECT format('(%s,%s)', page, 20 + 25 * gap)::tid
       FROM generate_series(0, ${PAGES - 1}) page, generate_series(0, ${GAPS - 1}) gap))`,
  'VACUUM deep',
  'CREATE INDEX deep_k ON deep USING gin ((ARRAY[1])) WITH (gin_pending_list_limit = 100000)',
  // More rows than gaps: the last leaf must be split as well for the last internal page to become too small.
  `BEGIN; INSERT INTO deep SELECT NULL FROM generate_series(1, ${PAGES * GAPS + 30_000}); ROLLBACK`,
  `DELETE FROM deep WHERE ctid >= '(${Math.floor(PAGES * 0.3)},1)' AND ctid < '(${Math.floor(PAGES * 0.7)},1)'`,
];
const WORKLOAD = ["SELECT gin_clean_pending_list('deep_k')", 'VACUUM deep'];

const TRAITS = [
  'Gin/SPLIT of data leaf',
  'Gin/SPLIT of root data internal',
  'Gin/SPLIT of data internal',
  'Gin/INSERT into data internal',
  'Gin/VACUUM_DATA_LEAF_PAGE delete',
  'Gin/DELETE_PAGE of a leaf',
  'Gin/DELETE_PAGE of an internal page',
];

async function run(): Promise<Outcome> {
  const server = await startPlainPostgres({
    settings: { full_page_writes: 'off', autovacuum: 'off', wal_keep_size: '8GB', max_wal_size: '8GB' },
  });
  try {
    const client = await server.client();
    for (const statement of PREPARE) await client.query(statement);
    await client.query("ALTER SYSTEM SET wal_consistency_checking = 'gin'");
    await server.stop();
    const from = await shutdownCheckpoint(server.dataDir);
    const pages = await PageMap.fromDataDir(server.dataDir);
    await server.start();
    const again = await server.client();
    for (const statement of WORKLOAD) await again.query(statement);
    const relations = await permanentRelations(server, ['postgres', 'template1']);
    await server.stop();
    const to = await shutdownCheckpoint(server.dataDir);
    const report = await replay(server.dataDir, pages, from, to, { walLogHints: false, checksums: false });
    const theirs = await PageMap.fromDataDir(server.dataDir);
    return { report, files: compareWithFiles(pages, theirs, relations, report.hintLsns, []) };
  } finally {
    await server.destroy();
  }
}

describe('redo of a posting tree of three levels', function () {
  this.timeout(120_000);

  it('makes the same pages, and has met splits and deletions of internal pages', async () => {
    const outcome = await run();
    if (process.env['REDO_COVERAGE']) console.log(coverageTable(outcome.report));
    assertExact(outcome);
    assertCoverage(outcome.report, ['Gin/SPLIT', 'Gin/INSERT', 'Gin/DELETE_PAGE'], TRAITS);
  });
});
