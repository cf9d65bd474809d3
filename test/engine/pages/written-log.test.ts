/**
 * Histories that the recorded log does not hold: a relation number used twice, truncations large and many, visibility-map clears, SLRU
 * truncation, origins, chains and their images, imports that broke off.
 */
import assert from 'node:assert/strict';
import type { Lsn } from '../../../src/engine/lsn.js';
import { readPageLsn } from '../../../src/engine/lsn.js';
import { BLCKSZ } from '../../../src/engine/page/constants.js';
import { pageInit } from '../../../src/engine/page/items.js';
import { VM_HEAPBLOCKS_PER_PAGE, vmBitsOf } from '../../../src/engine/page/vm.js';
import { Ingester } from '../../../src/engine/pages/ingest.js';
import { Kind, versionKind } from '../../../src/engine/pages/keys.js';
import type { PageStore } from '../../../src/engine/pages/store.js';
import type { PageStoreOptions } from '../../../src/engine/pages/types.js';
import { Vacuum } from '../../../src/engine/pages/vacuum.js';
import { ForkNumber } from '../../../src/engine/wal/types.js';
import { StoreFolder } from './recorded-log.js';
import { controlAt, importNothing, rel, START, WrittenLog } from './written-log.js';

const ZERO = Buffer.alloc(BLCKSZ);

