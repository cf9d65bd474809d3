import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { errorMessage } from '../engine/errors.js';
import type { Acceptor, Configuration } from '../engine/quorum/index.js';
import { parseConfiguration } from '../engine/quorum/index.js';
import type { MembershipStatus } from '../net/node-status.js';
import { StorageClient, type Endpoint } from '../net/storage-client.js';
import type { PeerConfig } from './config.js';
import type { LogService } from './log-service.js';
import { routed, type Routes } from '../net/routes.js';
import type { Peers } from './peers.js';
import type { TlsCredentials } from '../net/tls.js';

const JOIN_MS_MIN = 200;
const JOIN_MS_MAX = 5000;

export interface MembershipOptions {
  nodeId: string;
  volumeId: string;
  secret: Buffer;
  tls: TlsCredentials | null;
  /** Peers for as long as no configuration is known. */
  peers: readonly PeerConfig[];
  routes: Routes;
  /** Members to ask who the others are; for a node that knows nobody. */
  join: readonly Endpoint[];
}

/**
 * What this node does about the volume's configuration: follows it with its connections, learns newer ones from its peers, and, when it knows nobody yet,
 * asks those that it was told to join.
 */
export class MembershipService {
  private readonly stopping = new AbortController();
  private joining: Promise<void> = Promise.resolve();

  constructor(
    private readonly acceptor: Acceptor,
    private readonly logService: LogService,
    private readonly peers: () => Peers,
    private readonly options: MembershipOptions,
    private readonly logger: Logger,
  ) {}

  start(): void {
    if (this.options.join.length > 0 && this.configuration === null) this.joining = this.join();
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.joining;
  }

  get configuration(): Configuration | null {
    return this.acceptor.membership.current;
  }

  get status(): MembershipStatus {
    const { current, settled, isSettled } = this.acceptor.membership;
    const self = current?.members.find(({ id }) => id === this.options.nodeId);
    const outside = isSettled ? 'outside' : 'leaving';
    const state = current === null || self?.voter ? 'voter' : self ? 'joining' : outside;
    return { configuration: current, settled, state };
  }

  /** Whether it is no member, for certain: it serves nobody then. */
  get isOutside(): boolean {
    return this.status.state === 'outside';
  }

  /** The other members, and where they are. */
  get others(): readonly PeerConfig[] {
    const { nodeId } = this.options;
    const members = this.configuration?.members.filter(({ id }) => id !== nodeId) ?? this.options.peers;
    return routed<PeerConfig>(members, this.options.routes);
  }

  /** The configuration has changed. */
  changed(): void {
    this.peers().set(this.others);
  }

  /** After each round of peer status: one of them may know more. */
  learn(): void {
    for (const { id, status } of this.peers().connected) {
      const { configuration, settled } = status.membership;
      if (configuration === null) continue;
      const { generation, settled: known } = this.acceptor.membership;
      if (configuration.generation <= generation && settled <= known) continue;
      try {
        this.logService.configure(parseConfiguration(configuration), settled);
      } catch (err) {
        this.logger.error({ peer: id, err }, `configuration of node ${id} refused: ${errorMessage(err)}`);
      }
    }
  }

  private async join(): Promise<void> {
    const { signal } = this.stopping;
    const { join, secret, tls, volumeId, nodeId } = this.options;
    for (let failures = 0; !signal.aborted && this.configuration === null; failures++) {
      const endpoint = join[failures % join.length]!;
      try {
        const client = await StorageClient.connect(endpoint, {
          secret,
          tls,
          volumeId,
          role: 'peer',
          clientId: nodeId,
          signal,
        });
        try {
          const { configuration, settled } = await client.configuration();
          if (configuration) this.logService.configure(configuration, settled);
          this.logger.info({ ...endpoint, generation: configuration?.generation ?? 0 }, 'asked a member who the others are'); // prettier-ignore
        } finally {
          client.close();
        }
      } catch (err) {
        if (signal.aborted) return;
        this.logger.warn({ ...endpoint, err }, `cannot join at ${endpoint.host}:${endpoint.port}: ${errorMessage(err)}`); // prettier-ignore
      }
      if (this.configuration !== null) return;
      const pauseMs = Math.min(JOIN_MS_MAX, JOIN_MS_MIN * 2 ** Math.min(failures, 10));
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
    }
  }
}
