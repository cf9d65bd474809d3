import type { Logger } from 'pino';
import type { KnownCompute } from '../engine/computes/types.js';
import { errorMessage } from '../engine/errors.js';
import type { Beacon } from './beacon.js';
import type { Term } from './term.js';
import { COMMIT_NEWS_REPLICAS_MS } from './volume-writer.js';

/** A replica that is silent for longer holds back nothing any more. */
const FEEDBACK_MS = 10_000;
/** Between the end of one checkpoint and the next that replicas ask for. */
const CHECKPOINT_PAUSE_MS = 1000;

/** What a primary does for its replicas while a term runs: vacuum leaves what their queries see, and they get checkpoints to begin from. */
export class PrimaryDuties {
  private busy = false;
  private nextCheckpointMs = 0;
  private closed = false;

  constructor(
    private readonly beacon: Beacon,
    private readonly term: Term,
    private readonly log: Logger,
  ) {
    beacon.on('news', this.look);
  }

  close(): void {
    this.closed = true;
    this.beacon.off('news', this.look);
  }

  private readonly look = (): void => {
    const replicas = this.beacon.computes().filter((c) => c.role === 'replica' && c.ageMs < FEEDBACK_MS);
    this.term.parts.shipper.setFeedback({
      xmin: oldest(replicas, (c) => c.xmin),
      catalogXmin: oldest(replicas, (c) => c.catalogXmin),
    });
    if (replicas.length > 0) this.term.parts.writer.commitNewsMs = COMMIT_NEWS_REPLICAS_MS;
    const asking = replicas.find((c) => c.checkpointAfter !== 0);
    if (asking && !this.busy && performance.now() >= this.nextCheckpointMs) void this.checkpoint(asking.name);
  };

  private async checkpoint(replica: string): Promise<void> {
    this.busy = true;
    this.log.info({ replica }, 'a replica asks for a checkpoint');
    try {
      await this.term.parts.files.checkpoint();
    } catch (err) {
      if (!this.closed) this.log.warn({ err: errorMessage(err) }, 'no checkpoint for the replica');
    } finally {
      this.busy = false;
      this.nextCheckpointMs = performance.now() + CHECKPOINT_PAUSE_MS;
    }
  }
}

/** The oldest of those that have one; 0 when none has. */
function oldest(replicas: readonly KnownCompute[], xid: (replica: KnownCompute) => number): number {
  const held = replicas.map(xid).filter((value) => value !== 0);
  return held.length === 0 ? 0 : Math.min(...held);
}
