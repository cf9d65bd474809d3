/**
 * Splits SQL input into statements as psql's lexer (psqlscan.l) does: quotes of all kinds, nested comments, parentheses,
 * BEGIN ATOMIC bodies, variables, backslash commands anywhere.
 */
import type { ScanHost, ScanInput } from './input.js';

/** Why the scan stopped: a statement's end, a backslash command, or the line's end within or after something. */
export type ScanResult = 'semicolon' | 'backslash' | 'incomplete' | 'eol';
/** What the next line would continue, for the prompt. */
export type PromptKind =
  'ready' | 'continue' | 'single-quote' | 'double-quote' | 'dollar-quote' | 'comment' | 'paren' | 'copy';

/** Statement text as collected so far. */
export interface QueryBuffer {
  text: string;
}

type State =
  | 'initial'
  | 'bits' // B'..' and X'..'
  | 'string'
  | 'escape-string'
  | 'after-string'
  | 'unicode-string'
  | 'dollar'
  | 'identifier'
  | 'unicode-identifier'
  | 'comment';

const WHITESPACE = /[ \t\n\r\f\v]+|--[^\n\r]*/y;
const COMMENT_START = /\/\*/y;
const COMMENT_PART = /[^*/]+|\*+(?!\/)|\//y;
const COMMENT_STOP = /\*+\//y;
const STRING_START = /[bB]'|[xX]'|[eE]'|[uU]&'|'/y;
const NATIONAL = /[nN](?=')/y;
const QUOTED_IDENTIFIER = /[uU]&"|"/y;
const DOLLAR_QUOTE = /\$(?:[A-Za-z\u0080-\uffff_][A-Za-z\u0080-\uffff_0-9]*)?\$/y;
const CONTINUES_STRING = /(?:[ \t\f\v]|--[^\n\r]*)*[\n\r](?:[ \t\n\r\f\v]+|--[^\n\r]*[\n\r])*'/y;
const FORCED = /\\[;:]/y;
const VARIABLE = /:[A-Za-z\u0080-\uffff_0-9]+/y;
const LITERAL_VARIABLE = /:'[A-Za-z\u0080-\uffff_0-9]+'/y;
const IDENTIFIER_VARIABLE = /:"[A-Za-z\u0080-\uffff_0-9]+"/y;
const TEST_VARIABLE = /:\{\?[A-Za-z\u0080-\uffff_0-9]+\}/y;
const CAST = /::|:=/y;
const WORD = /[A-Za-z\u0080-\uffff_][A-Za-z\u0080-\uffff_0-9$]*/y;
const NUMBER = /\$?[0-9][0-9A-Za-z\u0080-\uffff_$]*/y;
const OPERATOR = /[~!@#^&|`?+\-*/%<>=]+/y;
const ANY = /[^]/y;

const ROUTINE_WORDS = new Set(['create', 'function', 'procedure', 'or', 'replace']);
/** First letters of "create [or replace] function|procedure". */
const ROUTINE_START = /^c(?:or)?[fp]/;

export class SqlScanner {
  private state: State = 'initial';
  private stringState: State = 'string';
  private commentDepth = 0;
  private dollarTag = '';
  private words = '';
  private wordCount = 0;
  private beginDepth = 0;
  parenDepth = 0;

  constructor(private readonly host: ScanHost) {}

  /** Forgets what was begun: after \r, \g and the like. */
  reset(): void {
    this.state = 'initial';
    this.parenDepth = 0;
    this.commentDepth = 0;
    this.wordCount = 0;
    this.beginDepth = 0;
  }

  get inQuote(): boolean {
    return this.state !== 'initial' && this.state !== 'after-string';
  }

  /** Scans on, moving text to the buffer. `standardStrings`: backslashes in plain strings are data. */
  scan(
    input: ScanInput,
    buffer: QueryBuffer,
    standardStrings: boolean,
  ): { result: ScanResult; prompt: PromptKind } {
    while (!input.atEnd) {
      const stop =
        this.state === 'initial' ? this.plain(input, buffer, standardStrings) : this.quoted(input, buffer);
      if (stop) return { result: stop, prompt: 'ready' };
    }
    return this.atLineEnd(buffer);
  }

  private atLineEnd(buffer: QueryBuffer): { result: ScanResult; prompt: PromptKind } {
    switch (this.state) {
      case 'initial':
      case 'after-string':
        if (this.parenDepth > 0) return { result: 'incomplete', prompt: 'paren' };
        if (this.beginDepth > 0) return { result: 'incomplete', prompt: 'continue' };
        if (buffer.text !== '') return { result: 'eol', prompt: 'continue' };
        return { result: 'incomplete', prompt: 'ready' };
      case 'comment':
        return { result: 'incomplete', prompt: 'comment' };
      case 'dollar':
        return { result: 'incomplete', prompt: 'dollar-quote' };
      case 'identifier':
      case 'unicode-identifier':
        return { result: 'incomplete', prompt: 'double-quote' };
      default:
        return { result: 'incomplete', prompt: 'single-quote' };
    }
  }

  /** One token outside of quotes and comments. */
  private plain(input: ScanInput, buffer: QueryBuffer, standardStrings: boolean): ScanResult | null {
    let token = input.match(WHITESPACE);
    if (token !== null) {
      if (buffer.text !== '') buffer.text += token; // nothing but space before a statement is kept
      return null;
    }
    if (this.opens(input, buffer, standardStrings)) return null;
    if ((token = input.match(FORCED)) !== null) {
      buffer.text += token[1]!;
      if (token[1] === ';') this.wordCount = 0;
      return null;
    }
    if (this.expands(input, buffer)) return null;
    if ((token = input.match(WORD)) !== null) {
      this.countWord(token);
      buffer.text += token;
      return null;
    }
    if ((token = input.match(NUMBER) ?? input.match(CAST)) !== null) {
      buffer.text += token;
      return null;
    }
    if ((token = input.look(OPERATOR)) !== null) {
      const cut = token.slice(1).search(/\/\*|--/); // comments end an operator
      if (cut >= 0) token = token.slice(0, cut + 1);
      input.skip(token.length);
      buffer.text += token;
      return null;
    }
    token = input.match(ANY)!;
    if (token === '\\') return 'backslash';
    buffer.text += token;
    if (token === '(') this.parenDepth++;
    else if (token === ')') this.parenDepth = Math.max(0, this.parenDepth - 1);
    else if (token === ';' && this.parenDepth === 0 && this.beginDepth === 0) {
      this.wordCount = 0;
      return 'semicolon';
    }
    return null;
  }

  /** Starts of comments, strings and quoted names. */
  private opens(input: ScanInput, buffer: QueryBuffer, standardStrings: boolean): boolean {
    let token = input.match(COMMENT_START);
    if (token !== null) {
      this.state = 'comment';
      this.commentDepth = 0;
    } else if ((token = input.match(STRING_START)) !== null) {
      const kind = token[0]!.toLowerCase();
      if (kind === 'b' || kind === 'x') this.state = 'bits';
      else if (kind === 'e') this.state = 'escape-string';
      else if (kind === 'u') this.state = 'unicode-string';
      else this.state = standardStrings ? 'string' : 'escape-string';
    } else if ((token = input.match(QUOTED_IDENTIFIER)) !== null) {
      this.state = token.length > 1 ? 'unicode-identifier' : 'identifier';
    } else if ((token = input.match(DOLLAR_QUOTE)) !== null) {
      this.state = 'dollar';
      this.dollarTag = token;
    } else if ((token = input.match(NATIONAL)) === null) return false;
    buffer.text += token;
    return true;
  }

  /** Variables: :name, :'name', :"name", :{?name}. */
  private expands(input: ScanInput, buffer: QueryBuffer): boolean {
    if (input.look(CAST) !== null) return false;
    let token = input.match(VARIABLE);
    if (token !== null) {
      const name = token.slice(1);
      const value = this.host.variable(name, 'plain');
      if (value === undefined) buffer.text += token;
      else if (input.isExpanding(name)) {
        this.host.warn(`skipping recursive expansion of variable "${name}"`);
        buffer.text += token;
      } else input.push(value, name);
      return true;
    }
    token = expandQuoted(input, this.host);
    if (token === null) return false;
    buffer.text += token;
    return true;
  }

  /** Finds BEGIN ... END in the body of a routine, whose semicolons end nothing. */
  private countWord(token: string): void {
    const word = token.toLowerCase();
    if (this.wordCount === 0) this.words = '';
    if (this.wordCount < 4) this.words += ROUTINE_WORDS.has(word) ? word[0]! : ' ';
    this.wordCount++;
    if (this.parenDepth > 0 || !ROUTINE_START.test(this.words)) return;
    if (word === 'begin') this.beginDepth++;
    else if (word === 'case' && this.beginDepth > 0)
      this.beginDepth++; // CASE has an END too
    else if (word === 'end' && this.beginDepth > 0) this.beginDepth--;
  }

  /** One token within a quote or a comment. */
  private quoted(input: ScanInput, buffer: QueryBuffer): null {
    const take = (pattern: RegExp): string | null => {
      const token = input.match(pattern);
      if (token !== null) buffer.text += token;
      return token;
    };
    switch (this.state) {
      case 'comment':
        if (take(COMMENT_START) !== null) this.commentDepth++;
        else if (take(COMMENT_STOP) !== null) {
          if (this.commentDepth-- === 0) this.state = 'initial';
        } else take(COMMENT_PART);
        break;
      case 'identifier':
      case 'unicode-identifier':
        if (take(/(?:[^"]|"")+/y) === null && take(/"/y) !== null) this.state = 'initial';
        break;
      case 'dollar': {
        if (take(/[^$]+/y) !== null) break;
        const tag = input.look(DOLLAR_QUOTE);
        if (tag === this.dollarTag) {
          input.skip(tag.length);
          buffer.text += tag;
          this.state = 'initial';
        } else take(ANY);
        break;
      }
      case 'after-string':
        if (take(CONTINUES_STRING) !== null) this.state = this.stringState;
        else this.state = 'initial';
        break;
      default:
        this.string(take);
    }
    return null;
  }

  private string(take: (pattern: RegExp) => string | null): void {
    const inside =
      this.state === 'bits'
        ? /[^']+/y
        : this.state === 'escape-string'
          ? /(?:[^\\']|\\[^]|'')+/y
          : /(?:[^']|'')+/y;
    if (take(inside) !== null) return;
    if (take(/'/y) !== null) {
      this.stringState = this.state;
      this.state = 'after-string';
    } else take(ANY); // a backslash at the end of the line
  }
}

/** :'name', :"name" and :{?name}, which SQL and backslash commands have in common; null when there is none here. */
export function expandQuoted(input: ScanInput, host: ScanHost): string | null {
  const literal = input.match(LITERAL_VARIABLE);
  if (literal !== null) return host.variable(literal.slice(2, -1), 'literal') ?? literal;
  const identifier = input.match(IDENTIFIER_VARIABLE);
  if (identifier !== null) return host.variable(identifier.slice(2, -1), 'identifier') ?? identifier;
  const test = input.match(TEST_VARIABLE);
  if (test !== null) return host.hasVariable(test.slice(3, -1)) ? 'TRUE' : 'FALSE';
  return null;
}
