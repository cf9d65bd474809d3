/**
 * What this proves: every record of the Heap, Heap2, Btree, Sequence and XLOG resource managers that real PostgreSQL writes makes the
 * same page here as there. PostgreSQL put the page it made into each record (wal_consistency_checking); in the end whole
 * relations, their page LSNs and visibility maps equal the files of the stopped server. Damaged records and pages give coded errors.
 */
import assert from 'node:assert/strict';
import { isDbError } from '../../../src/engine/errors.js';
import { formatLsn } from '../../../src/engine/lsn.js';
import { applyRecord, assertReplayable, type RedoContext } from '../../../src/engine/redo/index.js';
import { decodeRecord } from '../../../src/engine/wal/decode.js';
import type { WalRecord } from '../../../src/engine/wal/types.js';
import { startPlainPostgres, type PlainPostgres } from '../../helpers/plain-postgres.js';
import { compareWithFiles, permanentRelations, type FileComparison } from '../../helpers/redo-files.js';
import { PageMap } from '../../helpers/redo-pages.js';
import {
  coverageTable,
  replay,
  shutdownCheckpoint,
  type RedoSample,
  type ReplayReport,
} from '../../helpers/redo-replay.js';
import {
  runHintedUpdates,
  runLocks,
  runLostSpeculation,
  runMixed,
  runSqlFile,
} from '../../helpers/redo-workload.js';

interface Outcome {
  report: ReplayReport;
  files: FileComparison;
}

/** Settings that keep all WAL from the base on and put a page image into every block reference. */
const KEEP = { wal_consistency_checking: 'all', wal_keep_size: '8GB', max_wal_size: '8GB' };

async function runAndReplay(
  settings: Record<string, string>,
  ctx: RedoContext,
  workload: (server: PlainPostgres) => Promise<void>,
): Promise<Outcome> {
  const server = await startPlainPostgres({ settings: { ...KEEP, ...settings } });
  try {
    await server.stop();
    const from = await shutdownCheckpoint(server.dataDir);
    const pages = await PageMap.fromDataDir(server.dataDir);
    await server.start();
    await workload(server);
    const relations = await permanentRelations(server, ['postgres', 'template1', 'copy_files', 'copy_wal']);
    await server.stop();
    const report = await replay(server.dataDir, pages, from, await shutdownCheckpoint(server.dataDir), ctx);
    const files = compareWithFiles(
      pages,
      await PageMap.fromDataDir(server.dataDir),
      relations,
      report.hintLsns,
      ['copy_wal'],
    );
    return { report, files };
  } finally {
    await server.destroy();
  }
}

async function runFile(server: PlainPostgres, ...names: string[]): Promise<void> {
  const client = await server.client();
  for (const name of names) await runSqlFile(client, name);
  await client.end();
}

/** Every type must have been replayed from its delta and compared; `traits` are paths within a type. */
function assertCoverage(report: ReplayReport, types: readonly string[], traits: readonly string[]): void {
  const missing = [
    ...types.filter((type) => !((report.types.get(type)?.compared ?? 0) > 0)),
    ...traits.filter((trait) => !report.traits.has(trait)),
  ];
  assert.deepEqual(missing, [], `not covered by the workload; seen:\n${coverageTable(report)}`);
}

