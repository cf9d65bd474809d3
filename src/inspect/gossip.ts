/** Each storage node's view of all members, as the nodes tell it. */
import { formatLsn } from '../engine/lsn.js';
import type { GossipView } from '../engine/gossip/types.js';
import type { StorageClient } from '../net/storage-client.js';
import { ASK_TIMEOUT_MS, NodeClients } from './node-clients.js';

export interface NodeGossip {
  readonly id: string;
  readonly address: string;
  /** Null when the node could not be asked; `problem` says why. */
  readonly view: GossipView | null;
  readonly problem: string | null;
}

/** Asks the nodes, and keeps the connections from one time to the next. */
export class GossipTool {
  private readonly nodes: NodeClients;

  /** Of all nodes, or of `node` alone. Throws CLUSTER_MISSING, USAGE_NODE. */
  constructor(root: string, node: string | undefined) {
    this.nodes = new NodeClients(root, node);
  }

  /** One entry a node, those that do not answer among them. Throws INSPECT_NO_NODE when none does. */
  async ask(): Promise<NodeGossip[]> {
    return (await this.nodes.ask(viewOf)).map(({ value, ...rest }) => ({ ...rest, view: value }));
  }

  /** As ask(), but without an answer too: whoever watches waits for better times. */
  async look(): Promise<NodeGossip[]> {
    return (await this.nodes.look(viewOf)).map(({ value, ...rest }) => ({ ...rest, view: value }));
  }

  close(): void {
    this.nodes.close();
  }
}

function viewOf(client: StorageClient): Promise<GossipView> {
  return client.gossipView(ASK_TIMEOUT_MS);
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
