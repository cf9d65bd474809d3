/** Data changes and maintenance, as SQL that any PostgreSQL 18 runs with the same result. */
import type { SqlStep } from './sql-schema.js';

export const dataSteps: readonly SqlStep[] = [
  {
    name: 'values over a megabyte: compressed and external',
    sql: `
create table shop.big (id int primary key, t text, b bytea);
insert into shop.big values (1, repeat('compress me ', 200000), null);
insert into shop.big select 2, null, decode(string_agg(md5(g::text), '' order by g), 'hex') from generate_series(1, 100000) g;
alter table shop.big alter b set storage external;
insert into shop.big select 3, string_agg(sha512(g::text::bytea)::text, '' order by g), (select b from shop.big where id = 2) from generate_series(1, 20000) g;
update shop.big set t = t || 'longer' where id = 3;
update shop.big set b = substr(b, 1, 1200000) where id = 2;
insert into shop.big select g, repeat(md5(g::text), 80), null from generate_series(10, 200) g;
delete from shop.big where id > 150;
create table shop.moved_big as select * from shop.big where id < 3`,
  },
  {
    name: 'savepoints and more than a hundred subtransactions',
    sql: `
create table shop.sub (id int primary key, v text);
--
do $$ begin for i in 1..150 loop begin insert into shop.sub values (i, 'kept'); exception when others then raise; end; end loop; end $$;
--
do $$ begin for i in 151..300 loop begin insert into shop.sub values (i, 'lost'); raise exception 'no'; exception when raise_exception then null; end; end loop; end $$;
--
begin; savepoint a; insert into shop.sub values (1001, 'a'); savepoint b; update shop.sub set v = 'b' where id = 1001; rollback to b; release a; savepoint c; delete from shop.sub where id <= 10; rollback to c; commit;
--
begin; savepoint a; insert into shop.sub values (1002, 'gone'); release a; rollback;
--
do $$ begin for i in 1..120 loop begin update shop.sub set v = v || i where id = 50; if i % 2 = 0 then raise exception 'no'; end if; exception when raise_exception then null; end; end loop; end $$`,
  },
  {
    name: 'updates that stay on the page, move, and are pruned',
    sql: `
create table shop.churn (id int primary key, n int default 0, pad text default repeat('.', 120)) with (fillfactor = 60);
create index churn_n on shop.churn (n);
insert into shop.churn (id) select g from generate_series(1, 3000) g;
--
do $$ begin for i in 1..6 loop update shop.churn set pad = repeat(chr(64 + i), 120) where id % 7 = i; commit; end loop; end $$;
--
update shop.churn set n = id % 50;
--
merge into shop.churn c using (select g as id from generate_series(2990, 3020) g) s on c.id = s.id when matched and c.id % 2 = 0 then delete when matched then update set n = -1 when not matched then insert (id, n) values (s.id, -2);
--
insert into shop.churn (id, n) select g, 1 from generate_series(1, 200) g on conflict (id) do update set n = excluded.n + 1000;
--
delete from shop.churn where id between 500 and 1500;
--
create table shop.gone_tail (id int, pad text default repeat('p', 500));
insert into shop.gone_tail select g from generate_series(1, 4000) g;
delete from shop.gone_tail where id > 1000;
--
vacuum shop.gone_tail;
--
insert into shop.gone_tail select g from generate_series(9001, 9500) g`,
  },
  {
    name: 'large objects',
    sql: `
select lo_from_bytea(70001, decode(repeat('0123456789abcdef', 20000), 'hex'));
select lo_create(70002);
select lo_put(70002, 5000, 'sparse');
select lo_create(70003);
select lo_unlink(70003)`,
  },
  {
    name: 'vacuum, freeze, full, cluster, reindex',
    sql: `
vacuum (verbose false) shop.churn;
--
vacuum (analyze) shop.item;
--
vacuum full shop.big;
--
vacuum (freeze, disable_page_skipping) shop.sub;
--
delete from shop.churn where id % 3 = 0;
--
vacuum (index_cleanup on, truncate on) shop.churn;
--
cluster shop.item using item_price;
--
reindex table shop.item;
--
reindex index concurrently shop.churn_n;
--
reindex table concurrently shop.big;
--
reindex schema shop;
--
vacuum full pg_class;
--
vacuum full pg_database;
--
vacuum full pg_attribute;
--
vacuum full pg_catalog.pg_depend;
--
cluster pg_index using pg_index_indrelid_index;
--
reindex table pg_class;
--
reindex system;
--
analyze;
--
vacuum (freeze)`,
  },
];

