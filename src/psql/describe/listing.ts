/** Commands that print one query's rows under a title. */
import { resultTable } from '../send.js';
import { execute } from '../run.js';
import type { Session } from '../session.js';
import { patternConditions, type NameSpec } from './pattern.js';

/** A list of objects: its columns as [header, expression]. */
export interface Listing {
  title: string;
  columns: [string, string][];
  from: string;
  where?: string[];
  name?: NameSpec;
  orderBy: string;
  /** Lines below the table. */
  footers?: string[];
}

/** Objects of PostgreSQL's own that lists leave out unless asked for with S or a pattern. */
export const notSystem = (schema: string): string[] => [
  `${schema} <> 'pg_catalog'`,
  `${schema} <> 'information_schema'`,
];

/** An ACL, one grant a line. */
export const aclColumn = (column: string): [string, string] => [
  'Access privileges',
  `CASE WHEN pg_catalog.array_length(${column}, 1) = 0 THEN '(none)' ELSE pg_catalog.array_to_string(${column}, E'\\n') END`,
];

/** The query text; null, with a message, when the pattern is not valid. */
export function listingQuery(session: Session, listing: Listing, pattern: string | null): string | null {
  const matched = listing.name ? patternConditions(session, pattern, listing.name) : [];
  if (!matched) return null;
  const where = [...(listing.where ?? []), ...matched];
  const columns = listing.columns.map(([header, expression]) => `${expression} AS "${header}"`);
  return (
    `SELECT ${columns.join(',\n  ')}\nFROM ${listing.from}\n` +
    (where.length > 0 ? `WHERE ${where.join('\n  AND ')}\n` : '') +
    `ORDER BY ${listing.orderBy};`
  );
}

/** Prints a listing. `ifEmpty`: said, as an error, in place of an empty table. False when that or anything failed. */
export async function printListing(
  session: Session,
  listing: Listing,
  pattern: string | null,
  ifEmpty?: string,
): Promise<boolean> {
  const query = listingQuery(session, listing, pattern);
  const result = query === null ? null : await execute(session, query);
  if (!result) return false;
  if (result.rows.length === 0 && ifEmpty !== undefined && !session.settings.quiet) {
    session.error(ifEmpty);
    return true; // psql takes this for a success
  }
  const table = resultTable(result.fields, result.rows, session.print);
  await session.printTable({ ...table, title: listing.title, footers: listing.footers ?? null });
  return true;
}
