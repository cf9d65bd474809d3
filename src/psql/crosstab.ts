/** \crosstabview: a result of three columns or more as a grid, one column's values down, another's across. */
import { alignmentOf } from './print/table.js';
import { tableOf, type TableContent } from './print/types.js';
import { foldName } from './scan/slash-scanner.js';
import type { Session } from './session.js';
import type { Field, TextRow } from './wire-types.js';

/** As many as PostgreSQL's tables may have. */
const MAX_COLUMNS = 1600;

/** Column names or numbers as given: vertical header, horizontal header, data, order of the horizontal one. */
export type CrosstabArguments = [string | null, string | null, string | null, string | null];

/** The grid; null, with a message, when the result or the arguments do not make one. */
export function crosstab(
  session: Session,
  fields: Field[],
  rows: TextRow[],
  args: CrosstabArguments,
): TableContent | null {
  try {
    return grid(session, fields, rows, args);
  } catch (err) {
    if (!(err instanceof NoGrid)) throw err;
    session.error(`\\crosstabview: ${err.message}`);
    return null;
  }
}

class NoGrid extends Error {}

function grid(session: Session, fields: Field[], rows: TextRow[], args: CrosstabArguments): TableContent {
  if (fields.length < 3) throw new NoGrid('query must return at least three columns');
  const [downArg, acrossArg, dataArg, orderArg] = args;
  const down = downArg === null ? 0 : columnOf(fields, downArg);
  const across = acrossArg === null ? 1 : columnOf(fields, acrossArg);
  if (down === across) throw new NoGrid('vertical and horizontal headers must be different columns');
  if (dataArg === null && fields.length !== 3)
    throw new NoGrid('data column must be specified when query returns more than three columns');
  const data =
    dataArg === null ? [0, 1, 2].find((i) => i !== down && i !== across)! : columnOf(fields, dataArg);
  const order = orderArg === null ? null : columnOf(fields, orderArg);

  const columns = new Map<string | null, string | null>(); // to the value that orders it
  const lines = new Map<string | null, TextRow>();
  for (const row of rows) {
    if (!columns.has(row[across]!)) columns.set(row[across]!, order === null ? null : row[order]!);
    if (columns.size > MAX_COLUMNS) throw new NoGrid(`maximum number of columns (${MAX_COLUMNS}) exceeded`);
  }
  const names = [...columns.keys()];
  if (order !== null) names.sort((a, b) => rank(columns.get(a)!) - rank(columns.get(b)!));
  const place = new Map(names.map((name, i) => [name, i]));
  const { nullText, title } = session.print;
  for (const row of rows) {
    const name = row[down]!;
    let line = lines.get(name);
    if (!line) lines.set(name, (line = names.map(() => null)));
    const at = place.get(row[across]!)!;
    if (line[at] !== null)
      throw new NoGrid(
        `query result contains multiple data values for row "${name ?? (nullText || '(null)')}", column "${row[across] ?? (nullText || '(null)')}"`,
      );
    line[at] = row[data] ?? nullText;
  }
  const align = alignmentOf(fields[data]!.dataTypeID);
  const table = tableOf(
    [fields[down]!.name, ...names.map((name) => name ?? nullText)],
    [alignmentOf(fields[down]!.dataTypeID), ...names.map(() => align)],
    [...lines].map(([name, line]) => [name ?? nullText, ...line.map((cell) => cell ?? '')]),
  );
  return { ...table, title };
}

function rank(value: string | null): number {
  return value !== null && /^-?\d+$/.test(value) ? Number(value) : 0;
}

function columnOf(fields: Field[], arg: string): number {
  if (/^\d+$/.test(arg)) {
    const number = Number(arg);
    if (number < 1 || number > fields.length)
      throw new NoGrid(`column number ${number} is out of range 1..${fields.length}`);
    return number - 1;
  }
  const name = foldName(arg);
  const found = fields.flatMap((field, i) => (field.name === name ? [i] : []));
  if (found.length > 1) throw new NoGrid(`ambiguous column name: "${name}"`);
  if (found.length === 0) throw new NoGrid(`column name not found: "${name}"`);
  return found[0]!;
}
