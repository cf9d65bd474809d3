import { DbError, errorMessage } from '../engine/errors.js';
import type { PostgresProcess, StopMode } from './supervisor.js';
import type { TermContext } from './term-start.js';

/**
 * One life of a compute's PostgreSQL, and of all that serves it: a writer's term, or that of a replica. It ends with PostgreSQL: by a stop, by a
 * crash, or abandoned because what it says is not true any more.
 */
export abstract class PostgresLife {
  /** Why it is over, once it is: null after a stop. */
  readonly ended: Promise<DbError | null>;
  protected finish: (reason: DbError | null) => void = () => undefined;
  protected stopping: Promise<void> | null = null;

  protected constructor(
    protected readonly context: TermContext,
    private readonly postgres: PostgresProcess,
    /** For the log: "the term", "the replica". */
    private readonly what: string,
  ) {
    this.ended = new Promise((resolve) => (this.finish = resolve));
    void postgres.exited.then(({ code, signal }) => this.postgresExited(code, signal));
  }

  /** Stops PostgreSQL the way pg_ctl does. A second call with a stronger mode hurries the first. */
  async stop(mode: StopMode): Promise<void> {
    if (!this.stopping) this.stopping = this.stopNow(mode);
    else if (mode === 'immediate') await this.postgres.kill();
    else if (mode === 'fast') this.postgres.signal('SIGINT');
    return this.stopping;
  }

  /** Ends PostgreSQL in its way and releases everything; `ended` is null then. */
  protected abstract stopNow(mode: StopMode): Promise<void>;

  /** Ends all that serves PostgreSQL, which has ended. */
  protected abstract release(): Promise<void>;

  /** Ends PostgreSQL at once, also one that is stopping. */
  protected async killFor(reason: DbError): Promise<void> {
    this.stopping ??= this.ended.then(() => undefined);
    try {
      await this.postgres.kill();
      await this.release();
    } finally {
      this.finish(reason);
    }
  }

  private async postgresExited(code: number | null, signal: NodeJS.Signals | null): Promise<void> {
    if (this.stopping) return;
    this.stopping = this.release();
    await this.stopping.catch((err: unknown) =>
      this.context.log.error({ err: errorMessage(err) }, `${this.what} did not end in order`),
    );
    const how = signal ?? `exit code ${code}`;
    const words = this.postgres.lastWords || 'no last words';
    // Exit 0: somebody else asked the postmaster to shut down; the compute ends with it.
    this.finish(
      code === 0
        ? null
        : new DbError('COMPUTE_PG_CRASH', `PostgreSQL ended unexpectedly (${how}): ${words}`, {
            reaction: 'retry',
          }),
    );
  }
}
