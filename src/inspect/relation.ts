/** Which files a relation's name means. Numbers need nobody; names are PostgreSQL's to resolve. */
import { connect, resolveConnection, type DefaultServer } from '../psql/connection.js';
import { DbError, errorMessage, isDbError } from '../engine/errors.js';
import type { RelFileLocator } from '../engine/wal/types.js';
import type { Attribute } from './attributes.js';
import { parseRelation } from './wal-filter.js';

export interface InspectedRelation {
  readonly rel: RelFileLocator;
  /** Qualified name; null when only numbers were given. */
  readonly name: string | null;
  /** Sequence, heap, btree, ...; null when only the page itself can tell. */
  readonly kind: string | null;
  /** Columns in order, dropped ones included; null when unknown. */
  readonly attributes: readonly Attribute[] | null;
}

interface Row {
  name: string;
  relkind: string;
  relpersistence: string;
  amname: string | null;
  filenode: number | null;
  spc: number;
  db: number;
  attributes: Attribute[] | null;
}

const QUERY = `
  select format('%I.%I', n.nspname, c.relname) as name, c.relkind, c.relpersistence, am.amname,
         pg_relation_filenode(c.oid)::int8::float8 as filenode,
         coalesce(nullif(c.reltablespace, 0), d.dattablespace)::int8::float8 as spc,
         (case when c.relisshared then 0 else d.oid end)::int8::float8 as db,
         (select json_agg(json_build_object('name', a.attname, 'type', coalesce(t.typname, '-'), 'length', a.attlen, 'align', a.attalign)
                 order by a.attnum)
          from pg_attribute a left join pg_type t on t.oid = a.atttypid where a.attrelid = c.oid and a.attnum > 0) as attributes
  from pg_class c join pg_namespace n on n.oid = c.relnamespace left join pg_am am on am.oid = c.relam, pg_database d
  where d.datname = current_database() and c.oid = to_regclass($1)`;

/**
 * `text` is `SPC/DB/REL` in numbers, or a name as SQL writes it (resolved in `database` on `server`).
 * Throws USAGE_RELATION, PSQL_CONNECT.
 */
export async function resolveRelation(
  text: string,
  server: DefaultServer,
  database: string | undefined,
  askPassword: () => Promise<string>,
): Promise<InspectedRelation> {
  if (/^\d+\/\d+\/\d+$/.test(text))
    return { rel: parseRelation(text), name: null, kind: null, attributes: null };
  const { row, dbname } = await lookUp(text, { ...server, dbname: database ?? 'postgres', askPassword });
  if (!row)
    throw new DbError('USAGE_RELATION', `relation "${text}" does not exist in database "${dbname}"`, {
      hint: 'Name another database with --db, or give the relation as SPC/DB/REL.',
    });
  if (row.filenode === null)
    throw new DbError('USAGE_RELATION', `relation "${text}" has no storage of its own`, {
      hint: 'Views, partitioned tables and the like have no pages; look at their parts.',
    });
  if (row.relpersistence !== 'p')
    throw new DbError(
      'USAGE_RELATION',
      `relation "${text}" is ${row.relpersistence === 't' ? 'temporary' : 'unlogged'}: its pages are not in the volume`,
    );
  return {
    rel: { spcOid: row.spc, dbOid: row.db, relNumber: row.filenode },
    name: row.name,
    kind: row.relkind === 'S' ? 'sequence' : row.amname,
    attributes: row.relkind === 'i' ? null : row.attributes,
  };
}

async function lookUp(
  text: string,
  options: DefaultServer & { dbname: string; askPassword: () => Promise<string> },
): Promise<{ row: Row | undefined; dbname: string }> {
  const wanted = { ...options, applicationName: 'aurora inspect' };
  let client;
  try {
    client = await connect(resolveConnection(wanted, {}, null), wanted);
  } catch (err) {
    if (!isDbError(err, 'PSQL_CONNECT')) throw err;
    throw new DbError('PSQL_CONNECT', `cannot look up relation "${text}": ${err.message.split('\n')[0]}`, {
      reaction: 'usage',
      hint: 'PostgreSQL resolves names. While it is down, give the relation as SPC/DB/REL, e.g. 1663/5/1259.',
      cause: err,
    });
  }
  try {
    const { rows } = await client.query<Row>(QUERY, [text]);
    return { row: rows[0], dbname: options.dbname };
  } catch (err) {
    throw new DbError('USAGE_RELATION', `cannot look up relation "${text}": ${errorMessage(err)}`, {
      cause: err,
    });
  } finally {
    await client.end();
  }
}
