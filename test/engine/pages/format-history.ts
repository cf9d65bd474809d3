/** The history in fixtures/pages-format-1.json, which a release that knew no runs ingested in two batches, without coalescing. */
import type { Lsn } from '../../../src/engine/lsn.js';
import { BLCKSZ } from '../../../src/engine/page/constants.js';
import { pageInit } from '../../../src/engine/page/items.js';
import { ForkNumber } from '../../../src/engine/wal/types.js';
import { rel, type WrittenLog } from './written-log.js';

const XIDS_PER_CLOG_PAGE = 32768;

/** End LSNs of all records. */
export function writeFormatHistory(log: WrittenLog): Lsn[] {
  const other = { ...rel, relNumber: rel.relNumber + 1 };
  const map = Buffer.alloc(BLCKSZ);
  pageInit(map, 0);
  map.fill(0xff, 24, 64);
  const ends = [log.create(rel), log.create(other)];
  for (let offset = 1; offset <= 6; offset++)
    ends.push(
      log.insert(rel, 0, offset, `first ${offset}`),
      log.insert(other, offset % 2, Math.ceil(offset / 2), `other ${offset}`),
      log.commit(62 * XIDS_PER_CLOG_PAGE + 4 * offset),
    );
  ends.push(log.create(rel, ForkNumber.vm), log.image(rel, ForkNumber.vm, 0, map));
  log.flush();
  for (let offset = 7; offset <= 9; offset++) ends.push(log.insert(rel, 0, offset, `then ${offset}`, true));
  ends.push(log.insert(rel, 1, 1, 'second block'), log.insert(rel, 1, 2, 'second row'));
  ends.push(log.update(rel, 0, 2, 1, 3), log.truncate(rel, 1), log.insert(rel, 0, 10, 'last row'));
  ends.push(log.originSet(3, 4000), log.drop(other));
  log.flush();
  return ends;
}
