// aurora import: a plain PostgreSQL with data, roles, settings and a renamed superuser, stopped and imported, has the same pg_dumpall and settings;
// the original is untouched. What cannot be imported is refused with the reason, and leaves nothing.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, promises as fs } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../../src/cluster/ports.js';
import { startPlainPostgres, type PlainPostgres } from '../helpers/plain-postgres.js';
import { aurora, tempFolder } from './cli.js';

const run = promisify(execFile);

const SCHEMA = `
  create role keeper login password 'secret'; create role reader nologin;
  create table item (id int generated always as identity primary key, name text not null, price numeric(10,2), tags text[], doc jsonb);
  insert into item (name, price, tags, doc)
    select 'item ' || i, i / 3.0, array['t' || i % 7, 'all'], jsonb_build_object('n', i, 'even', i % 2 = 0) from generate_series(1, 5000) i;
  create index on item using gin (doc); create index on item (price) where price > 100;
  create view dear as select * from item where price > 1000;
  create materialized view per_tag as select t, count(*) from item, unnest(tags) t group by t;
  create function twice(n int) returns int language sql immutable as 'select n * 2';
  create table big (t text); alter table big alter t set storage external; insert into big select repeat('x', 100000) from generate_series(1, 5);
  create unlogged table scratch (n int); insert into scratch values (1);
  create sequence counted start 42; select nextval('counted');
  grant select on item to reader; comment on table item is 'what there is';
  alter role keeper set work_mem = '9MB'; create role other superuser login`;

