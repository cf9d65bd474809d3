/** Reads a log through filters and hands out lines, as pg_waldump does. */
import { DbError } from '../engine/errors.js';
import { formatLsn, INVALID_LSN, type Lsn } from '../engine/lsn.js';
import { WalReader, type WalEnd } from '../engine/wal/reader.js';
import { WalStats } from '../engine/wal/stats.js';
import type { WalRecord } from '../engine/wal/types.js';
import type { WalInput } from './wal-input.js';
import { recordJson } from './wal-json.js';
import { recordLine } from './wal-line.js';
import type { WalSummary } from './wal-summary.js';

export interface DumpOptions {
  start?: Lsn | undefined;
  end?: Lsn | undefined;
  follow?: boolean;
  /** Records shown at most. */
  limit?: number | undefined;
  matches: (rec: WalRecord) => boolean;
  /** Table instead of lines. */
  stats?: 'rmgr' | 'record' | undefined;
  /** Another table instead of lines. */
  summary?: WalSummary | undefined;
  json?: boolean;
  quiet?: boolean;
  signal: AbortSignal;
  /** Standard output; resolves when more may come, to false when nobody reads any more. */
  write(text: string): Promise<boolean>;
  /** Standard error. */
  note(line: string): void;
}

/**
 * Returns when the end that was asked for is reached, the reader is told to stop, or all committed log has been shown.
 * Throws INSPECT_WAL_END when the log ends otherwise: at bytes that are no record, or in the middle of one (pg_waldump's failure).
 */
export async function dumpWal(input: WalInput, options: DumpOptions): Promise<void> {
  const { source } = input;
  if (options.follow && !source.waitForMore)
    throw new DbError('USAGE_FOLLOW', "a storage node's folder cannot be followed", {
      hint: 'Follow the volume instead: aurora inspect wal -D DIR --follow',
    });
  const reader = new WalReader(source, {
    start: options.start ?? input.start,
    end: options.end ?? (options.follow ? undefined : input.end),
    follow: options.follow ?? false,
    signal: options.signal,
  });
  const shown = await show(reader, options);
  const end = shown.full ? null : reader.end;
  if (options.summary)
    await options.write(
      options.json
        ? `${JSON.stringify(options.summary.json(), null, 2)}\n`
        : `${options.summary.text(process.stdout.columns || 80)}\n`,
    );
  else if (options.stats && shown.stats) await options.write(statsText(shown.stats, options));
  if (end === null || end.kind === 'limit' || end.kind === 'aborted') return;
  const torn =
    input.tornTail ?? (end.kind === 'invalid' || !endsAtRecord(source.end, end) ? end.reason : null);
  if (torn === null) return;
  const at = shown.lastLsn === INVALID_LSN ? end.lsn : shown.lastLsn;
  throw new DbError(
    'INSPECT_WAL_END',
    shown.lastLsn === INVALID_LSN
      ? `could not find a valid record after ${formatLsn(at)}: ${torn}`
      : `error in WAL record at ${formatLsn(at)}: ${torn}`,
    { details: { lsn: end.lsn } },
  );
}

/** Sources that know their end stop there in order, unless a record goes on beyond it. */
function endsAtRecord(sourceEnd: Lsn | null, end: WalEnd): boolean {
  return sourceEnd !== null && end.lsn >= sourceEnd;
}

interface Shown {
  /** Start of the last record read. */
  lastLsn: Lsn;
  /** The limit was reached, or nobody listens. */
  full: boolean;
  stats: WalStats | null;
}

async function show(reader: WalReader, options: DumpOptions): Promise<Shown> {
  const { matches, limit = Infinity, json = false } = options;
  const { summary } = options;
  const stats = options.stats && !summary ? new WalStats() : null;
  let count = 0;
  let firstLsn = INVALID_LSN;
  let lastLsn = INVALID_LSN;
  for await (const batch of reader.batches()) {
    if (firstLsn === INVALID_LSN) firstLsn = noteSkipped(batch[0]!, options);
    const lines: string[] = [];
    let failure: unknown = null;
    for (const rec of batch) {
      lastLsn = rec.startLsn;
      if (stats) stats.endLsn = rec.endLsn;
      if (!matches(rec)) continue;
      count += 1;
      try {
        if (summary) summary.add(rec);
        else if (stats) stats.add(rec);
        else if (!options.quiet) lines.push(json ? JSON.stringify(recordJson(rec)) : recordLine(rec));
      } catch (err) {
        failure = err; // shown after the records before it
        break;
      }
      if (count >= limit) break;
    }
    if (stats) stats.startLsn = firstLsn;
    const heard = lines.length === 0 || (await options.write(`${lines.join('\n')}\n`));
    if (failure !== null) throw failure;
    if (!heard || count >= limit) return { lastLsn, full: true, stats };
  }
  return { lastLsn, full: false, stats };
}

/** Says, as pg_waldump does, that the first record comes later than asked for. */
function noteSkipped(first: WalRecord, { start, note }: DumpOptions): Lsn {
  if (start !== undefined && first.startLsn > start)
    note(
      `first record is after ${formatLsn(start)}, at ${formatLsn(first.startLsn)}, skipping over ${first.startLsn - start} bytes`,
    );
  return first.startLsn;
}

function statsText(stats: WalStats, { stats: per = 'rmgr', json }: DumpOptions): string {
  if (!json) return `${stats.format(per)}\n`;
  const rows = per === 'rmgr' ? stats.byRmgr() : stats.byRecordType();
  const { startLsn, endLsn } = stats;
  return `${JSON.stringify({ start: formatLsn(startLsn), end: formatLsn(endLsn), rows, total: stats.total() }, null, 2)}\n`;
}
