import type { Logger } from 'pino';
import type { DbError } from '../engine/errors.js';

export interface RefusalLogOptions {
  /** So many lines at once, ... */
  burst?: number;
  /** ... and one more after each such time. */
  refillMs?: number;
  nowMs?: () => number;
}

const MESSAGE_MAX = 300;
/** A stranger may say any code as its reason for closing. */
const CODE_MAX = 40;
const CODES_MAX = 32;

/**
 * Logs what was refused, with its code, but no more lines than a person can read: whoever sends garbage must not fill the disk. What is
 * left out is counted by code, and told with the next line or, when nothing more comes, by a line of its own.
 */
export class RefusalLog {
  private tokens: number;
  private refilledMs: number;
  private suppressed = new Map<string, number>();
  private timer: NodeJS.Timeout | undefined;
  private readonly burst: number;
  private readonly refillMs: number;
  private readonly nowMs: () => number;

  constructor(
    private readonly logger: Logger,
    private readonly what: string,
    options: RefusalLogOptions = {},
  ) {
    this.burst = options.burst ?? 20;
    this.refillMs = options.refillMs ?? 1000;
    this.nowMs = options.nowMs ?? ((): number => performance.now());
    this.tokens = this.burst;
    this.refilledMs = this.nowMs();
  }

  refused(remote: string, err: DbError): void {
    const code = err.code.slice(0, CODE_MAX);
    if (!this.take()) {
      const key = this.suppressed.has(code) || this.suppressed.size < CODES_MAX ? code : 'OTHER';
      this.suppressed.set(key, (this.suppressed.get(key) ?? 0) + 1);
      this.timer ??= setTimeout(() => this.flush(), 10 * this.refillMs).unref();
      return;
    }
    const message = `${this.what} refused: ${err.message}`.slice(0, MESSAGE_MAX);
    this.logger.warn({ remote, code, ...this.takeSuppressed() }, message);
  }

  /** Tells what was left out so far. */
  flush(): void {
    const counts = this.takeSuppressed();
    if (counts.suppressed)
      this.logger.warn({ code: 'NET_REFUSED_MANY', ...counts }, `${this.what}: more were refused`);
  }

  private take(): boolean {
    const gained = Math.floor((this.nowMs() - this.refilledMs) / this.refillMs);
    if (gained > 0) {
      this.tokens = Math.min(this.burst, this.tokens + gained);
      this.refilledMs += gained * this.refillMs;
    }
    if (this.tokens === 0) return false;
    this.tokens -= 1;
    return true;
  }

  private takeSuppressed(): { suppressed?: Record<string, number> } {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.suppressed.size === 0) return {};
    const suppressed = Object.fromEntries(this.suppressed);
    this.suppressed = new Map();
    return { suppressed };
  }
}
