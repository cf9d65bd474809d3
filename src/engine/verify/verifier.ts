/**
 * Replays records onto pages and compares each page with the image that PostgreSQL put into the record (wal_consistency_checking), as
 * its own recovery does on request (xlogrecovery.c verifyBackupPageConsistency).
 */
import { parseParameterChange } from '../control/advance.js';
import { DbError } from '../errors.js';
import { writePageLsn } from '../lsn.js';
import { BLCKSZ } from '../page/constants.js';
import { isNewPage } from '../page/header.js';
import { vmBitsOf } from '../page/vm.js';
import {
  applyRecord,
  assertReplayable,
  changesBlock,
  compareWithImage,
  recordTypeName,
  type RedoContext,
} from '../redo/index.js';
import { isComparable } from '../redo/verify.js';
import { restoreImage } from '../wal/image.js';
import { ForkNumber, Rmgr, type BlockRef, type WalRecord } from '../wal/types.js';
import { applyRelationEffects } from './effects.js';
import type { Mismatch, TypeCount, VerifierOptions, VerifyPages } from './types.js';

const PARAMETER_CHANGE = 0x60;

export class RedoVerifier {
  /** By record type, in order of appearance. */
  readonly types = new Map<string, TypeCount>();
  /** Records judged. */
  records = 0;
  mismatched = 0;
  compared = 0;
  private redo: RedoContext;
  private readonly before = Buffer.alloc(BLCKSZ);
  private readonly again = Buffer.alloc(BLCKSZ);

  constructor(
    private readonly pages: VerifyPages,
    private readonly options: VerifierOptions,
  ) {
    this.redo = options.redo;
  }

  /**
   * Replays the record that follows the one before. `judged` false: without counting, comparing or telling anybody.
   * Throws REDO_* and WAL_* when it cannot be replayed and nobody takes onFailure(); pages may be half changed then.
   */
  record(rec: WalRecord, judged = true): void {
    const type = recordTypeName(rec);
    const count = judged ? this.count(type) : newCount();
    count.seen++;
    if (judged) this.records++;
    const failures = count.failed;
    try {
      assertReplayable(rec);
      applyRelationEffects(rec, this.pages);
      if (this.options.followParameters) this.follow(rec);
    } catch (err) {
      this.failed(err, rec, count, judged);
      for (const block of rec.blocks) this.takeOver(rec, block);
      return;
    }
    for (let index = 0; index < rec.blocks.length; index++) this.block(rec, index, type, count, judged);
    if (count.failed > failures) count.failed = failures + 1; // records, not blocks
  }

  private block(rec: WalRecord, index: number, type: string, count: TypeCount, judged: boolean): void {
    const block = rec.blocks[index]!;
    const whole = block.applyImage || block.willInit;
    const page = this.pages.page(block, block.fork, block.blkno, whole);
    page?.copy(this.before);
    try {
      if (page === null) {
        if (this.adopt(rec, block)) count.adopted++;
        else count.unknown++;
        return;
      }
      const left = !changesBlock(rec, block);
      const result = applyRecord(page, rec, block, this.redo);
      if (!left || rec.rmid === Rmgr.XLOG) count.results[result]++;
      if (!judged) return;
      if (this.options.repeat) this.repeat(page, rec, block, type, count);
      this.options.onApplied?.({ rec, block, index, type, before: this.before, page, result, left });
      if (isComparable(page, rec, block)) this.compare(page, rec, block, type, count);
    } catch (err) {
      this.failed(err, rec, count, judged);
      if (!this.takeOver(rec, block) && page !== null) this.before.copy(page);
    }
  }

