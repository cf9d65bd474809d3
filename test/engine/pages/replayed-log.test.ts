/**
 * The page store against an independent replay of a log that PostgreSQL wrote: any page, size, SLRU page and control state at any LSN, whatever
 * the coalescing policy, the cache and the order of reads; also after a crash; and at the end against PostgreSQL's own files.
 */
import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { isDbError } from '../../../src/engine/errors.js';
import { formatLsn, lsn, type Lsn } from '../../../src/engine/lsn.js';
import { BLCKSZ } from '../../../src/engine/page/constants.js';
import type { SlruName } from '../../../src/engine/pages/effects/types.js';
import { Ingester } from '../../../src/engine/pages/ingest.js';
import type { PageStore } from '../../../src/engine/pages/store.js';
import type { CoalescePolicy } from '../../../src/engine/pages/types.js';
import { encodeRecord } from '../../../src/engine/wal/writer.js';
import { decodeRecord } from '../../../src/engine/wal/decode.js';
import { importCluster, openSourceCluster } from '../../../src/storage/import.js';
import { runSqlFile } from '../../helpers/redo-workload.js';
import { recordLog, StoreFolder, type RecordedLog } from './recorded-log.js';
import { digest, forkName, ReplayModel, type Sample } from './replay-model.js';

const SAMPLES = 8;

/** mulberry32: repeatable choices. */
function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

