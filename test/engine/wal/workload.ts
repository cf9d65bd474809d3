/** SQL that makes a real PostgreSQL write as many kinds of WAL records as possible in a few seconds. */
import type { PlainPostgres } from '../../helpers/plain-postgres.js';

export const WORKLOAD_SETTINGS = {
  wal_level: 'logical',
  max_prepared_transactions: '10',
  track_commit_timestamp: 'on',
  timezone: 'UTC',
  autovacuum: 'off',
  shared_buffers: '16MB',
  allow_in_place_tablespaces: 'on',
};

const DDL_AND_HEAP = [
  `CREATE TABLE acc (id int PRIMARY KEY, v text, n int) WITH (fillfactor = 80)`,
  `INSERT INTO acc SELECT g, repeat('v', g % 90), 0 FROM generate_series(1, 3000) g`,
  `CHECKPOINT`,
  `UPDATE acc SET n = n + 1 WHERE id % 3 = 0`,
  `UPDATE acc SET v = v || 'longer than it was before' WHERE id % 5 = 0`,
  `DELETE FROM acc WHERE id % 7 = 0`,
  `SELECT * FROM acc WHERE id < 20 FOR UPDATE`,
  `VACUUM (FREEZE) acc`,
  `COPY acc TO '/dev/null'`,
  `CREATE TABLE big AS SELECT g AS id, string_agg(md5((g * i)::text), '') AS t FROM generate_series(1, 40) g, generate_series(1, 300) i GROUP BY g`,
  `CREATE INDEX ON big (id)`,
  `UPDATE big SET t = t || 'x' WHERE id % 2 = 0`,
  `INSERT INTO acc VALUES (1000000, 'spec', 0) ON CONFLICT (id) DO UPDATE SET n = acc.n + 1`,
  `INSERT INTO acc VALUES (1000000, 'spec', 0) ON CONFLICT (id) DO UPDATE SET n = acc.n + 1`,
  `CREATE TABLE part (k int, t text) PARTITION BY RANGE (k)`,
  `CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (100)`,
  `CREATE TABLE part2 PARTITION OF part FOR VALUES FROM (100) TO (200)`,
  `INSERT INTO part SELECT g, 'p' FROM generate_series(0, 199) g`,
  `UPDATE part SET k = k + 100 WHERE k < 50`,
  `CREATE SEQUENCE s`,
  `SELECT nextval('s') FROM generate_series(1, 100)`,
  `CREATE VIEW v AS SELECT * FROM acc`,
  `ALTER TABLE acc ADD COLUMN extra int DEFAULT 7`,
  `TRUNCATE big`,
  `CREATE UNLOGGED TABLE ul (id int PRIMARY KEY)`,
  `INSERT INTO ul VALUES (1)`,
  `SET allow_in_place_tablespaces = on`,
  `CREATE TABLESPACE ts LOCATION ''`,
  `CREATE TABLE tst (id int) TABLESPACE ts`,
  `INSERT INTO tst VALUES (1)`,
  `DROP TABLE tst`,
  `DROP TABLESPACE ts`,
  `SELECT pg_logical_emit_message(true, 'pre', 'hello'), pg_logical_emit_message(false, 'p2', 'x')`,
  `SELECT pg_replication_origin_create('o1')`,
  `SELECT pg_replication_origin_advance('o1', '0/123')`,
  `SELECT pg_replication_origin_drop('o1')`,
  `SELECT pg_create_restore_point('here')`,
  `VACUUM FULL acc`,
  `CLUSTER acc USING acc_pkey`,
  `REINDEX TABLE acc`,
];

