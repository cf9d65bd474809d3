import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';
import { errorMessage } from '../engine/errors.js';

/** A log of PostgreSQL's that has grown to this becomes FILE.1, and FILE begins anew. */
const ROTATE_BYTES = 64 * 1024 * 1024;

/**
 * PostgreSQL's log file. PostgreSQL writes to us, so that its last words are known here, and so that the file cannot grow for ever.
 * A file that cannot be written costs what PostgreSQL said, and nothing else.
 */
export class ServerLog {
  /** Why the log is not written, if it is not. */
  problem: string | null = null;
  private fd: number | null = null;
  private bytes = 0;

  constructor(
    private readonly file: string,
    private readonly rotateBytes = ROTATE_BYTES,
  ) {}

  write(chunk: Buffer): void {
    try {
      if (this.fd === null) this.open();
      else if (this.bytes > this.rotateBytes) this.rotate();
      writeSync(this.fd!, chunk);
      this.bytes += chunk.length;
      this.problem = null;
    } catch (err) {
      this.problem = errorMessage(err);
    }
  }

  close(): void {
    if (this.fd !== null) closeSync(this.fd);
    this.fd = null;
  }

  private open(): void {
    this.fd = openSync(this.file, 'a', 0o600);
    this.bytes = fstatSync(this.fd).size;
  }

  private rotate(): void {
    this.close();
    renameSync(this.file, `${this.file}.1`);
    this.open();
  }
}
