-- A table of more blocks than one page of its visibility map covers (32,672; 255 MB on disk), cut there and grown again. Plain SQL for an
-- empty database.

CREATE SCHEMA sl;
SET search_path = sl;
CREATE EXTENSION IF NOT EXISTS pg_visibility SCHEMA public;

-- One row a page: a second one would leave less than nine tenths of it free.
CREATE TABLE large (id int, pad text STORAGE PLAIN) WITH (fillfactor = 10, autovacuum_enabled = off);
INSERT INTO large SELECT g, repeat('l', 450) FROM generate_series(1, 33800) g;
SELECT pg_relation_size('large') / 8192;
VACUUM (FREEZE) large;
UPDATE large SET id = -id WHERE id IN (1, 32000, 32671, 32672, 32673, 32990);
SELECT count(*) FROM (SELECT FROM large WHERE id IN (2, 32674, 32800) FOR UPDATE) q;
DELETE FROM large WHERE id IN (3, 32675, 32900);
VACUUM large;

-- Cut within the map's second page, then within its first, then grown again. VACUUM does not cut off less than 1000 blocks.
DELETE FROM large WHERE abs(id) > 32700;
VACUUM (TRUNCATE) large;
DELETE FROM large WHERE abs(id) > 31500;
VACUUM (TRUNCATE) large;
SELECT pg_relation_size('large') / 8192, pg_relation_size('large', 'vm') / 8192, pg_relation_size('large', 'fsm') / 8192;
INSERT INTO large SELECT g, repeat('m', 450) FROM generate_series(40001, 41000) g;
VACUUM (FREEZE) large;
SELECT * FROM public.pg_visibility_map_summary('large');
