/** Lists that need no more than a query: \dn \dT \dD \db \dL \dx \l \dconfig \des \dew \deu \det \dy \dA \dO \ddp \drds \drg \dl. */
import type { Session } from '../session.js';
import { execute } from '../run.js';
import { resultTable } from '../send.js';
import { description, owner, when } from './columns.js';
import { aclColumn, notSystem, printListing, type Listing } from './listing.js';
import type { DescribeOptions } from './options.js';
import { canonicalType } from './pattern.js';
import pg from 'pg';

export async function listDatabases(
  session: Session,
  { pattern, isVerbose }: DescribeOptions,
): Promise<boolean> {
  return printListing(
    session,
    {
      title: 'List of databases',
      columns: [
        ['Name', 'd.datname'],
        owner('d.datdba'),
        ['Encoding', 'pg_catalog.pg_encoding_to_char(d.encoding)'],
        [
          'Locale Provider',
          "CASE d.datlocprovider WHEN 'b' THEN 'builtin' WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' END",
        ],
        ['Collate', 'd.datcollate'],
        ['Ctype', 'd.datctype'],
        ['Locale', 'd.datlocale'],
        ['ICU Rules', 'd.daticurules'],
        aclColumn('d.datacl'),
        ...when(
          isVerbose,
          [
            'Size',
            "CASE WHEN pg_catalog.has_database_privilege(d.datname, 'CONNECT') THEN pg_catalog.pg_size_pretty(pg_catalog.pg_database_size(d.datname)) ELSE 'No Access' END",
          ],
          ['Tablespace', 't.spcname'],
          ['Description', "pg_catalog.shobj_description(d.oid, 'pg_database')"],
        ),
      ],
      from: 'pg_catalog.pg_database d JOIN pg_catalog.pg_tablespace t ON d.dattablespace = t.oid',
      name: { name: 'd.datname', maxParts: 1 },
      orderBy: '1',
    },
    pattern,
  );
}

export async function listSchemas(session: Session, options: DescribeOptions): Promise<boolean> {
  const { pattern, isVerbose, withSystem } = options;
  const listing: Listing = {
    title: 'List of schemas',
    columns: [
      ['Name', 'n.nspname'],
      owner('n.nspowner'),
      ...when(isVerbose, aclColumn('n.nspacl'), description('n.oid', 'pg_namespace')),
    ],
    from: 'pg_catalog.pg_namespace n',
    where: withSystem || pattern !== null ? [] : ["n.nspname !~ '^pg_'", "n.nspname <> 'information_schema'"],
    name: { name: 'n.nspname', maxParts: 2 },
    orderBy: '1',
  };
  if (pattern !== null) {
    const published = await execute(
      session,
      `SELECT pubname FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_publication_namespace pn ON p.oid = pn.pnpubid
  JOIN pg_catalog.pg_namespace n ON n.oid = pn.pnnspid WHERE n.nspname = ${pg.escapeLiteral(pattern)} ORDER BY 1`,
    );
    if (!published) return false;
    if (published.rows.length > 0)
      listing.footers = ['Publications:', ...published.rows.map(([name]) => `    "${name}"`)];
  }
  return printListing(session, listing, pattern);
}

export async function listTypes(session: Session, options: DescribeOptions): Promise<boolean> {
  const { pattern, isVerbose, withSystem } = options;
  return printListing(
    session,
    {
      title: 'List of data types',
      columns: [
        ['Schema', 'n.nspname'],
        ['Name', 'pg_catalog.format_type(t.oid, NULL)'],
        ...when(
          isVerbose,
          ['Internal name', 't.typname'],
          [
            'Size',
            "CASE WHEN t.typrelid != 0 THEN 'tuple' WHEN t.typlen < 0 THEN 'var' ELSE t.typlen::pg_catalog.text END",
          ],
          [
            'Elements',
            "pg_catalog.array_to_string(ARRAY(SELECT e.enumlabel FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder), E'\\n')",
          ],
          owner('t.typowner'),
          aclColumn('t.typacl'),
        ),
        description('t.oid', 'pg_type'),
      ],
      from: 'pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace',
      where: [
        // Row types of tables are no types of their own; array types show when the pattern asks for them.
        "(t.typrelid = 0 OR (SELECT c.relkind = 'c' FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid))",
        ...(pattern?.includes('[]')
          ? []
          : [
              'NOT EXISTS (SELECT FROM pg_catalog.pg_type el WHERE el.oid = t.typelem AND el.typarray = t.oid)',
            ]),
        ...(withSystem || pattern !== null ? [] : notSystem('n.nspname')),
      ],
      name: {
        schema: 'n.nspname',
        name: 't.typname',
        altName: 'pg_catalog.format_type(t.oid, NULL)',
        visible: 'pg_catalog.pg_type_is_visible(t.oid)',
        maxParts: 3,
      },
      orderBy: '1, 2',
    },
    pattern === null ? null : canonicalType(pattern),
  );
}

