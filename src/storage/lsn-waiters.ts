import { DbError } from '../engine/errors.js';
import { formatLsn, type Lsn } from '../engine/lsn.js';

interface Waiter {
  lsn: Lsn;
  resolve(): void;
  reject(err: DbError): void;
  timer: NodeJS.Timeout;
}

/** Those who wait until the node has applied an LSN. */
export class LsnWaiters {
  private waiters = new Set<Waiter>();

  get size(): number {
    return this.waiters.size;
  }

  /** Whether somebody waits for `upTo`, or less. */
  includes(upTo: Lsn): boolean {
    for (const waiter of this.waiters) if (waiter.lsn <= upTo) return true;
    return false;
  }

  /** Rejects with NODE_BEHIND after the timeout. `applied` is called for the message only. */
  wait(lsn: Lsn, timeoutMs: number, applied: () => Lsn): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        lsn,
        resolve,
        reject,
        timer: setTimeout(() => {
          this.waiters.delete(waiter);
          reject(
            new DbError(
              'NODE_BEHIND',
              `this node has applied the log up to ${formatLsn(applied())}, not yet up to ${formatLsn(lsn)}`,
              { hint: 'Another node may be further.' },
            ),
          );
        }, timeoutMs),
      };
      this.waiters.add(waiter);
    });
  }

  applied(upTo: Lsn): void {
    for (const waiter of this.waiters) {
      if (waiter.lsn > upTo) continue;
      this.remove(waiter);
      waiter.resolve();
    }
  }

  /** None of them can be served any more. */
  failAll(err: DbError): void {
    for (const waiter of this.waiters) {
      this.remove(waiter);
      waiter.reject(err);
    }
  }

  private remove(waiter: Waiter): void {
    clearTimeout(waiter.timer);
    this.waiters.delete(waiter);
  }
}
