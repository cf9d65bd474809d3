// Printing a log with a record that can be decoded but not described: the records before it are shown, then the error that names it.
import assert from 'node:assert/strict';
import { isDbError } from '../../src/engine/errors.js';
import { formatLsn, lsn, type Lsn } from '../../src/engine/lsn.js';
import type { WalSource } from '../../src/engine/wal/reader.js';
import { Rmgr } from '../../src/engine/wal/types.js';
import { encodeLogicalMessage } from '../../src/engine/wal/writer.js';
import { dumpWal } from '../../src/inspect/wal-dump.js';
import { buildLog, IDENTITY } from '../engine/wal/log-builder.js';

describe('inspect wal', () => {
  const start = lsn(5 * 8192 + 40);
  const message = { mainData: encodeLogicalMessage({ prefix: 'p', content: Buffer.from('m') }) };
  const log = buildLog(start, [
    message,
    message,
    { rmid: Rmgr.Standby, info: 0x10, mainData: Buffer.from('short') },
    message,
  ]);
  const end = lsn(start + log.bytes.length);
  const source: WalSource = {
    segmentSize: IDENTITY.segmentSize,
    start,
    firstRecord: start,
    end,
    read: (begin: Lsn, to: Lsn) => log.bytes.subarray(begin - start, Math.min(to, end) - start),
  };

  for (const json of [false, true]) {
    it(`shows what precedes a record that it cannot describe, then the error${json ? ', as JSON too' : ''}`, async () => {
      let shown = '';
      const dump = dumpWal(
        { source, place: { kind: 'folder', dir: '' } },
        {
          matches: () => true,
          json,
          signal: new AbortController().signal,
          write: (text) => {
            shown += text;
            return Promise.resolve(true);
          },
          note: () => undefined,
        },
      );
      const at = formatLsn(log.records[2]!.startLsn);
      await assert.rejects(
        dump,
        (err) => isDbError(err, 'WAL_BAD_RECORD') && err.message.includes(`WAL record at ${at} is too short`),
      );
      assert.equal(shown.trimEnd().split('\n').length, 2);
    });
  }
});
