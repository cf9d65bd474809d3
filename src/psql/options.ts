/** The command line, read as getopt_long reads psql's: bundled short options, abbreviated long ones, operands anywhere. */

/** Letters of options without an argument, and with one. */
const PLAIN = 'aAbeEHlnqsStVwWxXz?01';
const WITH_VALUE = 'cdfFhLoPpRTUv';

/** Long names by letter; "csv" and "help" have none of their own. */
const LONG: Record<string, string> = {
  'echo-all': 'a',
  'no-align': 'A',
  command: 'c',
  dbname: 'd',
  'echo-queries': 'e',
  'echo-errors': 'b',
  'echo-hidden': 'E',
  file: 'f',
  'field-separator': 'F',
  'field-separator-zero': 'z',
  host: 'h',
  html: 'H',
  list: 'l',
  'log-file': 'L',
  'no-readline': 'n',
  'single-transaction': '1',
  output: 'o',
  port: 'p',
  pset: 'P',
  quiet: 'q',
  'record-separator': 'R',
  'record-separator-zero': '0',
  'single-step': 's',
  'single-line': 'S',
  'tuples-only': 't',
  'table-attr': 'T',
  username: 'U',
  set: 'v',
  variable: 'v',
  version: 'V',
  'no-password': 'w',
  password: 'W',
  expanded: 'x',
  'no-psqlrc': 'X',
  help: 'help',
  csv: 'csv',
};

export interface ParsedOptions {
  /** [letter, value] in the order given; the value is '' for options without one. */
  options: [string, string][];
  operands: string[];
}

/** Returns the complaint for a command line that is not valid, without the program's name. */
export function parseCommandLine(argv: string[]): ParsedOptions | { problem: string } {
  const options: [string, string][] = [];
  const operands: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i]!;
    if (arg === '--') {
      operands.push(...argv.slice(i + 1));
      break;
    }
    if (arg === '-' || !arg.startsWith('-')) {
      operands.push(arg);
      continue;
    }
    if (arg.startsWith('--')) {
      const long = parseLong(arg, argv[i + 1]);
      if ('problem' in long) return long;
      options.push([long.letter, long.value]);
      if (long.tookNext) i++;
      continue;
    }
    for (let at = 1; at < arg.length; at++) {
      const letter = arg[at]!;
      if (PLAIN.includes(letter)) {
        options.push([letter, '']);
        continue;
      }
      if (!WITH_VALUE.includes(letter)) return { problem: `invalid option -- '${letter}'` };
      const attached = arg.slice(at + 1);
      if (attached === '' && i + 1 >= argv.length)
        return { problem: `option requires an argument -- '${letter}'` };
      options.push([letter, attached === '' ? argv[++i]! : attached]);
      break;
    }
  }
  return { options, operands };
}

function parseLong(
  arg: string,
  next: string | undefined,
): { letter: string; value: string; tookNext: boolean } | { problem: string } {
  const equals = arg.indexOf('=');
  const given = equals < 0 ? arg.slice(2) : arg.slice(2, equals);
  const names = Object.hasOwn(LONG, given)
    ? [given]
    : Object.keys(LONG).filter((name) => name.startsWith(given));
  const letters = new Set(names.map((name) => LONG[name]!));
  if (letters.size > 1)
    return {
      problem: `option '--${given}' is ambiguous; possibilities: ${names.map((name) => `'--${name}'`).join(' ')}`,
    };
  const name = names[0];
  if (name === undefined) return { problem: `unrecognized option '--${given}'` };
  const letter = LONG[name]!;
  const value = equals < 0 ? null : arg.slice(equals + 1);
  if (letter === 'help') return { letter, value: value ?? '', tookNext: false };
  if (!WITH_VALUE.includes(letter)) {
    if (value !== null) return { problem: `option '--${name}' doesn't allow an argument` };
    return { letter, value: '', tookNext: false };
  }
  if (value === null && next === undefined) return { problem: `option '--${name}' requires an argument` };
  return { letter, value: value ?? next!, tookNext: value === null };
}
