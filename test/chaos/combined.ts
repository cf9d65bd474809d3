/** A second fault while the first is being mended, and faults of single directions of the network. */
import type { ChaosCluster } from './cluster.js';
import type { RoundOptions, RoundResult } from './round.js';
import type { Workload } from './workload.js';

export interface Combined {
  readonly name: string;
  run(cluster: ChaosCluster, load: Workload, options: RoundOptions): Promise<RoundResult>;
}

export const COMBINED: readonly Combined[] = [];
