/** Lists that take a pattern and + and nothing else: \dx \db \dL \dA \dew \des \deu \det \dy \drg \ddp \dl. */
import { description, fdwOptions, owner, when } from './columns.js';
import { aclColumn, type Listing } from './listing.js';

/** By command name. `withSystem` is true also when there is a pattern. */
export const SIMPLE_LISTINGS: Record<string, (isVerbose: boolean, withSystem: boolean) => Listing> = {
  dx: () => ({
    title: 'List of installed extensions',
    columns: [
      ['Name', 'e.extname'],
      ['Version', 'e.extversion'],
      ['Default version', 'ae.default_version'],
      ['Schema', 'n.nspname'],
      ['Description', "pg_catalog.obj_description(e.oid, 'pg_extension')"],
    ],
    from: `pg_catalog.pg_extension e LEFT JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
  LEFT JOIN pg_catalog.pg_available_extensions() ae(name, default_version, comment) ON ae.name = e.extname`,
    name: { name: 'e.extname', maxParts: 1 },
    orderBy: '1',
  }),
  db: (isVerbose) => ({
    title: 'List of tablespaces',
    columns: [
      ['Name', 'spcname'],
      owner('spcowner'),
      ['Location', 'pg_catalog.pg_tablespace_location(oid)'],
      ...when(
        isVerbose,
        aclColumn('spcacl'),
        ['Options', 'spcoptions'],
        ['Size', 'pg_catalog.pg_size_pretty(pg_catalog.pg_tablespace_size(oid))'],
        ['Description', "pg_catalog.shobj_description(oid, 'pg_tablespace')"],
      ),
    ],
    from: 'pg_catalog.pg_tablespace',
    name: { name: 'spcname', maxParts: 1 },
    orderBy: '1',
  }),
  dL: (isVerbose, withSystem) => ({
    title: 'List of languages',
    columns: [
      ['Name', 'l.lanname'],
      owner('l.lanowner'),
      ['Trusted', 'l.lanpltrusted'],
      ...when(
        isVerbose,
        ['Internal language', 'NOT l.lanispl'],
        ['Call handler', 'l.lanplcallfoid::pg_catalog.regprocedure'],
        ['Validator', 'l.lanvalidator::pg_catalog.regprocedure'],
        ['Inline handler', 'l.laninline::pg_catalog.regprocedure'],
        aclColumn('l.lanacl'),
      ),
      description('l.oid', 'pg_language'),
    ],
    from: 'pg_catalog.pg_language l',
    where: withSystem ? [] : ['l.lanplcallfoid != 0'],
    name: { name: 'l.lanname', maxParts: 2 },
    orderBy: '1',
  }),
  dA: (isVerbose) => ({
    title: 'List of access methods',
    columns: [
      ['Name', 'amname'],
      ['Type', "CASE amtype WHEN 'i' THEN 'Index' WHEN 't' THEN 'Table' END"],
      ...when(isVerbose, ['Handler', 'amhandler'], description('oid', 'pg_am')),
    ],
    from: 'pg_catalog.pg_am',
    name: { name: 'amname', maxParts: 1 },
    orderBy: '1',
  }),
  dew: (isVerbose) => ({
    title: 'List of foreign-data wrappers',
    columns: [
      ['Name', 'fdw.fdwname'],
      owner('fdw.fdwowner'),
      ['Handler', 'fdw.fdwhandler::pg_catalog.regproc'],
      ['Validator', 'fdw.fdwvalidator::pg_catalog.regproc'],
      ...when(
        isVerbose,
        aclColumn('fdwacl'),
        fdwOptions('fdwoptions'),
        description('fdw.oid', 'pg_foreign_data_wrapper'),
      ),
    ],
    from: 'pg_catalog.pg_foreign_data_wrapper fdw',
    name: { name: 'fdwname', maxParts: 1 },
    orderBy: '1',
  }),
  des: (isVerbose) => ({
    title: 'List of foreign servers',
    columns: [
      ['Name', 's.srvname'],
      owner('s.srvowner'),
      ['Foreign-data wrapper', 'f.fdwname'],
      ...when(
        isVerbose,
        aclColumn('s.srvacl'),
        ['Type', 's.srvtype'],
        ['Version', 's.srvversion'],
        fdwOptions('srvoptions'),
        description('s.oid', 'pg_foreign_server'),
      ),
    ],
    from: 'pg_catalog.pg_foreign_server s JOIN pg_catalog.pg_foreign_data_wrapper f ON f.oid = s.srvfdw',
    name: { name: 's.srvname', maxParts: 1 },
    orderBy: '1',
  }),
  deu: (isVerbose) => ({
    title: 'List of user mappings',
    columns: [
      ['Server', 'um.srvname'],
      ['User name', 'um.usename'],
      ...when(isVerbose, fdwOptions('umoptions')),
    ],
    from: 'pg_catalog.pg_user_mappings um',
    name: { name: 'um.srvname', altName: 'um.usename', maxParts: 1 },
    orderBy: '1, 2',
  }),
  det: (isVerbose) => ({
    title: 'List of foreign tables',
    columns: [
      ['Schema', 'n.nspname'],
      ['Table', 'c.relname'],
      ['Server', 's.srvname'],
      ...when(isVerbose, fdwOptions('ftoptions'), description('c.oid', 'pg_class')),
    ],
    from: `pg_catalog.pg_foreign_table ft JOIN pg_catalog.pg_class c ON c.oid = ft.ftrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_foreign_server s ON s.oid = ft.ftserver`,
    name: {
      schema: 'n.nspname',
      name: 'c.relname',
      visible: 'pg_catalog.pg_table_is_visible(c.oid)',
      maxParts: 3,
    },
    orderBy: '1, 2',
  }),
  dy: (isVerbose) => ({
    title: 'List of event triggers',
    columns: [
      ['Name', 'evtname'],
      ['Event', 'evtevent'],
      owner('e.evtowner'),
      [
        'Enabled',
        "CASE evtenabled WHEN 'O' THEN 'enabled' WHEN 'R' THEN 'replica' WHEN 'A' THEN 'always' WHEN 'D' THEN 'disabled' END",
      ],
      ['Function', 'e.evtfoid::pg_catalog.regproc'],
      ['Tags', "pg_catalog.array_to_string(evttags, ', ')"],
      ...when(isVerbose, description('e.oid', 'pg_event_trigger')),
    ],
    from: 'pg_catalog.pg_event_trigger e',
    name: { name: 'evtname', maxParts: 1 },
    orderBy: '1',
  }),
  drg: (_isVerbose, withSystem) => ({
    title: 'List of role grants',
    columns: [
      ['Role name', 'm.rolname'],
      ['Member of', 'r.rolname'],
      [
        'Options',
        "pg_catalog.concat_ws(', ', CASE WHEN pam.admin_option THEN 'ADMIN' END, CASE WHEN pam.inherit_option THEN 'INHERIT' END, CASE WHEN pam.set_option THEN 'SET' END)",
      ],
      ['Grantor', 'g.rolname'],
    ],
    from: `pg_catalog.pg_roles m JOIN pg_catalog.pg_auth_members pam ON pam.member = m.oid
  LEFT JOIN pg_catalog.pg_roles r ON pam.roleid = r.oid LEFT JOIN pg_catalog.pg_roles g ON pam.grantor = g.oid`,
    where: withSystem ? [] : ["m.rolname !~ '^pg_'"],
    name: { name: 'm.rolname', maxParts: 1 },
    orderBy: '1, 2, 4',
  }),
  ddp: () => ({
    title: 'Default access privileges',
    columns: [
      owner('d.defaclrole'),
      ['Schema', 'n.nspname'],
      [
        'Type',
        "CASE d.defaclobjtype WHEN 'r' THEN 'table' WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'function' WHEN 'T' THEN 'type' WHEN 'n' THEN 'schema' WHEN 'L' THEN 'large object' END",
      ],
      aclColumn('d.defaclacl'),
    ],
    from: 'pg_catalog.pg_default_acl d LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace',
    name: { name: 'n.nspname', altName: 'pg_catalog.pg_get_userbyid(d.defaclrole)', maxParts: 3 },
    orderBy: '1, 2, 3',
  }),
  dl: (isVerbose) => ({
    title: 'Large objects',
    columns: [
      ['ID', 'oid'],
      owner('lomowner'),
      ...when(isVerbose, aclColumn('lomacl')),
      description('oid', 'pg_largeobject'),
    ],
    from: 'pg_catalog.pg_largeobject_metadata',
    orderBy: 'oid',
  }),
};
