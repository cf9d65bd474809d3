/** \sf and \sv: a function's or view's definition. */
import pg from 'pg';
import { showText } from '../pager.js';
import { execute, lookUp } from '../run.js';
import type { Session } from '../session.js';

export async function showSource(
  session: Session,
  kind: 'function' | 'view',
  what: string | null,
  withNumbers: boolean,
): Promise<boolean> {
  if (what === null) {
    session.error(`${kind} name is required`);
    return false;
  }
  const text = kind === 'function' ? await functionSource(session, what) : await viewSource(session, what);
  if (text === null) return false;
  const source = text.endsWith('\n') ? text : `${text}\n`;
  const shown = withNumbers ? numbered(source, kind === 'function') : source;
  if (session.queryOut === session.stdout) await showText(shown, session.print, session.io);
  else session.queryOut.write(shown);
  return true;
}

export async function functionSource(session: Session, name: string): Promise<string | null> {
  const type = name.includes('(') ? 'regprocedure' : 'regproc';
  const found = await lookUp(session, `SELECT ${pg.escapeLiteral(name)}::pg_catalog.${type}::pg_catalog.oid`);
  if (!found) return null;
  const source = await lookUp(session, `SELECT pg_catalog.pg_get_functiondef(${found.rows[0]![0]})`);
  return source?.rows[0]?.[0] ?? null;
}

export async function viewSource(session: Session, name: string): Promise<string | null> {
  const found = await lookUp(
    session,
    `SELECT ${pg.escapeLiteral(name)}::pg_catalog.regclass::pg_catalog.oid`,
  );
  if (!found) return null;
  const view = await execute(
    session,
    `SELECT pg_catalog.quote_ident(n.nspname), pg_catalog.quote_ident(c.relname), c.relkind, pg_catalog.pg_get_viewdef(c.oid, true),
  (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(option_name) || '=' || pg_catalog.quote_literal(option_value), ', ')
   FROM pg_catalog.pg_options_to_table(c.reloptions) WHERE option_name <> 'check_option'),
  (SELECT pg_catalog.upper(option_value) FROM pg_catalog.pg_options_to_table(c.reloptions) WHERE option_name = 'check_option'),
  n.nspname || '.' || c.relname
FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON c.relnamespace = n.oid WHERE c.oid = ${found.rows[0]![0]}`,
  );
  const row = view?.rows[0];
  if (!row) return null;
  const [schema, relation, kind, definition, options, check, plainName] = row;
  if (kind !== 'v') {
    session.error(`"${plainName}" is not a view`);
    return null;
  }
  const withOptions = options ? `\n WITH (${options})` : '';
  const withCheck = check ? `\n WITH ${check} CHECK OPTION` : '';
  return `CREATE OR REPLACE VIEW ${schema}.${relation}${withOptions} AS\n${definition!.replace(/;$/, '')}${withCheck}`;
}

/** Line numbers as error messages count them: from the first line of a function's body. */
function numbered(source: string, isFunction: boolean): string {
  let inHeader = isFunction;
  let number = 0;
  return source
    .replace(/\n$/, '')
    .split('\n')
    .map((line) => {
      if (/^(AS|BEGIN|RETURN) /.test(line)) inHeader = false;
      return inHeader ? `        ${line}\n` : `${String(++number).padEnd(7)} ${line}\n`;
    })
    .join('');
}
