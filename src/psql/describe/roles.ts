import { execute } from '../run.js';
import { tableOf } from '../print/types.js';
import type { Session } from '../session.js';
import type { DescribeOptions } from './options.js';
import { patternConditions } from './pattern.js';

/** \du and \dg. */
export async function listRoles(session: Session, options: DescribeOptions): Promise<boolean> {
  const { pattern, isVerbose, withSystem } = options;
  const named = patternConditions(session, pattern, { name: 'r.rolname', maxParts: 1 });
  if (!named) return false;
  const where = [...(withSystem || pattern !== null ? [] : ["r.rolname !~ '^pg_'"]), ...named];
  const result = await execute(
    session,
    `SELECT r.rolname, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolreplication, r.rolbypassrls,
  r.rolconnlimit, r.rolvaliduntil, pg_catalog.shobj_description(r.oid, 'pg_authid')
FROM pg_catalog.pg_roles r${where.length > 0 ? `\nWHERE ${where.join(' AND ')}` : ''}
ORDER BY 1;`,
  );
  if (!result) return false;
  const rows = result.rows.map((row) => {
    const [
      name,
      superuser,
      inherit,
      createRole,
      createDb,
      login,
      replication,
      bypass,
      limit,
      until,
      comment,
    ] = row;
    const attributes = [
      ...(superuser === 't' ? ['Superuser'] : []),
      ...(inherit === 't' ? [] : ['No inheritance']),
      ...(createRole === 't' ? ['Create role'] : []),
      ...(createDb === 't' ? ['Create DB'] : []),
      ...(login === 't' ? [] : ['Cannot login']),
      ...(replication === 't' ? ['Replication'] : []),
      ...(bypass === 't' ? ['Bypass RLS'] : []),
    ].join(', ');
    const lines = attributes === '' ? [] : [attributes];
    const connections = Number(limit);
    if (connections === 0) lines.push('No connections');
    else if (connections > 0) lines.push(`${connections} connection${connections === 1 ? '' : 's'}`);
    if (until) lines.push(`Password valid until ${until}`);
    return [name!, lines.join('\n'), ...(isVerbose ? [comment ?? ''] : [])];
  });
  const headers = ['Role name', 'Attributes', ...(isVerbose ? ['Description'] : [])];
  const table = tableOf(headers, headers.map(() => 'l'), rows); // prettier-ignore
  await session.printTable({ ...table, title: 'List of roles', defaultFooter: false });
  return true;
}
