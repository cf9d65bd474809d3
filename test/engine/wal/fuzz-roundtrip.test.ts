// What the writer writes the decoder reads, in every form that a record's headers can have, and what PostgreSQL wrote the writer writes again:
// the same bytes. And a record that announces much gets no memory before its bytes have come.
import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { isDbError } from '../../../src/engine/errors.js';
import { formatLsn, lsn } from '../../../src/engine/lsn.js';
import { decodeRecord } from '../../../src/engine/wal/decode.js';
import { describeRecord } from '../../../src/engine/wal/describe.js';
import { writePageHeader } from '../../../src/engine/wal/page-header.js';
import { WalStreamDecoder } from '../../../src/engine/wal/stream.js';
import type { BlockRef, WalRecord } from '../../../src/engine/wal/types.js';
import {
  encodeLogicalMessage,
  encodeRecord,
  placeRecord,
  type BlockToWrite,
  type RecordToWrite,
} from '../../../src/engine/wal/writer.js';
import { loadCorpus, recordCorpus } from '../../helpers/wal-corpus.js';
import { buildLog, decoderAt, drain, IDENTITY, SEGMENT } from './log-builder.js';
import { RARE_RECORDS } from './rare-records.js';

const PAGE = 8192;
const runs = Number(process.env['FUZZ_RUNS'] ?? 300);
const seed = process.env['SEED'] === undefined ? {} : { seed: Number(process.env['SEED']) };

const u32 = fc.oneof(fc.nat(0xffffffff), fc.constantFrom(0, 1, 0x7fffffff, 0x80000000, 0xffffffff));
const filled = (length: number, byte: number): Buffer => Buffer.alloc(length, byte);

/** Lengths around everything that changes a header's form or place: the two main data headers, u16, pages. */
const lengths = (...more: number[]): fc.Arbitrary<number> =>
  fc.oneof(fc.nat(300), fc.constantFrom(0, 1, 255, 256, 8100, 8160, 8168, 8192, ...more));

/** Every kind of image that PostgreSQL can log: whole or with a hole, plain or packed in one of three ways, to apply or to compare. */
const image: fc.Arbitrary<Partial<BlockToWrite>> = fc
  .record({
    method: fc.constantFrom(0, 0x04, 0x08, 0x10),
    hole: fc.boolean(),
    apply: fc.boolean(),
    offset: fc.integer({ min: 1, max: 4000 }),
    length: fc.integer({ min: 1, max: 4000 }),
    packed: fc.integer({ min: 1, max: PAGE - 1 }),
  })
  .map(({ method, hole, apply, offset, length, packed }) => {
    const size = method === 0 ? (hole ? PAGE - length : PAGE) : packed;
    return {
      image: filled(size, 3),
      imageInfo: (hole ? 0x01 : 0) | (apply ? 0x02 : 0) | method,
      holeOffset: hole ? offset : 0,
      holeLength: hole ? length : 0,
    };
  });

const block = fc
  .record({
    fork: fc.nat(3),
    blkno: u32,
    spcOid: fc.constantFrom(1663, 1664),
    dbOid: fc.constantFrom(0, 5),
    relNumber: fc.constantFrom(7, 0xffffffff),
    willInit: fc.boolean(),
    data: lengths(65_535).map((n) => filled(n, 5)),
    image: fc.option(image, { nil: {} }),
  })
  .map(({ image, ...rest }) => ({ ...rest, ...image }));

const content: fc.Arbitrary<Omit<RecordToWrite, 'prevLsn'>> = fc.record({
  rmid: fc.oneof(fc.nat(21), fc.integer({ min: 128, max: 255 })),
  info: fc.nat(255).map((info) => info & 0xf3),
  xid: u32,
  mainData: lengths(70_000).map((n) => filled(n, 6)),
  blocks: fc
    .tuple(fc.uniqueArray(fc.nat(32), { maxLength: 33 }), fc.array(block, { minLength: 33, maxLength: 33 }))
    .map(([ids, blocks]) => ids.sort((a, b) => a - b).map((id, i) => ({ ...blocks[i]!, id }))),
  origin: fc.nat(65_535),
  toplevelXid: u32,
});

