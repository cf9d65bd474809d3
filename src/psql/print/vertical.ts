/** Expanded output: one record below the other, a line per field. Follows PostgreSQL's print.c, byte for byte. */
import { lineFormat, type LineFormat, type Rule } from './line-style.js';
import { footersOf, type Out, type PrintOptions, type TableContent } from './types.js';
import { cellLines, fitPrefix, maxWidth, type CellLine } from './width.js';

/** Space of a printf "%*s" with " " as its argument: never less than one. */
const spacer = (n: number): string => ' '.repeat(Math.max(n, 1));

interface Layout {
  border: number;
  format: LineFormat;
  headerWidth: number;
  dataWidth: number;
  /** Some header, some cell breaks over lines: room for a mark is kept where borders do not give it. */
  headerMarks: boolean;
  dataMarks: boolean;
  screenWidth: number;
}

export function printVertical(
  table: TableContent,
  options: PrintOptions,
  screenWidth: number,
  out: Out,
): void {
  const border = Math.min(options.border, 2);
  if (table.rows.length === 0 && table.isStart && table.isEnd) {
    if (!options.tuplesOnly) for (const footer of footersOf(table, options)) out(`${footer}\n`);
    out('\n');
    return;
  }
  const headers = table.headers.map(cellLines);
  const rows = table.rows.map((row) => row.map(cellLines));
  const layout: Layout = {
    border,
    format: lineFormat(options),
    headerWidth: Math.max(0, ...headers.map(maxWidth)),
    dataWidth: 0,
    headerMarks: headers.some((lines) => lines.length > 1),
    dataMarks: false,
    screenWidth,
  };
  for (const row of rows) {
    for (const lines of row) {
      layout.dataWidth = Math.max(layout.dataWidth, maxWidth(lines));
      if (lines.length > 1) layout.dataMarks = true;
    }
  }
  if (table.isStart && !options.tuplesOnly && table.title !== null) out(`${table.title}\n`);
  if (options.format === 'wrapped') fitToScreen(layout, options, rows.length);

  const { format } = layout;
  const old = format.name === 'old-ascii';
  const ruleWidth = layout.headerWidth + (border < 2 && layout.headerMarks && old ? 1 : 0);
  rows.forEach((row, i) => {
    const rule = i === 0 ? format.top : format.header;
    if (!options.tuplesOnly) out(recordLine(layout, options, table.priorRows + i + 1, ruleWidth, rule));
    else if (i !== 0 || !table.isStart || border === 2) out(recordLine(layout, options, 0, ruleWidth, rule));
    row.forEach((data, j) => out(fieldLines(layout, headers[j]!, data)));
  });
  if (!table.isEnd) return;
  if (border === 2) out(recordLine(layout, options, 0, layout.headerWidth, format.bottom));
  if (!options.tuplesOnly && table.footers) {
    if (border < 2) out('\n');
    for (const footer of table.footers) out(`${footer}\n`);
  }
  out('\n');
}

/** Wrapped format: gives the data what the screen leaves beside the headers, at least three columns. */
function fitToScreen(layout: Layout, options: PrintOptions, rowCount: number): void {
  const { border, format, screenWidth, headerWidth } = layout;
  const old = format.name === 'old-ascii';
  let gap = border === 0 ? 1 + (layout.headerMarks ? 1 : 0) : border === 1 ? 3 + (layout.headerMarks && old ? 1 : 0) : 7; // prettier-ignore
  if (layout.dataMarks && border < 2 && !old) gap++;
  let ruleWidth = 0;
  if (!options.tuplesOnly) {
    if (rowCount > 0) ruleWidth = 1 + Math.floor(Math.log10(rowCount));
    ruleWidth += border === 0 ? 9 : border === 1 ? 12 : 15;
  }
  for (;;) {
    const width = Math.max(headerWidth + gap + layout.dataWidth, ruleWidth);
    const least = Math.max(headerWidth + gap + 3, ruleWidth);
    const used = screenWidth <= 0 || screenWidth >= width ? width : Math.max(screenWidth, least);
    const dataWidth = used - headerWidth - gap;
    if (dataWidth < layout.dataWidth && !layout.dataMarks && border < 2 && !old) {
      layout.dataMarks = true; // wrapping needs room for its mark: compute once more
      gap++;
      continue;
    }
    layout.dataWidth = dataWidth;
    return;
  }
}

