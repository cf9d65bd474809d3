/**
 * The vacuum on a log that PostgreSQL wrote: everything at LSNs after the horizon as before, while ingest goes on between its slices; truncations
 * too large for marks on each page; what a data directory made before the horizon still reads.
 */
import assert from 'node:assert/strict';
import { BLCKSZ } from '../../../src/engine/page/constants.js';
import { pageInit } from '../../../src/engine/page/items.js';
import { Ingester } from '../../../src/engine/pages/ingest.js';
import type { PageStore } from '../../../src/engine/pages/store.js';
import { Vacuum } from '../../../src/engine/pages/vacuum.js';
import type { Lsn } from '../../../src/engine/lsn.js';
import { ForkNumber } from '../../../src/engine/wal/types.js';
import { runSqlFile } from '../../helpers/redo-workload.js';
import { recordLog, StoreFolder, type RecordedLog } from './recorded-log.js';
import { difference, pagesOf, stateOf } from './volume-state.js';
import { importNothing, rel, WrittenLog } from './written-log.js';

describe('vacuum of the page store, on real histories', function () {
  this.timeout(180_000);
  let folder: StoreFolder;
  before(async () => {
    folder = await StoreFolder.create();
  });
  after(() => folder.destroy());

  function finish(vacuum: Vacuum): void {
    while (!vacuum.slice(() => true));
  }

  describe('recorded', () => {
    let log: RecordedLog;
    before(async () => {
      log = await recordLog({ full_page_writes: 'off', max_prepared_transactions: '5' }, async (server) => {
        const client = await server.client();
        for (const file of ['heap.sql', 'ddl.sql', 'locks.sql', 'multixact.sql'])
          await runSqlFile(client, file);
        await client.query('CREATE TABLE hot AS SELECT g AS id, 0 AS n FROM generate_series(1, 200) g');
        for (let i = 0; i < 40; i++) await client.query('UPDATE hot SET n = n + 1');
        await client.query('CREATE TABLE doomed AS SELECT * FROM hot');
        await client.query('DROP TABLE doomed');
        await client.end();
      });
    });
    after(() => log.destroy());

    it('keeps everything from the horizon on', async () => {
      const whole = await folder.imported('whole', log.baseDir);
      const store = await folder.imported('vacuumed', log.baseDir);
      const vacuum = new Vacuum(store);
      const ingesters = [whole, store].map((each) => new Ingester(each, { secret: null }));
      const { records } = log;
      const batch = 500;
      for (let i = 0; i < records.length; i += batch) {
        for (const ingester of ingesters) ingester.ingestBatch(records.slice(i, i + batch));
        if (!vacuum.running && i > 0 && i < records.length * 0.7)
          vacuum.begin(records[i - (batch >> 1)]!.endLsn);
        for (let slice = 0; slice < 20; slice++) vacuum.slice(() => true);
      }
      const horizon = records[Math.floor(records.length * 0.8)]!.endLsn;
      vacuum.begin(horizon);
      finish(vacuum);
      const later = records.filter(({ endLsn }) => endLsn >= horizon);
      for (const { endLsn } of [later[0]!, later[later.length >> 1]!, later.at(-1)!])
        assert.equal(difference(stateOf(whole, endLsn), stateOf(store, endLsn)), null);

      // What a data directory made long before reads: all that was not changed since.
      const made = records[Math.floor(records.length * 0.3)]!.endLsn;
      const relations = whole.manifest(made).relations.map((each) => ({ ...each, blocks: each.nblocks }));
      const expected = pagesOf(whole, made, { forks: relations, slru: [] });
      let [exact, gone] = [0, 0];
      for (const [what, found] of pagesOf(store, made, { forks: relations, slru: [] })) {
        if (what.endsWith('size')) continue;
        if (found === '! PAGE_GONE_BY_GC') gone++;
        else {
          assert.equal(found, expected.get(what), what);
          exact++;
        }
      }
      assert.ok(exact > 1000 && gone > 10, `${exact} exact, ${gone} gone`);
      assert.equal(vacuum.counters.failures, 0);
      assert.ok(vacuum.counters.imagesWritten > 0 && vacuum.counters.forksRemoved > 0);
      await folder.close(whole);
      await folder.close(store);
    });
  });

  it('knows truncations that left no mark on the pages', async () => {
    const store: PageStore = await folder.store('floors', { coalesce: { kind: 'lazy' } });
    importNothing(store);
    const log = new WrittenLog(new Ingester(store, { secret: null }));
    const far = 3000;
    const page = Buffer.alloc(BLCKSZ);
    pageInit(page, 0);
    page.write('before', 100);
    log.create(rel);
    for (const blkno of [0, 1, 2, 1500, far]) log.image(rel, ForkNumber.main, blkno, page);
    const before = log.insert(rel, 0, 1, 'a row');
    const cut = log.truncate(rel, 2);
    page.write('after_', 100);
    const grown = log.image(rel, ForkNumber.main, far, page);
    log.flush();
    const vacuum = new Vacuum(store);
    vacuum.begin(grown);
    finish(vacuum);
    const block = (blkno: number, at: Lsn): Buffer => store.getPage({ ...rel, fork: 0, blkno }, at);
    assert.equal(block(far, grown).toString('latin1', 100, 106), 'after_');
    assert.ok(block(1500, grown).equals(Buffer.alloc(BLCKSZ)));
    // Before the horizon: block 1 never changed, the others were cut off and have come back as others.
    assert.equal(block(1, before).toString('latin1', 100, 106), 'before');
    assert.ok(block(0, before).includes('a row'));
    for (const blkno of [2, 1500, far])
      assert.throws(() => block(blkno, before), { code: 'PAGE_GONE_BY_GC' });
    assert.ok(block(1500, cut).equals(Buffer.alloc(BLCKSZ)), 'it was cut off already, and is zeros since');
    assert.throws(() => block(far, cut), { code: 'PAGE_GONE_BY_GC' });
    assert.throws(() => store.relationSize(rel, 0, cut), { code: 'PAGE_GONE_BY_GC' });
    const { versionsRemoved } = vacuum.counters;
    assert.ok(versionsRemoved >= 3, 'what the truncation hid is gone');
    await folder.close(store);
  });
});
