/** \pset and its short forms: sets, shows and lists the print options. */
import type { OutputFormat, PrintOptions, UnicodeLine } from './print/types.js';
import type { Session } from './session.js';
import { parseBoolean, parseInteger } from './settings.js';
import { enumComplaint } from './variables.js';

const FORMATS: OutputFormat[] = [
  'aligned',
  'asciidoc',
  'csv',
  'html',
  'latex',
  'latex-longtable',
  'troff-ms',
  'unaligned',
  'wrapped',
];
const onOff = (on: boolean): string => (on ? 'on' : 'off');
const atoi = (text: string): number => parseInt(text, 10) || 0;

interface Option {
  /** Sets a value (null = none was given: toggle, or leave as is); an error text when it is refused. */
  set(print: PrintOptions, value: string | null, name: string): string | null;
  /** One sentence on its state. */
  say(print: PrintOptions): string;
  /** Its value in the list of all options; options that are only short forms have none. */
  list?(print: PrintOptions): string;
}

function toggle(key: 'tuplesOnly' | 'footer' | 'numericLocale', sentence: (on: boolean) => string): Option {
  return {
    set(print, value, name) {
      if (value === null) print[key] = !print[key];
      else {
        const on = parseBoolean(value);
        if (on === null) return `unrecognized value "${value}" for "${name}": Boolean expected`;
        print[key] = on;
      }
      return null;
    },
    say: (print) => sentence(print[key]),
    list: (print) => onOff(print[key]),
  };
}

function text(key: 'title' | 'tableAttr', what: [string, string]): Option {
  return {
    set(print, value) {
      print[key] = value;
      return null;
    },
    say: (print) => (print[key] === null ? what[1] : `${what[0]} "${print[key]}".`),
    list: (print) => (print[key] === null ? '' : quote(print[key])),
  };
}

function unicodeLine(key: 'unicodeBorder' | 'unicodeColumn' | 'unicodeHeader', what: string): Option {
  return {
    set(print, value) {
      if (value === null) return null;
      const line = (['single', 'double'] as UnicodeLine[]).find((name) =>
        name.startsWith(value.toLowerCase()),
      );
      if (!line) return `\\pset: allowed Unicode ${what} line styles are single, double`;
      print[key] = line;
      return null;
    },
    say: (print) => `Unicode ${what} line style is "${print[key]}".`,
    list: (print) => print[key],
  };
}

function separator(key: 'fieldSep' | 'recordSep', what: string): Option {
  return {
    set(print, value) {
      if (value !== null) print[key] = { text: value, zero: false };
      return null;
    },
    say(print) {
      if (print[key].zero) return `${what} separator is zero byte.`;
      const shown = key === 'recordSep' && print[key].text === '\n' ? '<newline>' : `"${print[key].text}"`;
      return `${what} separator is ${shown}.`;
    },
    list: (print) => quote(print[key].zero ? '' : print[key].text),
  };
}

function zeroSeparator(key: 'fieldSep' | 'recordSep', what: string): Option {
  return {
    set(print) {
      print[key] = { text: '', zero: true };
      return null;
    },
    say: () => `${what} separator is zero byte.`,
    list: (print) => onOff(print[key].zero),
  };
}

const expanded: Option = {
  set(print, value, name) {
    const on = value === null ? print.expanded === 'off' : parseBoolean(value);
    if (value?.toLowerCase() === 'auto') print.expanded = 'auto';
    else if (on === null) return enumComplaint(name, value!, ['on', 'off', 'auto']);
    else print.expanded = onOff(on) as 'on' | 'off';
    return null;
  },
  say: ({ expanded: mode }) =>
    mode === 'auto' ? 'Expanded display is used automatically.' : `Expanded display is ${mode}.`,
  list: (print) => print.expanded,
};

const tuplesOnly = toggle('tuplesOnly', (on) => `Tuples only is ${onOff(on)}.`);
const title = text('title', ['Title is', 'Title is unset.']);
const tableAttr = text('tableAttr', ['Table attributes are', 'Table attributes unset.']);

