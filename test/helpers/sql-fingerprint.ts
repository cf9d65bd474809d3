/**
 * Ordered fingerprints of a database, one line a fact, so that two that differ can be shown side by side.
 *
 *   logical: what a schema dump and the data say, by name. Two servers that ran the same SQL agree on it.
 *   exact:   every visible row of every permanent relation, the catalogs included, with its ctid, xmin and xmax. One cluster before and after a
 *            restart agrees on it; nothing else would.
 */
import type pg from 'pg';

/** The bootstrap superuser's name need not be the same on two servers. */
const owner = (oid: string): string =>
  `(case ${oid} when 10 then 'superuser' when 0 then 'public' else pg_get_userbyid(${oid}) end)`;
const acl = (column: string): string =>
  `(select coalesce(string_agg(x, ',' order by x), 'default')
    from (select ${owner('a.grantee')} || '=' || a.privilege_type || '/' || ${owner('a.grantor')} as x from aclexplode(${column}) a) s)`;

const USER_SCHEMA = `n.nspname !~ '^pg_' and n.nspname <> 'information_schema'`;
/** Objects that belong to an extension are named by it. */
const notOfExtension = (catalog: string, oid: string): string =>
  `not exists (select from pg_depend e where e.classid = '${catalog}'::regclass and e.objid = ${oid} and e.deptype = 'e')`;

