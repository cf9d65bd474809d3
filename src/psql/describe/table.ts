/** \d NAME: everything about a table, view, index, sequence or composite type. */
import { execute } from '../run.js';
import { tableOf } from '../print/types.js';
import { resultTable } from '../send.js';
import type { Session } from '../session.js';
import { notSystem } from './listing.js';
import type { DescribeOptions } from './options.js';
import { patternConditions } from './pattern.js';
import { TableFooters } from './table-footers.js';

/** What pg_class says of a relation. */
export interface Relation {
  oid: string;
  schema: string;
  name: string;
  kind: string;
  persistence: string;
  hasChecks: boolean;
  hasIndexes: boolean;
  hasRules: boolean;
  hasTriggers: boolean;
  rowSecurity: boolean;
  forceRowSecurity: boolean;
  isPartition: boolean;
  options: string;
  tablespace: string;
  ofType: string;
  replicaIdentity: string;
  accessMethod: string | null;
}

export async function describeTables(session: Session, options: DescribeOptions): Promise<boolean> {
  const { pattern, isVerbose, withSystem } = options;
  const named = patternConditions(session, pattern, {
    schema: 'n.nspname',
    name: 'c.relname',
    visible: 'pg_catalog.pg_table_is_visible(c.oid)',
    maxParts: 3,
  });
  if (!named) return false;
  const where = [...(withSystem || pattern !== null ? [] : notSystem('n.nspname')), ...named];
  const found = await execute(
    session,
    `SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
${where.length > 0 ? `WHERE ${where.join('\n  AND ')}\n` : ''}ORDER BY 2, 3;`,
  );
  if (!found) return false;
  if (found.rows.length === 0) {
    if (!session.settings.quiet)
      session.error(
        pattern === null ? 'Did not find any relations.' : `Did not find any relation named "${pattern}".`,
      );
    return false;
  }
  for (const [oid, schema, name] of found.rows) {
    const relation = await readRelation(session, oid!, schema!, name!);
    if (!relation) return false;
    const ok = relation.kind === 'S' ? await describeSequence(session, relation) : await describeOne(session, relation, isVerbose); // prettier-ignore
    if (!ok || session.cancelPressed) return false;
  }
  return true;
}

async function readRelation(
  session: Session,
  oid: string,
  schema: string,
  name: string,
): Promise<Relation | null> {
  const result = await execute(
    session,
    `SELECT c.relchecks > 0, c.relkind, c.relhasindex, c.relhasrules, c.relhastriggers, c.relrowsecurity, c.relforcerowsecurity,
  c.relispartition, pg_catalog.array_to_string(c.reloptions || ARRAY(SELECT 'toast.' || x FROM pg_catalog.unnest(tc.reloptions) x), ', '),
  c.reltablespace, CASE WHEN c.reloftype = 0 THEN '' ELSE c.reloftype::pg_catalog.regtype::pg_catalog.text END,
  c.relpersistence, c.relreplident, am.amname
FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_class tc ON c.reltoastrelid = tc.oid
  LEFT JOIN pg_catalog.pg_am am ON c.relam = am.oid
WHERE c.oid = '${oid}';`,
  );
  if (!result) return null;
  const row = result.rows[0];
  if (!row) {
    if (!session.settings.quiet) session.error(`Did not find any relation with OID ${oid}.`);
    return null;
  }
  const [checks, kind, indexes, rules, triggers, security, forced, partition] = row;
  const [options, tablespace, ofType, persistence, replicaIdentity, accessMethod] = row.slice(8);
  return {
    oid,
    schema,
    name,
    kind: kind!,
    persistence: persistence!,
    hasChecks: checks === 't',
    hasIndexes: indexes === 't',
    hasRules: rules === 't',
    hasTriggers: triggers === 't',
    rowSecurity: security === 't',
    forceRowSecurity: forced === 't',
    isPartition: partition === 't',
    options: options ?? '',
    tablespace: tablespace!,
    ofType: ofType ?? '',
    replicaIdentity: replicaIdentity!,
    accessMethod: accessMethod ?? null,
  };
}

async function describeSequence(
  session: Session,
  { oid, schema, name, persistence }: Relation,
): Promise<boolean> {
  const sequence = await execute(
    session,
    `SELECT pg_catalog.format_type(seqtypid, NULL) AS "Type", seqstart AS "Start", seqmin AS "Minimum", seqmax AS "Maximum",
  seqincrement AS "Increment", CASE WHEN seqcycle THEN 'yes' ELSE 'no' END AS "Cycles?", seqcache AS "Cache"
FROM pg_catalog.pg_sequence WHERE seqrelid = '${oid}';`,
  );
  const owners = sequence && (await execute(
    session,
    `SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) || '.' || pg_catalog.quote_ident(a.attname), d.deptype
FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.refobjid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
  AND d.objid = '${oid}' AND d.deptype IN ('a', 'i')`,
  )); // prettier-ignore
  if (!owners) return false;
  const table = resultTable(sequence.fields, sequence.rows, session.print);
  table.title = `${persistence === 'u' ? 'Unlogged sequence' : 'Sequence'} "${schema}.${name}"`;
  table.defaultFooter = false;
  if (owners.rows.length === 1) {
    const [column, dependency] = owners.rows[0]!;
    table.footers = [`${dependency === 'a' ? 'Owned by' : 'Sequence for identity column'}: ${column}`];
  }
  await session.printTable(table);
  return true;
}

