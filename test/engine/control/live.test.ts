/**
 * Proves against a real PostgreSQL that the control state and the effects follow the log: ids, SLRU pages, relation maps, prepared
 * transactions, replication origins and files are, at several points, what PostgreSQL says or has on disk.
 */
import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import {
  advance,
  buildControlFile,
  encodeOrigins,
  encodeTwoPhaseFile,
  parseCheckpoint,
  parseControlFile,
  parseRelmap,
  twoPhaseFileName,
} from '../../../src/engine/control/index.js';
import { isDbError } from '../../../src/engine/errors.js';
import { parseLsn, type Lsn } from '../../../src/engine/lsn.js';
import { effectsOf } from '../../../src/engine/pages/effects/index.js';
import { encodeFileMessage } from '../../../src/engine/pages/effects/files.js';
import type { WalRecord } from '../../../src/engine/wal/types.js';
import { openSourceCluster } from '../../../src/storage/import.js';
import { startPlainPostgres, type PlainPostgres } from '../../helpers/plain-postgres.js';
import { Fold, readSlrus } from './fold.js';

const SECRET = Buffer.from('a volume secret');

async function flushLsn(server: PlainPostgres): Promise<Lsn> {
  const [row] = await server.sql('SELECT pg_current_wal_flush_lsn()::text AS lsn');
  return parseLsn(row!['lsn'] as string);
}

function isShutdown(rec: WalRecord): boolean {
  return rec.rmid === 0 && (rec.info & 0xf0) === 0;
}

