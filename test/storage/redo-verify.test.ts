/**
 * redo_verify in live storage nodes: what they replay is compared as it comes. A log that lies stops the ingest of a node that checks, right
 * before the record, as often as it is started; its status and metrics say so and its log shows both pages. A node that does not check goes on.
 */
import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { pino } from 'pino';
import { formatLsn, lsn, type Lsn } from '../../src/engine/lsn.js';
import type { StorageClient } from '../../src/net/storage-client.js';
import { redoVerifySetting, storageConfig } from '../../src/storage/config.js';
import { StorageDaemon } from '../../src/storage/daemon.js';
import { alterLog } from '../helpers/redo-alter.js';
import { MiniWriter, TestVolume } from './volume.js';

const WORKLOAD = [
  "ALTER SYSTEM SET wal_consistency_checking = 'all'",
  'SELECT pg_reload_conf()',
  'CREATE TABLE t (id int PRIMARY KEY, t text)',
  "INSERT INTO t SELECT g, 'text ' || g FROM generate_series(1, 2000) g",
  'DELETE FROM t WHERE id > 500',
  'VACUUM (FREEZE, TRUNCATE) t',
  "INSERT INTO t SELECT g, 'again ' || g FROM generate_series(1000, 2000) g",
  'CREATE DATABASE twin STRATEGY file_copy',
  'DROP TABLE t',
];

describe('redo_verify in storage nodes', function () {
  this.timeout(240_000);
  let volume: TestVolume;
  let wal: Buffer;
  let liar: { startLsn: Lsn };
  let lastGood: Lsn;
  const logged: { level: number; msg: string }[] = [];
  const clients: Record<string, StorageClient> = {};

  /** With its log in `logged`. */
  async function startChecking(id: string): Promise<void> {
    const config = storageConfig({ ...volume.config(id), redoVerify: true, peers: [] });
    const lines = new Writable({
      write: (line: Buffer, _encoding, done) => {
        logged.push(JSON.parse(line.toString()) as { level: number; msg: string });
        done();
      },
    });
    volume.node(id).daemon = await StorageDaemon.start(config, pino({ level: 'info' }, lines));
    clients[id] = await volume.client(id);
  }

  const saved = process.env['AURORA_REDO_VERIFY'];
  const setEnvironment = (value: string | undefined): void => {
    if (value === undefined) delete process.env['AURORA_REDO_VERIFY'];
    else process.env['AURORA_REDO_VERIFY'] = value;
  };

  before(async () => {
    setEnvironment(undefined);
    volume = await TestVolume.create(['n1', 'n2', 'n3'], WORKLOAD);
    const { importLsn } = volume.recording;
    wal = Buffer.from(volume.recording.wal);
    const half = lsn(importLsn + Math.floor(wal.length / 2));
    const altered = alterLog(wal, importLsn, half);
    liar = altered.altered;
    lastGood = altered.before;
  });
  after(async () => {
    await volume?.destroy();
    setEnvironment(saved);
  });

  it('compare every image, find nothing in an honest log, stop at the first lie', async () => {
    await startChecking('n1');
    await volume.start('n2', { redoVerify: false });
    clients['n2'] = await volume.client('n2');
    const writer = new MiniWriter(volume, 1, 'writer');
    for (const id of ['n1', 'n2']) await writer.join(id);
    await writer.lead();
    const { recordEnds, importLsn, end } = volume.recording;
    const honest = recordEnds[Math.floor(recordEnds.length / 3)]!;
    writer.write(honest, wal.subarray(0, honest - importLsn));
    await writer.committed(honest);
    await clients['n1']!.waitApplied({ lsn: honest, timeoutMs: 150_000 });
    const half = await clients['n1']!.status();
    assert.equal(half.ingestError, null);
    assert.ok(half.metrics['redoVerify'] === 1 && half.metrics['redoCompared']! > 500);
    assert.equal(half.metrics['redoMismatched'], 0);

    writer.write(end, wal);
    await writer.committed(end);
    await clients['n2']!.waitApplied({ lsn: end, timeoutMs: 150_000 });
    await volume.until(clients['n1']!, 'stopped', (status) => status.ingestError !== null);
    writer.close();

    const status = await clients['n1']!.status();
    assert.equal(status.ingestError?.code, 'REDO_MISMATCH');
    assert.equal(status.ingestError.lsn, liar.startLsn);
    assert.match(status.ingestError.message, /Heap\/INSERT block 0 = .*: 1 byte\(s\) differ/);
    assert.deepEqual([status.appliedLsn, status.scl], [lastGood, end]);
    assert.deepEqual([status.metrics['redoMismatched'], status.metrics['ingestStopped']], [1, 1]);
    const other = await clients['n2']!.status();
    assert.deepEqual(
      [other.ingestError, other.metrics['redoVerify'], other.metrics['redoCompared']],
      [null, 0, 0],
    );
  });

  it('show both pages and the record in the log of the node, line by line', () => {
    const errors = logged.filter(({ level }) => level === 50).map(({ msg }) => msg);
    assert.match(errors[0]!, new RegExp(`^${formatLsn(liar.startLsn)} Heap/INSERT block 0`));
    assert.match(errors[1]!, /^rmgr: Heap .*desc: INSERT/);
    assert.ok(errors.some((line) => /^ {4}PostgreSQL +xmin/.test(line)));
    assert.match(errors.at(-1)!, /^ingest stopped at .*REDO|^ingest stopped at .*differ/);
  });

  it('serve pages up to there, refuse them beyond', async () => {
    const { relations } = await clients['n1']!.manifest({ lsn: lastGood });
    const rel = relations.find(({ nblocks, fork }) => nblocks > 0 && fork === 0)!;
    const page = { ...rel, blkno: 0, count: 1 };
    assert.equal((await clients['n1']!.getPages({ ...page, lsn: lastGood })).length, 8192);
    await assert.rejects(clients['n1']!.getPages({ ...page, lsn: volume.recording.end }), {
      code: 'INGEST_STOPPED',
    });
  });

  it('stop again after a restart, and go on without the check', async () => {
    await volume.stop('n1');
    await startChecking('n1');
    await volume.until(clients['n1']!, 'stopped again', (status) => status.ingestError !== null);
    assert.equal((await clients['n1']!.status()).ingestError?.lsn, liar.startLsn);
    await volume.stop('n1');
    await volume.start('n1', { redoVerify: false, peers: [] });
    const client = await volume.client('n1');
    await client.waitApplied({ lsn: volume.recording.end, timeoutMs: 150_000 });
  });

  it('are told by the environment before their configuration', () => {
    const says = (value: string | undefined, configured?: boolean): boolean => {
      setEnvironment(value);
      return redoVerifySetting(configured);
    };
    try {
      assert.deepEqual([says(undefined), says(undefined, true), says('', true)], [false, true, true]);
      assert.deepEqual([says('on', false), says('off', true)], [true, false]);
      assert.throws(() => says('maybe'), { code: 'USAGE_CONFIG' });
      setEnvironment(undefined);
      const wrong = { ...volume.config('n1'), redoVerify: 'yes' as unknown as boolean };
      assert.throws(() => storageConfig(wrong), /"redoVerify" must be true or false/);
    } finally {
      setEnvironment(undefined);
    }
  });
});
