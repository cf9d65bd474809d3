/**
 * The decoder over logs that the writer laid out: the same records whatever the cuts, at every alignment around page and segment
 * boundaries; from damaged or cut logs only true records, then a code or a wait for more.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { isDbError } from '../../../src/engine/errors.js';
import { formatLsn, lsn, writeLsn, type Lsn } from '../../../src/engine/lsn.js';
import { WalStreamDecoder } from '../../../src/engine/wal/stream.js';
import type { WalRecord } from '../../../src/engine/wal/types.js';
import { encodeRecord, placeRecord, recordStartAt } from '../../../src/engine/wal/writer.js';
import { writePageHeader } from '../../../src/engine/wal/page-header.js';
import {
  arbitraryContent,
  buildLog,
  decoderAt,
  drain,
  IDENTITY,
  SEGMENT,
  type Placed,
} from './log-builder.js';

const PAGE = 8192;

function sameRecords(found: readonly WalRecord[], placed: readonly Placed[]): void {
  assert.equal(found.length, placed.length);
  found.forEach((rec, i) => {
    const expected = placed[i]!;
    assert.ok(rec.raw.equals(expected.raw), `record ${i}`);
    assert.equal(rec.startLsn, expected.startLsn);
    assert.equal(rec.endLsn, expected.endLsn);
  });
}

/** Records until the decoder wants more or throws; the code it threw. */
function decodeDamaged(decoder: WalStreamDecoder): { records: WalRecord[]; code: string | null } {
  const records: WalRecord[] = [];
  try {
    for (let rec = decoder.next(); rec !== null; rec = decoder.next()) records.push(rec);
    return { records, code: null };
  } catch (err) {
    if (!isDbError(err) || !err.code.startsWith('WAL_')) throw err;
    assert.throws(
      () => decoder.next(),
      (again) => again === err,
    );
    return { records, code: err.code };
  }
}

