/** Aligned and wrapped tables. The line breaking and border rules follow PostgreSQL's print.c, byte for byte. */
import { lineFormat, type LineFormat, type Rule } from './line-style.js';
import { footersOf, type Align, type Out, type PrintOptions, type TableContent } from './types.js';
import { printVertical } from './vertical.js';
import { cellLines, displayWidth, fitPrefix, maxWidth, type CellLine } from './width.js';

const pad = (n: number): string => (n > 0 ? ' '.repeat(n) : '');

/** Prints a table in columns; in expanded-auto mode turns to records when the columns do not fit `screenWidth` (0 = unknown). */
export function printAligned(
  table: TableContent,
  options: PrintOptions,
  screenWidth: number,
  out: Out,
): void {
  const border = Math.min(options.border, 2);
  const count = table.headers.length;
  const headers = table.headers.map(cellLines);
  const headerWidths = headers.map(maxWidth);
  const widths = [...headerWidths];
  const sums = new Array<number>(count).fill(0);
  const cells = table.rows.map((row) =>
    row.map((text, j) => {
      const lines = cellLines(text);
      const width = maxWidth(lines);
      if (width > widths[j]!) widths[j] = width;
      sums[j]! += width;
      return lines;
    }),
  );
  const frame = border === 0 ? count : border === 1 ? count * 3 - (count > 0 ? 1 : 0) : count * 3 + 1;
  const headerTotal = frame + total(headerWidths);
  let fullTotal = frame + total(widths);
  const wrapWidths = [...widths];
  if (options.format === 'wrapped' && screenWidth > 0 && screenWidth >= headerTotal) {
    const averages = sums.map((sum) => (cells.length > 0 ? Math.floor(sum / cells.length) : 0));
    fullTotal = shrink(wrapWidths, widths, headerWidths, averages, fullTotal, screenWidth);
  }
  const tooWide = screenWidth > 0 && (screenWidth < headerTotal || screenWidth < fullTotal);
  if (options.expanded === 'auto' && count > 1 && tooWide) {
    printVertical(table, options, screenWidth, out);
    return;
  }

  const format = lineFormat(options);
  if (table.isStart) {
    if (table.title !== null && !options.tuplesOnly) {
      const width = maxWidth(cellLines(table.title));
      out(`${width >= fullTotal ? '' : pad(Math.floor((fullTotal - width) / 2))}${table.title}\n`);
    }
    if (!options.tuplesOnly) {
      if (border === 2) out(horizontalLine(wrapWidths, border, format.top));
      out(headerLines(headers, wrapWidths, border, format));
      out(horizontalLine(wrapWidths, border, format.header));
    }
  }
  for (const row of cells) out(rowLines(row, wrapWidths, table.aligns, border, format));
  if (table.isEnd) {
    if (border === 2) out(horizontalLine(wrapWidths, border, format.bottom));
    if (!options.tuplesOnly) for (const footer of footersOf(table, options)) out(`${footer}\n`);
    out('\n');
  }
}

function total(widths: number[]): number {
  return widths.reduce((a, b) => a + b, 0);
}

/** Narrows the column with the highest ratio of greatest to average width, one column at a time, until all fits. */
function shrink(
  wrapWidths: number[],
  widths: number[],
  headerWidths: number[],
  averages: number[],
  fullTotal: number,
  screenWidth: number,
): number {
  let current = fullTotal;
  while (current > screenWidth) {
    let worst = -1;
    let worstRatio = 0;
    for (let j = 0; j < wrapWidths.length; j++) {
      if (!averages[j] || wrapWidths[j]! <= headerWidths[j]!) continue;
      const ratio = wrapWidths[j]! / averages[j]! + widths[j]! * 0.01; // a slight bias against wide columns
      if (ratio > worstRatio) {
        worstRatio = ratio;
        worst = j;
      }
    }
    if (worst < 0) break;
    wrapWidths[worst]!--;
    current--;
  }
  return current;
}

