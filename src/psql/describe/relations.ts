/** \dt \di \ds \dv \dm \dE (and \d without a name), \dP, \dp. */
import type { Session } from '../session.js';
import { aclColumn, notSystem, printListing, type Listing } from './listing.js';
import type { DescribeOptions } from './options.js';

const KINDS: Record<string, { kinds: string[]; name: string }> = {
  t: { kinds: ['r', 'p'], name: 'tables' },
  i: { kinds: ['i', 'I'], name: 'indexes' },
  v: { kinds: ['v'], name: 'views' },
  m: { kinds: ['m'], name: 'materialized views' },
  s: { kinds: ['S'], name: 'sequences' },
  E: { kinds: ['f'], name: 'foreign tables' },
};

const TYPE_NAMES = `CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
    WHEN 'i' THEN 'index' WHEN 'S' THEN 'sequence' WHEN 't' THEN 'TOAST table' WHEN 'f' THEN 'foreign table'
    WHEN 'p' THEN 'partitioned table' WHEN 'I' THEN 'partitioned index' END`;

const NAME = {
  schema: 'n.nspname',
  name: 'c.relname',
  visible: 'pg_catalog.pg_table_is_visible(c.oid)',
  maxParts: 3,
};

const CLASS = 'pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace';

/** `types`: letters of KINDS, in any order; none = all but indexes. */
export async function listRelations(
  session: Session,
  types: string,
  options: DescribeOptions,
): Promise<boolean> {
  const { pattern, isVerbose, withSystem } = options;
  const asked = Object.keys(KINDS).filter((letter) => types.includes(letter));
  const shown = asked.length > 0 ? asked : ['t', 'v', 'm', 's', 'E'];
  const what = asked.length === 1 ? KINDS[asked[0]!]!.name : 'relations';
  const kinds = shown.flatMap((letter) => KINDS[letter]!.kinds);
  if (withSystem || pattern !== null) kinds.push('s', ...(shown.includes('t') ? ['t'] : []));
  const withIndexes = shown.includes('i');
  const withMethod = !session.settings.hideTableAm && shown.some((letter) => 'tmi'.includes(letter));
  const listing: Listing = {
    title: `List of ${what}`,
    columns: [
      ['Schema', 'n.nspname'],
      ['Name', 'c.relname'],
      ['Type', TYPE_NAMES],
      ['Owner', 'pg_catalog.pg_get_userbyid(c.relowner)'],
      ...(withIndexes ? ([['Table', 'c2.relname']] as [string, string][]) : []),
    ],
    from: CLASS,
    where: [
      `c.relkind IN (${kinds.map((kind) => `'${kind}'`).join(', ')})`,
      ...(withSystem || pattern !== null ? [] : [...notSystem('n.nspname'), "n.nspname !~ '^pg_toast'"]),
    ],
    name: NAME,
    orderBy: '1, 2',
  };
  if (withIndexes)
    listing.from += `
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_catalog.pg_class c2 ON i.indrelid = c2.oid`;
  if (isVerbose) {
    listing.columns.push([
      'Persistence',
      "CASE c.relpersistence WHEN 'p' THEN 'permanent' WHEN 't' THEN 'temporary' WHEN 'u' THEN 'unlogged' END",
    ]);
    if (withMethod) {
      listing.columns.push(['Access method', 'am.amname']);
      listing.from += '\n  LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam';
    }
    listing.columns.push(
      ['Size', 'pg_catalog.pg_size_pretty(pg_catalog.pg_table_size(c.oid))'],
      ['Description', "pg_catalog.obj_description(c.oid, 'pg_class')"],
    );
  }
  const empty =
    pattern === null ? `Did not find any ${what}.` : `Did not find any ${what} named "${pattern}".`;
  return printListing(session, listing, pattern, empty);
}

