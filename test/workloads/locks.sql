-- Row locks and updates of several sessions at once: multixacts, locks that follow a row to its later versions, lost speculative
-- insertions, freezing under running transactions. Plain SQL for an empty database; needs dblink.

CREATE EXTENSION IF NOT EXISTS dblink SCHEMA public;
CREATE SCHEMA l;
SET search_path = l, public;

-- Sessions beside this one; statements in them are commands, or queries of one text column.
CREATE FUNCTION open_session(name text) RETURNS text LANGUAGE sql AS $$
  SELECT dblink_connect(name, format('host=%s port=%s dbname=%s user=%s options=-csearch_path=l,public',
    split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database(), current_user))
$$;
CREATE FUNCTION lock_rows(session text, first int, last int, strength text) RETURNS text LANGUAGE sql AS $$
  SELECT n FROM dblink(session, format('SELECT count(*)::text FROM (SELECT FROM locked WHERE id BETWEEN %s AND %s FOR %s) q', first, last, strength)) AS t(n text)
$$;
SELECT open_session('a'), open_session('b'), open_session('c'), open_session('d');

CREATE TABLE locked (id int PRIMARY KEY, v int, pad text);
INSERT INTO locked SELECT g, 0, repeat('l', 60) FROM generate_series(1, 300) g;
VACUUM (FREEZE) locked;

-- Every strength of lock, by one session.
SELECT dblink_exec('a', 'BEGIN');
SELECT lock_rows('a', 1, 9, 'KEY SHARE'), lock_rows('a', 10, 19, 'SHARE'), lock_rows('a', 20, 29, 'NO KEY UPDATE'), lock_rows('a', 30, 39, 'UPDATE');
SELECT dblink_exec('a', 'COMMIT');

-- Several lockers of a row: multixacts that grow by a member.
SELECT dblink_exec(s, 'BEGIN') FROM unnest(ARRAY['a', 'b', 'c']) s;
SELECT lock_rows('a', 1, 40, 'SHARE'), lock_rows('b', 1, 40, 'SHARE'), lock_rows('c', 1, 20, 'KEY SHARE');
SELECT dblink_exec(s, 'COMMIT') FROM unnest(ARRAY['a', 'b', 'c']) s;

-- An update in progress does not stop FOR KEY SHARE, which must then lock the newer versions too.
SELECT dblink_exec(s, 'BEGIN') FROM unnest(ARRAY['a', 'b', 'c']) s;
SELECT dblink_exec('a', 'UPDATE locked SET v = v + 1 WHERE id BETWEEN 50 AND 70');
SELECT dblink_exec('a', 'UPDATE locked SET v = v + 1 WHERE id BETWEEN 55 AND 60');
SELECT lock_rows('b', 50, 70, 'KEY SHARE'), lock_rows('c', 52, 65, 'KEY SHARE');
SELECT dblink_exec(s, 'COMMIT') FROM unnest(ARRAY['a', 'c', 'b']) s;

-- An update of rows that others hold a key-share lock on: the new version inherits a multixact.
SELECT dblink_exec(s, 'BEGIN') FROM unnest(ARRAY['a', 'b']) s;
SELECT lock_rows('a', 100, 120, 'KEY SHARE');
SELECT dblink_exec('b', 'UPDATE locked SET v = v + 1, pad = pad || ''x'' WHERE id BETWEEN 90 AND 130');
SELECT dblink_exec('b', 'COMMIT');
SELECT dblink_exec('a', 'ROLLBACK');

-- Freezing with an old transaction around. A multixact of locker a and updater b becomes b's xid; of a, b and a locker still running, a
-- smaller multixact; of lockers only, the one still running or nothing.
SELECT dblink_exec(s, 'BEGIN') FROM unnest(ARRAY['a', 'b', 'c', 'd']) s;
SELECT lock_rows('a', 140, 160, 'KEY SHARE');
SELECT n FROM dblink('c', 'SELECT pg_current_xact_id()::text') AS t(n text);
SELECT dblink_exec('b', 'UPDATE locked SET v = v + 1 WHERE id BETWEEN 150 AND 160');
SELECT lock_rows('d', 155, 160, 'KEY SHARE');
SELECT dblink_exec(s, 'COMMIT') FROM unnest(ARRAY['b', 'a']) s;
VACUUM (FREEZE) locked;
SELECT dblink_exec(s, 'COMMIT') FROM unnest(ARRAY['c', 'd']) s;
VACUUM (FREEZE) locked;
SELECT dblink_exec(s, 'BEGIN') FROM unnest(ARRAY['a', 'b']) s;
SELECT lock_rows('a', 170, 190, 'KEY SHARE'), lock_rows('b', 170, 190, 'SHARE');
SELECT dblink_exec('a', 'COMMIT');
VACUUM (FREEZE) locked;
SELECT dblink_exec('b', 'ROLLBACK');
VACUUM (FREEZE) locked;

-- A speculative insertion that loses. Two sessions insert the same keys and meet inside an index expression, which waits for an
-- advisory lock: after both have found no conflict, before either has its entry in the unique index. Indexes are filled in the order
-- of their OIDs.
CREATE FUNCTION gate(k int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  PERFORM pg_advisory_lock_shared(7), pg_advisory_unlock_shared(7);
  RETURN k;
END
$$;
CREATE TABLE race (k int, who text);
CREATE INDEX race_gate ON race (gate(k));
CREATE UNIQUE INDEX race_k ON race (k);
SELECT pg_advisory_lock(7);
SELECT dblink_send_query(s, format('INSERT INTO race SELECT g, %L FROM generate_series(1, 5) g ON CONFLICT (k) DO UPDATE SET who = ''second''', s))
  FROM unnest(ARRAY['a', 'b']) s;
DO $$
BEGIN
  WHILE (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted) < 2 LOOP
    PERFORM pg_sleep(0.002);
  END LOOP;
END
$$;
SELECT pg_advisory_unlock(7);
SELECT s, r FROM unnest(ARRAY['a', 'b']) s, dblink_get_result(s) AS t(r text);
SELECT s, r FROM unnest(ARRAY['a', 'b']) s, dblink_get_result(s) AS t(r text);

-- A page made ready for a row that never came: the insertion fails as part of a serialisation anomaly. VACUUM logs an image of it.
CREATE TABLE first_page (id int);
CREATE TABLE other_page (id int);
SELECT dblink_exec(s, 'BEGIN ISOLATION LEVEL SERIALIZABLE') FROM unnest(ARRAY['a', 'b']) s;
SELECT n FROM dblink('a', 'SELECT count(*)::text FROM other_page') AS t(n text);
SELECT n FROM dblink('b', 'SELECT count(*)::text FROM first_page') AS t(n text);
SELECT dblink_exec('b', 'INSERT INTO other_page VALUES (1)');
SELECT dblink_exec('b', 'COMMIT');
SELECT dblink_exec('a', 'INSERT INTO first_page VALUES (1)', false);
SELECT dblink_exec('a', 'ROLLBACK');
SELECT pg_relation_size('first_page');
VACUUM first_page;
INSERT INTO first_page VALUES (2);

SELECT dblink_disconnect(s) FROM unnest(ARRAY['a', 'b', 'c', 'd']) s;
