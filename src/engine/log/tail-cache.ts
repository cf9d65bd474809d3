import { lsn } from '../lsn.js';
import type { Lsn } from '../lsn.js';

/** Appends shorter than this are copied together, so that a tiny append does not keep a large network buffer alive. */
const COPY_BELOW = 4096;
const CHUNK = 256 * 1024;

interface Piece {
  readonly begin: Lsn;
  bytes: Buffer;
}

/**
 * The newest bytes of the log, in memory: always a suffix [begin, end) without holes. Holds what is not yet on disk at the least; beyond
 * that, up to a limit, what ingest and peers are about to read.
 */
export class TailCache {
  private pieces: Piece[] = [];
  /** Pieces before this one are dropped; the array is compacted now and then. */
  private first = 0;
  private held = 0;
  private chunk = Buffer.alloc(0);
  private chunkUsed = 0;
  private start: Lsn;
  private stop: Lsn;

  constructor(
    at: Lsn,
    private readonly limitBytes: number,
  ) {
    this.start = this.stop = at;
  }

  get begin(): Lsn {
    return this.start;
  }

  get bytesHeld(): number {
    return this.held;
  }

  /** Adds bytes at the end. Returns the bytes as kept here: a stable copy when small, else the given buffer itself. */
  append(bytes: Buffer): Buffer {
    const begin = this.stop;
    this.stop = lsn(begin + bytes.length);
    this.held += bytes.length;
    if (bytes.length >= COPY_BELOW) {
      this.pieces.push({ begin, bytes });
      return bytes;
    }
    if (this.chunk.length - this.chunkUsed < bytes.length) {
      this.chunk = Buffer.allocUnsafeSlow(CHUNK);
      this.chunkUsed = 0;
    }
    const at = this.chunkUsed;
    bytes.copy(this.chunk, at);
    this.chunkUsed += bytes.length;
    const kept = this.chunk.subarray(at, this.chunkUsed);
    const last = this.pieces.length > this.first ? this.pieces.at(-1) : undefined;
    if (last && last.bytes.buffer === this.chunk.buffer && last.bytes.byteOffset + last.bytes.length === at)
      last.bytes = this.chunk.subarray(last.bytes.byteOffset, this.chunkUsed);
    else this.pieces.push({ begin, bytes: kept });
    return kept;
  }

  /** The log now ends at `end`. */
  cut(end: Lsn): void {
    while (this.pieces.length > this.first && this.pieces.at(-1)!.begin >= end)
      this.held -= this.pieces.pop()!.bytes.length;
    const last = this.pieces.length > this.first ? this.pieces.at(-1) : undefined;
    if (last && last.begin + last.bytes.length > end) {
      this.held -= last.begin + last.bytes.length - end;
      last.bytes = last.bytes.subarray(0, end - last.begin);
    }
    this.stop = end;
    if (this.pieces.length === this.first) this.start = end;
    this.chunk = Buffer.alloc(0); // the cut bytes may still be on their way to the disk: never write over them
    this.chunkUsed = 0;
  }

  /** Drops the oldest pieces beyond the limit, but none that reaches beyond `indexedEnd`: those are not on disk yet. */
  evict(indexedEnd: Lsn): void {
    while (this.held > this.limitBytes && this.first < this.pieces.length) {
      const piece = this.pieces[this.first]!;
      const end = piece.begin + piece.bytes.length;
      if (end > indexedEnd) break;
      this.held -= piece.bytes.length;
      this.start = lsn(end);
      this.first++;
    }
    if (this.first > 1024 && this.first * 2 > this.pieces.length) {
      this.pieces.splice(0, this.first);
      this.first = 0;
    }
  }

  /** Views of [from, to), which must lie within [begin, end). */
  views(from: Lsn, to: Lsn): Buffer[] {
    let lo = this.first;
    let hi = this.pieces.length - 1;
    while (lo < hi) {
      const mid = (lo + hi + 1) >> 1;
      if (this.pieces[mid]!.begin <= from) lo = mid;
      else hi = mid - 1;
    }
    const out: Buffer[] = [];
    for (let i = lo; i < this.pieces.length && this.pieces[i]!.begin < to; i++) {
      const { begin, bytes } = this.pieces[i]!;
      out.push(bytes.subarray(Math.max(0, from - begin), Math.min(bytes.length, to - begin)));
    }
    return out;
  }
}