function assertExact({ report, files }: Outcome): void {
  assert.equal(report.mismatchCount, 0, report.mismatches.join('\n'));
  assert.deepEqual(files.differences.slice(0, 20), []);
  assert.ok(files.pages > 1000 && files.vmPages > 50, `${files.pages} pages, ${files.vmPages} map pages`);
  for (const [type, { results }] of report.types) {
    assert.equal(results.notfound, 0, `${type} met a page that was never written`);
    if (type !== 'XLOG/FPI_FOR_HINT') assert.equal(results.skipped, 0, `${type} met a page that was newer`);
  }
}

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
        { full_page_writes: 'off', autovacuum: 'off' },
        { walLogHints: false, checksums: false },
        async (server) => {
          await runFile(server, 'heap.sql', 'btree.sql', 'ddl.sql');
          await runLocks(server);
          await runLostSpeculation(server);
          await runMixed(server, 4, 200);
        },
      );
    });

    it('makes the same pages and visibility maps', () => {
      assertExact(outcome);
      if (process.env['REDO_COVERAGE']) console.log(coverageTable(outcome.report));
    });

    it('has met every record type and variant', () => {
      assertCoverage(outcome.report, [...HEAP_TYPES, ...BTREE_TYPES], [...HEAP_TRAITS, ...BTREE_TRAITS]);
      // These two change no page that could be compared: an image is all there is, or nothing but a note for standbys.
      assert.ok(outcome.report.types.get('XLOG/FPI')!.results.restored > 0);
      assert.ok(outcome.report.types.get('Btree/REUSE_PAGE')!.seen > 0);
    });

    it('answers damaged records with a coded error that names the LSN, whatever the damage', () => {
      const { samples } = outcome.report;
      assert.ok(samples.length > 80, `${samples.length} samples`);
      const random = generator(Number(process.env['SEED'] ?? 20250711));
      let refused = 0;
      for (const sample of samples)
        for (let i = 0; i < 150; i++) if (applyDamaged(sample, random, i % 2 === 0)) refused++;
      assert.ok(refused > samples.length, `only ${refused} were refused`);
    });
  });

  describe('with full logical information, page images, hint bits in the log, autovacuum', () => {
    let outcome: Outcome;
    before(async () => {
      outcome = await runAndReplay(
        { wal_level: 'logical', wal_log_hints: 'on', autovacuum_naptime: '1s', track_commit_timestamp: 'on' },
        { walLogHints: true, checksums: false },
        async (server) => {
          await runFile(server, 'heap.sql', 'ddl.sql');
          await runLocks(server);
          await runMixed(server, 4, 100);
          await runHintedUpdates(server);
        },
      );
    });

    it('makes the same pages and visibility maps', () => {
      assertExact(outcome);
      if (process.env['REDO_COVERAGE']) console.log(coverageTable(outcome.report));
    });

    it('has met what is only written then', () => {
      const { types } = outcome.report;
      assertCoverage(outcome.report, HEAP_TYPES, []);
      for (const type of ['Heap/TRUNCATE', 'Heap2/NEW_CID', 'Heap2/REWRITE'])
        assert.ok(types.has(type), `${type} not seen`);
      for (const type of ['Heap/UPDATE', 'Heap/LOCK', 'Heap2/VISIBLE'])
        assert.ok(types.get(type)!.results.restored > 0, `${type} never with an image to apply`);
      const hints = types.get('XLOG/FPI_FOR_HINT')!.results;
      assert.ok(hints.restored > 0 && hints.skipped > 0, `hint records: ${JSON.stringify(hints)}`);
    });
  });
});

/** mulberry32: one seed, one sequence. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const MARGIN = Buffer.alloc(8192, 0xa5);

/** Applies a record after damage to it, or to its page. Returns whether it was refused. */
function applyDamaged(sample: RedoSample, random: () => number, damageRecord: boolean): boolean {
  const room = Buffer.alloc(3 * 8192, 0xa5); // a page in the middle: a stray write would show at its sides
  const page = room.subarray(8192, 2 * 8192);
  sample.page.copy(page);
  const { rec } = sample;
  try {
    let damaged = rec;
    if (damageRecord) damaged = mutateRecord(rec, random);
    else mutate(page, 8 + Math.floor(random() * 4), random);
    assertReplayable(damaged);
    const block = damaged.blocks[sample.blockIndex];
    if (block) applyRecord(page, damaged, block, { walLogHints: false, checksums: false });
    return false;
  } catch (err) {
    const known =
      isDbError(err) && /^(REDO|WAL)_/.test(err.code) && err.message.includes(formatLsn(rec.startLsn));
    if (!known) throw new Error(`${sample.type} block ${sample.blockIndex}: ${String(err)}`, { cause: err });
    return true;
  } finally {
    const untouched = MARGIN.equals(room.subarray(0, 8192)) && MARGIN.equals(room.subarray(2 * 8192));
    assert.ok(untouched, `${sample.type} wrote beside its page`);
  }
}

/** Flips a few bytes of the record after its header, where the CRC would have caught them. */
function mutateRecord(rec: WalRecord, random: () => number): WalRecord {
  const raw = Buffer.from(rec.raw);
  const fromEnd = Math.min(raw.length - 24, 64);
  // Main data lies at the end and block data before it; images in between are long and dull.
  mutate(raw, random() < 0.5 ? 24 : raw.length - fromEnd, random);
  return decodeRecord(raw, rec.startLsn, rec.endLsn, { crc: false });
}

function mutate(bytes: Buffer, from: number, random: () => number): void {
  const span = Math.min(bytes.length - from, random() < 0.7 ? 80 : bytes.length);
  for (let n = 1 + Math.floor(random() * 3); n > 0 && span > 0; n--)
    bytes[from + Math.floor(random() * span)] = Math.floor(random() * 256);
}
