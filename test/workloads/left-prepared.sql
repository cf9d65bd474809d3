-- Prepared transactions that stay prepared, one of them a member of multixacts. To be run last: they hold back every later VACUUM of the
-- cluster. Plain SQL for an empty database; needs dblink.
-- Settings: max_prepared_transactions = 10

CREATE EXTENSION IF NOT EXISTS dblink SCHEMA public;
CREATE SCHEMA lp;
SET search_path = lp, public;
CREATE TABLE t (id int PRIMARY KEY, v text);
INSERT INTO t SELECT g, 'x' FROM generate_series(1, 30) g;
SELECT dblink_connect('other', format('host=%s port=%s dbname=%s user=%s options=-csearch_path=lp',
  split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database(), current_user));
SELECT dblink_exec('other', 'BEGIN');
SELECT v FROM dblink('other', 'SELECT v FROM t WHERE id BETWEEN 10 AND 12 FOR SHARE') AS t(v text);
BEGIN;
SELECT v FROM t WHERE id BETWEEN 10 AND 14 FOR SHARE;
INSERT INTO t VALUES (1000, 'prepared');
PREPARE TRANSACTION 'a member';
SELECT dblink_exec('other', 'COMMIT');
BEGIN;
CREATE TABLE made (id int PRIMARY KEY);
DROP TABLE IF EXISTS nothing;
SAVEPOINT a;
INSERT INTO made VALUES (1);
PREPARE TRANSACTION 'with files and a subtransaction';
SELECT dblink_disconnect('other');
CHECKPOINT;
