-- What concerns the whole cluster: the log itself, object ids, backups, databases, tablespaces, relation maps, page images of every
-- origin. Plain SQL for an empty database; needs superuser, pg_visibility and pg_surgery.

CREATE EXTENSION IF NOT EXISTS pg_visibility SCHEMA public;
CREATE EXTENSION IF NOT EXISTS pg_surgery SCHEMA public;
CREATE SCHEMA sy;
SET search_path = sy, public;

-- The log: checkpoints, its segments, marks in it.
CHECKPOINT;
SELECT pg_create_restore_point('before the backup');
SELECT pg_backup_start('a backup', fast => true);
CREATE TABLE during_backup AS SELECT generate_series(1, 100) AS id;
SELECT lsn IS NOT NULL FROM pg_backup_stop(wait_for_archive => false);
SELECT pg_switch_wal() IS NOT NULL;
SELECT pg_log_standby_snapshot() IS NOT NULL;
BEGIN;
LOCK during_backup;
SELECT pg_log_standby_snapshot() IS NOT NULL;
INSERT INTO during_backup VALUES (101);
COMMIT;

-- Object ids, set aside by 8192 at a time.
SELECT count(lo_unlink(lo_create(0))) FROM generate_series(1, 8300);

-- Caches elsewhere told of changes by a transaction without an id.
CREATE TEMP TABLE emptied (id int PRIMARY KEY) ON COMMIT DELETE ROWS;
SELECT count(*) FROM emptied;

-- Page images of visibility maps and tables: extensions that change pages by hand.
CREATE TABLE handled (id int PRIMARY KEY, v text);
INSERT INTO handled SELECT g, 'h' FROM generate_series(1, 500) g;
VACUUM (FREEZE) handled;
SELECT pg_truncate_visibility_map('handled');
INSERT INTO handled SELECT g, 'h' FROM generate_series(501, 600) g;
VACUUM handled;
SELECT heap_force_kill('handled', ARRAY['(0,1)', '(0,2)']::tid[]);
SELECT heap_force_freeze('handled', ARRAY['(0,3)', '(1,4)']::tid[]);
VACUUM handled;

-- Page images of builds: tables and indexes written anew, of many pages and of none; tables moved; tables that survive a crash empty.
CREATE TABLE built AS SELECT g AS id, md5(g::text) AS t FROM generate_series(1, 10000) g;
CREATE INDEX ON built (id);
CREATE INDEX ON built (t);
CLUSTER built USING built_id_idx;
CREATE TABLE empty (id int PRIMARY KEY, t text UNIQUE);
VACUUM FULL empty;
CREATE UNLOGGED TABLE unlogged (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, t text UNIQUE);
INSERT INTO unlogged (t) SELECT g::text FROM generate_series(1, 200) g;
ALTER TABLE unlogged SET LOGGED;
UPDATE unlogged SET t = t || 'x' WHERE id % 3 = 0;
ALTER TABLE built SET UNLOGGED;
ALTER TABLE built SET LOGGED;

-- Relation maps: shared catalogs and this database's own.
VACUUM FULL pg_catalog.pg_class;
VACUUM FULL pg_catalog.pg_database;
REINDEX TABLE pg_catalog.pg_authid;
REINDEX TABLE pg_catalog.pg_type;

-- Tablespaces and databases, moved and dropped.
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE sy_one LOCATION '';
CREATE TABLESPACE sy_two LOCATION '';
CREATE TABLE placed (id int PRIMARY KEY, t text) TABLESPACE sy_one;
INSERT INTO placed SELECT g, repeat('p', 50) FROM generate_series(1, 500) g;
ALTER TABLE placed SET TABLESPACE sy_two;
UPDATE placed SET t = 'moved' WHERE id % 5 = 0;
DROP TABLESPACE sy_one;
CREATE TABLESPACE sy_one LOCATION '';
CREATE DATABASE sy_db TEMPLATE template0 TABLESPACE sy_one STRATEGY wal_log;
ALTER DATABASE sy_db SET TABLESPACE sy_two;
CREATE DATABASE sy_copy TEMPLATE sy_db STRATEGY file_copy;
DROP DATABASE sy_db;
DROP DATABASE sy_copy;
DROP TABLESPACE sy_one;
