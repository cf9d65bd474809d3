import { DbError } from '../errors.js';
import type { ComputeBeat, KnownCompute } from './types.js';

/** Replicas that are silent for so long are forgotten; the primary is remembered for as long as none has followed it. */
const FORGET_MS = 30_000;
/** More would be a mistake of somebody's. */
const COMPUTES_MAX = 200;

interface Known {
  readonly beat: ComputeBeat;
  readonly atMs: number;
  /** The connection that the beat came over. */
  readonly via: unknown;
  connected: boolean;
}

/** What one storage node remembers of the computes, in memory. All times are of one monotonic clock. */
export class ComputeRegistry {
  private readonly known = new Map<string, Known>();

  /** Throws NODE_BUSY. */
  beat(beat: ComputeBeat, via: unknown, nowMs: number): void {
    this.forget(nowMs);
    if (this.known.size >= COMPUTES_MAX && !this.known.has(beat.name))
      throw new DbError('NODE_BUSY', `${COMPUTES_MAX} computes are known already`);
    this.known.set(beat.name, { beat, atMs: nowMs, via, connected: true });
  }

  /** The connection ended. */
  disconnected(via: unknown): void {
    for (const compute of this.known.values()) if (compute.via === via) compute.connected = false;
  }

  list(nowMs: number): KnownCompute[] {
    this.forget(nowMs);
    return [...this.known.values()].map(({ beat, atMs, connected }) => ({
      ...beat,
      ageMs: Math.round(nowMs - atMs),
      connected,
    }));
  }

  private forget(nowMs: number): void {
    let newest = -1;
    for (const { beat } of this.known.values())
      if (beat.role === 'primary') newest = Math.max(newest, beat.epoch);
    for (const [name, { beat, atMs }] of this.known) {
      if (nowMs - atMs <= FORGET_MS || (beat.role === 'primary' && beat.epoch === newest)) continue;
      this.known.delete(name);
    }
  }
}
