import { EventEmitter } from 'node:events';
import type { Logger } from 'pino';
import type { DbError } from '../engine/errors.js';
import type { Configuration } from '../engine/quorum/membership.js';
import { ConnectionKeeper } from '../net/keeper.js';
import type { Endpoint, StorageClient } from '../net/storage-client.js';
import { routed, type Routes } from '../net/routes.js';
import type { TlsCredentials } from '../net/tls.js';

export interface StorageNodeEndpoint extends Endpoint {
  readonly id: string;
}

export interface LinkOptions {
  secret: Buffer;
  tls: TlsCredentials | null;
  volumeId: string;
  clientId: string;
  routes?: Routes;
  log: Logger;
}

interface StorageLinksEvents {
  up: [StorageClient];
  down: [StorageClient];
  /** A node for which trying again cannot help: wrong secret, wrong volume. */
  unusable: [nodeId: string, err: DbError];
  /** The volume's configuration is another: other nodes are linked, or other ones vote. */
  configuration: [Configuration];
}

/** Keeps one connection to each storage node of the volume, connecting anew for as long as the compute lives. */
export class StorageLinks extends EventEmitter<StorageLinksEvents> {
  private readonly clients = new Map<string, StorageClient>();
  private readonly refused = new Map<string, DbError>();
  private readonly keepers = new Map<string, ConnectionKeeper>();
  private isOpen = false;

  /** `configuration` null: fixed voters, `nodes`. */
  constructor(
    private nodes: readonly StorageNodeEndpoint[],
    private readonly options: LinkOptions,
    private newest: Configuration | null = null,
  ) {
    super();
  }

  open(): void {
    this.isOpen = true;
    for (const node of this.nodes) this.keep(node);
  }

  /** The newest configuration that is known; null: fixed voters. */
  get configuration(): Configuration | null {
    return this.newest;
  }

  get endpoints(): readonly StorageNodeEndpoint[] {
    return this.nodes;
  }

  /** Takes over a newer configuration. */
  follow(configuration: Configuration): void {
    if (configuration.generation <= (this.newest?.generation ?? 0)) return;
    const { log } = this.options;
    const before = this.nodes;
    this.newest = configuration;
    this.nodes = configuration.members.map(({ id, host, port }) => ({ id, host, port }));
    log.info(
      { generation: configuration.generation, nodes: this.nodes.map(({ id }) => id) },
      'the volume has another configuration',
    );
    this.emit('configuration', configuration);
    if (!this.isOpen) return;
    for (const old of before)
      if (!this.nodes.some(({ id, host, port }) => id === old.id && host === old.host && port === old.port)) {
        void this.keepers.get(old.id)?.close();
        this.keepers.delete(old.id);
        this.refused.delete(old.id);
      }
    for (const node of this.nodes) if (!this.keepers.has(node.id)) this.keep(node);
  }

  private keep(node: StorageNodeEndpoint): void {
    const { secret, tls, volumeId, clientId, routes = {}, log } = this.options;
    let current: StorageClient | null = null;
    const keeper = new ConnectionKeeper(
      routed([node], routes)[0]!,
      { secret, tls, volumeId, role: 'compute', clientId, nodeId: node.id },
      {
        onOpen: (client) => {
          log.info({ node: node.id }, 'storage node connected');
          current = client;
          this.refused.delete(node.id);
          this.clients.set(node.id, client);
          this.emit('up', client);
        },
        onClose: (reason) => {
          log.warn({ node: node.id, reason: reason?.message }, 'storage node lost');
          if (this.clients.get(node.id) === current) this.clients.delete(node.id);
          if (current) this.emit('down', current);
        },
        onRefused: (err) => {
          log.error({ node: node.id, code: err.code }, err.message);
          this.refused.set(node.id, err);
          this.emit('unusable', node.id, err);
        },
      },
    );
    this.keepers.set(node.id, keeper);
  }

  connected(): StorageClient[] {
    return [...this.clients.values()];
  }

  /** Nodes that refuse us, and why. */
  get unusable(): ReadonlyMap<string, DbError> {
    return this.refused;
  }

  client(nodeId: string): StorageClient | undefined {
    return this.clients.get(nodeId);
  }

  async close(): Promise<void> {
    this.isOpen = false;
    await Promise.all([...this.keepers.values()].map((keeper) => keeper.close()));
  }
}
