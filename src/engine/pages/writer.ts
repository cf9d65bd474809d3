/**
 * Puts what records change into one RocksDB batch: page versions from block references, everything else from effects. Nothing is read back
 * from the store except newest fork sizes (cached), so a record costs a few puts.
 */
import type { Lsn } from '../lsn.js';
import { BLCKSZ } from '../page/constants.js';
import { vmBlockOf } from '../page/vm.js';
import { applyReplayable, changesBlock } from '../redo/index.js';
import { ForkNumber, type BlockRef, type RelFileLocator, type WalRecord } from '../wal/types.js';
import type { BatchBytes } from './batch-bytes.js';
import type { CoalesceQueue } from './coalesce.js';
import type { SlruName } from './effects/types.js';
import type { Fork } from './forks.js';
import { Kind } from './keys.js';
import type { PageState } from './page-state.js';
import type { StoreParts } from './parts.js';
import type { RocksBatch } from './rocks.js';
import { SlruWriter } from './slru-writer.js';
import type { BranchId } from './types.js';
import { VersionPuts } from './version-puts.js';
import { appendVmClear, encodeImage, hasCheckImages, isZeroPage, withoutCheckImages } from './values.js';

const FORKS = Object.values(ForkNumber);
/** Up to here a truncation writes a 'zero' version for each cut block; beyond it, one floor (see forks.ts). */
const MAX_CUT_BLOCKS = 1024;
const MAX_FLOORS = 16;

interface VmClears {
  readonly fork: Fork;
  readonly blkno: number;
  value: Buffer;
}

export class PageWriter {
  readonly slru: SlruWriter;
  private readonly puts: VersionPuts;
  private readonly dirty: Fork[] = [];
  private readonly vmClears: VmClears[] = [];
  /** The image at hand, and what is stored of it. */
  private readonly restored = Buffer.alloc(BLCKSZ);
  private readonly encoded = Buffer.alloc(BLCKSZ);

  constructor(
    private readonly parts: StoreParts,
    private readonly batch: RocksBatch,
    private readonly queue: CoalesceQueue,
    private readonly branch: BranchId,
    private readonly bytes: BatchBytes,
  ) {
    this.puts = new VersionPuts(branch, bytes);
    this.slru = new SlruWriter(parts, batch, this.puts, bytes, queue, branch);
  }

  /** What a record, which lies at `raw` of the batch's bytes, does to the pages that it references. */
  blocks(rec: WalRecord, raw: number): void {
    if (rec.blocks.length === 0) return;
    let value = raw;
    let { length } = rec.raw;
    if (hasCheckImages(rec)) {
      const without = withoutCheckImages(rec);
      value = this.bytes.put(without);
      length = without.length;
    }
    for (const block of rec.blocks) {
      if (!changesBlock(rec, block)) continue;
      const fork = this.grown(block, block.fork, block.blkno, rec.endLsn);
      if (block.applyImage) {
        this.image(fork, rec, block);
        continue;
      }
      const page = this.queue.page(fork, block.blkno);
      this.put(fork, page, rec.endLsn, block.willInit ? Kind.init : Kind.delta, value, length);
      this.queue.recordDelta(fork, page, rec, block);
    }
  }

  vmClear(rel: RelFileLocator, heapBlk: number, bits: number): void {
    const fork = this.fork(rel, ForkNumber.vm);
    const blkno = vmBlockOf(heapBlk);
    // PostgreSQL would create the map page here, only to find its bits clear.
    if (!fork.exists || blkno >= fork.nblocks) return;
    const before = this.vmClears.find((entry) => entry.fork === fork && entry.blkno === blkno);
    if (before) before.value = appendVmClear(before.value, heapBlk, bits);
    else this.vmClears.push({ fork, blkno, value: appendVmClear(undefined, heapBlk, bits) });
  }

  vmTruncate(rel: RelFileLocator, nHeapBlocks: number, at: Lsn): void {
    const fork = this.fork(rel, ForkNumber.vm);
    const blkno = vmBlockOf(nHeapBlocks);
    if (!fork.exists || blkno >= fork.nblocks) return;
    const value = Buffer.allocUnsafe(4);
    value.writeUInt32LE(nHeapBlocks, 0);
    this.mapChange(fork, blkno, at, Kind.vmTruncate, value);
  }

  relCreate(rel: RelFileLocator, forkNumber: number, at: Lsn): void {
    const fork = this.fork(rel, forkNumber);
    if (fork.exists) return;
    fork.create(at);
    this.dirty.push(fork);
  }

