import { DbError } from '../engine/errors.js';
import { formatLsn, type Lsn } from '../engine/lsn.js';

/** Stands for a chunk that was trimmed, so that its bytes can be collected before the array is shortened. */
const TRIMMED = { begin: -1, bytes: Buffer.alloc(0) };

/**
 * The newest part of the log, kept until every node that is connected has it, so that a node can be sent what it missed.
 * Chunks are kept as they came; nothing is copied until a range crosses chunks.
 */
export class LogBuffer {
  private chunks: { begin: number; bytes: Buffer }[] = [];
  /** First chunk in use: trimmed ones are dropped in bulk, for shifting an array costs its length. */
  private head = 0;

  constructor(private first: Lsn) {
    this.last = first;
  }

  private last: Lsn;

  get begin(): Lsn {
    return this.first;
  }

  get end(): Lsn {
    return this.last;
  }

  get bytes(): number {
    return this.last - this.first;
  }

  push(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.chunks.push({ begin: this.last, bytes });
    this.last = (this.last + bytes.length) as Lsn;
  }

  /** Bytes [begin, end), a view where one chunk holds them. Throws BUG_LOG_BUFFER outside of what is kept. */
  slice(begin: Lsn, end: Lsn): Buffer {
    if (begin < this.first || end > this.last || begin > end) {
      throw new DbError(
        'BUG_LOG_BUFFER',
        `asked for ${formatLsn(begin)}..${formatLsn(end)}, have ${formatLsn(this.first)}..${formatLsn(this.last)}`,
      );
    }
    const parts: Buffer[] = [];
    for (let i = this.find(begin); i < this.chunks.length; i++) {
      const { begin: at, bytes } = this.chunks[i]!;
      if (at >= end) break;
      parts.push(bytes.subarray(Math.max(begin - at, 0), Math.min(end - at, bytes.length)));
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }

  /** Forgets what lies below `lsn`, in whole chunks. */
  trim(lsn: Lsn): void {
    while (this.head < this.chunks.length) {
      const { begin, bytes } = this.chunks[this.head]!;
      if (begin + bytes.length > lsn) break;
      this.chunks[this.head++] = TRIMMED;
      this.first = (begin + bytes.length) as Lsn;
    }
    if (this.head > 256 && this.head * 2 > this.chunks.length) {
      this.chunks = this.chunks.slice(this.head);
      this.head = 0;
    }
  }

  /** Index of the chunk that holds `position` (binary search). */
  private find(position: number): number {
    let low = this.head;
    let high = this.chunks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.chunks[middle]!.begin <= position) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
