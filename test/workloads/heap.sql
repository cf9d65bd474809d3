-- Every kind of change to heap pages that one session can make. Plain SQL for an empty database; no index types but btree.

CREATE SCHEMA w;
SET search_path = w;

-- INSERT, INSERT+INIT, HOT chains with shared prefix and suffix, null bitmaps that come and go, pruning on access.
CREATE TABLE hot (id int PRIMARY KEY, a int, pad text, b int) WITH (fillfactor = 60);
INSERT INTO hot SELECT g, 0, repeat(chr(97 + g % 26), 40 + g % 90), g FROM generate_series(1, 1000) g;
UPDATE hot SET a = a + 1 WHERE id % 3 = 0;
UPDATE hot SET b = b + 1 WHERE id % 3 = 0;
UPDATE hot SET pad = 'y' || pad WHERE id % 5 = 0;
UPDATE hot SET pad = NULL WHERE id % 7 = 0;
UPDATE hot SET pad = 'back' WHERE id % 14 = 0;
UPDATE hot SET a = -a, pad = reverse(pad) WHERE id % 4 = 0;
SELECT sum(a) FROM hot;
UPDATE hot SET a = a + 1 WHERE id % 2 = 0;
SELECT sum(a) FROM hot;

-- Commands inside one transaction: combo command ids, a row updated again by its own transaction, subtransactions rolled back.
BEGIN;
INSERT INTO hot SELECT g, 1, 'combo', g FROM generate_series(2001, 2100) g;
UPDATE hot SET a = 2 WHERE id BETWEEN 2001 AND 2050;
SAVEPOINT s1;
UPDATE hot SET a = 3 WHERE id BETWEEN 2001 AND 2025;
DELETE FROM hot WHERE id > 2075;
ROLLBACK TO s1;
SELECT count(*) FROM (SELECT * FROM hot WHERE id > 2000 FOR UPDATE) q;
UPDATE hot SET b = 9 WHERE id BETWEEN 2026 AND 2060;
COMMIT;
BEGIN;
DELETE FROM hot WHERE id % 11 = 0;
ROLLBACK;

-- Updates to another page (UPDATE, UPDATE+INIT): the page is full and an indexed column changes.
CREATE TABLE moving (id int PRIMARY KEY, k int, pad text);
CREATE INDEX ON moving (k);
INSERT INTO moving SELECT g, g, repeat('m', 300) FROM generate_series(1, 400) g;
UPDATE moving SET k = k + 1000 WHERE id % 2 = 0;
UPDATE moving SET pad = repeat('n', 3000) WHERE id % 40 = 0;
UPDATE moving SET k = -k WHERE id < 100;

-- VACUUM: each shape of pruning, freezing, the visibility map, and its clearing by each statement that can clear it.
DELETE FROM hot WHERE id % 10 = 1;
VACUUM hot;
VACUUM (FREEZE) hot;
INSERT INTO hot VALUES (3001, 1, 'clears', 1);
DELETE FROM hot WHERE id = 500;
UPDATE hot SET a = 77 WHERE id = 800;
UPDATE hot SET id = id + 10000 WHERE id IN (903, 913);
SELECT a FROM hot WHERE id = 702 FOR UPDATE;
SELECT a FROM hot WHERE id IN (802, 902) FOR SHARE;
SELECT a FROM hot WHERE id = 803 FOR KEY SHARE;
VACUUM moving;
UPDATE moving SET k = k + 1 WHERE id % 50 = 0;
VACUUM (FREEZE) moving;
UPDATE moving SET k = k + 1 WHERE id % 50 = 1;
VACUUM moving;

-- Without an index, dead rows become unused at once; with one, they wait for the second pass, which may run without a cleanup lock.
CREATE TABLE bare (id int, pad text);
INSERT INTO bare SELECT g, repeat('b', 100) FROM generate_series(1, 1000) g;
DELETE FROM bare WHERE id % 3 = 0;
VACUUM bare;
INSERT INTO bare SELECT g, 'reuse' FROM generate_series(1, 100) g;
DELETE FROM bare WHERE id > 300;
VACUUM (TRUNCATE) bare;
INSERT INTO bare SELECT g, repeat('again', 30) FROM generate_series(1, 500) g;
DELETE FROM bare;
VACUUM bare;
INSERT INTO bare SELECT g, 'after all was cut off' FROM generate_series(1, 200) g;

-- The tail of a table with a visibility map is cut off and grows again.
CREATE TABLE tail (id int PRIMARY KEY, pad text);
INSERT INTO tail SELECT g, repeat('t', 200) FROM generate_series(1, 1000) g;
VACUUM (FREEZE) tail;
DELETE FROM tail WHERE id > 211;
VACUUM tail;
INSERT INTO tail SELECT g, repeat('u', 200) FROM generate_series(2000, 2600) g;
VACUUM tail;

