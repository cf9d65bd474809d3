/**
 * Differential test of redo: a real PostgreSQL runs a workload under wal_consistency_checking = all; the verifier replays every record
 * onto a copy of the pages it began with. This adds what only tests want: traits, samples, and the log files of one data directory.
 */
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { formatLsn, readLsn, type Lsn } from '../../src/engine/lsn.js';
import { recordTypeName, type PageMismatch, type RedoContext } from '../../src/engine/redo/index.js';
import {
  formatMismatch,
  forkKey,
  mismatchTitle,
  RedoVerifier,
  type Application,
  type TypeCount,
} from '../../src/engine/verify/index.js';
import { WalStreamDecoder } from '../../src/engine/wal/stream.js';
import { Rmgr, type WalRecord } from '../../src/engine/wal/types.js';
import type { PageMap } from './redo-pages.js';
import { traitsOf } from './redo-traits.js';

export type { TypeCount } from '../../src/engine/verify/index.js';

const SEGMENT_SIZE = 16 * 1024 * 1024;

/** Where in the log a cleanly stopped data directory ends: the start of its shutdown checkpoint (pg_control, offset 32). */
export async function shutdownCheckpoint(dataDir: string): Promise<Lsn> {
  return readLsn(await fs.readFile(path.join(dataDir, 'global', 'pg_control')), 32);
}

/** A record and the page before it. */
export interface RedoSample {
  readonly type: string;
  readonly page: Buffer;
  readonly rec: WalRecord;
  readonly blockIndex: number;
}

export interface ReplayReport {
  readonly types: Map<string, TypeCount>;
  /** Records by a trait that their redo depends on; see traitsOf. */
  readonly traits: Map<string, number>;
  /** The first mismatches, readable. */
  readonly mismatches: string[];
  mismatchCount: number;
  records: number;
  /**
   * pd_lsn that the primary gave pages (`fork:block`) by a hint-bit record without an image. Redo leaves such a page
   * alone, so the page keeps the older LSN on standbys too.
   */
  readonly hintLsns: Map<string, Lsn>;
  /** A few applications of each record type and block id. */
  readonly samples: RedoSample[];
}

const MISMATCHES_KEPT = 20;
const DIFFS_KEPT = 3;
const SAMPLES_PER_BLOCK = 3;

/** Replays the log of `dataDir` from `from` to the shutdown checkpoint at `to`, changing `pages`. */
export async function replay(
  dataDir: string,
  pages: PageMap,
  from: Lsn,
  to: Lsn,
  ctx: RedoContext,
): Promise<ReplayReport> {
  const run = new Replay(pages, ctx);
  const decoder = new WalStreamDecoder({ startLsn: from, segmentSize: SEGMENT_SIZE });
  for (let segno = Math.floor(from / SEGMENT_SIZE); ; segno++) {
    const name = `00000001${hex8(Math.floor(segno / 256))}${hex8(segno % 256)}`;
    const bytes = await fs.readFile(path.join(dataDir, 'pg_wal', name));
    decoder.push(bytes.subarray(Math.max(0, from - segno * SEGMENT_SIZE)));
    for (let rec = decoder.next(); rec !== null; rec = decoder.next()) {
      run.record(rec);
      if (rec.startLsn === to) return run.report;
      if (rec.startLsn > to) throw new Error(`no record begins at ${formatLsn(to)}`);
    }
  }
}

function hex8(n: number): string {
  return n.toString(16).toUpperCase().padStart(8, '0');
}

class Replay {
  readonly report: ReplayReport;
  private readonly verifier: RedoVerifier;
  private readonly sampled = new Map<string, number>();

  constructor(pages: PageMap, ctx: RedoContext) {
    this.verifier = new RedoVerifier(pages, {
      redo: ctx,
      // What was applied once must not change the page when it comes again.
      repeat: true,
      onMismatch: (mismatch) => {
        const { mismatches } = this.report;
        this.report.mismatchCount++;
        if (mismatches.length < DIFFS_KEPT) mismatches.push(formatMismatch(mismatch).join('\n'));
        else if (mismatches.length < MISMATCHES_KEPT) mismatches.push(mismatchTitle(mismatch));
      },
      onApplied: (application) => this.applied(application),
    });
    this.report = {
      types: this.verifier.types,
      traits: new Map(),
      mismatches: [],
      mismatchCount: 0,
      records: 0,
      hintLsns: new Map(),
      samples: [],
    };
  }

  record(rec: WalRecord): void {
    this.report.records++;
    this.verifier.record(rec);
    for (const trait of traitsOf(rec, recordTypeName(rec)))
      this.report.traits.set(trait, (this.report.traits.get(trait) ?? 0) + 1);
  }

  private applied({ rec, block, index, type, before, left }: Application): void {
    if (left && rec.rmid === Rmgr.XLOG)
      this.report.hintLsns.set(`${forkKey(block, block.fork)}:${block.blkno}`, rec.endLsn);
    const key = `${type} ${index}`;
    const taken = this.sampled.get(key) ?? 0;
    // The first ones are catalog changes at start; take some from all over the log.
    if (taken >= SAMPLES_PER_BLOCK || this.report.records % 7 !== taken) return;
    this.sampled.set(key, taken + 1);
    this.report.samples.push({ type, page: Buffer.from(before), rec, blockIndex: index });
  }
}

/** A mismatch in one line. */
export function diff({ offset, bytes, what, ours, theirs }: PageMismatch): string {
  const from = offset & ~7;
  const hex = (page: Buffer): string => page.subarray(from, from + 24).toString('hex');
  return `${bytes} byte(s) differ, first at ${offset} (${what}); from ${from} ours ${hex(ours)}, theirs ${hex(theirs)}`;
}

/** The coverage as text, one line a record type, then one a trait. */
export function coverageTable(report: ReplayReport): string {
  const types = [...report.types].sort(([a], [b]) => a.localeCompare(b));
  const traits = [...report.traits].sort(([a], [b]) => a.localeCompare(b));
  const pad = (n: number): string => String(n).padStart(6);
  return [
    ...types.map(
      ([type, { seen, results, compared, mismatched }]) =>
        `${type.padEnd(30)} seen ${pad(seen)}  applied ${pad(results.applied)}  restored ${pad(results.restored)}  ` +
        `compared ${pad(compared)}  mismatched ${mismatched}`,
    ),
    '',
    ...traits.map(([trait, n]) => `${trait}: ${n}`),
  ].join('\n');
}
