/**
 * The fuzzer of the decoder and what lies behind it. One case damages a stretch of real log and reads it; what must hold:
 *   - every record before the damage comes out as it was written
 *   - after it there is an error with a WAL_* code that names an LSN in the stretch, and the decoder keeps throwing it; or the same records come,
 *     of which some may differ, because the checksum was made to fit or because nothing that matters was hit
 *   - there are never fewer records without an error, except at a cut, where the decoder waits for more and the reader tells of a torn tail
 *   - whatever came out can be described, checked, folded and applied to a page, or is refused with a known code and the record's LSN
 *   - nothing is written beside the page, and no case takes long
 */
import assert from 'node:assert/strict';
import { advance, type ControlState } from '../../src/engine/control/index.js';
import { isDbError } from '../../src/engine/errors.js';
import { formatLsn, type Lsn } from '../../src/engine/lsn.js';
import { effectsOf } from '../../src/engine/pages/effects/index.js';
import { applyRecord, assertReplayable, recordTypeName } from '../../src/engine/redo/index.js';
import { decodeRecord } from '../../src/engine/wal/decode.js';
import { formatRecord, describeRecord } from '../../src/engine/wal/describe.js';
import { WalReader, type WalSource } from '../../src/engine/wal/reader.js';
import { WalStreamDecoder } from '../../src/engine/wal/stream.js';
import type { BlockRef, WalRecord } from '../../src/engine/wal/types.js';
import type { Corpus } from './wal-corpus.js';
import { damage, damageRecord, drawStretch, Random, type Damage, type Stretch } from './wal-damage.js';

const REDO = { walLogHints: false, checksums: false };
const PAGE = 8192;
const MARGIN = Buffer.alloc(PAGE, 0xa5);
const SAMPLES_PER_TYPE = 3;
/** A case takes a millisecond or so; the machine may be busy. */
const SLOW_MS = 5000;

export interface FuzzCounts {
  cases: number;
  records: number;
  /** Cases whose damage was reported by the decoder. */
  reported: number;
  /** Records with damage inside that were decoded. */
  differing: number;
  described: number;
  refused: number;
  applied: number;
}

/** A record and one of its pages as it was before. */
interface Sample {
  rec: WalRecord;
  pages: (Buffer | null)[];
}

export class WalFuzz {
  readonly counts: FuzzCounts = { cases: 0, records: 0, reported: 0, differing: 0, described: 0, refused: 0, applied: 0 }; // prettier-ignore
  /** By resource manager and block id: pages that such records apply to. */
  private readonly pagesFor = new Map<string, Buffer[]>();
  private readonly samples: Sample[] = [];
  private readonly room = Buffer.alloc(3 * PAGE);
  private readonly controlJson: string;

  constructor(private readonly corpus: Corpus) {
    this.controlJson = JSON.stringify(corpus.control);
    this.replay();
  }

  /** Case `n` of `seed`. Throws with what is wrong. Returns the reader's check, which is asynchronous, for cases that want it. */
  async run(seed: number, n: number): Promise<void> {
    const random = new Random(Math.imul(seed, 0x9e3779b1) ^ Math.imul(n + 1, 0x85ebca6b));
    const begun = performance.now();
    this.counts.cases++;
    if (random.chance(0.4)) this.damagedRecord(random);
    else await this.damagedLog(random);
    const took = performance.now() - begun;
    assert.ok(took < SLOW_MS, `took ${took.toFixed(0)} ms`);
  }

  private async damagedLog(random: Random): Promise<void> {
    const stretch = drawStretch(this.corpus, random, 1 + random.below(4));
    const damaged = damage(stretch, this.corpus, random);
    try {
      const found = this.decode(stretch, damaged, random);
      for (const rec of found) this.exercise(rec, random, null);
      if (random.chance(0.1)) await this.read(stretch, damaged);
    } catch (err) {
      throw new Error(`${damaged.what} of the log at ${formatLsn(stretch.startLsn)}: ${String(err)}`, {
        cause: err,
      });
    }
  }