describe('page store, on written histories', () => {
  let folder: StoreFolder;
  let count = 0;
  let store: PageStore;
  let log: WrittenLog;

  beforeEach(() => open());
  before(async () => {
    folder = await StoreFolder.create();
  });
  after(() => folder.destroy());

  async function open(options: PageStoreOptions = {}, nextXid?: number): Promise<void> {
    store = await folder.store(`written-${count++}`, options);
    importNothing(store, nextXid);
    log = new WrittenLog(new Ingester(store, { secret: null }));
  }

  /** As an idle node does. */
  function drain(): void {
    while (log.ingester.coalesce(16) > 0);
  }

  function page(blkno: number, at: Lsn): Buffer {
    return store.getPage({ ...rel, fork: ForkNumber.main, blkno }, at);
  }

  function holds(blkno: number, at: Lsn, text: string): boolean {
    return page(blkno, at).includes(text);
  }

  it('hides what a dropped relation left under a number that is used again', async () => {
    for (const ingestEach of [true, false]) {
      await open();
      const step = (at: Lsn) => {
        if (ingestEach) log.flush();
        return at;
      };
      const created = step(log.create(rel));
      const first = step(log.insert(rel, 0, 1, 'first life'));
      step(log.insert(rel, 2, 1, 'first life, third block'));
      if (ingestEach) assert.ok(holds(0, first, 'first life'));
      const dropped = step(log.drop(rel));
      const again = step(log.create(rel));
      const second = step(log.insert(rel, 1, 1, 'second life'));
      const last = step(log.insert(rel, 2, 1, 'second life, third block'));
      log.flush();

      assert.equal(store.relationSize(rel, 0, created), 0);
      assert.ok(holds(0, first, 'first life'));
      assert.ok(holds(2, (dropped - 8) as Lsn, 'first life, third block'));
      assert.equal(store.relationSize(rel, 0, dropped), null);
      assert.throws(() => page(0, dropped), { code: 'PAGE_NO_RELATION' });
      assert.equal(store.relationSize(rel, 0, again), 0);
      assert.equal(store.relationSize(rel, 0, second), 2);
      assert.ok(page(0, second).equals(ZERO));
      assert.ok(page(2, second).equals(ZERO));
      assert.ok(holds(2, last, 'second life, third block'));
      assert.ok(page(0, last).equals(ZERO));
      assert.ok(holds(0, first, 'first life'), 'and the past has not changed');
      assert.deepEqual(
        store.manifest(last).relations.map(({ relNumber, nblocks }) => [relNumber, nblocks]),
        [[rel.relNumber, 3]],
      );
      assert.deepEqual(store.manifest(dropped).relations, []);
    }
  });

  for (const blocks of [40, 5000]) {
    it(`gives zeros for blocks cut off and grown again (${blocks} blocks)`, () => {
      log.create(rel);
      log.insert(rel, 0, 1, 'stays');
      const before = log.insert(rel, blocks - 1, 1, 'cut off');
      log.flush();
      assert.ok(holds(blocks - 1, before, 'cut off'));
      const cut = log.truncate(rel, 1);
      const grown = log.insert(rel, blocks + 7, 1, 'new end');
      log.flush();
      assert.equal(store.relationSize(rel, 0, cut), 1);
      assert.ok(page(blocks - 1, cut).equals(ZERO));
      assert.equal(store.relationSize(rel, 0, grown), blocks + 8);
      assert.ok(page(blocks - 1, grown).equals(ZERO));
      assert.ok(holds(0, grown, 'stays'));
      assert.ok(holds(blocks + 7, grown, 'new end'));
      const rewritten = log.insert(rel, blocks - 1, 1, 'written again');
      log.flush();
      assert.ok(holds(blocks - 1, rewritten, 'written again'));
      assert.ok(holds(blocks - 1, before, 'cut off'));
    });
  }

  it('keeps many large truncations apart', () => {
    log.create(rel);
    const rounds: { low: number; before: Lsn; cut: Lsn; text: string }[] = [];
    for (let i = 0; i < 24; i++) {
      const low = 10 * i;
      const text = `round ${i}.`;
      log.insert(rel, low, 1, text);
      const before = log.insert(rel, 3000, 1, text);
      rounds.push({ low, before, cut: log.truncate(rel, low + 1), text });
    }
    log.insert(rel, 3000, 1, 'last');
    log.flush();
    for (const { low, before, cut, text } of rounds) {
      assert.ok(holds(3000, before, text), text);
      assert.ok(page(3000, cut).equals(ZERO), text);
      assert.equal(store.relationSize(rel, 0, cut), low + 1);
      for (const other of rounds) {
        assert.equal(holds(other.low, store.appliedLsn, other.text), true);
        assert.equal(page(other.low, cut).equals(ZERO), other.low > low, `${text} sees ${other.text}`);
      }
    }
    assert.ok(holds(3000, store.appliedLsn, 'last'));
  });

  it('clears visibility-map bits without a block reference, and not the page LSN', () => {
    log.create(rel);
    log.insert(rel, 0, 1, 'row');
    log.insert(rel, 1, 1, 'row');
    log.insert(rel, 2, 1, 'row');
    const map = Buffer.alloc(BLCKSZ);
    pageInit(map, 0);
    map.fill(0xff, 24);
    log.create(rel, ForkNumber.vm);
    const set = log.image(rel, ForkNumber.vm, 0, map);
    const cleared = log.insert(rel, 0, 2, 'another row', true);
    const both = log.insert(rel, 5, 1, 'row', true);
    const moved = log.update(rel, 1, 1, 2, 2);
    log.insert(rel, 0, 3, 'yet another row');
    const cut = log.truncate(rel, 5);
    log.flush();
    const bits = (heapBlk: number, at: Lsn) =>
      vmBitsOf(store.getPage({ ...rel, fork: ForkNumber.vm, blkno: 0 }, at), heapBlk);
    assert.deepEqual([bits(0, set), bits(5, set)], [3, 3]);
    assert.deepEqual([bits(0, cleared), bits(5, cleared)], [0, 3]);
    assert.deepEqual([bits(0, both), bits(4, both), bits(5, both)], [0, 3, 0]);
    assert.deepEqual([bits(1, both), bits(2, both), bits(3, both)], [3, 3, 3]);
    assert.deepEqual([bits(1, moved), bits(2, moved), bits(3, moved)], [0, 0, 3], 'one record, two clears');
    assert.deepEqual([bits(3, cut), bits(4, cut), bits(5, cut), bits(400, cut)], [3, 3, 0, 0]);
    assert.equal(readPageLsn(store.getPage({ ...rel, fork: ForkNumber.vm, blkno: 0 }, cut)), set);
    // A clear does not make a map page.
    log.insert(rel, 40_000, 1, 'far away', true);
    log.flush();
    assert.equal(store.relationSize(rel, ForkNumber.vm, store.appliedLsn), 1);
  });

  it('keeps changes of one batch apart that a truncation or a drop lies between', () => {
    const far = 2000;
    const heapBlk = far * VM_HEAPBLOCKS_PER_PAGE;
    const map = { ...rel, fork: ForkNumber.vm, blkno: far };
    const bits = (at: Lsn) => [1, 2, 3, 4].map((i) => vmBitsOf(store.getPage(map, at), heapBlk + i));
    const mark = (...blocks: number[]) => blocks.map((i) => log.visible(rel, heapBlk + i)).at(-1)!;
    log.create(rel);
    const before = mark(1, 2);
    // More map pages are cut off than get a mark each, and the record names no page.
    const cut = log.truncate(rel, 0);
    const grown = mark(3, 4);
    const dropped = log.drop(rel);
    log.create(rel);
    const again = mark(2, 3);
    log.flush();
    assert.deepEqual(bits(before), [1, 1, 0, 0]);
    assert.equal(store.relationSize(rel, ForkNumber.vm, cut), 0);
    assert.deepEqual(bits(grown), [0, 0, 1, 1]);
    assert.equal(store.relationSize(rel, ForkNumber.vm, dropped), null);
    assert.deepEqual(bits(again), [0, 1, 1, 0]);
    assert.deepEqual(bits(before), [1, 1, 0, 0]);
    const vacuum = new Vacuum(store);
    vacuum.begin(grown);
    while (!vacuum.slice(() => true));
    assert.deepEqual(bits(grown), [0, 0, 1, 1]);
    assert.deepEqual(bits(again), [0, 1, 1, 0]);
  });

  it('stores what a batch does to one page as few rows, and gives each version of it', async () => {
    await open({ coalesce: { kind: 'lazy' }, pageCachePages: 100 });
    log.create(rel);
    const long = 'x'.repeat(300);
    const text = (i: number) => `row ${i}.`;
    // Every twentieth record begins the page anew; lengths differ; the fork grows meanwhile, which concerns other pages.
    const ends = Array.from({ length: 400 }, (_, i) => {
      if (i % 7 === 0) log.insert(rel, 1 + i / 7, 1, 'elsewhere');
      return log.insert(rel, 0, (i % 20) + 1, text(i) + (i % 3 === 0 ? long : ''));
    });
    const image = Buffer.alloc(BLCKSZ);
    pageInit(image, 0);
    image.write('an image', 200);
    const imaged = log.image(rel, ForkNumber.main, 0, image);
    for (let i = 400; i < 405; i++) ends.push(log.visible(rel, 0));
    log.flush();
    const key = { ...rel, fork: ForkNumber.main, blkno: 0 };
    const rows = store.parts.db.keys(Buffer.from([0x10]), Buffer.from([0x11]), 1e6);
    const runs = rows.filter((row) => versionKind(row) === Kind.run && row[17] === ForkNumber.main);
    assert.equal(runs.length, 21, 'one for each time that the page begins anew, and one upon the image');
    // Backwards, so that what is cached is of no use; then forwards, so that it is, from the middle of each run.
    for (const order of [[...ends].reverse(), ends])
      for (const at of order) {
        const i = ends.indexOf(at);
        if (i >= 400) assert.ok(holds(0, at, 'an image'));
        else {
          assert.ok(holds(0, at, text(i)), text(i));
          assert.ok(!holds(0, at, text(i + 1)), `${text(i)} and what comes after it`);
          assert.equal(readPageLsn(page(0, at)), at);
        }
        const chain = store.versions(key, at);
        assert.equal(chain[0]!.lsn, at);
        assert.equal(chain.length, i < 400 ? (i % 20) + 1 : i - 400 + 2, `record ${i}`);
      }
    assert.ok(holds(0, imaged, 'an image'));
  });

  it('versions SLRU pages, and takes whole segments away', async () => {
    const xidsPerPage = 32768;
    await open({ coalesce: { kind: 'background', pageDeltas: 4, slruDeltas: 4 } }, 70 * xidsPerPage + 100);
    for (let pageno = 60; pageno <= 70; pageno++) log.clogZero(pageno);
    const none = log.clogZero(71);
    const commits = Array.from({ length: 10 }, (_, i) => log.commit(62 * xidsPerPage + 4 * i));
    log.flush();
    drain();
    const cut = log.clogTruncate(66);
    log.flush();
    const statuses = (at: Lsn) => [...store.getSlruPage('xact', 62, at)!.subarray(0, 12)];
    assert.deepEqual(statuses(none), Array<number>(12).fill(0));
    assert.deepEqual(statuses(commits[1]!), [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert.deepEqual(statuses(commits[9]!), [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]);
    assert.equal(store.getSlruPage('xact', 62, cut), null);
    assert.deepEqual(store.manifest(none).slrus[0], { slru: 'xact', ranges: [[60, 71]] });
    assert.deepEqual(store.manifest(cut).slrus[0], { slru: 'xact', ranges: [[64, 71]] });
    assert.ok(store.stats.imagesCoalesced > 0);
    // The number comes round again: nothing of the old page is left.
    const again = log.commit(62 * xidsPerPage + 44);
    log.flush();
    assert.deepEqual(statuses(again), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
  });

  it('moves replication origins forward only, unless forced', () => {
    const progress = (at: Lsn) => store.manifest(at).origins.map(({ id, remoteLsn }) => [id, remoteLsn]);
    const first = log.originSet(7, 5000);
    log.flush();
    const second = log.originSet(7, 6000);
    const back = log.originSet(7, 5500);
    log.flush();
    const forced = log.originSet(7, 100, true);
    log.flush();
    assert.deepEqual(progress(first), [[7, 5000]]);
    assert.deepEqual(progress(second), [[7, 6000]]);
    assert.deepEqual(progress(back), [[7, 6000]]);
    assert.deepEqual(progress(forced), [[7, 100]]);
  });

  it('shortens long chains, and shows them', async () => {
    await open({ coalesce: { kind: 'background', pageDeltas: 8, slruDeltas: 8 } });
    log.create(rel);
    const ends: Lsn[] = [];
    for (let offset = 1; offset <= 20; offset++) {
      ends.push(log.insert(rel, 0, offset, `tuple ${offset}`));
      log.flush();
      drain();
    }
    const key = { ...rel, fork: ForkNumber.main, blkno: 0 };
    const kinds = store.versions(key, store.appliedLsn).map(({ kind, record }) => [kind, record]);
    assert.deepEqual(kinds, [...Array<unknown>(4).fill(['delta', 'Heap/INSERT']), ['coalesced', undefined]]);
    const early = store.versions(key, ends[3]!);
    assert.deepEqual(
      early.map(({ lsn }) => lsn),
      ends.slice(0, 4).reverse(),
    );
    assert.deepEqual([early[3]!.kind, early[3]!.record], ['init', 'Heap/INSERT+INIT']);
    for (let i = 0; i < 20; i++) {
      assert.ok(holds(0, ends[i]!, `tuple ${i + 1}`));
      assert.ok(!holds(0, ends[i]!, `tuple ${i + 2}`));
      assert.equal(readPageLsn(page(0, ends[i]!)), ends[i]);
    }
  });

  it('writes images when it has time, and those of very long chains at once', async () => {
    const [due, overdue] = [8, 64];
    await open({ coalesce: { kind: 'background', pageDeltas: due, slruDeltas: 8 } });
    const other = { ...rel, relNumber: rel.relNumber + 1 };
    log.create(rel);
    log.create(other);
    const kinds = (r: typeof rel) =>
      store.versions({ ...r, fork: ForkNumber.main, blkno: 0 }, store.appliedLsn).map(({ kind }) => kind);
    const add = (r: typeof rel, from: number, to: number): void => {
      for (let offset = from; offset <= to; offset++) log.insert(r, 0, offset, `tuple ${offset}.`);
      log.flush();
    };
    add(other, 1, due);
    assert.equal(store.stats.coalesceBacklog, 1);
    add(rel, 1, overdue - 1);
    assert.equal(store.stats.imagesCoalesced, 0);
    add(rel, overdue, overdue + 2);
    assert.deepEqual(kinds(rel), ['coalesced']);
    assert.equal(kinds(other).length, due);
    const image = Buffer.alloc(BLCKSZ);
    pageInit(image, 0);
    log.image(other, ForkNumber.main, 0, image);
    log.flush();
    drain();
    assert.equal(store.stats.imagesCoalesced, 1, 'what has an image by now needs none');
    add(rel, overdue + 3, overdue + due + 2);
    drain();
    assert.deepEqual(kinds(rel), ['coalesced']);
    assert.ok(holds(0, store.appliedLsn, `tuple ${overdue + due + 2}.`));
    assert.equal(store.stats.coalesceBacklog, 0);
  });

  it('knows of a page read in the middle of a run how it goes on', () => {
    log.create(rel);
    log.create(rel, ForkNumber.vm);
    const map = Buffer.alloc(BLCKSZ);
    pageInit(map, 0);
    log.image(rel, ForkNumber.vm, 0, map);
    log.insert(rel, 0, 1, 'row');
    const set = log.visible(rel, 0);
    const cleared = log.insert(rel, 0, 2, 'row', true);
    const again = log.visible(rel, 0);
    const next = log.visible(rel, 1);
    log.flush();
    const bits = (at: Lsn) =>
      [0, 1].map((heapBlk) =>
        vmBitsOf(store.getPage({ ...rel, fork: ForkNumber.vm, blkno: 0 }, at), heapBlk),
      );
    // Forwards, so that each read goes on from the one before; the clearing must not be done twice.
    for (const [at, expected] of [
      [set, [1, 0]],
      [cleared, [0, 0]],
      [again, [1, 0]],
      [next, [1, 1]],
      [next, [1, 1]],
    ] as const)
      assert.deepEqual(bits(at), expected);
    assert.ok(store.stats.pageCacheHits > 0);
  });

  it("gives a caller its own copy, and keeps a page's cached state apart from its past", () => {
    log.create(rel);
    const first = log.insert(rel, 0, 1, 'one');
    const second = log.insert(rel, 0, 2, 'two');
    log.flush();
    page(0, second).fill(0xaa);
    const clean = page(0, second);
    assert.ok(clean.includes('two') && !clean.includes(0xaaaaaaaa));
    assert.ok(!holds(0, first, 'two'), 'the past, read from behind the cached version');
    const third = log.insert(rel, 0, 3, 'three');
    log.flush();
    assert.ok(!holds(0, second, 'three'));
    assert.ok(holds(0, third, 'three'));
    assert.ok(holds(0, third, 'two'));
    assert.ok(!holds(0, second, 'three'));
    assert.ok(store.stats.pageCacheHits > 0);
  });

  it('forgets an import that was not finished', async () => {
    const broken = await folder.store('broken');
    const image = Buffer.alloc(BLCKSZ, 7);
    const begun = broken.beginImport(START);
    for (let blkno = 0; blkno < 600; blkno++) begun.page({ ...rel, fork: 0, blkno }, image);
    assert.equal(broken.appliedLsn, 0);
    await folder.close(broken);

    const store2 = await folder.store('broken');
    assert.equal(store2.appliedLsn, 0);
    assert.throws(() => new Ingester(store2, { secret: null }).controlState, { code: 'PAGE_STORE_EMPTY' });
    const whole = store2.beginImport(START);
    whole.relation(rel, 0, 3);
    whole.page({ ...rel, fork: 0, blkno: 1 }, image);
    whole.file('postgresql.conf', Buffer.from('work_mem = 1MB'));
    whole.database(5, 1663);
    whole.finish(controlAt(START), (START - 120) as Lsn);
    assert.equal(store2.relationSize(rel, 0, START), 3);
    assert.ok(store2.getPage({ ...rel, fork: 0, blkno: 0 }, START).equals(ZERO));
    assert.ok(store2.getPage({ ...rel, fork: 0, blkno: 1 }, START).equals(image));
    await folder.close(store2);

    const reopened = await folder.store('broken');
    const manifest = reopened.manifest(START);
    assert.deepEqual(manifest.databases, [{ dbOid: 5, spcOid: 1663 }]);
    assert.deepEqual(manifest.files, [{ name: 'postgresql.conf', content: Buffer.from('work_mem = 1MB') }]);
    assert.deepEqual(manifest.relations, [{ ...rel, fork: 0, nblocks: 3 }]);
    assert.equal(reopened.controlSnapshot(START)!.state.lastRecordEnd, START);
  });
});
