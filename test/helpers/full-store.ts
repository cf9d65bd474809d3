/**
 * A process with a page store on a disk that fills up: writes until it is refused, waits for a line on its standard input, opens the store anew, and checks
 * that all which was accepted is there. One argument: the folder. Says "full", then "whole" and what it saw.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { isDbError } from '../../src/engine/errors.js';
import { Rocks } from '../../src/engine/pages/rocks.js';

const VALUE = Buffer.alloc(8000, 7);
const faults: string[] = [];

const db = await Rocks.open(
  process.argv[2]!,
  { blockCacheBytes: 1 << 20, memtableBytes: 1 << 20 },
  (fault, err) => faults.push(`${fault} ${err.code}`),
);
const batch = db.batch();
const key = (n: number): Buffer => Buffer.from(`k${String(n).padStart(9, '0')}`);

let accepted = 0;
const write = (): void => {
  batch.put(key(accepted), VALUE);
  batch.write(false);
  accepted++;
};
for (let i = 0; i < 200; i++) write();
console.log('ready');
await once(process.stdin, 'data');
assert.throws(
  () => {
    for (;;) write();
  },
  (err) => isDbError(err, 'NODE_DISK_FULL') && /No space left/.test(err.message),
);
// RocksDB goes on reading, and refuses to write.
assert.equal(db.get(key(100))!.length, VALUE.length);
assert.throws(write, (err) => isDbError(err, 'NODE_DISK_FULL'));
console.log('full');
await once(process.stdin, 'data');
const opening = db.openAnew(null);
assert.throws(() => db.get(key(1)), (err) => isDbError(err, 'NODE_STORE_BUSY')); // prettier-ignore
await opening;
assert.equal(batch.length, 0, 'what was refused is still in the batch');
const refusedAt = accepted;
for (let i = 0; i < 200; i++) write();
for (let n = 0; n < accepted; n++) assert.ok(db.get(key(n)), `key ${n} of ${refusedAt} is gone`);
await db.close();
console.log(`whole ${refusedAt} ${[...new Set(faults)].join(', ')}`);
process.exit(0);
