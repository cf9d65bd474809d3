import { EventEmitter } from 'node:events';
import type { Logger } from 'pino';
import type { DbError } from '../engine/errors.js';
import { ConnectionKeeper } from '../net/keeper.js';
import type { Endpoint, StorageClient } from '../net/storage-client.js';

export interface StorageNodeEndpoint extends Endpoint {
  readonly id: string;
}

export interface LinkOptions {
  secret: Buffer;
  volumeId: string;
  clientId: string;
  log: Logger;
}

interface StorageLinksEvents {
  up: [StorageClient];
  down: [StorageClient];
  /** A node for which trying again cannot help: wrong secret, wrong volume. */
  unusable: [nodeId: string, err: DbError];
}

/** Keeps one connection to each storage node, connecting anew for as long as the compute lives. */
export class StorageLinks extends EventEmitter<StorageLinksEvents> {
  private readonly clients = new Map<string, StorageClient>();
  private readonly refused = new Map<string, DbError>();
  private keepers: ConnectionKeeper[] = [];

  constructor(
    private readonly nodes: readonly StorageNodeEndpoint[],
    private readonly options: LinkOptions,
  ) {
    super();
  }

  open(): void {
    const { secret, volumeId, clientId, log } = this.options;
    this.keepers = this.nodes.map((node) => {
      let current: StorageClient | null = null;
      return new ConnectionKeeper(
        node,
        { secret, volumeId, role: 'compute', clientId, nodeId: node.id },
        {
          onOpen: (client) => {
            log.info({ node: node.id }, 'storage node connected');
            current = client;
            this.clients.set(node.id, client);
            this.emit('up', client);
          },
          onClose: (reason) => {
            log.warn({ node: node.id, reason: reason?.message }, 'storage node lost');
            this.clients.delete(node.id);
            if (current) this.emit('down', current);
          },
          onGiveUp: (err) => {
            log.error({ node: node.id, code: err.code }, err.message);
            this.refused.set(node.id, err);
            this.emit('unusable', node.id, err);
          },
        },
      );
    });
  }

  connected(): StorageClient[] {
    return [...this.clients.values()];
  }

  /** Nodes that are not tried any more, and why. */
  get unusable(): ReadonlyMap<string, DbError> {
    return this.refused;
  }

  client(nodeId: string): StorageClient | undefined {
    return this.clients.get(nodeId);
  }

  async close(): Promise<void> {
    await Promise.all(this.keepers.map((keeper) => keeper.close()));
  }
}
