// The real Acceptor and WriterCore under a seeded simulation of drops, delays, duplicates, reorderings, partitions, crashes that lose unsynced writes, wiped
// and damaged disks, zones that burn down, competing writers, clocks that run apart, and members that are added, promoted and removed by a tool that
// crashes. Proves, per seed: no acknowledged byte is lost while fewer than Vw disks are; two epochs never commit different bytes at one LSN; a fenced writer gets
// no acknowledgement; after healing a change of membership comes to its end, all members converge and commits go on, over three zones also without any one
// of them. SIM_SEEDS=n sets how many seeds, SEED=n replays one; npm run sim runs any number.
import assert from 'node:assert/strict';
import { run } from './seeds.js';

describe('quorum simulation', () => {
  const only = process.env['SEED'];
  const count = only ? 1 : Number(process.env['SIM_SEEDS'] ?? 1000);

  it(`holds its invariants over ${count} seeds`, function () {
    this.timeout(Math.max(60_000, count * 1000));
    const { committed, epochs, changes } = run(Number(only ?? 1), count);
    if (only) return;
    // A simulation in which nothing happens proves nothing.
    assert.ok(committed >= count * 30 && epochs >= count * 2, `${committed} bytes in ${epochs} epochs`);
    assert.ok(count < 100 || changes >= count / 2, `${changes} changes of membership`);
  });
});
