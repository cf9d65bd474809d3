// A disk that fails: nothing is acknowledged that is not on it, nothing that was acknowledged is lost, and when it works again so does the log,
// in the same process or in the next.
import assert from 'node:assert/strict';
import path from 'node:path';
import { isDbError } from '../../../src/engine/errors.js';
import { lsn } from '../../../src/engine/lsn.js';
import { FaultyFs, START, create, logFiles, open, pattern, put, random, withDir } from './helpers.js';

const failed = (err: unknown): boolean => isDbError(err, 'LOG_WRITE_FAILED') && err.reaction === 'retry';

describe('LogStore on a failing disk', () => {
  it('a full disk: the batch is not acknowledged, stays readable, and is written when there is room', () =>
    withDir(async (dir) => {
      const fs = new FaultyFs();
      const store = await create(dir, { fs });
      await put(store, 1000);
      const before = store.durableEnd;
      for (const partialBytes of [0, 1, 100, 1056, 1500]) {
        fs.partialBytes = partialBytes;
        fs.fail = (op) => (op === 'writev' ? 'ENOSPC' : null);
        store.append(store.endLsn, pattern(store.endLsn, 1000));
        await assert.rejects(store.sync(), failed);
        assert.equal(store.durableEnd, before);
        assert.deepEqual(store.read(START, store.endLsn), pattern(START, store.endLsn - START));
        const other = await open(dir);
        assert.ok(other.endLsn >= before, 'a crash now');
        assert.deepEqual(other.damages, []);
        assert.deepEqual(other.read(START, other.endLsn), pattern(START, other.endLsn - START));
        await other.close();
      }
      fs.fail = () => null;
      assert.equal(await store.sync(), START + 6000);
      assert.equal(logFiles(dir).length, 1, 'a full disk needs no new file');
      await store.close();
      const again = await open(dir);
      assert.deepEqual(again.read(START, again.endLsn), pattern(START, 6000));
      await again.close();
    }));

  it('a failed fdatasync: the file is given up and the bytes are written again elsewhere', () =>
    withDir(async (dir) => {
      const fs = new FaultyFs();
      const store = await create(dir, { fs });
      await put(store, 1000);
      fs.fail = (op) => (op === 'datasync' ? 'EIO' : null);
      store.append(store.endLsn, pattern(store.endLsn, 2000));
      const both = await Promise.allSettled([store.sync(), store.sync()]);
      assert.deepEqual(
        both.map((r) => r.status),
        ['rejected', 'rejected'],
      );
      assert.equal(store.durableEnd, START + 1000);
      fs.fail = () => null;
      // The kernel has forgotten the pages: the same file would now sync without error and hold zeros.
      assert.equal(await store.sync(), START + 3000);
      assert.equal(logFiles(dir).length, 2);
      await put(store, 500);
      await store.close();
      const again = await open(dir);
      assert.deepEqual(again.damages, [], "what the given-up file holds beyond its end is nobody's loss");
      assert.deepEqual(again.read(START, again.endLsn), pattern(START, 3500));
      assert.deepEqual((await again.scrub()).found, []);
      await again.close();
    }));

  it('a new file that cannot be begun is tried again', () =>
    withDir(async (dir) => {
      const fs = new FaultyFs();
      const store = await create(dir, { fs, fileBytes: 2000 });
      await put(store, 3000);
      for (const failing of ['open', 'syncDir', 'datasync', 'writev'] as const) {
        let armed = true;
        fs.fail = (op) => (armed && op === failing ? ((armed = false), 'EIO') : null);
        store.append(store.endLsn, pattern(store.endLsn, 3000));
        await assert.rejects(store.sync(), failed, failing);
        await store.sync();
        assert.equal(store.durableEnd, store.endLsn);
      }
      await store.close();
      const again = await open(dir);
      assert.deepEqual(again.damages, []);
      assert.deepEqual(again.read(START, again.endLsn), pattern(START, 15_000));
      await again.close();
    }));

  it('a cut while the disk fails: retried in order, and the old bytes do not come back', () =>
    withDir(async (dir) => {
      const fs = new FaultyFs();
      const store = await create(dir, { fs });
      await put(store, 1000);
      fs.fail = (op) => (op === 'writev' ? 'ENOSPC' : null);
      store.append(store.endLsn, pattern(store.endLsn, 1000, 1));
      await assert.rejects(store.sync(), failed);
      const cutAt = lsn(START + 1300);
      const history = [...store.history, { epoch: 1, startLsn: cutAt }];
      store.setHistory(cutAt, history);
      store.append(cutAt, pattern(cutAt, 400, 2));
      await assert.rejects(store.sync(), failed);
      fs.fail = () => null;
      assert.equal(await store.sync(), cutAt + 400);
      await store.close();
      const again = await open(dir);
      const expected = Buffer.concat([
        pattern(START, 1000),
        pattern(START + 1000, 300, 1),
        pattern(cutAt, 400, 2),
      ]);
      assert.deepEqual(again.history, history);
      assert.deepEqual(again.read(START, again.endLsn), expected);
      await again.close();
    }));

  it('random failures and crashes: acknowledged bytes are always there', async () => {
    for (let seed = 1; seed <= 12; seed++)
      await withDir((dir) => randomFailures(path.join(dir, 'log'), seed));
  }).timeout(60_000);
});

async function randomFailures(dir: string, seed: number): Promise<void> {
  const rnd = random(seed);
  const fs = new FaultyFs();
  let failures = 0;
  let acknowledged = 0;
  let store = await create(dir, { fs, fileBytes: 8000, cacheBytes: 3000 });
  fs.fail = (op) => {
    if (rnd() >= 0.15) return null;
    failures++;
    fs.partialBytes = Math.floor(rnd() * 3000);
    return op === 'writev' && rnd() < 0.6 ? 'ENOSPC' : 'EIO';
  };
  for (let step = 0; step < 80; step++) {
    store.append(store.endLsn, pattern(store.endLsn, 1 + Math.floor(rnd() * 2500)));
    await store.sync().then(
      (end) => (acknowledged = end - START),
      (err: unknown) => assert.ok(failed(err), String(err)),
    );
    if (rnd() < 0.08) {
      const { fail } = fs;
      fs.fail = () => null;
      store = await open(dir, { fs, fileBytes: 8000, cacheBytes: 3000 });
      fs.fail = fail;
    }
    assert.ok(store.endLsn - START >= acknowledged, `seed ${seed} step ${step}: lost`);
    assert.deepEqual(store.damages, [], `seed ${seed} step ${step}`);
    assert.ok(
      store.read(START, store.endLsn).equals(pattern(START, store.endLsn - START)),
      `seed ${seed} step ${step}`,
    );
  }
  assert.ok(failures > 5 && acknowledged > 10_000);
}
