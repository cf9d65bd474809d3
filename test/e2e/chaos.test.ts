/**
 * The fault matrix in short: some of its rounds on one cluster, with small holds. npm run chaos runs all of them. Clients keep books of what was
 * acknowledged to them; a failing round says how to run it alone.
 */
import { hash } from '../chaos/random.js';
import { openBooks, runRound } from '../chaos/round.js';
import { ChaosCluster } from '../chaos/cluster.js';
import { allRounds, STORAGE_SETTINGS } from '../chaos/rounds.js';
import type { Workload } from '../chaos/workload.js';

const SEED = Number(process.env['SEED'] ?? 1);
const ROUNDS = [
  'partition/one node',
  'full disk/one node',
  'slow disk/one node',
  'bit flip, log/one node',
  'clock jump/all at once',
  'kill -9/all at once',
];

describe('e2e: faults of network, disks and clocks', function () {
  this.timeout(240_000);
  let cluster: ChaosCluster;
  let load: Workload;

  before(async () => {
    cluster = await ChaosCluster.start({ storageSettings: STORAGE_SETTINGS });
    load = await openBooks(cluster, SEED);
  });
  after(async () => cluster?.destroy());

  for (const name of ROUNDS)
    it(name, async () => {
      const { fault, target } = allRounds().find((round) => round.name === name)!;
      const story: string[] = [];
      const log = (line: string): void => void story.push(line);
      try {
        const seed = (SEED + hash(name)) >>> 0;
        await runRound(cluster, load, fault!, target!, { seed, short: true, checksAll: false, log });
      } catch (err) {
        console.error(`${story.join('\n')}\n${await cluster.base.logs()}`);
        console.error(`seed ${SEED}; the same fault alone: npm run chaos -- --only "${name}"`);
        throw err;
      }
    });
});
