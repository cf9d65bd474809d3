/** What was shown, as Markdown, and its place in the documentation. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { RoundResult } from './round.js';
import type { Round } from './rounds.js';

const DOC = path.join(import.meta.dirname, '..', '..', 'docs', 'RELIABILITY.md');

/** Puts generated lines between the marks of a section; the rest of the file is written by hand. */
export function writeSection(name: string, lines: readonly string[]): void {
  const text = readFileSync(DOC, 'utf8');
  const begin = `<!-- ${name}: begin -->`;
  const from = text.indexOf(begin);
  const to = text.indexOf(`<!-- ${name}: end -->`);
  if (from < 0 || to < from) throw new Error(`${DOC} has no place for ${name}`);
  writeFileSync(DOC, `${text.slice(0, from)}${begin}\n\n${lines.join('\n')}\n\n${text.slice(to)}`);
}

export interface Row {
  readonly name: string;
  readonly skip: string | null;
  readonly result: RoundResult | null;
  readonly failure: string | null;
}

export function rowOf({ name, skip }: Round, result: RoundResult | null, failure: string | null = null): Row {
  return { name, skip, result, failure };
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

/** A row for each round; combinations that do not exist are told below it. */
export function matrixTable(rows: readonly Row[]): { table: string; notes: string } {
  const lines = [
    '| fault | target | acknowledged | lost | client errors | longest commit | time to detect | time to heal |',
    '|---|---|---|---|---|---|---|---|',
  ];
  const notes: string[] = [];
  for (const { name, skip, result, failure } of rows) {
    const [fault, target] = name.split('/') as [string, string];
    if (skip !== null) notes.push(`- ${fault}, ${target}: none, for ${skip}.`);
    else if (result) lines.push(`| ${[fault, target, ...cells(result)].join(' | ')} |`);
    else
      lines.push(
        `| ${fault} | ${target} | failed: ${(failure ?? '').split('\n')[0]!.replaceAll('|', '/')} | | | | | |`,
      );
  }
  return { table: lines.join('\n'), notes: notes.join('\n') };
}

function cells(result: RoundResult): (string | number)[] {
  const { detection, errors, excusedErrors } = result;
  return [
    result.acknowledged,
    result.lost,
    excusedErrors > 0 ? `${errors} (${excusedErrors} while the compute was away)` : errors,
    result.longestWaitMs > 0 ? seconds(result.longestWaitMs) : '-',
    detection ? `${seconds(detection.afterMs)} (${detection.by})` : 'not named',
    seconds(result.healMs),
  ];
}
