/**
 * Read replicas on shared storage, with real PostgreSQL: whoever reads on a replica sees only what was committed, whole transactions, in
 * order; DDL, truncation, dropped databases and index builds arrive as they are; nothing that dies in between (a storage node that it
 * streams from, the replica itself) makes a difference. REPLICAS makes it wider (npm run soak:replicas).
 */
import { strict as assert } from 'node:assert';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { removeReplica } from '../../src/cluster/replicas.js';
import type { ComputeReport } from '../../src/cluster/status.js';
import { DbState, parseControlFile } from '../../src/engine/control/index.js';
import { crc32c } from '../../src/engine/wal/crc32c.js';
import { parseLsn } from '../../src/engine/lsn.js';
import type { TopReport } from '../../src/inspect/top.js';
import { aurora } from '../commands/cli.js';
import { auditBank, createBank, runBank, type BankResult } from '../helpers/bank.js';
import { eventually, TestCluster } from '../helpers/cluster.js';
import { caughtUp, Computes, PATIENCE_MS } from '../helpers/computes.js';
import { lintMetrics, metric, metricsOfCompute } from '../helpers/prometheus.js';

const LOAD_MS = 2000;
const REPLICAS = Number(process.env['REPLICAS'] ?? 2);

/** One snapshot after the other: sums are constant, transfers only become more, and no transfer refers to nothing. Ends with `stop`. */
async function readAlong(client: pg.Client, stop: AbortSignal): Promise<number> {
  let before = 0;
  let snapshots = 0;
  while (!stop.aborted) {
    const { rows } = await client.query(
      `select (select sum(balance)::int from account) as total, (select count(*)::int from journal) as n,
              (select count(*)::int from journal j left join account a on a.id = j.src where a.id is null) as orphans`,
    );
    assert.equal(rows[0].total, 200_000, 'money appeared or vanished in a snapshot of the replica');
    assert.equal(rows[0].orphans, 0, 'a foreign key did not hold in a snapshot of the replica');
    assert.ok(rows[0].n >= before, `the replica went back: ${rows[0].n} transfers after ${before}`);
    before = rows[0].n as number;
    snapshots++;
  }
  return snapshots;
}

