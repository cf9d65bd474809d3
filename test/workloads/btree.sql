-- Every kind of change to B-tree pages that one session can make. Plain SQL for an empty database.

CREATE SCHEMA b;
SET search_path = b;

-- Splits at every level: six keys fit on a page. Ascending, descending and random order.
CREATE TABLE tall (k text PRIMARY KEY, n int);
ALTER TABLE tall ALTER k SET STORAGE PLAIN;
INSERT INTO tall SELECT lpad(g::text, 1200, '0'), g FROM generate_series(1, 350) g;
INSERT INTO tall SELECT lpad((10000 - g)::text, 1200, '0'), g FROM generate_series(1, 150) g;
INSERT INTO tall SELECT lpad((20000 + g * 7919 % 1009)::text, 1200, '0'), g FROM generate_series(1, 250) g;

-- Whole subtrees go: half-dead pages, unlinked pages, internal ones too; the fast root sinks; then it splits.
DELETE FROM tall WHERE k < lpad('20900', 1200, '0');
VACUUM tall;
SELECT count(*) FROM tall;
DELETE FROM tall WHERE k < lpad('21005', 1200, '0');
VACUUM tall;
CREATE TABLE burn (i int);
INSERT INTO burn VALUES (1);
INSERT INTO burn VALUES (2);
INSERT INTO burn VALUES (3);
VACUUM tall;
INSERT INTO tall SELECT lpad((21005 + g)::text, 1200, '0'), g FROM generate_series(10, 60) g;
DELETE FROM tall;
VACUUM tall;
VACUUM tall;
INSERT INTO tall SELECT lpad(g::text, 1200, '0'), g FROM generate_series(1, 60) g;

-- Duplicates: deduplication, insertion into the middle of a posting list, splits there, posting lists shortened by VACUUM.
CREATE TABLE dup (id int, k int, pad text);
CREATE INDEX dup_k ON dup (k);
INSERT INTO dup SELECT g, g % 4, repeat('d', 20) FROM generate_series(1, 2500) g;
DELETE FROM dup WHERE id % 3 = 0;
VACUUM dup;
INSERT INTO dup SELECT g, g % 4, repeat('e', 20) FROM generate_series(1, 1500) g;
DELETE FROM dup WHERE id % 7 < 3;
VACUUM dup;
INSERT INTO dup SELECT g, g % 3, repeat('f', 20) FROM generate_series(1, 2000) g;

-- Page splits within a posting list: lists made by the index build, gaps in the heap refilled, and no deduplication to make room.
CREATE TABLE gaps (id int, k int);
INSERT INTO gaps SELECT g, 1 FROM generate_series(1, 3000) g;
DELETE FROM gaps WHERE id % 3 = 0;
VACUUM gaps;
CREATE INDEX gaps_k ON gaps (k);
ALTER INDEX gaps_k SET (deduplicate_items = off);
INSERT INTO gaps SELECT g, 1 FROM generate_series(1, 1000) g;

-- Version churn: bottom-up deletion, with and without posting lists.
CREATE TABLE churn (id int PRIMARY KEY, k int, v int);
CREATE INDEX churn_k ON churn (k);
CREATE INDEX churn_v ON churn (v);
INSERT INTO churn SELECT g, g % 5, 0 FROM generate_series(1, 300) g;
DO $$
BEGIN
  FOR i IN 1 .. 9 LOOP
    UPDATE churn SET v = i;
    COMMIT;
  END LOOP;
END
$$;

-- Entries that index scans have found dead are deleted before a split.
CREATE TABLE killed (id int, pad text);
CREATE INDEX killed_id ON killed (id);
INSERT INTO killed SELECT g, 'k' FROM generate_series(1, 1500) g;
DELETE FROM killed WHERE id BETWEEN 400 AND 900;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT count(pad) FROM killed WHERE id BETWEEN 300 AND 1000;
SELECT count(pad) FROM killed WHERE id BETWEEN 300 AND 1000;
INSERT INTO killed SELECT 400 + g % 500, 'again' FROM generate_series(1, 1500) g;
RESET enable_seqscan;
RESET enable_bitmapscan;

-- Several columns, descending order, NULLs, INCLUDE, expressions, partial and non-deduplicating indexes.
CREATE TABLE many (a int, b text, c numeric, d timestamptz DEFAULT '2020-01-01');
CREATE INDEX ON many (a DESC, b NULLS FIRST) INCLUDE (c);
CREATE INDEX ON many (lower(b)) WHERE a % 2 = 0;
CREATE INDEX ON many (c) WITH (deduplicate_items = off, fillfactor = 50);
INSERT INTO many SELECT CASE WHEN g % 10 > 0 THEN g * 37 % 101 END, CASE WHEN g % 7 > 0 THEN md5(g::text) END, g % 13
  FROM generate_series(1, 800) g;
UPDATE many SET b = NULL WHERE a % 9 = 0;
DELETE FROM many WHERE c > 9;
VACUUM many;
REINDEX TABLE many;
CREATE INDEX CONCURRENTLY many_late ON many (d);
INSERT INTO many SELECT 5, 'same', 5 FROM generate_series(1, 700) g;
