/**
 * Proves that a real PostgreSQL starts cleanly from a pg_control, checkpoint record and SLRU pages that we made, at ids just before all
 * of their counters wrap around, and that the control state and the SLRU pages follow it across the wrap into epoch 1.
 */
import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import {
  absentSlruPages,
  buildControlFile,
  encodeCheckpoint,
  epochOf,
  initialControlState,
  parseControlFile,
  shutdownCheckpoint,
  walFileName,
  xidOf,
} from '../../../src/engine/control/index.js';
import { parseLsn, type Lsn } from '../../../src/engine/lsn.js';
import {
  SLRU_DIRECTORY,
  SLRU_PAGES_PER_SEGMENT,
  slruSegmentName,
} from '../../../src/engine/pages/effects/index.js';
import { encodeRecord, placeRecord, recordStartAt } from '../../../src/engine/wal/writer.js';
import { giveTo } from '../../../src/compute/postgres.js';
import { openSourceCluster } from '../../../src/storage/import.js';
import { startPlainPostgres, type PlainPostgres } from '../../helpers/plain-postgres.js';
import { Fold, readSlrus } from './fold.js';

const TWO_32 = 0x1_0000_0000;

describe('ids at their wrap-around', function () {
  this.timeout(60_000);
  let server: PlainPostgres;

  before(async () => {
    server = await startPlainPostgres({
      settings: {
        autovacuum: 'off',
        checkpoint_timeout: '1h',
        wal_keep_size: '1GB',
        track_commit_timestamp: 'on',
      },
    });
    await server.sql(`
      CREATE TABLE t (id int PRIMARY KEY);
      INSERT INTO t VALUES (1), (2);
      CREATE PROCEDURE burn(n int) LANGUAGE plpgsql AS $$
        BEGIN FOR i IN 1..n LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$;
      CREATE PROCEDURE share(n int) LANGUAGE plpgsql AS $$
        BEGIN FOR i IN 1..n LOOP PERFORM 1 FROM t WHERE id = 1 FOR KEY SHARE; COMMIT; END LOOP; END $$`);
    await server.sql('VACUUM FREEZE'); // no row may carry an xid that the jump puts into the future
    await server.stop();
  });

  after(async () => {
    await server.destroy();
  });

  /** Appends a shutdown checkpoint with other counters, and all that a clean start from it needs. */
  async function jump(): Promise<Lsn> {
    const { dataDir } = server;
    const { lsn, control } = await openSourceCluster(dataDir);
    const state = initialControlState(control, lsn);
    Object.assign(state.checkpoint, {
      nextXid: TWO_32 - 300,
      oldestXid: TWO_32 - 1000,
      oldestCommitTsXid: TWO_32 - 300,
      newestCommitTsXid: TWO_32 - 300,
      nextMulti: TWO_32 - 20,
      oldestMulti: TWO_32 - 20,
      nextMultiOffset: TWO_32 - 30,
    });
    const { segmentSize } = state;
    const systemId = BigInt(state.systemIdentifier);
    const at = recordStartAt(lsn, segmentSize);
    const mainData = encodeCheckpoint(shutdownCheckpoint(state, at, 1));
    const raw = encodeRecord({ rmid: 0, info: 0, xid: 0, prevLsn: state.lastRecordLsn, mainData });
    const placed = placeRecord(raw, lsn, { segmentSize, systemId, timeline: 1 });
    await patch(path.join('pg_wal', walFileName(1, lsn, segmentSize)), lsn % segmentSize, placed.bytes);
    await patch('global/pg_control', 0, buildControlFile(state, { checkpointLsn: at, timeSeconds: 1 }));
    const slrus = await readSlrus(dataDir);
    const absent = absentSlruPages(state, (slru, pageno) => slrus.get(slru)!.has(pageno));
    assert.deepEqual(
      absent.map(({ slru, pageno }) => `${slru} ${pageno}`),
      ['xact 131071', 'multixact_offsets 2097151', 'multixact_members 2625285', 'commit_ts 5244159'],
    );
    for (const { slru, pageno } of absent) {
      const file = path.join(SLRU_DIRECTORY[slru], slruSegmentName(pageno));
      await patch(file, (pageno % SLRU_PAGES_PER_SEGMENT) * 8192, Buffer.alloc(8192));
    }
    return placed.endLsn;
  }

  async function patch(name: string, at: number, bytes: Buffer): Promise<void> {
    const file = path.join(server.dataDir, name);
    const handle = await fs.open(file, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
    await handle.write(bytes, 0, bytes.length, at);
    await handle.close();
    await giveTo(server.install, file);
  }

  it('are followed into the next epoch', async () => {
    const fold = await Fold.begin(server.dataDir, await jump());
    for (const [slru, pages] of await readSlrus(server.dataDir)) fold.slrus.set(slru, pages);
    assert.equal((await openSourceCluster(server.dataDir)).lsn, fold.state.lastRecordEnd);

    await server.start();
    const holder = await server.client();
    await holder.query('BEGIN; SELECT 1 FROM t WHERE id = 1 FOR KEY SHARE');
    await server.sql('CALL share(40)');
    await holder.query('COMMIT');
    await holder.end();
    await server.sql('CALL burn(900)');
    await server.sql('CHECKPOINT');
    const [row] = await server.sql('SELECT pg_current_wal_flush_lsn()::text AS lsn');
    await fold.follow(parseLsn(row!['lsn'] as string));
    const control = parseControlFile(await fs.readFile(path.join(server.dataDir, 'global', 'pg_control')));
    assert.deepEqual({ ...fold.state.checkpoint, redo: 0 }, { ...control.checkpoint, redo: 0 });
    assert.equal(epochOf(fold.state.checkpoint.nextXid), 1);
    assert.ok(xidOf(fold.state.checkpoint.nextXid) > 500);
    assert.ok(fold.state.checkpoint.nextMulti < 100);
    assert.ok(fold.state.checkpoint.nextMultiOffset < 200);

    await server.stop();
    await fold.follow((await openSourceCluster(server.dataDir)).lsn);
    assert.deepEqual(fold.slrus, await readSlrus(server.dataDir));
  });
});