function recordLine(
  layout: Layout,
  options: PrintOptions,
  record: number,
  headerWidth: number,
  rule: Rule,
): string {
  const { border } = layout;
  const h = border > 0 ? rule.horizontal : ' ';
  const width = options.expandedHeaderWidth;
  let line = border === 2 ? rule.left + rule.horizontal : border === 1 ? rule.horizontal : '';
  const label = record === 0 ? '' : border === 0 ? `* Record ${record}` : `[ RECORD ${record} ]`;
  line += label;
  let over = label.length + (border !== 2 ? 1 : 0);
  line += h.repeat(Math.max(0, headerWidth - over));
  over -= headerWidth;
  if (border > 0) {
    if (over-- <= 0) line += rule.horizontal;
    if (over-- <= 0) line += width === 'column' ? rule.right : rule.middle;
    if (over-- <= 0 && width !== 'column') line += rule.horizontal;
  } else if (over-- <= 0) line += ' ';
  if (width !== 'column') {
    let dataWidth = layout.dataWidth;
    const limit = typeof width === 'number' ? width : width === 'page' ? layout.screenWidth : 0;
    if (limit > 0) {
      const frame = border === 0 ? 0 : border === 1 ? 3 : 7;
      dataWidth = Math.min(dataWidth, Math.max(0, limit - headerWidth - frame));
    }
    line += h.repeat(Math.max(0, dataWidth - Math.max(over, 0)));
    if (border === 2) line += rule.horizontal + rule.right;
  }
  return `${line}\n`;
}

/** A field: header and data go down in parallel until both are exhausted. */
function fieldLines(layout: Layout, header: CellLine[], data: CellLine[]): string {
  const { border, format, headerWidth, dataWidth, headerMarks, dataMarks } = layout;
  const old = format.name === 'old-ascii';
  const headerMarkColumn = border > 0 || (headerMarks && !old);
  const dataMarkColumn = border > 1 || (dataMarks && !old);
  let text = '';
  let h = 0;
  let d = 0;
  let rest = data[0]!.text;
  let restWidth = data[0]!.width;
  let wrapped = false;
  for (let headerDone = false, dataDone = false; !headerDone || !dataDone;) {
    if (border === 2) text += format.data.left;
    if (!headerDone) {
      if (border === 2 || (headerMarks && old)) text += h > 0 ? format.headerNewlineLeft : ' ';
      const line = header[h]!;
      text += line.text;
      const space = headerWidth - line.width;
      if (space > 0) text += spacer(space);
      const more = h + 1 < header.length;
      if (headerMarkColumn) text += more ? format.headerNewlineRight : ' ';
      if (more) h++;
      else headerDone = true;
    } else {
      let width = headerWidth + border;
      if (border < 2 && headerMarks && old) width++;
      if (border === 0 && !old && headerMarks) width++;
      text += spacer(width);
    }
    if (border > 0) text += wrapped ? format.middleWrap : d === 0 ? format.data.middle : format.middleNewline;
    if (dataDone) {
      text += border < 2 ? '\n' : `${' '.repeat(dataWidth)}  ${format.data.right}\n`;
      continue;
    }
    text += wrapped ? format.wrapLeft : ' ';
    const piece = fitPrefix(rest, dataWidth);
    text += piece.text;
    rest = rest.slice(piece.text.length);
    restWidth -= piece.width;
    wrapped = piece.text !== '' || wrapped;
    const space = dataWidth - piece.width;
    const fill = space > 0 ? spacer(space) : '';
    if (restWidth > 0) {
      if (dataMarkColumn) text += fill + format.wrapRight;
    } else if (data[d + 1]) {
      if (dataMarkColumn) text += fill + format.newlineRight;
      d++;
      wrapped = false;
      rest = data[d]!.text;
      restWidth = data[d]!.width;
    } else {
      if (border > 1) text += `${fill} `;
      dataDone = true;
    }
    if (border === 2) text += format.data.right;
    text += '\n';
  }
  return text;
}
