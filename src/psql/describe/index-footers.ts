import type { TextRow } from '../wire-types.js';
import type { Relation } from './table.js';

/** What \d says below an index: its kind, table, predicate and state. */
export async function indexFooters(
  query: (sql: string) => Promise<TextRow[]>,
  { oid, schema }: Relation,
): Promise<string[]> {
  const [row] = await query(
    `SELECT i.indisunique, i.indisprimary, i.indisclustered, i.indisvalid, i.indisreplident, i.indnullsnotdistinct, a.amname, t.relname,
  pg_catalog.pg_get_expr(i.indpred, i.indrelid, true), NOT i.indimmediate AND con.condeferrable, NOT i.indimmediate AND con.condeferred
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON i.indexrelid = c.oid JOIN pg_catalog.pg_class t ON i.indrelid = t.oid
  JOIN pg_catalog.pg_am a ON c.relam = a.oid
  LEFT JOIN pg_catalog.pg_constraint con ON con.conrelid = i.indrelid AND con.conindid = i.indexrelid AND con.contype IN ('p', 'u', 'x')
WHERE c.oid = '${oid}';`,
  );
  if (!row) return [];
  const [unique, primary, clustered, valid, identity, nullsNotDistinct, method, table, predicate, deferrable, deferred] = row; // prettier-ignore
  let line = '';
  if (primary === 't') line = 'primary key, ';
  else if (unique === 't') line = nullsNotDistinct === 't' ? 'unique nulls not distinct, ' : 'unique, ';
  line += `${method}, for table "${schema}.${table}"`;
  if (predicate) line += `, predicate (${predicate})`;
  if (clustered === 't') line += ', clustered';
  if (valid !== 't') line += ', invalid';
  if (deferrable === 't') line += ', deferrable';
  if (deferred === 't') line += ', initially deferred';
  if (identity === 't') line += ', replica identity';
  return [line];
}
