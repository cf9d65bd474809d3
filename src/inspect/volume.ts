/** A cluster's volume as a tool sees it: the storage nodes that answer, and how far the log is committed. */
import { clusterLayout } from '../cluster/layout.js';
import { Manifest } from '../cluster/manifest.js';
import { controlRequest } from '../cluster/control-client.js';
import { toolAccess } from '../cluster/tls.js';
import { controlSocketPath } from '../compute/control-path.js';
import type { ComputeStatus } from '../compute/status.js';
import { DbError, errorMessage, isDbError } from '../engine/errors.js';
import { parseLsn, type Lsn } from '../engine/lsn.js';
import type { NodeStatus } from '../net/node-status.js';
import { StorageClient } from '../net/storage-client.js';

const ASK_TIMEOUT_MS = 3000;

interface LiveNode {
  readonly client: StorageClient;
  status: NodeStatus;
}

export class VolumeTool {
  /** Highest LSN known to be held by a write quorum; moves with refresh(). */
  commitLsn = 0 as Lsn;

  private constructor(
    readonly root: string,
    private readonly controlSockets: readonly string[],
    private nodes: LiveNode[],
  ) {}

  /** Connects to every storage node that answers. Throws CLUSTER_MISSING, INSPECT_NO_NODE, NET_AUTH. */
  static async open(root: string): Promise<VolumeTool> {
    const layout = clusterLayout(root);
    const manifest = Manifest.open(layout);
    let failure: unknown;
    try {
      const { volume, storageNodes, computes } = manifest;
      const access = toolAccess(layout, volume);
      const tries = await Promise.allSettled(
        storageNodes.map(async (node) => {
          const client = await StorageClient.connect(node, {
            ...access,
            clientId: 'inspect',
            nodeId: node.id,
            connectTimeoutMs: ASK_TIMEOUT_MS,
          });
          return { client, status: await client.status(ASK_TIMEOUT_MS) };
        }),
      );
      const nodes = tries.flatMap((t) => (t.status === 'fulfilled' ? [t.value] : []));
      failure = tries.find((t) => t.status === 'rejected')?.reason;
      if (nodes.length === 0) throw noNode(layout.root, failure);
      const sockets = computes.map((compute) => controlSocketPath(volume.socketDir, compute.name));
      const tool = new VolumeTool(layout.root, sockets, nodes);
      await tool.refresh();
      return tool;
    } finally {
      manifest.close();
    }
  }

  /** Some node still has the log from where its pages were imported. */
  get logIsWhole(): boolean {
    return this.nodes.some((node) => node.status.history[0]?.startLsn === node.status.logStart);
  }

  /** First LSN of the log that any node still has. */
  get logStart(): Lsn {
    return Math.min(...this.nodes.map((node) => node.status.logStart)) as Lsn;
  }

  /** How far some node can serve pages. */
  get appliedLsn(): Lsn {
    return Math.max(...this.nodes.map((node) => node.status.appliedLsn)) as Lsn;
  }

  /** Asks the nodes, and the compute if it runs (nodes hear of a commit with the writer's next message), how far the log is committed. */
  async refresh(): Promise<void> {
    await Promise.allSettled(
      this.nodes.map(async (node) => {
        node.status = await node.client.status(ASK_TIMEOUT_MS);
      }),
    );
    const told = await Promise.all(this.controlSockets.map(committedAt));
    const most = Math.max(this.commitLsn, ...this.nodes.map((node) => node.status.commitLsn), ...told);
    this.commitLsn = most as Lsn;
  }

  /**
   * Asks one node after the other, those with the most log first, until one answers. An answer that is the same on every node
   * (`usage`) ends the search. Throws the last node's error, INSPECT_NO_NODE when all connections are gone.
   */
  async ask<T>(question: (client: StorageClient, status: NodeStatus) => Promise<T>): Promise<T> {
    const open = this.nodes.filter((node) => node.client.isOpen);
    open.sort((a, b) => Number(b.status.voter) - Number(a.status.voter) || b.status.scl - a.status.scl);
    let failure: unknown = null;
    for (const { client, status } of open) {
      try {
        return await question(client, status);
      } catch (err) {
        if (!isDbError(err) || err.reaction === 'usage') throw err;
        failure = err;
      }
    }
    throw failure ?? noNode(this.root, null);
  }

  close(): void {
    for (const { client } of this.nodes) client.close();
  }
}

/** The compute's word, 0 when it does not run or cannot say. */
async function committedAt(socket: string): Promise<number> {
  try {
    const { commitLsn } = await controlRequest<ComputeStatus>(socket, 'GET', '/status', ASK_TIMEOUT_MS);
    return commitLsn === null ? 0 : parseLsn(commitLsn);
  } catch (err) {
    if (isDbError(err)) return 0;
    throw err;
  }
}

function noNode(root: string, cause: unknown): DbError {
  if (isDbError(cause) && cause.reaction === 'usage') return cause;
  const why = cause ? ` (${errorMessage(cause)})` : '';
  return new DbError('INSPECT_NO_NODE', `no storage node of cluster "${root}" can be reached${why}`, {
    hint: `Start the cluster with: aurora start -D ${root}`,
    cause,
  });
}
