/**
 * A storage node that lost its folder, its pages or its log while clients work: it is rebuilt from its peers without anybody noticing, also when
 * it is killed in the middle, and then truly counts: with another node gone, commits go on.
 */
import { strict as assert } from 'node:assert';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { auditBank, createBank, runBank, type BankResult } from '../helpers/bank.js';
import { eventually, TestCluster } from '../helpers/cluster.js';
import { withStorageSettings } from '../helpers/storage-settings.js';
import { assertSamePages } from '../helpers/same-pages.js';

describe('e2e: rebuild of a storage node', function () {
  this.timeout(300_000);
  let cluster: TestCluster;
  let watcher: pg.Client;
  let load: Promise<BankResult>;
  const stop = new AbortController();

  before(async () => {
    cluster = await TestCluster.start();
    watcher = await cluster.client();
    await createBank(watcher);
    // Some pages to copy: a rebuild is to be caught in the middle.
    await watcher.query(
      `create table ballast as select g as id, repeat(md5(g::text), 20) as filler from generate_series(1, 60000) g`,
    );
    const clients = await Promise.all(Array.from({ length: 4 }, () => cluster.client()));
    load = runBank(clients, 1_000_000, stop.signal);
  });
  after(async () => {
    stop.abort();
    await cluster?.destroy();
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await cluster?.logs());
  });

  const journalRows = async (): Promise<number> =>
    (await watcher.query('select count(*)::int as n from journal')).rows[0].n as number;

  async function progress(n: number): Promise<void> {
    const before = await journalRows();
    await eventually(`${n} more transfers`, async () => (await journalRows()) >= before + n);
  }

  async function lose(id: string, ...parts: string[]): Promise<void> {
    await cluster.killStorage(id);
    const { dir } = cluster.storageNodes.find((node) => node.id === id)!;
    for (const name of await fs.readdir(dir))
      if (parts.length === 0 || parts.includes(name)) await fs.rm(path.join(dir, name), { recursive: true });
  }

  const report = async (id: string) => (await cluster.status()).storage.find((node) => node.id === id)!;

  async function votes(id: string): Promise<void> {
    await eventually(`node ${id} votes`, async () => (await report(id)).voter === true, 120_000);
  }

  /** Without `id`, the two others make the write quorum: each of them counts. */
  async function goesOnWithout(id: string): Promise<void> {
    await cluster.killStorage(id);
    await progress(100);
    await cluster.startStorage(id);
  }

  it('that lost its whole folder: it votes again, and commits go on without another node', async () => {
    await progress(100);
    await lose('2');
    await progress(100);
    // So slow that it is caught at it, however late the answer comes.
    await withStorageSettings({ rebuild: { bytesPerSecond: 12 * 1024 * 1024 } }, () =>
      cluster.startStorage('2'),
    );
    const { voter, rebuild, problem } = await report('2');
    assert.ok(voter === false && rebuild !== null && /^learner: amnesia; ./.test(problem!), problem!);
    await votes('2');
    assert.equal((await report('2')).rebuild, null);
    await goesOnWithout('3');
    await assertSamePages(cluster);
  });

  for (const [id, part, other] of [
    ['3', 'pages', '1'],
    ['1', 'log', '2'],
  ] as const)
    it(`that lost only its ${part}`, async () => {
      await lose(id, part);
      await progress(50);
      await cluster.startStorage(id);
      await votes(id);
      await goesOnWithout(other);
      await assertSamePages(cluster);
    });

  it('that is killed again and again while it is rebuilt', async () => {
    await lose('2');
    for (let round = 0; round < 3; round++) {
      await cluster.startStorage('2');
      await sleep(Math.random() * 700);
      await cluster.killStorage('2');
      await progress(20);
    }
    await cluster.startStorage('2');
    await votes('2');
    await goesOnWithout('1');
    await assertSamePages(cluster);
  });

  it('without an error at any client, and with every acknowledged transfer there, on a compute made anew, too', async () => {
    stop.abort();
    const { acknowledged, unknown, errors } = await load;
    assert.deepEqual(errors, []);
    assert.ok(acknowledged.size > 500);
    await auditBank(watcher, acknowledged, unknown);
    await cluster.stop();
    cluster.eraseCompute();
    await cluster.start();
    await auditBank(await cluster.client(), acknowledged, unknown);
    await cluster.amcheck();
  });
});
