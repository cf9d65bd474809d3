/**
 * npm run verify:redo [-- WORKLOAD ...]: a real PostgreSQL runs the SQL files of test/workloads (those named, or all but slow-*) with
 * wal_consistency_checking = all, once without and once with page images that redo applies; then the verifier replays its log upon a copy of
 * the data directory as it was before. Each file runs in a database of its own, with the settings that its head names. Prints a table of
 * record types for each run; exit status 0 when every page is as PostgreSQL made it, else 1.
 */
import { promises as fs } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { openWalDirectory } from '../../src/engine/wal/segments.js';
import { isVerified, verifyWal } from '../../src/inspect/verify.js';
import { verifyText } from '../../src/inspect/verify-print.js';
import { startPlainPostgres } from '../helpers/plain-postgres.js';
import { runSqlFile } from '../helpers/redo-workload.js';

const WORKLOADS = new URL('../workloads/', import.meta.url);
/** Keeps all log from the base on. */
const SETTINGS = {
  wal_consistency_checking: 'all',
  wal_keep_size: '32GB',
  max_wal_size: '32GB',
  autovacuum: 'off',
};
/** To be run after the others, in this order: see there. */
const LAST = ['truncate.sql', 'left-prepared.sql'];

async function chosen(names: readonly string[]): Promise<string[]> {
  const all = (await fs.readdir(WORKLOADS)).filter((name) => name.endsWith('.sql')).sort();
  const files = names.map((name) => (name.endsWith('.sql') ? name : `${name}.sql`));
  const unknown = files.filter((name) => !all.includes(name));
  if (unknown.length > 0)
    throw new Error(
      `no such workload: ${unknown.join(', ')}; there are ${all.map((name) => name.replace('.sql', '')).join(', ')}`,
    );
  if (files.length > 0) return files;
  const usual = all.filter((name) => !name.startsWith('slow-') && !LAST.includes(name));
  return [...usual, ...LAST.filter((name) => all.includes(name))];
}

/** Of a line `-- Settings: name = value, name = value` in a workload's head. */
async function settingsOf(workload: string): Promise<Record<string, string>> {
  const text = await fs.readFile(new URL(workload, WORKLOADS), 'utf8');
  const list = /^-- Settings: (.*)$/m.exec(text)?.[1] ?? '';
  const pairs = list.split(',').map((pair) => pair.split('=').map((word) => word.trim()));
  return Object.fromEntries(pairs.filter((pair) => pair.length === 2));
}

async function verify(workloads: readonly string[], fullPageWrites: 'on' | 'off'): Promise<boolean> {
  console.log(`\n== full_page_writes = ${fullPageWrites}`);
  const wanted = await Promise.all(workloads.map(settingsOf));
  const settings = Object.assign({ ...SETTINGS, full_page_writes: fullPageWrites }, ...wanted) as Record<
    string,
    string
  >;
  const server = await startPlainPostgres({ settings });
  const base = await fs.mkdtemp(path.join(os.tmpdir(), 'oa-verify-'));
  try {
    await server.stop();
    await fs.cp(server.dataDir, base, { recursive: true });
    await server.start();
    for (const name of workloads) {
      const begun = performance.now();
      const database = `w_${name.replace('.sql', '').replaceAll('-', '_')}`;
      await server.sql(`CREATE DATABASE ${database}`);
      const client = await server.client(database);
      await runSqlFile(client, name);
      await client.end();
      await server.sql('CHECKPOINT'); // with full_page_writes, each page's next change comes with an image
      console.log(`${name}: ${((performance.now() - begun) / 1000).toFixed(1)} s`);
    }
    await server.stop();
    const source = await openWalDirectory(server.dataDir);
    try {
      const begun = performance.now();
      const report = await verifyWal(
        { source, place: { kind: 'folder', dir: source.dir } },
        { base, matches: () => true, signal: new AbortController().signal, note: console.error },
      );
      console.log(`\n${verifyText(report)}in ${((performance.now() - begun) / 1000).toFixed(1)} s`);
      return isVerified(report);
    } finally {
      await source.close();
    }
  } finally {
    await server.destroy();
    await fs.rm(base, { recursive: true, force: true });
  }
}

const workloads = await chosen(process.argv.slice(2));
const outcomes = [await verify(workloads, 'off'), await verify(workloads, 'on')];
process.exitCode = outcomes.every(Boolean) ? 0 : 1;
