/**
 * What this proves: pages, sizes, SLRUs and control state of any LSN make a PostgreSQL that is, row for row and catalog for catalog, the one
 * that PostgreSQL's own recovery makes of the same log up to that LSN (recovery_target_lsn); its heaps, btree and gin
 * indexes are sound by amcheck; and every page equals the recovered one's, of whatever kind of index.
 */
import assert from 'node:assert/strict';
import path from 'node:path';
import { PastCompute } from '../helpers/past-compute.js';
import { difference, exactFingerprint, logicalFingerprint } from '../helpers/sql-fingerprint.js';
import { startPlainPostgres, type PlainPostgres } from '../helpers/plain-postgres.js';
import { compareWithFiles, permanentRelations } from '../helpers/redo-files.js';
import { forkKey, PageMap } from '../helpers/redo-pages.js';
import { runSqlFile } from '../helpers/redo-workload.js';
import { findPostgres } from '../../src/compute/postgres.js';
import { formatLsn, type Lsn } from '../../src/engine/lsn.js';
import { Ingester } from '../../src/engine/pages/ingest.js';
import type { PageStore } from '../../src/engine/pages/store.js';
import { openWalDirectory, type WalDirectory } from '../../src/engine/wal/segments.js';
import { recordLog, StoreFolder, type RecordedLog } from '../engine/pages/recorded-log.js';

/**
 * Workloads of one server, each in a database of its own. `npm run soak:past` takes them one by one, all that a volume's settings
 * allow: no volume has wal_level = logical. truncate.sql wants the two before it.
 */
const GROUPS =
  process.env['WORKLOADS'] === 'each'
    ? [
        ...['heap', 'ddl', 'locks', 'mixed', 'btree', 'hash', 'gin', 'gist', 'spgist', 'brin', 'generic'],
        ...['multixact', 'system', 'left-prepared', 'slow-truncate', 'slow-large'],
      ].map((name) => [name])
    : [(process.env['WORKLOADS'] ?? 'heap,gin,spgist').split(',')];
const SETTINGS = {
  max_prepared_transactions: '10',
  track_commit_timestamp: 'on',
  allow_in_place_tablespaces: 'on',
  autovacuum: 'off',
  full_page_writes: 'off',
};
/** Where in the log, beside its end: parts of its records. */
const POINTS = [0.31, 0.55, 0.83];

for (const workloads of GROUPS)
  describe(`a compute at the LSNs of a log: ${workloads.join(', ')}`, function () {
    this.timeout(Number(process.env['TEST_TIMEOUT_MS'] ?? 180_000));
    let log: RecordedLog;
    let folder: StoreFolder;
    let store: PageStore;
    let wal: WalDirectory;
    const points: { name: string; lsn: Lsn }[] = [];

    before(async function () {
      if (process.platform !== 'linux') this.skip();
      log = await recordLog(SETTINGS, async (server) => {
        for (const name of workloads) {
          const database = `w_${name.replace(/\W/g, '_')}`;
          await server.sql(`CREATE DATABASE ${database}`);
          const client = await server.client(database);
          await runSqlFile(client, `${name}.sql`);
          await client.end();
        }
      });
      folder = await StoreFolder.create();
      store = await folder.imported('store', log.baseDir);
      wal = await openWalDirectory(log.finalDir);
      const ingester = new Ingester(store, { secret: null });
      const { records } = log;
      let from = 0;
      for (const part of [...POINTS, 1]) {
        const to = Math.floor(records.length * part);
        for (; from < to; from = Math.min(from + 1000, to))
          ingester.ingestBatch(records.slice(from, Math.min(from + 1000, to)));
        const lsn = records[to - 1]!.endLsn;
        points.push({ name: part === 1 ? 'the end' : `${Math.round(part * 100)} %`, lsn });
      }
    });

    after(async () => {
      await wal?.close();
      await folder?.destroy();
      await log?.destroy();
    });

    for (const index of [...POINTS, 1].keys()) {
      const where = index < POINTS.length ? `${Math.round(POINTS[index]! * 100)} %` : 'the end';
      it(`are what PostgreSQL's own recovery makes of it: ${where}`, async () => {
        const { name, lsn } = points[index]!;
        const theirs = await recovered(log, index === POINTS.length ? null : lsn);
        try {
          // Before anyone reads there: a promoted server prunes pages as it reads them.
          await theirs.stop();
          const pages = await PageMap.fromDataDir(theirs.dataDir);
          await theirs.start();
          await comparePages(store, lsn, pages, theirs);
          const ours = await PastCompute.start({
            install: await findPostgres(),
            store,
            lsn,
            readLog: (begin, end) => wal.read(begin, end),
            settings: SETTINGS,
          });
          try {
            await compare(ours, theirs, `${name}, ${formatLsn(lsn)}`);
          } finally {
            await ours.destroy();
          }
        } finally {
          await theirs.destroy();
        }
      });
    }
  });

