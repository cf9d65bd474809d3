import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { errorMessage } from '../engine/errors.js';
import type { Acceptor } from '../engine/quorum/index.js';
import type { LogService } from './log-service.js';
import type { Peers } from './peers.js';

export interface RegistrationParts {
  acceptor: Acceptor;
  logService: LogService;
  peers: () => Peers;
}

/** A node that lost its memory tells the voters of its new life, until enough of them know (engine/quorum/lives.ts). */
export class Registration {
  private running = false;

  constructor(
    private readonly parts: RegistrationParts,
    private readonly options: { nodeId: string; rejoinQuorum: () => number },
    private readonly logger: Logger,
  ) {}

  /** After each round of peer status. */
  wake(): void {
    if (this.running) return;
    this.running = true;
    this.register()
      .catch((err: unknown) => this.logger.error({ err }, `registration: ${errorMessage(err)}`))
      .finally(() => {
        this.running = false;
      });
  }

  private async register(): Promise<void> {
    const { logService, peers, acceptor } = this.parts;
    const request = logService.registration(this.options.nodeId, randomUUID());
    if (!request) return;
    const asked = peers().connected.map(async ({ id, client }) => {
      logService.registered(id, await client.register(request), this.options.rejoinQuorum());
    });
    for (const result of await Promise.allSettled(asked))
      if (result.status === 'rejected')
        this.logger.warn({ err: result.reason as unknown }, `registration: ${errorMessage(result.reason)}`);
    const { promisedEpoch } = acceptor.state;
    if (!logService.registration(this.options.nodeId, ''))
      this.logger.info({ life: request.life, promisedEpoch }, `registered: this is life ${request.life}`);
  }
}
