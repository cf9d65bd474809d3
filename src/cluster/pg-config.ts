/** PostgreSQL's settings, read and changed through the primary. Changes go by ALTER SYSTEM, which the volume keeps. */
import type pg from 'pg';
import { DbError } from '../engine/errors.js';
import { runSql } from './run-sql.js';

export interface Setting {
  name: string;
  /** With its unit where it has one: 128MB. */
  value: string;
  default: string | null;
  /** Where it comes from: default, configuration file, command line, database, ... */
  source: string;
  /** When a change takes effect: postmaster (a restart), sighup, superuser-backend, backend, superuser, user; internal: never. */
  context: string;
  pendingRestart: boolean;
  description: string;
}

const QUERY = `
  select name, pg_catalog.current_setting(name) as value, boot_val as "default", source, context, pending_restart as "pendingRestart",
         short_desc as description
  from pg_catalog.pg_settings`;

/** Settings that are lists of names: ALTER SYSTEM wants each name as a literal of its own (GUC_LIST_QUOTE). */
const NAME_LISTS = new Set([
  'local_preload_libraries',
  'search_path',
  'session_preload_libraries',
  'shared_preload_libraries',
  'temp_tablespaces',
  'unix_socket_directories',
]);

/** `pattern`: part of a name; default: all. */
export async function listSettings(
  client: pg.Client,
  which: { pattern?: string | undefined; changedOnly: boolean },
): Promise<Setting[]> {
  const { rows } = await client.query<Setting>(
    `${QUERY} where ($1::text is null or name ilike '%' || $1 || '%')
       and (not $2 or source not in ('default', 'override', 'client') or pending_restart) order by name`,
    [which.pattern ?? null, which.changedOnly],
  );
  return rows;
}

/** In the order asked for. Throws USAGE_SETTING. */
export async function getSettings(client: pg.Client, names: readonly string[]): Promise<Setting[]> {
  const { rows } = await client.query<Setting>(`${QUERY} where lower(name) = any ($1)`, [
    names.map((name) => name.toLowerCase()),
  ]);
  return names.map((name) => {
    const found = rows.find((row) => row.name.toLowerCase() === name.toLowerCase());
    if (found) return found;
    throw new DbError('USAGE_SETTING', `unrecognized configuration parameter "${name}"`, {
      hint: 'List those that there are with: aurora config list --all',
    });
  });
}

export interface SettingChange {
  name: string;
  /** Null: back to the default. */
  value: string | null;
}

/**
 * All or, when PostgreSQL refuses one, those before it. Says when the changes take effect: `restart` are those that need one; `lsn`: the volume has
 * them as of there. Throws USAGE_SETTING,
 * SQL_FAILED.
 */
export async function changeSettings(
  client: pg.Client,
  changes: readonly SettingChange[],
): Promise<{ restart: string[]; lsn: string }> {
  const known = await getSettings(client, changes.map(({ name }) => name)); // prettier-ignore
  // What the file says of a fixed setting has no effect, and can always go.
  const fixed = known.find(
    ({ source, context }, i) =>
      context === 'internal' || (source === 'command line' && changes[i]!.value !== null),
  );
  if (fixed)
    throw new DbError(
      'USAGE_SETTING',
      fixed.context === 'internal'
        ? `parameter "${fixed.name}" cannot be changed`
        : `parameter "${fixed.name}" is fixed on PostgreSQL's command line`,
      {
        hint:
          fixed.context === 'internal'
            ? 'It says how PostgreSQL, or this cluster, was made.'
            : 'The cluster rests on it, or "aurora start -o" sets it; the port is changed with "aurora start -p".',
      },
    );
  for (const [i, { value }] of changes.entries()) {
    const { name } = known[i]!;
    const sql =
      value === null
        ? `ALTER SYSTEM RESET ${quoteName(name)}`
        : `ALTER SYSTEM SET ${quoteName(name)} TO ${literals(name, value)}`;
    await runSql(client, sql, value === null ? `could not reset "${name}"` : `could not set "${name}"`);
  }
  await runSql(client, 'SELECT pg_catalog.pg_reload_conf()', 'could not reload the settings');
  const restart = known.filter(({ context }) => context === 'postmaster').map(({ name }) => name);
  const { rows } = await client.query<{ lsn: string }>(
    'select pg_catalog.pg_current_wal_flush_lsn()::text as lsn',
  );
  return { restart, lsn: rows[0]!.lsn };
}

/** Names with a dot are an extension's: two identifiers. */
function quoteName(name: string): string {
  return name
    .split('.')
    .map((part) => `"${part.replaceAll('"', '""')}"`)
    .join('.');
}

function literals(name: string, value: string): string {
  const parts =
    NAME_LISTS.has(name) && value.trim() !== '' ? value.split(',').map((part) => part.trim()) : [value];
  return parts.map((part) => `'${part.replaceAll("'", "''")}'`).join(', ');
}
