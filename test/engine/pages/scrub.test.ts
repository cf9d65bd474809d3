/**
 * A page that is not as other stores say is put right as of one LSN, in the middle of a run, too: what came after it stays, and pages from then on are
 * those of the store that was right.
 */
import assert from 'node:assert/strict';
import type { Lsn } from '../../../src/engine/lsn.js';
import { basePages } from '../../../src/engine/pages/base.js';
import { Ingester } from '../../../src/engine/pages/ingest.js';
import { Kind, versionKind, versionLsn } from '../../../src/engine/pages/keys.js';
import { PageScrub, type ScrubRun } from '../../../src/engine/pages/scrub.js';
import type { PageStore } from '../../../src/engine/pages/store.js';
import { ForkNumber } from '../../../src/engine/wal/types.js';
import { StoreFolder } from './recorded-log.js';
import { importNothing, rel, WrittenLog } from './written-log.js';

const RUN: ScrubRun = { kind: 'pages', rel, fork: ForkNumber.main, first: 0, count: 1 };
const INSERTS = 12;

describe('page scrub', () => {
  let folder: StoreFolder;
  before(async () => {
    folder = await StoreFolder.create();
  });
  after(() => folder.destroy());

  /** One page, made and filled in a single batch; `end` is the LSN of each insertion. */
  async function filled(name: string): Promise<{ store: PageStore; ends: Lsn[] }> {
    const store = await folder.store(name);
    importNothing(store);
    const log = new WrittenLog(new Ingester(store, { secret: null }));
    log.create(rel);
    const ends = Array.from({ length: INSERTS }, (_, i) => log.insert(rel, 0, i + 1, `row ${i}`));
    log.flush();
    return { store, ends };
  }

  const page = (store: PageStore, at: Lsn): Buffer =>
    store.getPage({ ...rel, fork: ForkNumber.main, blkno: 0 }, at);

  /** Writes another row into the first delta (the second change, the first one makes the page) of the page's run, as a disk might. */
  function damage(store: PageStore): void {
    const { db } = store.parts;
    const rows = db.keys(Buffer.from([0x10]), Buffer.from([0x11]), 100);
    const run = rows.find((row) => versionKind(row) === Kind.run)!;
    assert.ok(versionLsn(run) > 0);
    const value = Buffer.from(db.get(run)!);
    value.write('ROW', value.indexOf('row '));
    const batch = db.batch();
    batch.put(run, value);
    batch.write(true);
    store.parts.cache.clear();
  }

  for (const step of [1, 5, INSERTS - 1])
    it(`puts a page right as of its change ${step + 1} of ${INSERTS}, and keeps the later ones`, async () => {
      const good = await filled(`good-${step}`);
      const bad = await filled(`bad-${step}`);
      damage(bad.store);
      const at = good.ends[step]!;
      const scrub = new PageScrub(bad.store);
      const digest = (store: PageStore, when: Lsn): number => new PageScrub(store).digest(RUN, when).crcs[0]!;
      assert.notEqual(digest(bad.store, at), digest(good.store, at));

      const [image] = basePages(good.store, rel, ForkNumber.main, 0, 1, at);
      scrub.replace(RUN, image!, at);

      for (const later of good.ends.slice(step)) {
        assert.ok(page(bad.store, later).equals(page(good.store, later)), `at change of ${later}`);
        assert.equal(digest(bad.store, later), digest(good.store, later));
      }
      assert.throws(() => page(bad.store, good.ends[step - 1]!), { code: 'PAGE_GONE_BY_GC' });
    });
});
