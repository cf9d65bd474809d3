/**
 * Proves that a storage node made from a data directory holds exactly what its files hold: every block of every permanent relation, SLRU pages, maps,
 * prepared transactions, settings, and the log up to its last checkpoint. And that what cannot be imported is refused with
 * nothing left behind.
 */
import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseControlFile, walFileName } from '../../src/engine/control/index.js';
import { isDbError } from '../../src/engine/errors.js';
import { LogStore } from '../../src/engine/log/index.js';
import { PageStore } from '../../src/engine/pages/store.js';
import { crc32c } from '../../src/engine/wal/crc32c.js';
import { createNode, LOG_FOLDER, PAGES_FOLDER } from '../../src/storage/create-node.js';
import {
  buildFolder,
  openSourceCluster,
  type ImportProgress,
  type ImportResult,
} from '../../src/storage/import.js';
import { readSlrus } from '../engine/control/fold.js';
import { startPlainPostgres, type PlainPostgres } from '../helpers/plain-postgres.js';

const OWNER = { nodeId: 'n1', volumeId: 'v1' };

describe('import of a data directory', function () {
  this.timeout(60_000);
  let server: PlainPostgres;
  let scratch: string;

  before(async () => {
    scratch = await fs.mkdtemp(path.join(os.tmpdir(), 'oa-import-'));
    server = await startPlainPostgres({ settings: { max_prepared_transactions: '5' } });
  });

  after(async () => {
    await server.destroy();
    await fs.rm(scratch, { recursive: true, force: true });
  });

  describe('that was stopped cleanly', () => {
    let dir: string;
    let result: ImportResult;
    let pages: PageStore;
    let unlogged: string;
    const progress: ImportProgress[] = [];

    before(async () => {
      const c = await server.client();
      for (const sql of [
        'CREATE TABLE big AS SELECT i, repeat(md5(i::text), 20) AS v FROM generate_series(1, 20000) i',
        'CREATE UNIQUE INDEX ON big (i)',
        'VACUUM big',
        'CREATE UNLOGGED TABLE volatile (i int PRIMARY KEY)',
        'INSERT INTO volatile SELECT generate_series(1, 1000)',
        'VACUUM volatile',
        'CREATE TEMP TABLE temporary (i int)',
        'CREATE DATABASE other',
        "ALTER SYSTEM SET work_mem = '5MB'",
        'SET allow_in_place_tablespaces = on',
        "CREATE TABLESPACE inplace LOCATION ''",
        'CREATE TABLE away (i int) TABLESPACE inplace',
        'INSERT INTO away VALUES (1)',
        "BEGIN; INSERT INTO big VALUES (-1, 'prepared')",
        "PREPARE TRANSACTION 'p'",
      ])
        await c.query(sql);
      const { rows } = await c.query<{ path: string }>("SELECT pg_relation_filepath('volatile') AS path");
      unlogged = rows[0]!.path;
      await c.end();
      await server.stop();
      // Leftovers of a crashed backend, which PostgreSQL removes at its next start.
      await fs.writeFile(
        path.join(server.dataDir, path.dirname(unlogged), 't3_16400'),
        Buffer.alloc(8192, 1),
      );
      await fs.mkdir(path.join(server.dataDir, 'base', 'pgsql_tmp'), { recursive: true });
      await fs.writeFile(path.join(server.dataDir, 'base', 'pgsql_tmp', 'pgsql_tmp1.0'), 'x');
      dir = path.join(scratch, 'node');
      await fs.mkdir(`${dir}.partial/pages`, { recursive: true }); // an attempt that crashed
      await fs.writeFile(`${dir}.partial/pages/CURRENT`, 'half');
      const cluster = await openSourceCluster(server.dataDir);
      result = await createNode({ dir, ...OWNER }, cluster, (p) => progress.push(p));
      pages = await PageStore.open(path.join(dir, PAGES_FOLDER));
    });

    after(async () => {
      await pages.close();
    });

    it('keeps every block of every permanent relation, and no other', async () => {
      const expected = new Map<string, string>();
      const initForks = new Set<string>();
      const walk = async (relDir: string, spcOid: number, dbOid: number): Promise<void> => {
        for (const name of await fs.readdir(path.join(server.dataDir, relDir))) {
          const [, rel, suffix] = /^(\d+)(?:_(fsm|vm|init))?$/.exec(name) ?? [];
          if (rel === undefined) continue;
          const fork = ['', 'fsm', 'vm', 'init'].indexOf(suffix ?? '');
          if (fork === 3) initForks.add(`${spcOid}/${dbOid}/${rel}`);
          expected.set(`${spcOid}/${dbOid}/${rel}/${fork}`, path.join(server.dataDir, relDir, name));
        }
      };
      await walk('global', 1664, 0);
      for (const db of await fs.readdir(path.join(server.dataDir, 'base')))
        if (/^\d+$/.test(db)) await walk(`base/${db}`, 1663, Number(db));
      for (const spc of await fs.readdir(path.join(server.dataDir, 'pg_tblspc')))
        for (const db of await fs.readdir(path.join(server.dataDir, 'pg_tblspc', spc, 'PG_18_202506291')))
          await walk(`pg_tblspc/${spc}/PG_18_202506291/${db}`, Number(spc), Number(db));
      for (const key of [...expected.keys()])
        if (initForks.has(key.slice(0, key.lastIndexOf('/'))) && !key.endsWith('/3')) expected.delete(key);
      assert.equal(initForks.size, 2);

      const manifest = pages.manifest(result.lsn);
      const found = manifest.relations.map((r) => `${r.spcOid}/${r.dbOid}/${r.relNumber}/${r.fork}`);
      assert.deepEqual(found.sort(), [...expected.keys()].sort());
      let blocks = 0;
      for (const rel of manifest.relations) {
        const key = `${rel.spcOid}/${rel.dbOid}/${rel.relNumber}/${rel.fork}`;
        const file = await fs.readFile(expected.get(key)!);
        assert.equal(rel.nblocks * 8192, file.length, key);
        assert.equal(pages.relationSize(rel, rel.fork, result.lsn), rel.nblocks);
        if (file.length > 0) {
          const kept = pages.getPages(rel, rel.fork, 0, rel.nblocks, result.lsn);
          assert.ok(kept.equals(file), `${key}: blocks differ`);
        }
        blocks += rel.nblocks;
      }
      assert.ok(blocks > 5000, `${blocks} blocks`);
      assert.equal(result.forks, found.length);
      assert.equal(progress[progress.length - 1]?.pagesDone, result.pages);
      assert.ok(progress.every((p) => p.pagesDone <= p.pagesTotal));
    });

    it('keeps SLRUs, databases, maps, prepared transactions and settings', async () => {
      const manifest = pages.manifest(result.lsn);
      for (const [slru, files] of await readSlrus(server.dataDir))
        for (const [pageno, page] of files)
          assert.deepEqual(pages.getSlruPage(slru, pageno, result.lsn), page, `${slru} ${pageno}`);
      assert.deepEqual(
        manifest.slrus.flatMap(({ slru, ranges }) => ranges.map((range) => [slru, ...range])).sort(),
        [
          ['multixact_members', 0, 0],
          ['multixact_offsets', 0, 0],
          ['xact', 0, 0],
        ],
      );
      assert.equal(manifest.databases.length, 4);
      assert.ok(manifest.databases.every(({ spcOid }) => spcOid === 1663)); // away/ is no database of its own
      assert.equal(manifest.tablespaces.length, 1);
      assert.equal(manifest.relmaps.length, 5);
      for (const { dbOid, data } of manifest.relmaps) {
        const map = path.join(server.dataDir, dbOid === 0 ? 'global' : `base/${dbOid}`, 'pg_filenode.map');
        assert.deepEqual(data, await fs.readFile(map));
      }
      const [prepared] = manifest.twoPhase;
      const [name] = await fs.readdir(path.join(server.dataDir, 'pg_twophase'));
      assert.equal(prepared!.fullXid, parseInt(name!, 16));
      const twoPhaseFile = await fs.readFile(path.join(server.dataDir, 'pg_twophase', name!));
      assert.deepEqual(prepared!.data, twoPhaseFile.subarray(0, -4));
      const files = [
        'pg_hba.conf',
        'pg_ident.conf',
        'pg_stat/pgstat.stat',
        'postgresql.auto.conf',
        'postgresql.conf',
      ];
      assert.deepEqual(manifest.files.map((f) => f.name).sort(), files);
      for (const { name: file, content } of manifest.files)
        assert.deepEqual(content, await fs.readFile(path.join(server.dataDir, file)));
    });

    it('keeps the control state and the log up to the checkpoint', async () => {
      const control = parseControlFile(await fs.readFile(path.join(server.dataDir, 'global', 'pg_control')));
      const { state } = pages.controlSnapshot(result.lsn)!;
      assert.deepEqual(state, result.control);
      assert.deepEqual(state.checkpoint, control.checkpoint);
      assert.equal(state.lastRecordLsn, control.checkpointLsn);
      assert.deepEqual(state.multixactOffsets, { lastInitialized: 0, preInitialized: -1 });
      assert.equal(pages.appliedLsn, result.lsn);
      const log = await LogStore.open(path.join(dir, LOG_FOLDER), OWNER);
      try {
        assert.equal(log.endLsn, result.lsn);
        assert.equal(log.startLsn, control.checkpointLsn - (control.checkpointLsn % control.segmentSize));
        const segment = await fs.readFile(
          path.join(server.dataDir, 'pg_wal', walFileName(1, log.startLsn, control.segmentSize)),
        );
        assert.ok(log.read(log.startLsn, log.endLsn).equals(segment.subarray(0, log.endLsn - log.startLsn)));
      } finally {
        await log.close();
      }
    });

    it('leaves no partial folder, and does not import over a node', async () => {
      assert.deepEqual(await fs.readdir(scratch), ['node']);
      const cluster = await openSourceCluster(server.dataDir);
      await assert.rejects(createNode({ dir, ...OWNER }, cluster), (err) =>
        isDbError(err, 'IMPORT_TARGET_EXISTS'),
      );
      assert.deepEqual(await fs.readdir(scratch), ['node']);
    });
  });

  describe('that cannot be imported', () => {
    const at = (name: string): string => path.join(server.dataDir, name);

    async function refused(code: string, hint: RegExp): Promise<void> {
      await assert.rejects(openSourceCluster(server.dataDir), (err) => {
        assert.ok(isDbError(err, code), String(err));
        assert.equal(err.reaction, 'usage');
        assert.match(err.hint ?? '', hint);
        return true;
      });
    }

    /** Changes a file for the time of `check`. */
    async function changed(
      name: string,
      change: (bytes: Buffer) => void,
      check: () => Promise<void>,
    ): Promise<void> {
      const original = await fs.readFile(at(name));
      const bytes = Buffer.from(original);
      change(bytes);
      try {
        await fs.writeFile(at(name), bytes);
        await check();
      } finally {
        await fs.writeFile(at(name), original);
      }
    }

    function sealControl(bytes: Buffer): void {
      bytes.writeUInt32LE(crc32c(bytes.subarray(0, 292)), 292);
    }

    it('is refused while the server runs, and when it has crashed', async () => {
      await server.start();
      await refused('IMPORT_RUNNING', /pg_ctl stop/);
      await server.sql("ROLLBACK PREPARED 'p'");
      await server.stop('immediate');
      await fs.rm(at('postmaster.pid'), { force: true });
      await refused('IMPORT_NOT_CLEAN', /Start it/);
      await server.start();
      await server.stop();
      await openSourceCluster(server.dataDir);
    });

    it('is refused with checksums, another catalog, or a damaged pg_control', async () => {
      await changed(
        'global/pg_control',
        (b) => sealControl((b.writeUInt32LE(1, 252), b)),
        () => refused('CONTROL_UNSUPPORTED', /pg_checksums --disable/),
      );
      await changed(
        'global/pg_control',
        (b) => sealControl((b.writeUInt32LE(1, 12), b)),
        () => refused('CONTROL_UNSUPPORTED', /PostgreSQL 18/),
      );
      await changed(
        'global/pg_control',
        (b) => b.writeUInt32LE(7, 100),
        () => refused('CONTROL_BAD_CRC', /./),
      );
      await changed(
        'global/pg_control',
        (b) => b.writeUInt32LE(1700, 8),
        () => refused('CONTROL_VERSION', /./),
      );
      await changed(
        'PG_VERSION',
        (b) => b.write('17'),
        () => refused('IMPORT_NOT_A_CLUSTER', /18/),
      );
    });

    it('is refused with tablespaces elsewhere and as a standby', async () => {
      await fs.symlink(scratch, at('pg_tblspc/99999'));
      await refused('IMPORT_TABLESPACE', /pg_default/);
      await fs.rm(at('pg_tblspc/99999'));
      await fs.writeFile(at('standby.signal'), '');
      await refused('IMPORT_NOT_CLEAN', /promote/);
      await fs.rm(at('standby.signal'));
    });

    it('is refused when pg_control and WAL disagree', async () => {
      await changed(
        'global/pg_control',
        (b) => sealControl((b.writeUInt32LE(b.readUInt32LE(64) + 1, 64), b)),
        () => refused('IMPORT_NOT_CLEAN', /./),
      );
    });

    it('leaves nothing behind when a file turns out to be damaged', async () => {
      const cluster = await openSourceCluster(server.dataDir);
      const dir = path.join(scratch, 'second');
      const map = 'base/1/pg_filenode.map';
      await changed(
        map,
        (b) => b.writeUInt32LE(1, 100),
        () => assert.rejects(createNode({ dir, ...OWNER }, cluster), (err) => isDbError(err, 'RELMAP_BAD')),
      );
      const catalog = 'global/1262';
      const whole = await fs.readFile(at(catalog));
      await fs.truncate(at(catalog), 8000);
      await assert.rejects(createNode({ dir, ...OWNER }, cluster), (err) =>
        isDbError(err, 'IMPORT_BAD_FILE'),
      );
      await fs.writeFile(at(catalog), whole);
      assert.deepEqual((await fs.readdir(scratch)).sort(), ['node']);
    });
  });

  describe('into a folder', () => {
    it('builds a folder in place of an empty one only', async () => {
      const dir = path.join(scratch, 'built');
      await fs.mkdir(dir);
      await buildFolder(dir, (partial) => fs.writeFile(path.join(partial, 'a'), 'b'));
      assert.equal(await fs.readFile(path.join(dir, 'a'), 'utf8'), 'b');
      await assert.rejects(
        buildFolder(dir, () => Promise.resolve()),
        (err) => isDbError(err, 'IMPORT_TARGET_EXISTS'),
      );
    });
  });
});
