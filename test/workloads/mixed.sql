-- Changes of four sessions to one table, all at the same time, with VACUUM in between: what no script thinks of. Lost races and deadlocks
-- are part of it, so no two runs are the same. Plain SQL for an empty database; needs dblink.

CREATE EXTENSION IF NOT EXISTS dblink SCHEMA public;
CREATE SCHEMA m;
SET search_path = m, public;

CREATE TABLE mixed (id int PRIMARY KEY, k int, t text) WITH (fillfactor = 80);
CREATE INDEX ON mixed (k);
INSERT INTO mixed SELECT g, g % 10, 'start' FROM generate_series(1, 500) g;

CREATE PROCEDURE work(session bigint, rounds int) LANGUAGE plpgsql AS $$
DECLARE
  row_id int;
BEGIN
  FOR i IN 1 .. rounds LOOP
    row_id := 1 + (i * 7919 + session * 104729) % 700;
    BEGIN
      CASE i % 5
        WHEN 0 THEN UPDATE mixed SET t = t || i WHERE id = row_id;
        WHEN 1 THEN UPDATE mixed SET k = k + 1 WHERE id BETWEEN row_id AND row_id + 3;
        WHEN 2 THEN DELETE FROM mixed WHERE id = row_id;
        WHEN 3 THEN
          INSERT INTO mixed VALUES (row_id, i % 10, repeat('n', i % 200)) ON CONFLICT (id) DO UPDATE SET k = i;
        ELSE
          -- The same rows for all sessions, held long enough for the others to come.
          IF i % 2 = 0 THEN
            PERFORM FROM mixed WHERE id BETWEEN 100 AND 110 FOR KEY SHARE;
          ELSE
            PERFORM FROM mixed WHERE id BETWEEN 105 AND 115 FOR SHARE;
          END IF;
          PERFORM pg_sleep(0.001);
      END CASE;
    EXCEPTION WHEN deadlock_detected THEN
      NULL;
    END;
    IF i % 9 = 0 THEN
      ROLLBACK;
    ELSIF i % 3 > 0 THEN
      COMMIT; -- Else the locks stay a while, and the next change meets those of others.
    END IF;
  END LOOP;
END
$$;
SELECT dblink_connect(s, format('host=%s port=%s dbname=%s user=%s options=''-csearch_path=m -cdeadlock_timeout=10ms''',
    split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database(), current_user))
  FROM unnest(ARRAY['m1', 'm2', 'm3', 'm4']) s;
SELECT dblink_send_query(s, format('CALL work(%s, 250)', n)) FROM unnest(ARRAY['m1', 'm2', 'm3', 'm4']) WITH ORDINALITY AS t(s, n);
VACUUM mixed;
SELECT pg_sleep(0.02);
VACUUM (FREEZE) mixed;
SELECT pg_sleep(0.02);
VACUUM mixed;
SELECT count(*) FROM mixed;
VACUUM (FREEZE) mixed;
SELECT s, r FROM unnest(ARRAY['m1', 'm2', 'm3', 'm4']) s, dblink_get_result(s) AS t(r text);
SELECT dblink_disconnect(s) FROM unnest(ARRAY['m1', 'm2', 'm3', 'm4']) s;
VACUUM (FREEZE) mixed;
