/** Runs the SQL files of test/workloads, and what takes several sessions at once. */
import { promises as fs } from 'node:fs';
import type pg from 'pg';
import type { PlainPostgres } from './plain-postgres.js';

const FOLDER = new URL('../workloads/', import.meta.url);

/** Statement by statement, as psql -f does: VACUUM and CREATE DATABASE refuse to run inside a longer string. */
export async function runSqlFile(client: pg.Client, name: string): Promise<void> {
  const text = await fs.readFile(new URL(name, FOLDER), 'utf8');
  let statement = '';
  for (const line of text.split('\n')) {
    if (/^\s*(--|$)/.test(line)) continue;
    statement += `${line}\n`;
    const inBody = statement.split('$$').length % 2 === 0;
    if (inBody || !line.trimEnd().endsWith(';')) continue;
    await client.query(statement).catch((err: Error) => {
      throw new Error(`${name}: ${err.message}\n${statement}`);
    });
    statement = '';
  }
}

/** Row locks of several sessions: multixacts, and locks that follow a row to the versions that an open transaction made. */
export async function runLocks(server: PlainPostgres): Promise<void> {
  const [a, b, c] = await Promise.all([server.client(), server.client(), server.client()]);
  await a.query('CREATE TABLE locked (id int PRIMARY KEY, v int, pad text)');
  await a.query("INSERT INTO locked SELECT g, 0, repeat('l', 60) FROM generate_series(1, 200) g");
  await Promise.all([a, b, c].map((s) => s.query('BEGIN')));
  await a.query('SELECT * FROM locked WHERE id <= 40 FOR SHARE');
  await b.query('SELECT * FROM locked WHERE id <= 40 FOR SHARE');
  await c.query('SELECT * FROM locked WHERE id <= 20 FOR KEY SHARE');
  await Promise.all([a, b, c].map((s) => s.query('COMMIT')));

  // An update in progress does not stop FOR KEY SHARE, which must then lock the newer versions too.
  await Promise.all([a, b, c].map((s) => s.query('BEGIN')));
  await a.query('UPDATE locked SET v = v + 1 WHERE id BETWEEN 50 AND 70');
  await a.query('UPDATE locked SET v = v + 1 WHERE id BETWEEN 55 AND 60');
  await b.query('SELECT * FROM locked WHERE id BETWEEN 50 AND 70 FOR KEY SHARE');
  await c.query('SELECT * FROM locked WHERE id BETWEEN 52 AND 65 FOR KEY SHARE');
  await a.query('COMMIT');
  await c.query('COMMIT');
  await b.query('COMMIT');

  // An update of a row that others hold a key-share lock on: the new version inherits a multixact.
  await Promise.all([a, b].map((s) => s.query('BEGIN')));
  await a.query('SELECT * FROM locked WHERE id BETWEEN 100 AND 120 FOR KEY SHARE');
  await b.query("UPDATE locked SET v = v + 1, pad = pad || 'x' WHERE id BETWEEN 90 AND 130");
  await b.query('COMMIT');
  await a.query('ROLLBACK');
  await a.query('VACUUM (FREEZE) locked');
  await a.query('VACUUM locked');
  await Promise.all([a, b, c].map((s) => s.end()));
}

/**
 * A speculative insertion that loses. Two sessions insert the same key and meet inside the index expression, which waits for
 * an advisory lock: after both have found no conflict, before either has its index entry.
 */