-- Freezing of rows locked or updated, by aborted transactions too.
CREATE TABLE icy (id int PRIMARY KEY, v int);
INSERT INTO icy SELECT g, 0 FROM generate_series(1, 500) g;
BEGIN;
SELECT count(*) FROM (SELECT * FROM icy WHERE id < 100 FOR NO KEY UPDATE) q;
COMMIT;
BEGIN;
UPDATE icy SET v = 1 WHERE id BETWEEN 100 AND 200;
ROLLBACK;
BEGIN;
DELETE FROM icy WHERE id BETWEEN 201 AND 250;
ROLLBACK;
VACUUM (FREEZE) icy;

-- MULTI_INSERT, MULTI_INSERT+INIT, and with ALL_FROZEN_SET.
CREATE TABLE copied (id int, t text DEFAULT 'd');
COPY copied (id) FROM PROGRAM 'seq 1 1200';
DELETE FROM copied WHERE id % 2 = 0;
VACUUM copied;
COPY copied (id) FROM PROGRAM 'seq 1 700';
BEGIN;
TRUNCATE copied;
COPY copied (id) FROM PROGRAM 'seq 1 1200' WITH (FREEZE);
COMMIT;
COPY copied (id) FROM PROGRAM 'seq 1 5';
BEGIN;
CREATE TABLE copied2 (id int PRIMARY KEY);
COPY copied2 FROM PROGRAM 'seq 1 900' WITH (FREEZE);
ROLLBACK;

-- Speculative insertion and its confirmation.
CREATE TABLE spec (id int PRIMARY KEY, n int DEFAULT 1);
INSERT INTO spec SELECT g % 50 FROM generate_series(1, 200) g ON CONFLICT (id) DO NOTHING;
INSERT INTO spec SELECT g FROM generate_series(1, 100) g ON CONFLICT (id) DO UPDATE SET n = spec.n + 1;

-- TOAST: compressed, external, updated, deleted.
CREATE TABLE toasted (id int PRIMARY KEY, plain text, ext text);
ALTER TABLE toasted ALTER ext SET STORAGE EXTERNAL;
INSERT INTO toasted SELECT g, repeat(md5(g::text), 300), (SELECT string_agg(md5((g * i)::text), '') FROM generate_series(1, 300) i)
  FROM generate_series(1, 30) g;
UPDATE toasted SET plain = plain || 'x' WHERE id % 3 = 0;
UPDATE toasted SET ext = ext || 'x' WHERE id % 4 = 0;
DELETE FROM toasted WHERE id % 5 = 0;
VACUUM toasted;

-- A row that moves to another partition.
CREATE TABLE parted (id int, part int, pad text) PARTITION BY LIST (part);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2);
INSERT INTO parted SELECT g, 1 + g % 2, 'p' FROM generate_series(1, 300) g;
UPDATE parted SET part = 3 - part WHERE id % 3 = 0;

-- Many new blocks at once.
CREATE TABLE grown (id int);
COPY grown FROM PROGRAM 'seq 1 60000';

-- Odd shapes: no columns, many columns with NULLs, dropped and added columns, a tuple that fills a page.
CREATE TABLE nothing ();
INSERT INTO nothing SELECT FROM generate_series(1, 400);
DELETE FROM nothing;
VACUUM nothing;
DO $$
BEGIN
  EXECUTE 'CREATE TABLE wide (' || (SELECT string_agg('c' || i || ' int', ', ') FROM generate_series(1, 200) i) || ')';
END
$$;
INSERT INTO wide (c1, c77, c200) SELECT g, g, g FROM generate_series(1, 60) g;
UPDATE wide SET c78 = 1, c1 = NULL WHERE c77 % 2 = 0;
UPDATE wide SET c199 = 1 WHERE c77 % 3 = 0;
ALTER TABLE hot DROP COLUMN b;
ALTER TABLE hot ADD COLUMN c int DEFAULT 5;
UPDATE hot SET c = 6 WHERE id % 9 = 0;
CREATE TABLE big (id int, t text);
ALTER TABLE big ALTER t SET STORAGE PLAIN;
INSERT INTO big SELECT g, repeat('z', 8000 + g) FROM generate_series(1, 20) g;
UPDATE big SET id = -id WHERE id % 2 = 0;

-- Sequences.
CREATE SEQUENCE seq;
SELECT count(nextval('seq')) FROM generate_series(1, 100);
SELECT setval('seq', 1000);
SELECT setval('seq', 2000, false);
ALTER SEQUENCE seq RESTART WITH 7 INCREMENT BY 3;
CREATE SEQUENCE down INCREMENT -1 MINVALUE -500 MAXVALUE -1 CYCLE CACHE 20;
SELECT count(nextval('down')) FROM generate_series(1, 600);
CREATE TABLE ident (id int GENERATED ALWAYS AS IDENTITY, t text);
INSERT INTO ident (t) SELECT 'i' FROM generate_series(1, 100);
TRUNCATE ident RESTART IDENTITY;
CREATE UNLOGGED SEQUENCE useq;
