/** Lists that few people ask for: \dAc \dAf \dAo \dAp \dc \dC \dd \dF \dFd \dFp \dFt \dO \dRp \dRs \dX. */
import type { Session } from '../session.js';
import { description, owner, when } from './columns.js';
import { notSystem, printListing, type Listing } from './listing.js';
import { canonicalType, patternConditions, type NameSpec } from './pattern.js';

const yesNo = (condition: string): string => `CASE WHEN ${condition} THEN 'yes' ELSE 'no' END`;
const schemaJoin = (alias: string, column: string): string =>
  `LEFT JOIN pg_catalog.pg_namespace ${alias} ON ${alias}.oid = ${column}`;
const named = (schema: string, name: string, visible: string): NameSpec => ({
  schema,
  name,
  visible: `pg_catalog.${visible}`,
  maxParts: 3,
});
/** A name, with its schema where it would not be found without. */
const shownName = (visible: string, name: string, schema: string): string =>
  `CASE WHEN pg_catalog.${visible} THEN pg_catalog.format('%I', ${name}) ELSE pg_catalog.format('%I.%I', ${schema}, ${name}) END`;
const typeName = (column: string): string => `pg_catalog.format_type(${column}, NULL)`;

/** Lists with one pattern, as SIMPLE_LISTINGS. */
export const RARE_LISTINGS: Record<string, (isVerbose: boolean, withSystem: boolean) => Listing> = {
  dc: (isVerbose, withSystem) => ({
    title: 'List of conversions',
    columns: [
      ['Schema', 'n.nspname'],
      ['Name', 'c.conname'],
      ['Source', 'pg_catalog.pg_encoding_to_char(c.conforencoding)'],
      ['Destination', 'pg_catalog.pg_encoding_to_char(c.contoencoding)'],
      ['Default?', yesNo('c.condefault')],
      ...when(isVerbose, description('c.oid', 'pg_conversion')),
    ],
    from: `pg_catalog.pg_conversion c ${schemaJoin('n', 'c.connamespace')}`,
    where: withSystem ? [] : notSystem('n.nspname'),
    name: named('n.nspname', 'c.conname', 'pg_conversion_is_visible(c.oid)'),
    orderBy: '1, 2',
  }),
  dO: (isVerbose, withSystem) => ({
    title: 'List of collations',
    columns: [
      ['Schema', 'n.nspname'],
      ['Name', 'c.collname'],
      [
        'Provider',
        "CASE c.collprovider WHEN 'd' THEN 'default' WHEN 'b' THEN 'builtin' WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' END",
      ],
      ['Collate', 'c.collcollate'],
      ['Ctype', 'c.collctype'],
      ['Locale', 'c.colllocale'],
      ['ICU Rules', 'c.collicurules'],
      ['Deterministic?', yesNo('c.collisdeterministic')],
      ...when(isVerbose, description('c.oid', 'pg_collation')),
    ],
    from: `pg_catalog.pg_collation c ${schemaJoin('n', 'c.collnamespace')}`,
    where: [
      ...(withSystem ? [] : notSystem('n.nspname')),
      'c.collencoding IN (-1, pg_catalog.pg_char_to_encoding(pg_catalog.getdatabaseencoding()))',
    ],
    name: named('n.nspname', 'c.collname', 'pg_collation_is_visible(c.oid)'),
    orderBy: '1, 2',
  }),
  dFd: (isVerbose) => ({
    title: 'List of text search dictionaries',
    columns: [
      ['Schema', 'n.nspname'],
      ['Name', 'd.dictname'],
      ...when(
        isVerbose,
        [
          'Template',
          "(SELECT COALESCE(nt.nspname, '(null)')::pg_catalog.text || '.' || t.tmplname FROM pg_catalog.pg_ts_template t LEFT JOIN pg_catalog.pg_namespace nt ON nt.oid = t.tmplnamespace WHERE d.dicttemplate = t.oid)",
        ],
        ['Init options', 'd.dictinitoption'],
      ),
      description('d.oid', 'pg_ts_dict'),
    ],
    from: `pg_catalog.pg_ts_dict d ${schemaJoin('n', 'd.dictnamespace')}`,
    name: named('n.nspname', 'd.dictname', 'pg_ts_dict_is_visible(d.oid)'),
    orderBy: '1, 2',
  }),
  dFp: () => ({
    title: 'List of text search parsers',
    columns: [['Schema', 'n.nspname'], ['Name', 'p.prsname'], description('p.oid', 'pg_ts_parser')],
    from: `pg_catalog.pg_ts_parser p ${schemaJoin('n', 'p.prsnamespace')}`,
    name: named('n.nspname', 'p.prsname', 'pg_ts_parser_is_visible(p.oid)'),
    orderBy: '1, 2',
  }),
  dFt: (isVerbose) => ({
    title: 'List of text search templates',
    columns: [
      ['Schema', 'n.nspname'],
      ['Name', 't.tmplname'],
      ...when(
        isVerbose,
        ['Init', 't.tmplinit::pg_catalog.regproc'],
        ['Lexize', 't.tmpllexize::pg_catalog.regproc'],
      ),
      description('t.oid', 'pg_ts_template'),
    ],
    from: `pg_catalog.pg_ts_template t ${schemaJoin('n', 't.tmplnamespace')}`,
    name: named('n.nspname', 't.tmplname', 'pg_ts_template_is_visible(t.oid)'),
    orderBy: '1, 2',
  }),
  dF: () => ({
    title: 'List of text search configurations',
    columns: [['Schema', 'n.nspname'], ['Name', 'c.cfgname'], description('c.oid', 'pg_ts_config')],
    from: `pg_catalog.pg_ts_config c ${schemaJoin('n', 'c.cfgnamespace')}`,
    name: named('n.nspname', 'c.cfgname', 'pg_ts_config_is_visible(c.oid)'),
    orderBy: '1, 2',
  }),
  dRp: () => ({
    title: 'List of publications',
    columns: [
      ['Name', 'pubname'],
      owner('pubowner'),
      ['All tables', 'puballtables'],
      ['Inserts', 'pubinsert'],
      ['Updates', 'pubupdate'],
      ['Deletes', 'pubdelete'],
      ['Truncates', 'pubtruncate'],
      ['Generated columns', "CASE pubgencols WHEN 'n' THEN 'none' WHEN 's' THEN 'stored' END"],
      ['Via root', 'pubviaroot'],
    ],
    from: 'pg_catalog.pg_publication',
    name: { name: 'pubname', maxParts: 1 },
    orderBy: '1',
  }),
  dRs: (isVerbose) => ({
    title: 'List of subscriptions',
    columns: [
      ['Name', 'subname'],
      owner('subowner'),
      ['Enabled', 'subenabled'],
      ['Publication', 'subpublications'],
      ...when(
        isVerbose,
        ['Binary', 'subbinary'],
        ['Streaming', "CASE substream WHEN 'f' THEN 'off' WHEN 't' THEN 'on' WHEN 'p' THEN 'parallel' END"],
        ['Two-phase commit', 'subtwophasestate'],
        ['Disable on error', 'subdisableonerr'],
        ['Origin', 'suborigin'],
        ['Password required', 'subpasswordrequired'],
        ['Run as owner?', 'subrunasowner'],
        ['Failover', 'subfailover'],
        ['Synchronous commit', 'subsynccommit'],
        ['Conninfo', 'subconninfo'],
        ['Skip LSN', 'subskiplsn'],
      ),
    ],
    from: 'pg_catalog.pg_subscription',
    where: [
      'subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())',
    ],
    name: { name: 'subname', maxParts: 1 },
    orderBy: '1',
  }),
  dX: () => ({
    title: 'List of extended statistics',
    columns: [
      ['Schema', 'es.stxnamespace::pg_catalog.regnamespace::pg_catalog.text'],
      ['Name', 'es.stxname'],
      [
        'Definition',
        "pg_catalog.format('%s FROM %s', pg_catalog.pg_get_statisticsobjdef_columns(es.oid), es.stxrelid::pg_catalog.regclass)",
      ],
      ...(['d', 'f', 'm'] as const).map((kind): [string, string] => [
        { d: 'Ndistinct', f: 'Dependencies', m: 'MCV' }[kind],
        `CASE WHEN '${kind}' = ANY (es.stxkind) THEN 'defined' END`,
      ]),
    ],
    from: 'pg_catalog.pg_statistic_ext es',
    name: named(
      'es.stxnamespace::pg_catalog.regnamespace::pg_catalog.text',
      'es.stxname',
      'pg_statistics_obj_is_visible(es.oid)',
    ),
    orderBy: '1, 2',
  }),
};

