/**
 * Changes of indexes that take several records, interrupted by a crash between two of them: what is left half done is finished by whoever
 * comes next. No SQL alone can do that.
 */
import assert from 'node:assert/strict';
import { recordTypeName } from '../../src/engine/redo/index.js';
import type { WalRecord } from '../../src/engine/wal/types.js';
import type { PlainPostgres } from './plain-postgres.js';
import { crashBehind, insertLsn } from './redo-steps.js';

export interface Interruption {
  readonly name: string;
  readonly prepare: string;
  /** The crash lets its log reach the disk up to the nth record of `type`, on that level where it matters (B-tree splits). */
  readonly change: string;
  readonly last: { readonly n: number; readonly type: RegExp; readonly level?: number };
  /** Proves that something is half done: must return true. */
  readonly isHalfDone?: string;
  readonly finish: string;
  /** Must return true afterwards. */
  readonly isDone?: string;
}

/** BTP_INCOMPLETE_SPLIT 0x80 or BTP_HALF_DEAD 0x10 on some page of an index. */
function btreePages(index: string, flag: number): string {
  return `SELECT bool_or((btpo_flags & ${flag}) <> 0) AS yes
    FROM generate_series(1, (pg_relation_size('${index}') / 8192 - 1)::int) blkno, bt_page_stats('${index}', blkno)`;
}
const fill = (table: string, from: number, to: number): string =>
  `INSERT INTO ${table} SELECT lpad(g::text, 1200, '0') FROM generate_series(${from}, ${to}) g`;
const tall = (table: string): string =>
  `CREATE TABLE ${table} (k text PRIMARY KEY); ALTER TABLE ${table} ALTER k SET STORAGE PLAIN`;

function btreeSplit(name: string, rows: number, n: number, level: number): Interruption {
  return {
    name: `a btree's ${name} split, the parent not told`,
    prepare: `${tall(`i_${name}`)}; ${fill(`i_${name}`, 1, rows)}`,
    change: fill(`i_${name}`, rows + 1, rows + 400),
    last: { n, type: /^Btree\/SPLIT/, level },
    isHalfDone: btreePages(`i_${name}_pkey`, 0x80),
    finish: `${fill(`i_${name}`, rows + 1, rows + 400)}; VACUUM i_${name}`,
    isDone: btreePages(`i_${name}_pkey`, 0x80).replace('bool_or', 'NOT bool_or'),
  };
}

export const BTREE_INTERRUPTIONS: readonly Interruption[] = [
  btreeSplit('root', 1, 1, 0),
  btreeSplit('leaf', 20, 2, 0),
  btreeSplit('internal', 50, 1, 1),
  {
    name: 'a btree page half dead',
    prepare: `${tall('i_dead')}; ${fill('i_dead', 1, 200)}; DELETE FROM i_dead WHERE k BETWEEN lpad('50', 1200, '0') AND lpad('150', 1200, '0')`,
    change: 'VACUUM i_dead',
    last: { n: 2, type: /^Btree\/MARK_PAGE_HALFDEAD/ },
    isHalfDone: btreePages('i_dead_pkey', 0x10),
    finish: 'VACUUM i_dead',
    isDone: btreePages('i_dead_pkey', 0x10).replace('bool_or', 'NOT bool_or'),
  },
];

/** The same for the other access methods that split in several records. */
export const INDEX_INTERRUPTIONS: readonly Interruption[] = [
  {
    name: 'a gin entry page split, the parent not told',
    prepare:
      "CREATE TABLE i_gin (a text[]); CREATE INDEX i_gin_a ON i_gin USING gin (a) WITH (fastupdate = off); INSERT INTO i_gin SELECT ARRAY[lpad(g::text, 400, 'g')] FROM generate_series(1, 60) g",
    change: "INSERT INTO i_gin SELECT ARRAY[lpad(g::text, 400, 'g')] FROM generate_series(61, 300) g",
    last: { n: 2, type: /^Gin\/SPLIT/ },
    finish: "INSERT INTO i_gin SELECT ARRAY[lpad(g::text, 400, 'g')] FROM generate_series(61, 300) g",
  },
  {
    name: 'a gist page split, the parent not told',
    prepare:
      'CREATE TABLE i_gist (p point); CREATE INDEX i_gist_p ON i_gist USING gist (p); INSERT INTO i_gist SELECT point(g % 37, g % 41) FROM generate_series(1, 500) g',
    change: 'INSERT INTO i_gist SELECT point(g % 37, g % 41) FROM generate_series(1, 1500) g',
    last: { n: 2, type: /^Gist\/PAGE_SPLIT/ },
    finish: 'INSERT INTO i_gist SELECT point(g % 37, g % 41) FROM generate_series(1, 1500) g',
  },
  {
    name: 'a hash bucket split half way',
    prepare:
      'CREATE TABLE i_hash (k int); CREATE INDEX i_hash_k ON i_hash USING hash (k); INSERT INTO i_hash SELECT generate_series(1, 1000)',
    change: 'INSERT INTO i_hash SELECT generate_series(1, 5000)',
    last: { n: 2, type: /^Hash\/SPLIT_ALLOCATE_PAGE/ },
    finish: 'INSERT INTO i_hash SELECT generate_series(1, 5000); VACUUM i_hash',
  },
];

export async function runInterrupted(
  server: PlainPostgres,
  interruptions: readonly Interruption[],
): Promise<void> {
  await server.sql('CREATE EXTENSION IF NOT EXISTS pageinspect SCHEMA public');
  for (const { name, prepare, change, last, isHalfDone, finish, isDone } of interruptions) {
    const ask = async (question: string | undefined, what: string): Promise<void> => {
      if (question === undefined) return;
      const [row] = await server.sql(question);
      assert.equal(row!['yes'], true, `${name}: ${what}`);
    };
    await runEach(server, prepare);
    await server.sql('CHECKPOINT');
    const from = await insertLsn(server);
    await runEach(server, change);
    await crashBehind(server, from, lastOne(last));
    await ask(isHalfDone, 'nothing was left half done');
    await runEach(server, finish);
    await ask(isDone, 'it was not finished');
  }
}

function lastOne({ n, type, level }: Interruption['last']): (rec: WalRecord) => boolean {
  let seen = 0;
  return (rec) =>
    type.test(recordTypeName(rec)) &&
    (level === undefined || rec.mainData.readUInt32LE(0) === level) &&
    ++seen === n;
}

/** Statements one by one: VACUUM wants no company. */
async function runEach(server: PlainPostgres, statements: string): Promise<void> {
  for (const statement of statements.split('; ')) await server.sql(statement);
}
