// Run by crash.test.ts: appends to a log as fast as it can, many appends per sync, a cut now and then, and prints what is durable only after it is. Killed from
// outside. Every line is "end cutAt epoch": the log reaches `end`, its last history entry is epoch@cutAt.
import fs from 'node:fs';
import { lsn } from '../../../src/engine/lsn.js';
import { START, create, open, pattern } from './helpers.js';

const [dir, mode] = process.argv.slice(2) as [string, string];
const options = { fileBytes: 200_000 };
const store = mode === 'create' ? await create(dir, options) : await open(dir, options);

for (let i = 1; ; i++) {
  const waits: Promise<unknown>[] = [];
  if (i % 40 === 0) {
    const cutAt = lsn(Math.max(START, store.endLsn - 777));
    const epoch = store.history.at(-1)!.epoch + 1;
    store.setHistory(cutAt, [
      ...store.history.filter((e) => e.startLsn <= cutAt),
      { epoch, startLsn: cutAt },
    ]);
  }
  for (let n = 0; n < 5; n++) {
    store.append(store.endLsn, pattern(store.endLsn, 1 + ((i * 131 + n * 977) % 3000)));
    waits.push(store.sync());
  }
  await Promise.all(waits);
  const last = store.durableHistory.at(-1)!;
  fs.writeSync(1, `${store.durableEnd} ${last.startLsn} ${last.epoch}\n`);
}
