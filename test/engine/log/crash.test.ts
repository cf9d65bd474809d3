// A process that writes the log is killed with SIGKILL at random moments, again and again on the same log: whatever it had printed as
// durable is there afterwards, byte for byte, and what is there beyond is a prefix of what it was writing.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { lsn } from '../../../src/engine/lsn.js';
import { LOADER } from '../../helpers/loader.js';
import { START, open, pattern, random, withDir } from './helpers.js';

const CHILD = fileURLToPath(new URL('./crash-child.ts', import.meta.url));

/** Starts the child, kills it some time after its first line, and gives its last complete line. */
async function runAndKill(
  dir: string,
  mode: string,
  delayMs: number,
): Promise<{ end: number; startLsn: number; epoch: number }> {
  const child = spawn(process.execPath, [...LOADER, CHILD, dir, mode], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (out === '') setTimeout(() => child.kill('SIGKILL'), delayMs);
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  const [, signal] = (await once(child, 'close')) as [number | null, string | null];
  assert.equal(signal, 'SIGKILL', `the child ended by itself: ${err}`);
  const line = out.slice(0, out.lastIndexOf('\n')).split('\n').at(-1)!;
  const [end, startLsn, epoch] = line.split(' ').map(Number) as [number, number, number];
  return { end, startLsn, epoch };
}

describe('LogStore under kill -9', function () {
  this.timeout(60_000);

  it('keeps everything that was acknowledged', () =>
    withDir(async (dir) => {
      const rnd = random(Date.now());
      for (let round = 0; round < 5; round++) {
        const printed = await runAndKill(dir, round === 0 ? 'create' : 'open', 20 + rnd() * 200);
        const store = await open(dir);
        const last = store.history.at(-1)!;
        const sameEpoch = last.epoch === printed.epoch;
        assert.ok(last.epoch >= printed.epoch, `round ${round}: history went back`);
        if (sameEpoch) assert.equal(last.startLsn, printed.startLsn);
        // Only the cut of a newer epoch, which was on its way, may have taken bytes away.
        assert.ok(
          store.durableEnd >= (sameEpoch ? printed.end : last.startLsn),
          `round ${round}: acknowledged ${printed.end}`,
        );
        assert.deepEqual(store.damages, []);
        const bytes = store.read(START, store.endLsn);
        assert.ok(bytes.equals(pattern(START, store.endLsn - START)), `round ${round}: bytes differ`);
        await store.close();
      }
      const store = await open(dir);
      assert.ok(store.endLsn > lsn(START + 10_000), 'hardly anything was written');
      await store.close();
    }));
});
