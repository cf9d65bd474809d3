/** Reads a script or a terminal line by line, collects statements, sends them, runs backslash commands. */
import { ConditionalStack } from './conditional.js';
import { canonicalPath, systemReason } from './io.js';
import { decodeText } from './text.js';
import { FileLines, type LineSource } from './line-source.js';
import { ScanInput } from './scan/input.js';
import { scanHost } from './scan-host.js';
import { SqlScanner, type PromptKind, type QueryBuffer } from './scan/sql-scanner.js';
import { sendQuery } from './send.js';
import { EXIT_FAILURE, EXIT_LOST, EXIT_SCRIPT, EXIT_SUCCESS, type Session } from './session.js';
import { runSlash, type SlashResult } from './slash.js';
import path from 'node:path';

/** Where the main loop gets its lines. Null = end; 'interrupt' = ^C at the prompt. */
export interface Lines {
  next(loop: MainLoop): Promise<string | null | 'interrupt'>;
  /** A whole command was entered. */
  remember?(lines: string[]): void;
}

/** Lines of a script. */
export function scriptLines(source: LineSource): Lines {
  return {
    async next() {
      let text: string | null = null;
      for (let line = await source.next(); line !== null; line = await source.next()) {
        // As psql has it: a zero byte hides the rest of its line, line end included.
        const zero = line.indexOf(0);
        if (zero < 0)
          return (text ?? '') + decodeText(line[line.length - 1] === 10 ? line.subarray(0, -1) : line);
        text = (text ?? '') + decodeText(line.subarray(0, zero));
      }
      return text;
    },
  };
}

export class MainLoop {
  readonly conditions = new ConditionalStack();
  query: QueryBuffer = { text: '' };
  prompt: PromptKind = 'ready';
  private previous: QueryBuffer = { text: '' };
  private readonly scanner: SqlScanner;
  private success = true;
  private last: SlashResult | null = null;
  /** Lines of the command being typed. */
  private typed: string[] = [];
  private eofCount = 0;

  constructor(
    private readonly session: Session,
    private readonly lines: Lines,
    private readonly source: LineSource | null,
  ) {
    this.scanner = new SqlScanner(scanHost(session, this.conditions));
  }

  /** Runs to the end of input or \q; returns psql's exit status. */
  async run(isInteractive: boolean): Promise<number> {
    const { session } = this;
    const before = {
      source: session.source,
      isInteractive: session.isInteractive,
      lineNo: session.lineNo,
    };
    session.source = this.source;
    session.isInteractive = isInteractive;
    session.lineNo = 0;
    session.statementLine = 1;
    try {
      return await this.loop(isInteractive);
    } finally {
      Object.assign(session, before);
    }
  }

  private async loop(isInteractive: boolean): Promise<number> {
    const { session } = this;
    let dieOnError = false;
    for (;;) {
      if (session.cancelPressed) {
        if (!isInteractive) return EXIT_SCRIPT;
        session.cancelPressed = false;
      }
      if (isInteractive && this.query.text === '') this.prompt = 'ready';
      const line = await this.lines.next(this);
      if (line === 'interrupt') {
        this.interrupt();
        continue;
      }
      if (line === null) {
        if (isInteractive && this.refusesEof()) continue;
        break;
      }
      this.eofCount = 0;
      session.lineNo++;
      let text = line;
      if (session.lineNo === 1) {
        text = text.replace(/^\ufeff/, '');
        if (!isInteractive && text.startsWith('PGDMP')) {
          session.say(
            'The input is a PostgreSQL custom-format dump.\nUse the pg_restore command-line client to restore this dump to a database.\n\n',
          );
          return EXIT_FAILURE;
        }
      }
      if (text === '' && !this.scanner.inQuote) continue;
      if (isInteractive) {
        const { assist } = await import('./assist.js');
        const answer = assist(session, text, this.query.text, this.prompt);
        if (answer === 'quit') return EXIT_SUCCESS;
        if (answer === 'handled') continue;
      } else if (session.settings.echo === 'all') session.say(`${text}\n`);
      dieOnError = session.settings.onErrorStop; // a change takes effect with the next line
      if (isInteractive) this.typed.push(text);
      await this.scanLine(text);
      if (isInteractive && this.query.text === '') this.remember();
      if (this.last === 'quit') return EXIT_SUCCESS;
      if (!isInteractive) {
        if (!this.success && dieOnError) return EXIT_SCRIPT;
        if (!session.wire) return EXIT_LOST;
      }
    }
    return this.finish(isInteractive, dieOnError);
  }

