/** Connections of a tool to a cluster's storage nodes, kept from one question to the next. */
import { clusterLayout, type ClusterLayout } from '../cluster/layout.js';
import { Manifest, type StorageNodeInfo, type VolumeInfo } from '../cluster/manifest.js';
import { DbError, errorMessage } from '../engine/errors.js';
import { toolAccess, type ToolAccess } from '../cluster/tls.js';
import { StorageClient } from '../net/storage-client.js';

export const ASK_TIMEOUT_MS = 2000;

/** One node's answer, or why there is none. */
export interface NodeAnswer<T> {
  readonly id: string;
  readonly address: string;
  /** Null when the node could not be asked; `problem` says why. */
  readonly value: T | null;
  readonly problem: string | null;
}

export class NodeClients {
  readonly layout: ClusterLayout;
  private readonly clients = new Map<string, StorageClient>();
  private closed = false;

  /** Of all nodes, or of `node` alone. Throws CLUSTER_MISSING, USAGE_NODE. */
  constructor(
    root: string,
    private readonly node?: string,
  ) {
    this.layout = clusterLayout(root);
    this.members();
  }

  /** One entry a node, those that do not answer among them. Throws INSPECT_NO_NODE when none does. */
  async ask<T>(question: (client: StorageClient) => Promise<T>): Promise<NodeAnswer<T>[]> {
    const answers = await this.look(question);
    if (answers.some(({ value }) => value !== null)) return answers;
    const [first] = answers;
    const which = this.node === undefined ? 'no storage node' : `storage node ${this.node}`;
    throw new DbError(
      'INSPECT_NO_NODE',
      `${which} of cluster "${this.layout.root}" ${this.node === undefined ? 'can' : 'cannot'} be reached (${first?.problem ?? 'there is none'})`,
      { hint: `Start the cluster with: aurora start -D ${this.layout.root}` },
    );
  }

  /** As ask(), but without an answer too: whoever watches waits for better times. */
  look<T>(question: (client: StorageClient) => Promise<T>): Promise<NodeAnswer<T>[]> {
    // Read anew each time: a node that starts again may have another port.
    const { volume, nodes } = this.members();
    const access = toolAccess(this.layout, volume);
    return Promise.all(nodes.map((node) => this.askOne(access, node, question)));
  }

  members(): { volume: VolumeInfo; nodes: StorageNodeInfo[] } {
    const manifest = Manifest.open(this.layout);
    try {
      const all = manifest.storageNodes;
      const nodes = all.filter(({ id }) => this.node === undefined || id === this.node);
      if (nodes.length === 0)
        throw new DbError('USAGE_NODE', `cluster "${this.layout.root}" has no storage node "${this.node}"`, {
          hint: `It has: ${all.map(({ id }) => id).join(', ')}.`,
        });
      return { volume: manifest.volume, nodes };
    } finally {
      manifest.close();
    }
  }

  /** Also while a question is under way: it then ends with a problem. */
  close(): void {
    this.closed = true;
    for (const client of this.clients.values()) client.close();
  }

  private async askOne<T>(
    access: ToolAccess,
    node: StorageNodeInfo,
    question: (client: StorageClient) => Promise<T>,
  ): Promise<NodeAnswer<T>> {
    const { id, host, port } = node;
    const address = `${host}:${port}`;
    try {
      let client = this.clients.get(id);
      if (!client?.isOpen) {
        client = await StorageClient.connect(node, {
          ...access,
          clientId: 'inspect',
          nodeId: id,
          connectTimeoutMs: ASK_TIMEOUT_MS,
        });
        if (this.closed) client.close();
        else this.clients.set(id, client);
      }
      return { id, address, value: await question(client), problem: null };
    } catch (err) {
      return { id, address, value: null, problem: errorMessage(err) };
    }
  }
}
