/**
 * A workload that makes PostgreSQL write every B-tree record type, in the forms that take different paths through redo. Indexes are created
 * on empty tables after the log position that the replay starts from, so every page's history is in the log.
 */
import type { PlainPostgres } from '../../helpers/plain-postgres.js';

const WIDE = `repeat('w', 1850) || lpad(i::text, 8, '0')`;

/** Statements run one by one, each in a transaction of its own. */
const STATEMENTS: string[] = [
  // Wide keys with a common prefix: three tuples per page at every level, so a few hundred rows make a deep tree.
  `CREATE TABLE wide (i int, t text)`,
  `ALTER TABLE wide ALTER t SET STORAGE PLAIN`,
  `CREATE INDEX wide_t ON wide (t)`,
  `INSERT INTO wide SELECT i, ${WIDE} FROM generate_series(1, 150) i`, // rightmost splits
  `INSERT INTO wide SELECT i, ${WIDE} FROM generate_series(700, 151, -3) i`, // leftmost splits
  // Whole subtrees go, with their internal pages; the next vacuum may recycle them.
  `DELETE FROM wide WHERE i BETWEEN 20 AND 140 OR i BETWEEN 300 AND 640`,
  `VACUUM (INDEX_CLEANUP ON) wide`,
  `SELECT txid_current()`,
  `VACUUM (INDEX_CLEANUP ON) wide`,
  `INSERT INTO wide SELECT i, ${WIDE} FROM generate_series(200, 500, 7) i`, // splits onto recycled pages
  // All but one row go: the tree keeps its height, the fast root sinks; then it grows from there.
  `DELETE FROM wide WHERE i <> 690`,
  `SELECT txid_current()`,
  `VACUUM (INDEX_CLEANUP ON) wide`,
  `SELECT txid_current()`,
  `VACUUM (INDEX_CLEANUP ON) wide`,
  `INSERT INTO wide SELECT i, ${WIDE} FROM generate_series(1, 400, 9) i`,

  // Duplicates: deduplication, then tids in the middle of posting lists once vacuum has freed heap space.
  `CREATE TABLE dup (k int, filler text)`,
  `CREATE INDEX dup_k ON dup (k)`,
  `INSERT INTO dup SELECT i % 7, 'x' FROM generate_series(1, 6000) i`,
  `DELETE FROM dup WHERE ctid::text LIKE '%3)' OR ctid::text LIKE '%7)'`,
  `VACUUM (INDEX_CLEANUP ON) dup`,
  `INSERT INTO dup SELECT (i * 5) % 7, 'y' FROM generate_series(1, 4000) i`,
  `DELETE FROM dup WHERE ctid::text LIKE '%4)' AND k IN (2, 3)`,
  `VACUUM (INDEX_CLEANUP ON) dup`,
  `INSERT INTO dup SELECT 2 + i % 2, 'z' FROM generate_series(1, 1500) i`,
  `CREATE TABLE names (n text, p int)`,
  `CREATE INDEX names_n ON names (n)`,
  `INSERT INTO names SELECT md5((i % 40)::text), i FROM generate_series(1, 2500) i`,
  `DELETE FROM names WHERE p % 3 = 1`,
  `VACUUM (INDEX_CLEANUP ON) names`,
  `INSERT INTO names SELECT md5((i % 40)::text) || CASE WHEN i % 50 = 0 THEN 'long' ELSE '' END, i FROM generate_series(1, 2500) i`,
  // Posting lists without further deduplication: pages then split while a tid goes into one of their lists.
  `DELETE FROM names WHERE p % 2 = 0`,
  `VACUUM (INDEX_CLEANUP ON) names`,
  `ALTER INDEX names_n SET (deduplicate_items = off)`,
  `INSERT INTO names SELECT md5((i * 7 % 40)::text), i FROM generate_series(1, 2500) i`,
  // One value, few posting lists per page: a list may end the left half, and the tuple with its last tid begin the right one.
  `CREATE TABLE fat (t text)`,
  `ALTER TABLE fat ALTER t SET STORAGE PLAIN`,
  `CREATE INDEX fat_t ON fat (t)`,
  `INSERT INTO fat SELECT repeat('f', 800) FROM generate_series(1, 800) i`,
  `DELETE FROM fat WHERE ctid::text LIKE '%,2)' OR ctid::text LIKE '%,4)'`,
  `VACUUM (INDEX_CLEANUP ON) fat`,
  `ALTER INDEX fat_t SET (deduplicate_items = off)`,
  `INSERT INTO fat SELECT repeat('f', 800) FROM generate_series(1, 180) i`,
  // One tid of one list: a vacuum with nothing but an update.
  `DELETE FROM dup WHERE ctid = (SELECT ctid FROM dup WHERE k = 6 ORDER BY ctid LIMIT 1 OFFSET 200)`,
  `VACUUM (INDEX_CLEANUP ON) dup`,

  // Random insertion order: tuples lie on the page in another order than their line pointers.
  `CREATE TABLE rnd (a int, b uuid)`,
  `CREATE UNIQUE INDEX rnd_b ON rnd (b) WITH (fillfactor = 60)`,
  `INSERT INTO rnd SELECT i, md5(i::text)::uuid FROM generate_series(1, 3000) i`,
  `DELETE FROM rnd WHERE a % 5 < 2`,
  `VACUUM (INDEX_CLEANUP ON) rnd`,
  `INSERT INTO rnd SELECT i, md5(i::text)::uuid FROM generate_series(3001, 4000) i`,

  // Dead marks set by an index scan, deleted when a page would split.
  `CREATE TABLE queue (k int, pad text)`,
  `CREATE INDEX queue_k ON queue (k) WITH (deduplicate_items = off)`,
  `INSERT INTO queue SELECT i, 'q' FROM generate_series(1, 800) i`,
  `DELETE FROM queue WHERE k BETWEEN 1 AND 700 AND k % 3 > 0`,
  `SET enable_seqscan = off`,
  `SET enable_bitmapscan = off`,
  `SELECT count(*) FROM queue WHERE k > 0`,
  `SELECT count(*) FROM queue WHERE k > 0`,
  `INSERT INTO queue SELECT i * 2, 'r' FROM generate_series(1, 500) i`,

  `CREATE TABLE single (k int)`,
  `CREATE UNIQUE INDEX single_k ON single (k)`,
  `INSERT INTO single SELECT i FROM generate_series(2, 720, 2) i`,
  `DELETE FROM single WHERE k = 100`,
  `SELECT count(*) FROM single WHERE k = 100`,
  `SELECT count(*) FROM single WHERE k = 100`,
  `INSERT INTO single SELECT i FROM generate_series(1, 719, 2) i`,

  // Many versions of the same rows: bottom-up deletion, which also takes tids out of posting lists.
  `CREATE TABLE churn (id int PRIMARY KEY, k int, v int)`,
  `CREATE INDEX churn_k ON churn (k)`,
  `CREATE INDEX churn_v ON churn (v)`,
  `INSERT INTO churn SELECT i, i % 3, i FROM generate_series(1, 300) i`,
  ...Array.from({ length: 14 }, (_, i) => `UPDATE churn SET v = v + 1 WHERE id % 2 = ${i % 2}`),
  `INSERT INTO churn SELECT i, 1, i FROM generate_series(1000, 1400) i`,
  ...Array.from({ length: 6 }, () => `UPDATE churn SET v = v + 1 WHERE id > 1000`),
  `VACUUM (INDEX_CLEANUP ON) churn`,
];

/** Returns the relation file numbers of all indexes that the workload filled, with their names. */
export async function runBtreeWorkload(pg: PlainPostgres): Promise<Map<number, string>> {
  const client = await pg.client();
  try {
    for (const text of STATEMENTS) await client.query(text);
    const { rows } = await client.query<{ name: string; file: string }>(
      `SELECT c.relname AS name, pg_relation_filenode(c.oid)::text AS file
         FROM pg_class c JOIN pg_index x ON x.indexrelid = c.oid WHERE c.relnamespace = 'public'::regnamespace`,
    );
    return new Map(rows.map((r) => [Number(r.file), r.name]));
  } finally {
    await client.end();
  }
}
