// The log store as a log: what was synced is read back byte for byte, through cuts, restarts and many files. The model is a plain Buffer.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { LogStore } from '../../../src/engine/log/store.js';
import { nodeFs } from '../../../src/engine/log/fs.js';
import { isDbError } from '../../../src/engine/errors.js';
import { lsn } from '../../../src/engine/lsn.js';
import type { EpochHistory } from '../../../src/engine/quorum/types.js';
import {
  IMPORT,
  OWNER,
  START,
  create,
  logFiles,
  open,
  pattern,
  put,
  random,
  unsyncedFs,
  withDir,
} from './helpers.js';

const code = (expected: string) => (err: unknown) => isDbError(err, expected);

describe('LogStore', () => {
  it('gives back what was synced, from memory and after a restart from disk', () =>
    withDir(async (dir) => {
      const store = await create(dir);
      for (const size of [1, 100, 4095, 4096, 300_000, 7]) await put(store, size);
      const { endLsn } = store;
      const expected = pattern(START, endLsn - START);
      assert.deepEqual(store.read(START, endLsn), expected);
      assert.equal(store.durableEnd, endLsn);
      await store.close();
      const again = await open(dir);
      assert.equal(again.startLsn, START);
      assert.equal(again.durableEnd, endLsn);
      assert.equal(again.cachedFrom, endLsn, 'nothing is in memory after open');
      assert.deepEqual(again.history, IMPORT);
      assert.deepEqual(again.read(START, endLsn), expected);
      assert.deepEqual(
        await again.readAsync(lsn(START + 99), lsn(START + 5000)),
        expected.subarray(99, 5000),
      );
      assert.deepEqual(again.damages, []);
      await again.close();
    }));

  it('refuses what does not join, what is not there and what is not its own', () =>
    withDir(async (dir) => {
      const store = await create(dir);
      await put(store, 10);
      assert.throws(() => store.append(START, Buffer.alloc(1)), code('LOG_NOT_CONTIGUOUS'));
      assert.throws(() => store.setHistory(lsn(store.endLsn + 1), IMPORT), code('LOG_NOT_CONTIGUOUS'));
      assert.throws(() => store.read(lsn(START - 1), store.endLsn), code('LOG_OUT_OF_RANGE'));
      assert.throws(() => store.read(START, lsn(store.endLsn + 1)), code('LOG_OUT_OF_RANGE'));
      await store.close();
      await assert.rejects(create(dir), code('LOG_EXISTS'));
      await assert.rejects(LogStore.open(dir, { ...OWNER, nodeId: 'node-2' }), code('LOG_WRONG_OWNER'));
      await assert.rejects(LogStore.open(`${dir}/none`, OWNER), code('LOG_MISSING'));
    }));

  it('cuts in memory at once, on disk only with the sync: a crash in between leaves the old log', () =>
    withDir(async (dir) => {
      const store = await create(dir);
      await put(store, 1000);
      const cutAt = lsn(START + 400);
      const history: EpochHistory = [...IMPORT, { epoch: 5, startLsn: cutAt }];
      store.setHistory(cutAt, history);
      store.append(cutAt, pattern(cutAt, 50, 1));
      assert.equal(store.durableEnd, cutAt);
      assert.deepEqual(store.durableHistory, IMPORT);
      assert.deepEqual(store.read(cutAt, store.endLsn), pattern(cutAt, 50, 1));
      const crashed = await open(dir);
      assert.equal(crashed.durableEnd, START + 1000);
      assert.deepEqual(crashed.history, IMPORT);
      await crashed.close();
      assert.equal(await store.sync(), cutAt + 50);
      assert.deepEqual(store.durableHistory, history);
      await store.close();
      const after = await open(dir);
      assert.deepEqual(after.history, history);
      assert.equal(after.endLsn, cutAt + 50);
      assert.deepEqual(after.read(START, cutAt), pattern(START, 400));
      assert.deepEqual(after.read(cutAt, after.endLsn), pattern(cutAt, 50, 1));
      await after.close();
    }));

  it('does not count bytes as durable that a cut removed while they were being synced', () =>
    withDir(async (dir) => {
      const store = await create(dir);
      await put(store, 100);
      store.append(store.endLsn, pattern(store.endLsn, 100, 1));
      const running = store.sync();
      const cutAt = lsn(START + 150);
      store.setHistory(cutAt, [...IMPORT, { epoch: 2, startLsn: cutAt }]);
      store.append(cutAt, pattern(cutAt, 500, 2));
      assert.equal(await running, cutAt, 'the old bytes beyond the cut do not vouch for the new ones');
      assert.equal(await store.sync(), cutAt + 500);
      await store.close();
      const again = await open(dir);
      assert.deepEqual(again.read(cutAt, again.endLsn), pattern(cutAt, 500, 2));
      await again.close();
    }));

  it('lets an empty log begin elsewhere, as a node that lost its log needs it', () =>
    withDir(async (dir) => {
      const store = await LogStore.create(dir, { ...OWNER, fileBytes: 2000 }, lsn(0), []);
      assert.throws(() => store.append(START, Buffer.alloc(1)), code('LOG_NOT_CONTIGUOUS'));
      store.setHistory(START, IMPORT);
      assert.equal(await store.sync(), START);
      for (let i = 0; i < 5; i++) await put(store, 1500);
      assert.throws(() => store.setHistory(lsn(store.endLsn + 1), IMPORT), code('LOG_NOT_CONTIGUOUS'));
      await store.close();
      const again = await open(dir);
      assert.deepEqual([again.startLsn, again.endLsn, again.damages], [START, START + 7500, []]);
      assert.deepEqual(again.read(START, again.endLsn), pattern(START, 7500));
      assert.throws(() => again.read(lsn(0), again.endLsn), code('LOG_OUT_OF_RANGE'));
      await again.close();
    }));

  it('shares one sync among all callers that wait', () =>
    withDir(async (dir) => {
      const store = await create(dir);
      let syncs = 0;
      await store.close();
      const counting = await LogStore.open(dir, {
        ...OWNER,
        fs: { ...nodeFs, datasync: (fd) => (syncs++, nodeFs.datasync(fd)) },
      });
      await put(counting, 1); // begins the file
      syncs = 0;
      const waits: Promise<number>[] = [];
      for (let i = 0; i < 200; i++) waits.push(put(counting, 50));
      const ends = await Promise.all(waits);
      assert.equal(Math.max(...ends), counting.endLsn);
      ends.forEach((end, i) => assert.ok(end >= START + 1 + 50 * (i + 1)));
      assert.ok(syncs <= 2, `${syncs} syncs for 200 appends in one turn`);
      await counting.close();
    }));

  it('holds memory within its limit and serves the rest from disk', () =>
    withDir(async (dir) => {
      const store = await create(dir, { cacheBytes: 64 * 1024, fileBytes: 512 * 1024 });
      for (let i = 0; i < 40; i++) await put(store, 50_000);
      assert.ok(store.endLsn - store.cachedFrom <= 64 * 1024, 'cache beyond its limit');
      assert.ok(logFiles(dir).length >= 4, 'one file only');
      assert.deepEqual(store.read(START, store.endLsn), pattern(START, store.endLsn - START));
      await store.close();
    }));

  it('behaves as its model under random appends, cuts, syncs, reads and crashes', async () => {
    for (let seed = 1; seed <= 25; seed++) await withDir((dir) => randomRun(dir, seed));
  }).timeout(60_000);
});