const FAMILY = shownName('pg_opfamily_is_visible(of.oid)', 'of.opfname', 'nf.nspname');
const TYPE: NameSpec = {
  schema: 'tn.nspname',
  name: 't.typname',
  altName: typeName('t.oid'),
  visible: 'pg_catalog.pg_type_is_visible(t.oid)',
  maxParts: 3,
};
const FAMILY_NAME: NameSpec = {
  schema: 'nf.nspname',
  name: 'of.opfname',
  visible: 'pg_catalog.pg_opfamily_is_visible(of.oid)',
  maxParts: 3,
};

/** What the second pattern of each \dA? is about. */
const SECOND: Record<string, NameSpec> = { dAc: TYPE, dAf: TYPE, dAo: FAMILY_NAME, dAp: FAMILY_NAME };

const ACCESS_METHOD_LISTS: Record<string, (isVerbose: boolean) => Listing> = {
  dAc: (isVerbose) => ({
    title: 'List of operator classes',
    columns: [
      ['AM', 'am.amname'],
      ['Input type', typeName('c.opcintype')],
      [
        'Storage type',
        `CASE WHEN c.opckeytype <> 0 AND c.opckeytype <> c.opcintype THEN ${typeName('c.opckeytype')} END`,
      ],
      ['Operator class', shownName('pg_opclass_is_visible(c.oid)', 'c.opcname', 'n.nspname')],
      ['Default?', yesNo('c.opcdefault')],
      ...when(isVerbose, ['Operator family', FAMILY], owner('c.opcowner')),
    ],
    from: `pg_catalog.pg_opclass c LEFT JOIN pg_catalog.pg_am am ON am.oid = c.opcmethod ${schemaJoin('n', 'c.opcnamespace')}
  LEFT JOIN pg_catalog.pg_type t ON t.oid = c.opcintype ${schemaJoin('tn', 't.typnamespace')}
  LEFT JOIN pg_catalog.pg_opfamily of ON of.oid = c.opcfamily ${schemaJoin('nf', 'of.opfnamespace')}`,
    orderBy: '1, 2, 4',
  }),
  dAf: (isVerbose) => ({
    title: 'List of operator families',
    columns: [
      ['AM', 'am.amname'],
      ['Operator family', FAMILY],
      [
        'Applicable types',
        `(SELECT pg_catalog.string_agg(${typeName('oc.opcintype')}, ', ') FROM pg_catalog.pg_opclass oc WHERE oc.opcfamily = of.oid)`,
      ],
      ...when(isVerbose, owner('of.opfowner')),
    ],
    from: `pg_catalog.pg_opfamily of LEFT JOIN pg_catalog.pg_am am ON am.oid = of.opfmethod ${schemaJoin('nf', 'of.opfnamespace')}`,
    orderBy: '1, 2',
  }),
  dAo: (isVerbose) => ({
    title: 'List of operators of operator families',
    columns: [
      ['AM', 'am.amname'],
      ['Operator family', FAMILY],
      ['Operator', 'o.amopopr::pg_catalog.regoperator'],
      ['Strategy', 'o.amopstrategy'],
      ['Purpose', "CASE o.amoppurpose WHEN 'o' THEN 'ordering' WHEN 's' THEN 'search' END"],
      ...when(
        isVerbose,
        ['Sort opfamily', 'ofs.opfname'],
        [
          'Leakproof?',
          "(SELECT CASE WHEN p.proleakproof THEN 'yes' ELSE 'no' END FROM pg_catalog.pg_operator op JOIN pg_catalog.pg_proc p ON p.oid = op.oprcode WHERE op.oid = o.amopopr)",
        ],
      ),
    ],
    from: `pg_catalog.pg_amop o LEFT JOIN pg_catalog.pg_opfamily of ON of.oid = o.amopfamily
  LEFT JOIN pg_catalog.pg_am am ON am.oid = of.opfmethod AND am.oid = o.amopmethod ${schemaJoin('nf', 'of.opfnamespace')}
  LEFT JOIN pg_catalog.pg_opfamily ofs ON ofs.oid = o.amopsortfamily`,
    orderBy: `1, 2, o.amoplefttype = o.amoprighttype DESC, ${typeName('o.amoplefttype')}, ${typeName('o.amoprighttype')}, o.amopstrategy`,
  }),
  dAp: (isVerbose) => ({
    title: 'List of support functions of operator families',
    columns: [
      ['AM', 'am.amname'],
      ['Operator family', FAMILY],
      ['Registered left type', typeName('ap.amproclefttype')],
      ['Registered right type', typeName('ap.amprocrighttype')],
      ['Number', 'ap.amprocnum'],
      ['Function', isVerbose ? 'ap.amproc::pg_catalog.regprocedure' : 'p.proname'],
    ],
    from: `pg_catalog.pg_amproc ap LEFT JOIN pg_catalog.pg_opfamily of ON of.oid = ap.amprocfamily
  LEFT JOIN pg_catalog.pg_am am ON am.oid = of.opfmethod ${schemaJoin('nf', 'of.opfnamespace')}
  LEFT JOIN pg_catalog.pg_proc p ON p.oid = ap.amproc`,
    orderBy: '1, 2, ap.amproclefttype = ap.amprocrighttype DESC, 3, 4, 5',
  }),
};

