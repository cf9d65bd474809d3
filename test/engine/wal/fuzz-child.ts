/**
 * Runs fuzz cases in a process of its own, which may be killed when it hangs: CORPUS PROGRESS SEED SECONDS [CASE]. The number of the case in
 * progress is always in the file PROGRESS. Sends its counts, or the failure, to the parent.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import type { FuzzCounts } from '../../helpers/wal-fuzz.js';
import { WalFuzz } from '../../helpers/wal-fuzz.js';
import { loadCorpus } from '../../helpers/wal-corpus.js';

export type FuzzMessage =
  | { kind: 'done'; counts: FuzzCounts; rssGrowthMb: number }
  | { kind: 'failed'; case: number; message: string };

const [dir, progressFile, seed, seconds, only] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string?,
];

const fuzz = new WalFuzz(loadCorpus(dir));
const progress = openSync(progressFile, 'w');
const mark = Buffer.alloc(4);
globalThis.gc?.(); // loading leaves much behind
const before = process.memoryUsage.rss();
let most = before;
const deadline = performance.now() + Number(seconds) * 1000;
let message: FuzzMessage | null = null;
let n = only === undefined ? 0 : Number(only);
const end = only === undefined ? Infinity : n + 1;
try {
  for (; n < end && performance.now() < deadline; n++) {
    mark.writeUInt32LE(n);
    writeSync(progress, mark, 0, 4, 0);
    await fuzz.run(Number(seed), n);
    if (n % 50 !== 0) continue;
    most = Math.max(most, process.memoryUsage.rss());
    // What is garbage must not hide what a case really needs.
    if (n % 200 === 0) globalThis.gc?.();
  }
} catch (err) {
  message = { kind: 'failed', case: n, message: err instanceof Error ? err.message : String(err) };
}
closeSync(progress);
const rssGrowthMb = (most - before) / 2 ** 20;
process.send!(message ?? { kind: 'done', counts: fuzz.counts, rssGrowthMb });
process.disconnect();
