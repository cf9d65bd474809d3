/** Stores of other releases: one that knew no runs (a frozen fixture of its rows) answers as one written now; one of a later format is refused. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Ingester } from '../../../src/engine/pages/ingest.js';
import { FORMAT_KEY, KeySpace, Kind, versionKind } from '../../../src/engine/pages/keys.js';
import { Rocks } from '../../../src/engine/pages/rocks.js';
import type { PageStore } from '../../../src/engine/pages/store.js';
import { Vacuum } from '../../../src/engine/pages/vacuum.js';
import { writeFormatHistory } from './format-history.js';
import { StoreFolder } from './recorded-log.js';
import { difference, stateOf, type Questions } from './volume-state.js';
import { importNothing, rel, WrittenLog } from './written-log.js';

const QUESTIONS: Questions = {
  forks: [rel, { ...rel, relNumber: rel.relNumber + 1 }].flatMap((r) => [
    { ...r, fork: 0, blocks: 3 },
    { ...r, fork: 2, blocks: 1 },
  ]),
  slru: [{ slru: 'xact', pageno: 62 }],
};

describe('format of the page store', () => {
  let folder: StoreFolder;
  before(async () => {
    folder = await StoreFolder.create();
  });
  after(() => folder.destroy());

  async function write(name: string, rows: [Buffer, Buffer][]): Promise<void> {
    const sizes = { blockCacheBytes: 1 << 20, memtableBytes: 4 << 20 };
    const db = await Rocks.open(path.join(folder.root, name), sizes);
    const batch = db.batch();
    for (const [key, value] of rows) batch.put(key, value);
    batch.write(true);
    await db.close();
  }

  function kindsIn(store: PageStore): Set<number> {
    const keys = store.parts.db.keys(Buffer.from([KeySpace.page]), Buffer.from([KeySpace.fork]), 1e9);
    return new Set(keys.map(versionKind));
  }

  it('format 1, which had no runs, is read and goes on as format 2', async () => {
    const file = path.join(import.meta.dirname, 'fixtures/pages-format-1.json');
    const rows = (JSON.parse(readFileSync(file, 'utf8')) as [string, string][]).map(
      ([key, value]): [Buffer, Buffer] => [Buffer.from(key, 'hex'), Buffer.from(value, 'base64')],
    );
    const format = rows.find(([key]) => key.equals(FORMAT_KEY));
    assert.equal(format?.[1].toString(), 'aurora pages 1');
    await write('old', rows);
    const old = await folder.store('old', { coalesce: { kind: 'lazy' } });
    assert.equal(old.parts.db.get(FORMAT_KEY)?.toString(), 'aurora pages 2');
    assert.ok(!kindsIn(old).has(Kind.run));

    const now = await folder.store('now', { coalesce: { kind: 'lazy' } });
    importNothing(now);
    const log = new WrittenLog(new Ingester(now, { secret: null }));
    const ends = writeFormatHistory(log);
    assert.ok(kindsIn(now).has(Kind.run));
    assert.equal(old.appliedLsn, now.appliedLsn);
    // Control states are kept at the ends of batches only: not all LSNs have one of their own, but these stores have the same.
    for (const at of ends)
      assert.equal(difference(stateOf(now, at, QUESTIONS), stateOf(old, at, QUESTIONS)), null);

    for (const offset of [11, 12]) log.insert(rel, 0, offset, `new ${offset}`);
    log.flush();
    new Ingester(old, { secret: null }).ingestBatch(log.records);
    assert.ok(kindsIn(old).has(Kind.run));
    const vacuum = new Vacuum(old);
    vacuum.begin(ends.at(-3)!);
    while (!vacuum.slice(() => true));
    for (const at of [ends.at(-3)!, ends.at(-1)!, now.appliedLsn])
      assert.equal(difference(stateOf(now, at, QUESTIONS), stateOf(old, at, QUESTIONS)), null);
    await folder.close(old);
    await folder.close(now);
  });

  it('a later format is refused, by name and with what to do', async () => {
    await write('later', [[FORMAT_KEY, Buffer.from('aurora pages 3')]]);
    await assert.rejects(folder.store('later'), (err: Error & { code?: string; hint?: string }) => {
      assert.equal(err.code, 'PAGE_FORMAT');
      assert.match(err.message, /aurora pages 3/);
      assert.match(err.hint ?? '', /aurora pages 2/);
      return true;
    });
  });
});
