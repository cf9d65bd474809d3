-- What only a server that serves logical decoding, or logs hint bits, writes. Plain SQL for an empty database.
-- Settings: wal_level = logical, wal_log_hints = on

CREATE SCHEMA hi;
SET search_path = hi, public;

-- A catalog rewritten under a logical slot: the new positions of its rows are logged for decoding.
SELECT pg_create_logical_replication_slot('slot', 'pgoutput');
CREATE TABLE catalog_like (id int PRIMARY KEY, v int) WITH (user_catalog_table = true);
INSERT INTO catalog_like SELECT g, 0 FROM generate_series(1, 50) g;
UPDATE catalog_like SET v = 1;
VACUUM FULL catalog_like;
SELECT pg_drop_replication_slot('slot');

-- Hints set by reading, on pages of a table, an index, a visibility map and a free space map; each once a checkpoint.
CREATE TABLE hinted (id int, pad text) WITH (autovacuum_enabled = off);
CREATE INDEX hinted_id ON hinted (id);
INSERT INTO hinted SELECT g, 'h' FROM generate_series(1, 1000) g;
DELETE FROM hinted WHERE id % 4 = 0;
CHECKPOINT;
SELECT count(*) FROM hinted;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT count(pad) FROM hinted WHERE id BETWEEN 300 AND 600;
SELECT count(pad) FROM hinted WHERE id BETWEEN 300 AND 600;
RESET enable_seqscan;
RESET enable_bitmapscan;
VACUUM hinted;
CHECKPOINT;
DELETE FROM hinted WHERE id > 100;
VACUUM (TRUNCATE) hinted;

-- Without full_page_writes, the record of a hint carries no image.
CREATE TABLE unhinted (id int) WITH (autovacuum_enabled = off);
INSERT INTO unhinted SELECT generate_series(1, 1000);
ALTER SYSTEM SET full_page_writes = off;
SELECT pg_reload_conf();
DO $$
BEGIN
  -- The checkpointer makes the change, and its checkpoint tells that it has (unless the setting comes from the command line).
  FOR i IN 1 .. 50 LOOP
    CHECKPOINT;
    EXIT WHEN NOT (SELECT full_page_writes FROM pg_control_checkpoint());
  END LOOP;
END
$$;
SELECT count(*) FROM unhinted;
UPDATE hinted SET pad = 'without' WHERE id < 20;
ALTER SYSTEM RESET full_page_writes;
SELECT pg_reload_conf();
DO $$
BEGIN
  FOR i IN 1 .. 50 LOOP
    CHECKPOINT;
    EXIT WHEN (SELECT full_page_writes FROM pg_control_checkpoint());
  END LOOP;
END
$$;
UPDATE hinted SET pad = 'with' WHERE id < 40;

-- An image of a page with the record that locks a row of it, and of a visibility map's with the one that sets its bits.
CREATE TABLE imaged (id int) WITH (autovacuum_enabled = off);
INSERT INTO imaged SELECT generate_series(1, 500);
VACUUM (FREEZE) imaged;
CHECKPOINT;
SELECT count(*) FROM (SELECT FROM imaged WHERE id > 490 FOR UPDATE) locked;
UPDATE imaged SET id = -id WHERE id = 10;
SELECT count(*) FROM imaged;
CHECKPOINT;
VACUUM imaged;
