/** Reading pg_wal folders made by hand: where to begin, where to stop and why, and following a log that grows. */
import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { isDbError } from '../../../src/engine/errors.js';
import { lsn, type Lsn } from '../../../src/engine/lsn.js';
import { WalReader, type WalReaderOptions } from '../../../src/engine/wal/reader.js';
import { openWalDirectory, parseSegmentFileName, segmentFileName } from '../../../src/engine/wal/segments.js';
import type { WalRecord } from '../../../src/engine/wal/types.js';
import { placeRecord, encodeRecord } from '../../../src/engine/wal/writer.js';
import { buildLog, IDENTITY, SEGMENT } from './log-builder.js';

const FIRST = 3 * SEGMENT;

describe('pg_wal folders', () => {
  let dir: string;

  beforeEach(async () => {
    dir = await fs.mkdtemp(path.join(os.tmpdir(), 'oa-wal-'));
  });
  afterEach(async () => {
    await fs.rm(dir, { recursive: true, force: true });
  });

  /** Writes `bytes` of the log at `begin` into preallocated segment files. */
  async function write(begin: number, bytes: Buffer, timeline = 1): Promise<void> {
    for (let at = begin; at < begin + bytes.length;) {
      const segment = Math.floor(at / SEGMENT);
      const offset = at % SEGMENT;
      const size = Math.min(SEGMENT - offset, begin + bytes.length - at);
      const file = path.join(dir, segmentFileName(timeline, segment, SEGMENT));
      const handle = await fs.open(file, (await fs.readdir(dir)).includes(path.basename(file)) ? 'r+' : 'w+');
      await handle.truncate(SEGMENT);
      await handle.write(bytes, at - begin, size, offset);
      await handle.close();
      at += size;
    }
  }

  async function read(options: WalReaderOptions = {}): Promise<{ records: WalRecord[]; reader: WalReader }> {
    const source = await openWalDirectory(dir);
    const reader = new WalReader(source, options);
    const records: WalRecord[] = [];
    for await (const rec of reader.records()) records.push(rec);
    await source.close();
    return { records, reader };
  }

  const contents = (lengths: readonly number[]): { mainData: Buffer }[] =>
    lengths.map((n, i) => ({ mainData: Buffer.alloc(n, i) }));
  const starts = (records: readonly { startLsn: Lsn }[]): Lsn[] => records.map((r) => r.startLsn);

  it('name segments as PostgreSQL does', () => {
    assert.equal(segmentFileName(1, 1, 16 * 1024 * 1024), '000000010000000000000001');
    assert.equal(segmentFileName(0x2a, 256, 16 * 1024 * 1024), '0000002A0000000100000000');
    assert.equal(segmentFileName(1, 4097, SEGMENT), '000000010000000100000001');
    for (const size of [SEGMENT, 16 * SEGMENT, 1024 * SEGMENT]) {
      for (const segmentNumber of [0, 1, 255, 4096, 123_456]) {
        assert.deepEqual(parseSegmentFileName(segmentFileName(7, segmentNumber, size), size), {
          timeline: 7,
          segmentNumber,
        });
      }
    }
    assert.equal(parseSegmentFileName('000000010000000000000100', 16 * SEGMENT), null);
    assert.equal(parseSegmentFileName('000000010000000000000001.partial', SEGMENT), null);
  });

  it('are read across segments up to the zeros after the last record', async () => {
    const log = buildLog(lsn(FIRST), contents([100, 900_000, 300_000, 40, 1_500_000, 8]));
    await write(FIRST, log.bytes);
    const { records, reader } = await read();
    assert.deepEqual(starts(records), starts(log.records));
    assert.deepEqual(reader.end && [reader.end.lsn, reader.end.kind, reader.end.code], [
      log.records.at(-1)!.endLsn,
      'invalid',
      'WAL_BAD_LENGTH',
    ]);
    assert.equal(reader.position, log.records.at(-1)!.endLsn);
  });

  it('begin with the first complete record, wherever the folder or the wish begins', async () => {
    const log = buildLog(lsn(FIRST), contents([100, SEGMENT + 20_000, 300, 40, 30_000, 8]));
    await write(FIRST, log.bytes);
    const all = log.records;
    for (const from of [
      FIRST,
      FIRST + 40,
      FIRST + 41,
      all[1]!.startLsn,
      all[1]!.startLsn + 1,
      FIRST + SEGMENT + 9000,
    ]) {
      const { records } = await read({ start: lsn(from) });
      assert.deepEqual(
        starts(records),
        starts(all).filter((at) => at >= from),
        `from ${from}`,
      );
    }
    await fs.rm(path.join(dir, segmentFileName(1, 3, SEGMENT)));
    const { records } = await read();
    assert.deepEqual(starts(records), starts(all).slice(2));
    await assert.rejects(read({ start: lsn(FIRST) }), (err) => isDbError(err, 'USAGE_WAL_START'));
  });

  it('stop at the end asked for', async () => {
    const log = buildLog(lsn(FIRST), contents([10, 20, 30, 40]));
    await write(FIRST, log.bytes);
    for (const [end, count] of [
      [log.records[2]!.startLsn, 2],
      [log.records[2]!.startLsn + 1, 3],
      [FIRST + 40, 0],
    ] as const) {
      const { records, reader } = await read({ end: lsn(end) });
      assert.equal(records.length, count);
      assert.equal(reader.end?.kind, 'limit');
    }
  });

  it('report a torn tail with its place and cause, and hand out nothing of it', async () => {
    const log = buildLog(lsn(FIRST), contents([10, 20_000, 300]));
    const last = log.records[2]!;
    const torn = Buffer.from(log.bytes);
    torn.fill(0, last.startLsn - FIRST + 100);
    await write(FIRST, torn);
    let { records, reader } = await read();
    assert.equal(records.length, 2);
    assert.deepEqual(
      [reader.end!.lsn, reader.end!.kind, reader.end!.code],
      [last.startLsn, 'invalid', 'WAL_BAD_CRC'],
    );
    assert.match(reader.end!.reason, /WAL record at 0\/304EC0 /);

    // Torn inside a record of several pages: the next page was never written.
    const middle = Buffer.from(log.bytes);
    middle.fill(0, 8192);
    await write(FIRST, middle);
    ({ records, reader } = await read());
    assert.equal(records.length, 1);
    assert.deepEqual([reader.end!.lsn, reader.end!.code], [log.records[1]!.startLsn, 'WAL_BAD_PAGE']);
  });

  it('end where a recycled segment begins, or where a file is missing', async () => {
    const log = buildLog(lsn(FIRST), [{ mainData: Buffer.alloc(50) }, { rmid: 0, info: 0x40 }]);
    await write(FIRST, Buffer.concat([log.bytes, Buffer.alloc(SEGMENT - log.bytes.length)]));
    let { records, reader } = await read();
    assert.equal(records.length, 2);
    assert.deepEqual([reader.end!.kind, reader.end!.lsn], ['eof', FIRST + SEGMENT]);

    const old = await fs.readFile(path.join(dir, segmentFileName(1, 3, SEGMENT)));
    await fs.writeFile(path.join(dir, segmentFileName(1, 4, SEGMENT)), old);
    ({ records, reader } = await read());
    assert.equal(records.length, 2);
    assert.deepEqual([reader.end!.lsn, reader.end!.code], [FIRST + SEGMENT, 'WAL_BAD_PAGE']);
    assert.match(reader.end!.reason, /says that it is page 0\/300000/);
    // From inside the zeros after the switch, too.
    ({ records } = await read({ start: lsn(FIRST + 50 * 8192) }));
    assert.equal(records.length, 0);
  });

  it('of several timelines are read along the newest', async () => {
    const old = buildLog(lsn(FIRST), contents([10, 20, 30]));
    await write(FIRST, old.bytes);
    const fork = old.records[2]!.startLsn;
    const raw = encodeRecord({
      rmid: 21,
      info: 0,
      xid: 9,
      prevLsn: old.records[1]!.startLsn,
      mainData: Buffer.from('new'),
    });
    const placed = placeRecord(raw, fork, { ...IDENTITY, timeline: 2 });
    await write(FIRST, Buffer.concat([old.bytes.subarray(0, fork - FIRST), placed.bytes]), 2);
    const { records } = await read();
    assert.deepEqual(
      records.map((r) => r.xid),
      [7, 7, 9],
    );
    const source = await openWalDirectory(dir, { timeline: 1 });
    const xids: number[] = [];
    for await (const rec of new WalReader(source).records()) xids.push(rec.xid);
    await source.close();
    assert.deepEqual(xids, [7, 7, 7]);
  });

  it('are followed as they grow, half-written records included, until told to stop', async () => {
    const log = buildLog(lsn(FIRST), contents([10, 20_000, 300, SEGMENT, 50]));
    const half = log.records[1]!.startLsn + 9000 - FIRST;
    await write(FIRST, log.bytes.subarray(0, half));
    const source = await openWalDirectory(dir);
    const stop = new AbortController();
    const reader = new WalReader(source, { follow: true, signal: stop.signal });
    const seen: Lsn[] = [];
    let wroteRest = false;
    for await (const rec of reader.records()) {
      seen.push(rec.startLsn);
      if (!wroteRest) {
        wroteRest = true;
        setTimeout(() => void write(FIRST, log.bytes), 30);
      }
      if (seen.length === log.records.length) stop.abort();
    }
    await source.close();
    assert.deepEqual(seen, starts(log.records));
    assert.equal(reader.end?.kind, 'aborted');
  });

  it('are refused when there is nothing to read', async () => {
    await assert.rejects(openWalDirectory(dir), (err) => isDbError(err, 'USAGE_WAL_DIRECTORY'));
    await assert.rejects(openWalDirectory(path.join(dir, 'absent')), (err) =>
      isDbError(err, 'USAGE_WAL_DIRECTORY'),
    );
    await fs.writeFile(path.join(dir, segmentFileName(1, 3, SEGMENT)), Buffer.alloc(SEGMENT));
    await assert.rejects(openWalDirectory(dir), (err) => isDbError(err, 'WAL_NOT_PG18'));
  });
});
