-- Every kind of change to SP-GiST pages. Plain SQL for an empty database; several sessions by dblink.

CREATE EXTENSION IF NOT EXISTS dblink SCHEMA public;
CREATE SCHEMA sp;
SET search_path = sp, public;

-- A root that is a leaf: VACUUM deletes from it, from the tree of nulls as well. Then both roots are split.
CREATE TABLE small (id int, p point, note text);
CREATE INDEX small_p ON small USING spgist (p) INCLUDE (note);
INSERT INTO small SELECT g, point(g, g) FROM generate_series(1, 40) g;
INSERT INTO small SELECT g, NULL FROM generate_series(41, 60) g;
DELETE FROM small WHERE id < 15 OR id > 55;
VACUUM small;
CHECKPOINT;
DELETE FROM small WHERE id = 20 OR id = 50;
VACUUM small;
INSERT INTO small SELECT g, NULL FROM generate_series(100, 1700) g;
INSERT INTO small SELECT g, point(g % 37, g % 91) FROM generate_series(2000, 2600) g;
DELETE FROM small WHERE id % 3 = 0;
VACUUM small;
INSERT INTO small SELECT g, NULL, repeat('n', 180 + g % 30) FROM generate_series(3000, 3400) g;
VACUUM small;

-- A radix tree of texts. Long common prefixes that later texts leave: inner tuples are split, in their page or to another one.
CREATE TABLE words (id serial, t text);
CREATE INDEX words_t ON words USING spgist (t);
INSERT INTO words (t) SELECT 'f' || repeat('o', 100) || g FROM generate_series(1, 600) g;
INSERT INTO words (t) SELECT 'b' || repeat('a', 14) || g FROM generate_series(1, 200) g;
CHECKPOINT;
INSERT INTO words (t) SELECT 'f' || repeat('o', 100 - g) || 'surprise' FROM generate_series(1, 99) g;
INSERT INTO words (t) SELECT chr(97 + g % 26) || chr(97 + g / 26 % 26) || md5(g::text) FROM generate_series(1, 1000) g;
DELETE FROM words WHERE id % 3 > 0;
CHECKPOINT;
VACUUM words;
CHECKPOINT;
INSERT INTO words (t) SELECT 'f' || repeat('o', g % 100) || g FROM generate_series(1, 500) g;

-- Inner tuples that get one node after the other until they no longer fit where they are, and move.
CREATE TABLE wide (a int, b int, t text);
CREATE INDEX wide_t ON wide USING spgist (t);
ALTER TABLE wide ALTER t SET STORAGE PLAIN;
INSERT INTO wide SELECT g % 12, g / 12, chr(65 + g % 12) || chr(33 + g / 12) || repeat(chr(65 + g % 12), 640) FROM generate_series(0, 1100) g;

-- A chain that is all dead keeps a tuple for its downlink. The next text takes its place there, or elsewhere once its page is full.
DELETE FROM wide WHERE b % 2 = 0;
VACUUM wide;
CHECKPOINT;
INSERT INTO wide SELECT g % 12, g / 12 * 2, chr(65 + g % 12) || chr(33 + g / 12 * 2) || repeat(chr(65 + g % 12), 400) || g FROM generate_series(0, 100) g;
INSERT INTO wide SELECT g % 12, g / 12 * 2 + 1, chr(65 + g % 12) || chr(34 + g / 12 * 2) || repeat(chr(65 + g % 12), 640) || g FROM generate_series(0, 500) g;
INSERT INTO wide SELECT g % 12, g / 12 * 2, chr(65 + g % 12) || chr(33 + g / 12 * 2) || repeat(chr(65 + g % 12), 700) || g FROM generate_series(0, 500) g;

-- Texts longer than a page, into an empty index and into a full one: split again and again until the rest fits.
CREATE TABLE long (id int, t text);
CREATE INDEX long_t ON long USING spgist (t);
INSERT INTO long SELECT g, repeat(chr(96 + g), 9000 * g) FROM generate_series(4, 1, -1) g;
INSERT INTO long SELECT g, repeat('long', 10 * g) || md5(g::text) FROM generate_series(5, 250) g;
INSERT INTO long SELECT g, repeat('long', 2500) || g FROM generate_series(251, 254) g;
INSERT INTO long SELECT g, chr(48 + g % 20) || repeat(chr(48 + g % 20), 3000 + g) FROM generate_series(300, 379) g;
INSERT INTO long VALUES (400, '~' || repeat('x', 5000));
CHECKPOINT;
INSERT INTO long VALUES (401, '~' || repeat('y', 5000));
DELETE FROM long WHERE id > 200 OR id % 2 = 0;
VACUUM long;
INSERT INTO long SELECT g, repeat('long', 10 * g) || md5(g::text) FROM generate_series(5, 250) g;