export async function runLostSpeculation(server: PlainPostgres): Promise<void> {
  const [control, a, b] = await Promise.all([server.client(), server.client(), server.client()]);
  await control.query(`CREATE FUNCTION gate(k int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
    BEGIN
      PERFORM pg_advisory_lock_shared(7), pg_advisory_unlock_shared(7);
      RETURN k;
    END $$`);
  await control.query('CREATE TABLE race (k int, who text)');
  await control.query('CREATE UNIQUE INDEX race_k ON race (k)');
  await control.query('CREATE INDEX race_gate ON race (gate(k))');
  // Indexes are filled in order of their OIDs; the gate must come before the one that finds the conflict.
  await control.query('DROP INDEX race_k');
  await control.query('CREATE UNIQUE INDEX race_k ON race (k)');
  await control.query('SELECT pg_advisory_lock(7)');
  const insert =
    "INSERT INTO race SELECT g, $1 FROM generate_series(1, 5) g ON CONFLICT (k) DO UPDATE SET who = 'second'";
  const both = Promise.all([a.query(insert, ['a']), b.query(insert, ['b'])]);
  for (;;) {
    const waiting = await control.query("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory'");
    if (waiting.rowCount === 2) break;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await control.query('SELECT pg_advisory_unlock(7)');
  await both;
  await Promise.all([control, a, b].map((s) => s.end()));
}

/** Random changes by several sessions at once: what no script thinks of. Deadlocks and lost races are part of it. */
export async function runMixed(server: PlainPostgres, sessions: number, rounds: number): Promise<void> {
  const setup = await server.client();
  await setup.query('CREATE TABLE mixed (id int PRIMARY KEY, k int, t text) WITH (fillfactor = 80)');
  await setup.query('CREATE INDEX ON mixed (k)');
  await setup.query("INSERT INTO mixed SELECT g, g % 10, 'start' FROM generate_series(1, 500) g");
  const work = Array.from({ length: sessions }, async (_, session) => {
    const client = await server.client();
    for (let i = 0; i < rounds; i++) {
      const id = 1 + ((i * 7919 + session * 104729) % 700);
      const statement = [
        `UPDATE mixed SET t = t || '${i}' WHERE id = ${id}`,
        `UPDATE mixed SET k = k + 1 WHERE id BETWEEN ${id} AND ${id + 3}`,
        `DELETE FROM mixed WHERE id = ${id}`,
        `INSERT INTO mixed VALUES (${id}, ${i % 10}, repeat('n', ${i % 200})) ON CONFLICT (id) DO UPDATE SET k = ${i}`,
        `SELECT * FROM mixed WHERE id BETWEEN ${id} AND ${id + 5} FOR ${i % 2 ? 'KEY SHARE' : 'SHARE'}`,
      ][i % 5]!;
      await client
        .query(`BEGIN; ${statement}; ${i % 9 === 0 ? 'ROLLBACK' : 'COMMIT'}`)
        .catch(async (err: { code?: string }) => {
          if (err.code !== '40P01') throw err;
          await client.query('ROLLBACK');
        });
      if (i % 50 === 49) await client.query(i % 100 === 99 ? 'VACUUM (FREEZE) mixed' : 'VACUUM mixed');
    }
    await client.end();
  });
  await Promise.all(work);
  await setup.end();
}

/**
 * What only a server that logs hint bits or serves logical decoding writes: a catalog rewritten under a logical slot (its row
 * positions are logged for decoding), and hint records without an image once full_page_writes is off.
 */
export async function runHintedUpdates(server: PlainPostgres): Promise<void> {
  const client = await server.client();
  await client.query("SELECT pg_create_logical_replication_slot('slot', 'pgoutput')");
  await client.query(
    'CREATE TABLE catalog_like (id int PRIMARY KEY, v int) WITH (user_catalog_table = true)',
  );
  await client.query('INSERT INTO catalog_like SELECT g, 0 FROM generate_series(1, 50) g');
  await client.query('UPDATE catalog_like SET v = 1');
  await client.query('VACUUM FULL catalog_like');
  await client.query("SELECT pg_drop_replication_slot('slot')");

  await client.query('CREATE TABLE hinted (id int) WITH (autovacuum_enabled = off)');
  await client.query('INSERT INTO hinted SELECT generate_series(1, 1000)');
  await client.query('ALTER SYSTEM SET full_page_writes = off');
  await client.query('SELECT pg_reload_conf()');
  // The checkpointer makes the change, and its checkpoint tells that it has.
  for (let on = true; on;) {
    await client.query('CHECKPOINT');
    on = (
      (await client.query('SELECT full_page_writes FROM pg_control_checkpoint()')).rows[0] as {
        full_page_writes: boolean;
      }
    ).full_page_writes;
  }
  await client.query('SELECT count(*) FROM hinted');
  await client.end();
}
