// What a crash tears off the end of the log is told apart from what rots: the first is cut off silently, the second is reported with
// file, LSN and offset, never served, keeps the node from voting, and can be healed with the very bytes that were lost.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { isDbError } from '../../../src/engine/errors.js';
import { FRAME_HEADER, FRAME_OVERHEAD, FRAME_TRAILER, HEADER_AREA } from '../../../src/engine/log/format.js';
import type { LogStore } from '../../../src/engine/log/store.js';
import { lsn } from '../../../src/engine/lsn.js';
import type { Lsn } from '../../../src/engine/lsn.js';
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
  tempDir,
  unsyncedFs,
} from './helpers.js';

/** Three frames of these sizes in one file; the history pair of the file's beginning comes first. */
const SIZES = [700, 900, 800];
const HISTORY_FRAME = FRAME_OVERHEAD + 12 + 16;

interface Frame {
  readonly offset: number;
  readonly end: number;
  readonly begin: Lsn;
  readonly length: number;
}

describe('LogStore damage', function () {
  this.timeout(60_000);
  const { dir: root, remove } = tempDir();
  const good = path.join(root, 'good');
  const work = path.join(root, 'work');
  const frames: Frame[] = [];

  before(async () => {
    const store = await create(good);
    let offset = fs.statSync(logFiles(good)[0]!).size;
    for (const length of SIZES) {
      const begin = store.endLsn;
      await put(store, length);
      frames.push({ offset, end: offset + length + FRAME_OVERHEAD, begin, length });
      offset += length + FRAME_OVERHEAD;
    }
    await store.close();
    assert.equal(fs.statSync(logFiles(good)[0]!).size, offset, 'the layout that these tests assume');
  });
  after(remove);

  const file = (): string => logFiles(work)[0]!;
  const fresh = (): void => void copyLog(good, work);
  const check = async (body: (store: LogStore) => Promise<void> | void): Promise<void> => {
    const store = await open(work, { fs: unsyncedFs });
    try {
      await body(store);
    } finally {
      await store.close();
    }
  };

  it('cuts off a torn tail, wherever in the last frame the write stopped', async () => {
    const last = frames[2]!;
    for (let size = last.offset; size < last.end; size++) {
      fresh();
      fs.truncateSync(file(), size);
      await check((store) => {
        // The payload may be there whole though the trailer is not: then it counts, as an unacknowledged write may.
        const complete = size >= last.end - FRAME_TRAILER;
        const end = complete ? last.begin + last.length : last.begin;
        assert.equal(store.endLsn, end, `cut at ${size}`);
        assert.deepEqual(store.damages, [], `cut at ${size}`);
        assert.deepEqual(store.read(START, store.endLsn), pattern(START, end - START));
      });
    }
  });

  it('takes zeros from a sector boundary on for a torn tail too, and goes on writing after it', async () => {
    const last = frames[2]!;
    for (
      let boundary = Math.ceil(last.offset / 512) * 512;
      boundary < last.end - FRAME_TRAILER;
      boundary += 512
    ) {
      fresh();
      fs.truncateSync(file(), boundary);
      fs.truncateSync(file(), last.end + 3000);
      await check(async (store) => {
        assert.equal(store.endLsn, last.begin, `zeros from ${boundary}`);
        assert.deepEqual(store.damages, []);
        assert.equal(store.report.tornTail?.offset, last.offset);
        await put(store, 333);
      });
      await check((store) => {
        assert.deepEqual(store.damages, []);
        assert.deepEqual(store.read(START, store.endLsn), pattern(START, last.begin - START + 333));
      });
    }
  });

  it('finds a flipped bit at every offset of every frame, serves the rest, and heals', async () => {
    for (const [i, frame] of frames.entries()) {
      const step = i === 2 ? 7 : 61;
      for (let offset = frame.offset; offset < frame.end - FRAME_TRAILER; offset += step) {
        fresh();
        flipBit(file(), offset, offset % 8);
        const what = `frame ${i}, offset ${offset - frame.offset}`;
        await check(async (store) => {
          const end = lsn(frame.begin + frame.length);
          assert.equal(store.endLsn, frames[2]!.begin + SIZES[2]!, what);
          assert.equal(store.damages.length, 1, what);
          const [damage] = store.damages;
          assert.deepEqual(
            [damage!.begin, damage!.end, damage!.offset, damage!.file],
            [frame.begin, end, frame.offset, file()],
            what,
          );
          assert.ok(store.logState.damaged);
          assert.throws(
            () => store.read(START, store.endLsn),
            (err) =>
              isDbError(err, 'LOG_DAMAGED') &&
              err.message.includes(file()) &&
              /\[3\/1[0-9A-F]+, /.test(err.message),
            what,
          );
          for (const other of frames)
            if (other !== frame) {
              const got = store.read(other.begin, lsn(other.begin + other.length));
              assert.deepEqual(got, pattern(other.begin, other.length), what);
            }
          const wrong = pattern(frame.begin, frame.length, 1);
          assert.notEqual(damage!.payloadCrc, null, `${what}: header and trailer back each other up`);
          await assert.rejects(store.heal(frame.begin, wrong), (err) => isDbError(err, 'LOG_HEAL_MISMATCH'));
          await assert.rejects(store.heal(frame.begin, wrong.subarray(1)), (err) =>
            isDbError(err, 'LOG_HEAL_PARTIAL'),
          );
          await store.heal(frame.begin, pattern(frame.begin, frame.length));
          assert.deepEqual(store.read(START, store.endLsn), pattern(START, store.endLsn - START), what);
        });
        if (offset % 5 !== 0) continue;
        await check(async (store) => {
          assert.deepEqual(store.damages, [], `${what}: healed for good`);
          assert.deepEqual(store.read(START, store.endLsn), pattern(START, store.endLsn - START), what);
          assert.deepEqual((await store.scrub()).found, []);
        });
      }
    }
  });

  it('survives a flipped bit anywhere in the file header, the first history and a trailer', async () => {
    const trailers = frames.map((f) => f.end - FRAME_TRAILER);
    const history = [0, 9, 40, HISTORY_FRAME + 5, HISTORY_FRAME + FRAME_HEADER + 3].map(
      (n) => HEADER_AREA + n,
    );
    for (const offset of [
      0,
      9,
      13,
      17,
      30,
      70,
      300,
      600,
      1023,
      ...history,
      ...trailers,
      ...trailers.map((t) => t + 20),
    ]) {
      fresh();
      flipBit(file(), offset);
      await check((store) => {
        assert.deepEqual(store.damages, [], `offset ${offset}`);
        assert.deepEqual(store.history, IMPORT, `offset ${offset}`);
        assert.deepEqual(
          store.read(START, store.endLsn),
          pattern(
            START,
            SIZES.reduce((a, b) => a + b),
          ),
          `offset ${offset}`,
        );
      });
    }
  });

  it('reports several lost frames as one range, healed in pieces', async () => {
    fresh();
    const fd = fs.openSync(file(), 'r+');
    const [a, b] = [frames[0]!, frames[1]!];
    fs.writeSync(fd, Buffer.alloc(b.end - FRAME_TRAILER - a.offset, 0xee), 0, undefined, a.offset);
    fs.closeSync(fd);
    await check(async (store) => {
      assert.deepEqual(
        store.damages.map((d) => [d.begin, d.end, d.payloadCrc]),
        [[a.begin, frames[2]!.begin, null]],
      );
      const third = lsn(a.begin + 500);
      await store.heal(a.begin, pattern(a.begin, 500));
      assert.deepEqual(
        store.damages.map((d) => [d.begin, d.end]),
        [[third, frames[2]!.begin]],
      );
      assert.deepEqual(store.read(a.begin, third), pattern(a.begin, 500));
      await store.heal(a.begin, pattern(a.begin, 4000));
      assert.deepEqual(store.read(START, store.endLsn), pattern(START, store.endLsn - START));
    });
    await check((store) => {
      assert.deepEqual(store.damages, []);
      assert.deepEqual(store.read(START, store.endLsn), pattern(START, store.endLsn - START));
    });
  });

  it('takes zeros in the middle, or garbage at the end, for damage: they were whole once', async () => {
    fresh();
    const fd = fs.openSync(file(), 'r+');
    fs.writeSync(fd, Buffer.alloc(512), 0, 512, Math.ceil(frames[1]!.offset / 512) * 512);
    fs.closeSync(fd);
    await check((store) =>
      assert.deepEqual(
        store.damages.map((d) => d.begin),
        [frames[1]!.begin],
      ),
    );
    fresh();
    fs.appendFileSync(file(), Buffer.alloc(100, 0x5a));
    await check((store) => {
      assert.ok(store.logState.damaged, 'who knows what stood there');
      assert.deepEqual(store.read(START, store.endLsn), pattern(START, store.endLsn - START));
    });
  });

  it('finds rot while running: by scrub, and by a read from disk', async () => {
    for (const way of ['scrub', 'read', 'readAsync'] as const) {
      fresh();
      const told: Lsn[] = [];
      const store = await open(work, { onDamage: (d) => told.push(d.begin) });
      flipBit(file(), frames[1]!.offset + FRAME_HEADER + 450);
      if (way === 'scrub') assert.equal((await store.scrub()).found.length, 1);
      else if (way === 'read')
        assert.throws(
          () => store.read(START, store.endLsn),
          (e) => isDbError(e, 'LOG_DAMAGED'),
        );
      else await assert.rejects(store.readAsync(START, store.endLsn), (e) => isDbError(e, 'LOG_DAMAGED'));
      assert.deepEqual(told, [frames[1]!.begin], way);
      assert.deepEqual((await store.scrub()).found, [], 'told once');
      await store.heal(frames[1]!.begin, pattern(frames[1]!.begin, SIZES[1]!));
      assert.deepEqual(store.read(START, store.endLsn), pattern(START, store.endLsn - START));
      assert.deepEqual((await store.scrub()).found, [], 'the old frame is not in use any more');
      await store.close();
    }
  });

  it('reports a missing file as the range that it held, and forgets damage that a cut removes', async () => {
    const many = path.join(root, 'many');
    const store = await create(many, { fileBytes: 3000 });
    const starts: Lsn[] = [];
    for (let i = 0; i < 12; i++) {
      starts.push(store.endLsn);
      await put(store, 1000);
    }
    await store.close();
    const before = logFiles(many).length;
    fs.rmSync(logFiles(many)[1]!);
    const damaged = await open(many);
    assert.ok(before >= 4);
    assert.equal(damaged.damages.length, 1);
    const { begin, end } = damaged.damages[0]!;
    assert.ok(starts.includes(begin) && end - begin >= 1000);
    assert.throws(
      () => damaged.read(begin, end),
      (e) => isDbError(e, 'LOG_DAMAGED'),
    );
    damaged.setHistory(begin, [...IMPORT, { epoch: 1, startLsn: begin }]);
    await damaged.sync();
    assert.deepEqual(damaged.damages, []);
    await damaged.close();
    fs.rmSync(many, { recursive: true });
  });
});
