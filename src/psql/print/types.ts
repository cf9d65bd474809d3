/** A table to print and how to print it: what \pset sets. */

export type OutputFormat =
  | 'aligned'
  | 'asciidoc'
  | 'csv'
  | 'html'
  | 'latex'
  | 'latex-longtable'
  | 'troff-ms'
  | 'unaligned'
  | 'wrapped';
export type LineStyle = 'ascii' | 'old-ascii' | 'unicode';
export type UnicodeLine = 'single' | 'double';
/** How long the record header of expanded output is: to the table's width, the first column, the page, or N columns. */
export type ExpandedHeaderWidth = 'full' | 'column' | 'page' | number;

/** A separator of unaligned output; a zero byte where `zero` is set. */
export interface Separator {
  text: string;
  zero: boolean;
}

export interface PrintOptions {
  format: OutputFormat;
  border: number;
  expanded: 'on' | 'off' | 'auto';
  expandedHeaderWidth: ExpandedHeaderWidth;
  tuplesOnly: boolean;
  /** Whether the "(N rows)" line is printed. */
  footer: boolean;
  lineStyle: LineStyle;
  unicodeBorder: UnicodeLine;
  unicodeColumn: UnicodeLine;
  unicodeHeader: UnicodeLine;
  fieldSep: Separator;
  recordSep: Separator;
  csvFieldSep: string;
  tableAttr: string | null;
  title: string | null;
  nullText: string;
  numericLocale: boolean;
  /** \pset columns: target width of wrapped output, 0 = the screen's. */
  columns: number;
  pager: 'off' | 'on' | 'always';
  pagerMinLines: number;
}

export function defaultPrintOptions(): PrintOptions {
  return {
    format: 'aligned',
    border: 1,
    expanded: 'off',
    expandedHeaderWidth: 'full',
    tuplesOnly: false,
    footer: true,
    lineStyle: 'ascii',
    unicodeBorder: 'single',
    unicodeColumn: 'single',
    unicodeHeader: 'single',
    fieldSep: { text: '|', zero: false },
    recordSep: { text: '\n', zero: false },
    csvFieldSep: ',',
    tableAttr: null,
    title: null,
    nullText: '',
    numericLocale: false,
    columns: 0,
    pager: 'on',
    pagerMinLines: 0,
  };
}

export type Align = 'l' | 'r';

/** One table, or one portion of it when a large result is printed in pieces (FETCH_COUNT). */
export interface TableContent {
  title: string | null;
  headers: string[];
  aligns: Align[];
  /** Rows of cells as they are to be shown (nulls already replaced). */
  rows: string[][];
  /** Lines below the table; null = the default "(N rows)". */
  footers: string[] | null;
  /** Set to false to suppress the default footer as well. */
  defaultFooter: boolean;
  /** Portions: whether the top and the bottom are printed, and rows printed before. */
  isStart: boolean;
  isEnd: boolean;
  priorRows: number;
}

export function tableOf(headers: string[], aligns: Align[], rows: string[][]): TableContent {
  return {
    title: null,
    headers,
    aligns,
    rows,
    footers: null,
    defaultFooter: true,
    isStart: true,
    isEnd: true,
    priorRows: 0,
  };
}

/** Takes text in pieces, in order. */
export type Out = (text: string) => void;

/** The footer lines of formats that show them. */
export function footersOf(table: TableContent, options: PrintOptions): string[] {
  if (table.footers) return table.footers;
  if (!options.footer || !table.defaultFooter) return [];
  const count = table.priorRows + table.rows.length;
  return [count === 1 ? '(1 row)' : `(${count} rows)`];
}
