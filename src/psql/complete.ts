/** Tab completion: backslash commands, keywords, and names from the catalog. */
import fs from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { commandNames } from './commands/index.js';
import { expandTilde } from './io.js';
import { KEYWORDS } from './keywords.js';
import type { Session } from './session.js';

const DESCRIBE = 'd dt di ds dv dm dn du dg df da do dO dx dX dp dT dD db dL dE dP dA dAc dAf dAo dAp dc dC dd dF dFd dFp dFt dRp dRs dconfig des det deu dew dy drg drds ddp dl l z sf sv'.split(' '); // prettier-ignore

const RELATION = "c.relkind IN ('r', 'p', 'v', 'm', 'f')";
const BY_COMMAND: Record<string, string> = {
  dt: "c.relkind IN ('r', 'p')",
  di: "c.relkind IN ('i', 'I')",
  ds: "c.relkind = 'S'",
  dv: "c.relkind = 'v'",
  dm: "c.relkind = 'm'",
};

/** Names offered at most. */
const LIMIT = 1000;

/** Completions of the last word of `line`, with the word. `before` = lines of the statement already entered. */
export async function complete(session: Session, before: string, line: string): Promise<[string[], string]> {
  const word = /[^\s(),;=]*$/.exec(line)![0];
  const head = line.slice(0, line.length - word.length);
  if (/^\\[^\s]*$/.test(word) && !/\S/.test(head.replace(/^.*;/s, '')))
    return [
      matching(
        [...commandNames(), ...DESCRIBE].map((name) => `\\${name}`),
        word,
      ),
      word,
    ];
  const command = /\\(\S+)\s+(?:.*\s)?$/.exec(head)?.[1];
  if (command !== undefined) return [await commandArgument(session, command, word), word];
  const text = `${before}\n${head}`;
  if (
    /\b(from|join|into|update|table|truncate|vacuum|analyze|reindex|lock|copy|on)\s+(only\s+)?$/i.test(text)
  )
    return [
      [...(await relations(session, word, RELATION)), ...(word === '' ? [] : keywords(session, word))],
      word,
    ];
  const columns = word === '' ? [] : await columnsOf(session, text, word);
  return [[...columns, ...keywords(session, word)], word];
}

function matching(names: string[], word: string): string[] {
  return [...new Set(names.filter((name) => name.startsWith(word)))].sort();
}

function keywords(session: Session, word: string): string[] {
  if (word === '') return [];
  const found = [...KEYWORDS].filter((name) => name.startsWith(word.toUpperCase()));
  const style = session.settings.keywordCase;
  const typedLower = /^[a-z]/.test(word);
  const lower = style === 'lower' || (style.startsWith('preserve') && typedLower);
  return found.map((name) => (lower ? name.toLowerCase() : name));
}

async function commandArgument(session: Session, command: string, word: string): Promise<string[]> {
  const base = command.replace(/[S+x]+$/, '');
  if (['i', 'ir', 'include', 'o', 'out', 'w', 'write', 'e', 'edit', 'cd', 'copy'].includes(base))
    return files(session, word);
  if (base === 'set' || base === 'unset') return matching(session.variables.list().map(([name]) => name), word); // prettier-ignore
  if (base === 'c' || base === 'connect')
    return names(session, 'SELECT datname FROM pg_catalog.pg_database', 'datname', word);
  if (base === 'dn') return names(session, 'SELECT nspname FROM pg_catalog.pg_namespace', 'nspname', word);
  if (base === 'du' || base === 'dg' || base === 'password')
    return names(session, 'SELECT rolname FROM pg_catalog.pg_roles', 'rolname', word);
  if (base === 'df' || base === 'sf')
    return names(
      session,
      'SELECT proname FROM pg_catalog.pg_proc WHERE pg_catalog.pg_function_is_visible(oid)',
      'proname',
      word,
    );
  if (base.startsWith('d') || base === 'z' || base === 'sv')
    return relations(session, word, BY_COMMAND[base] ?? 'true');
  return [];
}

/** Relations by name, with schemas where one is being typed. */
async function relations(session: Session, word: string, condition: string): Promise<string[]> {
  const from = 'FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace';
  if (word.includes('.')) {
    const name = "pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname)";
    return rows(
      session,
      `SELECT ${name} ${from} WHERE ${condition} AND pg_catalog.starts_with(${name}, ${pg.escapeLiteral(word)}) ORDER BY 1 LIMIT ${LIMIT}`,
    );
  }
  const hideSystem = word.startsWith('pg_') ? '' : " AND n.nspname <> 'pg_catalog'";
  const quoted = pg.escapeLiteral(word);
  return rows(
    session,
    `SELECT pg_catalog.quote_ident(c.relname) ${from} WHERE ${condition} AND pg_catalog.pg_table_is_visible(c.oid)${hideSystem}
  AND pg_catalog.starts_with(pg_catalog.quote_ident(c.relname), ${quoted})
UNION SELECT pg_catalog.quote_ident(nspname) || '.' FROM pg_catalog.pg_namespace
WHERE ${quoted} <> '' AND pg_catalog.starts_with(pg_catalog.quote_ident(nspname), ${quoted}) ORDER BY 1 LIMIT ${LIMIT}`,
  );
}

/** Columns of the tables that the statement names so far. */
async function columnsOf(session: Session, text: string, word: string): Promise<string[]> {
  const tables = [
    ...text.matchAll(/\b(?:from|join|into|update|table)\s+(?:only\s+)?((?:"[^"]+"|[\w.])+)/gi),
  ].map(([, name]) => name!);
  if (tables.length === 0) return [];
  const list = tables.map((name) => `pg_catalog.to_regclass(${pg.escapeLiteral(name)})`).join(', ');
  return rows(
    session,
    `SELECT DISTINCT pg_catalog.quote_ident(attname) FROM pg_catalog.pg_attribute WHERE attrelid IN (${list}) AND attnum > 0 AND NOT attisdropped
  AND pg_catalog.starts_with(pg_catalog.quote_ident(attname), ${pg.escapeLiteral(word)}) ORDER BY 1 LIMIT ${LIMIT}`,
  );
}

function names(session: Session, query: string, column: string, word: string): Promise<string[]> {
  const glue = query.includes(' WHERE ') ? 'AND' : 'WHERE';
  return rows(
    session,
    `${query} ${glue} pg_catalog.starts_with(${column}::pg_catalog.text, ${pg.escapeLiteral(word)}) ORDER BY 1 LIMIT ${LIMIT}`,
  );
}

/** First column of a query that must not disturb anything: not in a failed transaction, and errors stay unseen. */
async function rows(session: Session, query: string): Promise<string[]> {
  const { wire } = session;
  if (!wire || wire.isBusy || wire.status === 'E') return [];
  const found: string[] = [];
  wire.query(query);
  for (let event = await wire.next(); event; event = await wire.next())
    if (event.kind === 'tuples') found.push(...event.rows.map((row) => row[0] ?? ''));
  return [...new Set(found)];
}

function files(session: Session, word: string): string[] {
  const shown = expandTilde(word, session.io.env);
  const folder = shown.endsWith('/') ? shown : path.dirname(shown);
  const start = shown.endsWith('/') ? '' : path.basename(shown);
  const lead = word.endsWith('/') || word === '' ? word : word.slice(0, word.length - start.length);
  return fs
    .readdirSync(word === '' ? '.' : folder, { withFileTypes: true })
    .filter((entry) => entry.name.startsWith(start))
    .map((entry) => `${lead}${entry.name}${entry.isDirectory() ? '/' : ''}`);
}
