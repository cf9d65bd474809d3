import { setTimeout as sleep } from 'node:timers/promises';
import { DbError, errorMessage, isDbError } from '../engine/errors.js';
import { StorageClient, type Endpoint, type StorageClientOptions } from './storage-client.js';

export interface KeeperOptions {
  backoffMsMin?: number;
  backoffMsMax?: number;
  /** Between attempts while the node refuses us. */
  refusedMs?: number;
  /** Uniform in [0, 1): spreads reconnects. */
  random?: () => number;
  sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
}

/**
 * Keeps one connection to one node open: calls `onOpen` with each new client, and connects again after its close, with
 * exponential backoff and jitter, until close(). A node that refuses us (wrong secret, wrong volume) is asked again only now and then: somebody has to
 * put that right, here or there; `onRefused` says why, once for each reason.
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
      onRefused?(err: DbError): void;
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
    const { backoffMsMin = 50, backoffMsMax = 2000, refusedMs = 15_000 } = this.options;
    const random = this.options.random ?? Math.random;
    const wait = this.options.sleep ?? ((ms, signal) => sleep(ms, undefined, { signal }));
    const { signal } = this.stopping;
    let failures = 0;
    let refusal = '';
    while (!signal.aborted) {
      let ceiling = backoffMsMin;
      try {
        await this.once(() => {
          failures = 0;
          refusal = '';
        });
      } catch (err) {
        if (signal.aborted) return;
        const error = isDbError(err) ? err : new DbError('NET_FAILED', errorMessage(err), { cause: err });
        this.lastError = error;
        failures += 1;
        ceiling = Math.min(backoffMsMax, backoffMsMin * 2 ** Math.min(failures, 16));
        if (error.reaction === 'usage') {
          ceiling = refusedMs;
          if (refusal !== error.message) this.callbacks.onRefused?.(error);
          refusal = error.message;
        }
      }
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
