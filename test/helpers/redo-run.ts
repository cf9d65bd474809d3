/** A differential test of redo from beginning to end; see redo-replay.ts. */
import assert from 'node:assert/strict';
import type { RedoContext } from '../../src/engine/redo/index.js';
import { startPlainPostgres, type PlainPostgres } from './plain-postgres.js';
import { compareWithFiles, permanentRelations, type FileComparison } from './redo-files.js';
import { PageMap } from './redo-pages.js';
import { coverageTable, replay, shutdownCheckpoint, type ReplayReport } from './redo-replay.js';
import { runSqlFile } from './redo-workload.js';

export interface Outcome {
  report: ReplayReport;
  files: FileComparison;
}

/** Settings that keep all WAL from the base on and put a page image into every block reference. */
const KEEP = { wal_consistency_checking: 'all', wal_keep_size: '8GB', max_wal_size: '8GB' };

export async function runAndReplay(
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
    const databases = await server.sql('SELECT datname FROM pg_database WHERE datallowconn ORDER BY oid');
    const relations = await permanentRelations(
      server,
      databases.map((row) => String(row['datname'])),
    );
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

export async function runFile(server: PlainPostgres, ...names: string[]): Promise<void> {
  const client = await server.client();
  for (const name of names) await runSqlFile(client, name);
  await client.end();
}

/** Every type must have been replayed from its delta and compared; `traits` are paths within a type. */
export function assertCoverage(
  report: ReplayReport,
  types: readonly string[],
  traits: readonly string[],
): void {
  const missing = [
    ...types.filter((type) => !((report.types.get(type)?.compared ?? 0) > 0)),
    ...traits.filter((trait) => !report.traits.has(trait)),
  ];
  assert.deepEqual(missing, [], `not covered by the workload; seen:\n${coverageTable(report)}`);
}

export function assertExact({ report, files }: Outcome): void {
  assert.equal(report.mismatchCount, 0, report.mismatches.join('\n'));
  assert.deepEqual(files.differences.slice(0, 20), []);
  assert.ok(files.pages > 1000 && files.vmPages > 50, `${files.pages} pages, ${files.vmPages} map pages`);
  for (const [type, { results }] of report.types) {
    assert.equal(results.notfound, 0, `${type} met a page that was never written`);
    if (type !== 'XLOG/FPI_FOR_HINT') assert.equal(results.skipped, 0, `${type} met a page that was newer`);
  }
}
