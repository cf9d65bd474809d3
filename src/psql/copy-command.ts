/** \copy: COPY with the file, program or stream on this side. */
import fs from 'node:fs';
import { canonicalPath, captureShell, describeStatus, expandTilde, FileSink, PipeSink, systemReason } from './io.js'; // prettier-ignore
import { BufferLines, FileLines } from './line-source.js';
import { sendQuery, type SendOptions } from './send.js';
import type { Session } from './session.js';

/** \copy's arguments. `file` null: standard input or output. */
export interface CopyArguments {
  /** "tab (a, b)" or "(query)". */
  what: string;
  isFrom: boolean;
  file: string | null;
  isProgram: boolean;
  /** pstdin, pstdout: psql's own streams even in a script and under \o. */
  isOwnStream: boolean;
  options: string;
}

/** Words, quoted names and strings, and single delimiters. */
class Tokens {
  private at = 0;

  constructor(private readonly text: string) {}

  /** The next token; in `strings` mode, quoted strings with E'' escapes are tokens too. */
  next(delimiters: string, quotes: string, escapes = false): string | null {
    const { text } = this;
    while (this.at < text.length && /[ \t\n\r]/.test(text[this.at]!)) this.at++;
    const start = this.at;
    if (start >= text.length) return null;
    if (delimiters.includes(text[start]!)) return text[this.at++]!;
    let open = start;
    let escape = '';
    if (escapes && /^[eE]'/.test(text.slice(start, start + 2))) {
      open++;
      escape = '\\';
    }
    const quote = text[open]!;
    if (quotes.includes(quote)) {
      let at = open + 1;
      for (; at < text.length; at++) {
        if (text[at] === escape && at + 1 < text.length) at++;
        else if (text[at] === quote && text[at + 1] === quote) at++;
        else if (text[at] === quote) break;
      }
      this.at = Math.min(at + 1, text.length);
      return text.slice(start, this.at);
    }
    while (this.at < text.length && !/[ \t\n\r]/.test(text[this.at]!)) {
      if (this.at > start && (delimiters.includes(text[this.at]!) || quotes.includes(text[this.at]!))) break;
      this.at++;
    }
    return text.slice(start, this.at);
  }

  rest(): string {
    return this.text.slice(this.at);
  }
}

/** Throws a message for what does not parse: the token there, or the end of the line. */
export function parseCopy(text: string): CopyArguments | { problem: string } {
  const tokens = new Tokens(text);
  let token: string | null = null;
  const word = (delimiters = '.,()', quotes = '"', escapes = false): string => {
    token = tokens.next(delimiters, quotes, escapes);
    if (token === null) throw new SyntaxError('at end of line');
    return token;
  };
  try {
    let what = '';
    let current = word();
    if (current.toLowerCase() === 'binary') {
      what = current;
      current = word();
    }
    if (current === '(') {
      for (let depth = 1; depth > 0;) {
        what += ` ${current}`;
        current = word('()', '"\'', true);
        if (current === '(') depth++;
        else if (current === ')') depth--;
      }
    }
    what += ` ${current}`;
    current = word();
    if (current === '.') {
      what += current + word();
      current = word();
    }
    if (current === '(') {
      while (current !== ')') {
        what += ` ${current}`;
        current = word('()');
      }
      what += ` ${current}`;
      current = word();
    }
    const direction = current.toLowerCase();
    if (direction !== 'from' && direction !== 'to') throw new SyntaxError(`at "${current}"`);
    const isFrom = direction === 'from';
    current = word(';', "'");
    const place = current.toLowerCase();
    const isProgram = place === 'program';
    if (isProgram) {
      current = word(';', "'");
      if (!/^'[^]*'$/.test(current) || current.length < 2) throw new SyntaxError(`at "${current}"`);
    }
    const isStream = !isProgram && ['stdin', 'stdout', 'pstdin', 'pstdout'].includes(place);
    return {
      what,
      isFrom,
      file: isStream ? null : unquote(current),
      isProgram,
      isOwnStream: isStream && place.startsWith('p'),
      options: tokens.rest(),
    };
  } catch (err) {
    if (!(err instanceof SyntaxError)) throw err;
    return { problem: `\\copy: parse error ${err.message}` };
  }
}

function unquote(token: string): string {
  if (!token.startsWith("'")) return token.replaceAll("''", "'");
  return token.replace(/^'/, '').replace(/'$/, '').replaceAll("''", "'");
}

/** Runs \copy; false, with a message, when it failed. */
export async function slashCopy(session: Session, text: string | null): Promise<boolean> {
  if (text === null) {
    session.error('\\copy: arguments required');
    return false;
  }
  const args = parseCopy(text);
  if ('problem' in args) {
    session.error(args.problem);
    return false;
  }
  if (args.file !== null && !args.isProgram)
    args.file = canonicalPath(expandTilde(args.file, session.io.env));
  const sql = `COPY ${args.what} ${args.isFrom ? 'FROM STDIN' : 'TO STDOUT'} ${args.options.trimStart()}`;
  return args.isFrom ? copyFrom(session, args, sql) : copyTo(session, args, sql);
}

async function copyFrom(session: Session, args: CopyArguments, sql: string): Promise<boolean> {
  if (args.isProgram) {
    const { output, status } = captureShell(args.file!, session.io);
    const ok = await sendQuery(session, sql, { copySource: new BufferLines(output) });
    return programEnded(session, args.file!, status) && ok;
  }
  if (args.file === null) {
    const options: SendOptions = args.isOwnStream ? { copySource: session.stdin } : {};
    return sendQuery(session, sql, options);
  }
  let source: FileLines;
  try {
    if (fs.statSync(args.file).isDirectory()) {
      session.error(`${args.file}: cannot copy from/to a directory`);
      return false;
    }
    source = new FileLines(args.file);
  } catch (err) {
    session.error(`${args.file}: ${systemReason(err)}`);
    return false;
  }
  try {
    return await sendQuery(session, sql, { copySource: source });
  } finally {
    source.close();
  }
}

async function copyTo(session: Session, args: CopyArguments, sql: string): Promise<boolean> {
  if (args.file === null)
    return sendQuery(session, sql, args.isOwnStream ? { copySink: session.stdout } : {});
  if (args.isProgram) {
    const sink = new PipeSink(args.file, session.io);
    const ok = await sendQuery(session, sql, { copySink: sink });
    return programEnded(session, args.file, await sink.close()) && ok;
  }
  let sink: FileSink;
  try {
    sink = new FileSink(args.file);
  } catch (err) {
    session.error(`${args.file}: ${systemReason(err)}`);
    return false;
  }
  try {
    return await sendQuery(session, sql, { copySink: sink });
  } finally {
    await sink.close();
  }
}

function programEnded(session: Session, program: string, status: number): boolean {
  session.setShellResult(status);
  if (status !== 0) session.error(`${program}: ${describeStatus(status)}`);
  return status === 0;
}