describe('page store, against a replay of the same log', function () {
  this.timeout(120_000);
  let log: RecordedLog;
  let folder: StoreFolder;
  const samples: Sample[] = [];
  /** Digests of pages as imported. */
  let base: Map<string, readonly string[]>;
  const seed = Number(process.env['SEED'] ?? 20260);

  before(async () => {
    folder = await StoreFolder.create();
    log = await recordLog(
      { full_page_writes: 'off', max_prepared_transactions: '5', wal_consistency_checking: 'btree' },
      async (server) => {
        const client = await server.client();
        await runSqlFile(client, 'heap.sql');
        await runSqlFile(client, 'ddl.sql');
        await runSqlFile(client, 'locks.sql');
        await client.query(
          "CREATE TABLE cut AS SELECT g AS id, repeat('c', 500) AS pad FROM generate_series(1, 3000) g",
        );
        await client.query('VACUUM (FREEZE) cut');
        await client.query('DELETE FROM cut WHERE id > 1000');
        await client.query('VACUUM (TRUNCATE) cut');
        await client.query("INSERT INTO cut SELECT g, repeat('d', 500) FROM generate_series(1, 1500) g");
        await client.query('BEGIN');
        await client.query("INSERT INTO cut VALUES (0, 'prepared')");
        await client.query("PREPARE TRANSACTION 'left over'");
        await client.query('CHECKPOINT');
        await client.end();
      },
    );
    const model = new ReplayModel();
    const cluster = await openSourceCluster(log.baseDir);
    await importCluster(cluster, { pages: model, appendLog: () => undefined });
    base = new Map(
      model.sample(log.importLsn).forks.map((fork) => [forkName(fork, fork.fork), fork.digests]),
    );
    const chance = random(seed);
    const at = new Set([log.records.length - 1]);
    while (at.size < SAMPLES) at.add(Math.floor(chance() * log.records.length));
    log.records.forEach((rec, i) => {
      model.apply(rec);
      if (at.has(i)) samples.push(model.sample(rec.endLsn));
    });
  });

  after(async () => {
    await folder.destroy();
    await log.destroy();
  });

  /** All that is known about a sample, in random order of pages. */
  function compare(store: PageStore, sample: Sample, chance: () => number): void {
    const where = `at ${formatLsn(sample.lsn)} (SEED=${seed})`;
    const names = new Set(sample.forks.map((fork) => forkName(fork, fork.fork)));
    const relations = store.manifest(sample.lsn).relations;
    assert.deepEqual(
      relations.map((rel) => `${forkName(rel, rel.fork)} ${rel.nblocks}`).sort(),
      sample.forks.map((rel) => `${forkName(rel, rel.fork)} ${rel.nblocks}`).sort(),
      `forks ${where}`,
    );
    assert.equal(names.size, relations.length);
    for (const fork of [...sample.forks].sort(() => chance() - 0.5)) {
      assert.equal(store.relationSize(fork, fork.fork, sample.lsn), fork.nblocks, where);
      fork.digests.forEach((expected, blkno) => {
        // Most pages never change; some of those will do.
        if (expected === base.get(forkName(fork, fork.fork))?.[blkno] && chance() > 0.05) return;
        const page = store.getPage({ ...fork, blkno }, sample.lsn);
        assert.equal(digest(page), expected, `${forkName(fork, fork.fork)} block ${blkno} ${where}`);
      });
    }
    for (const [name, expected] of sample.slru) {
      const [slru, pageno] = name.split(' ') as [SlruName, string];
      const page = store.getSlruPage(slru, Number(pageno), sample.lsn);
      assert.equal(page && digest(page), expected, `${name} ${where}`);
    }
  }

  function ingestAll(
    store: PageStore,
    batchSize: (chance: () => number) => number,
    until = log.records.length,
  ): void {
    const ingester = new Ingester(store, { secret: null });
    const chance = random(seed);
    for (let i = 0; i < until;) {
      const next = Math.min(until, i + batchSize(chance));
      ingester.ingestBatch(log.records.slice(i, next));
      // As a node that is idle now and then.
      if (chance() < 0.3) ingester.coalesce(50);
      i = next;
    }
    while (ingester.coalesce(500) > 0);
  }

  const policies: [string, CoalescePolicy, number][] = [
    ['lazy, without a cache', { kind: 'lazy' }, 0],
    ['background after 4 deltas, small cache', { kind: 'background', pageDeltas: 4, slruDeltas: 8 }, 50],
    ['eager, large cache', { kind: 'eager' }, 20_000],
  ];
  for (const [name, coalesce, pageCachePages] of policies) {
    it(`gives every page as of any LSN: ${name}`, async () => {
      const store = await folder.imported(name.replace(/\W+/g, '-'), log.baseDir, {
        coalesce,
        pageCachePages,
      });
      ingestAll(store, (chance) => 1 + Math.floor(chance() * 400));
      assert.equal(store.appliedLsn, log.records.at(-1)!.endLsn);
      assert.equal(store.stats.imagesCoalesced > 0, coalesce.kind !== 'lazy');
      const chance = random(seed + 1);
      for (const sample of [...samples].sort(() => chance() - 0.5)) compare(store, sample, chance);
      assert.equal(store.stats.coalesceFailures, 0);
      assert.equal(store.stats.coalesceBacklog, 0);
      await folder.close(store);
    });
  }

  it('reads stay exact while ingest goes on, with every page cached', async () => {
    const store = await folder.imported('interleaved', log.baseDir, { pageCachePages: 100_000 });
    const ingester = new Ingester(store, { secret: null });
    const chance = random(seed + 2);
    let from = 0;
    samples.forEach((sample, i) => {
      const to = log.records.findIndex((rec) => rec.endLsn === sample.lsn) + 1;
      for (; from < to; from += 300) ingester.ingestBatch(log.records.slice(from, Math.min(from + 300, to)));
      from = to;
      assert.equal(store.appliedLsn, sample.lsn);
      compare(store, sample, chance);
      if (i > 0) compare(store, samples[Math.floor(chance() * i)]!, chance);
      assert.deepEqual(ingester.controlState, sample.control);
      assert.deepEqual(store.controlSnapshot(sample.lsn), { lsn: sample.lsn, state: sample.control });
    });
    assert.ok(store.stats.pageCacheHits > 0);
    await folder.close(store);
  });

  it('shows nothing of a batch before it is written, however much it is read meanwhile', async () => {
    // So few relations in memory that each read would push out others, if it might.
    const store = await folder.imported('held', log.baseDir, {
      relationCacheEntries: 50,
      pageCachePages: 50,
      coalesce: { kind: 'background', pageDeltas: 4, slruDeltas: 8 },
    });
    const ingester = new Ingester(store, { secret: null });
    const chance = random(seed + 4);
    let readInBetween = 0;
    let from = 0;
    samples.forEach((sample, i) => {
      const to = log.records.findIndex((rec) => rec.endLsn === sample.lsn) + 1;
      while (from < to) {
        const next = Math.min(to, from + 1 + Math.floor(chance() * 400));
        const { appliedLsn } = store;
        ingester.put(log.records.slice(from, next));
        from = next;
        assert.ok(store.appliedLsn === appliedLsn || store.appliedLsn < log.records[next - 1]!.endLsn);
        if (ingester.heldBytes > 0 && i > 0 && chance() < 0.04) {
          readInBetween++;
          compare(store, samples[Math.floor(chance() * i)]!, chance);
          assert.throws(() => store.manifest(sample.lsn), (err) => isDbError(err, 'PAGE_NOT_APPLIED')); // prettier-ignore
        }
        if (chance() < 0.1) ingester.writeOverdue(20);
      }
      ingester.write();
      assert.equal(ingester.heldBytes, 0);
      assert.equal(store.appliedLsn, sample.lsn);
      compare(store, sample, chance);
      assert.deepEqual(store.controlSnapshot(sample.lsn), { lsn: sample.lsn, state: sample.control });
    });
    assert.ok(readInBetween > 3, `read ${readInBetween} times`);
    await folder.close(store);
  });

  it('continues after a crash in mid-ingest, and ingesting again changes nothing', async () => {
    // Memtables so large that all is still in RocksDB's own log.
    const dying = await folder.imported('dying', log.baseDir, { memtableBytes: 512 << 20 });
    const half = log.records.length >> 1;
    const [logFile] = (await fs.readdir(dying.dir)).filter((file) => file.endsWith('.log'));
    const logBytes = async () => (await fs.stat(path.join(dying.dir, logFile!))).size;
    const imported = await logBytes();
    ingestAll(dying, () => 250, half);
    // The folder as a dead machine leaves it: not closed, memtables lost, and the end of the unsynced log, too.
    const copy = path.join(folder.root, 'survivor');
    await fs.cp(dying.dir, copy, { recursive: true, filter: (file) => path.basename(file) !== 'LOCK' });
    await fs.truncate(
      path.join(copy, logFile!),
      imported + Math.floor(((await logBytes()) - imported) * 0.6),
    );
    await folder.close(dying);

    const store = await folder.store('survivor');
    assert.ok(store.appliedLsn > log.importLsn, 'the copy holds some of the ingest');
    assert.ok(store.appliedLsn < log.records[half - 1]!.endLsn, 'the copy lost some of the ingest');
    const applied = store.appliedLsn;
    ingestAll(store, () => 333);
    const chance = random(seed + 3);
    for (const sample of samples) compare(store, sample, chance);

    const before = store.stats.versionsWritten;
    ingestAll(store, () => 1000);
    assert.equal(
      store.stats.versionsWritten,
      before,
      `records are ingested again, though applied (from ${formatLsn(applied)})`,
    );
    await folder.close(store);
  });

  it('stops exactly before a record that it cannot replay, and goes on when it can', async () => {
    const store = await folder.imported('stopped', log.baseDir);
    const ingester = new Ingester(store, { secret: null });
    const index = log.records.findIndex((rec) => rec.endLsn === samples[SAMPLES >> 1]!.lsn);
    const good = log.records[index]!;
    const prevLsn = log.records[index - 1]!.startLsn;
    const raw = encodeRecord({ rmid: 200, info: 0, xid: 0, prevLsn, mainData: Buffer.from('?') });
    const unknown = decodeRecord(raw, good.startLsn, good.endLsn);
    const batch = [...log.records.slice(0, index), unknown, ...log.records.slice(index + 1)];
    for (let attempt = 0; attempt < 2; attempt++)
      assert.throws(
        () => ingester.ingestBatch(batch),
        (err) =>
          isDbError(err, 'REDO_CUSTOM_RMGR') &&
          err.details?.['lsn'] === good.startLsn &&
          err.message.includes(formatLsn(good.startLsn)),
      );
    assert.equal(store.appliedLsn, log.records[index - 1]!.endLsn);
    assert.equal(store.lastRecordLsn, prevLsn);
    assert.throws(() => ingester.ingestBatch(log.records.slice(index + 1)), /PAGE_LOG_GAP|follows one at/);
    assert.equal(store.appliedLsn, log.records[index - 1]!.endLsn);
    // What was put before by other calls is applied, too.
    const later = new Ingester(store, { secret: null });
    const end = Math.min(index + 500, log.records.length - 2);
    for (let i = index; i < end; i += 100) later.put(log.records.slice(i, Math.min(end, i + 100)));
    assert.ok(later.heldBytes > 0);
    assert.throws(() => later.put(log.records.slice(end + 1)), /follows one at/);
    assert.equal(later.heldBytes, 0);
    assert.equal(store.appliedLsn, log.records[end - 1]!.endLsn);
    ingester.reload();
    ingester.ingestBatch(log.records);
    compare(store, samples[SAMPLES >> 1]!, random(seed));
    compare(store, samples.at(-1)!, random(seed));
    await folder.close(store);
  });

  it('says at the end what PostgreSQL left in its files', async () => {
    const store = await folder.imported('final', log.baseDir);
    ingestAll(store, () => 500);
    const manifest = store.manifest(store.appliedLsn);

    const files = new ReplayModel();
    const relmaps: string[] = [];
    const databases: string[] = [];
    const twoPhase: number[] = [];
    Object.assign(files, {
      relmap: (spcOid: number, dbOid: number, data: Buffer) =>
        relmaps.push(`${spcOid}/${dbOid} ${digest(data)}`),
      database: (dbOid: number, spcOid: number) => databases.push(`${spcOid}/${dbOid}`),
      twoPhase: (fullXid: number) => twoPhase.push(fullXid),
    });
    await importCluster(await openSourceCluster(log.finalDir), { pages: files, appendLog: () => undefined });

    assert.deepEqual(
      manifest.relmaps.map((map) => `${map.spcOid}/${map.dbOid} ${digest(map.data)}`).sort(),
      relmaps.sort(),
    );
    assert.deepEqual(manifest.databases.map((db) => `${db.spcOid}/${db.dbOid}`).sort(), databases.sort());
    assert.deepEqual(
      manifest.twoPhase.map(({ fullXid }) => fullXid),
      twoPhase,
    );
    assert.equal(twoPhase.length, 1);

    for (const { slru, ranges } of manifest.slrus)
      for (const [first, last] of ranges)
        for (let pageno = first; pageno <= last; pageno++) {
          const theirs = files.slru.get(`${slru} ${pageno}`);
          // Multixact offsets beyond the next one are set at shutdown without log; what counts is before.
          if (slru === 'multixact_offsets') continue;
          assert.deepEqual(store.getSlruPage(slru, pageno, store.appliedLsn), theirs, `${slru} ${pageno}`);
        }

    // FSM forks are not logged; unlogged relations only have their init fork here; files may have zero pages at the end that nobody logged.
    const ours = new Map(manifest.relations.map((rel) => [forkName(rel, rel.fork), rel]));
    for (const [name, fork] of files.forks) {
      if (fork.fork === 1 || files.forks.has(forkName(fork, 3))) continue;
      const zeros = [...fork.pages].reverse().findIndex((page) => !page.equals(Buffer.alloc(BLCKSZ)));
      const logged = zeros < 0 ? 0 : fork.pages.length - zeros;
      const size = ours.get(name)?.nblocks;
      assert.ok(
        size !== undefined && size >= logged && size <= fork.pages.length,
        `${name}: ${size}, ${logged}`,
      );
    }
    const known = new Set(files.forks.keys());
    for (const [name, rel] of ours) if (rel.fork !== 1) assert.ok(known.has(name), `${name} has no file`);
    await folder.close(store);
  });

  it('refuses what is not applied, and what does not exist', async () => {
    const store = await folder.imported('refusals', log.baseDir);
    const rel = { spcOid: 1663, dbOid: 5, relNumber: 1259 };
    const beyond = lsn(store.appliedLsn + 8);
    assert.throws(() => store.getPage({ ...rel, fork: 0, blkno: 0 }, beyond), { code: 'PAGE_NOT_APPLIED' });
    assert.throws(() => store.manifest(beyond), { code: 'PAGE_NOT_APPLIED' });
    const missing = { ...rel, relNumber: 999_999 };
    assert.throws(() => store.getPage({ ...missing, fork: 0, blkno: 0 }, store.appliedLsn), {
      code: 'PAGE_NO_RELATION',
    });
    assert.throws(() => store.beginImport(1 as Lsn), { code: 'PAGE_STORE_NOT_EMPTY' });
    assert.equal(store.relationSize(missing, 0, store.appliedLsn), null);
    const catalog = store
      .manifest(store.appliedLsn)
      .relations.find((found) => found.dbOid === 5 && found.nblocks > 3)!;
    const beyondEnd = store.getPages(catalog, catalog.fork, catalog.nblocks - 1, 3, store.appliedLsn);
    assert.ok(beyondEnd.subarray(BLCKSZ).equals(Buffer.alloc(2 * BLCKSZ)));
    assert.deepEqual(
      beyondEnd.subarray(0, BLCKSZ),
      store.getPage({ ...catalog, blkno: catalog.nblocks - 1 }, store.appliedLsn),
    );
    await folder.close(store);
  });
});
