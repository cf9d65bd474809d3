-- Every kind of change to GIN indexes that one session can make. Plain SQL for an empty database.

CREATE SCHEMA gn;
SET search_path = gn, public;
CREATE EXTENSION pg_trgm SCHEMA public;

-- The entry tree, several levels high: four random keys fit on a page. Splits of leaves and internal pages, root and not.
CREATE FUNCTION blob(n int) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT string_agg(sha256((n || ':' || i)::bytea), '') FROM generate_series(1, 60) i
$$;
CREATE TABLE tall (id int, k bytea[]);
CREATE INDEX tall_k ON tall USING gin (k) WITH (fastupdate = off);
INSERT INTO tall SELECT g, ARRAY[blob(g)] FROM generate_series(1, 90) g;
CHECKPOINT;
INSERT INTO tall SELECT g, ARRAY[blob(g), blob(g + 1000)] FROM generate_series(91, 130) g;
-- Entries that exist get more tids; VACUUM takes some away again, and all of some entries.
INSERT INTO tall SELECT g + 500, ARRAY[blob(g)] FROM generate_series(1, 60) g;
DELETE FROM tall WHERE id % 3 = 0 OR id BETWEEN 100 AND 110;
VACUUM tall;
INSERT INTO tall SELECT g, ARRAY[blob(g)] FROM generate_series(20, 40) g;

-- Posting trees. A build packs leaves as full as can be; rows that fill the gaps on the heap split them.
SET wal_consistency_checking = 'gin';
CREATE TABLE post (id int, k int[]);
INSERT INTO post SELECT g, ARRAY[1, 2 + g % 2] FROM generate_series(1, 40000) g;
DELETE FROM post WHERE id % 9 = 0;
VACUUM post;
CREATE INDEX post_k ON post USING gin (k) WITH (fastupdate = off);
CHECKPOINT;
INSERT INTO post SELECT g, ARRAY[1, 2 + g % 2] FROM generate_series(40001, 41500) g;
-- Single tids go everywhere, so segments shrink; rows that take their place on the heap come between old ones.
DELETE FROM post WHERE id % 7 = 0;
CHECKPOINT;
VACUUM post;
CHECKPOINT;
INSERT INTO post SELECT g, ARRAY[1, 2 + g % 2] FROM generate_series(50001, 50900) g;
DELETE FROM post WHERE id % 11 = 0;
VACUUM post;
-- Whole segments and whole leaves go.
DELETE FROM post WHERE id BETWEEN 9000 AND 33000 AND id % 4000 <> 0;
VACUUM post;
INSERT INTO post SELECT g, ARRAY[1, 2 + g % 2] FROM generate_series(60001, 60900) g;
DELETE FROM post WHERE id BETWEEN 9000 AND 37000;
CHECKPOINT;
VACUUM post;
VACUUM post;
INSERT INTO post SELECT g, ARRAY[1, 4] FROM generate_series(70001, 70300) g;

-- A list beside its key that becomes a posting tree; a posting tree of one page whose root is split.
CREATE TABLE grow (k int[]);
INSERT INTO grow SELECT ARRAY[7] FROM generate_series(1, 2600);
CREATE INDEX grow_k ON grow USING gin (k) WITH (fastupdate = off);
INSERT INTO grow SELECT ARRAY[7] FROM generate_series(1, 300);
CREATE TABLE ripe (k int[]);
INSERT INTO ripe SELECT ARRAY[7] FROM generate_series(1, 7700);
CREATE INDEX ripe_k ON ripe USING gin (k) WITH (fastupdate = off);
INSERT INTO ripe SELECT ARRAY[7] FROM generate_series(1, 500);

-- The pending list: rows one by one, rows that need several pages at once, and both ways out of it.
CREATE TABLE pend (id int, k int[]);
CREATE INDEX pend_k ON pend USING gin (k) WITH (gin_pending_list_limit = 4096);
INSERT INTO pend SELECT g, ARRAY[g % 10, g % 7 + 100, g] FROM generate_series(1, 250) g;
INSERT INTO pend SELECT g, array(SELECT i FROM generate_series(g, g + 900) i) FROM generate_series(1, 6) g;
CHECKPOINT;
INSERT INTO pend VALUES (1000, '{1,2,3}');
INSERT INTO pend VALUES (1001, '{1,2,4}');
SELECT gin_clean_pending_list('pend_k');
INSERT INTO pend SELECT g, ARRAY[g % 10, g] FROM generate_series(2001, 2100) g;
DELETE FROM pend WHERE id < 100;
VACUUM pend;
ALTER INDEX pend_k SET (gin_pending_list_limit = 64);
INSERT INTO pend SELECT g, array(SELECT g * 7 + i FROM generate_series(1, 40) i) FROM generate_series(3001, 3120) g;

-- An entry that lost all its tids gets too many at once: a posting tree is made with nothing in it.
CREATE TABLE hollow (id int, k int[]);
CREATE INDEX hollow_k ON hollow USING gin (k) WITH (gin_pending_list_limit = 65536);
INSERT INTO hollow SELECT g, '{5}' FROM generate_series(1, 5) g;
VACUUM hollow;
DELETE FROM hollow;
VACUUM hollow;
SET wal_consistency_checking = '';
INSERT INTO hollow SELECT g, '{5}' FROM generate_series(1, 2900) g;
SET wal_consistency_checking = 'gin';
SELECT gin_clean_pending_list('hollow_k');

-- Operator classes of other types, several columns, nulls of each kind.
CREATE TABLE words (id int, body text, doc jsonb, tags text[]);
CREATE INDEX words_trgm ON words USING gin (body gin_trgm_ops);
CREATE INDEX words_ts ON words USING gin (to_tsvector('english', body)) WITH (fastupdate = off);
CREATE INDEX words_doc ON words USING gin (doc jsonb_path_ops, tags);
INSERT INTO words
  SELECT g, 'the ' || md5(g::text) || ' quick fox ' || g, jsonb_build_object('a', g % 10, 'b', ARRAY[g, g + 1]),
         CASE g % 4 WHEN 0 THEN NULL WHEN 1 THEN '{}' WHEN 2 THEN ARRAY[NULL, 'x'] ELSE ARRAY['y', g::text] END
    FROM generate_series(1, 60) g;
UPDATE words SET body = body || ' jumps' WHERE id % 2 = 0;
DELETE FROM words WHERE id % 5 = 0;
VACUUM words;

-- Init fork only.
CREATE UNLOGGED TABLE ghost (k int[]);
CREATE INDEX ghost_k ON ghost USING gin (k);
INSERT INTO ghost SELECT ARRAY[g] FROM generate_series(1, 50) g;
RESET wal_consistency_checking;
