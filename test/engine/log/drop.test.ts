// Giving up old log: whole files go, what is to be kept stays byte for byte, through cuts, restarts, damage, failing disks and kill -9.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { isDbError } from '../../../src/engine/errors.js';
import { nodeFs, type LogFs } from '../../../src/engine/log/index.js';
import { ReadOnlyLog } from '../../../src/engine/log/read-only.js';
import { lsn } from '../../../src/engine/lsn.js';
import { LOADER } from '../../helpers/loader.js';
import {
  IMPORT,
  START,
  copyLog,
  create,
  flipBit,
  logFiles,
  open,
  pattern,
  put,
  random,
  tempDir,
  unsyncedFs,
  withDir,
} from './helpers.js';

const CHILD = fileURLToPath(new URL('./drop-child.ts', import.meta.url));
const SMALL = { fileBytes: 10_000, cacheBytes: 5_000, fs: unsyncedFs };
const code = (expected: string) => (err: unknown) => isDbError(err, expected);

describe('LogStore.dropBefore', function () {
  this.timeout(60_000);

  it('keeps everything from the LSN on, and removes whole files before it', () =>
    withDir(async (dir) => {
      const store = await create(dir, SMALL);
      for (let i = 0; i < 60; i++) await put(store, 1500);
      const { endLsn } = store;
      const files = logFiles(dir).length;
      assert.equal(await store.dropBefore(START), 0);
      assert.equal(logFiles(dir).length, files, 'nothing lies before the beginning');
      const at = lsn(START + 50_000);
      const gone = await store.dropBefore(at);
      assert.equal(store.startLsn, START + gone);
      assert.ok(store.startLsn <= at && store.startLsn > at - 13_000, `begins at ${store.startLsn - START}`);
      assert.ok(logFiles(dir).length < files);
      assert.deepEqual(store.read(at, endLsn), pattern(at, endLsn - at));
      assert.throws(() => store.read(START, endLsn), code('LOG_OUT_OF_RANGE'));
      await assert.rejects(store.readAsync(START, endLsn), code('LOG_OUT_OF_RANGE'));
      await assert.rejects(store.dropBefore(lsn(endLsn + 1)), code('LOG_NOT_CONTIGUOUS'));
      await store.dropBefore(endLsn);
      assert.ok(logFiles(dir).length === 1, 'the newest file stays');
      await put(store, 1500);
      await store.close();
      const again = await open(dir, SMALL);
      assert.equal(again.startLsn, store.startLsn);
      assert.deepEqual(again.history, IMPORT);
      assert.deepEqual(
        again.read(again.startLsn, again.endLsn),
        pattern(again.startLsn, again.endLsn - again.startLsn),
      );
      await again.close();
      const tool = await ReadOnlyLog.open(dir);
      assert.equal(tool.startLsn, again.startLsn);
      tool.close();
    }));

  it('holds for random logs with cuts, restarts and drops', () =>
    withDir(async (dir) => {
      const seed = Number(process.env['SEED'] ?? Date.now() % 100_000);
      const rnd = random(seed);
      let store = await create(dir, SMALL);
      let model = Buffer.alloc(0); // from START on
      let kept = START;
      let moved = 0;
      for (let step = 0; step < 400; step++) {
        const dice = rnd();
        if (dice < 0.6) {
          const bytes = pattern(store.endLsn, 1 + Math.floor(rnd() * 4000), step);
          store.append(store.endLsn, bytes);
          model = Buffer.concat([model, bytes]);
          if (rnd() < 0.7) await store.sync();
        } else if (dice < 0.75) {
          const cutAt = lsn(kept + Math.floor((store.endLsn - kept) * (0.7 + 0.3 * rnd())));
          const epoch = store.history.at(-1)!.epoch + 1;
          store.setHistory(cutAt, [
            ...store.history.filter((e) => e.startLsn <= cutAt),
            { epoch, startLsn: cutAt },
          ]);
          model = model.subarray(0, cutAt - START);
          await store.sync();
        } else if (dice < 0.85) {
          kept = lsn(kept + Math.floor((store.durableEnd - kept) * rnd() * 0.5));
          moved += await store.dropBefore(kept);
        } else if (dice < 0.95) {
          await store.sync();
          const { history } = store;
          await store.close();
          store = await open(dir, SMALL);
          assert.deepEqual(store.history, history);
        }
        const where = `SEED=${seed}, step ${step}`;
        assert.deepEqual(store.damages, [], where);
        assert.equal(store.endLsn, START + model.length, where);
        assert.ok(store.startLsn <= kept, where);
        assert.ok(store.read(kept, store.endLsn).equals(model.subarray(kept - START)), where);
      }
      assert.ok(moved > 50_000, `only ${moved} bytes were dropped (SEED=${seed})`);
      await store.close();
    }));

  it('is complete up to some file when it fails or dies in between, and ends with a later call', () =>
    withDir(async (dir) => {
      let room = 2;
      const failing: LogFs = {
        ...unsyncedFs,
        unlink: (file) => (room-- > 0 ? nodeFs.unlink(file) : Promise.reject(new Error('EIO: injected'))),
      };
      const store = await create(dir, { ...SMALL, fs: failing });
      for (let i = 0; i < 60; i++) await put(store, 1500);
      const at = lsn(START + 80_000);
      await assert.rejects(store.dropBefore(at), code('LOG_DROP_FAILED'));
      const { dir: copy, remove } = tempDir();
      copyLog(dir, copy);
      const survivor = await open(copy);
      assert.ok(survivor.startLsn > START && survivor.startLsn < store.startLsn);
      assert.deepEqual(survivor.damages, []);
      assert.deepEqual(survivor.read(at, survivor.endLsn), pattern(at, survivor.endLsn - at));
      await survivor.close();
      remove();
      room = 100;
      await store.dropBefore(at);
      await store.close();
      const again = await open(dir);
      assert.equal(again.startLsn, store.startLsn);
      await again.close();
    }));

  it('takes damage along that lies in what goes', () =>
    withDir(async (dir) => {
      const store = await create(dir, SMALL);
      for (let i = 0; i < 60; i++) await put(store, 1500);
      await store.close();
      flipBit(logFiles(dir)[2]!, 4000);
      const damaged = await open(dir, SMALL);
      assert.equal(damaged.damages.length, 1);
      await damaged.dropBefore(damaged.damages[0]!.begin);
      assert.equal(damaged.damages.length, 1, 'not while it is kept');
      await damaged.dropBefore(lsn(START + 60_000));
      assert.deepEqual(damaged.damages, []);
      await damaged.close();
    }));

  it('loses nothing that is kept to kill -9', () =>
    withDir(async (dir) => {
      const rnd = random(Date.now());
      let drops = 0;
      for (let round = 0; round < 4; round++) {
        const child = spawn(process.execPath, [...LOADER, CHILD, dir, round === 0 ? 'create' : 'open'], {
          stdio: ['ignore', 'pipe', 'pipe'],
        });
        let out = '';
        let err = '';
        child.stdout.setEncoding('utf8').on('data', (text: string) => {
          if (out === '') setTimeout(() => child.kill('SIGKILL'), 100 + rnd() * 300);
          out += text;
        });
        child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
        const [, signal] = (await once(child, 'close')) as [number | null, string | null];
        assert.equal(signal, 'SIGKILL', `the child ended by itself: ${err}`);
        const lines = out.slice(0, out.lastIndexOf('\n')).split('\n');
        const [end, dropped] = lines.at(-1)!.split(' ').map(Number) as [number, number];
        const store = await open(dir);
        assert.deepEqual(store.damages, [], `round ${round}`);
        assert.ok(store.durableEnd >= end - 777, `round ${round}: acknowledged ${end}`);
        assert.ok(store.startLsn <= Math.max(START, dropped + 40_000), `round ${round}: dropped ${dropped}`);
        const { startLsn, endLsn } = store;
        assert.ok(
          store.read(startLsn, endLsn).equals(pattern(startLsn, endLsn - startLsn)),
          `round ${round}`,
        );
        if (startLsn > START) drops++;
        await store.close();
      }
      assert.ok(drops > 0, 'nothing was ever dropped');
      const files = fs.readdirSync(dir).length;
      assert.ok(files < 20, `${files} files are left`);
    }));
});
