import { setTimeout as sleep } from 'node:timers/promises';
import { DbError, errorMessage, isDbError } from '../engine/errors.js';
import { StorageClient, type Endpoint, type StorageClientOptions } from './storage-client.js';

export interface KeeperOptions {
  backoffMsMin?: number;
  backoffMsMax?: number;
  /** Failed attempts in a row before giving up; default: never. */
  attemptsMax?: number;
  /** Uniform in [0, 1): spreads reconnects. */
  random?: () => number;
  sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
}

/**
 * Keeps one connection to one node open: calls `onOpen` with each new client, and connects again after its close, with
 * exponential backoff and jitter. Stops for good on close(), after `attemptsMax`, or when trying again cannot help
 * (wrong secret, wrong volume); `onGiveUp` then says why.
 */
export class ConnectionKeeper {
  client: StorageClient | null = null;
  lastError: DbError | null = null;
  private readonly stopping = new AbortController();
  private readonly running: Promise<void>;

  constructor(
    readonly endpoint: Endpoint,
    private readonly clientOptions: StorageClientOptions,
    private readonly callbacks: {
      onOpen(client: StorageClient): void;
      onClose?(err: DbError | null): void;
      onGiveUp?(err: DbError): void;
    },
    private readonly options: KeeperOptions = {},
  ) {
    this.running = this.run();
  }

  /** Closes the connection and ends the loop. Safe to repeat. */
  async close(): Promise<void> {
    this.stopping.abort();
    this.client?.close();
    await this.running;
  }

  private async run(): Promise<void> {
    const { backoffMsMin = 50, backoffMsMax = 2000, attemptsMax = Infinity } = this.options;
    const random = this.options.random ?? Math.random;
    const wait = this.options.sleep ?? ((ms, signal) => sleep(ms, undefined, { signal }));
    const { signal } = this.stopping;
    let failures = 0;
    while (!signal.aborted) {
      try {
        await this.once(() => {
          failures = 0;
        });
      } catch (err) {
        if (signal.aborted) return;
        this.lastError = isDbError(err) ? err : new DbError('NET_FAILED', errorMessage(err), { cause: err });
        failures += 1;
        if (this.lastError.reaction === 'usage' || failures >= attemptsMax) {
          this.callbacks.onGiveUp?.(this.lastError);
          return;
        }
      }
      const ceiling = Math.min(backoffMsMax, backoffMsMin * 2 ** Math.min(failures, 16));
      await wait(ceiling / 2 + (random() * ceiling) / 2, signal).catch((err: unknown) => {
        if (!signal.aborted) throw err;
      });
    }
  }

  /** One connection's life. */
  private async once(opened: () => void): Promise<void> {
    const client = await StorageClient.connect(this.endpoint, {
      ...this.clientOptions,
      signal: this.stopping.signal,
    });
    if (this.stopping.signal.aborted) {
      client.close();
      return;
    }
    opened();
    this.client = client;
    this.lastError = null;
    const closed = new Promise<DbError | null>((resolve) => client.once('close', resolve));
    this.callbacks.onOpen(client);
    const reason = client.isOpen ? await closed : null;
    this.client = null;
    this.callbacks.onClose?.(reason);
  }
}
