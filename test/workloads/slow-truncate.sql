-- Over a million transactions and some 70,000 multixacts, then all databases frozen, so that whole files of transaction statuses
-- (1,048,576 transactions each), multixact offsets (65,536) and members (52,352) go. To be run without prepared transactions. Plain SQL
-- for an empty database; needs dblink and superuser.

CREATE EXTENSION IF NOT EXISTS dblink SCHEMA public;
CREATE SCHEMA st;
SET search_path = st, public;
SET wal_consistency_checking = '';

-- A transaction with a million subtransactions, and its commit record.
DO $$
BEGIN
  FOR i IN 1 .. 1050000 LOOP
    BEGIN
      PERFORM pg_logical_emit_message(true, '', ''); -- The cheapest thing that needs a transaction id.
    EXCEPTION WHEN raise_exception THEN
      NULL;
    END;
  END LOOP;
END
$$;

CREATE TABLE t (id int PRIMARY KEY);
INSERT INTO t VALUES (1);
DO $$
BEGIN
  PERFORM FROM t WHERE id = 1 FOR KEY SHARE;
  FOR i IN 1 .. 70000 LOOP
    BEGIN
      PERFORM FROM t WHERE id = 1 FOR UPDATE;
      RAISE EXCEPTION 'back';
    EXCEPTION WHEN raise_exception THEN
      NULL;
    END;
  END LOOP;
END
$$;
RESET wal_consistency_checking;

ALTER DATABASE template0 ALLOW_CONNECTIONS true;
SELECT datname, dblink_exec(format('host=%s port=%s dbname=%s user=%s', split_part(current_setting('unix_socket_directories'), ',', 1),
    current_setting('port'), datname, current_user), 'VACUUM (FREEZE)')
  FROM pg_database ORDER BY datallowconn DESC, oid;
ALTER DATABASE template0 ALLOW_CONNECTIONS false;
UPDATE t SET id = 2;