-- Every other operator class, built and then changed; included columns, some of them null.
CREATE TABLE shapes (id int, p point, k point, r int4range, i inet, b box, y polygon, note text);
CREATE INDEX shapes_p ON shapes USING spgist (p quad_point_ops) INCLUDE (id, note);
CREATE INDEX shapes_k ON shapes USING spgist (k kd_point_ops);
CREATE INDEX shapes_r ON shapes USING spgist (r) WITH (fillfactor = 50);
CREATE INDEX shapes_i ON shapes USING spgist (i);
CREATE INDEX shapes_b ON shapes USING spgist (b);
CREATE INDEX shapes_y ON shapes USING spgist (y);
INSERT INTO shapes SELECT g, point(g * 7919 % 1009, g * 104729 % 1013), point(g % 100, g / 100), int4range(g * 31 % 500, g * 31 % 500 + g % 60), ('10.' || g % 5 || '.' || g * 37 % 256 || '.' || g % 256)::inet, box(point(g % 50, g % 41), point(g % 50 + g % 9, g % 41 + 3)), polygon(box(point(g % 40, g % 31), point(g % 40 + 2, g % 31 + 3))), CASE WHEN g % 3 = 0 THEN NULL ELSE 'n' || g END FROM generate_series(1, 600) g;
DELETE FROM shapes WHERE id % 5 < 2;
VACUUM shapes;
INSERT INTO shapes SELECT g, point(g, g), point(g, g), int4range(g, NULL), ('fe80::' || g)::inet, box(point(g, g), point(g, g)), NULL, NULL FROM generate_series(1000, 1250) g;
REINDEX INDEX shapes_k;
DELETE FROM shapes WHERE id % 2 = 0;
VACUUM shapes;

-- Pages that VACUUM emptied are used again; some only to find that an inner tuple may not go there.
CREATE TABLE again (i inet);
CREATE INDEX again_i ON again USING spgist (i) WITH (fillfactor = 10);
INSERT INTO again SELECT ('10.' || g % 5 || '.' || g * 37 % 256 || '.' || g % 256)::inet FROM generate_series(1, 2400) g;
VACUUM again;
INSERT INTO again VALUES ('200.1.1.1');

CREATE UNLOGGED TABLE unlogged (p point);
CREATE INDEX unlogged_p ON unlogged USING spgist (p);
INSERT INTO unlogged SELECT point(g, g) FROM generate_series(1, 500) g;

-- Three sessions insert into the same tree while this one vacuums it.
CREATE TABLE busy (id int, t text);
CREATE INDEX busy_t ON busy USING spgist (t);
CREATE FUNCTION here() RETURNS text LANGUAGE sql AS $$
  SELECT format('host=%s port=%s dbname=%s user=%s', split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database(), current_user)
$$;
SELECT dblink_connect('s' || n, here()) FROM generate_series(1, 3) n;
SELECT dblink_send_query('s' || n, format('DO $do$ BEGIN FOR i IN 1 .. 7 LOOP INSERT INTO sp.busy SELECT g, chr(97 + g %% 7) || repeat(chr(97 + g %% 5), g %% 60) || md5((%s * g)::text) FROM generate_series(i * 100, i * 100 + 99) g; COMMIT; END LOOP; END $do$', n)) FROM generate_series(1, 3) n;
DELETE FROM busy WHERE id % 2 = 0;
VACUUM busy;
DELETE FROM busy WHERE id % 3 = 0;
VACUUM busy;
SELECT r FROM generate_series(1, 3) n, dblink_get_result('s' || n) AS t(r text);
CHECKPOINT;
DELETE FROM busy WHERE id % 5 = 0;
VACUUM busy;

-- Redirects without a transaction id: REINDEX CONCURRENTLY adds the rows that came while it built the index, and has none. It waits on a lock
-- in the expression of the index until they have come.
CREATE TABLE late (id int, t text);
CREATE FUNCTION waiting(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF t = 'wait' AND current_setting('application_name') = 'builder' THEN
    PERFORM pg_advisory_xact_lock_shared(4711);
  END IF;
  RETURN t;
END
$$;
INSERT INTO late VALUES (0, 'wait');
INSERT INTO late SELECT g, md5(g::text) || repeat('late', g % 50) FROM generate_series(1, 700) g;
CREATE INDEX late_t ON late USING spgist (sp.waiting(t));
SELECT pg_advisory_lock(4711);
SELECT dblink_connect('builder', here() || ' application_name=builder');
SELECT dblink_send_query('builder', 'REINDEX INDEX CONCURRENTLY sp.late_t');
DO $$
BEGIN
  FOR i IN 1 .. 12000 LOOP
    EXIT WHEN EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'builder' AND wait_event = 'advisory');
    PERFORM pg_sleep(0.005), pg_stat_clear_snapshot();
  END LOOP;
END
$$;
INSERT INTO late SELECT g, md5(g::text) || repeat('late', g % 50) FROM generate_series(701, 1500) g;
SELECT pg_advisory_unlock(4711);
DO $$
BEGIN
  FOR i IN 1 .. 12000 LOOP
    EXIT WHEN dblink_is_busy('builder') = 0;
    PERFORM pg_sleep(0.005);
    COMMIT;
  END LOOP;
END
$$;
SELECT * FROM dblink_get_result('builder') AS t(r text);
VACUUM late;
SELECT dblink_disconnect(c) FROM unnest(dblink_get_connections()) c;
