/**
 * The vacuum beside a store that forgets nothing, on random histories: every read at or after the horizon is the same, every read before it is
 * exact or says that it cannot be had, and exact wherever nothing has changed since; whatever the slices, whenever a crash comes. The store that
 * forgets nothing gets each record as a batch of its own, so that it has no runs: what runs hold, and how they are read, is compared, too.
 */
import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { formatLsn, lsn, type Lsn } from '../../../src/engine/lsn.js';
import { BLCKSZ } from '../../../src/engine/page/constants.js';
import { pageInit } from '../../../src/engine/page/items.js';
import { Ingester } from '../../../src/engine/pages/ingest.js';
import { KeySpace, Kind, versionKind, versionLsn } from '../../../src/engine/pages/keys.js';
import { runEnd } from '../../../src/engine/pages/runs.js';
import type { PageStore } from '../../../src/engine/pages/store.js';
import type { PageStoreOptions } from '../../../src/engine/pages/types.js';
import { Vacuum } from '../../../src/engine/pages/vacuum.js';
import { ForkNumber, type RelFileLocator } from '../../../src/engine/wal/types.js';
import { StoreFolder } from './recorded-log.js';
import { difference, pagesOf, stateOf, type Questions } from './volume-state.js';
import { importNothing, rel, START, WrittenLog } from './written-log.js';

const RELATIONS: readonly RelFileLocator[] = [0, 1, 2].map((i) => ({ ...rel, relNumber: rel.relNumber + i }));
const BLOCKS = 8;
/** Of pg_xact, in several segments of 32. */
const CLOG_PAGES = [60, 61, 62, 63, 64, 65, 96, 97];
const QUESTIONS: Questions = {
  forks: RELATIONS.flatMap((r) => [
    { ...r, fork: ForkNumber.main, blocks: BLOCKS + 2 },
    { ...r, fork: ForkNumber.vm, blocks: 1 },
  ]),
  slru: CLOG_PAGES.map((pageno) => ({ slru: 'xact' as const, pageno })),
};
const XIDS_PER_CLOG_PAGE = 32768;
const POLICIES: readonly PageStoreOptions[] = [
  { coalesce: { kind: 'lazy' }, pageCachePages: 0 },
  { coalesce: { kind: 'lazy' }, pageCachePages: 1000 },
  { coalesce: { kind: 'background', pageDeltas: 5, slruDeltas: 6 }, pageCachePages: 4 },
  { coalesce: { kind: 'eager' }, pageCachePages: 1000 },
];

/** mulberry32: repeatable choices. */
function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Appends a random history; knows just enough of the volume to write records that PostgreSQL might have written. */
class RandomHistory {
  readonly ends: Lsn[] = [];
  /** By relation: tuples on each page, null when it does not exist. */
  private readonly tuples: (number[] | null)[] = RELATIONS.map(() => null);
  private readonly vm = RELATIONS.map(() => false);

  constructor(
    readonly log: WrittenLog,
    private readonly chance: () => number,
  ) {}

  grow(records: number): void {
    for (let i = 0; i < records; i++) this.ends.push(this.one());
  }

  private pick(n: number): number {
    return Math.floor(this.chance() * n);
  }

  private one(): Lsn {
    const { log } = this;
    const i = this.pick(RELATIONS.length);
    const target = RELATIONS[i]!;
    const pages = this.tuples[i];
    const dice = this.pick(100);
    if (dice < 4) return log.clogZero(CLOG_PAGES[this.pick(CLOG_PAGES.length)]!);
    if (dice < 5) return log.clogTruncate(64);
    if (dice < 16)
      return log.commit(CLOG_PAGES[this.pick(CLOG_PAGES.length)]! * XIDS_PER_CLOG_PAGE + this.pick(200) * 4);
    if (dice < 18) return log.originSet(1 + this.pick(3), 100 + this.ends.length, this.pick(2) === 0);
    if (!pages) {
      this.tuples[i] = [];
      this.vm[i] = false;
      return log.create(target);
    }
    if (dice < 21) {
      this.tuples[i] = null;
      return log.drop(target);
    }
    if (dice < 25 && pages.length > 0) {
      const to = this.pick(pages.length);
      pages.length = to;
      return log.truncate(target, to);
    }
    if (dice < 29) {
      const page = Buffer.alloc(BLCKSZ);
      pageInit(page, 0);
      page.write(`image ${this.ends.length}`, 100);
      const fork = this.pick(4) === 0 ? ForkNumber.vm : ForkNumber.main;
      if (fork === ForkNumber.vm) {
        page.fill(0xff, 24, 64);
        this.vm[i] = true;
        return log.image(target, fork, 0, page);
      }
      const blkno = Math.min(this.pick(BLOCKS), pages.length);
      pages[blkno] = 0; // no tuple to be followed there: the next insert begins the page anew
      return log.image(target, fork, blkno, page);
    }
    if (dice < 36 && pages.length > 0) {
      this.vm[i] = true;
      return log.visible(target, this.pick(pages.length));
    }
    // Half of all rows go to one page, so that batches have runs for it.
    const blkno = this.pick(2) === 0 ? 0 : Math.min(this.pick(BLOCKS), pages.length);
    const offset = (pages[blkno] = ((pages[blkno] ?? 0) % 30) + 1);
    return log.insert(target, blkno, offset, `row ${this.ends.length}`, this.vm[i]! && this.pick(2) === 0);
  }
}