describe('read replicas', function () {
  this.timeout(PATIENCE_MS * 4);
  let cluster: TestCluster;
  let computes: Computes;
  let primary: pg.Client;
  const acknowledged = new Set<number>();
  const unknown = new Set<number>();
  const names = Array.from({ length: REPLICAS }, (_, i) => `r${i + 1}`);
  let nextId = 1;

  before(async () => {
    // A long query on a replica keeps the primary's vacuum from removing rows; so when it runs is the test's business.
    cluster = await TestCluster.start({ settings: { autovacuum: 'off' } });
    computes = new Computes(cluster);
    primary = await cluster.client();
    await createBank(primary);
    await primary.query('create extension amcheck');
  });

  after(async () => {
    await computes?.close();
    await cluster?.destroy();
  });

  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await cluster.logs(40));
  });

  /** Transfers on the primary while `work` runs. */
  async function underLoad(work: () => Promise<void>): Promise<void> {
    const stop = new AbortController();
    const clients = [await cluster.client(), await cluster.client()];
    const load: Promise<BankResult> = runBank(clients, nextId, stop.signal);
    try {
      await work();
    } finally {
      stop.abort();
      const result = await load;
      for (const id of result.acknowledged) acknowledged.add(id);
      for (const id of result.unknown) unknown.add(id);
      nextId += result.acknowledged.size + result.unknown.size + 100;
      assert.deepEqual(result.errors, [], 'the primary goes on whatever its replicas do');
      await Promise.all(clients.map((client) => client.end()));
    }
  }

  async function audit(name: string): Promise<void> {
    const client = await computes.client(name);
    await caughtUp(primary, client);
    await auditBank(client, acknowledged, unknown);
    await client.end();
  }

  it('are made under load, and every snapshot on them is one of the primary', async () => {
    await underLoad(async () => {
      for (const name of names) await computes.add(name);
      const stop = new AbortController();
      const clients = await Promise.all(names.map((name) => computes.client(name)));
      const reading = Promise.all(clients.map((client) => readAlong(client, stop.signal)));
      await Promise.race([reading, sleep(LOAD_MS)]);
      stop.abort();
      for (const n of await reading) assert.ok(n > 0);
      await Promise.all(clients.map((client) => client.end()));
    });
    for (const name of names) await audit(name);
  });

  it("take the primary's settings: those of before their start, those that change by a command, and files that were edited", async () => {
    const env = { AURORA_HOME: cluster.layout.root };
    const shown = async (name: string, setting: string): Promise<string> => {
      const client = await computes.client(name);
      const { rows } = await client.query('select current_setting($1) as value', [setting]);
      await client.end();
      return rows[0].value as string;
    };
    const becomes = (setting: string, value: string): Promise<unknown> =>
      Promise.all(
        names.map((name) =>
          eventually(
            `${setting} of ${name} is ${value}`,
            async () => (await shown(name, setting)) === value,
            PATIENCE_MS,
          ),
        ),
      );
    assert.equal((await aurora(['config', 'set', 'work_mem=7MB'], { env })).status, 0);
    await becomes('work_mem', '7MB');
    const file = path.join(cluster.computeDir, 'pgdata', 'postgresql.conf');
    await fs.appendFile(file, "\nlog_min_duration_statement = '71s'\n");
    const reloaded = await aurora(['reload'], { env });
    assert.equal(reloaded.stderr, '');
    await becomes('log_min_duration_statement', '71s');
    // By no command of ours: a replica has it with its next start, although there was no checkpoint since.
    await primary.query("alter system set work_mem = '9MB'");
    await computes.kill('r1');
    await computes.start('r1');
    assert.equal(await shown('r1', 'work_mem'), '9MB');
    assert.equal((await aurora(['config', 'reset', 'work_mem'], { env })).status, 0);
    await becomes('work_mem', '4MB');
  });

  it('refuse to write, and say how to read what was just written', async () => {
    const replica = await computes.client('r1');
    await assert.rejects(replica.query('delete from journal'), /read-only transaction/);
    await assert.rejects(replica.query(`alter system set work_mem = '8MB'`), /Read-only file system/);
    for (let i = 0; i < 20; i++) {
      await primary.query(`create table if not exists own (n int); insert into own values (${i})`);
      await caughtUp(primary, replica);
      const { rows } = await replica.query('select max(n)::int as n from own');
      assert.equal(rows[0].n, i);
    }
    await replica.end();
  });

  it('replay tables, indexes, truncation, unlogged tables and databases that come and go', async () => {
    await primary.query(`
      create table t as select g as id, g % 97 as k, repeat(md5(g::text), 4) as v from generate_series(1, 20000) g;
      create index t_k on t (k); create index t_v on t using hash (v); create index t_gin on t using gin (string_to_array(v, 'a'));
      create table cut as select g as id, repeat('x', 200) as v from generate_series(1, 5000) g;
      create table emptied as select * from t; truncate emptied; insert into emptied select * from t where id < 100;
      create table dropped as select * from t; drop table dropped;
      create unlogged table fast as select 1 as n; create materialized view mv as select k, count(*) from t group by k;
      create sequence s; select nextval('s') from generate_series(1, 50);
      delete from cut where id > 1000`);
    await primary.query('begin; create table never as select * from t; rollback');
    await eventually('cut is truncated', async () => {
      await primary.query('vacuum (truncate on, index_cleanup on) cut');
      return (await primary.query(`select pg_relation_size('cut')::int as n`)).rows[0].n < 500_000;
    });
    await primary.query('vacuum full emptied');
    await primary.query('reindex table t');
    await primary.query('create database db_log strategy wal_log');
    await primary.query('create database db_copy strategy file_copy');
    await primary.query('create database db_gone strategy file_copy');
    const inCopy = await cluster.client('db_copy');
    await inCopy.query('create table c as select g from generate_series(1, 1000) g');
    await inCopy.end();
    await primary.query('drop database db_gone');
    const question = `select (select md5(string_agg(x::text, ',' order by id)) from t x) as t, (select count(*)::int from t where k = 13) as k,
      (select count(*)::int from cut) as cut, pg_relation_size('cut')::int as cut_size, (select count(*)::int from emptied) as emptied,
      (select count(*)::int from mv) as mv, (select last_value >= 50 from s) as s, to_regclass('dropped') is null and to_regclass('never') is null as gone,
      (select string_agg(datname, ',' order by datname) from pg_database) as databases,
      (select md5(string_agg(relname || relfilenode || relpages, ',' order by oid)) from pg_class) as catalog`;
    const expected = (await primary.query(question)).rows[0];
    for (const name of names) {
      const replica = await computes.client(name);
      await caughtUp(primary, replica);
      assert.deepEqual((await replica.query(question)).rows[0], expected);
      await assert.rejects(replica.query('select * from fast'), /unlogged/);
      await replica.query('set enable_seqscan = off');
      assert.equal(
        (await replica.query('select count(*)::int as n from t where k = 13')).rows[0].n,
        expected.k,
      );
      const copy = await computes.client(name, 'db_copy');
      assert.equal((await copy.query('select count(*)::int as n from c')).rows[0].n, 1000);
      await Promise.all([replica.end(), copy.end()]);
    }
    const replica = await computes.client('r1');
    const checked = await replica.query(
      `select count(*)::int as n from (select bt_index_check(c.oid, true) from pg_class c join pg_index i on i.indexrelid = c.oid
       where c.relam = 403 and c.relpersistence = 'p' and i.indisvalid) s`,
    );
    assert.ok(checked.rows[0].n > 100);
    const heaps = await replica.query(
      `select count(*)::int as n from pg_class c, lateral verify_heapam(c.oid) v where c.relkind in ('r', 't', 'm') and c.relpersistence = 'p'`,
    );
    assert.equal(heaps.rows[0].n, 0);
    await replica.end();
    await assertCleanLog('r1');
  });

  it('keep the rows that a long query on them sees, without holding back the primary', async () => {
    const replica = await computes.client('r1');
    await primary.query('create table seen as select g as id from generate_series(1, 1000) g');
    await caughtUp(primary, replica);
    await replica.query('begin isolation level repeatable read');
    assert.equal((await replica.query('select count(*)::int as n from seen')).rows[0].n, 1000);
    await eventually(
      "the primary's slot holds the replica's xmin",
      async () => (await primary.query('select xmin from pg_replication_slots')).rows[0].xmin !== null,
      PATIENCE_MS,
    );
    await primary.query('delete from seen where id <= 500');
    // Truncation would need the table for itself, on a standby of PostgreSQL too.
    await primary.query('vacuum (truncate off) seen');
    await audited('r1');
    assert.equal((await replica.query('select count(*)::int as n from seen')).rows[0].n, 1000);
    await replica.query('commit');
    assert.equal((await replica.query('select count(*)::int as n from seen')).rows[0].n, 500);
    await replica.end();
  });

  it('go on with another storage node when the one that they stream from is killed', async () => {
    const { replica: before } = await computes.report('r1');
    await underLoad(async () => {
      await cluster.killStorage(before!.relayNode!);
      for (const name of names) await audited(name);
      await cluster.startStorage(before!.relayNode!);
    });
    for (const name of names) await audit(name);
  });

  it('come back after a kill -9 of the replica, from storage alone', async () => {
    await underLoad(async () => {
      await computes.kill('r1');
      await computes.start('r1');
    });
    await audit('r1');
  });

  it('are seen and led by the commands', async () => {
    const env = { AURORA_HOME: cluster.layout.root };
    const list = await aurora(['replica', 'list', '--json'], { env });
    const replicas = JSON.parse(list.stdout) as ComputeReport[];
    assert.deepEqual(
      replicas.map(({ name, role, state }) => [name, role, state]),
      names.map((name) => [name, 'replica', 'running']),
    );
    for (const { replica, leaseLsn, commitLsn } of replicas) {
      assert.ok(replica !== null && leaseLsn !== null && commitLsn === null);
      assert.ok(parseLsn(replica.replayLsn) <= parseLsn(replica.receivedLsn));
    }
    const status = await aurora(['status'], { env });
    assert.match(status.stdout, /r1 +replica +running[^\n]* B, \d+ ms/);
    assert.match(status.stdout, /connect to reader: postgresql:.*prefer-standby/);
    const top = await aurora(['top', '--once', '--json', '-i', '0.2'], { env });
    for (const { role, lagBytes, lagMs, leaseLsn } of (JSON.parse(top.stdout) as TopReport).computes) {
      assert.deepEqual([typeof lagBytes, typeof lagMs], role === 'replica' ? ['number', 'number'] : ['object', 'object']); // prettier-ignore
      assert.notEqual(leaseLsn, null);
    }
    const dsn = await aurora(['status', '--dsn', '--to', 'writer'], { env });
    assert.match(dsn.stdout, /&target_session_attrs=read-write\n$/);
    const one = await aurora(['compute', 'status', 'r1', '--json'], { env });
    assert.equal((JSON.parse(one.stdout) as ComputeReport).port, computes.port('r1'));
    for (const [args, words] of [
      [['replica', 'add', 'r1'], /compute "r1" already exists/],
      [['replica', 'add', 'no/name'], /invalid compute name/],
      [['replica', 'remove', 'primary'], /is the primary, not a replica/],
      [['compute', 'start', 'r1'], /already running/],
      [['compute', 'start', 'r1', '--role', 'replica'], /already running/],
      [
        ['compute', 'start', 'r1', '--role', 'replica', '-p', '5555'],
        /for a new replica, and "r1" is not one/,
      ],
      [['compute', 'start', 'r1', '--role', 'primary'], /is a replica, not the primary/],
      [['compute', 'start', 'primary', '--role', 'replica'], /is the primary, not a replica/],
      [['compute', 'start', 'nobody', '--failover-priority', '1'], /for a new replica/],
      [['promote', 'primary'], /is the primary already/],
      [['promote', 'nobody'], /there is no compute "nobody"/],
    ] as const) {
      const { status: code, stderr } = await aurora([...args], { env });
      assert.equal(code, 1, args.join(' '));
      assert.match(stderr, words);
    }
  });

  it('say in their metrics and in the status how far they are, and how much their caches spare', async () => {
    const client = await computes.client('r1');
    await caughtUp(primary, client);
    await client.query('select count(*) from account');
    await client.end();
    const [writer, reader] = [
      await metricsOfCompute(cluster.socketDir, 'primary'),
      await metricsOfCompute(cluster.socketDir, 'r1'),
    ];
    assert.deepEqual([...lintMetrics(writer), ...lintMetrics(reader)], []);
    for (const [name, ofWriter, ofReader] of [
      ['up', 1, 1],
      ['primary', 1, 0],
      ['replica_lag_bytes', 0, undefined],
    ] as const) {
      assert.equal(metric(writer, `aurora_compute_${name}`), ofWriter, name);
      if (ofReader !== undefined) assert.equal(metric(reader, `aurora_compute_${name}`), ofReader, name);
    }
    const of = (name: string): number => metric(reader, `aurora_compute_${name}`);
    assert.equal(of('epoch'), metric(writer, 'aurora_compute_epoch'));
    assert.ok(of('replica_replay_lsn_bytes') > 0);
    assert.ok(of('replica_received_lsn_bytes') >= of('replica_replay_lsn_bytes'));
    assert.ok(of('replica_lag_bytes') >= 0 && of('replica_lag_seconds') >= 0);
    assert.ok(of('pages_served_total') > 0 && of('replica_relayed_bytes_total') > 0);
    const status = await aurora(['status', '--json'], { env: { AURORA_HOME: cluster.layout.root } });
    for (const { name, cacheHitRatio } of (JSON.parse(status.stdout) as { computes: ComputeReport[] })
      .computes)
      assert.ok(cacheHitRatio !== null && cacheHitRatio > 0 && cacheHitRatio <= 1, name);
    const list = await aurora(['replica', 'list'], { env: { AURORA_HOME: cluster.layout.root } });
    assert.match(list.stdout, /cache hit[^]*r1 .* \d+\.\d %/);
  });

  it('say how far they are behind what is committed, also when they cannot take any more of it', async () => {
    const replica = await computes.client('r1');
    const { rows } = await replica.query('select pid from pg_stat_wal_receiver');
    const pid = rows[0].pid as number;
    process.kill(pid, 'SIGSTOP');
    const since = performance.now();
    try {
      // More than sockets and buffers between the two hold.
      await primary.query(`create table bulk as select repeat(md5(g::text), 250) as t from generate_series(1, 4000) g`); // prettier-ignore
      await primary.query(`alter table bulk alter t set storage external`);
      await primary.query(`update bulk set t = t || 'x'`);
      const { rows: at } = await primary.query(`select pg_current_wal_flush_lsn() - '0/0' as lsn`);
      const end = Number(at[0].lsn);
      await eventually('the lag counts what the replica has not been given yet', async () => {
        const { replica: own } = await computes.report('r1');
        return own !== null && parseLsn(own.replayLsn) + own.lagBytes >= end;
      });
      const { replica: own } = await computes.report('r1');
      assert.ok(own!.lagBytes > 16e6, `${own!.lagBytes} bytes`);
      await eventually('and for how long', async () => (await computes.report('r1')).replica!.lagMs > 1000);
      assert.ok((await computes.report('r1')).replica!.lagMs < performance.now() - since);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await caughtUp(primary, replica);
    await primary.query('drop table bulk');
    await replica.end();
  });

  it('are promoted by nobody but this program: PostgreSQL alone would take writes that the volume never sees', async () => {
    const replica = await computes.client('r1');
    await assert.rejects(
      replica.query('select pg_promote()'),
      /could not create file "promote": Operation not permitted/,
    );
    const { dataDir, pid } = await postgresOf('r1');
    await fs.writeFile(path.join(dataDir, 'promote'), ''); // as pg_ctl promote does
    process.kill(pid, 'SIGUSR1');
    await eventually('the file is taken away', async () => !(await fs.readdir(dataDir)).includes('promote'));
    await eventually('the log says twice what to do instead', async () =>
      /cannot be promoted by PostgreSQL.*aurora promote NAME[^]*cannot be promoted/.test(
        await fs.readFile(path.join(dataDir, '../../postgresql.log'), 'utf8'),
      ),
    );
    await primary.query("alter system set recovery_target = 'immediate'");
    await primary.query("alter system set recovery_target_action = 'promote'");
    await replica.end();
    await computes.kill('r1');
    await computes.start('r1');
    await primary.query('alter system reset all');
    await audit('r1');
    const again = await computes.client('r1');
    assert.equal((await again.query('select pg_is_in_recovery() as yes')).rows[0].yes, true);
    await again.end();
    // By whatever other way: one that is not a standby any more is ended, and made anew.
    const { dataDir: now, pid: before } = await postgresOf('r1');
    const control = path.join(now, 'global/pg_control');
    const image = await fs.readFile(control);
    image.writeUInt32LE(DbState.inProduction, 16);
    image.writeUInt32LE(crc32c(image.subarray(0, 292)), 292);
    assert.equal(parseControlFile(image).dbState, DbState.inProduction);
    await fs.writeFile(control, image, { flag: 'r+' });
    await eventually('another PostgreSQL', async () => {
      const { postgresPid, state } = await computes.report('r1');
      return state === 'running' && postgresPid !== null && postgresPid !== before;
    });
    await audit('r1');
  });

  it('begin at a checkpoint whose redo record lies across two pages of the log', async () => {
    const { stdout } = await aurora(['compute', 'stop', 'r1'], { env: { AURORA_HOME: cluster.layout.root } });
    assert.match(stdout, /stopped/);
    /** Writes a message of so many bytes. What is left of the page of the log then. */
    const emit = async (bytes: number): Promise<number> => {
      await primary.query(`select pg_logical_emit_message(false, 'x', repeat('x', ${bytes}))`);
      return left('select pg_current_wal_insert_lsn()::text as at');
    };
    const left = async (where: string): Promise<number> =>
      -parseLsn((await primary.query(where)).rows[0].at as string) & 8191;
    await eventually('a checkpoint at the end of a page', async () => {
      let room = await emit(1);
      if (room < 1000) room = await emit(1000);
      // A message has 55 bytes around it; just the header of the next record, which must lie in one piece, has room behind it.
      await emit(room - 55 - 24);
      await primary.query('checkpoint');
      return (await left('select redo_lsn::text as at from pg_control_checkpoint()')) === 24;
    });
    // More log behind it that is committed.
    await primary.query(`select pg_logical_emit_message(true, 'x', repeat('x', 20000))`);
    await computes.start('r1');
    await audit('r1');
  });

  it('are made by "compute start NAME --role replica" too', async () => {
    const env = { AURORA_HOME: cluster.layout.root };
    const options = [
      '--role',
      'replica',
      '--no-failover',
      '--failover-priority',
      '7',
      '-o',
      '-c work_mem=3MB',
    ];
    const made = await aurora(['compute', 'start', 'made', ...options], { env });
    assert.equal(made.status, 0, made.stderr);
    assert.match(made.stdout, /replica "made" started on port \d+/);
    const client = await computes.client('made');
    await caughtUp(primary, client);
    assert.equal((await client.query('show work_mem')).rows[0].work_mem, '3MB');
    await client.end();
    const report = (await cluster.status()).computes.find(({ name }) => name === 'made');
    assert.deepEqual([report?.replica?.failover, report?.replica?.priority], [false, 7]);
    assert.equal((await aurora(['compute', 'stop', 'made'], { env })).status, 0);
    const again = await aurora(['compute', 'start', 'made', '--role', 'replica'], { env });
    assert.match(again.stdout, /compute "made" started/, again.stderr);
    assert.equal((await aurora(['replica', 'remove', 'made'], { env })).status, 0);
  });

  it('end with the cluster and come back with it, and not with the primary alone', async () => {
    await computes.close();
    await cluster.stopPrimary();
    const status = await aurora(['status', '-D', cluster.layout.root]);
    assert.match(status.stdout, /^aurora: the primary is not running, replicas are; .*aurora promote NAME/);
    assert.equal(status.status, 0);
    await cluster.stop();
    await cluster.start();
    primary = await cluster.client();
    for (const name of names) await computes.is(name, 'replica');
    for (const name of names) await audit(name);
    await removeReplica({
      root: cluster.layout.root,
      name: names.at(-1)!,
      mode: 'fast',
      timeoutMs: PATIENCE_MS,
    });
    assert.equal((await cluster.status()).computes.length, names.length);
  });

  async function postgresOf(name: string): Promise<{ dataDir: string; pid: number }> {
    const client = await computes.client(name);
    const { rows } = await client.query("select current_setting('data_directory') as dir");
    await client.end();
    return { dataDir: rows[0].dir as string, pid: (await computes.report(name)).postgresPid! };
  }

  /** A standby that found a bad record reads its segment again, and nobody notices: but nothing of what it is sent may be bad. */
  async function assertCleanLog(name: string): Promise<void> {
    const log = await fs.readFile(
      path.join(path.dirname(cluster.computeDir), name, 'postgresql.log'),
      'utf8',
    );
    assert.doesNotMatch(log, /checksum|PANIC|incorrect prev-link/);
  }

  /** Waits until the replica shows transfers that are newer than the call. */
  async function audited(name: string): Promise<void> {
    const client = await computes.client(name);
    await caughtUp(primary, client);
    const { rows } = await client.query('select sum(balance)::int as total from account');
    assert.equal(rows[0].total, 200_000);
    await client.end();
  }
});
