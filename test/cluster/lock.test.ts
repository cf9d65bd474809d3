import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { clusterLayout, type ClusterLayout } from '../../src/cluster/layout.js';
import { whileChanging, whileStarting } from '../../src/cluster/lock.js';
import { isDbError } from '../../src/engine/errors.js';

const PATIENCE_MS = 10_000;

describe('cluster: commands that wait for each other', () => {
  let layout: ClusterLayout;
  /** Lets the holder of the lock go. */
  let letGo: () => void;
  let holder: Promise<string>;
  const log: string[] = [];

  beforeEach(async () => {
    layout = clusterLayout(await fs.mkdtemp(path.join(os.tmpdir(), 'oa-lock-')));
    await fs.mkdir(layout.run, { recursive: true });
    log.length = 0;
    const end = new Promise<void>((resolve) => (letGo = resolve));
    holder = whileStarting(layout, { timeoutMs: 0 }, async () => {
      log.push('first begins');
      await end;
      log.push('first ends');
      return 'first';
    });
  });
  afterEach(async () => {
    letGo();
    await holder;
    await fs.rm(layout.root, { recursive: true });
  });

  it('a second start waits, says so once, and begins when the first has ended', async () => {
    const said: string[] = [];
    const second = whileStarting(
      layout,
      {
        timeoutMs: PATIENCE_MS,
        progress: (line) => {
          said.push(line);
          setTimeout(letGo, 100); // some rounds of waiting later
        },
        hooks: { begun: () => log.push('it is our turn') },
      },
      () => Promise.resolve(log.push('second begins')),
    );
    assert.equal(await holder, 'first');
    await second;
    assert.deepEqual(log, ['first begins', 'first ends', 'it is our turn', 'second begins']);
    assert.deepEqual(said, ['waiting for another command that is starting something of this cluster']);
  });

  it('gives up after its time-out', async () => {
    await assert.rejects(
      whileStarting(layout, { timeoutMs: 60 }, () => Promise.resolve(log.push('second begins'))),
      (err) => isDbError(err, 'CLUSTER_BUSY') && /is being started by another process/.test(String(err)),
    );
    assert.deepEqual(log, ['first begins']);
  });

  it('stops waiting when it is not wanted any more', async () => {
    let rounds = 0;
    const check = (): void => {
      if (++rounds === 3) throw new Error('not wanted');
    };
    const begun = (): void => assert.fail('it was never its turn');
    const second = whileStarting(layout, { timeoutMs: PATIENCE_MS, hooks: { check, begun } }, () =>
      Promise.resolve(log.push('second begins')),
    );
    await assert.rejects(second, /not wanted/);
    assert.deepEqual(log, ['first begins']);
  });

  it('a change of members waits for no start, and not for another change either', async () => {
    await whileChanging(layout, async () => {
      await assert.rejects(
        whileChanging(layout, () => Promise.resolve()),
        (err) => isDbError(err, 'CLUSTER_BUSY'),
      );
    });
  });
});
