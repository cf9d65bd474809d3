/** Takes apart a backslash command: its name and its arguments, with psql's quoting rules (psqlscanslash.l). */
import type { ScanHost, ScanInput } from './input.js';
import { expandQuoted } from './sql-scanner.js';

/**
 * How an argument is read: normal; an SQL name (quotes dropped, the rest in lower case); a name whose case is kept (\connect);
 * a file or |command (the rest of the line); the rest of the line.
 */
export type ArgumentKind = 'normal' | 'name' | 'name-as-is' | 'file-or-pipe' | 'line';

export interface SlashArgument {
  text: string;
  /** The last kind of quoting in it: ' " ` or : for a variable, '' for none. */
  quote: string;
}

const NAME = /[^\s\\]*/y;
const SPACE = /[ \t\n\r\f\v]+/y;
const VARIABLE = /:[A-Za-z\u0080-\uffff_0-9]+/y;
const SHELL_VARIABLE = /:'[A-Za-z\u0080-\uffff_0-9]+'/y;
const ANY = /[^]/y;
const STRING_PART = /''|\\[0-7]{1,3}|\\x[0-9A-Fa-f]{1,2}|\\[^]|[^]/y;
const ESCAPES: Record<string, string> = { n: '\n', t: '\t', b: '\b', r: '\r', f: '\f' };

export class SlashScanner {
  constructor(
    private readonly input: ScanInput,
    private readonly host: ScanHost,
    /** Whether backquoted commands are run: not in the inactive branch of an \if. */
    private readonly isActive: () => boolean,
  ) {}

  commandName(): string {
    return this.input.atEnd ? '' : (this.input.match(NAME) ?? '');
  }

  /** The next argument, or null at the end of the command or on an unterminated quote (which is reported). */
  argument(kind: ArgumentKind = 'normal', stripSemicolon = false): SlashArgument | null {
    if (kind === 'line') return this.restOfLine(stripSemicolon);
    if (!this.input.atEnd) this.input.match(SPACE);
    if (kind === 'file-or-pipe' && !this.input.atEnd && this.input.look(/\|/y) !== null)
      return this.restOfLine(stripSemicolon);
    return this.word(kind, stripSemicolon);
  }

  /** Past the end of the command: a doubled backslash there only separates it from what follows. */
  end(): void {
    if (!this.input.atEnd) this.input.match(/\\\\/y);
  }

  private restOfLine(stripSemicolon: boolean): SlashArgument | null {
    if (!this.input.atEnd) this.input.match(SPACE);
    let text = '';
    while (!this.input.atEnd) text += this.input.match(/[^]+/y)!;
    if (stripSemicolon) text = text.replace(/[;\s]+$/, '');
    return text === '' ? null : { text, quote: '' };
  }

  private word(kind: ArgumentKind, stripSemicolon: boolean): SlashArgument | null {
    const { input } = this;
    let text = '';
    let quote = '';
    let unquoted = 0; // characters at the end that stood outside of quotes
    while (!input.atEnd) {
      if (input.look(/[\s\\]/y) !== null) break;
      const opening = input.match(/['"`]/y);
      if (opening !== null) {
        quote = opening;
        unquoted = 0;
        const inside =
          opening === "'" ? this.string() : opening === '`' ? this.command() : this.doubleQuoted();
        if (inside === null) {
          this.host.error('unterminated quoted string');
          return null;
        }
        text += inside;
        continue;
      }
      const name = input.match(VARIABLE);
      if (name !== null) {
        text += this.host.variable(name.slice(1), 'plain') ?? name;
        quote = ':';
        unquoted = 0;
        continue;
      }
      const isTest = input.look(/:\{\?/y) !== null;
      const expanded = expandQuoted(input, this.host);
      if (expanded !== null) {
        text += expanded;
        if (!isTest) {
          quote = ':';
          unquoted = 0;
        }
        continue;
      }
      text += input.match(ANY)!;
      unquoted++;
    }
    if (stripSemicolon) for (; unquoted > 0 && text.endsWith(';'); unquoted--) text = text.slice(0, -1);
    if (kind === 'name') text = foldName(text);
    else if (kind === 'name-as-is') text = unquoteName(text);
    return text === '' && quote === '' ? null : { text, quote };
  }

  private string(): string | null {
    let text = '';
    while (!this.input.atEnd) {
      const part = this.input.match(STRING_PART)!;
      if (part === "'") return text;
      if (part === "''") text += "'";
      else if (part.length === 1 || part[0] !== '\\') text += part;
      else if (/^\\[0-7]/.test(part)) text += String.fromCharCode(parseInt(part.slice(1), 8) & 0xff);
      else if (/^\\x./.test(part)) text += String.fromCharCode(parseInt(part.slice(2), 16));
      else text += ESCAPES[part[1]!] ?? part.slice(1);
    }
    return null;
  }

  private command(): string | null {
    let command = '';
    while (!this.input.atEnd) {
      if (this.input.match(/`/y) !== null) return this.isActive() ? this.host.backtick(command) : command;
      const plain = this.input.match(VARIABLE);
      const shell = plain === null ? this.input.match(SHELL_VARIABLE) : null;
      if (plain !== null) command += this.host.variable(plain.slice(1), 'plain') ?? plain;
      else if (shell !== null) command += this.host.variable(shell.slice(2, -1), 'shell') ?? shell;
      else command += this.input.match(ANY)!;
    }
    return null;
  }

  /** Kept with its quotes: commands that take names remove them themselves. */
  private doubleQuoted(): string | null {
    let text = '"';
    while (!this.input.atEnd) {
      const char = this.input.match(ANY)!;
      text += char;
      if (char === '"') return text;
    }
    return null;
  }
}

/** Drops double quotes and lowers the case of what stood outside them. */
export function foldName(text: string): string {
  return unquoteName(text, (part) => part.toLowerCase());
}

/** Drops double quotes; `fold` changes what stood outside them. */
function unquoteName(text: string, fold = (part: string): string => part): string {
  return text.replace(/"((?:[^"]|"")*)"?|[^"]+/g, (part: string, quoted: string | undefined) =>
    quoted === undefined ? fold(part) : quoted.replaceAll('""', '"'),
  );
}