/** \dAc, \dAf, \dAo, \dAp [ACCESS-METHOD [TYPE or FAMILY]]. */
export async function listAccessMethods(
  session: Session,
  name: string,
  pattern: string | null,
  second: string | null,
): Promise<boolean> {
  const key = name.slice(0, 3);
  const listing = ACCESS_METHOD_LISTS[key]!(name.includes('+'));
  const spec = SECOND[key]!;
  let conditions: string[] | null = [];
  if (second !== null)
    conditions = patternConditions(session, spec === TYPE ? canonicalType(second) : second, spec);
  if (!conditions) return false;
  if (key === 'dAf' && second !== null)
    conditions = [
      `EXISTS (SELECT 1 FROM pg_catalog.pg_type t JOIN pg_catalog.pg_opclass oc ON oc.opcintype = t.oid
    ${schemaJoin('tn', 't.typnamespace')} WHERE oc.opcfamily = of.oid AND ${conditions.join(' AND ') || 'true'})`,
    ];
  return printListing(
    session,
    { ...listing, where: conditions, name: { name: 'am.amname', maxParts: 1 } },
    pattern,
  );
}

/** \dC: the pattern may fit the source or the target. */
export async function listCasts(
  session: Session,
  pattern: string | null,
  isVerbose: boolean,
): Promise<boolean> {
  const sides = ['ts', 'tt'].map((t) =>
    patternConditions(session, pattern === null ? null : canonicalType(pattern), {
      schema: `n${t}.nspname`,
      name: `${t}.typname`,
      altName: typeName(`${t}.oid`),
      visible: `pg_catalog.pg_type_is_visible(${t}.oid)`,
      maxParts: 3,
    }),
  );
  if (sides.includes(null)) return false;
  const either = sides.map((side) => `(${side!.join(' AND ') || 'true'})`).join(' OR ');
  return printListing(
    session,
    {
      title: 'List of casts',
      columns: [
        ['Source type', typeName('c.castsource')],
        ['Target type', typeName('c.casttarget')],
        [
          'Function',
          "CASE c.castmethod WHEN 'b' THEN '(binary coercible)' WHEN 'i' THEN '(with inout)' ELSE p.proname END",
        ],
        ['Implicit?', "CASE c.castcontext WHEN 'e' THEN 'no' WHEN 'a' THEN 'in assignment' ELSE 'yes' END"],
        ...when(isVerbose, ['Leakproof?', yesNo('p.proleakproof')], description('c.oid', 'pg_cast')),
      ],
      from: `pg_catalog.pg_cast c LEFT JOIN pg_catalog.pg_proc p ON p.oid = c.castfunc
  LEFT JOIN pg_catalog.pg_type ts ON ts.oid = c.castsource ${schemaJoin('nts', 'ts.typnamespace')}
  LEFT JOIN pg_catalog.pg_type tt ON tt.oid = c.casttarget ${schemaJoin('ntt', 'tt.typnamespace')}`,
      where: [`(${either})`],
      orderBy: '1, 2',
    },
    pattern,
  );
}

