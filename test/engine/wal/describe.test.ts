/** Lines and tables as pg_waldump prints them. The texts of each record type are compared with PostgreSQL in golden.test.ts. */
import assert from 'node:assert/strict';
import { lsn, maxAlign } from '../../../src/engine/lsn.js';
import { decodeRecord } from '../../../src/engine/wal/decode.js';
import {
  describeRecord,
  formatRecord,
  recordTypeName,
  RMGR_RECORD_TYPES,
  rmgrByName,
  rmgrName,
} from '../../../src/engine/wal/describe.js';
import { isDbError } from '../../../src/engine/errors.js';
import { WalStats } from '../../../src/engine/wal/stats.js';
import type { WalRecord } from '../../../src/engine/wal/types.js';
import { encodeRecord, type RecordToWrite } from '../../../src/engine/wal/writer.js';

function made(content: Partial<RecordToWrite>): WalRecord {
  const raw = encodeRecord({
    rmid: 10,
    info: 0,
    xid: 745,
    prevLsn: lsn(0x1_0000_0028),
    mainData: Buffer.from([3, 0, 8]),
    ...content,
  });
  return decodeRecord(raw, lsn(0x1_0000_1000), lsn(0x1_0000_1000 + maxAlign(raw.length)));
}

const REL = { spcOid: 1663, dbOid: 5, relNumber: 16384 };

describe('WAL descriptions', () => {
  it('know the 22 resource managers and 118 record types of PostgreSQL 18', () => {
    assert.equal(RMGR_RECORD_TYPES.length, 22);
    const counts = RMGR_RECORD_TYPES.map((r) => r.types.filter((t) => !t.endsWith('+INIT')).length);
    assert.deepEqual(counts, [14, 7, 2, 2, 3, 2, 4, 1, 3, 8, 8, 15, 13, 9, 6, 1, 8, 6, 2, 2, 1, 1]);
    assert.equal(
      counts.reduce((a, b) => a + b),
      118,
    );
    for (const { rmid, name } of RMGR_RECORD_TYPES) assert.equal(rmgrByName(name.toLowerCase()), rmid);
    assert.equal(rmgrByName('custom130'), 130);
    assert.equal(rmgrByName('nothing'), -1);
    assert.equal(rmgrName(130), 'custom130');
    assert.equal(recordTypeName(0, 0xc0), 'UNKNOWN (c0)');
    assert.equal(recordTypeName(1, 0x80), 'COMMIT');
  });

  it('print a record on one line', () => {
    const rec = made({
      blocks: [
        { id: 0, ...REL, fork: 0, blkno: 3, image: Buffer.alloc(8192), imageInfo: 0x02 },
        {
          id: 1,
          ...REL,
          fork: 2,
          blkno: 0,
          image: Buffer.alloc(100),
          imageInfo: 0x01,
          holeOffset: 60,
          holeLength: 8092,
        },
      ],
    });
    assert.equal(
      formatRecord(rec),
      'rmgr: Heap        len (rec/tot):     67/  8359, tx:        745, lsn: 1/00001000, prev 1/00000028, ' +
        'desc: INSERT off: 3, flags: 0x08, blkref #0: rel 1663/5/16384 blk 3 FPW, ' +
        'blkref #1: rel 1663/5/16384 fork vm blk 0 FPW for WAL verification',
    );
    assert.equal(describeRecord(made({ rmid: 130 })).desc, 'rmid: 130');
  });

  it('refuse contents that end too early', () => {
    assert.throws(
      () => describeRecord(made({ mainData: Buffer.from([1]) })),
      (err) =>
        isDbError(err, 'WAL_BAD_RECORD') &&
        err.message.includes('1/1000 is too short for a Heap/INSERT record'),
    );
  });

  it('sum up in the table of --stats', () => {
    const stats = new WalStats();
    assert.equal(stats.format(), '');
    const image = { id: 0, ...REL, fork: 0, blkno: 3, image: Buffer.alloc(8192), imageInfo: 0x02 };
    for (const rec of [
      made({}),
      made({}),
      made({ blocks: [image] }),
      made({ rmid: 1, info: 0x80 }),
      made({ rmid: 1 }),
    ])
      stats.add(rec);
    assert.deepEqual(stats.total(), { count: 5, recordBytes: 4 * 29 + 54, fpiBytes: 8192 });
    assert.deepEqual(
      stats.byRecordType().map((r) => [r.rmgr, r.type, r.count]),
      [
        ['Transaction', 'COMMIT', 2],
        ['Heap', 'INSERT', 3],
      ],
    );
    const lines = stats.format('record').split('\n');
    assert.equal(lines[0], 'WAL statistics between 1/1000 and 1/1020:');
    assert.equal(
      lines[4],
      'Heap/INSERT                                    3 ( 60.00)                  112 ( 65.88)' +
        '                 8192 (100.00)                 8304 ( 99.31)',
    );
    // printf("%-27s %20 %-9s%20 %-9s%20 %-9s%20 %-6s")
    const n = (value: number): string => String(value).padStart(20);
    const share = (value: string): string => value.padEnd(9);
    assert.equal(
      lines.at(-1),
      `${'Total'.padEnd(27)} ${n(5)} ${share('')}${n(170)} ${share('[2.03%]')}${n(8192)} ${share('[97.97%]')}${n(8362)} [100%]`,
    );
    assert.equal(stats.format('rmgr').split('\n').length, 3 + 22 + 2);
  });
});
