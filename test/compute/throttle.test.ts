/**
 * Back-pressure settles: with nodes of any speed that a bulk load outruns, the lag ends near the wanted one and stays there, without swinging, and
 * the load goes on at the nodes' rate; nodes that keep up are not noticed; nodes that stand still let a trickle through.
 */
import assert from 'node:assert/strict';
import { Throttle } from '../../src/compute/throttle.js';

const MIB = 1024 * 1024;
const WANTED = 64 * MIB;
const FLOOR = 0.25 * MIB;

interface Load {
  /** MiB a second that PostgreSQL could write. */
  writes: number;
  /** MiB a second that the nodes apply, by second. */
  applies: (second: number) => number;
  seconds: number;
}

/** Plays the shipper in steps of a millisecond; lag in MiB at the end of each second, and all that was written. */
function run({ writes, applies, seconds }: Load): { lags: number[]; written: number; throttle: Throttle } {
  const throttle = new Throttle({ lagBytes: WANTED, bytesPerSecondMin: FLOOR });
  const lags: number[] = [];
  let written = 0;
  let applied = 0;
  let heard = { applied: 0, lag: 0 };
  let pausedUntil = 0;
  for (let ms = 0; ms < seconds * 1000; ms++) {
    if (ms >= pausedUntil) pausedUntil = ms + throttle.waitMs(heard, ms);
    if (ms >= pausedUntil) {
      const bytes = (writes * MIB) / 1000;
      written += bytes;
      throttle.passed(bytes);
      pausedUntil = ms + throttle.waitMs(heard, ms);
    }
    applied = Math.min(written, applied + (applies(ms / 1000) * MIB) / 1000);
    // Acknowledgements are some milliseconds old.
    if (ms % 20 === 0) heard = { applied, lag: written - applied };
    if (ms % 1000 === 999) lags.push((written - applied) / MIB);
  }
  return { lags, written: written / MIB, throttle };
}

describe('back-pressure', () => {
  for (const [writes, applies] of [
    [300, 20],
    [80, 60],
    [200, 1],
  ] as const)
    it(`settles near the wanted lag when ${writes} MiB/s meet nodes that apply ${applies} MiB/s`, () => {
      const { lags, written } = run({ writes, applies: () => applies, seconds: 120 });
      const settled = lags.slice(60);
      assert.ok(Math.max(...lags) < 2.5 * 64, `the lag reached ${Math.max(...lags)} MiB`);
      for (const lag of settled) assert.ok(lag > 40 && lag < 100, `lags ${settled.join(' ')}`);
      const swing = Math.max(...settled.slice(30)) - Math.min(...settled.slice(30));
      assert.ok(swing < 16, `it swings by ${swing} MiB`);
      assert.ok(written > 0.9 * applies * 120, `only ${written} MiB were written`);
    });

  it('is not noticed by a load that the nodes keep up with', () => {
    const { written, throttle } = run({ writes: 50, applies: () => 60, seconds: 10 });
    assert.ok(Math.abs(written - 500) < 0.01);
    assert.equal(throttle.rate, Infinity);
    assert.equal(throttle.isActive(10_000), false);
  });

  it('follows nodes that become slower and faster', () => {
    const { lags } = run({ writes: 300, applies: (s) => (s < 40 ? 50 : s < 80 ? 5 : 100), seconds: 120 });
    assert.ok(Math.max(...lags) < 2.5 * 64, `the lag reached ${Math.max(...lags)} MiB`);
    assert.ok(lags[79]! < 110 && lags[119]! < 110, lags.join(' '));
  });

  it('lets writers go on, slowly, when the nodes stand still', () => {
    const { written } = run({ writes: 300, applies: (s) => (s < 5 ? 40 : 0), seconds: 300 });
    const { written: earlier } = run({ writes: 300, applies: (s) => (s < 5 ? 40 : 0), seconds: 200 });
    const rate = (written - earlier) / 100;
    assert.ok(rate > 0.2 && rate < 0.5, `${rate} MiB/s`);
  });
});