const LOGICAL: Record<string, string> = {
  schema: `select n.nspname || ' ' || ${owner('n.nspowner')} || ' ' || ${acl('n.nspacl')} from pg_namespace n where ${USER_SCHEMA}`,
  relation: `select format('%I.%I', n.nspname, c.relname) || concat_ws(' ', '', c.relkind, c.relpersistence, am.amname, t.spcname, ${owner('c.relowner')}, c.relhasindex, c.relispartition, c.relreplident,
      c.relrowsecurity, c.reloptions::text, ${acl('c.relacl')}, pg_get_expr(c.relpartbound, c.oid), pg_get_partkeydef(c.oid), case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) end, c.relispopulated)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace left join pg_am am on am.oid = c.relam left join pg_tablespace t on t.oid = c.reltablespace
    where ${USER_SCHEMA} and ${notOfExtension('pg_class', 'c.oid')}`,
  column: `select format('%s.%s', c.oid::regclass, a.attnum) || concat_ws(' ', '', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attisdropped, a.attidentity, a.attgenerated, a.attstorage, a.attcompression,
      a.attstattarget, a.attoptions::text, pg_get_expr(d.adbin, d.adrelid), a.atthasmissing, a.attmissingval::text)
    from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where ${USER_SCHEMA} and a.attnum > 0 and ${notOfExtension('pg_class', 'c.oid')}`,
  index: `select pg_get_indexdef(i.indexrelid) || concat_ws(' ', '', i.indisvalid, i.indisready, i.indislive, i.indisclustered, i.indisreplident, i.indnullsnotdistinct, (select string_agg(p.inhparent::regclass::text, ',') from pg_inherits p where p.inhrelid = i.indexrelid))
    from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace where ${USER_SCHEMA}`,
  constraint: `select format('%s %s %s ', coalesce(c.conrelid::regclass::text, c.contypid::regtype::text), c.conname, c.convalidated) || pg_get_constraintdef(c.oid)
    from pg_constraint c join pg_namespace n on n.oid = c.connamespace where ${USER_SCHEMA}`,
  inheritance: `select format('%s %s %s', inhrelid::regclass, inhparent::regclass, inhdetachpending) from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_namespace n on n.oid = c.relnamespace where ${USER_SCHEMA} and c.relkind in ('r', 'p')`,
  trigger: `select concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled) from pg_trigger t where not tgisinternal`,
  eventTrigger: `select concat_ws(' ', evtname, evtevent, evtfoid::regproc, evtenabled, evttags::text) from pg_event_trigger`,
  rule: `select pg_get_ruledef(r.oid) from pg_rewrite r join pg_class c on c.oid = r.ev_class join pg_namespace n on n.oid = c.relnamespace where ${USER_SCHEMA} and ${notOfExtension('pg_class', 'c.oid')}`,
  policy: `select concat_ws(' ', polname, polrelid::regclass, polcmd, polpermissive, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) from pg_policy`,
  routine: `select concat_ws(' ', p.oid::regprocedure, ${owner('p.proowner')}, case when p.prokind in ('f', 'p') then pg_get_functiondef(p.oid) end, ${acl('p.proacl')})
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace where ${USER_SCHEMA} and ${notOfExtension('pg_proc', 'p.oid')}`,
  type: `select concat_ws(' ', format_type(t.oid, null), t.typtype, t.typnotnull, t.typdefault, format_type(t.typbasetype, t.typtypmod),
      (select string_agg(e.enumlabel, ',' order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid),
      (select format_type(r.rngsubtype, null) from pg_range r where r.rngtypid = t.oid))
    from pg_type t join pg_namespace n on n.oid = t.typnamespace where ${USER_SCHEMA} and ${notOfExtension('pg_type', 't.oid')}`,
  sequence: `select format('%s %s', s.seqrelid::regclass, (s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmax, s.seqmin, s.seqcache, s.seqcycle)) from pg_sequence s`,
  extension: `select format('%s %s %s', extname, extversion, extnamespace::regnamespace) from pg_extension`,
  statisticsObject: `select pg_get_statisticsobjdef(oid) from pg_statistic_ext`,
  publication: `select concat_ws(' ', p.pubname, p.puballtables, p.pubinsert, p.pubupdate, (select string_agg(r.prrelid::regclass::text, ',' order by 1) from pg_publication_rel r where r.prpubid = p.oid)) from pg_publication p`,
  foreignServer: `select concat_ws(' ', srvname, fdwname, srvoptions::text) from pg_foreign_server s join pg_foreign_data_wrapper w on w.oid = s.srvfdw`,
  operator: `select concat_ws(' ', o.oid::regoperator, o.oprcode::regproc) from pg_operator o join pg_namespace n on n.oid = o.oprnamespace where ${USER_SCHEMA} and ${notOfExtension('pg_operator', 'o.oid')}`,
  cast: `select format('%s %s %s', castsource::regtype, casttarget::regtype, castcontext) from pg_cast where oid >= 16384`,
  collation: `select concat_ws(' ', c.collname, c.collprovider, c.colllocale, c.collcollate, c.collisdeterministic) from pg_collation c join pg_namespace n on n.oid = c.collnamespace where ${USER_SCHEMA}`,
  comment: `select concat_ws(' ', d.classoid::regclass, pg_describe_object(d.classoid, d.objoid, d.objsubid), d.description) from pg_description d where d.objoid >= 16384 and d.classoid <> 'pg_operator'::regclass`,
  largeObject: `select format('%s %s', l.loid, md5(lo_get(l.loid))) from (select distinct loid from pg_largeobject) l`,
  sequenceState: `select format('%s %s', s.seqrelid::regclass, pg_sequence_last_value(s.seqrelid)) from pg_sequence s join pg_class c on c.oid = s.seqrelid and c.relpersistence = 'p'`,
};

/** Shared by all databases of a cluster. */
const CLUSTER: Record<string, string> = {
  role: `select concat_ws(' ', rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolconnlimit, rolvaliduntil) from pg_roles where oid <> 10`,
  membership: `select format('%s %s %s %s', roleid::regrole, member::regrole, admin_option, inherit_option) from pg_auth_members where member >= 16384`,
  database: `select concat_ws(' ', d.datname, ${owner('d.datdba')}, d.encoding, d.datcollate, d.datallowconn, d.datistemplate, d.datconnlimit, t.spcname, ${acl('d.datacl')}) from pg_database d join pg_tablespace t on t.oid = d.dattablespace`,
  tablespace: `select concat_ws(' ', spcname, ${owner('spcowner')}, spcoptions::text) from pg_tablespace`,
  setting: `select concat_ws(' ', d.datname, r.rolname, s.setconfig::text) from pg_db_role_setting s left join pg_database d on d.oid = s.setdatabase left join pg_roles r on r.oid = s.setrole`,
};

