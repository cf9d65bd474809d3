/**
 * npm run sim -- [--seeds N] [--seed S] [--verbose]: the simulation of the quorum log over N seeds from S on (1000 from 1), until one fails. `--seed S` alone replays one.
 */
import { parseArgs } from 'node:util';
import { run } from './seeds.js';

const { values } = parseArgs({
  options: { seeds: { type: 'string' }, seed: { type: 'string' }, verbose: { type: 'boolean' } },
});
const first = Number(values.seed ?? 1);
const count = Number(values.seeds ?? (values.seed === undefined ? 1000 : 1));
if (!Number.isSafeInteger(first) || !Number.isSafeInteger(count) || first < 0 || count < 1) {
  console.error('usage: npm run sim -- [--seeds N] [--seed S] [--verbose]');
  process.exit(2);
}
const begun = performance.now();
const seconds = (): string => ((performance.now() - begun) / 1000).toFixed(1);
try {
  const totals = run(first, count, (seed, options, result) => {
    if (values.verbose) console.log(seed, JSON.stringify(options), JSON.stringify(result));
    else if ((seed - first + 1) % 1000 === 0)
      console.log(`${seed - first + 1} of ${count} seeds, ${seconds()} s`);
  });
  console.log(`${count} seeds from ${first} in ${seconds()} s: ${JSON.stringify(totals)}`);
} catch (err) {
  console.error((err as Error).message, (err as Error).cause ?? '');
  process.exit(1);
}
