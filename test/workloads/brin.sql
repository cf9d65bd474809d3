-- BRIN: summaries made and widened, ranges forgotten, a range map that grows. Plain SQL for an empty database.

CREATE EXTENSION dblink;
CREATE SCHEMA r;
SET search_path = r, public;

-- One row a page, 3000 pages, one page a range: the range map takes three pages, and the tuples that lie where its second and third
-- page must go have to move.
CREATE TABLE wide (id int, t text, pad char(800)) WITH (fillfactor = 10, autovacuum_enabled = off);
INSERT INTO wide SELECT i, 'a' || i, '' FROM generate_series(1, 1500) i;
CREATE INDEX wide_id ON wide USING brin (id) WITH (pages_per_range = 1, autosummarize = off);
CREATE INDEX wide_t ON wide USING brin (t) WITH (pages_per_range = 2, autosummarize = off);
CHECKPOINT;
INSERT INTO wide SELECT i, 'a' || i, '' FROM generate_series(1501, 3000) i;
SELECT brin_summarize_new_values('wide_id');
SELECT brin_summarize_new_values('wide_t');
SELECT brin_desummarize_range('wide_id', n) FROM generate_series(0, 2999, 100) n;
SELECT brin_desummarize_range('wide_t', n) FROM generate_series(0, 2999, 100) n;
SELECT brin_summarize_range('wide_id', n) FROM generate_series(0, 2900, 200) n;
SELECT brin_desummarize_range('wide_id', 1000000);
VACUUM wide;

-- An update of a row that stays on its page widens the summary: in place while it fits, then on another page.
UPDATE wide SET id = -id WHERE id % 50 = 0;
UPDATE wide SET t = repeat('z', 40) || id WHERE id BETWEEN 1 AND 400;
CHECKPOINT;
UPDATE wide SET t = repeat('zz', 100) || id WHERE id BETWEEN 300 AND 900;
UPDATE wide SET t = repeat('Z', 600) || id WHERE id BETWEEN 1 AND 500 AND id % 3 = 0;

-- Summaries that shrink leave room on early pages, which vacuum finds for summaries that grow.
UPDATE wide SET t = 'b' || id WHERE id BETWEEN 1 AND 900;
SELECT brin_desummarize_range('wide_t', n) FROM generate_series(0, 898, 2) n;
VACUUM wide;
UPDATE wide SET t = repeat('y', 100) || id WHERE id BETWEEN 2700 AND 3000;