/** One snapshot, and settings under which values have one text form. */
const BEGIN = `begin isolation level repeatable read; set local search_path = pg_catalog; set local timezone = 'UTC'; set local datestyle = 'ISO';
  set local intervalstyle = 'postgres'; set local bytea_output = 'hex'; set local extra_float_digits = 1`;

export async function logicalFingerprint(client: pg.Client): Promise<string[]> {
  const lines: string[] = [];
  await client.query(BEGIN);
  for (const [kind, query] of Object.entries({ ...CLUSTER, ...LOGICAL })) {
    const { rows } = await client.query<{ line: string }>(
      `select line from (${query}) q(line) order by line collate "C"`,
    );
    lines.push(...rows.map(({ line }) => `${kind}: ${line}`));
  }
  const { rows: tables } = await client.query<{ name: string }>(
    `select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'm') and c.relpersistence = 'p' and c.relispopulated and ${USER_SCHEMA} order by 1`,
  );
  lines.push(
    ...(await digests(
      client,
      tables.map(({ name }) => ({ table: name, row: 't::text' })),
    )),
  );
  await client.query('rollback');
  return lines;
}

export async function exactFingerprint(client: pg.Client): Promise<string[]> {
  await client.query(BEGIN);
  const { rows: tables } = await client.query<{ name: string; kind: string }>(
    `select c.oid::regclass::text as name, c.relkind::text as kind from pg_class c where c.relkind in ('r', 'm', 't') and c.relpersistence = 'p' and c.relispopulated order by 1`,
  );
  const lines = await digests(
    client,
    tables.map(({ name, kind }) => ({
      table: name,
      row: `concat_ws(' ', t.ctid, t.xmin, t.xmax, ${kind === 't' ? 't.chunk_id, t.chunk_seq, t.chunk_data' : 't'})`,
    })),
  );
  const { rows: sizes } = await client.query<{ line: string }>(
    `select concat_ws(' ', c.oid::regclass, pg_relation_filenode(c.oid)) as line from pg_class c
     where c.relkind in ('r', 'm', 't', 'i') and c.relpersistence = 'p' order by 1`,
  );
  lines.push(...sizes.map(({ line }) => `file: ${line}`));
  await client.query('rollback');
  return lines;
}

/** Tables of one query: a round trip each would cost more than the work. */
const TABLES_AT_ONCE = 50;

/** A line each: name, count of rows, and a digest that does not depend on their order. */
async function digests(
  client: pg.Client,
  tables: readonly { table: string; row: string }[],
): Promise<string[]> {
  const lines: string[] = [];
  for (let at = 0; at < tables.length; at += TABLES_AT_ONCE) {
    const queries = tables.slice(at, at + TABLES_AT_ONCE).map(
      ({ table, row }) =>
        `select concat_ws(' ', 'rows:', ${client.escapeLiteral(table)}, count(*), coalesce(md5(string_agg(h, '' order by h)), 'empty')) as line
         from (select md5(${row}) as h from only ${table} t) r`,
    );
    const { rows } = await client.query<{ line: string }>(queries.join(' union all '));
    lines.push(...rows.map(({ line }) => line));
  }
  return lines;
}

/** What is only in one of them, as a readable text; empty when they are equal. */
export function difference(
  left: readonly string[],
  right: readonly string[],
  [leftName, rightName]: readonly [string, string],
): string {
  const inLeft = new Set(left);
  const inRight = new Set(right);
  return [
    ...left.filter((line) => !inRight.has(line)).map((line) => `only ${leftName}: ${line}`),
    ...right.filter((line) => !inLeft.has(line)).map((line) => `only ${rightName}: ${line}`),
  ].join('\n');
}
