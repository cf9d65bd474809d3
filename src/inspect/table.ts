/** Tables that fit: of the columns wanted, as many of the more important ones as the width allows. */
import { piece, type ToneLine, type TonePiece } from './tone.js';

export interface Column<Row> {
  readonly title: string;
  /** 1 is shown always; the higher, the sooner it is left out. Default 1. */
  readonly rank?: number;
  readonly align?: 'left' | 'right';
  cell(row: Row): string | TonePiece;
}

const GAP = 2;

/** A head line, then one line a row. Columns keep their order. */
export function tableLines<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  width: number,
): ToneLine[] {
  const all = columns.map((column) => {
    const cells = rows.map((row) => {
      const cell = column.cell(row);
      return typeof cell === 'string' ? piece(cell) : cell;
    });
    return { column, cells, width: Math.max(column.title.length, ...cells.map(({ text }) => text.length)) };
  });
  const shown = fitting(all, width);
  const pad = (text: string, i: number): string => {
    const { column, width: own } = shown[i]!;
    const last = i === shown.length - 1;
    const padded = column.align === 'right' ? text.padStart(own) : last ? text : text.padEnd(own);
    return last ? padded : padded + ' '.repeat(GAP);
  };
  return [
    shown.map(({ column }, i) => piece(pad(column.title, i), 'faint')),
    ...rows.map((_, r) => shown.map(({ cells }, i) => piece(pad(cells[r]!.text, i), cells[r]!.tone))),
  ];
}

function fitting<T extends { column: { rank?: number }; width: number }>(
  all: readonly T[],
  width: number,
): T[] {
  const shown = [...all];
  const total = (): number => shown.reduce((sum, { width: own }) => sum + own + GAP, -GAP);
  while (total() > width) {
    const ranks = shown.map(({ column }) => column.rank ?? 1);
    const highest = Math.max(...ranks);
    if (highest <= 1) break;
    shown.splice(ranks.lastIndexOf(highest), 1);
  }
  return shown;
}