-- Every operator class family: minmax, multi-range minmax, bloom, inclusion; several columns, nulls, expressions, predicates.
CREATE TABLE kinds (i int, v bigint, s text, n inet, b box, p int4range, ts timestamptz, u uuid) WITH (autovacuum_enabled = off);
INSERT INTO kinds SELECT g, g * 7919 % 10007, md5(g::text), ('10.' || g % 250 || '.' || g % 7 || '.0/24')::inet, box(point(g, g), point(g + 5, g + 9)), int4range(g, g + 10), '2024-01-01'::timestamptz + g * interval '1 min', md5(g::text)::uuid FROM generate_series(1, 3000) g;
CREATE INDEX kinds_minmax ON kinds USING brin (i, ts, s) WITH (pages_per_range = 2);
CREATE INDEX kinds_multi ON kinds USING brin (v int8_minmax_multi_ops, u uuid_minmax_multi_ops) WITH (pages_per_range = 4);
CREATE INDEX kinds_bloom ON kinds USING brin (v int8_bloom_ops, s text_bloom_ops (n_distinct_per_range = 100)) WITH (pages_per_range = 8);
CREATE INDEX kinds_incl ON kinds USING brin (n inet_inclusion_ops, b box_inclusion_ops, p range_inclusion_ops) WITH (pages_per_range = 1);
CREATE INDEX kinds_expr ON kinds USING brin ((v % 100), (lower(s))) WITH (pages_per_range = 2);
CREATE INDEX kinds_part ON kinds USING brin (v) WHERE i > 1500;
INSERT INTO kinds SELECT g, g * 7919 % 20011, md5(g::text), ('10.' || g % 250 || '.' || g % 7 || '.0/24')::inet, box(point(-g, g), point(g + 5, g + 9)), int4range(-g, g + 10), '2024-01-01'::timestamptz + g * interval '1 min', md5(g::text)::uuid FROM generate_series(3001, 4000) g;
INSERT INTO kinds (i) SELECT g FROM generate_series(4001, 4200) g;
UPDATE kinds SET v = -v, n = NULL, p = 'empty', u = md5(v::text)::uuid WHERE i % 40 = 0;
CHECKPOINT;
VACUUM kinds;
UPDATE kinds SET v = v * 1000003, n = 'fe80::1'::inet, b = box(point(-1e6, -1e6), point(1e6, 1e6)) WHERE i % 25 = 1;
UPDATE kinds SET s = repeat(md5(i::text), 8) WHERE i % 30 = 1;
DELETE FROM kinds WHERE i BETWEEN 500 AND 2500;
VACUUM kinds;
SELECT brin_desummarize_range('kinds_minmax', 10);
SELECT brin_summarize_range('kinds_minmax', 10);
SELECT brin_desummarize_range('kinds_multi', n) FROM generate_series(0, 40, 4) n;
SELECT brin_desummarize_range('kinds_bloom', n) FROM generate_series(0, 40, 8) n;
SELECT brin_summarize_new_values('kinds_multi');
SELECT brin_summarize_new_values('kinds_bloom');
INSERT INTO kinds SELECT * FROM kinds WHERE i > 3900;
REINDEX INDEX kinds_multi;
INSERT INTO kinds SELECT * FROM kinds WHERE i < 100;

-- A build by parallel workers.
SET min_parallel_table_scan_size = 0;
SET max_parallel_maintenance_workers = 2;
CREATE INDEX wide_parallel ON wide USING brin (id, t) WITH (pages_per_range = 16);

-- An insert into a range whose summary is being made: it widens the placeholder, and the summary is merged with that.
CREATE TABLE race (id int, v int);
CREATE FUNCTION gate(v int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF current_setting('application_name') = 'summariser' THEN
    PERFORM pg_advisory_lock_shared(7), pg_advisory_unlock_shared(7);
  END IF;
  RETURN v;
END $$;
INSERT INTO race SELECT g, g FROM generate_series(1, 100) g;
CREATE INDEX race_gate ON race USING brin (r.gate(v)) WITH (pages_per_range = 1);
SELECT brin_desummarize_range('race_gate', 0);
SELECT pg_advisory_lock(7);
SELECT dblink_connect('s', format('host=%s port=%s dbname=%s user=%s application_name=summariser', split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database(), current_user));
SELECT dblink_send_query('s', 'SELECT brin_summarize_range(''r.race_gate'', 0)');
DO $$
BEGIN
  WHILE NOT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted) LOOP
    PERFORM pg_sleep(0.005);
  END LOOP;
END $$;
INSERT INTO race SELECT g, -g FROM generate_series(101, 105) g;
SELECT pg_advisory_unlock(7);
SELECT * FROM dblink_get_result('s') AS (ranges int);
SELECT dblink_disconnect('s');

-- The init fork of an unlogged table's index, and what becomes of it; an index on no rows; an end in the middle of a range.
CREATE UNLOGGED TABLE u (id int, t text);
CREATE INDEX u_brin ON u USING brin (id) WITH (pages_per_range = 1);
INSERT INTO u SELECT g, 'u' FROM generate_series(1, 2000) g;
SELECT brin_summarize_new_values('u_brin');
ALTER TABLE u SET LOGGED;
INSERT INTO u SELECT -g, 'u' FROM generate_series(1, 2000) g;
DELETE FROM u WHERE id < 0;
VACUUM u;
TRUNCATE race;
INSERT INTO race VALUES (1, 1);
