/** The rounds of the matrix by name, and those that time a second fault against the first. */
import { FAULTS, TARGETS, type Fault, type Target } from './faults.js';
import { COMBINED } from './combined.js';
import type { ChaosCluster } from './cluster.js';
import type { RoundOptions, RoundResult } from './round.js';
import type { Workload } from './workload.js';

/** The product's, but for scrubs that are waited for. */
export const STORAGE_SETTINGS = { scrub: { intervalMs: 3000, pagesIntervalMs: 3000, dutyPercent: 50 } };

export interface Round {
  readonly name: string;
  readonly fault: Fault | null;
  readonly target: Target | null;
  /** Why there is nothing to run. */
  readonly skip: string | null;
  /** Null: runRound() with the fault and the target. */
  readonly run:
    ((cluster: ChaosCluster, load: Workload, options: RoundOptions) => Promise<RoundResult>) | null;
}

export function allRounds(): Round[] {
  return [
    ...FAULTS.flatMap((fault) =>
      TARGETS.map((target) => ({
        name: `${fault.name}/${target}`,
        fault,
        target,
        skip: fault.without[target] ?? null,
        run: null,
      })),
    ),
    ...COMBINED.map(({ name, run }) => ({ name, fault: null, target: null, skip: null, run })),
  ];
}
