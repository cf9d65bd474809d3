/**
 * Page versions on their way into a batch, which they enter in the order of their keys. RocksDB's memtable inserts a key that follows the one
 * before it at once and searches the place of any other, so this saves a search for each further version of a page that the batch changes.
 */
import type { Lsn } from '../lsn.js';
import type { SlruName } from './effects/types.js';
import type { Fork } from './forks.js';
import { slruNumber, SlruVersionKey } from './keys.js';
import type { RocksBatch } from './rocks.js';
import type { BranchId } from './types.js';

interface PageVersion {
  readonly fork: Fork;
  readonly blkno: number;
  readonly at: Lsn;
  readonly kind: number;
  readonly value: Buffer;
}

interface SlruVersion {
  readonly slru: SlruName;
  readonly pageno: number;
  readonly at: Lsn;
  readonly kind: number;
  readonly value: Buffer;
}

export class VersionPuts {
  private readonly pages: PageVersion[] = [];
  private readonly slrus: SlruVersion[] = [];
  private readonly slruKey = new SlruVersionKey();

  constructor(private readonly branch: BranchId) {}

  /** `value` must not change until flush(). */
  page(fork: Fork, blkno: number, at: Lsn, kind: number, value: Buffer): void {
    this.pages.push({ fork, blkno, at, kind, value });
  }

  slru(slru: SlruName, pageno: number, at: Lsn, kind: number, value: Buffer): void {
    this.slrus.push({ slru, pageno, at, kind, value });
  }

  /** Sorting is stable: of two values under one key the later one counts, as without it. */
  flush(batch: RocksBatch): void {
    if (this.pages.length > 0) {
      this.pages.sort(byPageKey);
      for (const { fork, blkno, at, kind, value } of this.pages)
        batch.put(fork.pageKey.setBlock(blkno).set(at, kind), value);
      this.pages.length = 0;
    }
    if (this.slrus.length > 0) {
      this.slrus.sort(bySlruKey);
      for (const { slru, pageno, at, kind, value } of this.slrus)
        batch.put(this.slruKey.setPage(this.branch, slru, pageno).set(at, kind), value);
      this.slrus.length = 0;
    }
  }

  forget(): void {
    this.pages.length = 0;
    this.slrus.length = 0;
  }
}

/** Relations of one number in several databases need not be told apart: only neighbourhood counts. */
function byPageKey(a: PageVersion, b: PageVersion): number {
  return (
    a.fork.relNumber - b.fork.relNumber ||
    a.fork.fork - b.fork.fork ||
    a.blkno - b.blkno ||
    b.at - a.at ||
    a.kind - b.kind
  );
}

function bySlruKey(a: SlruVersion, b: SlruVersion): number {
  return slruNumber(a.slru) - slruNumber(b.slru) || a.pageno - b.pageno || b.at - a.at || a.kind - b.kind;
}
