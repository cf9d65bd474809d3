/**
 * What the checksums of several nodes say about one page: only a majority of the whole volume may call a page wrong. And putting a page right: whatever of
 * its history was lost, all reads from there on are right again, later changes included, and earlier ones are right or say that they cannot be had.
 */
import assert from 'node:assert/strict';
import { crc32c } from '@node-rs/crc32';
import fc from 'fast-check';
import { isDbError } from '../../../src/engine/errors.js';
import { lsn, type Lsn } from '../../../src/engine/lsn.js';
import { BLCKSZ } from '../../../src/engine/page/constants.js';
import { pageInit } from '../../../src/engine/page/items.js';
import { basePages } from '../../../src/engine/pages/base.js';
import { Ingester } from '../../../src/engine/pages/ingest.js';
import { Kind, OLDEST, PageVersionKey, versionKind } from '../../../src/engine/pages/keys.js';
import { judge, PageScrub, type ScrubRun } from '../../../src/engine/pages/scrub.js';
import { runEnd } from '../../../src/engine/pages/runs.js';
import type { PageStore } from '../../../src/engine/pages/store.js';
import type { CoalescePolicy } from '../../../src/engine/pages/types.js';
import { StoreFolder } from './recorded-log.js';
import { importNothing, rel, WrittenLog } from './written-log.js';

describe('judging a page by its checksums', () => {
  for (const [what, crcs, majority, verdict] of [
    ['all the same', [7, 7, 7], 2, { kind: 'equal' }],
    ['ours is wrong', [8, 7, 7], 2, { kind: 'wrong', nodes: [0], right: 1 }],
    ['ours cannot be built', [null, 7, 7], 2, { kind: 'wrong', nodes: [0], right: 1 }],
    ["another's is wrong", [7, 7, 9], 2, { kind: 'wrong', nodes: [2], right: 0 }],
    ["another's cannot be built", [7, null, 7], 2, { kind: 'wrong', nodes: [1], right: 0 }],
    ['two that answer differ', [7, 8], 2, { kind: 'disputed' }],
    ['all differ', [7, 8, 9], 2, { kind: 'disputed' }],
    ['two cannot build it', [7, null, null], 2, { kind: 'disputed' }],
    ['nobody can build it', [null, null, null], 2, { kind: 'disputed' }],
    ['two of six agree, the rest is away', [7, 7], 4, { kind: 'equal' }],
    ['three of six against one', [8, 7, 7, 7], 4, { kind: 'disputed' }],
    ['four of six against two', [8, 8, 7, 7, 7, 7], 4, { kind: 'wrong', nodes: [0, 1], right: 2 }],
  ] as const)
    it(what, () => assert.deepEqual(judge(crcs, majority), verdict));

  it('never calls two different contents right, and never calls one of the majority wrong', () => {
    const node = fc.option(fc.integer({ min: 1, max: 3 }));
    fc.assert(
      fc.property(fc.array(node, { minLength: 1, maxLength: 7 }), (crcs) => {
        const majority = Math.floor(crcs.length / 2) + 1;
        const verdict = judge(crcs, majority);
        if (verdict.kind === 'wrong') {
          const right = crcs[verdict.right];
          assert.ok(right !== null && !verdict.nodes.includes(verdict.right));
          assert.ok(crcs.filter((crc) => crc === right).length >= majority);
          assert.deepEqual(verdict.nodes, crcs.flatMap((crc, i) => (crc === right ? [] : [i]))); // prettier-ignore
        } else if (verdict.kind === 'disputed')
          for (const crc of [1, 2, 3]) assert.ok(crcs.filter((other) => other === crc).length < majority);
        else assert.ok(crcs.every((crc) => crc !== null && crc === crcs[0]));
      }),
      { seed: 4 },
    );
  });
});

