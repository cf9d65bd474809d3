import type { Lsn } from '../engine/lsn.js';
import { XLOG_BLCKSZ } from '../engine/page/constants.js';
import { pageHeaderSize, parsePageHeader } from '../engine/wal/page-header.js';

/**
 * A cheap check that bytes are WAL of the right place: every page header that lies whole in [begin, begin + bytes.length) says its own
 * address. Headers of zeros are the unused rest of a switched segment. Throws WAL_BAD_PAGE, WAL_WRONG_SYSTEM.
 */
export function checkWalPages(bytes: Buffer, begin: Lsn, segmentSize: number | null): void {
  if (segmentSize === null) return;
  for (let at = (XLOG_BLCKSZ - (begin % XLOG_BLCKSZ)) % XLOG_BLCKSZ; ; at += XLOG_BLCKSZ) {
    const pageLsn = (begin + at) as Lsn;
    const size = pageHeaderSize(pageLsn, segmentSize);
    if (at + size > bytes.length) return;
    const header = bytes.subarray(at, at + size);
    if (header.readUInt16LE(0) === 0 && header.every((byte) => byte === 0)) continue;
    parsePageHeader(header, pageLsn, { segmentSize, timeline: 0 });
  }
}
