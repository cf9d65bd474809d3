/**
 * Faults of single parts while clients work: a storage node killed (nobody notices), two killed (commits wait, nothing is lost), a
 * node that comes back (catches up, then serves pages), an old primary that wakes up after a new one took over (commits nothing).
 */
import { strict as assert } from 'node:assert';
import type pg from 'pg';
import { endDaemon, gone, isAlive, startDaemon } from '../../src/cluster/daemon-process.js';
import { freePort } from '../../src/cluster/ports.js';
import { promises as fs, readFileSync } from 'node:fs';
import path from 'node:path';
import { StorageClient } from '../../src/net/storage-client.js';
import { loadSecret } from '../../src/net/secret.js';
import { parseLsn } from '../../src/engine/lsn.js';
import { auditBank, createBank, runBank, type BankResult } from '../helpers/bank.js';
import { eventually, PATIENCE_MS, TestCluster } from '../helpers/cluster.js';

const CLIENTS = 8;

describe('e2e: faults', function () {
  this.timeout(300_000);
  let cluster: TestCluster;
  const acknowledged = new Set<number>();
  const unknown = new Set<number>();
  let firstId = 1_000_000;

  before(async () => {
    cluster = await TestCluster.start();
    await createBank(await cluster.client());
  });
  after(async () => cluster?.destroy());
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await cluster?.logs());
  });

  function note(result: BankResult): void {
    for (const id of result.acknowledged) acknowledged.add(id);
    for (const id of result.unknown) unknown.add(id);
  }

  async function startLoad(): Promise<{ stop(): Promise<BankResult>; clients: pg.Client[] }> {
    const clients = await Promise.all(Array.from({ length: CLIENTS }, () => cluster.client()));
    const abort = new AbortController();
    firstId += 1_000_000;
    const running = runBank(clients, firstId, abort.signal);
    return {
      clients,
      async stop() {
        abort.abort();
        const result = await running;
        note(result);
        return result;
      },
    };
  }

  const journalRows = async (client: pg.Client): Promise<number> =>
    (await client.query('select count(*)::int as n from journal')).rows[0].n as number;

  /** Waits until load has committed `n` more transfers. */
  async function progress(client: pg.Client, n: number): Promise<void> {
    const before = await journalRows(client);
    await eventually(`${n} more transfers`, async () => (await journalRows(client)) >= before + n);
  }

  it('one of three storage nodes killed under load: no error at any client', async () => {
    const watcher = await cluster.client();
    const load = await startLoad();
    await progress(watcher, 100);
    await cluster.killStorage('2');
    await progress(watcher, 300);
    const result = await load.stop();
    assert.deepEqual(result.errors, []);
    await auditBank(watcher, acknowledged, unknown);
  });

  it('the node that was away catches up from its peers and then serves pages', async () => {
    await cluster.startStorage('2');
    const target = parseLsn((await cluster.status()).volume.commitLsn!);
    await eventually('node 2 has applied all', async () => {
      const node = (await cluster.status()).storage.find((n) => n.id === '2')!;
      return node.voter && node.applied !== null && parseLsn(node.applied) >= target;
    });
    const info = (
      await cluster.sql(
        `select oid::int as rel, (select oid::int from pg_database where datname = current_database()) as db from pg_class where relname = 'journal'`,
      )
    )[0]!;
    const pages: Buffer[] = [];
    for (const node of cluster.storageNodes) {
      const client = await StorageClient.connect(node, {
        secret: loadSecret(cluster.layout.secret),
        volumeId: (await cluster.status()).volume.id,
        role: 'tool',
        clientId: 'test',
      });
      try {
        pages.push(
          await client.getPages({
            spcOid: 1663,
            dbOid: info['db'] as number,
            relNumber: info['rel'] as number,
            fork: 0,
            blkno: 0,
            count: 4,
            lsn: target,
          }),
        );
      } finally {
        client.close();
      }
    }
    assert.ok(pages[0]!.some((byte) => byte !== 0));
    assert.ok(
      pages[0]!.equals(pages[1]!) && pages[0]!.equals(pages[2]!),
      'every node must give the same bytes at one LSN',
    );
  });

  it('two of three killed: commits wait, cached reads go on, all resumes when one returns', async () => {
    const watcher = await cluster.client();
    const load = await startLoad();
    await progress(watcher, 100);
    await cluster.killStorage('1');
    await cluster.killStorage('3');
    await eventually(
      'the compute sees that it has no quorum',
      async () => (await cluster.status()).computes[0]!.state === 'stalled',
    );
    const writer = await cluster.client();
    let committed = false;
    const pending = writer.query(`insert into journal values (5, 1, 1, 0)`).then(() => (committed = true));
    const before = await journalRows(watcher);
    for (let i = 0; i < 20; i++) assert.ok((await journalRows(watcher)) >= before);
    assert.equal(committed, false, 'a commit was acknowledged without a write quorum');
    await cluster.startStorage('1');
    await pending;
    acknowledged.add(5);
    await progress(watcher, 100);
    const result = await load.stop();
    assert.deepEqual(result.errors, []);
    await auditBank(watcher, acknowledged, unknown);
    await cluster.startStorage('3');
  });

  it('a storage node paused for a while is waited for by nobody', async () => {
    const watcher = await cluster.client();
    const load = await startLoad();
    await progress(watcher, 50);
    const pid = cluster.storagePid('3')!;
    process.kill(pid, 'SIGSTOP');
    try {
      await progress(watcher, 200);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    const result = await load.stop();
    assert.deepEqual(result.errors, []);
    await eventually(
      'node 3 is back',
      async () => (await cluster.status()).storage.find((n) => n.id === '3')!.state === 'running',
    );
  });

  it('a backend that crashes costs a restart from storage, and no commit', async () => {
    const load = await startLoad();
    await progress(await cluster.client(), 50);
    const before = (await cluster.status()).computes[0]!;
    const victim = (await load.clients[0]!.query('select pg_backend_pid() as pid')).rows[0].pid as number;
    process.kill(victim, 'SIGKILL');
    const result = await load.stop();
    assert.ok(result.errors.length > 0, 'sessions end with the server that they were on');
    await eventually('a new term runs', async () => {
      const now = (await cluster.status()).computes[0]!;
      return now.state === 'running' && now.epoch! > before.epoch! && now.postgresPid !== before.postgresPid;
    });
    assert.equal(cluster.computePid(), before.pid, 'the daemon itself goes on');
    await auditBank(await cluster.client(), acknowledged, unknown);
  });

  it('PostgreSQL ends with its daemon, and a start gets everything back', async () => {
    const postgres = cluster.postgresPid()!;
    process.kill(cluster.computePid()!, 'SIGKILL');
    await eventually('postgres has ended', () => !isAlive(postgres));
    await cluster.start();
    await auditBank(await cluster.client(), acknowledged, unknown);
  });

  it('everything killed at once under load (a power cut of the processes): nothing acknowledged is lost', async () => {
    const load = await startLoad();
    await progress(await cluster.client(), 100);
    const nodes = cluster.storageNodes.map((node) => cluster.storagePid(node.id)!);
    for (const pid of nodes) process.kill(pid, 'SIGKILL');
    await cluster.killCompute();
    await load.stop();
    for (const pid of nodes) assert.ok(await gone(pid, PATIENCE_MS));
    cluster.eraseCompute();
    await cluster.start();
    await auditBank(await cluster.client(), acknowledged, unknown);
    await cluster.amcheck();
  });

  it('an old primary that was paused cannot commit anything once a new one has started', async () => {
    const old = { daemon: cluster.computePid()!, postgres: cluster.postgresPid()! };
    const oldClient = await cluster.client();
    await oldClient.query('begin');
    await oldClient.query('insert into journal values (7, 1, 1, 0)');
    process.kill(old.daemon, 'SIGSTOP');
    const config = JSON.parse(
      readFileSync(path.join(cluster.layout.run, 'compute-primary.json'), 'utf8'),
    ) as Record<string, unknown>;
    const dir = path.join(cluster.root, 'second');
    const socketDir = path.join(cluster.root, 's2');
    await fs.mkdir(dir, { mode: 0o711 });
    await fs.mkdir(socketDir, { mode: 0o700 });
    const owner = await fs.stat(cluster.socketDir);
    await fs.chown(socketDir, owner.uid, owner.gid);
    const port = await freePort();
    const spec = {
      kind: 'compute',
      name: 'compute-second',
      runDir: cluster.layout.run,
      logFile: path.join(cluster.layout.root, 'log', 'second.log'),
      config: { ...config, name: 'second', dir, socketDir, port },
    } as const;
    await startDaemon(spec, PATIENCE_MS);
    try {
      // PostgreSQL itself was not paused: its COMMIT flushes locally and waits for the old daemon, which is fenced when it wakes up.
      let outcome: string | null = null;
      const commit = oldClient.query('commit').then(
        () => (outcome = 'committed'),
        () => (outcome = 'refused'),
      );
      process.kill(old.daemon, 'SIGCONT');
      await commit;
      assert.equal(outcome, 'refused');
      await eventually('the old compute has ended', () => cluster.computePid() === null);
      const { default: pgModule } = await import('pg');
      const client = new pgModule.Client({
        host: socketDir,
        port,
        user: cluster.superuser,
        database: 'postgres',
      });
      await client.connect();
      try {
        assert.equal((await client.query('select * from journal where id = 7')).rows.length, 0);
        await auditBank(client, acknowledged, unknown);
        await client.query('insert into journal values (8, 1, 1, 0)');
        acknowledged.add(8);
      } finally {
        await client.end();
      }
    } finally {
      assert.ok(await endDaemon(cluster.layout.run, 'compute-second', 'SIGTERM', PATIENCE_MS));
    }
    await cluster.start();
    const client = await cluster.client();
    await auditBank(client, acknowledged, unknown);
    await cluster.amcheck();
  });
});
