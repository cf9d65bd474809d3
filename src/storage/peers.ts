import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { errorMessage } from '../engine/errors.js';
import { ConnectionKeeper } from '../net/keeper.js';
import { checkNodeStatus, type NodeStatus } from '../net/node-status.js';
import type { StorageClient } from '../net/storage-client.js';
import type { TlsCredentials } from '../net/tls.js';
import type { PeerConfig } from './config.js';

export interface Peer {
  readonly id: string;
  /** Null while there is no connection. */
  client: StorageClient | null;
  /** As last heard; perhaps old when `client` is null. */
  status: NodeStatus | null;
  lastError: string | null;
}

export interface PeersOptions {
  secret: Buffer;
  tls: TlsCredentials | null;
  volumeId: string;
  nodeId: string;
  pollMs: number;
  /** A connection to a peer was made. */
  onOpen?: (id: string, client: StorageClient) => void;
}

/** Connections to the other storage nodes, and what each last said of itself. */
export class Peers {
  private peers: Peer[] = [];
  private configs: PeerConfig[] = [];
  private readonly keepers = new Map<string, ConnectionKeeper>();
  private readonly stopping = new AbortController();
  private readonly polling: Promise<void>;

  constructor(
    configs: readonly PeerConfig[],
    private readonly options: PeersOptions,
    /** After each round of questions. */
    private readonly onRound: () => void,
    private readonly logger: Logger,
  ) {
    this.set(configs);
    this.polling = this.poll();
  }

  get all(): readonly Peer[] {
    return this.peers;
  }

  /** From now on these are the peers; connections to those that stay where they were stay, too. */
  set(configs: readonly PeerConfig[]): void {
    if (this.stopping.signal.aborted) return;
    const same = (a: PeerConfig, b: PeerConfig): boolean =>
      a.id === b.id && a.host === b.host && a.port === b.port;
    for (const old of this.configs)
      if (!configs.some((config) => same(config, old))) {
        this.peers = this.peers.filter(({ id }) => id !== old.id);
        void this.keepers.get(old.id)?.close();
        this.keepers.delete(old.id);
      }
    this.configs = configs.map(({ id, host, port }) => ({ id, host, port }));
    for (const config of this.configs) if (!this.keepers.has(config.id)) this.keep(config);
  }

  private keep(config: PeerConfig): void {
    const { options, logger } = this;
    const peer: Peer = { id: config.id, client: null, status: null, lastError: null };
    this.peers.push(peer);
    const keeper = new ConnectionKeeper(
      config,
      {
        secret: options.secret,
        tls: options.tls,
        volumeId: options.volumeId,
        role: 'peer',
        clientId: options.nodeId,
        nodeId: config.id,
        requestTimeoutMs: 10_000,
      },
      {
        onOpen: (client) => {
          peer.client = client;
          options.onOpen?.(peer.id, client);
          logger.info({ peer: peer.id }, 'peer connected');
          void this.ask(peer).then(() => this.onRound());
        },
        onClose: (err) => {
          peer.client = null;
          if (!this.stopping.signal.aborted)
            logger.info({ peer: peer.id, reason: err?.message }, 'peer lost');
        },
        onRefused: (err) => {
          peer.lastError = err.message;
          logger.error({ peer: peer.id, err }, `peer ${peer.id} refused us: ${err.message}`);
        },
      },
      { backoffMsMin: 100, backoffMsMax: 2000 },
    );
    this.keepers.set(config.id, keeper);
  }

  get connected(): (Peer & { client: StorageClient; status: NodeStatus })[] {
    return this.all.filter((peer): peer is Peer & { client: StorageClient; status: NodeStatus } =>
      Boolean(peer.client?.isOpen && peer.status),
    );
  }

  async close(): Promise<void> {
    this.stopping.abort();
    await Promise.all([...this.keepers.values()].map((keeper) => keeper.close()));
    await this.polling;
  }

  private async poll(): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      try {
        await sleep(this.options.pollMs, undefined, { signal });
      } catch {
        return; // stopping
      }
      await Promise.all(this.all.map((peer) => this.ask(peer)));
      if (!signal.aborted) this.onRound();
    }
  }

  private async ask(peer: Peer): Promise<void> {
    if (!peer.client) return;
    try {
      peer.status = checkNodeStatus(await peer.client.status(Math.max(2000, this.options.pollMs)));
      peer.lastError = null;
    } catch (err) {
      peer.lastError = errorMessage(err);
    }
  }
}
