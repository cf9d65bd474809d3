import { DbError } from '../engine/errors.js';
import { lsn, type Lsn } from '../engine/lsn.js';

/** Who still reads from where on: a compute, or a tool that works for long. */
export interface Lease {
  readonly name: string;
  /** The oldest LSN that its holder may read at. */
  readonly lsn: Lsn;
}

interface Held extends Lease {
  readonly renewedAtMs: number;
}

/** More would be a mistake of somebody's. */
const LEASES_MAX = 1000;
const NAME_LENGTH_MAX = 200;

/**
 * Leases on history: the horizon does not pass the lowest. They live in memory. After a start of the node nothing is removed until all who hold
 * one have had the time to say so again; a holder that is dead, or cannot be reached, loses its lease by silence.
 */
export class Leases {
  private readonly held = new Map<string, Held>();

  /** `begunMs`: when the node started, by the same monotonic clock as all `nowMs`. */
  constructor(
    readonly ttlMs: number,
    private readonly begunMs: number,
  ) {}

  /** Takes or renews. A lease may move either way; what is gone already does not come back. Throws USAGE_LEASE. */
  renew(lease: Lease, nowMs: number): void {
    this.expire(nowMs);
    if (lease.name === '' || lease.name.length > NAME_LENGTH_MAX)
      throw new DbError('USAGE_LEASE', `a lease needs a name of 1 to ${NAME_LENGTH_MAX} characters`);
    if (this.held.size >= LEASES_MAX && !this.held.has(lease.name))
      throw new DbError('USAGE_LEASE', `there are ${LEASES_MAX} leases already`);
    this.held.set(lease.name, { name: lease.name, lsn: lease.lsn, renewedAtMs: nowMs });
  }

  release(name: string): void {
    this.held.delete(name);
  }

  /** The lowest LSN held; Infinity without any. 0 (nothing may go) as long as holders may not have come back since the start. */
  lowest(nowMs: number): number {
    if (nowMs - this.begunMs < this.ttlMs) return lsn(0);
    this.expire(nowMs);
    return Math.min(Infinity, ...[...this.held.values()].map((lease) => lease.lsn));
  }

  list(nowMs: number): (Lease & { ageMs: number })[] {
    this.expire(nowMs);
    return [...this.held.values()].map(({ name, lsn: at, renewedAtMs }) => ({
      name,
      lsn: at,
      ageMs: Math.round(nowMs - renewedAtMs),
    }));
  }

  private expire(nowMs: number): void {
    for (const lease of this.held.values())
      if (nowMs - lease.renewedAtMs > this.ttlMs) this.held.delete(lease.name);
  }
}
