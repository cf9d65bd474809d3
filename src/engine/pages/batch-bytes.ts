/**
 * The bytes of records and values that a batch holds, one after another in one piece of memory. Small objects that live as long as a batch are copied about by
 * the garbage collector again and again; here they are none.
 */
const BYTES = 1024 * 1024;
/** Kept from batch to batch. One that needed more gives the rest back. */
const BYTES_KEPT = 32 * 1024 * 1024;

export class BatchBytes {
  /** Replaced by a longer one when there is no room: do not keep it. */
  buffer = Buffer.allocUnsafeSlow(BYTES);
  private end = 0;

  /** Copies the bytes; gives their place in `buffer`. */
  put(bytes: Buffer): number {
    const at = this.reserve(bytes.length);
    this.buffer.set(bytes, at);
    return at;
  }

  /** The place of so many bytes, of any content. */
  reserve(length: number): number {
    const at = this.end;
    if (at + length > this.buffer.length) this.grow(at + length);
    this.end = at + length;
    return at;
  }

  /** What was reserved or put from `at` on is not needed any longer. */
  release(at: number): void {
    this.end = at;
  }

  /** Valid until the next call of put() or reserve(). */
  view(at: number, length: number): Buffer {
    return this.buffer.subarray(at, at + length);
  }

  clear(): void {
    this.end = 0;
    if (this.buffer.length > BYTES_KEPT) this.buffer = Buffer.allocUnsafeSlow(BYTES);
  }

  private grow(needed: number): void {
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.buffer.length * 2));
    this.buffer.copy(grown, 0, 0, this.end);
    this.buffer = grown;
  }
}
