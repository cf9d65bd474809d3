// Run by drop.test.ts: appends to a log in many small files, cuts it now and then, and drops old log as it goes. Killed from outside. Every line is
// "end dropped": the log reaches `end`, and has been asked to give up what is before `dropped`.
import fs from 'node:fs';
import { lsn } from '../../../src/engine/lsn.js';
import { START, create, open, pattern } from './helpers.js';

const [dir, mode] = process.argv.slice(2) as [string, string];
const options = { fileBytes: 20_000, cacheBytes: 10_000 };
const store = mode === 'create' ? await create(dir, options) : await open(dir, options);

let dropped = 0;
for (let i = 1; ; i++) {
  if (i % 7 === 0 && store.endLsn - store.startLsn > 60_000) {
    const cutAt = lsn(store.endLsn - 777);
    const epoch = store.history.at(-1)!.epoch + 1;
    store.setHistory(cutAt, [
      ...store.history.filter((e) => e.startLsn <= cutAt),
      { epoch, startLsn: cutAt },
    ]);
  }
  for (let n = 0; n < 5; n++)
    store.append(store.endLsn, pattern(store.endLsn, 1 + ((i * 131 + n * 977) % 3000)));
  await store.sync();
  // Never what a cut may still take: a node drops only what is long committed.
  const at = Math.max(START, store.durableEnd - 50_000);
  const drop = i % 3 === 0 ? store.dropBefore(lsn(at)) : null;
  if (drop) dropped = at;
  fs.writeSync(1, `${store.durableEnd} ${dropped}\n`);
  await drop;
}
