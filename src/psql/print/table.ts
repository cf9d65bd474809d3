import { printAligned } from './aligned.js';
import { printAsciidoc, printAsciidocVertical, printHtml, printHtmlVertical } from './markup.js';
import { printCsv, printCsvVertical, printUnaligned, printUnalignedVertical } from './plain.js';
import type { Align, Out, OutputFormat, PrintOptions, TableContent } from './types.js';
import { printLatex, printLatexVertical, printLongtable, printTroff, printTroffVertical } from './typeset.js';
import { printVertical } from './vertical.js';

type Printer = (table: TableContent, options: PrintOptions, out: Out) => void;

const PLAIN: Record<Exclude<OutputFormat, 'aligned' | 'wrapped'>, { upright: Printer; expanded: Printer }> = {
  asciidoc: { upright: printAsciidoc, expanded: printAsciidocVertical },
  csv: { upright: printCsv, expanded: printCsvVertical },
  html: { upright: printHtml, expanded: printHtmlVertical },
  latex: { upright: printLatex, expanded: printLatexVertical },
  'latex-longtable': { upright: printLongtable, expanded: printLatexVertical },
  'troff-ms': { upright: printTroff, expanded: printTroffVertical },
  unaligned: { upright: printUnaligned, expanded: printUnalignedVertical },
};

/** Prints a table as \pset says. `screenWidth` is the target width in columns, 0 when there is none. */
export function printTable(table: TableContent, options: PrintOptions, screenWidth: number, out: Out): void {
  const { format } = options;
  if (table.headers.length === 0) {
    // Rows without columns are counted, not drawn.
    table = { ...table, rows: [], priorRows: table.priorRows + table.rows.length };
  }
  if (format === 'aligned' || format === 'wrapped') {
    if (options.expanded === 'on') printVertical(table, options, screenWidth, out);
    else printAligned(table, options, screenWidth, out);
  } else PLAIN[format][options.expanded === 'on' ? 'expanded' : 'upright'](table, options, out);
}

/** Types whose values stand at the right: int2, int4, int8, float4, float8, numeric, oid, xid, cid, xid8, money. */
const RIGHT = new Set([21, 23, 20, 700, 701, 1700, 26, 28, 29, 5069, 790]);

export function alignmentOf(typeOid: number): Align {
  return RIGHT.has(typeOid) ? 'r' : 'l';
}

/** \pset numericlocale: thousands separators, of the one locale that every machine has. */
export function withThousands(text: string): string {
  if (!/^[0-9+\-.eE]*$/.test(text)) return text;
  const match = /^([+-]?)(\d*)(.*)$/.exec(text)!;
  return match[1]! + match[2]!.replace(/\B(?=(\d{3})+$)/g, ',') + match[3]!;
}