/** Each is run in a session of its own: nobody else may be in a database that is copied, moved or dropped. */
export const databaseSteps: readonly SqlStep[] = [
  {
    name: 'databases by both strategies, from a template with data; dropped',
    database: 'postgres',
    sql: `
create database by_wal template work strategy wal_log;
--
create database by_file template work strategy file_copy;
--
create database from_zero template template0 encoding 'UTF8' locale_provider builtin builtin_locale 'C.UTF-8';
--
create database doomed strategy file_copy;
--
drop database doomed with (force);
--
alter database from_zero rename to renamed;
--
alter database renamed connection limit 10;
--
alter database by_wal set work_mem = '5MB';
--
create database travels;
--
create database in_space tablespace quick strategy wal_log`,
  },
  {
    name: 'data in a database that will move',
    database: 'travels',
    sql: `
create table luggage (id int primary key, v text);
insert into luggage select g, repeat(md5(g::text), 200) from generate_series(1, 500) g;
create unlogged table on_hand (id int primary key)`,
  },
  {
    name: 'databases moved into a tablespace, and copied out of it',
    database: 'postgres',
    sql: `
alter database travels set tablespace quick;
--
create database back_again template travels tablespace pg_default strategy file_copy;
--
alter database in_space set tablespace pg_default`,
  },
  {
    name: 'an extension in a database made from template0',
    database: 'renamed',
    sql: 'create extension amcheck',
  },
  {
    name: 'changes in a copied database',
    database: 'by_file',
    sql: `
insert into shop.placed select g, 'in the copy' from generate_series(5001, 5500) g;
update shop.churn set n = n + 1 where id % 4 = 0;
drop table shop.moved_big;
truncate shop.log`,
  },
];

/** Run right after a start from an erased disk: each works on files whose blocks are still in storage. */
export const coldSteps: readonly SqlStep[] = [
  {
    name: 'databases copied, moved and dropped while cold',
    database: 'postgres',
    sql: `
create database cold_copy template work strategy file_copy;
--
alter database back_again set tablespace quick;
--
drop database by_wal;
--
create database cold_log template travels strategy wal_log`,
  },
  {
    name: 'tables rewritten, cut, dropped and maintained while cold',
    database: 'work',
    sql: `
truncate shop.log;
--
drop table shop.wide;
--
vacuum full shop.churn;
--
cluster shop.item;
--
reindex index concurrently shop.event_kind;
--
alter table shop.owned alter column note type varchar(30) using note || '!';
alter table shop.placed add column filled text default clock_timestamp()::text not null;
update shop.placed set filled = 'constant';
create index placed_v on shop.placed (v, id);
update shop.event set payload = payload || '+' where id % 3 = 0;
delete from shop.sub where id % 2 = 0;
alter table shop.goes set tablespace pg_default;
--
vacuum (freeze, truncate) shop.sub;
--
delete from shop.gone_tail where id > 9000;
--
vacuum shop.gone_tail;
--
insert into shop.gone_tail select g, 'back' from generate_series(20000, 22000) g;
select lo_put(70001, 100000, 'changed'), lo_unlink(70002);
refresh materialized view concurrently shop.by_mood;
alter table shop.big alter column t type text collate "C";
update shop.big set b = b || '\\x00'::bytea where id = 2;
copy shop.moved_big (id) from program 'seq 100 200'`,
  },
  {
    name: 'system catalogs rewritten while cold',
    database: 'travels',
    sql: `
vacuum full pg_class;
--
reindex system;
--
vacuum full pg_attribute, pg_depend, pg_database, luggage;
--
insert into luggage values (1001, 'late')`,
  },
];
