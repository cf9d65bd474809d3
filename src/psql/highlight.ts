/** Colours for SQL as it is typed. */
import { Chalk } from 'chalk';
import { KEYWORDS } from './keywords.js';
import type { PromptKind } from './scan/sql-scanner.js';

const paint = new Chalk({ level: 1 });

/** Longer lines are pasted data rather than typed, and stay as they are. */
const LIMIT = 4000;

const TOKEN =
  /(?<comment>--.*|\/\*(?:[^*]|\*(?!\/))*(?:\*\/)?)|(?<string>[eEnNbBxX]?'(?:[^']|'')*'?|(?<tag>\$(?:[A-Za-z_]\w*)?\$)[^]*?(?:\k<tag>|$))|(?<name>"(?:[^"]|"")*"?)|(?<command>\\[^\s\\]+)|(?<variable>:(?:[A-Za-z_]\w*|'\w+'|"\w+"|\{\?\w+\}))|(?<cast>::)|(?<number>\b\d[\w.]*)|(?<word>[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*)/g;

/** What a line begins within, up to where that ends. */
const OPEN: Partial<Record<PromptKind, { end: RegExp; colour: (text: string) => string }>> = {
  'single-quote': { end: /^(?:[^']|'')*'?/, colour: paint.green },
  'double-quote': { end: /^(?:[^"]|"")*"?/, colour: paint.cyan },
  'dollar-quote': { end: /^[^]*/, colour: paint.green },
  comment: { end: /^[^]*?(?:\*\/|$)/, colour: paint.gray },
};

/** The line with colours; `state` = what it continues. Nothing but colours is added. */
export function highlight(line: string, state: PromptKind): string {
  if (line.length > LIMIT) return line;
  const open = OPEN[state];
  const head = open ? open.end.exec(line)![0] : '';
  return (head === '' ? '' : open!.colour(head)) + line.slice(head.length).replace(TOKEN, colourOf);
}

function colourOf(text: string, ...rest: unknown[]): string {
  const groups = rest[rest.length - 1] as Partial<Record<string, string>>;
  if (groups['comment'] !== undefined) return paint.gray(text);
  if (groups['string'] !== undefined) return paint.green(text);
  if (groups['name'] !== undefined) return paint.cyan(text);
  if (groups['command'] !== undefined) return paint.magenta(text);
  if (groups['variable'] !== undefined) return paint.yellow(text);
  if (groups['number'] !== undefined) return paint.cyan(text);
  if (groups['word'] !== undefined && KEYWORDS.has(text.toUpperCase())) return paint.blueBright(text);
  return text;
}
