/**
 * Stopping and starting, in order and not: the three stop modes with sessions open and with the write quorum lost, a start that is killed
 * or stopped half-way, a storage node whose folder is gone, settings that would keep the next start from succeeding. After each
 * the data is right, and after the last nothing of the cluster is left on the machine.
 */
import { strict as assert } from 'node:assert';
import { existsSync, promises as fs, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type pg from 'pg';
import { controlRequest } from '../../src/cluster/control-client.js';
import { gone } from '../../src/cluster/daemon-process.js';
import { computeDaemonName, startCluster } from '../../src/cluster/start.js';
import { stopCluster, type StopMode } from '../../src/cluster/stop.js';
import { controlSocketPath } from '../../src/compute/control-path.js';
import { isDbError } from '../../src/engine/errors.js';
import { auditBank, createBank, runBank } from '../helpers/bank.js';
import { eventually, PATIENCE_MS, TestCluster } from '../helpers/cluster.js';

describe('e2e: stop and start', function () {
  this.timeout(300_000);
  let cluster: TestCluster;
  const acknowledged = new Set<number>();
  const unknown = new Set<number>();
  let firstId = 0;

  before(async () => {
    cluster = await TestCluster.start();
    await inSession(createBank);
  });
  after(async () => {
    if (cluster && existsSync(cluster.root)) await cluster.destroy();
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await cluster?.logs());
  });

  /** Stops without ending the test's own sessions first. */
  const stop = (mode: StopMode, timeoutMs = PATIENCE_MS): Promise<void> =>
    stopCluster({ root: cluster.layout.root, mode, timeoutMs, wait: true });

  /** Ends the compute alone; the storage nodes run on. */
  async function stopCompute(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const pid = cluster.computePid()!;
    process.kill(pid, signal);
    assert.ok(await gone(pid, PATIENCE_MS), 'the compute does not end');
  }

  async function inSession<T>(use: (client: pg.Client) => Promise<T>): Promise<T> {
    const client = await cluster.client();
    try {
      return await use(client);
    } finally {
      await client.end();
    }
  }

  /** Some transfers in one session, all acknowledged. */
  async function work(): Promise<void> {
    const client = await cluster.client();
    const abort = new AbortController();
    firstId += 100_000;
    const load = runBank([client], firstId, abort.signal);
    await eventually(
      'a few transfers',
      async () =>
        (await cluster.sql(`select count(*) from journal where id >= ${firstId + 5}`))[0]!['count'] !== '0',
    );
    abort.abort();
    const result = await load;
    assert.deepEqual(result.errors, []);
    for (const id of result.acknowledged) acknowledged.add(id);
    await client.end();
  }

  async function audit(): Promise<void> {
    await inSession((client) => auditBank(client, acknowledged, unknown));
  }

  const setting = async (name: string): Promise<unknown> =>
    (await cluster.sql(`select setting from pg_settings where name = '${name}'`))[0]!['setting'];

  it('smart waits for sessions and lets no new one in; it ends when they end', async () => {
    const session = await cluster.client();
    await session.query('begin; insert into journal values (1, 1, 1, 0)');
    const stopped = stop('smart');
    const refusal = await eventually('new sessions are refused', () =>
      cluster.client().then(
        (client) => client.end().then(() => null),
        (err: Error) => err.message,
      ),
    );
    assert.match(refusal, /shutting down/);
    await session.query('commit');
    acknowledged.add(1);
    await session.end();
    await stopped;
    assert.equal(cluster.computePid(), null);
    await cluster.start();
    await audit();
  });

  it('fast ends sessions; what they had not committed never was', async () => {
    const session = await cluster.client();
    await session.query('begin; insert into journal values (2, 1, 1, 0)');
    await stop('fast');
    await assert.rejects(session.query('commit'));
    await cluster.start();
    await audit();
  });

  it('immediate ends sessions, and keeps what was acknowledged', async () => {
    await work();
    await stop('immediate');
    await cluster.start();
    await audit();
  });

  it('statistics survive a clean stop, and not a kill', async () => {
    const scans = async (): Promise<number> =>
      Number(
        (
          await cluster.sql(
            `select pg_stat_force_next_flush(); select seq_scan from pg_stat_user_tables where relname = 'account'`,
          )
        )[0]!['seq_scan'],
      );
    for (let i = 0; i < 20; i++) await cluster.sql('select sum(balance) from account');
    const counted = await eventually('statistics are flushed', async () => {
      const n = await scans();
      return n >= 20 ? n : null;
    });
    await stopCompute();
    await cluster.start();
    assert.ok((await scans()) >= counted);
    await cluster.killCompute();
    await cluster.start();
    assert.ok((await scans()) < counted);
  });

  it('start and stop, five times', async () => {
    for (let round = 0; round < 5; round++) {
      await work();
      await stopCompute();
      await cluster.start();
      await audit();
    }
  });

  it('SIGTERM to the compute daemon is a clean stop', async () => {
    const log = path.join(cluster.computeDir, 'postgresql.log');
    const before = readFileSync(log, 'utf8').length;
    await work();
    await stopCompute();
    assert.match(readFileSync(log, 'utf8').slice(before), /database system is shut down/);
    await cluster.start();
    await audit();
  });

  it('killed at any moment of its start, the compute starts the next time', async () => {
    await work();
    for (const delayMs of [150, 400, 600, 800, 1100]) {
      await stopCompute('SIGQUIT');
      const starting = cluster.start().then(
        () => 'started',
        () => 'failed',
      );
      const pid = await eventually('the daemon is there', () => cluster.computePid());
      await new Promise((resolve) => setTimeout(resolve, delayMs)); // the moment is the subject
      process.kill(pid, 'SIGKILL');
      assert.ok(await gone(pid, PATIENCE_MS));
      await starting;
      await cluster.start();
      await audit();
    }
    await eventually(
      'folders of the starts that failed are gone',
      () => readdirSync(cluster.computeDir).filter((name) => name.startsWith('term-')).length === 1,
    );
  });

  it('without a write quorum: smart and fast time out with a hint, immediate works', async () => {
    const client = await cluster.client();
    await cluster.killStorage('1');
    await cluster.killStorage('2');
    const pending = client.query('insert into journal values (3, 1, 1, 0)').catch((err: Error) => err);
    unknown.add(3);
    await eventually('stalled', async () => (await cluster.status()).computes[0]!.state === 'stalled');
    await assert.rejects(
      stop('fast', 1500),
      (err) => isDbError(err, 'CLUSTER_TIMEOUT') && /-m immediate/.test(err.hint ?? ''),
    );
    assert.ok(cluster.computePid() !== null, 'a stop that timed out goes on');
    const begun = Date.now();
    await stop('immediate');
    const tookMs = Date.now() - begun;
    assert.ok(tookMs < PATIENCE_MS / 2, `immediate took ${tookMs} ms`);
    assert.ok((await pending) instanceof Error, 'a commit without a quorum must not be acknowledged');
    await cluster.start();
    await audit();
  });

  it('a start that waits for a quorum can be stopped at once', async () => {
    await cluster.killStorage('2');
    await cluster.killStorage('3');
    const victim = (await cluster.client()) as pg.Client & { processID: number };
    process.kill(victim.processID, 'SIGKILL'); // a crash: the next term finds no quorum
    await eventually('the next term is being tried', async () => {
      const [compute] = (await cluster.status()).computes;
      return compute!.state === 'starting' && compute!.postgresPid === null;
    });
    const begun = Date.now();
    await stop('fast');
    const tookMs = Date.now() - begun;
    assert.ok(tookMs < PATIENCE_MS / 2, `the stop took ${tookMs} ms`);
    await cluster.start();
    await audit();
  });

  it('does not start without two nodes of three; without one it does, with a warning that says which', async () => {
    await cluster.stop();
    const [, second, third] = cluster.storageNodes.map((node) => node.dir);
    await fs.rename(second!, `${second}.away`);
    await fs.rename(third!, `${third}.away`);
    await assert.rejects(cluster.start(), (err) => isDbError(err, 'CLUSTER_NODE_MISSING'));
    assert.equal(cluster.storagePid('1'), null, 'a start that fails leaves nothing running');
    await fs.rename(`${second}.away`, second!);
    const said: string[] = [];
    await startCluster({
      root: cluster.layout.root,
      timeoutMs: PATIENCE_MS,
      wait: true,
      progress: (line) => said.push(line),
    });
    assert.ok(
      said.some((line) => /^warning: .*storage node 3/.test(line)),
      said.join('\n'),
    );
    await work();
    await fs.rename(`${third}.away`, third!);
    // What is missing of a running cluster is started by the same command.
    await startCluster({ root: cluster.layout.root, timeoutMs: PATIENCE_MS, wait: true });
    await eventually(
      'node 3 runs',
      async () => (await cluster.status()).storage.find((node) => node.id === '3')!.state === 'running',
    );
    await assert.rejects(cluster.start(), (err) => isDbError(err, 'CLUSTER_RUNNING'));
  });

  it('of two starts at once the second waits, and finds the cluster running', async () => {
    await stopCompute();
    const results = await Promise.allSettled([cluster.start(), cluster.start()]);
    const refused = results.filter((result) => result.status === 'rejected');
    assert.equal(refused.length, 1);
    assert.ok(isDbError(refused[0]!.reason, 'CLUSTER_RUNNING'), String(refused[0]!.reason));
    await audit();
  });

  it('start --no-wait returns while the compute is starting', async () => {
    await stopCompute();
    const { computePid } = await startCluster({
      root: cluster.layout.root,
      timeoutMs: PATIENCE_MS,
      wait: false,
    });
    assert.equal(cluster.computePid(), computePid);
    assert.ok(existsSync(path.join(cluster.layout.run, `${computeDaemonName('primary')}.pid`)));
    await eventually('it is ready', async () => (await cluster.status()).computes[0]!.state === 'running');
    await audit();
  });

  it('settings that would keep it from starting: refused when they are wrong, overridden when they cannot be met', async () => {
    const file = path.join(cluster.computeDir, 'pgdata', 'postgresql.conf');
    const good = await fs.readFile(file, 'utf8');
    const reload = async (text: string): Promise<void> => {
      await fs.writeFile(file, text);
      await controlRequest(controlSocketPath(cluster.socketDir, 'primary'), 'POST', '/reload', PATIENCE_MS);
    };
    for (const [line, why] of [
      [`work_mem = 'lots'`, /invalid value for parameter "work_mem"/],
      [`include 'mine.conf'`, /mine\.conf/],
    ] as const) {
      await fs.writeFile(path.join(path.dirname(file), 'mine.conf'), 'work_mem = 5MB\n');
      await assert.rejects(
        reload(`${good}${line}\n`),
        (err) => isDbError(err, 'COMPUTE_BAD_SETTINGS') && why.test(err.message),
      );
    }
    await reload(`${good}work_mem = 5MB\n`);
    await stopCompute();
    await cluster.start();
    assert.equal(await setting('work_mem'), '5120');

    // Nothing of the daemon's own may be in the way of the user's databases.
    await cluster.sql('create database of_mine');
    await cluster.sql(`alter system set port = 1`);
    await cluster.sql(`alter system set shared_preload_libraries = 'not_there'`);
    await cluster.sql(`alter system set max_wal_senders = 0`);
    await stopCompute();
    const start = (settings: Record<string, string>): Promise<unknown> =>
      startCluster({ root: cluster.layout.root, timeoutMs: PATIENCE_MS, wait: true, settings });
    await assert.rejects(
      start({}),
      (err) => isDbError(err) && /could not access file "not_there"/.test(err.message),
    );
    await assert.rejects(
      start({ shared_preload_libraries: '' }),
      (err) => isDbError(err) && /max_wal_senders/.test(`${err.message} ${err.hint}`),
    );
    await start({ shared_preload_libraries: '', max_wal_senders: '10' });
    await cluster.sql('alter system reset all');
    await stopCompute();
    await cluster.start();
    assert.equal(await setting('max_wal_senders'), '10');
    await audit();
  });

  it('a renamed superuser is asked for, and then remembered', async () => {
    await cluster.sql('create role helper superuser login');
    const helper = await cluster.client('postgres', 'helper');
    await helper.query(`alter role "${cluster.superuser}" rename to renamed`);
    await helper.end();
    await stopCompute();
    await assert.rejects(cluster.start(), (err) => isDbError(err) && /start -U/.test(err.hint ?? ''));
    await startCluster({
      root: cluster.layout.root,
      timeoutMs: PATIENCE_MS,
      wait: true,
      superuser: 'renamed',
    });
    cluster.superuser = 'renamed';
    await cluster.sql('alter system set work_mem = 6500');
    await stopCompute();
    await cluster.start();
    assert.equal(await setting('work_mem'), '6500');
    await audit();
  });

  it('works without template1 and postgres being there for it', async () => {
    await cluster.sql('create database mine');
    await cluster.sql('alter database postgres with allow_connections false', 'mine');
    await cluster.sql('alter system set work_mem = 6000', 'mine');
    await cluster.sql('alter database postgres with allow_connections true', 'mine');
    await cluster.sql('alter database template1 with is_template false allow_connections false');
    await cluster.sql('alter system set work_mem = 7000');
    await stopCompute();
    await cluster.start();
    assert.equal(await setting('work_mem'), '7000');
    await audit();
    await cluster.amcheck();
  });

  it('leaves nothing behind when it is destroyed', async () => {
    const { root } = cluster;
    const ofCluster = (): number[] =>
      readdirSync('/proc').flatMap((entry) => {
        if (!/^\d+$/.test(entry) || Number(entry) === process.pid) return [];
        try {
          return readFileSync(`/proc/${entry}/cmdline`, 'utf8').includes(root) ? [Number(entry)] : [];
        } catch {
          return []; // it has ended meanwhile
        }
      });
    assert.ok(ofCluster().length >= 4, 'the search finds what runs');
    await cluster.destroy();
    await eventually('every process has ended', () => ofCluster().length === 0);
    assert.equal(existsSync(root), false);
  });
});