/** \dP[itn+]. */
export async function listPartitioned(
  session: Session,
  types: string,
  options: DescribeOptions,
): Promise<boolean> {
  const { pattern, isVerbose } = options;
  const both = types.includes('t') === types.includes('i');
  const withTables = both || types.includes('t');
  const withIndexes = both || types.includes('i');
  const withParent = types.includes('n') || pattern !== null;
  const listing: Listing = {
    title: both ? 'List of partitioned relations' : withIndexes ? 'List of partitioned indexes' : 'List of partitioned tables', // prettier-ignore
    columns: [
      ['Schema', 'n.nspname'],
      ['Name', 'c.relname'],
      ['Owner', 'pg_catalog.pg_get_userbyid(c.relowner)'],
    ],
    from: CLASS,
    where: [`c.relkind IN (${[...(withTables ? ["'p'"] : []), ...(withIndexes ? ["'I'"] : [])].join(', ')})`],
    name: NAME,
    orderBy: `"Schema", ${both ? '"Type" DESC, ' : ''}${withParent ? '"Parent name" NULLS FIRST, ' : ''}"Name"`,
  };
  if (both) listing.columns.push(['Type', TYPE_NAMES]);
  if (withParent) {
    listing.columns.push(['Parent name', 'inh.inhparent::pg_catalog.regclass']);
    listing.from += '\n  LEFT JOIN pg_catalog.pg_inherits inh ON c.oid = inh.inhrelid';
  }
  if (withIndexes) {
    listing.columns.push(['Table', 'i.indrelid::pg_catalog.regclass']);
    listing.from += '\n  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid';
  }
  if (!withParent) listing.where!.push('NOT c.relispartition');
  if (pattern === null) listing.where!.push(...notSystem('n.nspname'), "n.nspname !~ '^pg_toast'");
  if (isVerbose) {
    const size = (condition: string): string =>
      `(SELECT pg_catalog.pg_size_pretty(sum(CASE WHEN ${condition} THEN pg_catalog.pg_table_size(t.relid) ELSE 0 END)) FROM pg_catalog.pg_partition_tree(c.oid) t)`;
    listing.columns.push(['Access method', 'am.amname']);
    listing.from += '\n  LEFT JOIN pg_catalog.pg_am am ON c.relam = am.oid';
    if (types.includes('n')) listing.columns.push(['Leaf partition size', size('t.isleaf AND t.level = 1')]);
    listing.columns.push(
      ['Total size', size('true')],
      ['Description', "pg_catalog.obj_description(c.oid, 'pg_class')"],
    );
  }
  return printListing(session, listing, pattern);
}

const POLICIES = `pg_catalog.array_to_string(ARRAY(
    SELECT polname || CASE WHEN NOT polpermissive THEN ' (RESTRICTIVE)' ELSE '' END
      || CASE WHEN polcmd = '*' THEN ':' ELSE ' (' || polcmd::pg_catalog.text || '):' END
      || CASE WHEN polqual IS NULL THEN '' ELSE E'\\n  (u): ' || pg_catalog.pg_get_expr(polqual, polrelid) END
      || CASE WHEN polwithcheck IS NULL THEN '' ELSE E'\\n  (c): ' || pg_catalog.pg_get_expr(polwithcheck, polrelid) END
      || CASE WHEN polroles = '{0}' THEN '' ELSE E'\\n  to: ' || pg_catalog.array_to_string(
           ARRAY(SELECT rolname FROM pg_catalog.pg_roles WHERE oid = ANY (polroles) ORDER BY 1), ', ') END
    FROM pg_catalog.pg_policy WHERE polrelid = c.oid), E'\\n')`;

/** \dp and \z. */
export async function listPrivileges(
  session: Session,
  { pattern, withSystem }: DescribeOptions,
): Promise<boolean> {
  return printListing(
    session,
    {
      title: 'Access privileges',
      columns: [
        ['Schema', 'n.nspname'],
        ['Name', 'c.relname'],
        ['Type', TYPE_NAMES],
        aclColumn('c.relacl'),
        [
          'Column privileges',
          `pg_catalog.array_to_string(ARRAY(
    SELECT attname || E':\\n  ' || pg_catalog.array_to_string(attacl, E'\\n  ') FROM pg_catalog.pg_attribute
    WHERE attrelid = c.oid AND NOT attisdropped AND attacl IS NOT NULL), E'\\n')`,
        ],
        ['Policies', POLICIES],
      ],
      from: CLASS,
      where: [
        "c.relkind IN ('r', 'v', 'm', 'S', 'f', 'p')",
        ...(withSystem || pattern !== null ? [] : notSystem('n.nspname')),
      ],
      name: NAME,
      orderBy: '1, 2',
    },
    pattern,
  );
}