export async function listDomains(session: Session, options: DescribeOptions): Promise<boolean> {
  const { pattern, isVerbose, withSystem } = options;
  return printListing(
    session,
    {
      title: 'List of domains',
      columns: [
        ['Schema', 'n.nspname'],
        ['Name', 't.typname'],
        ['Type', 'pg_catalog.format_type(t.typbasetype, t.typtypmod)'],
        [
          'Collation',
          '(SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type bt WHERE c.oid = t.typcollation AND bt.oid = t.typbasetype AND t.typcollation <> bt.typcollation)',
        ],
        ['Nullable', "CASE WHEN t.typnotnull THEN 'not null' END"],
        ['Default', 't.typdefault'],
        [
          'Check',
          "pg_catalog.array_to_string(ARRAY(SELECT pg_catalog.pg_get_constraintdef(r.oid, true) FROM pg_catalog.pg_constraint r WHERE t.oid = r.contypid AND r.contype = 'c' ORDER BY r.conname), ' ')",
        ],
        ...when(isVerbose, aclColumn('t.typacl'), description('t.oid', 'pg_type')),
      ],
      from: 'pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace',
      where: ["t.typtype = 'd'", ...(withSystem || pattern !== null ? [] : notSystem('n.nspname'))],
      name: {
        schema: 'n.nspname',
        name: 't.typname',
        visible: 'pg_catalog.pg_type_is_visible(t.oid)',
        maxParts: 3,
      },
      orderBy: '1, 2',
    },
    pattern,
  );
}

export async function listConfig(
  session: Session,
  { pattern, isVerbose }: DescribeOptions,
): Promise<boolean> {
  return printListing(
    session,
    {
      title:
        pattern === null
          ? 'List of non-default configuration parameters'
          : 'List of configuration parameters',
      columns: [
        ['Parameter', 's.name'],
        ['Value', 'pg_catalog.current_setting(s.name)'],
        ...when(isVerbose, ['Type', 's.vartype'], ['Context', 's.context'], aclColumn('p.paracl')),
      ],
      from: 'pg_catalog.pg_settings s LEFT JOIN pg_catalog.pg_parameter_acl p ON pg_catalog.lower(s.name) = p.parname',
      where: pattern === null ? ["s.source <> 'default'", 's.setting IS DISTINCT FROM s.boot_val'] : [],
      // A setting's name may have dots of its own.
      name: { name: 'pg_catalog.lower(s.name)', maxParts: Infinity },
      orderBy: '1',
    },
    pattern,
  );
}

/** \drds: settings per role and database. */
export async function listRoleSettings(
  session: Session,
  role: string | null,
  database: string | null,
): Promise<boolean> {
  const { patternConditions } = await import('./pattern.js');
  const databases = patternConditions(session, database, { name: 'd.datname', maxParts: 1 });
  if (!databases) return false;
  const named = [
    role === null ? '' : ` for role "${role}"`,
    database === null ? '' : ` and database "${database}"`,
  ];
  return printListing(
    session,
    {
      title: 'List of settings',
      columns: [
        ['Role', 'r.rolname'],
        ['Database', 'd.datname'],
        ['Settings', "pg_catalog.array_to_string(s.setconfig, E'\\n')"],
      ],
      from: 'pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole',
      where: databases,
      name: { name: 'r.rolname', maxParts: 1 },
      orderBy: '1, 2',
    },
    role,
    `Did not find any settings${named.join('')}.`,
  );
}

/** \dx+: what belongs to each extension. */
export async function listExtensionContents(session: Session, pattern: string | null): Promise<boolean> {
  const { patternConditions } = await import('./pattern.js');
  const named = patternConditions(session, pattern, { name: 'e.extname', maxParts: 1 });
  if (!named) return false;
  const where = named.length > 0 ? ` WHERE ${named.join(' AND ')}` : '';
  const found = await execute(
    session,
    `SELECT e.extname, e.oid FROM pg_catalog.pg_extension e${where} ORDER BY 1;`,
  );
  if (!found) return false;
  if (found.rows.length === 0) {
    if (!session.settings.quiet)
      session.error(
        pattern === null ? 'Did not find any extensions.' : `Did not find any extension named "${pattern}".`,
      );
    return false;
  }
  for (const [name, oid] of found.rows) {
    const contents = await execute(
      session,
      `SELECT pg_catalog.pg_describe_object(classid, objid, 0) AS "Object description" FROM pg_catalog.pg_depend
WHERE refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND refobjid = '${oid}' AND deptype = 'e' ORDER BY 1;`,
    );
    if (!contents) return false;
    const table = resultTable(contents.fields, contents.rows, session.print);
    await session.printTable({ ...table, title: `Objects in extension "${name}"` });
  }
  return true;
}