const INDEXES = [
  `CREATE TABLE ix (id int, a int[], p point, r int4range, t text, d date)`,
  `CREATE INDEX ix_gin ON ix USING gin (a) WITH (gin_pending_list_limit = 64)`,
  `CREATE INDEX ix_gin2 ON ix USING gin (a) WITH (fastupdate = off)`,
  `CREATE INDEX ix_gist ON ix USING gist (r)`,
  `CREATE INDEX ix_spg ON ix USING spgist (p)`,
  `CREATE INDEX ix_spgt ON ix USING spgist (t)`,
  `CREATE INDEX ix_hash ON ix USING hash (id)`,
  `CREATE INDEX ix_brin ON ix USING brin (d) WITH (pages_per_range = 1, autosummarize = off)`,
  `CREATE INDEX ix_btree ON ix (t)`,
  `INSERT INTO ix SELECT g, ARRAY[g % 9, g % 50, g], point(g % 71, g % 53), int4range(g, g + g % 40), 'text' || (g % 97), date '2020-01-01' + g / 10 FROM generate_series(1, 2500) g`,
  `SELECT brin_summarize_new_values('ix_brin')`,
  `UPDATE ix SET d = d + 4000, a = a || 3 WHERE id % 4 = 0`,
  `DELETE FROM ix WHERE id % 3 = 0 OR id BETWEEN 500 AND 1500`,
  `VACUUM ix`,
  `SELECT brin_desummarize_range('ix_brin', 0)`,
  `INSERT INTO ix SELECT g, ARRAY[g % 9], point(g, g), int4range(g, g + 4), 'again' || (g % 3), date '2024-01-01' FROM generate_series(1, 1200) g`,
  `DELETE FROM ix`,
  `VACUUM ix`,
  `INSERT INTO ix SELECT g, ARRAY[g % 2], point(g, 1), int4range(g, g + 4), 'end', date '2024-01-01' FROM generate_series(1, 300) g`,
  `CREATE TABLE bt (k int, pad text)`,
  `CREATE INDEX bt_k ON bt (k)`,
  `INSERT INTO bt SELECT g % 20, 'x' FROM generate_series(1, 3000) g`,
  `INSERT INTO bt SELECT g, 'y' FROM generate_series(1, 12000) g`,
  `DELETE FROM bt WHERE k BETWEEN 30 AND 9000 OR (k < 20 AND ctid::text LIKE '%5)')`,
  `VACUUM bt`,
  `INSERT INTO bt SELECT g, 'z' FROM generate_series(1, 3000) g`,
  `VACUUM bt`,
  `INSERT INTO bt SELECT g, 'z' FROM generate_series(1, 3000) g`,
];

async function run(pg: PlainPostgres, statements: readonly string[]): Promise<void> {
  const client = await pg.client();
  try {
    for (const sql of statements) await client.query(sql);
  } finally {
    await client.end();
  }
}

async function subtransactions(pg: PlainPostgres): Promise<void> {
  const nested = (depth: number): string =>
    Array.from(
      { length: depth },
      (_, i) => `SAVEPOINT s${i}; INSERT INTO acc VALUES (${2000000 + i}, 's', 0)`,
    ).join(';\n');
  await run(pg, [
    `BEGIN; ${nested(70)}; ROLLBACK TO s60; RELEASE s10; COMMIT`,
    `DELETE FROM acc WHERE id >= 2000000`,
    `BEGIN; CREATE TABLE gone (id int); INSERT INTO gone VALUES (1); ROLLBACK`,
    `BEGIN; CREATE TABLE prep (id int); SAVEPOINT a; INSERT INTO prep VALUES (1); DROP TABLE part2; PREPARE TRANSACTION 'the gid'`,
    `BEGIN; UPDATE acc SET n = 5 WHERE id = 5; PREPARE TRANSACTION 'to abort'`,
    `COMMIT PREPARED 'the gid'`,
    `ROLLBACK PREPARED 'to abort'`,
  ]);
}

/** Two sessions hold the same row, so that a multixact is made; a third kind of lock follows an update. */
async function multixacts(pg: PlainPostgres): Promise<void> {
  const a = await pg.client();
  const b = await pg.client();
  try {
    await a.query(`BEGIN; SELECT * FROM acc WHERE id = 10 FOR KEY SHARE`);
    await b.query(`BEGIN; SELECT * FROM acc WHERE id = 10 FOR KEY SHARE`);
    await b.query(`UPDATE acc SET n = 99 WHERE id = 10`);
    await a.query(`SELECT * FROM acc WHERE id = 11 FOR SHARE`);
    await b.query(`SELECT * FROM acc WHERE id = 11 FOR SHARE`);
    await b.query(`COMMIT`);
    await a.query(`SELECT * FROM acc WHERE id = 10 FOR KEY SHARE`);
    await a.query(`COMMIT`);
  } finally {
    await a.end();
    await b.end();
  }
}

/** Runs everything; `compressions` are wal_compression values to take turns with. */
export async function runWorkload(pg: PlainPostgres, compressions: readonly string[]): Promise<void> {
  await run(pg, DDL_AND_HEAP);
  await subtransactions(pg);
  await multixacts(pg);
  for (const [i, method] of compressions.entries()) {
    await run(pg, [
      `SET wal_compression = ${method}`,
      `CHECKPOINT`,
      `UPDATE acc SET n = n + 1 WHERE id % 40 = ${i}`,
      `SET wal_consistency_checking = 'all'`,
      `UPDATE acc SET v = 'checked' WHERE id % 50 = ${i}`,
      `CREATE INDEX ON acc (n, id)`,
    ]);
  }
  await run(pg, [
    `CREATE DATABASE d1 STRATEGY file_copy`,
    `CREATE DATABASE d2 STRATEGY wal_log`,
    `SELECT pg_switch_wal()`,
    `DROP DATABASE d1`,
  ]);
  await run(pg, INDEXES);
  await run(pg, [
    `VACUUM`,
    `CHECKPOINT`,
    `SELECT pg_logical_emit_message(true, 'long', repeat('L', 100000))`,
  ]);
}
