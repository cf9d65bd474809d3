/**
 * The text being scanned: a line, and above it the values of variables being expanded. Tokens never cross from one to the
 * other, and a variable is not expanded within its own value.
 */
export type QuoteStyle = 'plain' | 'literal' | 'identifier' | 'shell';

/** What a scanner asks of the session. */
export interface ScanHost {
  /** Value of a variable, quoted as asked; undefined = unset, or expansion is off (inactive \if branch). */
  variable(name: string, quote: QuoteStyle): string | undefined;
  hasVariable(name: string): boolean;
  /** Output of a `command` in backquotes, without its last newline. */
  backtick(command: string): string;
  warn(message: string): void;
  error(message: string): void;
}

interface Level {
  text: string;
  at: number;
  variable: string | null;
}

export class ScanInput {
  private levels: Level[];

  constructor(line: string) {
    this.levels = [{ text: line, at: 0, variable: null }];
  }

  /** Tries a sticky pattern at the current place, and goes past what it matches. */
  match(pattern: RegExp): string | null {
    const token = this.look(pattern);
    if (token !== null) this.skip(token.length);
    return token;
  }

  /** The same without moving. */
  look(pattern: RegExp): string | null {
    const { text, at } = this.top;
    pattern.lastIndex = at;
    return pattern.exec(text)?.[0] ?? null;
  }

  skip(count: number): void {
    this.top.at += count;
  }

  /** True at the end of everything; leaves exhausted variable values on the way. */
  get atEnd(): boolean {
    while (this.levels.length > 1 && this.top.at >= this.top.text.length) this.levels.pop();
    return this.top.at >= this.top.text.length;
  }

  /** Reads a variable's value next. */
  push(text: string, variable: string): void {
    this.levels.push({ text, at: 0, variable });
  }

  isExpanding(variable: string): boolean {
    return this.levels.some((level) => level.variable === variable);
  }

  private get top(): Level {
    return this.levels[this.levels.length - 1]!;
  }
}
