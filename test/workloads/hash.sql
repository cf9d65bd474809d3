-- Every kind of change to hash index pages that one session can make. Plain SQL for an empty database.

CREATE SCHEMA ha;
SET search_path = ha;

-- One key for each bucket of 32. A page holds 407 tuples, so rows of one key fill the pages of their bucket's chain in order.
CREATE TABLE key AS SELECT DISTINCT ON (b) b, k FROM (SELECT k, hashint4(k) & 31 AS b FROM generate_series(1, 400) k) s ORDER BY b, k;

-- Growth from two buckets: splits with and without new masks and splitpoints. The first one meets an old bucket that is
-- untouched since the checkpoint. At 16 buckets most of bucket 0 moves to bucket 16, more than a page of it. (A table that was never
-- vacuumed is taken for ten pages, and its index begins with more buckets.)
CREATE TABLE grow (k int, n int);
VACUUM grow;
CREATE INDEX grow_k ON grow USING hash (k) WITH (fillfactor = 10);
INSERT INTO grow SELECT k, n FROM key, generate_series(1, 80) n WHERE b = 16;
CHECKPOINT;
INSERT INTO grow SELECT k, 81 FROM key WHERE b = 1;
INSERT INTO grow SELECT k, n FROM generate_series(82, 760) n JOIN key ON b = CASE WHEN n % 4 = 0 THEN 0 ELSE 16 END;
INSERT INTO grow SELECT n, n FROM generate_series(761, 900) n;
DELETE FROM grow WHERE n % 2 = 0;
VACUUM grow;
INSERT INTO grow SELECT n, n FROM generate_series(1, 150) n;

-- Index builds: row by row, sorted by bucket, and with so many buckets that they are allocated in phases.
CREATE TABLE built AS SELECT n AS k FROM generate_series(1, 700) n;
CREATE INDEX built_rows ON built USING hash (k);
SET maintenance_work_mem = '64kB';
CREATE INDEX built_sorted ON built USING hash (k) WITH (fillfactor = 10);
RESET maintenance_work_mem;
CREATE TABLE many (k int);
INSERT INTO many VALUES (1);
SELECT pg_restore_relation_stats('schemaname', 'ha', 'relname', 'many', 'relpages', 1, 'reltuples', 60000::real);
CREATE INDEX many_k ON many USING hash (k) WITH (fillfactor = 10);
INSERT INTO many SELECT 7 FROM generate_series(1, 420);

-- Main and init fork; only the latter is logged.
CREATE UNLOGGED TABLE unlogged (k int);
CREATE INDEX unlogged_k ON unlogged USING hash (k);
INSERT INTO unlogged SELECT n FROM generate_series(1, 100) n;

-- Chains to squeeze, in an index of 32 buckets that does not split. P is the primary page, O1, O2, ... its overflow pages.
CREATE TABLE chain (b int, k int, n int);
INSERT INTO chain VALUES (31, 31, 0);
SELECT pg_restore_relation_stats('schemaname', 'ha', 'relname', 'chain', 'relpages', 1, 'reltuples', 6000::real);
CREATE INDEX chain_k ON chain USING hash (k);
INSERT INTO chain SELECT b, k, n
  FROM key JOIN (VALUES (1, 507), (2, 427), (3, 914), (4, 834), (5, 1728), (6, 1321), (7, 914)) AS v (bucket, size) ON b = bucket,
       generate_series(1, size) n;
-- Bucket 1: the rest of O1 fits into P. 2: O1 is empty. 3: O2 fits into P, part of O1 too. 4: O2 is empty, P full and left alone.
-- 5: P is full; O4 fits into O1, O3 is empty, part of O2 fits into O1. 6: P is full; O3 fits into O1, O2 is empty.
-- 7: P is full; O2 fits into O1.
DELETE FROM chain WHERE b = 1 AND n <= 200 OR b = 2 AND n > 407 OR b = 3 AND n <= 200 OR b = 4 AND n > 814
  OR b = 5 AND (n BETWEEN 408 AND 607 OR n BETWEEN 1222 AND 1628) OR b = 6 AND (n BETWEEN 408 AND 607 OR n BETWEEN 815 AND 1221)
  OR b = 7 AND n BETWEEN 408 AND 607;
-- With page images, the squeeze of bucket 4 restores P as it is, and replay gives it a page LSN that the primary did not.
CHECKPOINT;
VACUUM chain;
DELETE FROM chain WHERE b = 4 AND n <= 10;
VACUUM chain;
-- The same again, but P has changed since the checkpoint: now it keeps its page LSN on both sides.
INSERT INTO chain SELECT b, k, n FROM key, generate_series(3001, 3030) n WHERE b = 4;
DELETE FROM chain WHERE b = 4 AND n > 3010;
VACUUM chain;
-- Free overflow pages are used again.
INSERT INTO chain SELECT b, k, n FROM key, generate_series(2001, 2420) n WHERE b IN (9, 10);

-- Dead marks of an index scan, which an insertion into a full page removes: in the primary page, then in the overflow page.
SET enable_seqscan = off;
SET enable_bitmapscan = off;
CREATE TABLE killed (k int, n int);
VACUUM killed;
CREATE INDEX killed_k ON killed USING hash (k) WITH (fillfactor = 100);
INSERT INTO killed SELECT k, n FROM key, generate_series(1, 607) n WHERE b = 1;
DELETE FROM killed WHERE n <= 30;
SELECT count(*) FROM killed WHERE k = (SELECT k FROM key WHERE b = 1);
SELECT count(*) FROM killed WHERE k = (SELECT k FROM key WHERE b = 1);
CHECKPOINT;
INSERT INTO killed SELECT k, n FROM key, generate_series(1001, 1031) n WHERE b = 1;
DELETE FROM killed WHERE n BETWEEN 420 AND 439;
SELECT count(*) FROM killed WHERE k = (SELECT k FROM key WHERE b = 1);
SELECT count(*) FROM killed WHERE k = (SELECT k FROM key WHERE b = 1);
INSERT INTO killed SELECT k, n FROM key, generate_series(1101, 1330) n WHERE b = 1;
-- Dead marks that VACUUM removes, in both pages.
DELETE FROM killed WHERE n BETWEEN 100 AND 180 OR n BETWEEN 450 AND 480;
SELECT count(*) FROM killed WHERE k = (SELECT k FROM key WHERE b = 1);
SELECT count(*) FROM killed WHERE k = (SELECT k FROM key WHERE b = 1);
VACUUM killed;