  /** What is left at the end of input is sent without a semicolon. */
  private async finish(isInteractive: boolean, dieOnError: boolean): Promise<number> {
    const { session } = this;
    if (this.query.text !== '' && !isInteractive) {
      if (this.conditions.isActive) this.success = await sendQuery(session, this.query.text);
      else this.success = true;
      if (!this.success && dieOnError) return EXIT_SCRIPT;
      if (!session.wire) return EXIT_LOST;
    }
    if (!this.conditions.isEmpty) {
      session.error('reached EOF without finding closing \\endif(s)');
      if (dieOnError && !isInteractive) return EXIT_SCRIPT;
    }
    return EXIT_SUCCESS;
  }

  private async scanLine(line: string): Promise<void> {
    const { session, scanner } = this;
    let addedNewline = -1;
    if (this.query.text !== '') {
      this.query.text += '\n';
      addedNewline = this.query.text.length;
    }
    let input = new ScanInput(line);
    this.success = true;
    for (;;) {
      const before = this.query.text.length;
      const { result, prompt } = scanner.scan(input, this.query, session.standardStrings);
      this.prompt = prompt;
      session.statementLine += this.query.text.slice(before).split('\n').length - 1;
      if (result === 'eol') session.statementLine++;
      if (result === 'semicolon' || (result === 'eol' && session.settings.singleLine)) {
        if (this.conditions.isActive) {
          if (session.isInteractive) this.remember();
          await this.send();
        } else if (session.isInteractive)
          session.error('query ignored; use \\endif or Ctrl-C to exit current \\if block');
        session.statementLine = 1;
        addedNewline = -1;
      } else if (result === 'backslash') {
        if (this.query.text.length === addedNewline) this.query.text = this.query.text.slice(0, -1);
        addedNewline = -1;
        if (session.isInteractive) this.remember();
        this.last = await runSlash(session, input, {
          conditions: this.conditions,
          query: this.query,
          previous: this.previous,
          sql: scanner,
        });
        this.success = this.last !== 'error';
        session.statementLine = 1;
        if (this.last === 'send') {
          await this.send();
          scanner.reset();
        } else if (this.last === 'edited') {
          const edited = this.query.text;
          this.query.text = '';
          scanner.reset();
          input = new ScanInput(edited.endsWith('\n') || edited === '' ? edited : `${edited}\n`);
          if (session.isInteractive) session.say(edited);
        } else if (this.last === 'quit') return;
      }
      if (result === 'incomplete' || result === 'eol') return;
    }
  }

  private async send(): Promise<void> {
    this.success = await sendQuery(this.session, this.query.text);
    this.last = this.success ? 'send' : 'error';
    this.previous = this.query;
    this.query = { text: '' };
  }

  private remember(): void {
    if (this.typed.length > 0) this.lines.remember?.(this.typed);
    this.typed = [];
  }

  /** ^C at the prompt: what was typed is forgotten, and the innermost \if left. */
  private interrupt(): void {
    const { session } = this;
    this.scanner.reset();
    this.query.text = '';
    this.typed = [];
    this.prompt = 'ready';
    this.eofCount = 0;
    session.statementLine = 1;
    session.cancelPressed = false;
    session.say('\n');
    if (this.conditions.isEmpty) return;
    session.error('\\if: escaped');
    this.conditions.pop();
  }

  /** ^D: ends the session unless IGNOREEOF asks for more of them. */
  private refusesEof(): boolean {
    const { session } = this;
    if (++this.eofCount < session.settings.ignoreEof) {
      if (!session.settings.quiet) session.say('Use "\\q" to leave psql.\n');
      return true;
    }
    session.say(session.settings.quiet ? '\n' : '\\q\n');
    return false;
  }
}

/** -f and \i: runs a file, or standard input for "-" and null. Returns psql's exit status. */
export async function runFile(session: Session, name: string | null, isRelative: boolean): Promise<number> {
  let source: LineSource;
  let shownName: string | null = name;
  if (name === null) source = session.stdin;
  else if (name === '-') {
    source = session.stdin;
    shownName = '<stdin>';
  } else {
    let file = canonicalPath(name);
    if (isRelative && session.inputFile !== null && !path.isAbsolute(file))
      file = canonicalPath(path.join(path.dirname(session.inputFile), file));
    try {
      source = new FileLines(file);
    } catch (err) {
      session.error(`${file}: ${systemReason(err)}`);
      return EXIT_FAILURE;
    }
    shownName = file;
  }
  const before = session.inputFile;
  session.inputFile = shownName;
  session.terse = shownName === null;
  try {
    return await new MainLoop(session, scriptLines(source), source).run(false);
  } catch (err) {
    if (!(err instanceof Error && 'syscall' in err)) throw err;
    session.error(`could not read from input file: ${systemReason(err)}`); // a directory, for one
    return EXIT_FAILURE;
  } finally {
    if (source !== session.stdin) source.close();
    session.inputFile = before;
    session.terse = before === null;
  }
}
