/** A verification's outcome as text and as JSON. */
import Table from 'cli-table3';
import { formatLsn } from '../engine/lsn.js';
import type { TypeCount } from '../engine/verify/index.js';
import { isVerified, type VerifyReport } from './verify.js';

const PLAIN = { top: '', 'top-mid': '', 'top-left': '', 'top-right': '', bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '', left: '', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: '  ' }; // prettier-ignore

interface Column {
  readonly name: string;
  readonly value: (count: TypeCount) => number;
  /** Left out when all of it is zero. */
  readonly optional?: true;
}

const COLUMNS: readonly Column[] = [
  { name: 'seen', value: (c) => c.seen },
  { name: 'applied', value: (c) => c.results.applied },
  { name: 'restored', value: (c) => c.results.restored },
  { name: 'skipped', value: (c) => c.results.skipped, optional: true },
  { name: 'no page', value: (c) => c.results.notfound, optional: true },
  { name: 'adopted', value: (c) => c.adopted, optional: true },
  { name: 'unknown', value: (c) => c.unknown, optional: true },
  { name: 'compared', value: (c) => c.compared },
  { name: 'mismatched', value: (c) => c.mismatched },
  { name: 'failed', value: (c) => c.failed, optional: true },
];

/** The mismatches, then a table of record types; `quiet`: no table when all is well. */
export function verifyText(report: VerifyReport, quiet = false): string {
  const blocks = report.mismatches.map((lines) => lines.join('\n'));
  const more = report.mismatched - report.mismatches.length;
  if (more > 0) blocks.push(`... and ${more} more mismatches`);
  const failures = report.failures.map((message) => `cannot replay: ${message}`);
  if (report.failed > failures.length)
    failures.push(`... and ${report.failed - failures.length} more records that cannot be replayed`);
  if (failures.length > 0) blocks.push(failures.join('\n'));
  if (!quiet) blocks.push(`${countsTable(report.types)}\n\n${heading(report)}`);
  if (report.problem !== null) blocks.push(report.problem);
  return blocks.map((block) => `${block}\n`).join('\n');
}

function heading({ start, end, base, records, compared, mismatched }: VerifyReport): string {
  const range = start === null ? '' : ` from ${formatLsn(start)} to ${formatLsn(end!)}`;
  const upon = base === null ? 'no base: the first image of each page was believed' : `base: ${base}`;
  const outcome = mismatched === 0 ? 'all as PostgreSQL made them' : `${mismatched} mismatched`;
  return `${records} records${range}\n${upon}\n${compared} pages compared, ${outcome}`;
}

/** One row a record type, by name, and their sum. */
export function countsTable(types: ReadonlyMap<string, TypeCount>): string {
  const rows = [...types].sort(([a], [b]) => (a < b ? -1 : 1));
  const sum = (column: Column): number => rows.reduce((total, [, count]) => total + column.value(count), 0);
  const columns = COLUMNS.filter((column) => !column.optional || sum(column) > 0);
  const table = new Table({
    head: ['record type', ...columns.map(({ name }) => name)],
    colAligns: ['left', ...columns.map(() => 'right' as const)],
    chars: PLAIN,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  });
  for (const [type, count] of rows) table.push([type, ...columns.map(({ value }) => value(count))]);
  table.push(['total', ...columns.map(sum)]);
  return table.toString();
}

export function verifyJson(report: VerifyReport): object {
  const { start, end, types, mismatches, ...rest } = report;
  return {
    verified: isVerified(report),
    start: start === null ? null : formatLsn(start),
    end: end === null ? null : formatLsn(end),
    ...rest,
    types: [...types]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([type, { results, ...counts }]) => ({ type, ...counts, ...results })),
    mismatches: mismatches.map((lines) => lines.join('\n')),
  };
}
