import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { errorMessage } from '../engine/errors.js';
import { ConnectionKeeper } from '../net/keeper.js';
import type { NodeStatus } from '../net/node-status.js';
import type { StorageClient } from '../net/storage-client.js';
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
  volumeId: string;
  nodeId: string;
  pollMs: number;
  /** A connection to a peer was made. */
  onOpen?: (id: string, client: StorageClient) => void;
}

/** Connections to the other storage nodes, and what each last said of itself. */
export class Peers {
  readonly all: Peer[];
  private readonly keepers: ConnectionKeeper[];
  private readonly stopping = new AbortController();
  private readonly polling: Promise<void>;

  constructor(
    configs: PeerConfig[],
    private readonly options: PeersOptions,
    /** After each round of questions. */
    private readonly onRound: () => void,
    logger: Logger,
  ) {
    this.all = configs.map(({ id }) => ({ id, client: null, status: null, lastError: null }));
    this.keepers = configs.map((config, i) => {
      const peer = this.all[i]!;
      return new ConnectionKeeper(
        config,
        {
          secret: options.secret,
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
          onGiveUp: (err) => {
            peer.lastError = err.message;
            logger.error({ peer: peer.id, err }, `peer ${peer.id} refused us: ${err.message}`);
          },
        },
        { backoffMsMin: 100, backoffMsMax: 2000 },
      );
    });
    this.polling = this.poll();
  }

  get connected(): (Peer & { client: StorageClient; status: NodeStatus })[] {
    return this.all.filter((peer): peer is Peer & { client: StorageClient; status: NodeStatus } =>
      Boolean(peer.client?.isOpen && peer.status),
    );
  }

  async close(): Promise<void> {
    this.stopping.abort();
    await Promise.all(this.keepers.map((keeper) => keeper.close()));
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
      peer.status = await peer.client.status(Math.max(2000, this.options.pollMs));
      peer.lastError = null;
    } catch (err) {
      peer.lastError = errorMessage(err);
    }
  }
}