function horizontalLine(widths: number[], border: number, rule: Rule): string {
  const h = rule.horizontal;
  let line = border === 1 ? h : border === 2 ? rule.left + h : '';
  widths.forEach((width, j) => {
    line += h.repeat(width);
    if (j < widths.length - 1) line += border === 0 ? ' ' : h + rule.middle + h;
  });
  if (border === 2) line += h + rule.right;
  else if (border === 1) line += h;
  return `${line}\n`;
}

function headerLines(headers: CellLine[][], widths: number[], border: number, format: LineFormat): string {
  const height = headers.reduce((most, lines) => Math.max(most, lines.length), 0);
  const count = headers.length;
  let text = '';
  for (let n = 0; n < height; n++) {
    if (border === 2) text += format.data.left;
    for (let j = 0; j < count; j++) {
      if (border !== 0 || (!format.wrapRightBorder && j > 0)) text += n > 0 ? format.headerNewlineLeft : ' ';
      const line = headers[j]![n];
      if (line) {
        const space = widths[j]! - line.width;
        text += pad(Math.floor(space / 2)) + line.text + pad(Math.floor((space + 1) / 2));
      } else text += pad(widths[j]!);
      if (border !== 0 || format.wrapRightBorder)
        text += n < headers[j]!.length - 1 ? format.headerNewlineRight : ' ';
      if (border !== 0 && j < count - 1) text += format.data.middle;
    }
    if (border === 2) text += format.data.right;
    text += '\n';
  }
  return text;
}

type Mark = 'none' | 'wrap' | 'newline';

/** All screen lines of one row: cells continue below themselves at newlines and where they were wrapped. */
function rowLines(
  row: CellLine[][],
  widths: number[],
  aligns: Align[],
  border: number,
  format: LineFormat,
): string {
  const count = row.length;
  const lineNo = new Array<number>(count).fill(0);
  const rest: string[] = row.map((lines) => lines[0]?.text ?? '');
  const begun = new Array<boolean>(count).fill(false); // part of the current line was printed
  const marks = new Array<Mark>(count).fill('none');
  let text = '';
  for (let more = true; more;) {
    more = false;
    if (border === 2) text += format.data.left;
    for (let j = 0; j < count; j++) {
      const last = j === count - 1;
      const finalSpaces = border === 2 || !last;
      const width = widths[j]!;
      const lines = row[j]!;
      if (border !== 0)
        text += marks[j] === 'wrap' ? format.wrapLeft : marks[j] === 'newline' ? format.newlineLeft : ' ';
      let shown = width;
      if (!lines[lineNo[j]!]) {
        if (finalSpaces) text += pad(width);
      } else {
        const piece = fitPrefix(rest[j]!, width);
        shown = Math.min(piece.width, width);
        text += aligns[j] === 'r' ? pad(width - shown) + piece.text : piece.text;
        rest[j] = rest[j]!.slice(piece.text.length);
        begun[j] = rest[j] !== '';
        if (begun[j]) more = true;
        else {
          const next = lines[++lineNo[j]!];
          if (next) {
            rest[j] = next.text;
            more = true;
          }
        }
      }
      marks[j] = !lines[lineNo[j]!] ? 'none' : begun[j] ? 'wrap' : lineNo[j]! > 0 ? 'newline' : 'none';
      if (aligns[j] !== 'r' && (finalSpaces || marks[j] !== 'none')) text += pad(width - shown);
      if (marks[j] === 'wrap') text += format.wrapRight;
      else if (marks[j] === 'newline') text += format.newlineRight;
      else if (finalSpaces) text += ' ';
      if (border !== 0 && !last) {
        const next = marks[j + 1]!;
        if (next === 'wrap') text += format.middleWrap;
        else if (next === 'newline') text += format.middleNewline;
        else if (!row[j + 1]![lineNo[j + 1]!]) text += format.middleBlank;
        else text += format.data.middle;
      }
    }
    if (border === 2) text += format.data.right;
    text += '\n';
  }
  return text;
}

/** Widest line of text already printed: tells whether a pager is called for. */
export function widestLine(text: string): number {
  let widest = 0;
  for (const line of text.split('\n')) widest = Math.max(widest, displayWidth(line));
  return widest;
}
