/**
 * Differential test of redo: a real PostgreSQL runs a workload under wal_consistency_checking = all; every record it wrote is replayed
 * onto a copy of the pages it began with, and each page is compared with the image in the record.
 */
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { formatLsn, readLsn, type Lsn } from '../../src/engine/lsn.js';
import { vmBitsOf, vmBlockOf } from '../../src/engine/page/vm.js';
import {
  applyRecord,
  applyVmClear,
  assertReplayable,
  changesBlock,
  compareWithImage,
  implicitVmClears,
  recordTypeName,
  type PageMismatch,
  type RedoContext,
  type RedoResult,
} from '../../src/engine/redo/index.js';
import { isComparable } from '../../src/engine/redo/verify.js';
import { restoreImage } from '../../src/engine/wal/image.js';
import { WalStreamDecoder } from '../../src/engine/wal/stream.js';
import { ForkNumber, Rmgr, type BlockRef, type WalRecord } from '../../src/engine/wal/types.js';
import { forkKey, type PageMap } from './redo-pages.js';
import { traitsOf } from './redo-traits.js';

const SEGMENT_SIZE = 16 * 1024 * 1024;

/** Where in the log a cleanly stopped data directory ends: the start of its shutdown checkpoint (pg_control, offset 32). */
export async function shutdownCheckpoint(dataDir: string): Promise<Lsn> {
  return readLsn(await fs.readFile(path.join(dataDir, 'global', 'pg_control')), 32);
}

export interface TypeCount {
  /** Records. */
  seen: number;
  /** Block references, by what redo did to them. */
  readonly results: Record<RedoResult, number>;
  /** Block references compared with an image that redo had not applied itself. */
  compared: number;
  mismatched: number;
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
  readonly report: ReplayReport = {
    types: new Map(),
    traits: new Map(),
    mismatches: [],
    mismatchCount: 0,
    records: 0,
    hintLsns: new Map(),
    samples: [],
  };
  private readonly sampled = new Map<string, number>();
  private readonly before = Buffer.alloc(8192);
  private readonly again = Buffer.alloc(8192);

  constructor(
    private readonly pages: PageMap,
    private readonly ctx: RedoContext,
  ) {}

  record(rec: WalRecord): void {
    assertReplayable(rec);
    this.report.records++;
    const type = recordTypeName(rec);
    const count = this.countOf(type);
    count.seen++;
    for (const trait of traitsOf(rec, type))
      this.report.traits.set(trait, (this.report.traits.get(trait) ?? 0) + 1);
    for (const clear of implicitVmClears(rec)) {
      const map = this.pages.forks.get(forkKey(clear.rel, ForkNumber.vm))?.[vmBlockOf(clear.heapBlk)];
      if (map !== undefined) applyVmClear(map, clear.heapBlk, clear.bits);
    }
    rec.blocks.forEach((block, index) => this.block(rec, type, count, block, index));
    this.storage(rec);
  }

  private countOf(type: string): TypeCount {
    let count = this.report.types.get(type);
    if (count === undefined) {
      count = {
        seen: 0,
        results: { applied: 0, restored: 0, skipped: 0, notfound: 0 },
        compared: 0,
        mismatched: 0,
      };
      this.report.types.set(type, count);
    }
    return count;
  }

  private block(rec: WalRecord, type: string, count: TypeCount, block: BlockRef, index: number): void {
    const page = this.pages.page(block, block.fork, block.blkno);
    page.copy(this.before);
    const result = applyRecord(page, rec, block, this.ctx);
    // Blocks that are referenced for a lock only are no case of "newer page".
    const left = !changesBlock(rec, block);
    if (!left || rec.rmid === Rmgr.XLOG) count.results[result]++;
    if (left && rec.rmid === Rmgr.XLOG)
      this.report.hintLsns.set(`${forkKey(block, block.fork)}:${block.blkno}`, rec.endLsn);
    const fail = (text: string): void => this.note(count, `${place(rec, type, block)}: ${text}`);

    // What was applied once must not change the page when it comes again.
    page.copy(this.again);
    applyRecord(this.again, rec, block, this.ctx);
    if (!this.again.equals(page)) fail('a second application changed the page');

    this.sample(rec, type, index);
    if (!isComparable(page, rec, block)) return;
    count.compared++;
    const mismatch = compareWithImage(page, rec, block);
    if (mismatch !== null) fail(diff(mismatch));
    if (block.fork !== ForkNumber.vm) return;
    // The mask hides the map. The image is exact for the record's own heap block, whose page was locked meanwhile.
    const heapBlk = rec.blocks[1]!.blkno;
    const theirs = vmBitsOf(restoreImage(block, rec.startLsn), heapBlk);
    const ours = vmBitsOf(page, heapBlk);
    if (ours !== theirs) fail(`bits of heap block ${heapBlk}: ours ${ours}, theirs ${theirs}`);
  }

  private sample(rec: WalRecord, type: string, blockIndex: number): void {
    const key = `${type} ${blockIndex}`;
    const taken = this.sampled.get(key) ?? 0;
    // The first ones are catalog changes at start; take some from all over the log.
    if (taken >= SAMPLES_PER_BLOCK || this.report.records % 7 !== taken) return;
    this.sampled.set(key, taken + 1);
    this.report.samples.push({ type, page: Buffer.from(this.before), rec, blockIndex });
  }

  private note(count: TypeCount, text: string): void {
    count.mismatched++;
    this.report.mismatchCount++;
    if (this.report.mismatches.length < MISMATCHES_KEPT) this.report.mismatches.push(text);
  }

  /** Relation files as a whole. Drops are ignored: a file number is not used again, and what is gone is compared with nothing. */
  private storage(rec: WalRecord): void {
    const data = rec.mainData;
    if (rec.rmid === Rmgr.Storage) {
      const at = (rec.info & 0xf0) === 0x10 ? 0 : 4;
      const rel = {
        spcOid: data.readUInt32LE(at),
        dbOid: data.readUInt32LE(at + 4),
        relNumber: data.readUInt32LE(at + 8),
      };
      if (at === 0) this.pages.fork(rel, data.readUInt32LE(12));
      else this.pages.truncate(rel, data.readUInt32LE(0));
    } else if (rec.rmid === Rmgr.Database && (rec.info & 0xf0) === 0) {
      this.pages.copyDatabase(data.readUInt32LE(8), data.readUInt32LE(0));
    }
  }
}

function place(rec: WalRecord, type: string, block: BlockRef): string {
  return `${formatLsn(rec.startLsn)} ${type} block ${block.id} = ${forkKey(block, block.fork)} blk ${block.blkno}`;
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