/** \dd: comments on what no other list shows them of. */
export async function listComments(
  session: Session,
  pattern: string | null,
  withSystem: boolean,
): Promise<boolean> {
  const hidden = withSystem || pattern !== null ? [] : notSystem('n.nspname');
  const parts: [string, string, string, string, string, string][] = [
    // [kind, catalog, from, oid, name, visible]
    ['table constraint', 'pg_constraint', 'pg_catalog.pg_constraint o JOIN pg_catalog.pg_class c ON c.oid = o.conrelid', 'o.oid', 'o.conname', 'pg_table_is_visible(c.oid)'], // prettier-ignore
    ['domain constraint', 'pg_constraint', 'pg_catalog.pg_constraint o JOIN pg_catalog.pg_type t ON t.oid = o.contypid', 'o.oid', 'o.conname', 'pg_type_is_visible(t.oid)'], // prettier-ignore
    [
      'operator class',
      'pg_opclass',
      'pg_catalog.pg_opclass o',
      'o.oid',
      'o.opcname',
      'pg_opclass_is_visible(o.oid)',
    ],
    [
      'operator family',
      'pg_opfamily',
      'pg_catalog.pg_opfamily o',
      'o.oid',
      'o.opfname',
      'pg_opfamily_is_visible(o.oid)',
    ],
    ['rule', 'pg_rewrite', "pg_catalog.pg_rewrite o JOIN pg_catalog.pg_class c ON c.oid = o.ev_class AND o.rulename <> '_RETURN'", 'o.oid', 'o.rulename', 'pg_table_is_visible(c.oid)'], // prettier-ignore
    ['trigger', 'pg_trigger', 'pg_catalog.pg_trigger o JOIN pg_catalog.pg_class c ON c.oid = o.tgrelid', 'o.oid', 'o.tgname', 'pg_table_is_visible(c.oid)'], // prettier-ignore
  ];
  const namespaces: Record<string, string> = {
    'domain constraint': 't.typnamespace',
    'operator class': 'o.opcnamespace',
    'operator family': 'o.opfnamespace',
  };
  const selects: string[] = [];
  for (const [kind, catalog, from, oid, name, visible] of parts) {
    const matched = patternConditions(session, pattern, named('n.nspname', name, visible));
    if (!matched) return false;
    const where = [...hidden, ...matched].map((condition) => `\n    AND ${condition}`).join('');
    selects.push(
      `SELECT ${oid} AS oid, '${catalog}'::pg_catalog.regclass AS catalog, n.nspname, ${name} AS name, '${kind}'::pg_catalog.text AS kind
  FROM ${from} JOIN pg_catalog.pg_namespace n ON n.oid = ${namespaces[kind] ?? 'c.relnamespace'} WHERE true${where}`,
    );
  }
  return printListing(
    session,
    {
      title: 'Object descriptions',
      columns: [
        ['Schema', 'x.nspname'],
        ['Name', 'x.name'],
        ['Object', 'x.kind'],
        ['Description', 'd.description'],
      ],
      from: `(${selects.join('\n  UNION ALL ')}) x
  JOIN pg_catalog.pg_description d ON d.objoid = x.oid AND d.classoid = x.catalog AND d.objsubid = 0`,
      orderBy: '1, 2, 3',
    },
    null,
  );
}
