/** Unaligned and CSV output, upright and expanded. */
import { footersOf, type Out, type PrintOptions, type Separator, type TableContent } from './types.js';

const separator = (sep: Separator): string => (sep.zero ? '\0' : sep.text);

export function printUnaligned(table: TableContent, options: PrintOptions, out: Out): void {
  const record = separator(options.recordSep);
  const field = separator(options.fieldSep);
  let pending = !table.isStart;
  if (table.isStart && !options.tuplesOnly) {
    if (table.title !== null) out(table.title + record);
    out(table.headers.join(field));
    pending = true;
  }
  for (const row of table.rows) {
    out((pending ? record : '') + row.join(field));
    pending = true;
  }
  if (!table.isEnd) return;
  if (!options.tuplesOnly) {
    for (const footer of footersOf(table, options)) {
      out((pending ? record : '') + footer);
      pending = true;
    }
  }
  // The last record ends in a newline whatever the separator is, but for a zero byte (as find -print0 does).
  if (pending) out(options.recordSep.zero ? '\0' : '\n');
}

export function printUnalignedVertical(table: TableContent, options: PrintOptions, out: Out): void {
  const record = separator(options.recordSep);
  const field = separator(options.fieldSep);
  let pending = !table.isStart;
  if (table.isStart && !options.tuplesOnly && table.title !== null) {
    out(table.title);
    pending = true;
  }
  for (const row of table.rows) {
    if (pending) out(record + record);
    out(row.map((cell, j) => table.headers[j]! + field + cell).join(record));
    pending = true;
  }
  if (!table.isEnd) return;
  if (!options.tuplesOnly && table.footers) {
    out(record);
    for (const footer of table.footers) out(record + footer);
  }
  if (pending) out(options.recordSep.zero ? '\0' : '\n');
}

/** Quotes what CSV needs quoted, and a lone "\." that COPY would take for its end. */
function csvField(text: string, sep: string): string {
  const quote = text.includes(sep) || /[\r\n"]/.test(text) || text === '\\.' || sep === '\\' || sep === '.';
  return quote ? `"${text.replaceAll('"', '""')}"` : text;
}

export function printCsv(table: TableContent, options: PrintOptions, out: Out): void {
  const sep = options.csvFieldSep;
  const line = (cells: string[]): string => `${cells.map((cell) => csvField(cell, sep)).join(sep)}\n`;
  if (table.isStart && !options.tuplesOnly) out(line(table.headers));
  for (const row of table.rows) out(line(row));
}

export function printCsvVertical(table: TableContent, options: PrintOptions, out: Out): void {
  const sep = options.csvFieldSep;
  for (const row of table.rows)
    row.forEach((cell, j) => out(`${csvField(table.headers[j]!, sep)}${sep}${csvField(cell, sep)}\n`));
}
