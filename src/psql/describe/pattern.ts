/** Name patterns of \d and its kin: * and ? match, . separates, double quotes protect; the rest is a regular expression. */
import pg from 'pg';
import type { Session } from '../session.js';

/** What a pattern is matched with. */
export interface NameSpec {
  /** Column of the schema's name; without one, dots belong to the name. */
  schema?: string;
  name: string;
  /** A second expression that may match instead of `name`. */
  altName?: string;
  /** Condition for names without a schema. */
  visible?: string;
  /** Dotted parts that a pattern may have: 3 = database.schema.name. */
  maxParts: number;
  /** Whether regular expression characters are taken literally (operator names). */
  isLiteral?: boolean;
}

interface Parsed {
  /** Anchored regular expressions of the dotted parts, the name last. */
  parts: string[];
  /** The first part as plain text, when there is one before a dot. */
  firstLiteral: string;
  dots: number;
}

const SPECIAL = '|*+?()[]{}.^$\\';

/** Splits at dots into at most `maxParts` parts; what is more stays in the last. */
export function parsePattern(pattern: string, maxParts: number, isLiteral: boolean): Parsed {
  const parts = [''];
  let firstLiteral = '';
  let dots = 0;
  let inQuotes = false;
  const add = (regex: string, literal: string): void => {
    parts[parts.length - 1] += regex;
    if (dots === 0) firstLiteral += literal;
  };
  const chars = [...pattern];
  for (let i = 0; i < chars.length; i++) {
    const char = chars[i]!;
    if (char === '"') {
      if (inQuotes && chars[i + 1] === '"') {
        add('"', '"');
        i++;
      } else inQuotes = !inQuotes;
    } else if (!inQuotes && char === '*') add('.*', '*');
    else if (!inQuotes && char === '?') add('.', '?');
    else if (!inQuotes && char === '.') {
      dots++;
      if (parts.length < maxParts) parts.push('');
      else parts[parts.length - 1] += '.';
    } else if (char === '$') add('\\$', '$');
    else if ((inQuotes || isLiteral) && SPECIAL.includes(char)) add(`\\${char}`, char);
    else if (char === '[' && chars[i + 1] === ']')
      add('\\[', '['); // more likely an array type than a bracket expression
    else {
      const folded = !inQuotes && char >= 'A' && char <= 'Z' ? char.toLowerCase() : char;
      add(folded, folded);
    }
  }
  return { parts: parts.map((part) => `^(${part})$`), firstLiteral, dots };
}

/** Conditions that a pattern means; null, with a message, for a pattern with too many parts or of another database. */
export function patternConditions(session: Session, pattern: string | null, spec: NameSpec): string[] | null {
  if (pattern === null) return spec.visible ? [spec.visible] : [];
  const { parts, firstLiteral, dots } = parsePattern(
    pattern,
    spec.schema ? spec.maxParts : 1,
    spec.isLiteral ?? false,
  );
  if (dots >= spec.maxParts) {
    session.error(`improper qualified name (too many dotted names): ${pattern}`);
    return null;
  }
  // Where names have no schema, a pattern cannot name a database either.
  const database = spec.schema ? firstLiteral : '';
  if (spec.maxParts > 1 && dots === spec.maxParts - 1 && database !== session.target?.database) {
    session.error(`cross-database references are not implemented: ${pattern}`);
    return null;
  }
  const conditions: string[] = [];
  const name = parts[parts.length - 1]!;
  const schema = parts.length > 1 ? parts[parts.length - 2]! : null;
  const matches = (column: string, regex: string): string =>
    `${column} OPERATOR(pg_catalog.~) ${pg.escapeLiteral(regex)} COLLATE pg_catalog.default`;
  if (name !== '^(.*)$' && name !== '^()$') {
    const alternatives = [spec.name, ...(spec.altName ? [spec.altName] : [])].map((column) =>
      matches(column, name),
    );
    conditions.push(alternatives.length > 1 ? `(${alternatives.join(' OR ')})` : alternatives[0]!);
  }
  if (schema !== null) {
    if (schema !== '^(.*)$' && schema !== '^()$') conditions.push(matches(spec.schema!, schema));
  } else if (spec.visible) conditions.push(spec.visible);
  return conditions;
}

const TYPE_NAMES: Record<string, string> = {
  decimal: 'numeric',
  float: 'double precision',
  int: 'integer',
  'bool[]': 'boolean[]',
  'decimal[]': 'numeric[]',
  'float[]': 'double precision[]',
  'float4[]': 'real[]',
  'float8[]': 'double precision[]',
  'int[]': 'integer[]',
  'int2[]': 'smallint[]',
  'int4[]': 'integer[]',
  'int8[]': 'bigint[]',
  'time[]': 'time without time zone[]',
  'timetz[]': 'time with time zone[]',
  'timestamp[]': 'timestamp without time zone[]',
  'timestamptz[]': 'timestamp with time zone[]',
  'varbit[]': 'bit varying[]',
  'varchar[]': 'character varying[]',
};

/** The catalog's name of a type that the grammar knows by another. */
export function canonicalType(pattern: string): string {
  return TYPE_NAMES[pattern.toLowerCase()] ?? pattern;
}
