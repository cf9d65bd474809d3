-- All databases frozen, so that what is known of older transactions goes: commit times of 26208 transactions a file, multixacts. To be
-- run after others that use up ids (xact.sql, multixact.sql) and without prepared transactions. Plain SQL; needs dblink and superuser.
-- Settings: track_commit_timestamp = on

CREATE EXTENSION IF NOT EXISTS dblink SCHEMA public;
SET search_path = public;
ALTER DATABASE template0 ALLOW_CONNECTIONS true;
SELECT datname, dblink_exec(format('host=%s port=%s dbname=%s user=%s', split_part(current_setting('unix_socket_directories'), ',', 1),
    current_setting('port'), datname, current_user), 'VACUUM (FREEZE)')
  FROM pg_database ORDER BY datallowconn DESC, oid;
ALTER DATABASE template0 ALLOW_CONNECTIONS false;
