/**
 * The verifier inside ingest, on the log of a real PostgreSQL: it compares every image that a replay in memory compares and finds nothing, with
 * a cache so small that pages are rebuilt from the store again and again, in batches of any size, across truncations, drops and copies
 * of databases. A lie in the log stops ingest right before it, with everything earlier applied; without the check it goes through.
 */
import assert from 'node:assert/strict';
import { isDbError, type DbError } from '../../../src/engine/errors.js';
import { Ingester } from '../../../src/engine/pages/ingest.js';
import { LiveVerifier, RedoVerifier } from '../../../src/engine/verify/index.js';
import type { WalRecord } from '../../../src/engine/wal/types.js';
import { isCheckedInsert, withAlteredImage } from '../../helpers/redo-alter.js';
import { PageMap } from '../../helpers/redo-pages.js';
import { CTX } from '../../helpers/redo-records.js';
import { runSqlFile } from '../../helpers/redo-workload.js';
import { recordLog, StoreFolder, type RecordedLog } from '../pages/recorded-log.js';

describe('redo verifier inside ingest', function () {
  this.timeout(120_000);
  let log: RecordedLog;
  let folder: StoreFolder;
  let inMemory: RedoVerifier;

  before(async () => {
    folder = await StoreFolder.create();
    log = await recordLog({ full_page_writes: 'off', wal_consistency_checking: 'all' }, async (server) => {
      const client = await server.client();
      await runSqlFile(client, 'ddl.sql');
      for (const statement of [
        "CREATE TABLE cut AS SELECT g AS id, repeat('c', 500) AS pad FROM generate_series(1, 3000) g",
        'CREATE INDEX ON cut (id)',
        'VACUUM (FREEZE) cut',
        'DELETE FROM cut WHERE id > 1000',
        'VACUUM (TRUNCATE) cut',
        "INSERT INTO cut SELECT g, repeat('d', 500) FROM generate_series(1, 1500) g",
        'UPDATE cut SET id = id + 1 WHERE id % 7 = 0',
      ])
        await client.query(statement);
      // Pages of a copy are changed in the batch that makes it.
      await client.query('CREATE DATABASE twin TEMPLATE template1 STRATEGY file_copy');
      await server.sql(
        'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 500)',
        'twin',
      );
      await client.query('DROP DATABASE twin');
    });
    inMemory = new RedoVerifier(await PageMap.fromDataDir(log.baseDir), {
      redo: CTX,
      onMismatch: ({ summary }) => assert.fail(summary),
    });
    for (const rec of log.records) inMemory.record(rec);
  });
  after(async () => {
    await folder?.destroy();
    await log?.destroy();
  });

  function ingestAll(ingester: Ingester, records: readonly WalRecord[], batch: () => number): void {
    for (let at = 0; at < records.length;) {
      const size = batch();
      ingester.ingestBatch(records.slice(at, at + size));
      at += size;
    }
  }

  it('compares what a replay in memory compares, with few pages in memory and batches of all sizes', async () => {
    assert.ok(inMemory.compared > 5_000, `${inMemory.compared} compared`);
    for (const [name, maxPages, batch] of [
      ['tiny', 8, (): number => 500],
      [
        'usual',
        2048,
        (
          (n) => (): number =>
            (n = (n * 7919) % 1013) + 1
        )(17),
      ],
    ] as const) {
      const store = await folder.imported(name, log.baseDir);
      const check = new LiveVerifier(store, {
        redo: CTX,
        maxPages,
        onMismatch: (l) => assert.fail(l.join('\n')),
      });
      ingestAll(new Ingester(store, { secret: null, check }), log.records, batch);
      assert.equal(check.compared, inMemory.compared);
      assert.equal(check.mismatched, 0);
      await folder.close(store);
    }
  });

  it('stops ingest right before a record that lies, and shows both pages', async () => {
    const store = await folder.imported('lie', log.baseDir);
    const index = log.records.findIndex((rec, i) => i > log.records.length / 2 && isCheckedInsert(rec));
    const lie = withAlteredImage(log.records[index]!);
    const shown: string[][] = [];
    const check = new LiveVerifier(store, { redo: CTX, onMismatch: (lines) => shown.push(lines) });
    const records = log.records.toSpliced(index, 1, lie);
    const ingester = new Ingester(store, { secret: null, check });
    ingestAll(ingester, records.slice(0, index - 10), () => 1000);
    let stopped: DbError | null = null;
    for (let tries = 0; tries < 2; tries++) {
      try {
        ingester.ingestBatch(records.slice(index - 10, index + 10));
      } catch (err) {
        if (!isDbError(err, 'REDO_MISMATCH')) throw err;
        stopped = err;
      }
      assert.equal(stopped?.details?.['lsn'], lie.startLsn);
      assert.equal(store.appliedLsn, records[index - 1]!.endLsn);
      assert.equal(shown.length, tries + 1); // and it stays so when it is tried again
    }
    assert.match(
      stopped!.message,
      /Heap\/INSERT.* block 0 = 1663\/\d+\/\d+ fork main blk \d+: \d+ byte\(s\) differ/,
    );
    assert.ok(
      shown[0]!.some((line) => /^ {4}PostgreSQL +xmin/.test(line)),
      shown[0]!.join('\n'),
    );
    assert.ok(shown[0]!.length < 100);
    assert.equal(check.mismatched, 2);

    // An honest log goes on from there; and who does not check believes the lie, for redo does not use it.
    ingester.ingestBatch(log.records.slice(index, index + 10));
    assert.equal(store.appliedLsn, log.records[index + 9]!.endLsn);
    await folder.close(store);
    const believing = await folder.imported('believing', log.baseDir);
    ingestAll(new Ingester(believing, { secret: null }), records, () => 1000);
    assert.equal(believing.appliedLsn, records.at(-1)!.endLsn);
    await folder.close(believing);
  });
});
