import { EventEmitter } from 'node:events';
import type { Logger } from 'pino';
import { mergeReports, type NodeReport } from '../engine/computes/policy.js';
import type { ComputeBeat, ComputesView, KnownCompute } from '../engine/computes/types.js';
import { errorMessage } from '../engine/errors.js';
import { lsn, type Lsn } from '../engine/lsn.js';
import type { StorageClient } from '../net/storage-client.js';
import type { StorageLinks } from './storage-links.js';

const BEAT_MS = 250;
const ANSWER_MS = 2000;
const LAST_WORDS_MS = 1000;

interface Answer {
  view: ComputesView;
  atMs: number;
  /** The connection that it came over, and when the first did. */
  via: StorageClient;
  firstMs: number;
}

interface BeaconEvents {
  /** A node has answered. */
  news: [];
}

/** Tells all storage nodes that this compute lives, and learns from their answers of the others. */
export class Beacon extends EventEmitter<BeaconEvents> {
  private readonly answers = new Map<string, Answer>();
  /** Nodes with a beat under way. */
  private readonly asked = new Set<StorageClient>();
  private readonly failing = new Set<string>();
  private timer: NodeJS.Timeout | null = null;

  constructor(
    private readonly links: StorageLinks,
    private readonly log: Logger,
    private readonly compose: () => ComputeBeat,
  ) {
    super();
  }

  start(): void {
    this.timer ??= setInterval(() => this.beat(), BEAT_MS);
    this.links.on('up', this.onUp);
    this.beat();
  }

  /** To all connected nodes at once. */
  beat(): void {
    for (const client of this.links.connected()) if (!this.asked.has(client)) void this.send(client);
  }

  /** A beat that must be known to as many as possible: resolves when all connected nodes have it, or after a moment. */
  async tell(): Promise<void> {
    await Promise.all(
      this.links.connected().map((client) =>
        client.beat(this.compose(), LAST_WORDS_MS).then(
          (view) => this.note(client, view),
          (err: unknown) => this.log.debug({ node: client.nodeId, err: errorMessage(err) }, 'not told'),
        ),
      ),
    );
  }

  /** What each node last answered. */
  reports(): NodeReport[] {
    const now = performance.now();
    return [...this.answers].map(([nodeId, { view, atMs, firstMs }]) => ({
      nodeId,
      sinceMs: now - atMs,
      heardForMs: atMs - firstMs,
      view,
    }));
  }

  /** All computes that were heard of lately. */
  computes(): KnownCompute[] {
    return mergeReports(this.reports());
  }

  /** The newest commit LSN that any node has told. */
  get commitLsn(): Lsn {
    return lsn(Math.max(0, ...[...this.answers.values()].map(({ view }) => view.commitLsn)));
  }

  /** Waits until `enough` answers of nodes are there, but not for longer than that. */
  async answered(enough: number, timeoutMs: number): Promise<void> {
    await this.heard(() => this.answers.size >= enough, timeoutMs);
  }

  /** Waits until answers of nodes make `is` true, but not for longer than that; whether it is. */
  async heard(is: () => boolean, timeoutMs: number): Promise<boolean> {
    if (is()) return true;
    return new Promise<boolean>((resolve) => {
      const done = (so: boolean): void => {
        clearTimeout(timer);
        this.off('news', look);
        resolve(so);
      };
      const look = (): void => {
        if (is()) done(true);
      };
      const timer = setTimeout(done, timeoutMs, false);
      this.on('news', look);
    });
  }

  close(): void {
    if (this.timer) clearInterval(this.timer);
    this.timer = null;
    this.links.off('up', this.onUp);
  }

  private readonly onUp = (client: StorageClient): void => void this.send(client);

  private async send(client: StorageClient): Promise<void> {
    this.asked.add(client);
    try {
      this.note(client, await client.beat(this.compose(), ANSWER_MS));
      this.failing.delete(client.nodeId);
    } catch (err) {
      if (!this.failing.has(client.nodeId) && client.isOpen)
        this.log.warn(
          { node: client.nodeId, err: errorMessage(err) },
          'the storage node does not hear that we live',
        );
      this.failing.add(client.nodeId);
    } finally {
      this.asked.delete(client);
    }
  }

  private note(client: StorageClient, view: ComputesView): void {
    const now = performance.now();
    const before = this.answers.get(client.nodeId);
    const firstMs = before?.via === client ? before.firstMs : now;
    this.answers.set(client.nodeId, { view, atMs: now, via: client, firstMs });
    this.emit('news');
  }
}
