/** HTML and AsciiDoc output, upright and expanded. */
import { footersOf, type Out, type PrintOptions, type TableContent } from './types.js';

const HTML: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '\n': '<br />\n',
  '"': '&quot;',
};

/** Escapes for HTML; leading spaces are kept, for EXPLAIN. */
export function htmlEscape(text: string): string {
  const lead = /^ */.exec(text)![0].length;
  return '&nbsp;'.repeat(lead) + text.slice(lead).replace(/[&<>\n"]/g, (char) => HTML[char]!);
}

const blank = (text: string): boolean => /^[ \t]*$/.test(text);
const htmlCell = (text: string): string => (blank(text) ? '&nbsp; ' : htmlEscape(text));
const side = (align: string | undefined): string => (align === 'r' ? 'right' : 'left');

function htmlStart(table: TableContent, options: PrintOptions, out: Out): void {
  out(`<table border="${options.border}"${options.tableAttr === null ? '' : ` ${options.tableAttr}`}>\n`);
  if (!options.tuplesOnly && table.title !== null) out(`  <caption>${htmlEscape(table.title)}</caption>\n`);
}

function htmlEnd(footers: string[], options: PrintOptions, out: Out): void {
  out('</table>\n');
  if (!options.tuplesOnly && footers.length > 0)
    out(`<p>${footers.map((footer) => `${htmlEscape(footer)}<br />\n`).join('')}</p>`);
  out('\n');
}

export function printHtml(table: TableContent, options: PrintOptions, out: Out): void {
  if (table.isStart) {
    htmlStart(table, options, out);
    if (!options.tuplesOnly) {
      const cells = table.headers.map((header) => `    <th align="center">${htmlEscape(header)}</th>\n`);
      out(`  <tr>\n${cells.join('')}  </tr>\n`);
    }
  }
  for (const row of table.rows) {
    const cells = row.map((cell, j) => `    <td align="${side(table.aligns[j])}">${htmlCell(cell)}</td>\n`);
    out(`  <tr valign="top">\n${cells.join('')}  </tr>\n`);
  }
  if (table.isEnd) htmlEnd(footersOf(table, options), options, out);
}

export function printHtmlVertical(table: TableContent, options: PrintOptions, out: Out): void {
  if (table.isStart) htmlStart(table, options, out);
  table.rows.forEach((row, i) => {
    out(
      options.tuplesOnly
        ? '\n  <tr><td colspan="2">&nbsp;</td></tr>\n'
        : `\n  <tr><td colspan="2" align="center">Record ${table.priorRows + i + 1}</td></tr>\n`,
    );
    row.forEach((cell, j) => {
      out(`  <tr valign="top">\n    <th>${htmlEscape(table.headers[j]!)}</th>\n`);
      out(`    <td align="${side(table.aligns[j])}">${htmlCell(cell)}</td>\n  </tr>\n`);
    });
  });
  if (table.isEnd) htmlEnd(table.footers ?? [], options, out);
}

const escapeBars = (text: string): string => text.replaceAll('|', '\\|');
const asciidocSide = (align: string | undefined): string => (align === 'r' ? '>l' : '<l');

function asciidocStart(table: TableContent, options: PrintOptions, columns: string, out: Out): void {
  out('\n'); // a table needs a paragraph of its own
  if (!options.tuplesOnly && table.title !== null) out(`.${table.title}\n`);
  const frames = [',frame="none",grid="none"', ',frame="none"', ',frame="all",grid="all"'];
  out(`[${columns}${frames[options.border] ?? ''}]\n|====\n`);
}

function asciidocEnd(footers: string[], options: PrintOptions, out: Out): void {
  if (!options.tuplesOnly && footers.length > 0)
    out(`\n....\n${footers.map((footer) => `${footer}\n`).join('')}....\n`);
}

export function printAsciidoc(table: TableContent, options: PrintOptions, out: Out): void {
  if (table.isStart) {
    const head = options.tuplesOnly ? '' : 'options="header",';
    asciidocStart(table, options, `${head}cols="${table.aligns.map(asciidocSide).join(',')}"`, out);
    if (!options.tuplesOnly) out(`${table.headers.map((header) => `^l|${escapeBars(header)}`).join(' ')}\n`);
  }
  for (const row of table.rows) {
    const cells = row.map((cell, j) => {
      if (!blank(cell)) return `|${escapeBars(cell)}`;
      return j < row.length - 1 ? '| ' : '|';
    });
    out(`${cells.join(' ')}\n`);
  }
  out('|====\n');
  if (table.isEnd) asciidocEnd(footersOf(table, options), options, out);
}

export function printAsciidocVertical(table: TableContent, options: PrintOptions, out: Out): void {
  if (table.isStart) asciidocStart(table, options, 'cols="h,l"', out);
  table.rows.forEach((row, i) => {
    out(options.tuplesOnly ? '2+|\n' : `2+^|Record ${table.priorRows + i + 1}\n`);
    row.forEach((cell, j) => {
      const value = blank(cell) ? ' ' : escapeBars(cell);
      out(`<l|${escapeBars(table.headers[j]!)} ${asciidocSide(table.aligns[j])}|${value}\n`);
    });
  });
  out('|====\n');
  if (table.isEnd) asciidocEnd(table.footers ?? [], options, out);
}
