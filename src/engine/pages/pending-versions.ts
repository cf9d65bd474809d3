/**
 * Page versions that are not in RocksDB's batch yet, by number; each is linked to an older one of its page, in the order of their keys. Columns instead of
 * objects, for the reason of batch-bytes.ts.
 */
import type { Lsn } from '../lsn.js';

/** Number of no version. */
export const NONE = -1;

const VERSIONS = 16 * 1024;

export class PendingVersions {
  private count = 0;
  private lsns = new Float64Array(VERSIONS);
  private kinds = new Uint8Array(VERSIONS);
  private eras = new Uint32Array(VERSIONS);
  private values = new Uint32Array(VERSIONS);
  private lengths = new Uint32Array(VERSIONS);
  private links = new Int32Array(VERSIONS);

  /** `value` and `length`: where its bytes are (BatchBytes). */
  add(at: Lsn, kind: number, era: number, value: number, length: number, older: number): number {
    const i = this.count++;
    if (i === this.lsns.length) this.grow();
    this.lsns[i] = at;
    this.kinds[i] = kind;
    this.eras[i] = era;
    this.values[i] = value;
    this.lengths[i] = length;
    this.links[i] = older;
    return i;
  }

  at(i: number): Lsn {
    return this.lsns[i] as Lsn;
  }

  kind(i: number): number {
    return this.kinds[i]!;
  }

  era(i: number): number {
    return this.eras[i]!;
  }

  value(i: number): number {
    return this.values[i]!;
  }

  length(i: number): number {
    return this.lengths[i]!;
  }

  older(i: number): number {
    return this.links[i]!;
  }

  setValue(i: number, value: number, length: number): void {
    this.values[i] = value;
    this.lengths[i] = length;
  }

  setOlder(i: number, older: number): void {
    this.links[i] = older;
  }

  clear(): void {
    this.count = 0;
  }

  private grow(): void {
    this.lsns = longer(this.lsns, new Float64Array(this.lsns.length * 2));
    this.kinds = longer(this.kinds, new Uint8Array(this.kinds.length * 2));
    this.eras = longer(this.eras, new Uint32Array(this.eras.length * 2));
    this.values = longer(this.values, new Uint32Array(this.values.length * 2));
    this.lengths = longer(this.lengths, new Uint32Array(this.lengths.length * 2));
    this.links = longer(this.links, new Int32Array(this.links.length * 2));
  }
}

function longer<T extends { set(from: T): void }>(from: T, to: T): T {
  to.set(from);
  return to;
}