  relDrop(rel: RelFileLocator, at: Lsn): void {
    for (const forkNumber of FORKS) {
      const fork = this.fork(rel, forkNumber);
      if (!fork.exists) continue;
      fork.drop(at);
      this.dirty.push(fork);
    }
  }

  relTruncate(rel: RelFileLocator, forkNumber: number, nblocks: number, at: Lsn): void {
    const fork = this.fork(rel, forkNumber);
    if (!fork.exists || nblocks >= fork.nblocks) return;
    if (fork.nblocks - nblocks <= MAX_CUT_BLOCKS || fork.floors.length >= MAX_FLOORS) {
      for (let blkno = nblocks; blkno < fork.nblocks; blkno++) {
        const page = this.queue.page(fork, blkno);
        this.put(fork, page, at, Kind.zero, 0, 0);
        this.queue.base(page);
      }
    } else {
      fork.addFloor(nblocks, at);
      fork.pages = null;
    }
    fork.cut(nblocks, at);
    this.dirty.push(fork);
  }

  /** A page given whole (imports, copies of databases), in a buffer that may be used again. All zeros: only the size counts. */
  page(rel: RelFileLocator, forkNumber: number, blkno: number, image: Readonly<Buffer>, at: Lsn): void {
    const fork = this.grown(rel, forkNumber, blkno, at);
    if (isZeroPage(image)) return;
    this.batch.put(fork.pageKey.setBlock(blkno).set(at, Kind.image), encodeImage(image, this.encoded));
    this.parts.counters.versionsWritten++;
  }

  /** A fork that exists from `at` on with at least `nblocks` blocks. */
  sized(rel: RelFileLocator, forkNumber: number, nblocks: number, at: Lsn): void {
    this.relCreate(rel, forkNumber, at);
    if (nblocks > 0) this.grown(rel, forkNumber, nblocks - 1, at);
  }

  /** To be called after each record: puts what was collected by page or fork. */
  endRecord(at: Lsn): void {
    for (const { fork, blkno, value } of this.vmClears) this.mapChange(fork, blkno, at, Kind.vmClear, value);
    if (this.vmClears.length > 0) this.vmClears.length = 0;
    for (const fork of this.dirty) if (fork.dirty) this.parts.forks.put(this.batch, fork);
    if (this.dirty.length > 0) this.dirty.length = 0;
    this.slru.endRecord(at);
  }

  /** Everything put so far is in the batch then. */
  flush(): void {
    this.puts.flush(this.batch);
  }

  /** Drops everything that is not written. */
  forget(): void {
    this.puts.forget();
    this.vmClears.length = 0;
    this.dirty.length = 0;
    this.slru.forget();
  }

  slruPage(slru: SlruName, pageno: number, image: Buffer, at: Lsn): void {
    this.slru.image(slru, pageno, image, at);
  }

  private fork(rel: RelFileLocator, fork: number): Fork {
    return this.parts.forks.current(this.branch, rel, fork);
  }

  /** The fork, existing (PostgreSQL's recovery creates what a record refers to) and with block `blkno`. */
  private grown(rel: RelFileLocator, forkNumber: number, blkno: number, at: Lsn): Fork {
    const fork = this.parts.forks.current(this.branch, rel, forkNumber);
    if (fork.exists && blkno < fork.nblocks) return fork;
    if (!fork.exists) fork.create(at);
    if (blkno >= fork.nblocks) fork.grow(blkno + 1, at);
    this.dirty.push(fork);
    return fork;
  }

  private image(fork: Fork, rec: WalRecord, block: BlockRef): void {
    applyReplayable(this.restored, rec, block, this.parts.redo);
    const stored = encodeImage(this.restored, this.encoded);
    const page = this.queue.page(fork, block.blkno);
    this.put(fork, page, rec.endLsn, Kind.image, this.bytes.put(stored), stored.length);
    this.queue.pageImage(page, this.restored, stored.length, rec.endLsn);
  }

  private mapChange(fork: Fork, blkno: number, at: Lsn, kind: number, value: Buffer): void {
    const page = this.queue.page(fork, blkno);
    this.put(fork, page, at, kind, this.bytes.put(value), value.length);
    this.queue.mapDelta(fork, page, at, kind, value);
  }

  private put(fork: Fork, page: PageState, at: Lsn, kind: number, value: number, length: number): void {
    this.puts.page(fork, page, at, kind, value, length);
    this.parts.counters.versionsWritten++;
  }
}
