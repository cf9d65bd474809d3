import { PipeSink, type PsqlIo } from './io.js';
import { widestLine } from './print/aligned.js';
import type { PrintOptions } from './print/types.js';

interface Screen {
  columns?: number;
  rows?: number;
}

/** Width of the screen: $COLUMNS, or the terminal's own. */
export function screenColumns(io: PsqlIo): number {
  const fixed = parseInt(io.env['COLUMNS'] ?? '', 10);
  if (fixed > 0) return fixed;
  return (io.stdout as Screen).columns ?? 0;
}

/** Text to the terminal, through $PSQL_PAGER or $PAGER when it does not fit the screen. */
export async function showText(
  text: string,
  options: Pick<PrintOptions, 'pager' | 'pagerMinLines'>,
  io: PsqlIo,
): Promise<void> {
  const command = io.env['PSQL_PAGER'] ?? io.env['PAGER'] ?? 'more';
  if (!io.stdinIsTty || !io.stdoutIsTty || command.trim() === '' || !overflows(text, options, io)) {
    io.stdout.write(text);
    return;
  }
  const pager = new PipeSink(command, io);
  pager.write(text);
  await pager.close();
}

function overflows(
  text: string,
  options: Pick<PrintOptions, 'pager' | 'pagerMinLines'>,
  io: PsqlIo,
): boolean {
  if (options.pager === 'off') return false;
  if (options.pager === 'always') return true;
  const rows = (io.stdout as Screen).rows ?? 0;
  const lines = text.split('\n').length; // one more than there are: the prompt below
  if (rows > 0 && lines >= rows && lines >= options.pagerMinLines) return true;
  const columns = screenColumns(io);
  return columns > 0 && widestLine(text) > columns;
}
