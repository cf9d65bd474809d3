/** \df, \da, \do: functions, aggregates, operators. */
import type { Session } from '../session.js';
import { aclColumn, notSystem, printListing, type Listing } from './listing.js';
import type { DescribeOptions } from './options.js';
import { canonicalType, patternConditions } from './pattern.js';

const DF_OPTIONS = 'anptwSx+';

/** Conditions for patterns of argument types; "-" = no such argument. */
function argumentConditions(session: Session, patterns: string[]): string[] | null {
  const all: string[] = [];
  for (const [i, pattern] of patterns.entries()) {
    if (pattern === '-') {
      all.push(`t${i}.typname IS NULL`);
      continue;
    }
    const conditions = patternConditions(session, canonicalType(pattern), {
      schema: `nt${i}.nspname`,
      name: `t${i}.typname`,
      altName: `pg_catalog.format_type(t${i}.oid, NULL)`,
      visible: `pg_catalog.pg_type_is_visible(t${i}.oid)`,
      maxParts: 3,
    });
    if (!conditions) return null;
    all.push(...conditions);
  }
  return all;
}

function argumentJoins(sources: string[]): string {
  return sources
    .map(
      (source, i) =>
        `\n  LEFT JOIN pg_catalog.pg_type t${i} ON t${i}.oid = ${source} LEFT JOIN pg_catalog.pg_namespace nt${i} ON nt${i}.oid = t${i}.typnamespace`,
    )
    .join('');
}

const IS_TRIGGER = "p.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype";

/** Which functions \df[anptw] is about, as a condition; null = all. */
function kindCondition(types: string): string | null {
  const kinds = [...'anptw'].filter((letter) => types.includes(letter));
  if (kinds.length === 0 || kinds.length === 5) return null;
  const is: Record<string, string> = {
    a: "p.prokind = 'a'",
    p: "p.prokind = 'p'",
    w: "p.prokind = 'w'",
    t: IS_TRIGGER,
  };
  // "Normal" is what is nothing else.
  if (!kinds.includes('n')) return `(${kinds.map((letter) => is[letter]!).join(' OR ')})`;
  return Object.keys(is)
    .filter((letter) => !kinds.includes(letter))
    .map((letter) => `NOT (${is[letter]!})`)
    .join(' AND ');
}

export async function listFunctions(
  session: Session,
  types: string,
  options: DescribeOptions,
  argPatterns: string[],
): Promise<boolean> {
  if ([...types].some((letter) => !DF_OPTIONS.includes(letter))) {
    session.error(`\\df only takes [${DF_OPTIONS}] as options`);
    return true;
  }
  const { pattern, isVerbose, withSystem } = options;
  const args = argumentConditions(session, argPatterns);
  if (!args) return false;
  const kind = kindCondition(types);
  const listing: Listing = {
    title: 'List of functions',
    columns: [
      ['Schema', 'n.nspname'],
      ['Name', 'p.proname'],
      ['Result data type', 'pg_catalog.pg_get_function_result(p.oid)'],
      ['Argument data types', 'pg_catalog.pg_get_function_arguments(p.oid)'],
      [
        'Type',
        "CASE p.prokind WHEN 'a' THEN 'agg' WHEN 'w' THEN 'window' WHEN 'p' THEN 'proc' ELSE 'func' END",
      ],
    ],
    from:
      'pg_catalog.pg_proc p LEFT JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace' +
      argumentJoins(argPatterns.map((_, i) => `p.proargtypes[${i}]`)),
    where: [
      ...(kind === null ? [] : [kind]),
      ...args,
      ...(withSystem || pattern !== null ? [] : notSystem('n.nspname')),
    ],
    name: {
      schema: 'n.nspname',
      name: 'p.proname',
      visible: 'pg_catalog.pg_function_is_visible(p.oid)',
      maxParts: 3,
    },
    orderBy: '1, 2, 4',
  };
  if (isVerbose) {
    listing.from += '\n  LEFT JOIN pg_catalog.pg_language l ON l.oid = p.prolang';
    listing.columns.push(
      [
        'Volatility',
        "CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' WHEN 'v' THEN 'volatile' END",
      ],
      [
        'Parallel',
        "CASE p.proparallel WHEN 'r' THEN 'restricted' WHEN 's' THEN 'safe' WHEN 'u' THEN 'unsafe' END",
      ],
      ['Owner', 'pg_catalog.pg_get_userbyid(p.proowner)'],
      ['Security', "CASE WHEN p.prosecdef THEN 'definer' ELSE 'invoker' END"],
      ['Leakproof?', "CASE WHEN p.proleakproof THEN 'yes' ELSE 'no' END"],
      aclColumn('p.proacl'),
      ['Language', 'l.lanname'],
      ['Internal name', "CASE WHEN l.lanname IN ('internal', 'c') THEN p.prosrc END"],
      ['Description', "pg_catalog.obj_description(p.oid, 'pg_proc')"],
    );
  }
  return printListing(session, listing, pattern);
}