function assertSame(rec: WalRecord, written: Omit<RecordToWrite, 'prevLsn'>): void {
  const { blocks = [], mainData, ...rest } = written;
  for (const [key, value] of Object.entries(rest)) assert.equal(rec[key as keyof WalRecord], value, key);
  assert.ok(rec.mainData.equals(mainData), 'main data');
  assert.equal(rec.blocks.length, blocks.length);
  blocks.forEach((expected, i) => {
    const got = rec.blocks[i]!;
    for (const key of ['id', 'fork', 'blkno', 'willInit', 'spcOid', 'dbOid', 'relNumber'] as const)
      assert.equal(got[key], expected[key], `${key} of block ${i}`);
    assert.ok(got.data.equals(expected.data!), `data of block ${i}`);
    assertSameImage(got, expected, i);
  });
}

function assertSameImage(got: BlockRef, expected: BlockToWrite, i: number): void {
  const { image = null, imageInfo = 0, holeOffset = 0, holeLength = 0 } = expected;
  assert.deepEqual(
    [got.hasImage, got.imageInfo, got.applyImage, got.holeOffset, got.holeLength],
    [image !== null, imageInfo, (imageInfo & 2) !== 0, holeOffset, holeLength],
    `image of block ${i}`,
  );
  assert.ok(image === null ? got.image === null : got.image!.equals(image), `image bytes of block ${i}`);
}

/** SWITCH ends its segment; the stream's own tests are about that. */
const isSwitch = ({ rmid, info }: { rmid: number; info: number }): boolean =>
  rmid === 0 && (info & 0xf0) === 0x40;

describe('WAL records, written and read', function () {
  this.timeout(60_000);

  it('are the same in every form of header', () => {
    fc.assert(
      fc.property(content, (written) => {
        const prevLsn = lsn(4 * PAGE);
        const raw = encodeRecord({ ...written, prevLsn });
        const rec = decodeRecord(raw, lsn(5 * PAGE), lsn(6 * PAGE));
        assertSame(rec, written);
        assert.equal(rec.prevLsn, prevLsn);
        assert.ok(encodeRecord(rec).equals(raw), 'written again, it differs');
      }),
      { numRuns: runs, ...seed },
    );
  });

  it('are the same out of a log, wherever in a page or segment they lie', () => {
    fc.assert(
      fc.property(
        fc.array(
          content.filter((c) => !isSwitch(c)),
          { minLength: 1, maxLength: 5 },
        ),
        fc.nat(1022).map((n) => lsn(SEGMENT - PAGE + 24 + 8 * (n % 1021))),
        (contents, start) => {
          const { bytes, records } = buildLog(start, contents);
          const decoder = decoderAt(start);
          decoder.push(bytes);
          const found = drain(decoder);
          assert.equal(found.length, records.length);
          found.forEach((rec, i) => assertSame(rec, contents[i]!));
        },
      ),
      { numRuns: Math.ceil(runs / 4), ...seed },
    );
  });

  it('come out of the writer as PostgreSQL itself wrote them', async () => {
    const dir = await fs.mkdtemp(path.join(os.tmpdir(), 'oa-roundtrip-'));
    try {
      await recordCorpus(dir, RARE_RECORDS);
      const { records, startLsn, bytes, segmentSize, systemId } = loadCorpus(dir);
      assert.ok(records.length > 5000);
      let at = startLsn;
      let wrapped = 0;
      for (const rec of records) {
        const raw = encodeRecord(rec);
        assert.ok(raw.equals(rec.raw), `the record at ${formatLsn(rec.startLsn)}`);
        const placed = placeRecord(raw, at, { segmentSize, systemId, timeline: 1 });
        assert.equal(placed.startLsn, rec.startLsn);
        if (!isSwitch(rec)) {
          assert.equal(placed.endLsn, rec.endLsn);
          const original = bytes.subarray(at - startLsn, placed.endLsn - startLsn);
          // PostgreSQL marks pages "removable" only while no backup runs; all else is the same.
          if (Math.floor(at / PAGE) === Math.floor((placed.endLsn - 1) / PAGE) && at % PAGE !== 0)
            assert.ok(placed.bytes.equals(original), `bytes of the log at ${formatLsn(at)}`);
          else wrapped++;
        }
        at = rec.endLsn;
      }
      assert.ok(wrapped > 500, 'pages begin inside records');
    } finally {
      await fs.rm(dir, { recursive: true, force: true });
    }
  });
});

