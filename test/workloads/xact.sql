-- Ends of transactions in every form, prepared transactions, subtransactions, replication origins, messages. Plain SQL for an empty
-- database.
-- Settings: wal_level = logical, max_prepared_transactions = 10, track_commit_timestamp = on

CREATE SCHEMA x;
SET search_path = x;
CREATE TABLE t (id int PRIMARY KEY, v text);
INSERT INTO t SELECT g, 'x' FROM generate_series(1, 300) g;

-- Commits: asynchronous, asking standbys for feedback, forced to be synchronous, with files to drop, with and without subtransactions.
SET synchronous_commit = off;
UPDATE t SET v = 'async' WHERE id = 1;
SET synchronous_commit = remote_apply;
UPDATE t SET v = 'feedback' WHERE id = 1;
RESET synchronous_commit;
CREATE TABLE gone (id int PRIMARY KEY, t text);
BEGIN;
SAVEPOINT a;
UPDATE t SET v = 'a' WHERE id = 2;
SAVEPOINT b;
DROP TABLE gone;
RELEASE b;
COMMIT;

-- Rollbacks: of a transaction, with files to drop; of subtransactions within it; of a subtransaction with files to drop.
BEGIN;
CREATE TABLE never (id int PRIMARY KEY, t text);
SAVEPOINT a;
INSERT INTO never VALUES (1, 'n');
SAVEPOINT b;
INSERT INTO never VALUES (2, 'n');
RELEASE b;
LOCK t;
ROLLBACK;
BEGIN;
UPDATE t SET v = 'outer' WHERE id = 3;
SAVEPOINT a;
CREATE TABLE never (id int PRIMARY KEY);
SAVEPOINT b;
INSERT INTO never VALUES (1);
ROLLBACK TO a;
UPDATE t SET v = 'again' WHERE id = 3;
COMMIT;

-- Over 64 subtransactions, one within the other: their parents are logged before the commit. Part of them rolled back.
DO $$
BEGIN
  FOR i IN 1 .. 100 LOOP
    BEGIN
      UPDATE t SET v = 'sub' WHERE id = i;
      IF i % 3 = 0 THEN
        RAISE EXCEPTION 'back';
      END IF;
    EXCEPTION WHEN raise_exception THEN
      NULL;
    END;
  END LOOP;
END
$$;
CREATE FUNCTION nest(depth int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE t SET v = 'deep' WHERE id = depth;
  IF depth > 0 THEN
    PERFORM nest(depth - 1);
  END IF;
EXCEPTION WHEN division_by_zero THEN
  RAISE;
END
$$;
SELECT nest(150);
BEGIN;
SELECT nest(70);
ROLLBACK;

-- Many transactions: their statuses and commit times go on to further pages.
CREATE PROCEDURE burn(n int) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. n LOOP
    PERFORM pg_current_xact_id();
    IF i % 5 = 0 THEN
      ROLLBACK;
    ELSE
      COMMIT;
    END IF;
  END LOOP;
END
$$;
SET synchronous_commit = off;
CALL burn(3000);
DO $$
BEGIN
  FOR i IN 1 .. 33000 LOOP
    BEGIN
      PERFORM pg_logical_emit_message(true, '', ''); -- The cheapest thing that needs a transaction id.
    EXCEPTION WHEN division_by_zero THEN
      RAISE;
    END;
  END LOOP;
END
$$;
RESET synchronous_commit;

-- Prepared transactions: with files to make and to drop, subtransactions, notices to caches; committed, rolled back, or left prepared.
CREATE TABLE old_1 (id int);
CREATE TABLE old_2 (id int);
BEGIN;
CREATE TABLE made_1 (id int PRIMARY KEY);
DROP TABLE old_1;
SAVEPOINT a;
INSERT INTO made_1 VALUES (1);
PREPARE TRANSACTION 'with everything';
COMMIT PREPARED 'with everything';
BEGIN;
CREATE TABLE made_2 (id int PRIMARY KEY);
DROP TABLE old_2;
SAVEPOINT a;
INSERT INTO made_2 VALUES (1);
PREPARE TRANSACTION 'in vain';
ROLLBACK PREPARED 'in vain';
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT count(*) FROM t;
UPDATE t SET v = 'serializable' WHERE id = 5;
PREPARE TRANSACTION 'with predicate locks';
COMMIT PREPARED 'with predicate locks';

-- Changes replayed from another server: origins in commits and rollbacks, prepared and not, and progress set by hand.
SELECT pg_replication_origin_create(name) FROM unnest(ARRAY['o1', 'o2', 'o3']) name;
SELECT pg_replication_origin_session_setup('o1');
BEGIN;
SELECT pg_replication_origin_xact_setup('0/AAAA', '2020-02-02 00:00:00+00');
UPDATE t SET v = 'from o1' WHERE id = 20;
COMMIT;
BEGIN;
SELECT pg_replication_origin_xact_setup('0/BBBB', '2020-02-02 00:00:01+00');
UPDATE t SET v = 'from o1' WHERE id = 21;
ROLLBACK;
BEGIN;
SELECT pg_replication_origin_xact_setup('0/CCCC', '2020-02-02 00:00:02+00');
UPDATE t SET v = 'from o1' WHERE id = 22;
PREPARE TRANSACTION 'from o1';
SELECT pg_replication_origin_xact_setup('0/DDDD', '2020-02-02 00:00:03+00');
COMMIT PREPARED 'from o1';
BEGIN;
UPDATE t SET v = 'from o1' WHERE id = 23;
PREPARE TRANSACTION 'from o1 in vain';
SELECT pg_replication_origin_xact_setup('0/EEEE', '2020-02-02 00:00:04+00');
ROLLBACK PREPARED 'from o1 in vain';
SELECT pg_replication_origin_session_reset();
SELECT pg_replication_origin_advance('o2', '1/12345678');
SELECT pg_replication_origin_advance('o2', '1/2345678');
SELECT pg_replication_origin_advance('o3', '0/77');
SELECT pg_replication_origin_drop('o3');

-- Messages for logical decoding, long ones too.
SELECT pg_logical_emit_message(true, 'in a transaction', 'text'), pg_logical_emit_message(false, 'at once', 'text');
SELECT pg_logical_emit_message(false, 'long', repeat('0123456789', 30000));

-- Rows with what subscribers need of their old versions.
CREATE TABLE whole (id int, v text);
ALTER TABLE whole REPLICA IDENTITY FULL;
INSERT INTO whole SELECT g, repeat('w', 20) FROM generate_series(1, 100) g;
UPDATE whole SET v = 'new' WHERE id % 3 = 0;
UPDATE whole SET id = -id WHERE id % 4 = 0;
DELETE FROM whole WHERE id % 5 = 0;
UPDATE t SET id = id + 5000 WHERE id BETWEEN 30 AND 40;
DELETE FROM t WHERE id BETWEEN 50 AND 60;
TRUNCATE whole RESTART IDENTITY CASCADE;
