import { optionsOf, simulate, type SimOptions, type SimResult } from './run.js';

export interface Totals {
  committed: number;
  epochs: number;
  changes: number;
  faults: Record<string, number>;
}

/** Runs seeds first, first + 1, ...; throws at the first that fails, with all that is needed to replay it. */
export function run(
  first: number,
  count: number,
  onDone: (seed: number, options: SimOptions, result: SimResult) => void = () => undefined,
): Totals {
  const totals: Totals = { committed: 0, epochs: 0, changes: 0, faults: {} };
  for (let seed = first; seed < first + count; seed++) {
    const options = optionsOf(seed);
    let result: SimResult;
    try {
      result = simulate(options);
    } catch (cause) {
      throw new Error(
        `seed ${seed} failed: ${(cause as Error).message}\noptions ${JSON.stringify(options)}\nreplay with: npm run sim -- --seed ${seed}`,
        { cause },
      );
    }
    totals.committed += result.committed;
    totals.epochs += result.epochs;
    totals.changes += result.changes;
    for (const [kind, n] of Object.entries(result.faults))
      totals.faults[kind] = (totals.faults[kind] ?? 0) + n;
    onDone(seed, options, result);
  }
  return totals;
}