describe('WAL records that announce more than there is', () => {
  /** A page of log with the beginning of a record of `length` bytes. */
  function beginning(length: number): Buffer {
    const page = Buffer.alloc(PAGE, 0x77);
    const size = writePageHeader(page, 0, lsn(5 * PAGE), 0, IDENTITY);
    const raw = encodeRecord({ rmid: 21, info: 0, xid: 1, prevLsn: lsn(64), mainData: filled(100, 1) });
    raw.copy(page, size);
    page.writeUInt32LE(length, size);
    return page;
  }

  it('take no memory for it', () => {
    for (const length of [1020 * 1024 * 1024, 512 * 1024 * 1024, 64 * 1024 * 1024]) {
      const decoder = decoderAt(lsn(5 * PAGE));
      const before = process.memoryUsage();
      decoder.push(beginning(length));
      assert.equal(decoder.next(), null);
      const after = process.memoryUsage();
      const grown = after.arrayBuffers + after.heapTotal - before.arrayBuffers - before.heapTotal;
      assert.ok(grown < 16 * 2 ** 20, `${grown} bytes for a record of ${length} bytes`);
      // The next page does not continue such a record: that is where it is noticed.
      const next = Buffer.alloc(PAGE);
      writePageHeader(next, 0, lsn(6 * PAGE), 100, IDENTITY);
      decoder.push(next);
      assert.throws(
        () => decoder.next(),
        (err) => isDbError(err, 'WAL_BAD_CONTRECORD') && err.message.includes(formatLsn(5 * PAGE + 24)),
      );
    }
  });

  it('are refused at once beyond the largest length that PostgreSQL writes', () => {
    for (const length of [1020 * 1024 * 1024 + 1, 0xffffffff, 23, 0]) {
      const decoder = decoderAt(lsn(5 * PAGE));
      decoder.push(beginning(length));
      assert.throws(
        () => decoder.next(),
        (err) => isDbError(err, 'WAL_BAD_LENGTH') && err.message.includes(formatLsn(5 * PAGE + 24)),
      );
    }
  });

  it('hide no record behind a segment switch', () => {
    const start = lsn(SEGMENT + 3 * PAGE + 48);
    const head = buildLog(start, [{ mainData: Buffer.from('a') }, { rmid: 0, info: 0x40 }, {}]);
    const end = lsn(2 * SEGMENT);
    const bytes = Buffer.alloc(end - start);
    head.bytes.copy(bytes);
    const strict = decoderAt(start);
    strict.push(bytes);
    assert.equal(strict.next()!.startLsn, start);
    assert.throws(
      () => strict.next(),
      (err) => isDbError(err, 'WAL_BAD_SWITCH') && err.message.includes(formatLsn(head.records[1]!.startLsn)),
    );
    // In pg_wal, the file's former content can be there.
    const { segmentSize, systemId } = IDENTITY;
    const lenient = new WalStreamDecoder({ startLsn: start, segmentSize, systemId, recycledFiles: true });
    lenient.push(bytes);
    assert.deepEqual(
      drain(lenient).map((rec) => rec.endLsn),
      [head.records[0]!.endLsn, end],
    );
  });
});

describe('a description', () => {
  it('of a message too long for words says how long it is', () => {
    const content = Buffer.alloc(600 * 1024 * 1024);
    const mainData = encodeLogicalMessage({ prefix: 'p', content });
    const rec: WalRecord = {
      ...decodeRecord(
        encodeRecord({ rmid: 21, info: 0, xid: 1, prevLsn: lsn(64), mainData: encodeLogicalMessage({ prefix: 'p', content: Buffer.alloc(1) }) }), // prettier-ignore
        lsn(5 * PAGE),
        lsn(6 * PAGE),
      ),
      mainData,
    };
    const { desc } = describeRecord(rec);
    assert.ok(desc.startsWith(`non-transactional, prefix "p"; payload (${content.length} bytes): 00 00`));
    assert.ok(desc.length < 64 * 1024 * 1024);
  });
});
