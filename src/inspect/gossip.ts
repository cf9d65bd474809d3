/** Each storage node's view of all members, as the nodes tell it. */
import { clusterLayout, type ClusterLayout } from '../cluster/layout.js';
import { Manifest } from '../cluster/manifest.js';
import { DbError, errorMessage } from '../engine/errors.js';
import { formatLsn } from '../engine/lsn.js';
import type { GossipView } from '../engine/gossip/types.js';
import { loadSecret } from '../net/secret.js';
import { StorageClient, type Endpoint } from '../net/storage-client.js';

const ASK_TIMEOUT_MS = 2000;

export interface NodeGossip {
  readonly id: string;
  readonly address: string;
  /** Null when the node could not be asked; `problem` says why. */
  readonly view: GossipView | null;
  readonly problem: string | null;
}

/** Asks the nodes, and keeps the connections from one time to the next. */
export class GossipTool {
  private readonly clients = new Map<string, StorageClient>();
  private readonly layout: ClusterLayout;
  private readonly secret: Buffer;

  /** Of all nodes, or of `node` alone. Throws CLUSTER_MISSING, USAGE_NODE. */
  constructor(
    root: string,
    private readonly node: string | undefined,
  ) {
    this.layout = clusterLayout(root);
    this.members();
    this.secret = loadSecret(this.layout.secret);
  }

  /** One entry a node, those that do not answer among them. Throws INSPECT_NO_NODE when none does. */
  async ask(): Promise<NodeGossip[]> {
    const answers = await this.look();
    if (answers.some(({ view }) => view !== null)) return answers;
    const [first] = answers;
    const which = this.node === undefined ? 'no storage node' : `storage node ${this.node}`;
    throw new DbError(
      'INSPECT_NO_NODE',
      `${which} of cluster "${this.layout.root}" ${this.node === undefined ? 'can' : 'cannot'} be reached (${first?.problem ?? 'there is none'})`,
      { hint: `Start the cluster with: aurora start -D ${this.layout.root}` },
    );
  }

  /** As ask(), but without an answer too: whoever watches waits for better times. */
  look(): Promise<NodeGossip[]> {
    // Read anew each time: a node that starts again may have another port.
    const { volumeId, nodes } = this.members();
    return Promise.all(nodes.map((node) => this.askOne(volumeId, node)));
  }

  close(): void {
    for (const client of this.clients.values()) client.close();
  }

  private members(): { volumeId: string; nodes: (Endpoint & { id: string })[] } {
    const manifest = Manifest.open(this.layout);
    try {
      const all = manifest.storageNodes;
      const nodes = all.filter(({ id }) => this.node === undefined || id === this.node);
      if (nodes.length === 0)
        throw new DbError('USAGE_NODE', `cluster "${this.layout.root}" has no storage node "${this.node}"`, {
          hint: `It has: ${all.map(({ id }) => id).join(', ')}.`,
        });
      return { volumeId: manifest.volume.volumeId, nodes };
    } finally {
      manifest.close();
    }
  }

  private async askOne(volumeId: string, node: Endpoint & { id: string }): Promise<NodeGossip> {
    const { id, host, port } = node;
    const address = `${host}:${port}`;
    try {
      let client = this.clients.get(id);
      if (!client?.isOpen) {
        client = await StorageClient.connect(node, {
          secret: this.secret,
          volumeId,
          role: 'tool',
          clientId: 'inspect',
          nodeId: id,
          connectTimeoutMs: ASK_TIMEOUT_MS,
        });
        this.clients.set(id, client);
      }
      return { id, address, view: await client.gossipView(ASK_TIMEOUT_MS), problem: null };
    } catch (err) {
      return { id, address, view: null, problem: errorMessage(err) };
    }
  }
}

/** With positions as text. */
export function gossipJson(nodes: readonly NodeGossip[]): unknown {
  return {
    nodes: nodes.map(({ id, address, view, problem }) => ({
      id,
      address,
      problem,
      intervalMs: view?.intervalMs ?? null,
      rounds: view?.rounds ?? null,
      members:
        view?.members.map(({ scl, commitLsn, appliedLsn, gcLsn, ...rest }) => ({
          ...rest,
          newsAgeMs: rest.newsAgeMs === null ? null : Math.round(rest.newsAgeMs),
          stateAgeMs: Math.round(rest.stateAgeMs),
          scl: formatLsn(scl),
          commitLsn: formatLsn(commitLsn),
          appliedLsn: formatLsn(appliedLsn),
          gcLsn: formatLsn(gcLsn),
        })) ?? null,
    })),
  };
}