describe('vacuum of the page store', function () {
  this.timeout(120_000);
  let folder: StoreFolder;
  let count = 0;

  before(async () => {
    folder = await StoreFolder.create();
  });
  after(() => folder.destroy());

  async function emptyVolume(options: PageStoreOptions): Promise<PageStore> {
    const store = await folder.store(`vacuum-${count++}`, { memtableBytes: 4 << 20, ...options });
    importNothing(store);
    return store;
  }

  function keysIn(store: PageStore, space: number): number {
    return store.parts.db.keys(Buffer.from([space]), Buffer.from([space + 1]), 1e9).length;
  }

  /** As one that knew no runs would, which are of several records. */
  function ingestEach(ingester: Ingester, log: WrittenLog, from: number): void {
    for (const rec of log.records.slice(from)) ingester.ingestBatch([rec]);
  }

  /** How often what is read at `at` begins, ends or lies within a run. */
  const met = { first: 0, within: 0, last: 0, horizonWithin: 0 };
  function meet(store: PageStore, at: Lsn): void {
    const pages = [KeySpace.page, KeySpace.slru];
    for (const space of pages) {
      const rows = store.parts.db.range(Buffer.from([space]), Buffer.from([space + 1]));
      for (let i = 0; i < rows.length; i += 2) {
        const [key, value] = [rows[i]!, rows[i + 1]!];
        if (versionKind(key) !== Kind.run) continue;
        const [first, last] = [versionLsn(key), runEnd(key, value)];
        if (first === at) met.first++;
        if (last === at) met.last++;
        if (first < at && at < last) met.within++;
        if (first <= store.horizon && store.horizon < last) met.horizonWithin++;
      }
    }
  }

  /** Ends the pass that is under way. */
  function finish(vacuum: Vacuum): void {
    while (!vacuum.slice(() => true));
  }

  /** Every read of `store` beside `whole`, which has forgotten nothing. Gives how many reads before the horizon could not be answered. */
  function compare(
    store: PageStore,
    whole: PageStore,
    { ends, log }: RandomHistory,
    chance: () => number,
    where: string,
  ): number {
    const { horizon } = store;
    const some = (from: readonly Lsn[]): Lsn[] =>
      from.length > 0 ? [0, 1].map(() => from[Math.floor(chance() * from.length)]!) : [];
    const kept = [horizon, store.appliedLsn, ...some(ends.filter((at) => at >= horizon))];
    for (const at of kept.filter((end) => end >= START)) {
      meet(store, at);
      const message = `${where}, at ${formatLsn(at)}, horizon ${formatLsn(horizon)}`;
      const [expected, actual] = [stateOf(whole, at, QUESTIONS), stateOf(store, at, QUESTIONS)];
      // A control state is kept for each batch, and batches differ.
      for (const state of [expected, actual]) state.delete('control');
      assert.equal(difference(expected, actual), null, message);
      const control = store.controlSnapshot(at);
      assert.equal(
        control?.lsn,
        log.batchEnds.findLast((end) => end <= at),
        message,
      );
      assert.deepEqual(control, whole.controlSnapshot(control!.lsn), message);
    }
    let gone = 0;
    for (const at of some(ends.filter((end) => end < horizon))) {
      const expected = pagesOf(whole, at, QUESTIONS);
      for (const [what, found] of pagesOf(store, at, QUESTIONS)) {
        const message = `${where}: ${what} at ${formatLsn(at)}, before the horizon ${formatLsn(horizon)}`;
        if (found !== '! PAGE_GONE_BY_GC') assert.equal(found, expected.get(what), message);
        else if (what.endsWith('size')) assert.ok(changedBetween(whole, what, at, horizon), message);
        else gone++;
      }
      for (const r of RELATIONS) exactWhereUnchanged(store, whole, r, at, horizon, where);
      assert.throws(() => store.manifest(at), { code: 'PAGE_GONE_BY_GC' });
      assert.throws(() => store.controlSnapshot(at), { code: 'PAGE_GONE_BY_GC' });
    }
    return gone;
  }

  function changedBetween(whole: PageStore, what: string, from: Lsn, to: Lsn): boolean {
    const [spcOid, dbOid, relNumber, fork] = what.split(/[/ ]/).map(Number) as [
      number,
      number,
      number,
      number,
    ];
    const row = whole.parts.forks.rowAt(0, { spcOid, dbOid, relNumber }, fork, to);
    // A fork that does not exist leaves no trace, so that nothing can be said of it before.
    return row === null || row.changedAt > from || !row.version.exists;
  }

  /** What a compute whose data directory was made at `at` relies on. */
  function exactWhereUnchanged(
    store: PageStore,
    whole: PageStore,
    r: RelFileLocator,
    at: Lsn,
    horizon: Lsn,
    where: string,
  ): void {
    const then = whole.parts.forks.rowAt(0, r, 0, at)?.version;
    const now = whole.parts.forks.rowAt(0, r, 0, horizon)?.version;
    if (!then?.exists || !now?.exists || then.since !== now.since) return;
    for (let blkno = 0; blkno < Math.min(then.nblocks, now.nblocks); blkno++) {
      const key = { ...r, fork: 0, blkno };
      const newest = whole.versions(key, horizon)[0];
      if (newest && newest.lsn > at) continue;
      assert.ok(
        store.getPage(key, at).equals(whole.getPage(key, at)),
        `${where}: block ${blkno} of ${r.relNumber} has not changed since ${formatLsn(at)}`,
      );
    }
  }

  const seeds = process.env['SEED'] ? [Number(process.env['SEED'])] : Array.from({ length: 12 }, (_, i) => i);
  it(`changes no read at or after the horizon, and no read before it unsaid (${seeds.length} histories)`, async () => {
    let gone = 0;
    let images = 0;
    let forks = 0;
    for (const seed of seeds) {
      const chance = random(seed);
      const whole = await emptyVolume({ coalesce: { kind: 'lazy' }, pageCachePages: 0 });
      const store = await emptyVolume(POLICIES[seed % POLICIES.length]!);
      const log = new WrittenLog(new Ingester(store, { secret: null }));
      const history = new RandomHistory(log, chance);
      const wholeIngester = new Ingester(whole, { secret: null });
      const vacuum = new Vacuum(store, 1 + Math.floor(chance() * 30));
      let copied = 0;
      for (let round = 0; round < 8; round++) {
        history.grow(20 + Math.floor(chance() * 60));
        log.flush();
        ingestEach(wholeIngester, log, copied);
        copied = log.records.length;
        if (chance() < 0.5) pagesOf(store, store.appliedLsn, QUESTIONS); // readers warm the cache
        if (chance() < 0.7) {
          const { horizon, appliedLsn } = store;
          const from = Math.max(horizon, START);
          vacuum.begin(lsn(from + Math.floor((appliedLsn - from) * chance())));
        }
        // Some passes end, others are overtaken by the next.
        if (chance() < 0.5) finish(vacuum);
        else for (let i = Math.floor(chance() * 6); i > 0; i--) vacuum.slice(() => true);
        gone += compare(store, whole, history, chance, `SEED=${seed}, round ${round}`);
      }
      vacuum.begin(store.appliedLsn);
      finish(vacuum);
      gone += compare(store, whole, history, chance, `SEED=${seed}, at the end`);
      assert.equal(vacuum.counters.failures, 0);
      images += vacuum.counters.imagesWritten;
      forks += vacuum.counters.forksRemoved;
      await folder.close(store);
      await folder.close(whole);
    }
    if (seeds.length === 1) return;
    assert.ok(gone > 0 && images > 0 && forks > 0, `${gone}, ${images}, ${forks}`);
    assert.ok(
      Object.values(met).every((times) => times > 10),
      `runs were hardly met: ${JSON.stringify(met)}`,
    );
  });

  it('leaves one base and a few deltas of each page at rest, and nothing of what is gone', async () => {
    const store = await emptyVolume({ coalesce: { kind: 'lazy' } });
    const log = new WrittenLog(new Ingester(store, { secret: null }));
    for (const r of RELATIONS) {
      log.create(r);
      for (let blkno = 0; blkno < 3; blkno++)
        for (let offset = 1; offset <= 60; offset++) log.insert(r, blkno, offset, `row ${offset}`);
    }
    for (let i = 0; i < 100; i++) log.commit(62 * XIDS_PER_CLOG_PAGE + 4 * i);
    log.drop(RELATIONS[0]!);
    log.flush();
    assert.equal(keysIn(store, KeySpace.page), 3 * 3 * 2, 'of each page the record that began it, and a run');
    const vacuum = new Vacuum(store);
    vacuum.begin(store.appliedLsn);
    finish(vacuum);
    assert.equal(keysIn(store, KeySpace.page), 2 * 3, 'one image of each page that exists');
    assert.equal(keysIn(store, KeySpace.slru), 2, 'pages 0 and 62 of pg_xact');
    assert.equal(keysIn(store, KeySpace.fork), 2, 'the dropped relation has left nothing');
    assert.equal(store.controlSnapshot(store.appliedLsn)?.lsn, store.appliedLsn);
    assert.equal(vacuum.counters.forksRemoved, 1);
    log.drop(RELATIONS[1]!, RELATIONS[2]!);
    log.commit(97 * XIDS_PER_CLOG_PAGE);
    log.clogTruncate(96);
    log.flush();
    vacuum.begin(store.appliedLsn);
    finish(vacuum);
    assert.equal(keysIn(store, KeySpace.page), 0);
    assert.equal(keysIn(store, KeySpace.slru), 1, 'page 97');
    assert.equal(keysIn(store, KeySpace.fork), 0);
    await folder.close(store);
  });

  it('may die at any moment: the copy of its folder answers the same, and a second pass ends what the first began', async () => {
    const chance = random(7);
    const whole = await emptyVolume({ coalesce: { kind: 'lazy' }, pageCachePages: 0 });
    // Memtables so large that all is still in RocksDB's own log, whose end a dead machine loses.
    const store = await emptyVolume({ coalesce: { kind: 'lazy' }, memtableBytes: 512 << 20 });
    const log = new WrittenLog(new Ingester(store, { secret: null }));
    const history = new RandomHistory(log, chance);
    const wholeIngester = new Ingester(whole, { secret: null });
    for (let i = 0; i < 10; i++) {
      history.grow(100);
      log.flush();
      ingestEach(wholeIngester, log, log.records.length - 100);
    }
    store.sync();
    const [walName] = (await fs.readdir(store.dir)).filter((file) => file.endsWith('.log'));
    const walBytes = async (): Promise<number> => (await fs.stat(path.join(store.dir, walName!))).size;
    const synced = await walBytes();
    const vacuum = new Vacuum(store, 23);
    vacuum.begin(history.ends[700]!);
    let states = 0;
    let cutShort = 0;
    for (let done = false; !done;) {
      done = vacuum.slice(() => true);
      const copy = `died-${states++}`;
      const dir = path.join(folder.root, copy);
      await fs.cp(store.dir, dir, { recursive: true, filter: (file) => path.basename(file) !== 'LOCK' });
      // The first one loses all that was not synced.
      const end = synced + Math.floor(((await walBytes()) - synced) * (states === 1 ? 0 : chance()));
      await fs.truncate(path.join(dir, walName!), end);
      const survivor = await folder.store(copy);
      assert.ok(survivor.horizon <= store.horizon);
      if (survivor.horizon < store.horizon) cutShort++;
      assert.equal(survivor.appliedLsn, store.appliedLsn);
      compare(survivor, whole, history, chance, copy);
      const again = new Vacuum(survivor);
      again.begin(store.horizon);
      finish(again);
      compare(survivor, whole, history, chance, `${copy}, after a second pass`);
      await folder.close(survivor);
      await fs.rm(dir, { recursive: true });
    }
    assert.ok(states > 5, `only ${states} states`);
    assert.ok(cutShort > 0, 'no crash came before the horizon was on disk');
    compare(store, whole, history, chance, 'after the whole pass');
    await folder.close(store);
    await folder.close(whole);
  });

  it('keeps the horizon, and refuses one beyond what is applied', async () => {
    const store = await emptyVolume({});
    const log = new WrittenLog(new Ingester(store, { secret: null }));
    const created = log.create(rel);
    const inserted = log.insert(rel, 0, 1, 'one');
    log.flush();
    const vacuum = new Vacuum(store);
    assert.throws(() => vacuum.begin(lsn(store.appliedLsn + 1)), RangeError);
    vacuum.begin(inserted);
    finish(vacuum);
    vacuum.begin(created);
    assert.equal(store.horizon, inserted, 'a horizon does not go back');
    const { dir } = store;
    await folder.close(store);
    const again = await folder.store(path.basename(dir));
    assert.equal(again.horizon, inserted);
    assert.throws(() => again.relationSize(rel, 0, created), { code: 'PAGE_GONE_BY_GC' });
    await folder.close(again);
  });
});
