/** A queue of buffers that reads as one byte string. Hands out views; copies only what straddles two buffers. */
export class ChunkQueue {
  /** The first chunk and the read offset in it: public so that the decoder's fast path need not call in. */
  head: Buffer = Buffer.alloc(0);
  offset = 0;
  /** Unread bytes in all chunks. */
  length = 0;
  private rest: Buffer[] = [];
  private restAt = 0;

  push(bytes: Buffer): void {
    if (bytes.length === 0) return;
    if (this.length === 0) {
      this.head = bytes;
      this.offset = 0;
    } else {
      this.rest.push(bytes);
    }
    this.length += bytes.length;
  }

  /** Unread bytes of the first chunk; 0 only when the queue is empty. */
  get contiguous(): number {
    return this.head.length - this.offset;
  }

  /** The next `n` bytes without consuming them; the caller has checked `length`. */
  peek(n: number): Buffer {
    if (this.contiguous >= n) return this.head.subarray(this.offset, this.offset + n);
    const out = Buffer.allocUnsafe(n);
    let filled = this.head.copy(out, 0, this.offset);
    for (let i = this.restAt; filled < n; i++) filled += this.rest[i]!.copy(out, filled);
    return out;
  }

  /** Consumes up to `n` bytes of the first chunk and returns them as a view; empty only when the queue is. */
  takeContiguous(n: number): Buffer {
    const size = Math.min(n, this.contiguous);
    const view = this.head.subarray(this.offset, this.offset + size);
    this.skip(size);
    return view;
  }

  /** Consumes `n` bytes; the caller has checked `length`. */
  skip(n: number): void {
    this.length -= n;
    this.offset += n;
    while (this.offset >= this.head.length && this.restAt < this.rest.length) {
      this.offset -= this.head.length;
      this.head = this.rest[this.restAt++]!;
      if (this.restAt === this.rest.length) {
        this.rest = [];
        this.restAt = 0;
      }
    }
  }
}
