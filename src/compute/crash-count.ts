import { DbError } from '../engine/errors.js';

/** After this many terms that ended within CRASH_WINDOW_MS of each other, something is wrong that a restart does not mend. */
const CRASHES_MAX = 5;
const CRASH_WINDOW_MS = 60_000;

/** Tells an accident from a PostgreSQL that cannot stay up. */
export class CrashCount {
  private readonly crashes: number[] = [];

  /** Throws COMPUTE_CRASH_LOOP when there were too many in too short a time. */
  add(reason: DbError): void {
    const now = performance.now();
    this.crashes.push(now);
    if (this.crashes.length > CRASHES_MAX) this.crashes.shift();
    if (this.crashes.length === CRASHES_MAX && now - this.crashes[0]! < CRASH_WINDOW_MS) {
      throw new DbError(
        'COMPUTE_CRASH_LOOP',
        `PostgreSQL ended ${CRASHES_MAX} times within ${Math.round((now - this.crashes[0]!) / 1000)} s; the last time: ${reason.message}`,
        { cause: reason },
      );
    }
  }
}