/** The base, recovered by PostgreSQL up to `lsn` or to the end. */
async function recovered(log: RecordedLog, lsn: Lsn | null): Promise<PlainPostgres> {
  return startPlainPostgres({
    copyOf: log.baseDir,
    signalFile: 'recovery.signal',
    settings: {
      ...SETTINGS,
      restore_command: `cp "${path.join(log.finalDir, 'pg_wal')}/%f" "%p"`,
      // Stops before the first record that begins there or later.
      ...(lsn === null
        ? {}
        : {
            recovery_target_lsn: formatLsn(lsn),
            recovery_target_inclusive: 'off',
            recovery_target_action: 'promote',
          }),
    },
  });
}

const DATABASES = `SELECT datname FROM pg_database WHERE datallowconn ORDER BY datname`;

async function compare(ours: PastCompute, theirs: PlainPostgres, at: string): Promise<void> {
  const databases = (await theirs.sql(DATABASES)).map((row) => row['datname'] as string);
  for (const database of databases) {
    const [a, b] = [await ours.client(database), await theirs.client(database)];
    try {
      const names = ['here', 'recovered'] as const;
      assert.equal(
        difference(await exactFingerprint(a), await exactFingerprint(b), names),
        '',
        `${database} at ${at}`,
      );
      assert.equal(
        difference(await logicalFingerprint(a), await logicalFingerprint(b), names),
        '',
        `${database} at ${at}`,
      );
      const prepared =
        'SELECT gid, transaction::text, owner FROM pg_prepared_xacts WHERE database = current_database() ORDER BY gid';
      const { rows: open } = await a.query<{ gid: string }>(prepared);
      assert.deepEqual(open, (await b.query(prepared)).rows, `${database} at ${at}`);
      // Their locks would keep amcheck waiting for ever.
      for (const { gid } of open) await a.query(`ROLLBACK PREPARED '${gid}'`);
      await a.query('CREATE EXTENSION IF NOT EXISTS amcheck');
      await a.query(`
        SELECT CASE m.amname WHEN 'btree' THEN bt_index_parent_check(c.oid, true, true)::text ELSE gin_index_check(c.oid)::text END
          FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
         WHERE m.amname IN ('btree', 'gin') AND i.indisvalid AND c.relpersistence = 'p' AND c.relkind = 'i'`);
      const { rows } = await a.query(`
        SELECT c.oid::regclass::text AS name, v.* FROM pg_class c, LATERAL verify_heapam(c.oid, check_toast => true) v
         WHERE c.relkind IN ('r', 't', 'm') AND c.relpersistence = 'p'`);
      assert.deepEqual(rows, [], `${database} at ${at}`);
    } finally {
      await a.end();
      await b.end();
    }
  }
}

async function comparePages(
  store: PageStore,
  lsn: Lsn,
  theirPages: PageMap,
  theirs: PlainPostgres,
): Promise<void> {
  const databases = (await theirs.sql(DATABASES)).map((row) => row['datname'] as string);
  const relations = await permanentRelations(theirs, databases);
  const pages = new PageMap();
  for (const fork of store.manifest(lsn).relations) {
    const bytes = store.getPages(fork, fork.fork, 0, fork.nblocks, lsn);
    const list: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += 8192) list.push(bytes.subarray(at, at + 8192));
    pages.forks.set(forkKey(fork, fork.fork), list);
  }
  const result = compareWithFiles(pages, theirPages, relations, new Map(), []);
  assert.deepEqual(result.differences.slice(0, 10), []);
  assert.ok(result.pages > 1000, `${result.pages} pages compared`);
}
