/** How wide text is on a screen, and how a cell breaks into lines; the rules of PostgreSQL's wchar.c and mbprint.c. */
import { eastAsianWidth } from 'get-east-asian-width';

const PLAIN = /^[\x20-\x7e]*$/;
const NON_SPACING = /^[\p{Mn}\p{Me}\p{Cf}]$/u;

/** One line of a cell, with control characters made visible, and its width in columns. */
export interface CellLine {
  text: string;
  width: number;
}

/** Columns that a character takes: 0 for combining marks, 2 for wide ones, -1 for control characters. */
export function charWidth(char: string): number {
  const code = char.codePointAt(0)!;
  if (code === 0) return 0;
  if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return -1;
  if (code < 0x7f) return 1;
  if (NON_SPACING.test(char)) return 0;
  return eastAsianWidth(code);
}

/** Width of text taken as one line; control characters count nothing. */
export function displayWidth(text: string): number {
  if (PLAIN.test(text)) return text.length;
  let width = 0;
  for (const char of text) width += Math.max(0, charWidth(char));
  return width;
}

/** Breaks a cell at its newlines and expands tabs; other control characters become \r, \x07, \u0085. */
export function cellLines(text: string): CellLine[] {
  if (PLAIN.test(text)) return [{ text, width: text.length }];
  const lines: CellLine[] = [];
  let line = '';
  let width = 0;
  for (const char of text) {
    if (char === '\n') {
      lines.push({ text: line, width });
      line = '';
      width = 0;
      continue;
    }
    let shown = char;
    let w = charWidth(char);
    if (char === '\r') shown = '\\r';
    else if (char === '\t') shown = ' '.repeat(8 - (width % 8));
    else if (w < 0) {
      const hex = char.codePointAt(0)!.toString(16).toUpperCase();
      shown = hex.length < 3 && char < '\x80' ? `\\x${hex.padStart(2, '0')}` : `\\u${hex.padStart(4, '0')}`;
    }
    if (shown !== char) w = shown.length;
    line += shown;
    width += w;
  }
  lines.push({ text: line, width });
  return lines;
}

export function maxWidth(lines: CellLine[]): number {
  let width = 0;
  for (const line of lines) if (line.width > width) width = line.width;
  return width;
}

/** The longest prefix that fits in `target` columns (at least one character) and its width. */
export function fitPrefix(text: string, target: number): CellLine {
  if (PLAIN.test(text)) {
    const prefix = text.slice(0, Math.max(target, 1));
    return { text: prefix, width: prefix.length };
  }
  let width = 0;
  let end = 0;
  for (const char of text) {
    const w = charWidth(char);
    if (target < width + w && width !== 0) break;
    width += w;
    end += char.length;
  }
  return { text: text.slice(0, end), width };
}
