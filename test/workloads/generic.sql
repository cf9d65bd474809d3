-- Generic WAL: bloom indexes, the only access method of contrib that is built on it. Plain SQL for an empty database.

CREATE EXTENSION bloom;
CREATE SCHEMA g;
SET search_path = g, public;

-- Built on rows that are there: whole pages are logged. A page takes some 500 signatures of this length.
CREATE TABLE b (id int, a int, c text, d int) WITH (autovacuum_enabled = off);
INSERT INTO b SELECT i, i % 97, md5(i::text), i % 13 FROM generate_series(1, 1600) i;
CREATE INDEX b_bloom ON b USING bloom (a, c, d) WITH (length = 80, col1 = 2, col2 = 3, col3 = 1);

-- One by one: the tuple's page, and the metapage with it when that page is full.
INSERT INTO b SELECT i, i % 97, md5(i::text), i % 13 FROM generate_series(1601, 2400) i;
UPDATE b SET d = d + 100 WHERE id % 20 = 0;

-- Vacuum closes the gaps of each page and lists pages with room in the metapage, which inserts then work off.
DELETE FROM b WHERE id % 3 = 0;
VACUUM b;
INSERT INTO b SELECT i, i % 97, md5(i::text), i % 13 FROM generate_series(2401, 3200) i;
CHECKPOINT;

-- Pages without any tuple are deleted, then used again.
DELETE FROM b WHERE id BETWEEN 1 AND 2000;
VACUUM b;
INSERT INTO b SELECT i, i % 97, md5(i::text), i % 13 FROM generate_series(3201, 4000) i;
DELETE FROM b;
VACUUM b;
INSERT INTO b SELECT i, i % 97, md5(i::text), i % 13 FROM generate_series(4001, 5200) i;
REINDEX INDEX b_bloom;
INSERT INTO b SELECT i, i % 97, md5(i::text), i % 13 FROM generate_series(5201, 5300) i;

-- Rolled back: the index keeps its tuples until the next vacuum.
BEGIN;
INSERT INTO b SELECT i, 1, 'rolled back', 1 FROM generate_series(1, 300) i;
ROLLBACK;
VACUUM b;

-- Signatures of the smallest and the largest length, an index on no rows, an expression with a predicate.
CREATE TABLE ends (id int, t text);
CREATE INDEX ends_small ON ends USING bloom (id) WITH (length = 1, col1 = 1);
CREATE INDEX ends_large ON ends USING bloom (id, t) WITH (length = 4096, col1 = 100, col2 = 4000);
CREATE INDEX ends_part ON ends USING bloom ((lower(t))) WHERE id % 2 = 0;
INSERT INTO ends SELECT i, 'Text ' || i FROM generate_series(1, 400) i;
CHECKPOINT;
INSERT INTO ends SELECT i, 'Text ' || i FROM generate_series(401, 500) i;
DELETE FROM ends WHERE id BETWEEN 100 AND 350;
VACUUM ends;
INSERT INTO ends SELECT i, NULL FROM generate_series(501, 700) i;

-- An index whose table becomes logged. Before that PostgreSQL logs nothing of it, not even its init fork.
CREATE UNLOGGED TABLE u (id int, t text);
CREATE INDEX u_bloom ON u USING bloom (id, t);
INSERT INTO u SELECT i, 'u' FROM generate_series(1, 2000) i;
ALTER TABLE u SET LOGGED;
DELETE FROM u WHERE id < 1000;
VACUUM u;
TRUNCATE ends;
INSERT INTO ends VALUES (1, 'after truncate');
