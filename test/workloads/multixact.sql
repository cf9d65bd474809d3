-- Multixacts over several pages of offsets (2048 a page) and members (1636 a page), all by one session: a subtransaction locks more
-- strongly what its parent has locked. Plain SQL for an empty database.

CREATE SCHEMA mx;
SET search_path = mx;
CREATE TABLE t (id int PRIMARY KEY);
INSERT INTO t SELECT generate_series(1, 3);

-- Three members each: the transaction, a subtransaction that stays, and one that is rolled back. So some lie on two pages of members.
DO $$
BEGIN
  PERFORM FROM t WHERE id = 1 FOR KEY SHARE;
  BEGIN
    PERFORM FROM t WHERE id = 1 FOR SHARE;
  EXCEPTION WHEN raise_exception THEN
    NULL;
  END;
  FOR i IN 1 .. 4500 LOOP
    BEGIN
      PERFORM FROM t WHERE id = 1 FOR UPDATE;
      RAISE EXCEPTION 'back';
    EXCEPTION WHEN raise_exception THEN
      NULL;
    END;
  END LOOP;
END
$$;

-- Updates by a subtransaction of what its parent has locked.
DO $$
BEGIN
  PERFORM FROM t WHERE id = 3 FOR KEY SHARE;
  FOR i IN 1 .. 5 LOOP
    BEGIN
      UPDATE t SET id = 3 WHERE id = 3;
    EXCEPTION WHEN raise_exception THEN
      NULL;
    END;
  END LOOP;
END
$$;
SELECT count(*) FROM t;
UPDATE t SET id = id + 10;
