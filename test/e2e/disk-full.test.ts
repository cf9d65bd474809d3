/**
 * Storage nodes whose disk is full, to the last byte, while clients work: such a node acknowledges nothing and says so, serves what it has, and the
 * others carry the quorum; it goes on by itself when there is room. With all disks full commits wait, reads go on, and nothing is lost.
 */
import { strict as assert } from 'node:assert';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import type pg from 'pg';
import { parseLsn } from '../../src/engine/lsn.js';
import type { NodeStatus } from '../../src/net/node-status.js';
import { auditBank, createBank, runBank, type BankResult } from '../helpers/bank.js';
import { eventually, TestCluster } from '../helpers/cluster.js';
import { SmallDisk } from '../helpers/small-disk.js';
import { withEnvironment, withStorageSettings } from '../helpers/storage-settings.js';

const MIB = 1024 * 1024;
const SETTINGS = {
  disk: { reserveBytes: 8 * MIB, checkMs: 100 },
  // Small, so that RocksDB begins files and merges while the disk is full.
  pages: { memtableBytes: 2 * MIB },
  ingest: { lingerMs: 1 },
};

describe('e2e: full disk', function () {
  this.timeout(240_000);
  let cluster: TestCluster;
  let watcher: pg.Client;
  let load: Promise<BankResult>;
  const disks = new Map<string, SmallDisk>();
  const stop = new AbortController();

  before(async () => {
    cluster = await TestCluster.create();
    for (const { id, dir } of cluster.storageNodes) {
      const scratch = path.join(cluster.root, `disk-${id}`);
      mkdirSync(scratch);
      const disk = await SmallDisk.create(dir, scratch, 200);
      disks.set(id, disk);
    }
    console.log(`      small disks: ${disks.get('1')!.kind}`);
    await withStorageSettings(SETTINGS, async () => {
      for (const [id, disk] of disks) await withEnvironment(disk.environment, () => cluster.startStorage(id));
      await cluster.start();
    });
    watcher = await cluster.client();
    await createBank(watcher);
    const clients = await Promise.all(Array.from({ length: 4 }, () => cluster.client()));
    load = runBank(clients, 1_000_000, stop.signal);
  });
  after(async () => {
    stop.abort();
    for (const disk of disks.values()) disk.empty();
    for (const { id } of cluster?.storageNodes ?? []) await cluster.killStorage(id);
    for (const disk of disks.values()) disk.destroy();
    await cluster?.destroy();
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await cluster?.logs());
  });

  const journalRows = async (): Promise<number> =>
    (await watcher.query('select count(*)::int as n from journal')).rows[0].n as number;

  async function progress(n: number): Promise<void> {
    const before = await journalRows();
    await eventually(`${n} more transfers`, async () => (await journalRows()) >= before + n, 60_000);
  }

  const nodeStatus = (id: string): Promise<NodeStatus> => cluster.withNode(id, (client) => client.status());

  async function becomesFull(id: string): Promise<NodeStatus> {
    disks.get(id)!.fill();
    return eventually(`node ${id} is full`, async () => {
      const status = await nodeStatus(id);
      return status.state === 'disk-full' && status;
    });
  }

  /** The node has what was committed by now, and votes. */
  async function recovers(id: string): Promise<void> {
    const commit = parseLsn((await cluster.status()).volume.commitLsn!);
    await eventually(
      `node ${id} has recovered`,
      async () => {
        const { state, scl, appliedLsn, voter, ingestError, writeError } = await nodeStatus(id);
        assert.equal(ingestError, null);
        return state === 'running' && scl >= commit && appliedLsn >= commit && voter && writeError === null;
      },
      60_000,
    );
  }

  it('of one node: it says so, acknowledges nothing, serves what it has, and the others carry on', async () => {
    await progress(50);
    const { scl, appliedLsn } = await becomesFull('2');
    await progress(200);
    const status = await nodeStatus('2');
    assert.equal(status.state, 'disk-full');
    assert.ok(status.scl - scl < MIB, 'it took more log');
    await eventually('its peer knows', async () => {
      const { members } = await cluster.withNode('1', (client) => client.gossipView());
      return members.some(({ id, condition }) => id === '2' && condition === 'disk-full');
    });
    assert.match(status.disk.problem!, /MiB are free, 8 MiB are kept in reserve/);
    const report = (await cluster.status()).storage.find((node) => node.id === '2')!;
    assert.match(report.problem!, /^disk full: /);
    const { host, port } = cluster.storageNodes.find((node) => node.id === '2')!;
    const health = await fetch(`http://${host}:${port}/healthz`);
    assert.equal(health.status, 503);
    assert.equal(((await health.json()) as { state: string }).state, 'disk-full');
    assert.match(
      await (await fetch(`http://${host}:${port}/metrics`)).text(),
      /aurora_storage_disk_full\{.*\} 1/,
    );
    const served = await cluster.withNode('2', async (client) => {
      const { relations } = await client.manifest({ lsn: appliedLsn });
      return client.getPages({ ...relations[0]!, blkno: 0, count: 1, lsn: appliedLsn });
    });
    assert.equal(served.length, 8192);
    await progress(200);
    disks.get('2')!.empty();
    await recovers('2');
  });

  it('of all nodes: commits wait, reads go on, and all goes on when there is room', async () => {
    await progress(50);
    for (const { id } of cluster.storageNodes) await becomesFull(id);
    await eventually(
      'commits wait',
      async () => {
        const before = await journalRows();
        await new Promise((resolve) => setTimeout(resolve, 1500));
        return (await journalRows()) === before;
      },
      30_000,
    );
    for (const { id } of cluster.storageNodes) {
      const { appliedLsn } = await nodeStatus(id);
      await cluster.withNode(id, async (client) => {
        const { relations } = await client.manifest({ lsn: appliedLsn });
        await client.getPages({ ...relations[0]!, blkno: 0, count: 1, lsn: appliedLsn });
        assert.equal((await client.status()).voter, true);
      });
    }
    for (const disk of disks.values()) disk.empty();
    for (const { id } of cluster.storageNodes) await recovers(id);
    await progress(100);
  });

  it('that fills and empties again and again under load', async () => {
    for (let round = 0; round < 4; round++) {
      const id = String((round % 3) + 1);
      disks.get(id)!.fill();
      await progress(40);
      disks.get(id)!.empty();
      await recovers(id);
    }
  });

  it('without an error at any client, and with every acknowledged transfer there', async () => {
    stop.abort();
    const { acknowledged, unknown, errors } = await load;
    assert.deepEqual(errors, []);
    assert.ok(acknowledged.size > 300);
    await auditBank(watcher, acknowledged, unknown);
    await cluster.stop();
    cluster.eraseCompute();
    await withStorageSettings(SETTINGS, async () => {
      for (const [id, disk] of disks) await withEnvironment(disk.environment, () => cluster.startStorage(id));
      await cluster.start();
    });
    await auditBank(await cluster.client(), acknowledged, unknown);
    await cluster.amcheck();
  });
});
