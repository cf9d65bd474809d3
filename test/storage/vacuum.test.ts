/**
 * The vacuum service of a storage node: what the horizon waits for (retention, leases, the time after a start), what log is kept for whom, and that
 * a node killed in the middle of it all comes back whole.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDbError } from '../../src/engine/errors.js';
import { lsn, type Lsn } from '../../src/engine/lsn.js';
import type { StorageClient } from '../../src/net/storage-client.js';
import { storageConfig, type StorageConfigInput } from '../../src/storage/config.js';
import { Leases } from '../../src/storage/leases.js';
import { compareWithFiles } from '../helpers/redo-files.js';
import { MiniWriter, TestVolume } from './volume.js';

/** No history is wanted beyond what somebody holds. */
const EAGER: Partial<StorageConfigInput> = {
  retention: { timeMs: 200, leaseMs: 5000, peerMs: 600_000 },
  vacuum: { enabled: true, intervalMs: 50, dutyPercent: 100, passBytes: 1024, passMs: 100 },
  logFileBytes: 256 * 1024,
};
const SEGMENT = 16 * 1024 * 1024;

describe('leases on history', () => {
  it('hold the lowest LSN, end by silence, and hold everything for a while after a start', () => {
    const leases = new Leases(1000, 5000);
    assert.equal(leases.lowest(5999), 0, 'holders may not have come back yet');
    assert.equal(leases.lowest(6000), Infinity);
    leases.renew({ name: 'a', lsn: lsn(500) }, 6000);
    leases.renew({ name: 'b', lsn: lsn(300) }, 6500);
    assert.equal(leases.lowest(7000), 300);
    leases.renew({ name: 'b', lsn: lsn(900) }, 7000);
    assert.equal(leases.lowest(7000), 500);
    assert.deepEqual(leases.list(7001), [{ name: 'b', lsn: 900, ageMs: 1 }], 'a was silent for too long');
    leases.release('b');
    assert.equal(leases.lowest(7002), Infinity);
    const refused = (err: unknown): boolean => isDbError(err, 'USAGE_LEASE');
    assert.throws(() => leases.renew({ name: '', lsn: lsn(1) }, 7002), refused);
    for (let i = 0; i < 1000; i++) leases.renew({ name: `n${i}`, lsn: lsn(1) }, 7002);
    assert.throws(() => leases.renew({ name: 'one more', lsn: lsn(1) }, 7002), refused);
  });
});

