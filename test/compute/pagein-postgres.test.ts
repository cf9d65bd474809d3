/**
 * A real PostgreSQL 18 on a data directory without a single page: every relation and SLRU block comes through the page-in
 * library, from a page agent whose storage is another, cleanly stopped data directory. Whatever SQL shows must be the same.
 */
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { promises as fs, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { credentials, giveTo } from '../../src/compute/postgres.js';
import { probePagein } from '../../src/compute/pagein-build.js';
import { DbError } from '../../src/engine/errors.js';
import { ColdPostgres, type ColdOptions } from '../helpers/cold-postgres.js';
import { startPlainPostgres, type PlainPostgres } from '../helpers/plain-postgres.js';

/** Something that runs SQL: the cold server or the plain one. */
interface Sql {
  sql(text: string, database?: string): Promise<Record<string, unknown>[]>;
}

const TABLES = ['accounts', 'documents', 'elsewhere', 'locked'];

const SETUP = [
  'create extension amcheck',
  `create table accounts (id int primary key, balance int not null, filler text)`,
  `insert into accounts select g, 100, repeat(md5(g::text), 4) from generate_series(1, 40000) g`,
  `create index accounts_filler on accounts (filler)`,
  `create table documents (id serial primary key, body text)`,
  `insert into documents (body) select string_agg(md5((d * 1000 + g)::text), '') from generate_series(1, 40) d, generate_series(1, 900) g group by d order by d`,
  `create tablespace spot location ''`,
  `create table elsewhere (id int primary key, v text) tablespace spot`,
  `insert into elsewhere select g, md5(g::text) from generate_series(1, 3000) g`,
  `create table locked (id int primary key)`,
  `insert into locked select generate_series(1, 500)`,
  `delete from accounts where id % 40 = 0`,
  'vacuum analyze',
  'create database shop',
];
const SHOP = [
  `create table goods (id int primary key, name text)`,
  `insert into goods select g, md5(g::text) from generate_series(1, 20000) g`,
];

/** Changes that meet cold pages in every way; the same text runs on the plain server, as the oracle. */
const CHANGES = [
  `update accounts set balance = balance + id % 7 where id % 3 = 0`,
  `delete from accounts where id between 10000 and 12000`,
  `insert into accounts select g, 5, 'new' from generate_series(50000, 53000) g`,
  `update documents set body = body || '!' where id % 5 = 0`,
  `select count(*) from locked, lateral (select nextval('documents_id_seq')) n`,
  `create table copied as select * from accounts`,
  `drop table copied`,
  `truncate elsewhere`,
  `insert into elsewhere select g, 'again' from generate_series(1, 2000) g`,
  `delete from accounts where id > 30000`,
  `vacuum accounts`, // cuts the empty tail off
  `insert into accounts select g, 1, repeat('x', 300) from generate_series(60000, 70000) g`,
  `vacuum full documents`,
  `cluster accounts using accounts_pkey`,
  `reindex table locked`,
  `alter table elsewhere set tablespace pg_default`,
];

async function digest(server: Sql, tables = TABLES, database = 'postgres'): Promise<unknown[]> {
  const parts = tables.map((t) => `select '${t}' t, count(*) n, sum(hashtext(x::text)) h from ${t} x`);
  return server.sql(parts.join(' union all '), database);
}

/** Structure and contents of every index and table, system catalogs included. */
async function assertHealthy(server: Sql): Promise<void> {
  const [indexes] = await server.sql(
    `select count(bt_index_check(i.indexrelid, true)) n from pg_index i join pg_class c on c.oid = i.indexrelid
     join pg_am a on a.oid = c.relam where a.amname = 'btree' and i.indisvalid and c.relpersistence = 'p'`,
  );
  assert.ok(Number(indexes!['n']) > 100);
  const broken = await server.sql(
    `select c.relname, v.* from pg_class c, lateral verify_heapam(c.oid, check_toast => true) v where c.relkind in ('r', 't', 'm')`,
  );
  assert.deepEqual(broken, []);
}

describe('PostgreSQL on demand-paged files', function () {
  this.timeout(60_000);
  let plain: PlainPostgres;
  let cold: ColdPostgres | null = null;
  let expected: unknown[];
  let expectedGoods: unknown[];
  let afterChanges: unknown[] | null = null;

  before(async function () {
    if (process.platform !== 'linux') this.skip();
    plain = await startPlainPostgres({ settings: { autovacuum: 'off', allow_in_place_tablespaces: 'on' } });
    for (const text of SETUP) await plain.sql(text);
    for (const text of SHOP) await plain.sql(text, 'shop');
    // Multixacts: two sessions share the lock of the same rows.
    const [a, b] = [await plain.client(), await plain.client()];
    await a.query('begin; select * from locked for key share');
    await b.query('begin; select * from locked for share');
    await Promise.all([a.query('commit'), b.query('commit')]);
    expected = await digest(plain);
    expectedGoods = await digest(plain, ['goods'], 'shop');
    await plain.stop();
  });

  after(async () => plain?.destroy());

  afterEach(async () => {
    await cold?.destroy();
    cold = null;
  });

  async function coldStart(options: ColdOptions = {}): Promise<ColdPostgres> {
    cold = await ColdPostgres.create(plain.install, plain.dataDir, options);
    await probePagein((await cold.environment())['LD_PRELOAD']!, plain.install);
    await cold.start();
    return cold;
  }

  for (const io of ['worker', 'sync']) {
    it(`shows the same data and sound structures, with io_method=${io}`, async () => {
      const server = await coldStart({ settings: { io_method: io } });
      const early = server.agent.counters.blocksServed;
      assert.ok(early < server.remoteBlocks / 10, `${early} of ${server.remoteBlocks} blocks to start`);
      assert.deepEqual(await digest(server), expected);
      assert.deepEqual(await digest(server, ['goods'], 'shop'), expectedGoods);
      await assertHealthy(server);
      const { counters } = server.agent;
      assert.ok(counters.prefetchHits > counters.blocksServed / 2, 'scans were read ahead of');
      assert.ok(counters.blocksServed <= server.remoteBlocks, 'nothing was served twice');
      assert.equal(counters.errors + counters.prefetchErrors, 0);
      assert.doesNotMatch(server.log, /openaurora pagein|ERROR|PANIC|WARNING/);
    });
  }

  it('an index lookup fetches the path to its row, not the table', async () => {
    const server = await coldStart({ readAhead: { windowMax: 0 } });
    const [{ heap, index }] = (await server.sql(
      `select pg_relation_filepath('accounts') heap, pg_relation_filepath('accounts_pkey') index`,
    )) as [{ heap: string; index: string }];
    const rows = await server.sql('select balance from accounts where id = 12345');
    assert.deepEqual(rows, [{ balance: 100 }]);
    assert.equal(server.source.blocksOf(heap), 1);
    assert.ok(server.source.blocksOf(index) <= 3, 'metapage, root and leaf');
    assert.deepEqual(server.source.repeated(), []);
  });

  it('many sessions read and write the same cold pages', async () => {
    const server = await coldStart({ readAhead: { windowMax: 0 }, settings: { shared_buffers: '2MB' } });
    server.source.delayMs = 1;
    const sessions = await Promise.all(Array.from({ length: 10 }, () => server.client()));
    await Promise.all(
      sessions.map(async (session, i) => {
        if (i % 2 === 0) {
          const { rows } = await session.query('select sum(balance) s from accounts');
          assert.deepEqual(rows, [{ s: '3900000' }]);
        }
        for (let n = 0; n < 12; n++) {
          const [from, to] = [1 + 40 * ((i * 37 + n * 11) % 990), 2 + 40 * ((n * 53 + i) % 990)];
          const [low, high] = [Math.min(from, to), Math.max(from, to)];
          await session.query(
            `begin; update accounts set balance = balance - 1 where id = ${low};
             update accounts set balance = balance + 1 where id = ${high}; commit`,
          );
        }
      }),
    );
    server.source.delayMs = 0;
    assert.deepEqual(await server.sql('select sum(balance) s from accounts'), [{ s: '3900000' }]);
    await assertHealthy(server);
    assert.deepEqual(server.source.repeated(), []);
  });

  it('changes, truncations, rewrites and checkpoints meet cold pages', async () => {
    const server = await coldStart();
    for (const text of CHANGES) await server.sql(text);
    await server.sql('checkpoint');
    afterChanges = await digest(server);
    await assertHealthy(server);
    // What was dropped or rewritten is gone from the maps too: a new file of that name would be local.
    const maps = await fs.readdir(path.join(server.mapsDir, 'base/5'));
    const files = new Set(await fs.readdir(path.join(server.dataDir, 'base/5')));
    assert.deepEqual(
      maps.filter((name) => !files.has(name)),
      [],
    );
  });

  it('copies of a cold database are whole', async () => {
    const server = await coldStart();
    await server.sql('create database a template shop strategy file_copy');
    await server.sql('create database b template shop strategy wal_log');
    assert.deepEqual(await digest(server, ['goods'], 'a'), expectedGoods);
    assert.deepEqual(await digest(server, ['goods'], 'b'), expectedGoods);
    await server.sql('drop database a');
    assert.deepEqual(await digest(server, ['goods'], 'shop'), expectedGoods);
  });

  it('clones of a cold database are whole', async () => {
    const server = await coldStart({ settings: { file_copy_method: 'clone' } });
    await server.sql('create database c template shop strategy file_copy');
    assert.deepEqual(await digest(server, ['goods'], 'c'), expectedGoods);
  });

  it('a base backup is a complete, plain data directory', async () => {
    const server = await coldStart({ settings: { wal_level: 'replica', max_wal_senders: '2' } });
    const target = path.join(server.root, 'backup');
    const config = { host: server.root, port: server.port, user: 'postgres', database: 'postgres' };
    const replication = new pg.Client({ ...config, replication: 'database' } as pg.ClientConfig);
    await replication.connect();
    await replication.query(
      `BASE_BACKUP (LABEL 'all', TARGET 'server', TARGET_DETAIL '${target}', CHECKPOINT 'fast', WAL, WAIT false)`,
    );
    await replication.end();
    assert.equal(server.source.asked.size, server.remoteBlocks, 'every block came');
    const data = path.join(server.root, 'restored');
    await fs.mkdir(data, { mode: 0o700 });
    execFileSync('tar', ['-xf', path.join(target, 'base.tar'), '-C', data]);
    const spot = (await fs.readdir(path.join(data, 'pg_tblspc')))[0]!;
    execFileSync('tar', ['-xf', path.join(target, `${spot}.tar`), '-C', path.join(data, 'pg_tblspc', spot)]);
    await giveTo(server.install, data);
    const out = await singleUser(server, data, `select 'is ' || sum(hashtext(x::text)) s from elsewhere x`);
    const { h } = (expected as { t: string; h: string }[]).find((row) => row.t === 'elsewhere')!;
    assert.match(out, new RegExp(`s = "is ${h}"`));
  });

  it('ALTER SYSTEM counts only once the volume has it', async () => {
    const server = await coldStart();
    await server.sql(`alter system set work_mem = '11MB'`);
    assert.match(server.source.files.get('postgresql.auto.conf')!, /work_mem = '11MB'/);
    server.source.putFailure = new DbError('QUORUM_TEST', 'no write quorum', { reaction: 'usage' });
    await assert.rejects(server.sql(`alter system set work_mem = '12MB'`), /could not rename file/);
    assert.match(readFileSync(path.join(server.dataDir, 'postgresql.auto.conf'), 'utf8'), /'11MB'/);
    assert.match(server.log, /postgresql.auto.conf: not stored in the volume: no write quorum/);
    server.source.putFailure = null;
    await server.sql(`alter system reset work_mem`);
    assert.doesNotMatch(server.source.files.get('postgresql.auto.conf')!, /work_mem/);
  });

  it('waits for an agent that restarts, and reports one that stays away', async () => {
    const server = await coldStart({ timeoutMs: 1500, settings: { io_method: 'sync' } });
    const session = await server.client();
    await server.agent.close();
    const patient = session.query('select count(*) from accounts');
    await sleep(300);
    await server.restartAgent();
    assert.deepEqual((await patient).rows, [{ count: '39000' }]);
    await server.agent.close();
    const begin = Date.now();
    await assert.rejects(session.query('select sum(length(body)) from documents'), /Input\/output error/);
    assert.ok(Date.now() - begin < 4000);
    assert.match(server.log, /openaurora pagein: base\/5\/\d+: blocks \d+\.\.\d+: page agent .*: connect:/);
    await server.restartAgent();
    assert.deepEqual((await session.query('select count(length(body)) from documents')).rows, [
      { count: '40' },
    ]);
  });

  it('ends with the process that started it', async () => {
    cold = await ColdPostgres.create(plain.install, plain.dataDir);
    const server = cold;
    const parent: ChildProcess = spawn(
      '/bin/sh',
      [
        '-c',
        'AURORA_PARENT_PID=$$ "$0" "$@" & wait',
        path.join(server.install.bindir, 'postgres'),
        ...server.arguments(),
      ],
      {
        ...credentials(server.install),
        cwd: '/',
        stdio: 'ignore',
        env: { ...process.env, ...(await server.environment()) },
      },
    );
    const pidFile = path.join(server.dataDir, 'postmaster.pid');
    const pidLines = async (): Promise<string[]> =>
      (await fs.readFile(pidFile, 'utf8').catch(() => '')).split('\n');
    while ((await pidLines())[7]?.trim() !== 'ready') await sleep(20);
    const postmaster = Number((await pidLines())[0]);
    parent.kill('SIGKILL');
    while (isAlive(postmaster)) await sleep(10);
    assert.equal(await fs.stat(pidFile).catch(() => null), null, 'an immediate shutdown in good order');
  });

  it('agrees with plain PostgreSQL on the outcome of the same changes', async () => {
    assert.ok(afterChanges, 'the test that makes the changes ran');
    await plain.start(); // last: its files were the storage of the tests before
    for (const text of CHANGES) await plain.sql(text);
    assert.deepEqual(afterChanges, await digest(plain));
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw err;
  }
}

/** Runs one statement in a server of its own, without the library, on a data directory. */
function singleUser(server: ColdPostgres, dataDir: string, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      path.join(server.install.bindir, 'postgres'),
      ['--single', '-D', dataDir, '-c', 'allow_in_place_tablespaces=on', 'postgres'],
      { ...credentials(server.install), cwd: '/' },
      (err, stdout) => (err ? reject(err) : resolve(stdout)),
    );
    child.stdin!.end(`${text};\n`);
  });
}
