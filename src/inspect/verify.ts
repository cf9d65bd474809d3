/** `inspect wal --verify`: replays a log upon a base and compares every page with PostgreSQL's image of it. */
import { DbError } from '../engine/errors.js';
import { formatLsn, type Lsn } from '../engine/lsn.js';
import { formatMismatch, MemoryPages, RedoVerifier, type TypeCount } from '../engine/verify/index.js';
import { WalReader } from '../engine/wal/reader.js';
import type { WalRecord } from '../engine/wal/types.js';
import { openDataDirBase, type VerifyBase } from './verify-base.js';
import { logProblem } from './verify-end.js';
import { openNodeBase, openVolumeBase } from './verify-store.js';
import type { WalInput } from './wal-input.js';

export interface VerifyOptions {
  /** Judge records from here to there; replay begins where the base says. */
  start?: Lsn | undefined;
  end?: Lsn | undefined;
  /** Records judged at most. */
  limit?: number | undefined;
  /** Which records to judge. All are replayed. */
  matches: (rec: WalRecord) => boolean;
  /** Data directory that the log was written upon. */
  base?: string | undefined;
  signal: AbortSignal;
  /** Standard error. */
  note(line: string): void;
  /** Told after each batch of records how much log has been replayed; `total` is null when its end is not known. */
  onProgress?(doneBytes: number, totalBytes: number | null): void;
}

export interface VerifyReport {
  /** Start of the first and end of the last record judged; null without any. */
  start: Lsn | null;
  end: Lsn | null;
  /** What replay began with; null: with nothing. */
  base: string | null;
  records: number;
  types: ReadonlyMap<string, TypeCount>;
  compared: number;
  mismatched: number;
  /** The first mismatches, readable: see formatMismatch(). */
  mismatches: string[][];
  failed: number;
  /** Messages of the first records that could not be replayed. */
  failures: string[];
  /** Why the log cannot be read further, when that is not simply its end. */
  problem: string | null;
}

const SHOWN = 10;

/**
 * Reads the log to the end that was asked for, or to its own. Throws USAGE_VERIFY_* when base and log do not belong together, VERIFY_NOTHING
 * when there was not a single page to compare.
 */
export async function verifyWal(input: WalInput, options: VerifyOptions): Promise<VerifyReport> {
  const base = await openBase(input, options);
  try {
    if (base !== null) checkBase(base, input, options);
    const report = await new VerifyRun(input, base, options).run();
    if (report.compared === 0 && report.failed === 0 && report.problem === null && !options.signal.aborted)
      throw nothingCompared(report);
    return report;
  } finally {
    await base?.close();
  }
}

export function isVerified(report: VerifyReport): boolean {
  return report.mismatched === 0 && report.failed === 0 && report.problem === null;
}

async function openBase(input: WalInput, options: VerifyOptions): Promise<VerifyBase | null> {
  if (options.base !== undefined) return openDataDirBase(options.base);
  const { place, source } = input;
  if (place.kind === 'folder') return null;
  const base =
    place.kind === 'node'
      ? await openNodeBase(place.dir, source, options.start)
      : await openVolumeBase(place.volume, source, options.start);
  if (typeof base !== 'string') return base;
  options.note(`verifying without a base: ${base}`);
  return null;
}

function checkBase(base: VerifyBase, { source, end: inputEnd }: WalInput, options: VerifyOptions): void {
  const fault = (message: string, hint: string): DbError =>
    new DbError('USAGE_VERIFY_BASE', message, { hint });
  if (source.systemId !== undefined && source.systemId.toString() !== base.systemIdentifier)
    throw fault(
      `the log was written by another cluster (${source.systemId}) than the base (${base.systemIdentifier})`,
      'Give the data directory that the log was written upon.',
    );
  const end = options.end ?? inputEnd ?? source.end ?? Infinity;
  if (base.from < source.start || base.from >= end)
    throw fault(
      `the base is ${base.name}, but the log to verify goes from ${formatLsn(source.start)}` +
        (end === Infinity ? '' : ` to ${formatLsn(end)}`),
      'Replay begins where the base was stopped: keep the log from there on (wal_keep_size), and copy the base before the log is written.',
    );
  if (options.start !== undefined && options.start < base.from)
    options.note(`the base is as of ${formatLsn(base.from)}: records before it cannot be verified`);
}

class VerifyRun {
  private readonly verifier: RedoVerifier;
  private readonly report: VerifyReport;
  private failed = 0;

  constructor(
    private readonly input: WalInput,
    private readonly base: VerifyBase | null,
    private readonly options: VerifyOptions,
  ) {
    const report: VerifyReport = {
      start: null,
      end: null,
      base: base?.name ?? null,
      records: 0,
      types: new Map(),
      compared: 0,
      mismatched: 0,
      mismatches: [],
      failed: 0,
      failures: [],
      problem: null,
    };
    this.report = report;
    this.verifier = new RedoVerifier(new MemoryPages(base?.pages ?? null), {
      redo: base?.redo ?? { walLogHints: false, checksums: false },
      followParameters: true,
      onMismatch: (mismatch) => {
        if (report.mismatches.length < SHOWN) report.mismatches.push(formatMismatch(mismatch));
      },
      onFailure: (err) => {
        if (this.failed++ < SHOWN) report.failures.push(err.message);
      },
    });
  }

  async run(): Promise<VerifyReport> {
    const { input, base, options, report, verifier } = this;
    const start = options.start ?? input.start;
    const end = options.end ?? input.end;
    const reader = new WalReader(input.source, {
      start: base?.from ?? start,
      end,
      signal: options.signal,
    });
    const finished = await this.replay(reader, start ?? (0 as Lsn));
    if (!finished && reader.end !== null) report.problem = await logProblem(input, reader.end);
    return Object.assign(report, {
      records: verifier.records,
      types: verifier.types,
      compared: verifier.compared,
      mismatched: verifier.mismatched,
      failed: this.failed,
    });
  }

  /** True when the limit was reached. */
  private async replay(reader: WalReader, start: Lsn): Promise<boolean> {
    const { base, options, report, verifier } = this;
    const end = options.end ?? this.input.end ?? this.input.source.end;
    let first: Lsn | null = null;
    for await (const batch of reader.batches()) {
      await base?.prepare?.(batch);
      first ??= batch[0]!.startLsn;
      options.onProgress?.(batch[0]!.startLsn - first, end === null ? null : end - first);
      for (const rec of batch) {
        const judged = rec.startLsn >= start && options.matches(rec);
        verifier.record(rec, judged);
        if (!judged) continue;
        report.start ??= rec.startLsn;
        report.end = rec.endLsn;
        if (verifier.records === options.limit) return true;
      }
    }
    return false;
  }
}

function nothingCompared({ records, types, base }: VerifyReport): DbError {
  if (records === 0)
    return new DbError('VERIFY_NOTHING', 'nothing was verified: the log holds no such record', {
      hint: 'Look at what there is: aurora inspect wal.',
    });
  let adopted = 0;
  for (const count of types.values()) adopted += count.adopted;
  if (base === null && adopted > 0)
    return new DbError(
      'VERIFY_NOTHING',
      `nothing was verified: without a base, the first image of each of ${adopted} pages has to be believed, and there are no others`,
      { hint: 'Give the data directory that the log was written upon: --base DATADIR.' },
    );
  return new DbError(
    'VERIFY_NOTHING',
    `nothing was verified: the ${records} records hold no page images to compare with`,
    {
      hint: "Write the log with wal_consistency_checking = all (ALTER SYSTEM SET wal_consistency_checking = 'all'; SELECT pg_reload_conf()).",
    },
  );
}