describe('vacuum service of storage nodes', function () {
  this.timeout(600_000);
  let volume: TestVolume;
  let writer: MiniWriter;
  const clients: Record<string, StorageClient> = {};

  before(async () => {
    volume = await TestVolume.create(
      ['n1', 'n2', 'n3'],
      [
        `CREATE TABLE account (id int PRIMARY KEY, filler text);
         INSERT INTO account SELECT i, repeat('x', 200) FROM generate_series(1, 30000) i`,
        ...Array.from({ length: 6 }, () => [`UPDATE account SET filler = filler`, `VACUUM account`]).flat(),
        `CREATE TABLE passing AS SELECT * FROM account; DROP TABLE passing`,
      ],
    );
    assert.ok(volume.recording.wal.length > 3 * SEGMENT, `only ${volume.recording.wal.length} bytes of log`);
    for (const id of ['n1', 'n2']) await volume.start(id, EAGER);
    await volume.spawn('n3', EAGER);
    for (const { id } of volume.nodes) clients[id] = await volume.client(id);
    writer = new MiniWriter(volume, 1, 'w');
    for (const { id } of volume.nodes) await writer.join(id);
    await writer.lead();
  });
  after(async () => {
    writer?.close();
    await volume?.destroy();
  });

  function at(fraction: number): Lsn {
    const { recordEnds, importLsn, wal } = volume.recording;
    return recordEnds.findLast((end) => end <= importLsn + wal.length * fraction)!;
  }

  async function write(fraction: number): Promise<Lsn> {
    const end = at(fraction);
    writer.write(end);
    await writer.committed(end);
    return end;
  }

  it('keeps what a lease holds, and gives it up when the lease is over', async () => {
    const held = await write(0.3);
    const lease = { name: 'reader', lsn: held };
    for (const client of Object.values(clients)) {
      await client.waitApplied({ lsn: held, timeoutMs: 150_000 });
      const { horizon, ttlMs } = await client.renewLease(lease);
      assert.ok(horizon <= held);
      assert.equal(ttlMs, 5000);
    }
    const renewing = setInterval(() => {
      for (const client of Object.values(clients)) void client.renewLease(lease);
    }, 500);
    const end = await write(0.6);
    const before = await clients['n1']!.manifest({ lsn: held });
    await sleep(6000);
    for (const client of Object.values(clients)) {
      await client.waitApplied({ lsn: end, timeoutMs: 150_000 });
      const { gcLsn, vacuum } = await client.status();
      assert.ok(gcLsn > 0 && gcLsn <= held, `the horizon ${gcLsn} passed the lease at ${held}`);
      assert.deepEqual(
        vacuum.leases.map(({ name, lsn: of }) => [name, of]),
        [['reader', held]],
      );
      assert.deepEqual((await client.manifest({ lsn: held })).relations, before.relations);
    }
    clearInterval(renewing);
    await clients['n1']!.releaseLease('reader'); // the others hear no more of it
    for (const [id, client] of Object.entries(clients))
      await volume.until(client, `the horizon of ${id}`, ({ gcLsn }) => gcLsn === end);
    await assert.rejects(clients['n2']!.manifest({ lsn: held }), (err) => isDbError(err, 'PAGE_GONE_BY_GC'));
  });

  it('removes log that nobody needs, whole WAL segments behind the horizon', async () => {
    const end = at(0.6);
    for (const [id, client] of Object.entries(clients)) {
      await volume.until(client, `the log of ${id}`, ({ logStart }) => logStart > end - 2 * SEGMENT);
      const { logStart, history } = await client.status();
      // A compute that starts at `end` gets the segment in which that lies.
      assert.ok(logStart <= Math.floor(end / SEGMENT) * SEGMENT, `${logStart}`);
      assert.equal(history.at(-1)!.epoch, 1);
      const state = await client.controlState({ lsn: end });
      assert.equal(state.lastRecordEnd, end);
      await assert.rejects(client.readLog({ begin: volume.recording.importLsn, end }), (err) =>
        isDbError(err, 'LOG_GONE'),
      );
    }
  });

  it('keeps log for a peer that is away, so that it can catch up', async () => {
    await volume.kill('n3', 'SIGKILL');
    const left = (await clients['n1']!.status()).scl;
    const end = await write(0.9);
    for (const id of ['n1', 'n2'])
      await volume.until(clients[id]!, `the horizon of ${id}`, ({ gcLsn }) => gcLsn >= end);
    await sleep(500);
    for (const id of ['n1', 'n2']) assert.ok((await clients[id]!.status()).logStart <= left);
    await volume.spawn('n3', EAGER);
    clients['n3'] = await volume.client('n3');
    await volume.until(clients['n3'], 'n3 to catch up', ({ appliedLsn }) => appliedLsn >= end);
    assert.ok((await clients['n3'].status()).voter);
    for (const id of ['n1', 'n2'])
      await volume.until(clients[id]!, `the log of ${id}`, ({ logStart }) => logStart > left - SEGMENT);
  });

  it('dies at any moment and comes back with the same pages', async () => {
    await writer.join('n3');
    for (const fraction of [0.93, 0.97]) {
      await write(fraction);
      await sleep(150);
      await volume.kill('n3', 'SIGKILL');
      await volume.spawn('n3', EAGER);
      clients['n3'] = await volume.client('n3');
      await writer.join('n3');
    }
    const { end, files, relations } = volume.recording;
    writer.write(end);
    await writer.committed(end);
    for (const id of ['n1', 'n3']) {
      const client = clients[id]!;
      await client.waitApplied({ lsn: end, timeoutMs: 150_000 });
      await volume.until(client, `the horizon of ${id}`, ({ gcLsn }) => gcLsn === end);
      const ours = await volume.pagesOf(client, end);
      const { pages, differences } = compareWithFiles(ours, files, relations, new Map(), []);
      assert.deepEqual(differences, []);
      assert.ok(pages > 1000, `${pages} pages compared`);
      const { vacuum } = await client.status();
      assert.equal(vacuum.lastError, null);
      assert.ok(vacuum.disk.pagesBytes > 0 && vacuum.disk.freeBytes > 0);
    }
    await volume.stop('n1');
    await volume.start('n1', EAGER);
    const again = await volume.client('n1');
    assert.equal((await again.status()).gcLsn, end, 'the horizon is kept');
  });

  it('says which settings it cannot work with', () => {
    for (const [wrong, text] of [
      [{ retention: { timeMs: 0 } }, /"retention.timeMs" must be a positive number/],
      [{ vacuum: { dutyPercent: 101 } }, /"vacuum.dutyPercent" must be more than 0 and at most 100/],
    ] as const)
      assert.throws(() => storageConfig({ ...volume.config('n1'), ...wrong }), text);
  });
});