describe('control state and effects of a real log', function () {
  this.timeout(60_000);
  let server: PlainPostgres;
  let fold: Fold;

  before(async () => {
    server = await startPlainPostgres({
      settings: {
        autovacuum: 'off',
        checkpoint_timeout: '1h',
        wal_keep_size: '1GB',
        max_prepared_transactions: '10',
      },
    });
    await server.sql(`
      CREATE TABLE t (id int PRIMARY KEY, v text);
      INSERT INTO t SELECT i, 'x' FROM generate_series(1, 100) i;
      CREATE PROCEDURE burn(n int) LANGUAGE plpgsql AS $$
        BEGIN FOR i IN 1..n LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$;
      CREATE PROCEDURE share(n int) LANGUAGE plpgsql AS $$
        BEGIN FOR i IN 1..n LOOP PERFORM 1 FROM t WHERE id = 1 FOR KEY SHARE; COMMIT; END LOOP; END $$;
      CREATE PROCEDURE subs(n int) LANGUAGE plpgsql AS $$
        BEGIN FOR i IN 1..n LOOP
          BEGIN UPDATE t SET v = 'y' || i WHERE id = 1 + i % 100; IF i % 3 = 0 THEN RAISE 'no'; END IF;
          EXCEPTION WHEN raise_exception THEN NULL; END;
        END LOOP; END $$`);
    await server.sql('ALTER SYSTEM SET track_commit_timestamp = on');
    await server.stop();
    const cluster = await openSourceCluster(server.dataDir);
    fold = await Fold.begin(server.dataDir, cluster.lsn, SECRET);
    await server.start();
  });

  after(async () => {
    await server.destroy();
  });

  /** An online checkpoint of an idle server says exactly what the fold knows. */
  async function compareAfterCheckpoint(): Promise<void> {
    await server.sql('CHECKPOINT');
    await fold.follow(await flushLsn(server));
    const file = await fs.readFile(path.join(server.dataDir, 'global', 'pg_control'));
    const control = parseControlFile(file);
    assert.deepEqual(fold.state.checkpoint, control.checkpoint);
    assert.equal(fold.state.lastCheckpoint?.lsn, control.checkpointLsn);
    assert.equal(fold.state.lastCheckpoint?.online, true);
    assert.deepEqual(fold.state.parameters, control.parameters);
  }

  it('knows that commit timestamps were switched on', async () => {
    assert.equal(fold.state.parameters.trackCommitTimestamp, false);
    await compareAfterCheckpoint();
    assert.equal(fold.state.parameters.trackCommitTimestamp, true);
    assert.notEqual(fold.state.checkpoint.oldestCommitTsXid, 0);
  });

  it('counts transactions and subtransactions over clog and commit_ts pages', async () => {
    const before = fold.state.checkpoint.nextXid;
    const c = await server.client();
    await c.query('SET synchronous_commit = off');
    await c.query('CALL subs(300)');
    await c.query('CALL burn(34000)');
    const savepoints = Array.from(
      { length: 120 },
      (_, i) => `SAVEPOINT s${i}; UPDATE t SET v = 's' WHERE id = ${i % 100};`,
    );
    await c.query(`BEGIN; ${savepoints.join('')} ROLLBACK TO s110; COMMIT`);
    await c.end();
    await compareAfterCheckpoint();
    assert.ok(fold.state.checkpoint.nextXid - before > 34_000);
  });

  it('counts multixacts over pages of offsets and members', async () => {
    const before = fold.state.checkpoint.nextMulti;
    const holder = await server.client();
    await holder.query('BEGIN; SELECT 1 FROM t WHERE id = 1 FOR KEY SHARE');
    const c = await server.client();
    await c.query('SET synchronous_commit = off');
    await c.query('CALL share(2300)');
    await holder.query('COMMIT');
    await Promise.all([c.end(), holder.end()]);
    await compareAfterCheckpoint();
    assert.ok(fold.state.checkpoint.nextMulti - before >= 2300);
  });

  it('follows object ids', async () => {
    const before = fold.state.checkpoint.nextOid;
    await server.sql('SELECT count(lo_create(0)) FROM generate_series(1, 9000)');
    await compareAfterCheckpoint();
    assert.ok(fold.state.checkpoint.nextOid >= before + 8192);
  });

  it('sees relations created, cut and dropped, and in-place tablespaces', async () => {
    const from = fold.effects.length;
    const c = await server.client();
    await c.query('CREATE TABLE r (i int); INSERT INTO r SELECT generate_series(1, 2000)');
    const { rows } = await c.query<{ rel: number; db: number }>(
      "SELECT pg_relation_filenode('r')::int AS rel, oid::int AS db FROM pg_database WHERE datname = current_database()",
    );
    const rel = { spcOid: 1663, dbOid: rows[0]!.db, relNumber: rows[0]!.rel };
    await c.query('DELETE FROM r WHERE i > 300');
    await c.query('VACUUM (TRUNCATE) r');
    const size = await c.query<{ n: number }>("SELECT (pg_relation_size('r') / 8192)::int AS n");
    await c.query('DROP TABLE r');
    await c.query('SET allow_in_place_tablespaces = on; CREATE SCHEMA s');
    await c.query("CREATE TABLESPACE inplace LOCATION ''");
    await c.query('DROP TABLESPACE inplace');
    await c.end();
    await compareAfterCheckpoint();
    const ours = fold.effects.slice(from).filter((e) => 'rel' in e && e.rel.relNumber === rel.relNumber);
    assert.deepEqual(ours, [
      { kind: 'relCreate', rel, fork: 0 },
      { kind: 'relCreate', rel, fork: 0 },
      { kind: 'relTruncate', rel, fork: 0, nblocks: size.rows[0]!.n },
      { kind: 'relTruncate', rel, fork: 1, nblocks: 2 },
      { kind: 'vmTruncate', rel, nHeapBlocks: size.rows[0]!.n },
      { kind: 'relTruncate', rel, fork: 2, nblocks: 1 },
      { kind: 'relDrop', rel },
    ]);
    const spaces = fold.effects.slice(from).filter((e) => e.kind.startsWith('tablespace'));
    assert.deepEqual(
      spaces.map((e) => e.kind),
      ['tablespaceCreate', 'tablespaceDrop'],
    );
  });

  it('keeps prepared transactions as PostgreSQL does', async () => {
    for (const statements of [
      "BEGIN; CREATE TABLE p1 (i int); SAVEPOINT a; INSERT INTO p1 VALUES (1); PREPARE TRANSACTION 'one'",
      "BEGIN; UPDATE t SET v = 'p' WHERE id = 50; PREPARE TRANSACTION 'two'",
      "BEGIN; CREATE TABLE p3 (i int); PREPARE TRANSACTION 'three'",
      "COMMIT PREPARED 'two'",
      "ROLLBACK PREPARED 'three'",
    ])
      await server.sql(statements);
    await compareAfterCheckpoint();
    const names = await fs.readdir(path.join(server.dataDir, 'pg_twophase'));
    assert.deepEqual([...fold.twoPhase.keys()].map(twoPhaseFileName), names);
    for (const [fullXid, data] of fold.twoPhase) {
      const file = path.join(server.dataDir, 'pg_twophase', twoPhaseFileName(fullXid));
      assert.deepEqual(encodeTwoPhaseFile(data), await fs.readFile(file));
    }
  });

  it('keeps relation maps as PostgreSQL does', async () => {
    await server.sql('VACUUM FULL pg_class');
    await server.sql('VACUUM FULL pg_authid');
    await server.sql('CREATE DATABASE walcopy STRATEGY wal_log');
    await server.sql('CREATE DATABASE filecopy STRATEGY file_copy');
    const oids = await server.sql(
      "SELECT oid, datname FROM pg_database WHERE datname LIKE '%copy' ORDER BY 2",
    );
    await server.sql('DROP DATABASE filecopy');
    await compareAfterCheckpoint();
    const [filecopy, walcopy] = oids.map((row) => Number(row['oid']));
    assert.deepEqual([...fold.relmaps.keys()].sort().slice(-1), ['global']);
    assert.ok(fold.relmaps.has(`base/${walcopy}`));
    for (const [dir, data] of fold.relmaps) {
      assert.deepEqual(data, await fs.readFile(path.join(server.dataDir, dir, 'pg_filenode.map')));
      assert.ok(parseRelmap(data, dir).length >= 10);
    }
    const databases = fold.effects.filter((e) => e.kind === 'dbCreate' || e.kind === 'dbDrop');
    const spcOid = 1663;
    assert.deepEqual(databases, [
      { kind: 'dbCreate', dbOid: walcopy, spcOid },
      { kind: 'dbCreate', dbOid: filecopy, spcOid, copyFrom: { dbOid: 1, spcOid } },
      { kind: 'dbDrop', dbOid: filecopy, spcOids: [spcOid] },
    ]);
  });

  it('takes files only with the right authentication code', async () => {
    const payload = encodeFileMessage(SECRET, 'postgresql.auto.conf', Buffer.from("a = 'b'\n"));
    const forged = encodeFileMessage(
      Buffer.from('guess'),
      'pg_hba.conf',
      Buffer.from('local all all trust\n'),
    );
    const outside = encodeFileMessage(SECRET, '../x', Buffer.from('y'));
    for (const message of [payload, forged, outside])
      await server.sql(
        `SELECT pg_logical_emit_message(false, 'aurora.file', '\\x${message.toString('hex')}'::bytea, true),
                pg_logical_emit_message(false, 'other', 'text')`,
      );
    await compareAfterCheckpoint();
    assert.deepEqual([...fold.files], [['postgresql.auto.conf', Buffer.from("a = 'b'\n")]]);
    assert.equal(fold.rejectedFiles, 2);
  });

  it('follows replication origins', async () => {
    await server.sql(`
      SELECT pg_replication_origin_create('o1'), pg_replication_origin_create('o2'), pg_replication_origin_create('o3');
      SELECT pg_replication_origin_advance('o1', '0/1234'), pg_replication_origin_advance('o3', '0/77')`);
    await server.sql(`
      SELECT pg_replication_origin_session_setup('o2');
      SELECT pg_replication_origin_xact_setup('1/ABC', '2020-02-02 00:00:00+00');
      UPDATE t SET v = 'o' WHERE id = 7`);
    await server.sql("SELECT pg_replication_origin_drop('o3')");
    await compareAfterCheckpoint();
    const file = await fs.readFile(path.join(server.dataDir, 'pg_logical', 'replorigin_checkpoint'));
    const origins = [...fold.origins].map(([id, remoteLsn]) => ({ id, remoteLsn }));
    assert.deepEqual(
      origins.map((o) => o.remoteLsn),
      [parseLsn('0/1234'), parseLsn('1/ABC')],
    );
    assert.deepEqual(encodeOrigins(origins), file);
  });

  it('ends where the shutdown checkpoint and the files do', async () => {
    await server.stop();
    const controlFile = await fs.readFile(path.join(server.dataDir, 'global', 'pg_control'));
    const control = parseControlFile(controlFile);
    const end = (await openSourceCluster(server.dataDir)).lsn;
    const last = await fold.follow(end, isShutdown);
    assert.equal(last?.startLsn, control.checkpointLsn);

    // Before the record, all but the unused rest of the logged object ids is known exactly.
    const said = parseCheckpoint(last!.mainData);
    const { nextOid, ...folded } = fold.state.checkpoint;
    const exactly = [
      'nextXid',
      'nextMulti',
      'nextMultiOffset',
      'oldestXid',
      'oldestXidDb',
      'oldestMulti',
    ] as const;
    for (const field of exactly) assert.equal(folded[field], said[field], field);
    for (const field of ['oldestMultiDb', 'oldestCommitTsXid', 'newestCommitTsXid'] as const)
      assert.equal(folded[field], said[field], field);
    assert.ok(
      nextOid >= said.nextOid && nextOid - said.nextOid <= 8192,
      `nextOid ${nextOid}, ${said.nextOid}`,
    );
    assert.notEqual(folded.newestCommitTsXid, 0);

    fold.step(last!);
    assert.deepEqual(fold.state.checkpoint, said);
    assert.deepEqual(fold.slrus, await readSlrus(server.dataDir));
    const built = buildControlFile(fold.state, {
      checkpointLsn: control.checkpointLsn,
      checkpoint: said,
      timeSeconds: control.time,
    });
    assert.deepEqual(built, controlFile);
  });

  it('empties commit_ts when tracking is switched off', async () => {
    await server.start();
    await server.sql('ALTER SYSTEM SET track_commit_timestamp = off');
    await server.stop();
    await server.start();
    await server.stop();
    await fold.follow((await openSourceCluster(server.dataDir)).lsn);
    assert.deepEqual(fold.slrus, await readSlrus(server.dataDir));
    assert.equal(fold.slrus.get('commit_ts')!.size, 0);
    assert.equal(fold.state.checkpoint.newestCommitTsXid, 0);
  });

  it('refuses records that are too short or too long, with their LSN', () => {
    // Opcodes whose main data are looked at, by resource manager; of the other records here only the pages matter.
    const all = Array.from({ length: 16 }, (_, i) => i << 4);
    const looked: Record<number, readonly number[]> = {
      0: [0x00, 0x10, 0x30, 0x60, 0xe0],
      8: [0x10],
      ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7, 18, 19, 21].map((rmid) => [rmid, all])),
    };
    let tried = 0;
    for (const { rec, before } of fold.samples.values()) {
      if (!(looked[rec.rmid] ?? []).includes(rec.info & 0xf0)) continue;
      const lengths = [0, 1, 3, 7, 8, 11, rec.mainData.length - 1, rec.mainData.length + 1];
      for (const length of lengths.filter((n) => n >= 0 && n !== rec.mainData.length)) {
        const mainData = Buffer.alloc(length);
        rec.mainData.copy(mainData);
        const bad: WalRecord = { ...rec, mainData };
        if (rec.rmid === 1 && (rec.info & 0x70) === 0x60) continue; // INVALIDATION: never looked at
        tried++;
        assert.throws(
          () => {
            effectsOf(bad, { control: before, secret: SECRET });
            advance(structuredClone(before), bad);
          },
          (err) => isDbError(err, 'REDO_BAD_RECORD') && /at [0-9A-F]+\/[0-9A-F]+/.test(err.message),
          `rmgr ${rec.rmid} info ${rec.info}: ${length} of ${rec.mainData.length} bytes`,
        );
      }
    }
    assert.ok(tried > 100, `${tried} records tried`);
  });
});