export async function listAggregates(
  session: Session,
  { pattern, withSystem }: DescribeOptions,
): Promise<boolean> {
  return printListing(
    session,
    {
      title: 'List of aggregate functions',
      columns: [
        ['Schema', 'n.nspname'],
        ['Name', 'p.proname'],
        ['Result data type', 'pg_catalog.format_type(p.prorettype, NULL)'],
        [
          'Argument data types',
          "CASE WHEN p.pronargs = 0 THEN '*'::pg_catalog.text ELSE pg_catalog.pg_get_function_arguments(p.oid) END",
        ],
        ['Description', "pg_catalog.obj_description(p.oid, 'pg_proc')"],
      ],
      from: 'pg_catalog.pg_proc p LEFT JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace',
      where: ["p.prokind = 'a'", ...(withSystem || pattern !== null ? [] : notSystem('n.nspname'))],
      name: {
        schema: 'n.nspname',
        name: 'p.proname',
        visible: 'pg_catalog.pg_function_is_visible(p.oid)',
        maxParts: 3,
      },
      orderBy: '1, 2, 4',
    },
    pattern,
  );
}

export async function listOperators(
  session: Session,
  options: DescribeOptions,
  argPatterns: string[],
): Promise<boolean> {
  const { pattern, isVerbose, withSystem } = options;
  const operands = argPatterns.slice(0, 2);
  const args = argumentConditions(session, operands);
  if (!args) return false;
  // One operand alone is that of a prefix operator.
  const sources =
    operands.length === 2 ? ['o.oprleft', 'o.oprright'] : operands.length === 1 ? ['o.oprright'] : [];
  if (operands.length === 1) args.unshift('o.oprleft = 0');
  const listing: Listing = {
    title: 'List of operators',
    columns: [
      ['Schema', 'n.nspname'],
      ['Name', 'o.oprname'],
      [
        'Left arg type',
        "CASE WHEN o.oprkind = 'l' THEN NULL ELSE pg_catalog.format_type(o.oprleft, NULL) END",
      ],
      [
        'Right arg type',
        "CASE WHEN o.oprkind = 'r' THEN NULL ELSE pg_catalog.format_type(o.oprright, NULL) END",
      ],
      ['Result type', 'pg_catalog.format_type(o.oprresult, NULL)'],
      ...(isVerbose
        ? ([
            ['Function', 'o.oprcode'],
            ['Leakproof?', "CASE WHEN p.proleakproof THEN 'yes' ELSE 'no' END"],
          ] as [string, string][])
        : []),
      [
        'Description',
        "coalesce(pg_catalog.obj_description(o.oid, 'pg_operator'), pg_catalog.obj_description(o.oprcode, 'pg_proc'))",
      ],
    ],
    from:
      'pg_catalog.pg_operator o LEFT JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace' +
      '\n  LEFT JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode' +
      argumentJoins(sources),
    where: [...args, ...(withSystem || pattern !== null ? [] : notSystem('n.nspname'))],
    name: {
      schema: 'n.nspname',
      name: 'o.oprname',
      visible: 'pg_catalog.pg_operator_is_visible(o.oid)',
      maxParts: 3,
      isLiteral: true,
    },
    orderBy: '1, 2, 3, 4',
  };
  return printListing(session, listing, pattern);
}
