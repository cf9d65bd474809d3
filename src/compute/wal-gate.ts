import { closeSync, openSync, writeSync } from 'node:fs';
import { lsn, writeLsn, type Lsn } from '../engine/lsn.js';

/** Besides two WAL segments: what one write of PostgreSQL may hold, generously. */
const AHEAD_BYTES = 16 * 1024 * 1024;
/** The limit is written again when it has moved by this share of what PostgreSQL may be ahead. */
const STEPS = 16;
const NO_LIMIT = 0;

/**
 * How far PostgreSQL may write WAL ahead of what has been received from it; the page-in library waits at the limit (pagein/walgate.c). It bounds
 * what a compute keeps on its local disk of a bulk load that no commit holds up.
 *
 * What can be received is what PostgreSQL has flushed, at least to the beginning of the segment that it writes. So the limit must be more than
 * a segment ahead, or the one would wait for the other.
 */
export class WalGate {
  private told = 0;
  private readonly aheadBytes: number;
  private closed = false;

  private constructor(
    private readonly fd: number,
    segmentSize: number,
  ) {
    this.aheadBytes = 2 * segmentSize + AHEAD_BYTES;
  }

  /** Makes the file that `AURORA_PAGEIN_WALGATE` names: anybody may read it, for PostgreSQL may run as another user. */
  static create(file: string, segmentSize: number, received: Lsn): WalGate {
    const gate = new WalGate(openSync(file, 'w', 0o644), segmentSize);
    const bytes = Buffer.alloc(16);
    bytes.writeBigUInt64LE(BigInt(segmentSize), 8);
    writeSync(gate.fd, bytes, 0, bytes.length, 0);
    gate.received(received);
    return gate;
  }

  /** All WAL up to here has come. */
  received(end: Lsn): void {
    if (this.closed || end - this.told < this.aheadBytes / STEPS) return;
    this.told = end;
    this.write(lsn(end + this.aheadBytes));
  }

  /** No limit from now on; PostgreSQL is being stopped. Safe to repeat. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.write(lsn(NO_LIMIT));
    closeSync(this.fd);
  }

  private write(limit: Lsn): void {
    const bytes = Buffer.alloc(8);
    writeLsn(bytes, limit, 0);
    writeSync(this.fd, bytes, 0, bytes.length, 0);
  }
}