  private compare(page: Buffer, rec: WalRecord, block: BlockRef, type: string, count: TypeCount): void {
    count.compared++;
    this.compared++;
    const found = compareWithImage(page, rec, block);
    if (found !== null) {
      const { bytes, offset, what, ours, theirs } = found;
      this.mismatch(count, {
        kind: 'page',
        ...{ rec, block, type },
        ours: Buffer.from(page),
        theirs: restoreImage(block, rec.startLsn),
        maskedOurs: ours,
        maskedTheirs: theirs,
        summary: `${bytes} byte(s) differ, first at ${offset} (${what})`,
      });
      this.adopt(rec, block); // what follows is judged by itself
      return;
    }
    const heapBlk =
      block.fork === ForkNumber.vm && rec.rmid === Rmgr.Heap2 ? rec.blocks[1]?.blkno : undefined;
    if (heapBlk !== undefined) this.compareBits(page, heapBlk, rec, block, type, count);
  }

  /** The mask hides the map. The image is exact for the record's own heap block, whose page was locked meanwhile. */
  private compareBits(
    page: Buffer,
    heapBlk: number,
    rec: WalRecord,
    block: BlockRef,
    type: string,
    count: TypeCount,
  ): void {
    const image = restoreImage(block, rec.startLsn);
    const [ours, theirs] = [vmBitsOf(page, heapBlk), vmBitsOf(image, heapBlk)];
    if (ours === theirs) return;
    const summary = `bits of heap block ${heapBlk}: ours ${ours}, theirs ${theirs}`;
    this.mismatch(count, { kind: 'visibility', rec, block, type, ...raw(page, image), summary });
  }

  private repeat(page: Buffer, rec: WalRecord, block: BlockRef, type: string, count: TypeCount): void {
    page.copy(this.again);
    applyRecord(this.again, rec, block, this.redo);
    if (this.again.equals(page)) return;
    const summary = 'a second application changed the page';
    this.mismatch(count, { kind: 'repeat', rec, block, type, ...raw(page, this.again), summary });
  }

  private mismatch(count: TypeCount, mismatch: Mismatch): void {
    count.mismatched++;
    this.mismatched++;
    this.options.onMismatch(mismatch);
  }

  /** Makes the page what the record's image says. False if there is none. Throws WAL_BAD_IMAGE. */
  private adopt(rec: WalRecord, block: BlockRef): boolean {
    if (!block.hasImage) return false;
    const image = restoreImage(block, rec.startLsn);
    // It was taken before the primary stamped the page.
    if (!isNewPage(image)) writePageLsn(image, rec.endLsn);
    image.copy(this.pages.page(block, block.fork, block.blkno, true)!);
    return true;
  }

  /** adopt() after a failure, of which a damaged image may be a part. */
  private takeOver(rec: WalRecord, block: BlockRef): boolean {
    try {
      return this.adopt(rec, block);
    } catch (err) {
      if (err instanceof DbError) return false;
      throw err;
    }
  }

  private failed(err: unknown, rec: WalRecord, count: TypeCount, judged: boolean): void {
    if (!(err instanceof DbError) || !this.options.onFailure) throw err;
    count.failed++;
    if (judged) this.options.onFailure(err, rec);
  }

  private follow(rec: WalRecord): void {
    if (rec.rmid !== Rmgr.XLOG || (rec.info & 0xf0) !== PARAMETER_CHANGE) return;
    this.redo = { ...this.redo, walLogHints: parseParameterChange(rec).walLogHints };
  }

  private count(type: string): TypeCount {
    let count = this.types.get(type);
    if (count === undefined) this.types.set(type, (count = newCount()));
    return count;
  }
}

function newCount(): TypeCount {
  return {
    seen: 0,
    results: { applied: 0, restored: 0, skipped: 0, notfound: 0 },
    compared: 0,
    mismatched: 0,
    adopted: 0,
    unknown: 0,
    failed: 0,
  };
}

/** Where nothing is masked. */
function raw(
  ours: Buffer,
  theirs: Buffer,
): Pick<Mismatch, 'ours' | 'theirs' | 'maskedOurs' | 'maskedTheirs'> {
  const copies = { ours: Buffer.from(ours), theirs: Buffer.from(theirs) };
  return { ...copies, maskedOurs: copies.ours, maskedTheirs: copies.theirs };
}
