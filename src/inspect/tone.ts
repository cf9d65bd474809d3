/** Lines of text in pieces of one tone each, the same for a terminal's live view and for plain output. */
import chalk from 'chalk';

export type Tone = 'plain' | 'strong' | 'faint' | 'good' | 'doubtful' | 'bad';
export interface TonePiece {
  readonly text: string;
  readonly tone: Tone;
}
export type ToneLine = readonly TonePiece[];

const PAINT: Readonly<Record<Tone, (text: string) => string>> = {
  plain: (text) => text,
  strong: (text) => chalk.bold(text),
  faint: (text) => chalk.dim(text),
  good: (text) => chalk.green(text),
  doubtful: (text) => chalk.yellow(text),
  bad: (text) => chalk.red(text),
};

export function piece(text: string, tone: Tone = 'plain'): TonePiece {
  return { text, tone };
}

/** Coloured only where chalk thinks that colours are wanted: a terminal, and no NO_COLOR. */
export function paintLines(lines: readonly ToneLine[]): string {
  return lines
    .map((line) =>
      line
        .map(({ text, tone }, i) => PAINT[tone](i === line.length - 1 ? text.trimEnd() : text))
        .join('')
        .trimEnd(),
    )
    .join('\n');
}
