/**
 * What sessions do to each other, and what of it outlives them: locks that several share, prepared transactions, subtransactions, unlogged and
 * temporary tables, sequences, notifications, settings, statistics. Each is looked at again after kill -9 with an erased disk, or after a clean stop.
 */
import { strict as assert } from 'node:assert';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import type pg from 'pg';
import { controlRequest } from '../../src/cluster/control-client.js';
import { controlSocketPath } from '../../src/compute/control-path.js';
import { eventually, TestCluster } from '../helpers/cluster.js';

const run = promisify(execFile);
const COPY_ROWS = 100_000;
const SESSIONS = 60;

describe('e2e: sessions and what outlives them', function () {
  this.timeout(120_000);
  let cluster: TestCluster;
  const sequenceAtLeast: Record<string, number> = {};

  before(async () => {
    cluster = await TestCluster.start({ settings: { max_prepared_transactions: '20' } });
  });
  after(async () => cluster?.destroy());
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await cluster?.logs());
  });

  async function one(client: pg.Client, sql: string): Promise<unknown> {
    return Object.values((await client.query(sql)).rows[0] as object)[0];
  }

  /** SQLSTATE of the error that a query must give. */
  async function stateOf(query: Promise<unknown>): Promise<string> {
    return query.then(
      () => 'no error',
      (err: { code?: string }) => err.code ?? String(err),
    );
  }

  const fails = async (client: pg.Client, sql: string, sqlState: string): Promise<void> =>
    assert.equal(await stateOf(client.query(sql)), sqlState, sql);

  it('COPY in and out with the stock psql', async () => {
    const lines = Array.from({ length: COPY_ROWS }, (_, i) =>
      [i, `name ${i}`, i % 3 === 0 ? '\\N' : `tab\\tand\\\\slash ${i * 7}`, (i / 8).toFixed(3)].join('\t'),
    );
    const input = path.join(cluster.root, 'in.tsv');
    const output = path.join(cluster.root, 'out.tsv');
    await fs.writeFile(input, `${lines.join('\n')}\n`);
    await cluster.psql(['-c', 'create table copied (id int primary key, name text, note text, n numeric)']);
    await cluster.psql(['-c', 'create index on copied (name)', '-c', `\\copy copied from '${input}'`]);
    await cluster.psql(['-c', `\\copy (select * from copied order by id) to '${output}'`]);
    assert.equal(await digest(output), await digest(input));
  });

  it('pgbench, the stock one', async () => {
    const common = ['-h', cluster.socketDir, '-p', String(cluster.port), '-U', cluster.superuser];
    await run('pgbench', [...common, '-i', '-q', '-s', '2', 'postgres']);
    const { stdout } = await run('pgbench', [...common, '-n', '-c', '4', '-t', '50', 'postgres']);
    assert.match(stdout, /number of transactions actually processed: 200\/200/);
    await pgbenchIsExact();
  });

  async function pgbenchIsExact(): Promise<void> {
    const rows =
      await cluster.sql(`select (select sum(abalance) from pgbench_accounts) = d and (select sum(bbalance) from pgbench_branches) = d
      and (select sum(tbalance) from pgbench_tellers) = d as exact, n::int as n from (select sum(delta) as d, count(*) as n from pgbench_history) h`);
    assert.deepEqual(rows, [{ exact: true, n: 200 }]);
  }

  it(`${SESSIONS} sessions at once`, async () => {
    await cluster.sql('create table crowd (who int, n int, id bigserial primary key)');
    const clients = await Promise.all(Array.from({ length: SESSIONS }, () => cluster.client()));
    await Promise.all(
      clients.map(async (client, who) => {
        for (let n = 0; n < 10; n++)
          await client.query('insert into crowd (who, n) values ($1, $2)', [who, n]);
      }),
    );
    assert.equal(
      await one(
        clients[0]!,
        "select count(*)::int from pg_stat_activity where backend_type = 'client backend' and application_name <> 'aurora'",
      ),
      SESSIONS,
    );
    assert.equal(await one(clients[0]!, 'select count(distinct (who, n))::int from crowd'), SESSIONS * 10);
    await Promise.all(clients.map((client) => client.end()));
  });

  it('LISTEN and NOTIFY', async () => {
    const [listener, sender] = [await cluster.client(), await cluster.client()];
    const heard: string[] = [];
    listener.on('notification', (message) => heard.push(`${message.channel}:${message.payload}`));
    await listener.query('listen news');
    await sender.query(`begin; notify news, 'never'; rollback`);
    await sender.query(`begin; notify news, 'first'; select pg_notify('news', repeat('x', 5000)); commit`);
    await sender.query(`notify elsewhere, 'unheard'`);
    await eventually('two notifications', () => heard.length >= 2);
    assert.deepEqual(heard, ['news:first', `news:${'x'.repeat(5000)}`]);
  });

  it('advisory locks, deadlocks, serializable conflicts', async () => {
    const [a, b] = [await cluster.client(), await cluster.client()];
    await a.query('select pg_advisory_lock(7)');
    assert.equal(await one(b, 'select pg_try_advisory_lock(7)'), false);
    await a.query('select pg_advisory_unlock(7)');
    assert.equal(await one(b, 'select pg_try_advisory_lock(7)'), true);

    await a.query('create table fork (id int primary key, holder text); insert into fork values (1), (2)');
    for (const [client, id] of [
      [a, 1],
      [b, 2],
    ] as const)
      await client.query(
        `begin; set local deadlock_timeout = '100ms'; update fork set holder = 'me' where id = ${id}`,
      );
    const crossed = await Promise.all([
      stateOf(a.query("update fork set holder = 'a' where id = 2")),
      stateOf(b.query("update fork set holder = 'b' where id = 1")),
    ]);
    assert.deepEqual(crossed.sort(), ['40P01', 'no error']);
    for (const client of [a, b]) await client.query('rollback');

    for (const client of [a, b])
      await client.query(
        'begin isolation level serializable; select count(*) from fork where holder is null',
      );
    await a.query(`update fork set holder = 'a' where id = 1; commit`);
    await fails(b, `update fork set holder = 'b' where id = 2; commit`, '40001');
    await b.query('rollback');
  });

  it("temporary tables and files are a session's own", async () => {
    const [a, b] = [await cluster.client(), await cluster.client()];
    await a.query(`create temp table mine as select g, md5(g::text) as h from generate_series(1, 20000) g; create index on mine (h);
      create temp table brief (a int) on commit delete rows; create temp sequence mine_too`);
    assert.equal(await one(a, `select g from mine where h = md5('777')`), 777);
    await a.query('insert into brief values (1)');
    assert.equal(await one(a, 'select count(*)::int from brief'), 0);
    await fails(b, 'select * from mine', '42P01');
    await b.query('create temp table mine (other int)');
    await a.query(`set work_mem = '64kB'`);
    assert.equal(await one(a, 'select count(*)::int from (select h from mine order by h offset 0) s'), 20000);
    await a.end();
    await eventually(
      'its temporary tables are gone',
      async () =>
        (await one(
          b,
          `select count(*)::int from pg_class where relname like 'brief' or relname = 'mine_too'`,
        )) === 0,
    );
  });

  it('row locks shared by several sessions', async () => {
    const setUp = await cluster.client();
    await setUp.query(`create table shared (id int primary key, n int default 0);
      insert into shared select g from generate_series(1, 3000) g; create table child (id int references shared)`);
    const [a, b, c] = [await cluster.client(), await cluster.client(), await cluster.client()];
    await a.query('begin; select * from shared where id <= 10 for key share');
    await b.query('begin; insert into child values (1), (2), (3)');
    await c.query(
      'begin; select * from shared where id <= 5 for no key update; update shared set n = 1 where id <= 3',
    );
    await fails(setUp, 'select * from shared where id = 2 for update nowait', '55P03');
    await a.query('commit');
    await b.query('commit');
    await fails(setUp, 'select * from shared where id = 4 for share nowait', '55P03');
    await c.query('commit');
    assert.equal(
      await one(setUp, 'select count(*)::int from (select * from shared where id <= 10 for update nowait) s'),
      10,
    );
    // A lock of the transaction and an update of its subtransaction: one multixact a row, over several pages of both SLRUs.
    await setUp.query(`begin; select count(*) from (select from shared for key share) s;
      do $$ begin for i in 1..2500 loop begin update shared set n = i where id = i; if i % 5 = 0 then raise exception 'no'; end if; exception when raise_exception then null; end; end loop; end $$; commit`);
    assert.ok(Number(await one(setUp, `select mxid_age('1')`)) > 2500, 'this must have used multixacts');
    await sharedIsRight();
  });

  async function sharedIsRight(): Promise<void> {
    const rows = await cluster.sql(
      'select count(*)::int as n, count(*) filter (where n = id)::int as changed, count(*) filter (where n = case when id in (1, 2, 3) then 1 else 0 end)::int as kept from shared',
    );
    // n = id where the update was kept: 2000 of 2500 rows; row 1 is right both ways.
    assert.deepEqual(rows, [{ n: 3000, changed: 2000, kept: 1001 }]);
  }

  it('prepares transactions: with shared locks, with subtransactions, with DDL', async () => {
    await cluster.sql(
      'create table counted (id int); create table dropped_later (id int); insert into dropped_later values (1); create table locked (id int primary key); insert into locked values (1), (2)',
    );
    for (const name of ['lock a', 'lock b']) {
      const client = await cluster.client();
      await client.query(`begin; select * from locked where id = 1 for share; prepare transaction '${name}'`);
    }
    await cluster.sql(
      `begin; do $$ begin for i in 1..150 loop begin insert into counted values (i); if i % 3 = 0 then raise exception 'no'; end if; exception when raise_exception then null; end; end loop; end $$; prepare transaction 'subs'`,
    );
    await cluster.sql(
      `begin; drop table dropped_later; create table made (id int primary key); insert into made values (5); prepare transaction 'ddl'`,
    );
    await cluster.sql(`begin; insert into counted values (1000); prepare transaction 'undone'`);
    await preparedHold();
  });

  async function preparedHold(): Promise<void> {
    const client = await cluster.client();
    assert.equal(await one(client, 'select count(*)::int from pg_prepared_xacts'), 5);
    await fails(client, 'select * from locked where id = 1 for update nowait', '55P03');
    assert.equal(await one(client, 'select count(*)::int from (select * from locked for share nowait) s'), 2);
    await fails(client, `set lock_timeout = '100ms'; select * from dropped_later`, '55P03');
    assert.equal(await one(client, 'select count(*)::int from counted'), 0);
    await client.end();
  }

  it('unlogged tables, sequences, settings and access rules are in use', async () => {
    const client = await cluster.client();
    await client.query(`create unlogged table scratch (id int generated always as identity primary key, v text, big text);
      create index scratch_v on scratch (v); create unlogged sequence scratch_seq;
      insert into scratch (v, big) select md5(g::text), (select string_agg(md5((g * 100 + i)::text), '') from generate_series(1, 100) i) from generate_series(1, 2000) g;
      create unlogged table becomes_logged (id int primary key); insert into becomes_logged select g from generate_series(1, 1000) g; alter table becomes_logged set logged;
      create table becomes_unlogged (id int primary key); insert into becomes_unlogged select g from generate_series(1, 1000) g; alter table becomes_unlogged set unlogged;
      create sequence steady; create sequence cached cache 20 increment 2; create role limited login; select nextval('scratch_seq')`);
    assert.equal(await one(client, `select id from scratch where v = md5('1234')`), 1234);
    await client.end();
    await (await cluster.client('postgres', 'limited')).end();
    const hba = path.join(cluster.computeDir, 'pgdata', 'pg_hba.conf');
    await fs.writeFile(hba, `local all limited reject\n${await fs.readFile(hba, 'utf8')}`);
    await controlRequest(controlSocketPath(cluster.socketDir, 'primary'), 'POST', '/reload', 10_000);
    await limitedIsRejected();
    await useSequences();
  });

  async function useSequences(): Promise<void> {
    const client = await cluster.client();
    for (const name of ['steady', 'cached']) {
      for (let i = 0; i < 45; i++) {
        const value = Number(await one(client, `select nextval('${name}')`));
        assert.ok(
          value > (sequenceAtLeast[name] ?? 0),
          `${name} went back: ${value} after ${sequenceAtLeast[name]}`,
        );
        sequenceAtLeast[name] = value;
      }
    }
    await client.end();
  }

  async function limitedIsRejected(): Promise<void> {
    await eventually(
      'role "limited" is rejected',
      async () => (await stateOf(cluster.client('postgres', 'limited').then((c) => c.end()))) === '28000',
    );
  }

  /** Empty, but in working order. */
  async function unloggedIsEmpty(): Promise<void> {
    const client = await cluster.client();
    assert.equal(await one(client, 'select count(*)::int from scratch'), 0);
    assert.equal(await one(client, 'select count(*)::int from becomes_unlogged'), 0);
    assert.equal(await one(client, 'select count(*)::int from becomes_logged where id > 0'), 1000);
    await client.query(
      `insert into scratch (v, big) select md5(g::text), repeat(md5(g::text), 300) from generate_series(1, 2000) g; insert into becomes_unlogged values (1)`,
    );
    await client.query('set enable_seqscan = off');
    assert.equal(await one(client, `select id from scratch where v = md5('1234')`), 1234);
    assert.equal(await one(client, `select nextval('scratch_seq')::int`), 1);
    await client.query(`create extension if not exists amcheck; select bt_index_check('scratch_v', true)`);
    await client.end();
  }

  it('after kill -9 and with a new disk', async () => {
    const busy = await Promise.all([1, 2, 3].map(() => cluster.client()));
    for (const client of busy)
      await client.query(
        `create temp table left_behind (id int primary key, big text); insert into left_behind values (1, repeat(md5('x'), 10000)); begin; insert into counted values (-1)`,
      );
    await cluster.sql(`alter system set work_mem = '7MB'`);
    await cluster.killCompute();
    cluster.eraseCompute();
    await cluster.start();
    // Their catalog rows are still there, their files are not: the next to use those temporary schemas must cope.
    const next = await Promise.all(Array.from({ length: 8 }, () => cluster.client()));
    for (const client of next) {
      await client.query(
        'create temp table left_behind (id int primary key); insert into left_behind values (2)',
      );
      assert.equal(await one(client, 'select sum(id)::int from left_behind'), 2);
    }
    await Promise.all(next.map((client) => client.end()));
    assert.deepEqual(await cluster.sql('show work_mem'), [{ work_mem: '7MB' }]);
    await limitedIsRejected();
    await preparedHold();
    await useSequences();
    await unloggedIsEmpty();
    await sharedIsRight();
    await pgbenchIsExact();
    assert.deepEqual(await cluster.sql('select count(*)::int as n, sum(n)::text as sum from copied'), [
      { n: COPY_ROWS, sum: '624993750.000' },
    ]);
  });

  it('prepared transactions end as they are told to', async () => {
    const client = await cluster.client();
    await client.query(`commit prepared 'lock a'`);
    await fails(client, 'select * from locked where id = 1 for update nowait', '55P03');
    await client.query(`rollback prepared 'lock b'`);
    await client.query('select * from locked where id = 1 for update nowait');
    await client.query(`commit prepared 'ddl'`);
    await fails(client, 'select * from dropped_later', '42P01');
    assert.equal(await one(client, 'select id from made'), 5);
    await client.query(`rollback prepared 'undone'`);
    await client.query(`commit prepared 'subs'`);
    assert.equal(await one(client, 'select count(*)::int from counted'), 100);
    await cluster.amcheck();
  });

  it('after a clean stop: statistics, too', async () => {
    const query = `select relname, n_live_tup::int as live, n_dead_tup::int as dead, n_tup_ins::int as ins, last_vacuum, last_analyze, vacuum_count::int as vacuums from pg_stat_user_tables where relname = 'shared'`;
    await cluster.sql(`alter system reset work_mem`);
    const client = await cluster.client();
    await client.query('vacuum analyze shared');
    await client.query('vacuum freeze shared');
    await client.query('select pg_stat_force_next_flush()');
    const before = (await client.query(query)).rows as Record<string, unknown>[];
    assert.equal(before[0]!['live'], 3000);
    assert.ok(before[0]!['last_vacuum'] instanceof Date);
    await cluster.stop('fast');
    cluster.eraseCompute();
    await cluster.start();
    assert.deepEqual(await cluster.sql(query), before);
    assert.deepEqual(await cluster.sql('show work_mem'), [{ work_mem: '4MB' }]);
    await limitedIsRejected();
    await useSequences();
    await unloggedIsEmpty();
    await sharedIsRight();
    assert.deepEqual(await cluster.sql('select count(*)::int as n from counted'), [{ n: 100 }]);
    await cluster.amcheck();
  });
});

async function digest(file: string): Promise<string> {
  return createHash('sha256')
    .update(await fs.readFile(file))
    .digest('hex');
}