const TITLES: Record<string, string> = {
  r: 'Table',
  v: 'View',
  m: 'Materialized view',
  i: 'Index',
  I: 'Partitioned index',
  t: 'TOAST table',
  c: 'Composite type',
  f: 'Foreign table',
  p: 'Partitioned table',
};

function titleOf({ kind, persistence, schema, name }: Relation): string {
  const what = TITLES[kind] ?? `?${kind}?`;
  const isUnlogged = persistence === 'u' && 'riIp'.includes(kind);
  return `${isUnlogged ? `Unlogged ${what.toLowerCase()}` : what} "${schema}.${name}"`;
}

interface ColumnSpec {
  header: string;
  expression: string;
  show?: (value: string) => string;
}

const STORAGE: Record<string, string> = { p: 'plain', m: 'main', x: 'extended', e: 'external' };
const COMPRESSION: Record<string, string> = { p: 'pglz', l: 'lz4', '': '' };

/** The columns of the printed table, as the kind of relation has them. */
function columnSpecs(session: Session, { kind, oid }: Relation, isVerbose: boolean): ColumnSpec[] {
  const specs: ColumnSpec[] = [
    { header: 'Column', expression: 'a.attname' },
    { header: 'Type', expression: 'pg_catalog.format_type(a.atttypid, a.atttypmod)' },
  ];
  if ('rvmfcp'.includes(kind)) {
    specs.push(
      {
        header: 'Collation',
        expression:
          '(SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type t WHERE c.oid = a.attcollation AND t.oid = a.atttypid AND a.attcollation <> t.typcollation)',
      },
      { header: 'Nullable', expression: "CASE WHEN a.attnotnull THEN 'not null' ELSE '' END" },
      {
        header: 'Default',
        expression: `CASE WHEN a.attidentity = 'a' THEN 'generated always as identity'
    WHEN a.attidentity = 'd' THEN 'generated by default as identity'
    ELSE (SELECT CASE a.attgenerated WHEN 's' THEN 'generated always as (' || e || ') stored'
            WHEN 'v' THEN 'generated always as (' || e || ')' ELSE e END
          FROM pg_catalog.pg_attrdef d, LATERAL pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) e
          WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef) END`,
      },
    );
  }
  if (kind === 'i' || kind === 'I') {
    specs.push(
      {
        header: 'Key?',
        expression: `CASE WHEN a.attnum <= (SELECT i.indnkeyatts FROM pg_catalog.pg_index i WHERE i.indexrelid = '${oid}') THEN 'yes' ELSE 'no' END`,
      },
      { header: 'Definition', expression: 'pg_catalog.pg_get_indexdef(a.attrelid, a.attnum, true)' },
    );
  }
  if (kind === 'f')
    specs.push({
      header: 'FDW options',
      expression:
        "CASE WHEN attfdwoptions IS NULL THEN '' ELSE '(' || pg_catalog.array_to_string(ARRAY(SELECT pg_catalog.quote_ident(option_name) || ' ' || pg_catalog.quote_literal(option_value) FROM pg_catalog.pg_options_to_table(attfdwoptions)), ', ') || ')' END",
    });
  if (!isVerbose) return specs;
  specs.push({ header: 'Storage', expression: 'a.attstorage', show: (value) => STORAGE[value] ?? '???' });
  if ('rpm'.includes(kind) && !session.settings.hideCompression)
    specs.push({
      header: 'Compression',
      expression: 'a.attcompression',
      show: (value) => COMPRESSION[value] ?? '???',
    });
  if ('riImfp'.includes(kind))
    specs.push({ header: 'Stats target', expression: 'NULLIF(a.attstattarget, -1)' });
  if ('rvmfcp'.includes(kind))
    specs.push({ header: 'Description', expression: 'pg_catalog.col_description(a.attrelid, a.attnum)' });
  return specs;
}

async function describeOne(session: Session, relation: Relation, isVerbose: boolean): Promise<boolean> {
  const specs = columnSpecs(session, relation, isVerbose);
  const result = await execute(
    session,
    `SELECT ${specs.map((spec) => spec.expression).join(',\n  ')}
FROM pg_catalog.pg_attribute a WHERE a.attrelid = '${relation.oid}' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum;`,
  );
  if (!result) return false;
  const footers = await new TableFooters(session, relation, isVerbose).collect();
  if (!footers) return false;
  const rows = result.rows.map((row) =>
    row.map((value, j) => {
      const { show } = specs[j]!;
      return show ? show(value ?? '') : (value ?? '');
    }),
  );
  const table = tableOf(
    specs.map((spec) => spec.header),
    specs.map(() => 'l'),
    rows,
  );
  // Records of columns would be hard to read: never expanded.
  await session.printTable(
    {
      ...table,
      title: titleOf(relation),
      footers: footers.length > 0 ? footers : null,
      defaultFooter: false,
    },
    { ...session.print, expanded: 'off' },
  );
  return true;
}