  /** Checks what the decoder makes of it; returns the records that differ from those written. */
  private decode(stretch: Stretch, damaged: Damage, random: Random): WalRecord[] {
    const decoder = this.decoderFor(stretch);
    const found: WalRecord[] = [];
    let failure: unknown = null;
    try {
      for (const piece of pieces(damaged.bytes, random)) {
        decoder.push(piece);
        for (let rec = decoder.next(); rec !== null; rec = decoder.next()) {
          assert.ok(rec.endLsn <= decoder.pushedLsn, 'a record came before its bytes');
          found.push(rec);
        }
      }
    } catch (err) {
      failure = err;
    }
    this.counts.records += found.length;
    const { startLsn, records } = stretch;
    const sound = records.findIndex((rec) => rec.endLsn - startLsn > damaged.firstChange);
    const before = sound < 0 ? records.length : sound;
    assert.ok(
      found.length >= before,
      `${found.length} records, ${before} lie before the damage: ${String(failure)}`,
    );
    for (let i = 0; i < before; i++)
      assert.ok(sameRecord(found[i]!, records[i]!), `record ${i} is not as written`);

    if (failure !== null) this.checkFailure(failure, decoder);
    else if (damaged.cut || waitsForZeros(records[found.length], decoder))
      assert.equal(found.length, before, 'more records than the log holds');
    else {
      assert.deepEqual(
        found.map((rec) => [rec.startLsn, rec.endLsn]),
        records.map((rec) => [rec.startLsn, rec.endLsn]),
        'records are missing, or others came instead, without an error',
      );
    }
    const differing = found.slice(before).filter((rec, i) => !sameRecord(rec, records[before + i]));
    this.counts.differing += differing.length;
    return differing;
  }

  private checkFailure(failure: unknown, decoder: WalStreamDecoder): void {
    this.counts.reported++;
    assert.ok(
      isDbError(failure) && /^WAL_[A-Z_]+$/.test(failure.code),
      `not a coded error: ${stackOf(failure)}`,
    );
    const at = failure.details?.['lsn'];
    assert.ok(
      typeof at === 'number' && at >= decoder.position && at <= decoder.pushedLsn,
      `${failure.message}: details.lsn is ${String(at)}, reading was between ${formatLsn(decoder.position)} and ${formatLsn(decoder.pushedLsn)}`,
    );
    assert.ok(failure.message.includes(formatLsn(at)), `"${failure.message}" does not name ${formatLsn(at)}`);
    assert.throws(() => decoder.next(), (again) => again === failure); // prettier-ignore
  }

  /** The reader of tools: it must end where the decoder does, and say why when that is before the log's end. */
  private async read(stretch: Stretch, damaged: Damage): Promise<void> {
    const { startLsn } = stretch;
    const end = (startLsn + damaged.bytes.length) as Lsn;
    const source: WalSource = {
      segmentSize: this.corpus.segmentSize,
      systemId: this.corpus.systemId,
      start: startLsn,
      firstRecord: startLsn,
      end,
      read: (from, to) => damaged.bytes.subarray(from - startLsn, Math.min(to, end) - startLsn),
    };
    const reader = new WalReader(source);
    let last = startLsn;
    for await (const batch of reader.batches()) last = batch.at(-1)!.endLsn;
    assert.ok(reader.end !== null && reader.end.reason !== '');
    assert.equal(reader.end.lsn, last);
    if (last === end) return;
    assert.ok(
      reader.end.kind === 'invalid'
        ? /^WAL_/.test(reader.end.code!)
        : reader.end.kind === 'eof' && reader.end.lsn < end,
      `ended as ${JSON.stringify(reader.end)}`,
    );
  }

  /** A record whose checksum fits though its bytes are wrong, beside the page that it was written for. */
  private damagedRecord(random: Random): void {
    const sample = random.pick(this.samples);
    const raw = damageRecord(sample.rec, random);
    const { startLsn, endLsn } = sample.rec;
    let rec: WalRecord;
    try {
      rec = decodeRecord(raw, startLsn, endLsn);
    } catch (err) {
      this.assertKnown(err, /^WAL_[A-Z_]+$/, startLsn, 'decodeRecord');
      return;
    }
    this.counts.differing++;
    try {
      this.exercise(rec, random, sample.pages);
    } catch (err) {
      throw new Error(`${recordTypeName(sample.rec)} as ${raw.toString('hex').slice(0, 400)}: ${String(err)}`, { cause: err }); // prettier-ignore
    }
  }

  /** Everything that a decoded record is given to. */
  private exercise(rec: WalRecord, random: Random, pages: readonly (Buffer | null)[] | null): void {
    const { startLsn } = rec;
    this.attempt(/^WAL_BAD_RECORD$/, startLsn, 'describeRecord', () => {
      describeRecord(rec);
      formatRecord(rec);
      this.counts.described++;
    });
    if (!this.attempt(/^REDO_[A-Z_]+$/, startLsn, 'assertReplayable', () => assertReplayable(rec))) return;
    const control = JSON.parse(this.controlJson) as ControlState;
    const context = { control, secret: null, onRejectedFile: () => undefined };
    this.attempt(EFFECT_CODES, startLsn, 'effectsOf', () => void effectsOf(rec, context));
    this.attempt(EFFECT_CODES, startLsn, 'advance', () => advance(control, rec));
    rec.blocks.forEach((block, i) => {
      const page = pages?.[i] ?? this.pageFor(rec, block, random);
      this.attempt(/^(REDO|WAL)_[A-Z_]+$/, startLsn, 'applyRecord', () => this.apply(page, rec, block));
    });
  }

