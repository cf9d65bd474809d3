/** LaTeX (tabular, and longtable from the booktabs world) and troff -ms output, upright and expanded. */
import { footersOf, type Out, type PrintOptions, type TableContent } from './types.js';

const LATEX: Record<string, string> = {
  '#': '\\#',
  $: '\\$',
  '%': '\\%',
  '&': '\\&',
  '<': '\\textless{}',
  '>': '\\textgreater{}',
  '\\': '\\textbackslash{}',
  '^': '\\^{}',
  _: '\\_',
  '{': '\\{',
  '|': '\\textbar{}',
  '}': '\\}',
  '~': '\\~{}',
  '\n': '\\\\',
};

const latex = (text: string): string => text.replace(/[#$%&<>\\^_{|}~\n]/g, (char) => LATEX[char]!);
const troff = (text: string): string => text.replaceAll('\\', '\\(rs');

function titleOf(table: TableContent, options: PrintOptions): string | null {
  return options.tuplesOnly ? null : table.title;
}

function latexTitle(table: TableContent, options: PrintOptions, out: Out): void {
  const title = titleOf(table, options);
  if (title !== null) out(`\\begin{center}\n${latex(title)}\n\\end{center}\n\n`);
}

function latexEnd(footers: string[], options: PrintOptions, out: Out): void {
  if (options.border >= 2) out('\\hline\n');
  out('\\end{tabular}\n\n\\noindent ');
  if (!options.tuplesOnly) for (const footer of footers) out(`${latex(footer)} \\\\\n`);
  out('\n');
}

/** "r | l | r", framed where there is a frame. */
function columnSpec(columns: string[], border: number): string {
  const spec = columns.join(border === 0 ? '' : ' | ');
  return border >= 2 ? `| ${spec} |` : spec;
}

export function printLatex(table: TableContent, options: PrintOptions, out: Out): void {
  const { border, tuplesOnly } = options;
  if (table.isStart) {
    latexTitle(table, options, out);
    out(`\\begin{tabular}{${columnSpec(table.aligns, border)}}\n`);
    if (!tuplesOnly && border >= 2) out('\\hline\n');
    if (!tuplesOnly)
      out(`${table.headers.map((header) => `\\textit{${latex(header)}}`).join(' & ')} \\\\\n\\hline\n`);
  }
  for (const row of table.rows) out(`${row.map(latex).join(' & ')} \\\\\n${border >= 3 ? '\\hline\n' : ''}`);
  // With border 3 the last row has drawn the line already.
  if (table.isEnd) latexEnd(footersOf(table, options), { ...options, border: border >= 3 ? 1 : border }, out);
}

export function printLatexVertical(table: TableContent, options: PrintOptions, out: Out): void {
  const border = Math.min(options.border, 2);
  if (table.isStart) {
    latexTitle(table, options, out);
    out(`\\begin{tabular}{${['cl', 'c|l', '|c|l|'][border]}}\n`);
  }
  table.rows.forEach((row, i) => {
    if (!options.tuplesOnly) {
      const [line, frame] = border === 2 ? ['\\hline\n', '|c|'] : ['', 'c'];
      out(`${line}\\multicolumn{2}{${frame}}{\\textit{Record ${table.priorRows + i + 1}}} \\\\\n`);
    }
    if (border >= 1) out('\\hline\n');
    row.forEach((cell, j) => out(`${latex(table.headers[j]!)} & ${latex(cell)} \\\\\n`));
  });
  if (table.isEnd) latexEnd(table.footers ?? [], { ...options, border }, out);
}

/** Widths of left-aligned columns, as parts of the text's, from the table attributes; the last serves the rest. */
function longtableColumns(table: TableContent, options: PrintOptions): string[] {
  const widths = (options.tableAttr ?? '').split(/[ \t\n]+/).filter((width) => width !== '');
  let last: string | undefined;
  return table.aligns.map((align) => {
    if (align !== 'l') return align;
    last = widths.shift() ?? last;
    return last === undefined ? 'l' : `p{${last}\\textwidth}`;
  });
}

function longtableHead(table: TableContent, options: PrintOptions, out: Out): void {
  const { border } = options;
  const top = border >= 2 ? '\\toprule\n' : '';
  const headers = table.headers.map((header) => `\\small\\textbf{\\textit{${latex(header)}}}`).join(' & ');
  out(`${top}${headers} \\\\\n\\midrule\n\\endfirsthead\n`);
  out(`${top}${headers} \\\\\n${border === 3 ? '' : '\\midrule\n'}\\endhead\n`);
  const bottom = '\\bottomrule\n';
  if (table.title !== null) {
    const title = latex(table.title);
    const line = border === 2 ? bottom : '';
    out(`${line}\\caption[${title} (Continued)]{${title}}\n\\endfoot\n`);
    out(`${line}\\caption[${title}]{${title}}\n\\endlastfoot\n`);
  } else if (border >= 2) out(`${bottom}\\endfoot\n${bottom}\\endlastfoot\n`);
}

export function printLongtable(table: TableContent, options: PrintOptions, out: Out): void {
  if (table.isStart) {
    out(`\\begin{longtable}{${columnSpec(longtableColumns(table, options), options.border)}}\n`);
    if (!options.tuplesOnly) longtableHead(table, options, out);
  }
  for (const row of table.rows) {
    const cells = row.map((cell) => `\\raggedright{${latex(cell)}}`);
    out(`${cells.join('\n&\n')} \\tabularnewline\n${options.border >= 3 ? ' \\hline\n' : ''}`);
  }
  if (table.isEnd) out('\\end{longtable}\n');
}

function troffStart(table: TableContent, options: PrintOptions, out: Out): void {
  const title = titleOf(table, options);
  if (title !== null) out(`.LP\n.DS C\n${troff(title)}\n.DE\n`);
  out(`.LP\n.TS\n${options.border >= 2 ? 'center box;\n' : 'center;\n'}`);
}

function troffEnd(footers: string[], options: PrintOptions, out: Out): void {
  out('.TE\n.DS L\n');
  if (!options.tuplesOnly) for (const footer of footers) out(`${troff(footer)}\n`);
  out('.DE\n');
}

export function printTroff(table: TableContent, options: PrintOptions, out: Out): void {
  if (table.isStart) {
    troffStart(table, options, out);
    out(`${table.aligns.join(options.border > 0 ? ' | ' : '')}.\n`);
    if (!options.tuplesOnly)
      out(`${table.headers.map((header) => `\\fI${troff(header)}\\fP`).join('\t')}\n_\n`);
  }
  for (const row of table.rows) out(`${row.map(troff).join('\t')}\n`);
  if (table.isEnd) troffEnd(footersOf(table, options), options, out);
}

export function printTroffVertical(table: TableContent, options: PrintOptions, out: Out): void {
  const border = Math.min(options.border, 2);
  if (table.isStart) {
    troffStart(table, options, out);
    if (options.tuplesOnly) out('c l;\n');
  }
  table.rows.forEach((row, i) => {
    if (!options.tuplesOnly) {
      // A new format of lines goes before each record's headline, and another before its fields.
      if (border === 2 && i > 0) out('_\n');
      if (i > 0 || !table.isStart) out('.T&\n');
      out(`c s.\n\\fIRecord ${table.priorRows + i + 1}\\fP\n`);
    }
    if (border >= 1) out('_\n');
    if (!options.tuplesOnly) out(`.T&\n${border === 1 ? 'c | l.' : 'c l.'}\n`);
    row.forEach((cell, j) => out(`${troff(table.headers[j]!)}\t${troff(cell)}\n`));
  });
  if (table.isEnd) troffEnd(table.footers ?? [], options, out);
}
