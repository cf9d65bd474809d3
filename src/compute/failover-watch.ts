import type { Logger } from 'pino';
import { judge, mergeReports, primaryOf, type FailoverTimes } from '../engine/computes/policy.js';
import type { KnownCompute } from '../engine/computes/types.js';
import type { QuorumConfig } from '../engine/quorum/config.js';
import type { Beacon } from './beacon.js';

export interface WatchOptions {
  name: string;
  /** As of now: members of the volume come and go. */
  quorum: () => Pick<QuorumConfig, 'voters' | 'readQuorum'>;
  times: FailoverTimes;
  log: Logger;
  /** Milliseconds of a monotonic clock. */
  now?: () => number;
}

/** A replica's eye on the primary: calls `onPromote` once, when it is this replica's turn to follow. */
export class FailoverWatch {
  private readonly now: () => number;
  private goneSinceMs: number | null = null;
  /** The last primary that had an epoch. */
  private remembered: KnownCompute | null = null;

  constructor(
    private readonly beacon: Beacon,
    private readonly options: WatchOptions,
    private readonly onPromote: (why: string) => void,
  ) {
    this.now = options.now ?? (() => performance.now());
    beacon.on('news', this.look);
  }

  close(): void {
    this.beacon.off('news', this.look);
  }

  private readonly look = (): void => {
    const { name, quorum, times, log } = this.options;
    const { voters, readQuorum } = quorum();
    const reports = this.beacon.reports().filter(({ nodeId }) => voters.includes(nodeId));
    this.remember(primaryOf(mergeReports(reports)));
    const verdict = judge(reports, name, readQuorum, times, this.remembered);
    if (verdict.kind === 'successor') return this.promote(`${verdict.of.name} hands over`);
    if (verdict.kind === 'stay') {
      this.goneSinceMs = null;
      return;
    }
    if (this.goneSinceMs === null)
      log.warn({ primary: verdict.primary.name, afterMs: verdict.afterMs }, 'the primary is gone');
    this.goneSinceMs ??= this.now();
    if (this.now() - this.goneSinceMs >= verdict.afterMs)
      this.promote(`${verdict.primary.name} is gone, its epoch ${verdict.primary.epoch} is followed`);
  };

  private remember(primary: KnownCompute | null): void {
    if (!primary || primary.epoch === 0 || primary.name === this.options.name) return;
    const { name, epoch } = this.remembered ?? primary;
    if (primary.epoch >= epoch || primary.name === name) this.remembered = primary;
  }

  private promote(why: string): void {
    this.close();
    this.onPromote(why);
  }
}
