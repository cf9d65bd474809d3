/**
 * Programs that people use with PostgreSQL, against a cluster's primary: pg_dump and pg_restore give back a schema with all kinds of
 * objects, its rows and large objects; the catalog queries that graphical clients live on are answered.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promises as fs } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { TestCluster } from '../helpers/cluster.js';
import { openOlderServer, type OlderServer } from '../helpers/older-server.js';
import { SETUP } from '../psql/describe-cases.js';

const run = promisify(execFile);

/** What a dumper older than PostgreSQL 17 cannot write so that 17 takes it: a domain's NOT NULL is a constraint there. */
const SCHEMA = SETUP.replace('as int not null default 1 check', 'as int default 1 check').replace(
  'in database postgres',
  'in database shop',
);

const DATA = `
insert into app.customers (name, email, mood) select 'name ' || g, g || '@example.org', 'sad' from generate_series(1, 3000) g;
insert into app.orders (customer, during) select id, int4range((id * 2)::int, (id * 2 + 1)::int) from app.customers;
insert into app.events select date '2024-01-01' + g, 'what ' || g from generate_series(1, 300) g;
insert into "Odd Name" values (1, E'tab\\there'), (2, null), (3, E'line\\nbreak, "quoted"');
select setval('app.counter', 41), lo_from_bytea(0, '\\x00ff10'::bytea);
refresh materialized view app.counts;`;

/** Trees, property pages and dashboards of graphical clients ask such things. */
const CATALOG_QUERIES = [
  `select d.oid, datname, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), pg_database_size(d.oid), datcollate, datallowconn,
     has_database_privilege(d.oid, 'CREATE'), shobj_description(d.oid, 'pg_database') from pg_database d order by 2`,
  `select n.oid, nspname, pg_get_userbyid(nspowner), has_schema_privilege(n.oid, 'USAGE'), obj_description(n.oid, 'pg_namespace') from pg_namespace n`,
  `select c.oid, relname, relkind, reltuples, pg_total_relation_size(c.oid), pg_relation_size(c.oid), relacl, spcname
     from pg_class c left join pg_tablespace t on t.oid = c.reltablespace where relnamespace = 'app'::regnamespace`,
  `select a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated, col_description(a.attrelid, a.attnum)
     from pg_attribute a left join pg_attrdef d on (d.adrelid, d.adnum) = (a.attrelid, a.attnum) where a.attrelid = 'app.customers'::regclass and a.attnum > 0`,
  `select conname, contype, pg_get_constraintdef(oid, true), confrelid::regclass from pg_constraint where connamespace = 'app'::regnamespace`,
  `select pg_get_indexdef(indexrelid), indisunique, indisvalid, am.amname from pg_index i join pg_class c on c.oid = indexrelid join pg_am am on am.oid = c.relam where indrelid = 'app.customers'::regclass`,
  `select pg_get_triggerdef(oid), tgenabled from pg_trigger where tgrelid = 'app.customers'::regclass and not tgisinternal`,
  `select proname, pg_get_function_identity_arguments(oid), pg_get_function_result(oid) from pg_proc where pronamespace = 'app'::regnamespace`,
  `select pid, usename, datname, client_addr, backend_start, state, wait_event_type, query, pg_blocking_pids(pid) from pg_stat_activity`,
  `select locktype, mode, granted, relation::regclass from pg_locks`,
  `select sum(xact_commit), sum(xact_rollback), sum(blks_hit), sum(tup_returned), max(stats_reset) from pg_stat_database`,
  `select schemaname, relname, seq_scan, idx_scan, n_live_tup, last_autovacuum from pg_stat_user_tables`,
  `select name, setting, unit, context, pending_restart from pg_settings order by name`,
  `select rolname, rolsuper, rolcanlogin, rolconnlimit, array(select roleid::regrole::text from pg_auth_members where member = r.oid) from pg_roles r`,
  `select table_schema, table_name, column_name, data_type, is_nullable from information_schema.columns where table_schema = 'app'`,
  `select tc.constraint_name, kcu.column_name from information_schema.table_constraints tc join information_schema.key_column_usage kcu using (constraint_schema, constraint_name)`,
  `select pg_is_in_recovery(), pg_current_wal_lsn(), application_name, state, sync_state, flush_lsn from pg_stat_replication`,
];

describe('client programs on a cluster', function () {
  this.timeout(120_000);
  let cluster: TestCluster | undefined;
  let door: OlderServer | undefined;
  let folder: string;

  before(async () => {
    folder = await fs.mkdtemp(path.join(os.tmpdir(), 'oa-dump-'));
    cluster = await TestCluster.start();
    await cluster.sql('create database shop', 'postgres');
    await cluster.sql('create database shop_again', 'postgres');
    await cluster.sql(SCHEMA + DATA, 'shop');
  });
  after(async () => {
    await door?.close();
    await cluster?.destroy();
    await fs.rm(folder, { recursive: true, force: true });
  });

  /** The newest client programs that are installed, on the cluster: through a door that says "14" where they are too old for 18. */
  async function environment(): Promise<NodeJS.ProcessEnv> {
    const { stdout } = await run('pg_dump', ['--version']);
    const isOlder = Number(/(\d+)/.exec(stdout)![1]) < 18;
    if (isOlder) door ??= await openOlderServer(cluster!, folder, '14.20');
    const PGHOST = isOlder ? folder : cluster!.socketDir;
    return { ...process.env, PGHOST, PGPORT: String(cluster!.port), PGUSER: cluster!.superuser };
  }

  it('are given back by pg_restore what pg_dump took', async () => {
    const env = await environment();
    const dump = async (database: string): Promise<string> => {
      const { stdout } = await run('pg_dump', [database], { env, maxBuffer: 64 * 1024 * 1024 });
      return stdout.replace(/^\\(un)?restrict .*$/gm, ''); // a random key each time
    };
    const before = await dump('shop');
    assert.match(before, /COPY app\.customers /);
    assert.match(before, /^3000\tname 3000\t/m);
    const archive = path.join(folder, 'shop.dump');
    await run('pg_dump', ['-Fc', '-f', archive, 'shop'], { env });
    await run('pg_restore', ['--exit-on-error', '-d', 'shop_again', archive], { env });
    assert.equal(await dump('shop_again'), before);
    // Once more with several connections that share a snapshot, over what is there.
    const parallel = path.join(folder, 'shop.dir');
    await run('pg_dump', ['-Fd', '-j', '2', '-f', parallel, 'shop'], { env });
    await run(
      'pg_restore',
      ['--exit-on-error', '-j', '2', '--clean', '--if-exists', '-d', 'shop_again', parallel],
      { env },
    );
    assert.equal(await dump('shop_again'), before);
  });

  it('have their catalog queries answered', async () => {
    for (const query of CATALOG_QUERIES) assert.ok((await cluster!.sql(query, 'shop')).length > 0, query);
  });
});