/** In the order in which they are listed; short forms after. */
const OPTIONS: Record<string, Option> = {
  border: {
    set(print, value) {
      if (value !== null) print.border = atoi(value);
      return null;
    },
    say: (print) => `Border style is ${print.border}.`,
    list: (print) => String(print.border),
  },
  columns: {
    set(print, value) {
      if (value !== null) print.columns = atoi(value);
      return null;
    },
    say: ({ columns }) => (columns === 0 ? 'Target width is unset.' : `Target width is ${columns}.`),
    list: (print) => String(print.columns),
  },
  csv_fieldsep: {
    set(print, value) {
      if (value === null) return null;
      if (Buffer.byteLength(value) !== 1 || value === '\0')
        return '\\pset: csv_fieldsep must be a single one-byte character';
      if (/["\n\r]/.test(value))
        return '\\pset: csv_fieldsep cannot be a double quote, a newline, or a carriage return';
      print.csvFieldSep = value;
      return null;
    },
    say: (print) => `Field separator for CSV is "${print.csvFieldSep}".`,
    list: (print) => quote(print.csvFieldSep),
  },
  expanded,
  fieldsep: separator('fieldSep', 'Field'),
  fieldsep_zero: zeroSeparator('fieldSep', 'Field'),
  footer: toggle('footer', (on) => `Default footer is ${onOff(on)}.`),
  format: {
    set(print, value) {
      if (value === null) return null;
      const word = value.toLowerCase();
      const starting = FORMATS.filter((name) => name.startsWith(word));
      // "latex" and what it may be short for is not to be taken for the other.
      const matches = starting[0] === 'latex' ? ['latex' as const] : starting;
      if (matches.length > 1)
        return `\\pset: ambiguous abbreviation "${value}" matches both "${matches[0]}" and "${matches[1]}"`;
      if (matches.length === 0) return `\\pset: allowed formats are ${FORMATS.join(', ')}`;
      print.format = matches[0]!;
      return null;
    },
    say: (print) => `Output format is ${print.format}.`,
    list: (print) => print.format,
  },
  linestyle: {
    set(print, value) {
      if (value === null) return null;
      const style = (['ascii', 'old-ascii', 'unicode'] as const).find((name) =>
        name.startsWith(value.toLowerCase()),
      );
      if (!style) return '\\pset: allowed line styles are ascii, old-ascii, unicode';
      print.lineStyle = style;
      return null;
    },
    say: (print) => `Line style is ${print.lineStyle}.`,
    list: (print) => print.lineStyle,
  },
  null: {
    set(print, value) {
      if (value !== null) print.nullText = value;
      return null;
    },
    say: (print) => `Null display is "${print.nullText}".`,
    list: (print) => quote(print.nullText),
  },
  numericlocale: toggle('numericLocale', (on) => `Locale-adjusted numeric output is ${onOff(on)}.`),
  pager: {
    set(print, value, name) {
      if (value?.toLowerCase() === 'always') print.pager = 'always';
      else if (value === null) print.pager = print.pager === 'on' ? 'off' : 'on';
      else {
        const on = parseBoolean(value);
        if (on === null) return enumComplaint(name, value, ['on', 'off', 'always']);
        print.pager = on ? 'on' : 'off';
      }
      return null;
    },
    say: ({ pager }) =>
      pager === 'on' ? 'Pager is used for long output.' : pager === 'off' ? 'Pager usage is off.' : 'Pager is always used.', // prettier-ignore
    list: ({ pager }) => (pager === 'off' ? '0' : pager === 'on' ? '1' : '2'),
  },
  pager_min_lines: {
    set(print, value) {
      if (value === null) return null;
      const lines = parseInteger(value);
      if (lines === null) return `invalid value "${value}" for "pager_min_lines": integer expected`;
      print.pagerMinLines = lines;
      return null;
    },
    say: ({ pagerMinLines: n }) => `Pager won't be used for less than ${n} line${n === 1 ? '' : 's'}.`,
    list: (print) => String(print.pagerMinLines),
  },
  recordsep: separator('recordSep', 'Record'),
  recordsep_zero: zeroSeparator('recordSep', 'Record'),
  tableattr: tableAttr,
  title,
  tuples_only: tuplesOnly,
  unicode_border_linestyle: unicodeLine('unicodeBorder', 'border'),
  unicode_column_linestyle: unicodeLine('unicodeColumn', 'column'),
  unicode_header_linestyle: unicodeLine('unicodeHeader', 'header'),
  xheader_width: {
    set(print, value) {
      if (value === null) return null;
      const word = (['full', 'column', 'page'] as const).find((name) => name === value.toLowerCase());
      if (word === undefined && atoi(value) === 0)
        return '\\pset: allowed xheader_width values are "full" (default), "column", "page", or a number specifying the exact width';
      print.expandedHeaderWidth = word ?? atoi(value);
      return null;
    },
    say: ({ expandedHeaderWidth: width }) =>
      `Expanded header width is ${typeof width === 'number' ? width : `"${width}"`}.`,
    list: (print) => String(print.expandedHeaderWidth),
  },
};

const SHORT: Record<string, Option> = {
  x: expanded,
  vertical: expanded,
  t: tuplesOnly,
  C: title,
  T: tableAttr,
};

/** Sets an option of `print`, and says so unless `quiet`. False, with a message, for unknown options and wrong values. */
export function setPrintOption(
  session: Session,
  print: PrintOptions,
  name: string,
  value: string | null,
  quiet: boolean,
): boolean {
  const option = Object.hasOwn(OPTIONS, name)
    ? OPTIONS[name]
    : Object.hasOwn(SHORT, name)
      ? SHORT[name]
      : undefined;
  const problem = option ? option.set(print, value, name) : `\\pset: unknown option: ${name}`;
  if (problem !== null) {
    session.error(problem);
    return false;
  }
  // psql sets these three without a word when a value is given.
  const silent = value !== null && ['footer', 'numericlocale', 't', 'tuples_only'].includes(name);
  if (!quiet && !silent) session.say(`${option!.say(print)}\n`);
  return true;
}

/** All options with their values, one a line. */
export function listPrintOptions(print: PrintOptions): string {
  return Object.entries(OPTIONS)
    .map(([name, option]) => `${name.padEnd(24)} ${option.list?.(print) ?? ''}\n`)
    .join('');
}

function quote(value: string): string {
  return `'${value.replaceAll('\n', '\\n').replaceAll("'", "\\'")}'`;
}
