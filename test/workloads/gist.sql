-- Every kind of change to GiST pages. Plain SQL for an empty database; needs the contributed extensions named below, and a superuser.
-- The checkpoints matter under full_page_writes: what follows them meets pages that are logged as images.

CREATE SCHEMA gi;
SET search_path = gi, public;
SET default_toast_compression = pglz;
CREATE EXTENSION IF NOT EXISTS btree_gist SCHEMA public;
CREATE EXTENSION IF NOT EXISTS intarray SCHEMA public;
CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public;
CREATE EXTENSION IF NOT EXISTS cube SCHEMA public;
CREATE EXTENSION IF NOT EXISTS ltree SCHEMA public;
CREATE EXTENSION IF NOT EXISTS dblink SCHEMA public;
CREATE EXTENSION IF NOT EXISTS pageinspect SCHEMA public;

-- Text that does not compress, always the same for a seed.
CREATE FUNCTION noise(seed text, len int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT substr(string_agg(substr(translate(encode(sha512((seed || i)::bytea), 'base64'), E'\n', ''), 1, 85), '' ORDER BY i), 1, len)
    FROM generate_series(0, len / 85) i
$$;

CREATE FUNCTION pages_with(index regclass, flag text) RETURNS bigint LANGUAGE sql AS $$
  SELECT count(*) FROM generate_series(0, pg_relation_size(index) / 8192 - 1) blk,
         LATERAL gist_page_opaque_info(get_raw_page(index::text, blk)) o
   WHERE flag = ANY (o.flags)
$$;

-- Keys of fixed size: the root of a single page splits, then leaves do, and their downlinks grow.
CREATE TABLE shapes (id int, p point, b box, pad text);
CREATE INDEX shapes_p ON shapes USING gist (p);
CREATE INDEX shapes_b ON shapes USING gist (b) INCLUDE (id);
INSERT INTO shapes SELECT g, point(g * 7919 % 1009, g * 104729 % 997), box(point(g * 31 % 101, g * 17 % 103), point(g % 50, g % 70)), 's'
  FROM generate_series(1, 900) g;
CHECKPOINT;
INSERT INTO shapes SELECT g, point(g * 7919 % 1009, g * 104729 % 997), box(point(g * 31 % 101, g * 17 % 103), point(g % 50, g % 70)), 's'
  FROM generate_series(901, 1500) g;

-- VACUUM takes one, two or many entries from a leaf.
DELETE FROM shapes WHERE id % 97 = 0;
VACUUM shapes;
DELETE FROM shapes WHERE id % 3 = 0;
VACUUM shapes;

-- Entries that index scans have found dead are deleted before a split.
SET enable_seqscan = off;
SET enable_bitmapscan = off;
DELETE FROM shapes WHERE id BETWEEN 700 AND 1400;
SELECT count(pad) FROM shapes WHERE p <@ box(point(-1, -1), point(2000, 2000));
SELECT count(pad) FROM shapes WHERE p <@ box(point(-1, -1), point(2000, 2000));
INSERT INTO shapes SELECT g, point(g * 7919 % 1009, g * 104729 % 997), box(point(g % 7, g % 11), point(g % 5, g % 3)), 't'
  FROM generate_series(2001, 3150) g;
RESET enable_seqscan;
RESET enable_bitmapscan;

-- Keys of many sizes, large ones: trees of several levels, splits of inner pages and of a root with children, downlinks that
-- shrink and grow where they are.
CREATE TABLE tall (n int, k text);
CREATE INDEX tall_k ON tall USING gist (k);
INSERT INTO tall SELECT g, lpad((g * 7919 % 1009)::text, 4, '0') || noise('t' || g, 300 + g * 31 % 900) FROM generate_series(1, 180) g;
CHECKPOINT;
INSERT INTO tall SELECT g, lpad((g * 7919 % 1009)::text, 4, '0') || noise('t' || g, 300 + g * 31 % 900) FROM generate_series(181, 260) g;

-- Empty leaves go, and their pages are used again once no transaction can still be on its way to them.
DELETE FROM tall WHERE n % 13 > 0;
CHECKPOINT;
VACUUM tall;
DELETE FROM tall WHERE n % 26 > 0;
VACUUM tall;
CREATE TABLE burn (i int);
INSERT INTO burn VALUES (1);
INSERT INTO burn VALUES (2);
VACUUM tall;
INSERT INTO tall SELECT g, lpad((g * 7919 % 1009)::text, 4, '0') || noise('u' || g, 300 + g * 31 % 900) FROM generate_series(1, 90) g;

-- Pages are halved by the number of keys here, so large keys behind many small ones make a page split into more than two: first the root, in
-- another table a leaf, whose new siblings get their downlinks one by one, from the right.
CREATE TABLE wide (k text);
CREATE INDEX wide_k ON wide USING gist (k);
INSERT INTO wide SELECT 'k' || lpad(g::text, 3, '0') FROM generate_series(1, 120) g;
INSERT INTO wide SELECT 'k120' || noise('w' || g, 990) FROM generate_series(1, 4) g;
INSERT INTO wide SELECT 'k120' || noise('x', 3900);
CREATE TABLE wider (k text);
CREATE INDEX wider_k ON wider USING gist (k);
INSERT INTO wider SELECT 'k' || lpad(g::text, 3, '0') FROM generate_series(1, 400) g;
DELETE FROM wider WHERE substr(k, 2)::int % 3 > 0;
VACUUM wider;
INSERT INTO wider SELECT 'k390' || noise('w' || g, 990) FROM generate_series(1, 4) g;
INSERT INTO wider SELECT 'k390' || noise('x', 3900);

-- A split whose downlinks could not be inserted: the left half ends with a key of 6650 bytes, and together with the lower bound, which
-- compresses well in the leaf but not beside it, the downlink would be larger than a page. The next insertion that comes along must finish
-- the split, which it can after that key has gone.
CREATE TABLE stuck (k text);
CREATE INDEX stuck_k ON stuck USING gist (k);
INSERT INTO stuck SELECT repeat('c', 1480) || lpad(g::text, 4, '0') FROM generate_series(1, 200) g;
DELETE FROM stuck WHERE substr(k, 1481)::int % 7 > 0;
VACUUM stuck;
INSERT INTO stuck SELECT repeat('a', 1480) || lpad(g::text, 4, '0') FROM generate_series(1, 16) g;
CREATE FUNCTION split_in_vain(target regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('INSERT INTO %s SELECT %L', target, 'b' || noise('b', 6650));
  RAISE 'the downlink fitted';
EXCEPTION WHEN program_limit_exceeded THEN
  IF pages_with((target || '_k')::regclass, 'follow_right') <> 1 THEN
    RAISE '%', SQLERRM;
  END IF;
END
$$;
CREATE FUNCTION expect_no_split_left(index regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF pages_with(index, 'follow_right') > 0 THEN
    RAISE 'the split is still incomplete';
  END IF;
END
$$;
SELECT split_in_vain('stuck');
VACUUM stuck;
CHECKPOINT;
INSERT INTO stuck SELECT repeat('a', 1480) || '0001';
SELECT expect_no_split_left('stuck_k');

-- The same, but the parent is so full that it must split itself to take the downlinks.
CREATE TABLE stuck2 (k text);
CREATE INDEX stuck2_k ON stuck2 USING gist (k);
INSERT INTO stuck2 SELECT repeat('c', 1480) || lpad(g::text, 4, '0') FROM generate_series(1, 200) g;
DELETE FROM stuck2 WHERE substr(k, 1481)::int % 7 > 0;
VACUUM stuck2;
INSERT INTO stuck2 SELECT 'e' || g || noise('e' || g, 1500) FROM generate_series(0, 5) g;
INSERT INTO stuck2 SELECT repeat('a', 1480) || '0001';
INSERT INTO stuck2 SELECT 'f' || g || noise('f' || g, 1200) FROM generate_series(1, 3) g;
SELECT split_in_vain('stuck2');
VACUUM stuck2;
CHECKPOINT;
INSERT INTO stuck2 SELECT repeat('a', 1480) || '0001';
SELECT expect_no_split_left('stuck2_k');

-- Built over rows: sorted, buffered, and one by one; split afterwards.
CREATE TABLE built AS SELECT g AS id, point(g * 7919 % 10007, g * 104729 % 9973) AS p FROM generate_series(1, 5000) g;
CREATE INDEX built_sorted ON built USING gist (p) WITH (fillfactor = 70);
CREATE INDEX built_buffered ON built USING gist (p) WITH (buffering = on, fillfactor = 90);
CREATE INDEX built_plain ON built USING gist (box(p, p)) WITH (buffering = off);
INSERT INTO built SELECT g, point(g % 100, g % 90) FROM generate_series(1, 150) g;

-- Several columns, NULLs, an exclusion constraint, and the other operator classes.
CREATE TABLE rooms (room int, during int4range, EXCLUDE USING gist (room WITH =, during WITH &&));
INSERT INTO rooms SELECT g % 20, int4range(g, g + 20) FROM generate_series(1, 300) g;
CREATE TABLE many (id int, n numeric, at timestamptz, words tsvector, ints int[], t text, c cube, path ltree, net inet);
CREATE INDEX many_n ON many USING gist (n, at);
CREATE INDEX many_words ON many USING gist (words);
CREATE INDEX many_ints ON many USING gist (ints gist__int_ops);
CREATE INDEX many_big ON many USING gist (ints gist__intbig_ops);
CREATE INDEX many_trgm ON many USING gist (t gist_trgm_ops) WHERE id % 2 = 0;
CREATE INDEX many_rest ON many USING gist (c, path, net inet_ops);
INSERT INTO many SELECT g, CASE WHEN g % 9 > 0 THEN g * 37 % 101 END, '2020-01-01'::timestamptz + g * interval '1 hour',
    to_tsvector('simple', noise('n' || g, 60) || ' word' || g % 20), ARRAY[g % 50, g * 7 % 300, g * 13 % 900], noise('p' || g % 40, 30),
    cube(ARRAY[g % 10, g % 17], ARRAY[g % 10 + 3, g % 17 + 2]), ('a.b' || g % 10 || '.c' || g % 100)::ltree,
    ('10.' || g % 5 || '.' || g % 250 || '.0/24')::inet
  FROM generate_series(1, 300) g;
UPDATE many SET n = NULL, t = t || 'x' WHERE id % 5 = 0;
DELETE FROM many WHERE id % 4 = 0;
VACUUM many;

-- No log of their own, but for the init fork.
CREATE UNLOGGED TABLE unlogged (p point);
CREATE INDEX ON unlogged USING gist (p);
INSERT INTO unlogged SELECT point(g, g) FROM generate_series(1, 300) g;
CREATE TEMP TABLE own (p point);
CREATE INDEX ON own USING gist (p);
INSERT INTO own SELECT point(g, g) FROM generate_series(1, 300) g;

-- Under wal_level = minimal an index that its own transaction made is logged at commit only; until then its pages get LSNs of their own.
BEGIN;
CREATE TABLE fresh (p point);
CREATE INDEX ON fresh USING gist (p);
INSERT INTO fresh SELECT point(g * 31 % 101, g * 17 % 103) FROM generate_series(1, 400) g;
COMMIT;

-- Several sessions in one tree, vacuumed meanwhile.
CREATE TABLE crowd (k int, p point);
CREATE INDEX crowd_p ON crowd USING gist (p);
CREATE INDEX crowd_k ON crowd USING gist (k);
CREATE PROCEDURE insert_and_delete(session int) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. 8 LOOP
    INSERT INTO gi.crowd SELECT g % 50, point(g * 7919 % 1009, (g + session) * 104729 % 997) FROM generate_series(i * 40, i * 40 + 39) g;
    DELETE FROM gi.crowd WHERE k = i * 3 + session;
    COMMIT;
  END LOOP;
END
$$;
SELECT dblink_connect(name, format('host=%s port=%s dbname=%s user=%s', split_part(current_setting('unix_socket_directories'), ',', 1),
    current_setting('port'), current_database(), current_user)) FROM unnest(ARRAY['one', 'two', 'three']) name;
SELECT dblink_send_query(name, format('CALL gi.insert_and_delete(%s)', n)) FROM unnest(ARRAY['one', 'two', 'three']) WITH ORDINALITY AS s (name, n);
VACUUM crowd;
CHECKPOINT;
VACUUM crowd;
SELECT result FROM unnest(ARRAY['one', 'two', 'three']) name, LATERAL dblink_get_result(name) AS r (result text);
SELECT dblink_disconnect(name) FROM unnest(ARRAY['one', 'two', 'three']) name;
VACUUM crowd;
