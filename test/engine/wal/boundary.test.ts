/**
 * The boundary scanner finds the same record ends as the decoder, whatever the cuts: on laid-out logs around page and segment boundaries,
 * and on WAL that PostgreSQL wrote. It never says that a record has ended before all of its bytes have come.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { isDbError } from '../../../src/engine/errors.js';
import { formatLsn, lsn, parseLsn, type Lsn } from '../../../src/engine/lsn.js';
import { RecordBoundaryScanner } from '../../../src/engine/wal/boundary.js';
import { Rmgr } from '../../../src/engine/wal/types.js';
import { WalStreamDecoder } from '../../../src/engine/wal/stream.js';
import { startPlainPostgres } from '../../helpers/plain-postgres.js';
import { arbitraryContent, buildLog, IDENTITY, SEGMENT, type Placed } from './log-builder.js';

const PAGE = 8192;

/** Pushes `bytes` in pieces that end at `cuts`; checks after each that the scanner stands at the last record that has ended. */
function scan(
  start: Lsn,
  bytes: Buffer,
  cuts: readonly number[],
  records: readonly { startLsn: Lsn; endLsn: Lsn }[],
  segmentSize: number,
): void {
  // prettier-ignore
  const scanner = new RecordBoundaryScanner(start, segmentSize);
  const points = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  let begin = 0;
  let ended = 0;
  for (const end of [...points, bytes.length]) {
    scanner.push(lsn(start + begin), bytes.subarray(begin, end));
    while (ended < records.length && records[ended]!.endLsn <= start + end) ended++;
    const last = records[ended - 1];
    assert.equal(formatLsn(scanner.recordEnd), formatLsn(last?.endLsn ?? start), `after a cut at ${end}`);
    assert.equal(formatLsn(scanner.recordStart), formatLsn(last?.startLsn ?? 0), `after a cut at ${end}`);
    begin = end;
  }
  assert.equal(ended, records.length);
}

describe('RecordBoundaryScanner', () => {
  it('agrees with the layout for any contents, any start and any cuts', () => {
    const start = fc
      .tuple(
        fc.constantFrom(5 * PAGE, SEGMENT, 2 * SEGMENT - PAGE, 3 * SEGMENT),
        fc.integer({ min: -9, max: 9 }),
      )
      .map(([base, eights]) => base + eights * 8)
      // Just behind a page boundary there is the page's header, where no record can begin.
      .filter((at) => at % PAGE === 0 || at % PAGE >= (at % SEGMENT < PAGE ? 40 : 24))
      .map(lsn);
    fc.assert(
      fc.property(
        start,
        fc.array(arbitraryContent, { minLength: 1, maxLength: 12 }),
        fc.array(fc.nat(200_000), { maxLength: 30 }),
        (at, contents, cuts) => {
          const { bytes, records } = buildLog(
            at,
            contents.map((c) => ({ ...c, rmid: Rmgr.LogicalMessage })),
          );
          scan(at, bytes, cuts, records, SEGMENT);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('agrees at every single cut around a page and a segment boundary', () => {
    for (const base of [5 * PAGE, 2 * SEGMENT]) {
      for (let back = 8; back <= 160; back += 8) {
        const at = lsn(base - back);
        const { bytes, records } = buildLog(at, [{}, { mainData: Buffer.alloc(70) }, {}, { mainData: Buffer.alloc(9000) }, {}]); // prettier-ignore
        for (let cut = 0; cut < 400; cut++) scan(at, bytes, [cut], records, SEGMENT);
      }
    }
  });

  it('a SWITCH record ends with its segment, once the zeros up to there have come', () => {
    const at = lsn(SEGMENT + 100 * PAGE + 64);
    const { bytes, records } = buildLog(at, [{}, { rmid: Rmgr.XLOG, info: 0x40 }], IDENTITY);
    const segmentEnd = lsn(2 * SEGMENT);
    const zeros = Buffer.alloc(segmentEnd - at - bytes.length);
    const next = buildLog(segmentEnd, [{ mainData: Buffer.alloc(30) }]);
    const ends: Placed[] = [records[0]!, { ...records[1]!, endLsn: segmentEnd }, ...next.records];
    const all = Buffer.concat([bytes, zeros, next.bytes]);
    for (const cuts of [[], [bytes.length], [bytes.length + zeros.length - 1], [bytes.length + zeros.length]])
      scan(at, all, cuts, ends, SEGMENT);
  });

  it('says where a record claims an impossible length', () => {
    for (const length of [0, 23, 0xffffffff]) {
      const scanner = new RecordBoundaryScanner(lsn(SEGMENT + 64), SEGMENT);
      const header = Buffer.alloc(24);
      header.writeUInt32LE(length, 0);
      assert.throws(
        () => scanner.push(lsn(SEGMENT + 64), header),
        (err) => isDbError(err, 'WAL_BAD_LENGTH') && err.message.includes(formatLsn(SEGMENT + 64)),
      );
    }
  });

  it("agrees with the decoder on PostgreSQL's own WAL", async function () {
    this.timeout(60_000);
    const plain = await startPlainPostgres({
      initdbArgs: ['--wal-segsize=1'],
      settings: { wal_level: 'replica', wal_keep_size: '1GB' },
    });
    try {
      await plain.sql('checkpoint');
      const [begin] = await plain.sql('select checkpoint_lsn::text as at from pg_control_checkpoint()');
      await plain.sql('create table t (id int primary key, v text)');
      for (let i = 0; i < 3; i++) {
        await plain.sql(`insert into t select g, repeat('x', g % 900) from generate_series(${i * 1000}, ${i * 1000 + 999}) g;
          select pg_logical_emit_message(true, 'p', repeat('m', 300000)); select pg_switch_wal()`);
      }
      const [end] = await plain.sql('select pg_current_wal_insert_lsn()::text as at');
      await plain.stop();
      const segmentSize = 1024 * 1024;
      const start = parseLsn(begin!['at'] as string);
      const first = Math.floor(start / segmentSize);
      const dir = path.join(plain.dataDir, 'pg_wal');
      const files = readdirSync(dir)
        .filter((name) => /^[0-9A-F]{24}$/.test(name))
        .sort();
      const number = (name: string): number =>
        parseInt(name.slice(8, 16), 16) * 4096 + parseInt(name.slice(16), 16);
      const log = Buffer.concat(files.filter((name) => number(name) >= first).map((name) => readFileSync(path.join(dir, name)))); // prettier-ignore
      const bytes = log.subarray(
        start - first * segmentSize,
        parseLsn(end!['at'] as string) - first * segmentSize,
      );

      const decoder = new WalStreamDecoder({ startLsn: start, segmentSize });
      decoder.push(bytes);
      const records: { startLsn: Lsn; endLsn: Lsn }[] = [];
      for (let rec = decoder.next(); rec; rec = decoder.next())
        records.push({ startLsn: rec.startLsn, endLsn: rec.endLsn });
      assert.ok(records.length > 3000, `only ${records.length} records`);
      assert.ok(bytes.length > 2 * segmentSize);
      const covered = bytes.subarray(0, decoder.position - start);
      fc.assert(
        fc.property(fc.array(fc.nat(bytes.length), { maxLength: 200 }), (cuts) =>
          scan(start, covered, cuts, records, segmentSize),
        ),
        { numRuns: 10 },
      );
      scan(
        start,
        covered,
        Array.from({ length: covered.length / 131072 }, (_, i) => i * 131072),
        records,
        segmentSize,
      );
    } finally {
      await plain.destroy();
    }
  });
});