describe('putting a page right', function () {
  this.timeout(60_000);
  const BLOCKS = 4;
  let folder: StoreFolder;

  before(async () => {
    folder = await StoreFolder.create();
  });
  after(() => folder.destroy());

  /** Records of one relation; half of the rows go to block 0, so that batches have runs. */
  function grow(log: WrittenLog, count: number, chance: () => number, tuples: number[], ends: Lsn[]): void {
    for (let i = 0; i < count; i++) {
      const blkno = chance() < 0.5 ? 0 : Math.min(Math.floor(chance() * BLOCKS), tuples.length);
      if (chance() < 0.06 && blkno < tuples.length) {
        const page = Buffer.alloc(BLCKSZ);
        pageInit(page, 0);
        page.write(`image ${ends.length}`, 4000);
        tuples[blkno] = 0;
        ends.push(log.image(rel, 0, blkno, page));
      } else {
        const offset = (tuples[blkno] = ((tuples[blkno] ?? 0) % 30) + 1);
        ends.push(log.insert(rel, blkno, offset, `row ${ends.length}`));
      }
    }
  }

  function page(store: PageStore, blkno: number, at: Lsn): string {
    try {
      return String(crc32c(store.getPage({ ...rel, fork: 0, blkno }, at)));
    } catch (err) {
      return `! ${isDbError(err) ? err.code : String(err)}`;
    }
  }

  const policies: readonly CoalescePolicy[] = [
    { kind: 'lazy' },
    { kind: 'background', pageDeltas: 6, slruDeltas: 6 },
    { kind: 'eager' },
  ];
  for (const [seed, coalesce] of policies.entries())
    it(`leaves every read as it should be (images: ${coalesce.kind})`, async () => {
      let state = seed + 1;
      const chance = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
      let split = 0;
      let gone = 0;
      for (let round = 0; round < 5; round++) {
        const store = await folder.store(`a-${seed}-${round}`, { memtableBytes: 4 << 20, coalesce });
        const whole = await folder.store(`b-${seed}-${round}`, {
          memtableBytes: 4 << 20,
          coalesce: { kind: 'lazy' },
        });
        for (const each of [store, whole]) importNothing(each);
        const ingester = new Ingester(store, { secret: null });
        const other = new Ingester(whole, { secret: null });
        const log = new WrittenLog(ingester);
        const tuples: number[] = [];
        const ends: Lsn[] = [log.create(rel)];
        for (let batch = 0; batch < 8; batch++) {
          grow(log, 1 + Math.floor(chance() * 30), chance, tuples, ends);
          log.flush();
        }
        for (const rec of log.records) other.ingestBatch([rec]);

        const at = ends[Math.floor(ends.length * (0.3 + 0.6 * chance()))]!;
        const blkno = Math.floor(chance() * 2);
        const { db } = store.parts;
        const key = new PageVersionKey().setPage(0, rel, 0, blkno);
        const rows = db.keys(Buffer.from(key.newest(at)), Buffer.from(key.endOf(OLDEST)), 1000);
        // What a run that goes on holds of later changes must stay: only the page up to `at` is put right.
        const whollyBefore = rows.filter(
          (row) => versionKind(row) !== Kind.run || runEnd(row, db.get(row)!) <= at,
        );
        const lost = whollyBefore[Math.floor(chance() * whollyBefore.length)];
        if (lost) {
          const batch = db.batch();
          batch.delete(lost);
          batch.write(false);
        }
        const first = rows[0];
        if (first && !whollyBefore.includes(first)) split++;

        const run: ScrubRun = { kind: 'pages', rel, fork: 0, first: blkno, count: 1 };
        const [image] = basePages(whole, rel, 0, blkno, 1, at);
        const scrub = new PageScrub(store);
        scrub.replace(run, image ?? { blkno, version: lsn(0), image: Buffer.alloc(0) }, at);
        ingester.reload();
        assert.deepEqual(scrub.digest(run, at).crcs, new PageScrub(whole).digest(run, at).crcs);
        const compare = (where: string): void => {
          for (const end of ends)
            for (let block = 0; block < BLOCKS; block++) {
              const found = page(store, block, end);
              if (end < at && found === '! PAGE_GONE_BY_GC') gone++;
              else assert.equal(found, page(whole, block, end), `round ${round}, ${where}: block ${block} at ${end}, repaired at ${at}`); // prettier-ignore
            }
        };
        compare('after the repair');
        const before = log.records.length;
        grow(log, 40, chance, tuples, ends);
        log.flush();
        for (const rec of log.records.slice(before)) other.ingestBatch([rec]);
        compare('after more log');
        await folder.close(store);
        await folder.close(whole);
      }
      assert.ok(gone > 0, 'no read before a repair was refused');
      if (coalesce.kind === 'lazy') assert.ok(split > 0, 'no run went on beyond a repair');
    });
});
