/** How far storage nodes have made pages of the log, as their acknowledgements tell. */
import type { Lsn } from '../engine/lsn.js';
import type { WriterCore } from '../engine/quorum/writer.js';
import type { StorageLinks } from './storage-links.js';

/** A node that has applied nothing for so long, although it could, does not count for back-pressure: slowing writers would not help it. */
const STUCK_MS = 10_000;

export class PageProgress {
  private readonly applied = new Map<string, { lsn: Lsn; movedAtMs: number }>();

  constructor(
    private readonly core: WriterCore,
    private readonly links: StorageLinks,
  ) {}

  note(nodeId: string, at: Lsn): void {
    const known = this.applied.get(nodeId);
    const moved = !known || at > known.lsn || at >= this.core.commitLsn;
    this.applied.set(nodeId, { lsn: at, movedAtMs: moved ? performance.now() : known.movedAtMs });
  }

  appliedBy(nodeId: string): Lsn | null {
    return this.applied.get(nodeId)?.lsn ?? null;
  }

  /**
   * How far a write quorum of nodes has made pages, so that the next start finds one that is not far behind even if it loses some; null while too
   * little is known. Nodes that are away, or do not get on at all, do not count.
   */
  get ofQuorum(): { applied: Lsn; lag: number } | null {
    const { commitLsn } = this.core;
    const now = performance.now();
    const able: Lsn[] = [];
    for (const { nodeId } of this.links.connected()) {
      const known = this.applied.get(nodeId);
      if (known && (known.lsn >= commitLsn || now - known.movedAtMs < STUCK_MS)) able.push(known.lsn);
    }
    if (able.length === 0) return null;
    able.sort((a, b) => b - a);
    const applied = able[Math.min(this.core.quorum.writeQuorum, able.length) - 1]!;
    return { applied, lag: Math.max(0, commitLsn - applied) };
  }
}