function cutAt(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const points = [...new Set(cuts.map((c) => c % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...points].map((begin, i) => bytes.subarray(begin, points[i] ?? bytes.length));
}

/** Starts near everything interesting: pages, segments, and plain mid-page. */
const starts = fc
  .tuple(
    fc.constantFrom(5 * PAGE, SEGMENT, 2 * SEGMENT - PAGE, 3 * SEGMENT + PAGE),
    fc.integer({ min: -6, max: 12 }),
  )
  .map(([base, step]) => (step <= 0 ? base + step * 8 : base + 40 + step * 8))
  .map((n) => lsn(n));

describe('WAL stream decoder', () => {
  it('reads back what the writer placed, at every alignment around page and segment boundaries', () => {
    for (const base of [3 * PAGE, SEGMENT]) {
      for (let offset = -200; offset <= 200; offset += 8) {
        const at = base + offset;
        if (offset > 0 && offset < (base === SEGMENT ? 40 : 24)) continue;
        for (const length of [0, 1, 60, 100, 8100, 8145, 8152, 20_000]) {
          const log = buildLog(lsn(at), [
            { mainData: Buffer.alloc(length, 7) },
            { mainData: Buffer.from('next') },
          ]);
          const decoder = decoderAt(lsn(at));
          decoder.push(log.bytes);
          sameRecords(drain(decoder), log.records);
          assert.equal(decoder.position, at + log.bytes.length);
          assert.equal(decoder.pushedLsn, decoder.position);
        }
      }
    }
  });

  it('ends a record on the raw page boundary and begins the next after the header', () => {
    const at = lsn(2 * PAGE - 64);
    const log = buildLog(at, [{ mainData: Buffer.alloc(64 - 24 - 2) }, { mainData: Buffer.alloc(4) }]);
    assert.deepEqual(
      log.records.map((r) => [r.startLsn, r.endLsn]),
      [
        [2 * PAGE - 64, 2 * PAGE],
        [2 * PAGE + 24, 2 * PAGE + 24 + 32],
      ],
    );
    assert.equal(recordStartAt(lsn(SEGMENT), SEGMENT), SEGMENT + 40);
    // The page header belongs to the record after it: nothing beyond the boundary is needed for the first one.
    const decoder = decoderAt(at);
    decoder.push(log.bytes.subarray(0, 64));
    sameRecords(drain(decoder), log.records.slice(0, 1));
  });

  it('gives the same records for any chunking, and can resume at any position on the way', () => {
    fc.assert(
      fc.property(
        starts,
        fc.array(arbitraryContent, { minLength: 1, maxLength: 8 }),
        fc.array(fc.nat(), { maxLength: 30 }),
        (start, contents, cuts) => {
          const { bytes, records } = buildLog(start, contents);
          const decoder = decoderAt(start);
          const found: WalRecord[] = [];
          for (const chunk of cutAt(bytes, cuts)) {
            decoder.push(chunk);
            found.push(...drain(decoder));
            assert.ok(decoder.position <= decoder.pushedLsn);
            const complete = records.filter((r) => r.endLsn <= decoder.pushedLsn).length;
            assert.equal(found.length, complete, 'a complete record is handed out at once');

            const resumed = decoderAt(decoder.position, {
              lastRecordLsn: decoder.lastRecordLsn,
              timeline: decoder.timeline,
            });
            resumed.push(bytes.subarray(decoder.position - start));
            sameRecords(drain(resumed), records.slice(found.length));
          }
          sameRecords(found, records);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('takes one byte at a time', () => {
    const { bytes, records } = buildLog(lsn(SEGMENT - 104), [
      { mainData: Buffer.alloc(300, 1) },
      { mainData: Buffer.alloc(9000, 2) },
      {},
    ]);
    const decoder = decoderAt(lsn(SEGMENT - 104));
    const found: WalRecord[] = [];
    for (let i = 0; i < bytes.length; i++) {
      decoder.push(bytes.subarray(i, i + 1));
      found.push(...drain(decoder));
    }
    sameRecords(found, records);
  });

  it('decodes every field that was encoded', () => {
    fc.assert(
      fc.property(arbitraryContent, (content) => {
        const { bytes } = buildLog(lsn(5 * PAGE), [content]);
        const decoder = decoderAt(lsn(5 * PAGE));
        decoder.push(bytes);
        const rec = decoder.next()!;
        const { blocks = [], ...rest } = content;
        for (const [key, value] of Object.entries(rest))
          assert.deepEqual(rec[key as keyof WalRecord], value, key);
        assert.equal(rec.blocks.length, blocks.length);
        blocks.forEach((block, i) => {
          const got = rec.blocks[i]!;
          for (const key of [
            'id',
            'fork',
            'blkno',
            'willInit',
            'spcOid',
            'dbOid',
            'relNumber',
            'data',
          ] as const)
            assert.deepEqual(got[key], block[key], key);
          assert.deepEqual(got.image, block.image ?? null);
          assert.equal(got.hasImage, block.image !== undefined);
          assert.equal(got.imageInfo, block.imageInfo ?? 0);
          assert.equal(got.applyImage, ((block.imageInfo ?? 0) & 2) !== 0);
          assert.equal(got.holeOffset, block.holeOffset ?? 0);
          assert.equal(got.holeLength, block.holeLength ?? 0);
        });
      }),
    );
  });

  it('skips the zeros after a segment switch, and hands the switch out when they are all there', () => {
    const start = lsn(SEGMENT + 3 * PAGE + 48);
    const head = buildLog(start, [{ mainData: Buffer.from('a') }, { rmid: 0, info: 0x40 }]);
    const end = lsn(2 * SEGMENT);
    const zeros = Buffer.alloc(end - start - head.bytes.length);
    const tail = buildLog(end, [{ prevLsn: head.records[1]!.startLsn, mainData: Buffer.from('b') }]);
    const decoder = decoderAt(start);
    decoder.push(head.bytes);
    decoder.push(zeros.subarray(1));
    assert.equal(drain(decoder).length, 1);
    assert.equal(decoder.position, head.records[0]!.endLsn);
    decoder.push(zeros.subarray(0, 1));
    const [switched] = drain(decoder);
    assert.equal(switched!.endLsn, end);
    assert.equal(decoder.position, end);
    decoder.push(tail.bytes);
    sameRecords(drain(decoder), tail.records);
  });

  it('drops a record that was overwritten after a crash, and checks who says so', () => {
    const start = lsn(4 * PAGE + 48);
    const log = buildLog(start, [{ mainData: Buffer.from('kept') }, { mainData: Buffer.alloc(20_000, 9) }]);
    const [kept, lost] = log.records;
    const overwriteBy = (lostLsn: Lsn): Buffer => {
      const main = Buffer.alloc(16);
      writeLsn(main, lostLsn, 0);
      const raw = encodeRecord({ rmid: 0, info: 0xd0, xid: 0, prevLsn: kept!.startLsn, mainData: main });
      const placed = placeRecord(raw, lsn(6 * PAGE), IDENTITY);
      placed.bytes.writeUInt16LE(placed.bytes.readUInt16LE(2) | 0x0008, 2);
      return Buffer.concat([log.bytes.subarray(0, 6 * PAGE - start), placed.bytes]);
    };
    const decoder = decoderAt(start);
    decoder.push(overwriteBy(lost!.startLsn));
    const found = drain(decoder);
    assert.deepEqual(
      found.map((r) => [r.startLsn, r.info]),
      [
        [kept!.startLsn, 0],
        [6 * PAGE + 24, 0xd0],
      ],
    );
    const wrong = decoderAt(start);
    wrong.push(overwriteBy(kept!.startLsn));
    assert.equal(decodeDamaged(wrong).code, 'WAL_BAD_CONTRECORD');
  });

  it('never takes a cut log for more than it is', () => {
    const start = lsn(SEGMENT - 5000);
    const { bytes, records } = buildLog(
      start,
      [10, 3000, 20_000, 0, 700].map((n) => ({ mainData: Buffer.alloc(n, 5) })),
    );
    for (let n = 0; n < bytes.length; n += 13) {
      const decoder = decoderAt(start);
      decoder.push(bytes.subarray(0, n));
      sameRecords(
        drain(decoder),
        records.filter((r) => r.endLsn <= start + n),
      );
      // The same cut with the zeros of a preallocated file after it: the true records, then a code.
      const padded = decoderAt(start);
      padded.push(Buffer.concat([bytes.subarray(0, n), Buffer.alloc(3 * PAGE + 100)]));
      const { records: found, code } = decodeDamaged(padded);
      const complete = records.filter((r) => r.endLsn <= start + n).length;
      assert.ok(
        found.length === complete || found.length === complete + 1,
        `${n}: ${found.length} of ${complete}`,
      );
      sameRecords(found, records.slice(0, found.length));
      assert.notEqual(code, null);
    }
  });

  it('finds flipped bits: only true records come out, and what is covered by a check is refused', () => {
    const start = lsn(SEGMENT - 5000);
    const { bytes, records } = buildLog(
      start,
      [10, 3000, 9000, 0, 700].map((n) => ({ mainData: Buffer.alloc(n, 5) })),
    );
    const covered = (at: number): boolean =>
      records.some((r) => at >= r.startLsn && at < r.startLsn + Math.min(24, r.raw.length));
    let refused = 0;
    fc.assert(
      fc.property(fc.nat(bytes.length * 8 - 1), (bit) => {
        const damaged = Buffer.from(bytes);
        damaged[bit >> 3]! ^= 1 << (bit & 7);
        const decoder = decoderAt(start);
        decoder.push(damaged);
        const { records: found, code } = decodeDamaged(decoder);
        sameRecords(found, records.slice(0, found.length));
        if (code !== null) refused++;
        if (covered(start + (bit >> 3)))
          assert.ok(found.length < records.length, `bit ${bit} went unnoticed`);
      }),
      { numRuns: 1500 },
    );
    assert.ok(refused > 1200, `only ${refused} of 1500 flips gave a code`);
  });

  it('never crashes or hangs on random bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), fc.boolean(), (random, withHeader) => {
        const head = Buffer.alloc(24);
        writePageHeader(head, 0, lsn(5 * PAGE), 0, IDENTITY);
        const decoder = decoderAt(lsn(5 * PAGE));
        if (withHeader) decoder.push(head);
        decoder.push(Buffer.from(random));
        decodeDamaged(decoder);
      }),
    );
  });

  describe('refuses with a code and the LSN', () => {
    const start = lsn(4 * PAGE);
    const good = buildLog(start, [{ mainData: Buffer.alloc(9000, 1) }, {}]);

    function codeAfter(
      change: (bytes: Buffer) => void,
      options: { lastRecordLsn?: Lsn; timeline?: number } = {},
    ): string {
      const bytes = Buffer.from(good.bytes);
      change(bytes);
      const decoder = decoderAt(start, options);
      decoder.push(bytes);
      try {
        drain(decoder);
      } catch (err) {
        if (isDbError(err)) {
          assert.match(err.message, /\b0\/A?[0-9A-F]+\b/);
          return err.code;
        }
        throw err;
      }
      return 'none';
    }

    const cases: [string, string, (bytes: Buffer) => void][] = [
      ['nothing', 'none', () => undefined],
      ['another page magic', 'WAL_BAD_PAGE', (b) => b.writeUInt16LE(0xd116, 0)],
      ['unknown page flags', 'WAL_BAD_PAGE', (b) => b.writeUInt16LE(0x14, 2)],
      ['a long header inside a segment', 'WAL_BAD_PAGE', (b) => b.writeUInt16LE(0x06, 2)],
      ['the address of another page', 'WAL_BAD_PAGE', (b) => writeLsn(b, 9 * PAGE, 8)],
      [
        'a timeline that goes back',
        'WAL_BAD_PAGE',
        (b) => (b.writeUInt32LE(3, 4), b.writeUInt32LE(2, PAGE + 4)),
      ],
      [
        'a continuation where a record begins',
        'WAL_BAD_CONTRECORD',
        (b) => (b.writeUInt16LE(5, 2), b.writeUInt32LE(8, 16)),
      ],
      ['a continuation of another length', 'WAL_BAD_CONTRECORD', (b) => b.writeUInt32LE(17, PAGE + 16)],
      [
        'a page that continues nothing',
        'WAL_BAD_CONTRECORD',
        (b) => (b.writeUInt16LE(4, PAGE + 2), b.writeUInt32LE(0, PAGE + 16)),
      ],
      ['a length below the header', 'WAL_BAD_LENGTH', (b) => b.writeUInt32LE(23, 24)],
      ['a length over the limit', 'WAL_BAD_LENGTH', (b) => b.writeUInt32LE(0x7fffffff, 24)],
      ['an unknown resource manager', 'WAL_BAD_RMID', (b) => b.writeUInt8(22, 24 + 17)],
      ['unknown record flags', 'WAL_BAD_HEADER', (b) => b.writeUInt8(0x04, 24 + 16)],
      ['a prev-link ahead of the record', 'WAL_BAD_PREV', (b) => writeLsn(b, 5 * PAGE, 24 + 8)],
      ['a wrong checksum', 'WAL_BAD_CRC', (b) => b.writeUInt8(0xee, 200)],
    ];
    for (const [what, code, change] of cases) it(what, () => assert.equal(codeAfter(change), code));

    it('a first record that does not follow the last one known', () => {
      assert.equal(
        codeAfter(() => undefined, { lastRecordLsn: lsn(3 * PAGE + 64) }),
        'WAL_BAD_PREV',
      );
    });

    it('an older timeline than the one before the start', () => {
      assert.equal(
        codeAfter(() => undefined, { timeline: 2 }),
        'WAL_BAD_PAGE',
      );
    });

    it('the log of another system, or of another segment size', () => {
      const { bytes } = buildLog(lsn(SEGMENT), [{}]);
      const open = (systemId: bigint, segmentSize: number): WalRecord | null => {
        const decoder = new WalStreamDecoder({ startLsn: lsn(SEGMENT), segmentSize, systemId });
        decoder.push(bytes);
        return decoder.next();
      };
      assert.throws(
        () => open(1n, SEGMENT),
        (err) => isDbError(err, 'WAL_WRONG_SYSTEM'),
      );
      assert.throws(
        () => open(IDENTITY.systemId, SEGMENT / 2),
        (err) => isDbError(err, 'WAL_BAD_SEGMENT_SIZE'),
      );
      assert.ok(open(IDENTITY.systemId, SEGMENT));
    });

    it('a start inside a page header or off alignment', () => {
      for (const at of [4 * PAGE + 8, SEGMENT + 24, 4 * PAGE + 49]) {
        assert.throws(
          () => decoderAt(lsn(at)),
          (err) => isDbError(err, 'WAL_BAD_LSN') && err.message.includes(formatLsn(at)),
        );
      }
    });
  });
});