async function randomRun(dir: string, seed: number): Promise<void> {
  const rnd = random(seed);
  const below = (n: number): number => Math.floor(rnd() * n);
  const options = { fileBytes: 20_000 + below(60_000), cacheBytes: below(40_000), fs: unsyncedFs };
  let store = await create(dir, options);
  let now = { bytes: Buffer.alloc(0), history: IMPORT as EpochHistory };
  let durable = now;
  for (let step = 0; step < 120; step++) {
    const what = below(10);
    if (what < 4) {
      const bytes = pattern(below(1e6), 1 + below(rnd() < 0.1 ? 30_000 : 900));
      store.append(store.endLsn, bytes);
      now = { ...now, bytes: Buffer.concat([now.bytes, bytes]) };
    } else if (what === 4 && now.bytes.length > 0) {
      const keep = Math.max(0, now.bytes.length - below(3000));
      const epoch = (now.history.at(-1)?.epoch ?? 0) + 1;
      const history = [
        ...now.history.filter((e) => e.startLsn <= START + keep),
        { epoch, startLsn: lsn(START + keep) },
      ];
      store.setHistory(lsn(START + keep), history);
      now = { bytes: now.bytes.subarray(0, keep), history };
    } else if (what < 7) {
      await store.sync();
      durable = now;
    } else if (what === 7) {
      // A crash: the store is left as it is, its memory is gone.
      store = await open(dir, options);
      now = durable;
      assert.deepEqual(store.history, durable.history, `seed ${seed} step ${step}: history`);
    } else {
      const begin = below(now.bytes.length + 1);
      const end = begin + below(now.bytes.length - begin + 1);
      const got =
        rnd() < 0.5
          ? store.read(lsn(START + begin), lsn(START + end))
          : await store.readAsync(lsn(START + begin), lsn(START + end));
      assert.ok(got.equals(now.bytes.subarray(begin, end)), `seed ${seed} step ${step}: bytes differ`);
    }
    assert.equal(store.endLsn, START + now.bytes.length, `seed ${seed} step ${step}: end`);
    assert.ok(store.durableEnd <= store.endLsn);
  }
  await store.close();
  const last = await open(dir, options);
  assert.ok(last.read(START, last.endLsn).equals(now.bytes), `seed ${seed}: at the end`);
  assert.deepEqual((await last.scrub()).found, []);
  await last.close();
  assert.ok(fs.readdirSync(dir).every((name) => /^\d{8}\.log$/.test(name)));
}
