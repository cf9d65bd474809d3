// Damaged logs of a real PostgreSQL: the decoder and all that takes records answer with the records or with a coded error that names the LSN;
// never a crash, a hang, memory without bound, or a record left out in silence. What exactly must hold is told in test/helpers/wal-fuzz.ts.
//
// SEED=n draws other cases (SEED=random: of the clock), FUZZ_SECONDS=n goes on longer. A failure keeps the log that it happened on and prints
// how to run just that case again.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { promises as fs, readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { LOADER } from '../../helpers/loader.js';
import { recordCorpus } from '../../helpers/wal-corpus.js';
import type { FuzzMessage } from './fuzz-child.js';
import { RARE_RECORDS } from './rare-records.js';

const seconds = Number(process.env['FUZZ_SECONDS'] ?? 6);
const seed = process.env['SEED'] === 'random' ? Date.now() % 1_000_000 : Number(process.env['SEED'] ?? 1);
const only = process.env['FUZZ_CASE'];
/** One case takes about a millisecond; a machine under load may take a while for it. */
const HANG_MS = 20_000;
const RSS_GROWTH_MB = 300;

describe('damaged WAL', function () {
  this.timeout(60_000 + 2000 * seconds);
  let root: string;
  let corpus: string;

  before(async () => {
    root = await fs.mkdtemp(path.join(os.tmpdir(), 'oa-fuzz-'));
    corpus = process.env['FUZZ_CORPUS'] ?? path.join(root, 'corpus');
    if (!process.env['FUZZ_CORPUS']) await recordCorpus(corpus, RARE_RECORDS);
  });
  after(async () => {
    await fs.rm(root, { recursive: true, force: true });
  });

  it(`is refused with a code and an LSN, or read as it is (seed ${seed})`, async () => {
    const outcome = await run();
    if (outcome.kind === 'failed') {
      const kept = path.join(os.tmpdir(), `openaurora-fuzz-${seed}-${outcome.case}`);
      if (corpus !== process.env['FUZZ_CORPUS']) await fs.cp(corpus, kept, { recursive: true });
      const where = process.env['FUZZ_CORPUS'] ?? kept;
      assert.fail(
        `seed ${seed}, case ${outcome.case}: ${outcome.message}\n` +
          `again: FUZZ_CORPUS=${where} SEED=${seed} FUZZ_CASE=${outcome.case} npm run soak:fuzz`,
      );
    }
    const { counts, rssGrowthMb } = outcome;
    if (process.env['FUZZ_SECONDS'])
      console.log(`      seed ${seed}: ${JSON.stringify(counts)}, ${rssGrowthMb.toFixed(0)} MB`);
    assert.ok(rssGrowthMb < RSS_GROWTH_MB, `memory grew by ${rssGrowthMb.toFixed(0)} MB`);
    if (only !== undefined) return;
    // The cases must reach what they are for.
    const { cases, reported, differing, described, refused, applied } = counts;
    for (const [what, count] of Object.entries({ reported, differing, described, refused, applied }))
      assert.ok(count > cases / 50, `only ${count} of ${cases} cases: ${what}`);
  });

  /** Runs the child and watches that it gets on. */
  async function run(): Promise<FuzzMessage> {
    const progress = path.join(root, 'progress');
    const args = [corpus, progress, String(seed), String(seconds), ...(only === undefined ? [] : [only])];
    const child = spawn(
      process.execPath,
      ['--expose-gc', ...LOADER, path.join(import.meta.dirname, 'fuzz-child.ts'), ...args],
      { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
    );
    const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
    let outcome: FuzzMessage | null = null;
    child.on('message', (message) => (outcome = message as FuzzMessage));
    let last = -1;
    let since = Date.now();
    let hung = false;
    const watch = setInterval(() => {
      const now = caseIn(progress);
      if (now !== last) {
        last = now;
        since = Date.now();
      } else if (Date.now() - since > HANG_MS) {
        hung = true;
        child.kill('SIGKILL');
      }
    }, 500);
    try {
      const [code, signal] = await exited;
      if (hung) return { kind: 'failed', case: caseIn(progress), message: `no end within ${HANG_MS} ms` };
      return (
        outcome ?? {
          kind: 'failed',
          case: caseIn(progress),
          message: `the process ended with ${code ?? signal}`,
        }
      );
    } finally {
      clearInterval(watch);
      child.kill('SIGKILL');
    }
  }
});

/** -1 while the log is being loaded. */
function caseIn(file: string): number {
  try {
    const mark = readFileSync(file);
    return mark.length === 4 ? mark.readUInt32LE() : -1;
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return -1;
    throw err;
  }
}