describe('aurora import', function () {
  this.timeout(180_000);
  let server: PlainPostgres;
  let folder: { dir: string; remove: () => Promise<void> };
  let root: string;

  before(async () => {
    folder = await tempFolder();
    root = path.join(folder.dir, 'cluster');
    server = await startPlainPostgres();
  });
  after(async () => {
    await aurora(['stop', '-D', root, '-m', 'immediate']);
    await server?.destroy();
    await folder?.remove();
  });

  const psql = async (host: string, port: number, user: string, sql: string): Promise<string> =>
    (await run('psql', ['-XAtq', '-h', host, '-p', String(port), '-U', user, '-d', 'postgres', '-c', sql]))
      .stdout;
  const dump = async (host: string, port: number): Promise<string> => {
    // A stock SQL fingerprint: PostgreSQL 18's own pg_dump is not in the package, and an older one refuses its server.
    const args = ['-XAt', '-h', host, '-p', String(port), '-U', 'boss', '-d', 'postgres', '-f', '-'];
    const child = run('psql', args, { env: { ...process.env, PGOPTIONS: '-c search_path=public' } });
    child.child.stdin!.end(`
      select relname, relkind, reltuples from pg_class where relnamespace = 'public'::regnamespace order by 1;
      select pg_get_indexdef(indexrelid) from pg_index where indrelid = 'item'::regclass order by 1;
      copy (select * from item order by id) to stdout; copy (select md5(t), length(t) from big) to stdout;
      copy (select * from per_tag order by 1) to stdout; select pg_get_viewdef('dear'), twice(21), obj_description('item'::regclass);
      select rolname, rolsuper, rolcanlogin, rolpassword, rolconfig from pg_authid order by 1; select last_value, is_called from counted;
      select relacl from pg_class where relname = 'item'; select oid, datname, datcollate from pg_database order by 1; show work_mem;
      set enable_seqscan = off; select count(*) from item where doc @> '{"even": true}'; select count(*) from item where price > 100;`);
    return (await child).stdout;
  };
  const refused = async (dir: string, says: RegExp, hint: RegExp): Promise<void> => {
    const { status, stderr } = await aurora(['import', dir, '-D', path.join(folder.dir, 'none')]);
    assert.equal(status, 1, stderr);
    assert.match(stderr, says);
    assert.match(stderr, hint);
    assert.equal(existsSync(path.join(folder.dir, 'none')), false);
  };

  it('refuses a running server, a folder that is none, and one that was not stopped cleanly', async () => {
    await refused(server.dataDir, /error: a server may be running in /, /hint: .*pg_ctl stop/);
    await refused(
      folder.dir,
      /error: .* is not a PostgreSQL data directory/,
      /hint: Give the data directory of PostgreSQL 18/,
    );
    await server.stop('immediate');
    await fs.rm(path.join(server.dataDir, 'postmaster.pid'), { force: true });
    await refused(
      server.dataDir,
      /error: the cluster in .* was not shut down cleanly/,
      /hint: .*pg_ctl stop/,
    );
    await server.start();
  });

  it('makes a cluster with the same data, roles and settings', async () => {
    await server.sql(SCHEMA);
    await server.sql("alter system set work_mem = '7MB'");
    await server.sql('select pg_reload_conf()');
    await psql(server.socketDir, server.port, 'other', 'alter role postgres rename to boss');
    await fs.appendFile(
      path.join(server.dataDir, 'pg_hba.conf'),
      '# a rule of mine\nhost all reader 10.0.0.0/8 reject\n',
    );
    const { socketDir, port: plainPort, dataDir } = server;
    const before = await dump(socketDir, plainPort);
    assert.ok(before.length > 200_000 && /\n7MB\n/.test(before), 'the fingerprint has something to compare');
    await server.stop();
    const port = await freePort();
    const made = await aurora(['import', dataDir, '-D', root, '-p', String(port), '--json']);
    assert.equal(made.status, 0, made.stderr);
    assert.equal((JSON.parse(made.stdout) as { superuser: string }).superuser, 'boss');
    const started = await aurora(['start', '-D', root]);
    assert.equal(started.status, 0, started.stderr);
    const status = JSON.parse((await aurora(['status', '-D', root, '--json'])).stdout) as {
      socketDir: string;
    };
    assert.equal(await dump(status.socketDir, port), before);
    const hba = await fs.readFile(path.join(root, 'compute/primary/pgdata/pg_hba.conf'), 'utf8');
    assert.match(hba, /# a rule of mine/);
    const written = await psql(status.socketDir, port, 'boss', 'insert into item (name) values (1) returning id; select count(*) from scratch'); // prettier-ignore
    assert.equal(written, '5001\n0\n', 'it goes on where it was; an unlogged table begins empty');
    assert.equal((await aurora(['stop', '-D', root])).status, 0);
  });

  it('leaves the original as it was: it starts again by itself', async () => {
    await server.start();
    const stdout = await psql(server.socketDir, server.port, 'boss', 'select count(*) from item');
    assert.equal(stdout, '5000\n');
    await server.stop();
  });

  it('refuses settings that cannot be kept, a tablespace elsewhere, and another version', async () => {
    const conf = path.join(server.dataDir, 'postgresql.conf');
    const text = await fs.readFile(conf, 'utf8');
    await fs.writeFile(conf, `${text}\ninclude 'mine.conf'\n`);
    await refused(
      server.dataDir,
      /error: PostgreSQL could not start with the settings in .*mine\.conf/,
      /hint: Only postgresql\.conf/,
    );
    await fs.writeFile(conf, `${text}\ndata_directory = '/elsewhere'\n`);
    await refused(server.dataDir, /sets data_directory/, /hint: .*take it out/);
    await fs.rename(conf, `${conf}.away`);
    await refused(server.dataDir, /has no postgresql\.conf/, /hint: Copy it there/);
    await fs.rename(`${conf}.away`, conf);
    await fs.writeFile(conf, text);
    const link = path.join(server.dataDir, 'pg_tblspc/16999');
    await fs.symlink(folder.dir, link);
    await refused(server.dataDir, /error: tablespace 16999 .* outside/, /hint: Move its relations/);
    await fs.rm(link);
    await fs.writeFile(path.join(server.dataDir, 'PG_VERSION'), '17\n');
    await refused(server.dataDir, /is of PostgreSQL 17/, /hint: Give the data directory of PostgreSQL 18/);
    await fs.writeFile(path.join(server.dataDir, 'PG_VERSION'), '18\n');
    const { status, stderr } = await aurora(['import', server.dataDir, '-D', root]);
    assert.equal(status, 1);
    assert.match(stderr, /exists but is not empty/);
  });
});
