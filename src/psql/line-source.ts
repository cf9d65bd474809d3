/** Where lines come from: a script file, standard input, a string. Lines stay bytes until they are SQL, for COPY data. */
import fs from 'node:fs';
import type { Readable } from 'node:stream';

const CHUNK = 65536;

export interface LineSource {
  /** The next line with its newline (if it has one), null at the end. */
  next(): Promise<Buffer | null>;
  /** Everything left, in pieces: binary COPY data. */
  rest(): AsyncIterable<Buffer>;
  close(): void;
}

abstract class BufferedLines implements LineSource {
  private buffer: Buffer = Buffer.alloc(0);
  private done = false;

  protected abstract read(): Promise<Buffer | null>;
  abstract close(): void;

  async next(): Promise<Buffer | null> {
    let searched = 0;
    for (;;) {
      const newline = this.buffer.indexOf(10, searched);
      if (newline >= 0) return this.take(newline + 1);
      searched = this.buffer.length;
      if (this.done) return this.buffer.length > 0 ? this.take(this.buffer.length) : null;
      const chunk = await this.read();
      if (chunk === null) this.done = true;
      else this.buffer = this.buffer.length === 0 ? chunk : Buffer.concat([this.buffer, chunk]);
    }
  }

  async *rest(): AsyncIterable<Buffer> {
    if (this.buffer.length > 0) yield this.take(this.buffer.length);
    while (!this.done) {
      const chunk = await this.read();
      if (chunk === null) this.done = true;
      else yield chunk;
    }
  }

  private take(count: number): Buffer {
    const taken = this.buffer.subarray(0, count);
    this.buffer = this.buffer.subarray(count);
    return taken;
  }
}

/** Throws the system's error when the file cannot be opened or read. */
export class FileLines extends BufferedLines {
  private readonly fd: number;

  constructor(file: string) {
    super();
    this.fd = fs.openSync(file, 'r');
  }

  protected read(): Promise<Buffer | null> {
    const chunk = Buffer.allocUnsafe(CHUNK);
    const count = fs.readSync(this.fd, chunk, 0, CHUNK, null);
    return Promise.resolve(count === 0 ? null : chunk.subarray(0, count));
  }

  close(): void {
    fs.closeSync(this.fd);
  }
}

export class StreamLines extends BufferedLines {
  private readonly chunks: AsyncIterator<Buffer | string>;

  constructor(private readonly stream: Readable) {
    super();
    this.chunks = stream.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer | string>;
  }

  protected async read(): Promise<Buffer | null> {
    const { value, done } = await this.chunks.next();
    return done ? null : Buffer.from(value as Buffer | string);
  }

  close(): void {
    this.stream.pause();
  }
}

/** Text at hand, as the output of a program. */
export class BufferLines extends BufferedLines {
  constructor(private content: Buffer | null) {
    super();
  }

  protected read(): Promise<Buffer | null> {
    const chunk = this.content;
    this.content = null;
    return Promise.resolve(chunk !== null && chunk.length > 0 ? chunk : null);
  }

  close(): void {
    this.content = null;
  }
}