  private apply(before: Buffer | null, rec: WalRecord, block: BlockRef): void {
    this.room.fill(0xa5);
    const page = this.room.subarray(PAGE, 2 * PAGE);
    if (before) before.copy(page);
    else page.fill(0);
    try {
      applyRecord(page, rec, block, REDO);
      this.counts.applied++;
    } finally {
      assert.ok(
        MARGIN.equals(this.room.subarray(0, PAGE)) && MARGIN.equals(this.room.subarray(2 * PAGE)),
        'wrote beside its page',
      );
    }
  }

  /** Whether it went well; if not, with a known code and the record's LSN. */
  private attempt(codes: RegExp, at: Lsn, what: string, action: () => void): boolean {
    try {
      action();
      return true;
    } catch (err) {
      this.assertKnown(err, codes, at, what);
      return false;
    }
  }

  private assertKnown(err: unknown, codes: RegExp, at: Lsn, what: string): void {
    const known = isDbError(err) && codes.test(err.code) && err.message.includes(formatLsn(at));
    assert.ok(known, `${what} at ${formatLsn(at)}: ${stackOf(err)}`);
    this.counts.refused++;
  }

  private decoderFor({ startLsn, lastRecordLsn }: Stretch): WalStreamDecoder {
    const { segmentSize, systemId } = this.corpus;
    return new WalStreamDecoder({ startLsn, segmentSize, systemId, lastRecordLsn });
  }

  private pageFor(rec: WalRecord, block: BlockRef, random: Random): Buffer | null {
    const pages = this.pagesFor.get(`${rec.rmid} ${block.id}`);
    return pages ? random.pick(pages) : null;
  }

  /** Replays the log from its images on, to have pages for records. Types that cannot be replayed yet have none. */
  private replay(): void {
    const pages = new Map<string, Buffer>();
    const taken = new Map<string, number>();
    for (const rec of this.corpus.records) {
      const type = recordTypeName(rec);
      const before = rec.blocks.map((block) => {
        const page = pages.get(keyOf(block));
        return page ? Buffer.from(page) : null;
      });
      const count = taken.get(type) ?? 0;
      // Some of the first, and some from further on, when pages are fuller.
      if (count < SAMPLES_PER_TYPE || (rec.startLsn / 8) % 97 === 0) {
        taken.set(type, count + 1);
        this.samples.push({ rec, pages: before });
        rec.blocks.forEach((block, i) => this.keep(rec, block, before[i]!));
      }
      for (const block of rec.blocks) {
        const page = pages.get(keyOf(block)) ?? Buffer.alloc(PAGE);
        try {
          applyRecord(page, rec, block, REDO);
          pages.set(keyOf(block), page);
        } catch (err) {
          if (!isDbError(err)) throw err;
          pages.delete(keyOf(block));
        }
      }
    }
  }

  private keep(rec: WalRecord, block: BlockRef, page: Buffer | null): void {
    if (!page) return;
    const key = `${rec.rmid} ${block.id}`;
    const kept = this.pagesFor.get(key) ?? [];
    this.pagesFor.set(key, kept);
    if (kept.length < 40) kept.push(page);
  }
}

/** A SWITCH comes when its segment is over: damage to the zeros after it can leave too few of them. */
function waitsForZeros(rec: WalRecord | undefined, decoder: WalStreamDecoder): boolean {
  return rec !== undefined && rec.rmid === 0 && (rec.info & 0xf0) === 0x40 && decoder.pushedLsn < rec.endLsn;
}

/** Effects and the control state parse whole files that records carry, each with its own code. */
const EFFECT_CODES = /^(REDO_[A-Z_]+|RELMAP_BAD|TWOPHASE_BAD|ORIGIN_BAD)$/;

function keyOf({ spcOid, dbOid, relNumber, fork, blkno }: BlockRef): string {
  return `${spcOid}/${dbOid}/${relNumber}/${fork}/${blkno}`;
}

function sameRecord(a: WalRecord, b: WalRecord | undefined): boolean {
  return b !== undefined && a.startLsn === b.startLsn && a.endLsn === b.endLsn && a.raw.equals(b.raw);
}

/** The bytes as they may come: all at once, or cut. */
function pieces(bytes: Buffer, random: Random): Buffer[] {
  if (random.chance(0.5)) return [bytes];
  const size = random.pick([1000, 4096, 8192, 9999]);
  const out: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) out.push(bytes.subarray(at, at + size));
  return out;
}

function stackOf(err: unknown): string {
  return err instanceof Error
    ? `${isDbError(err) ? `${err.code} ` : ''}${err.stack ?? err.message}`
    : String(err);
}
