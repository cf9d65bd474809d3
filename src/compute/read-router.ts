import { DbError, isDbError } from '../engine/errors.js';
import type { StorageClient } from '../net/storage-client.js';

/** Weight of the newest sample in a node's latency average. */
const EWMA_ALPHA = 0.2;
/** For so long a node that failed is asked last; then it may prove itself again. */
const FAILURE_PENALTY_MS = 2000;

interface Candidate {
  client: StorageClient;
  latencyMs: number;
  reads: number;
  failures: number;
  /** Asked last until then. */
  shunnedUntilMs: number;
}

/**
 * Sends each read to the storage node that has answered fastest of late, and to the next one when it fails. A read names its
 * LSN, so any node that has applied that far gives the same bytes.
 */
export class ReadRouter {
  private readonly nodes = new Map<string, Candidate>();

  /** The node is connected: it may be asked. */
  add(client: StorageClient): void {
    const known = this.nodes.get(client.nodeId);
    this.nodes.set(client.nodeId, {
      client,
      latencyMs: known?.latencyMs ?? 0,
      reads: known?.reads ?? 0,
      failures: known?.failures ?? 0,
      shunnedUntilMs: 0,
    });
  }

  remove(client: StorageClient): void {
    if (this.nodes.get(client.nodeId)?.client === client) this.nodes.delete(client.nodeId);
  }

  /** Reads per node, for metrics. */
  shares(): { nodeId: string; reads: number; failures: number; latencyMs: number }[] {
    return [...this.nodes].map(([nodeId, { reads, failures, latencyMs }]) => ({
      nodeId,
      reads,
      failures,
      latencyMs,
    }));
  }

  /** Runs `read` against one node after the other until one answers. Throws NODE_NONE_READABLE with the last node's reason. */
  async read<T>(what: string, read: (client: StorageClient) => Promise<T>): Promise<T> {
    let last: unknown;
    for (const node of this.inOrder()) {
      const begun = performance.now();
      node.reads++;
      try {
        const answer = await read(node.client);
        node.latencyMs += EWMA_ALPHA * (performance.now() - begun - node.latencyMs);
        return answer;
      } catch (err) {
        // The caller's own mistake would fail on every node alike.
        if (isDbError(err) && err.reaction === 'usage') throw err;
        node.failures++;
        node.shunnedUntilMs = performance.now() + FAILURE_PENALTY_MS;
        last = err;
      }
    }
    throw new DbError(
      'NODE_NONE_READABLE',
      `no storage node could serve ${what}${last instanceof Error ? `: ${last.message}` : ': none is connected'}`,
      {
        cause: last,
        hint: 'Look at the storage nodes with: aurora status',
      },
    );
  }

  private inOrder(): Candidate[] {
    const now = performance.now();
    const shunned = (node: Candidate): number => (node.shunnedUntilMs > now ? 1 : 0);
    return [...this.nodes.values()]
      .filter((node) => node.client.isOpen)
      .sort((a, b) => shunned(a) - shunned(b) || a.latencyMs - b.latencyMs);
  }
}
