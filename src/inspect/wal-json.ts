/** A WAL record as plain JSON, for `inspect wal --json`: one object a line. */
import { formatLsn } from '../engine/lsn.js';
import { describeRecord, imageBytes } from '../engine/wal/describe.js';
import { forkName } from '../engine/wal/desc/text.js';
import { shortenFile } from './wal-line.js';
import type { WalRecord } from '../engine/wal/types.js';

export interface RecordJson {
  lsn: string;
  endLsn: string;
  prevLsn: string;
  rmgr: string;
  type: string;
  xid: number;
  /** Bytes of the whole record, and of it without page images. */
  totalLength: number;
  recordLength: number;
  description: string;
  blocks: {
    id: number;
    relation: string;
    fork: string;
    block: number;
    init: boolean;
    image: 'apply' | 'verify' | null;
  }[];
}

export function recordJson(rec: WalRecord): RecordJson {
  const { rmgr, name, desc } = describeRecord(rec);
  return {
    lsn: formatLsn(rec.startLsn),
    endLsn: formatLsn(rec.endLsn),
    prevLsn: formatLsn(rec.prevLsn),
    rmgr,
    type: name,
    xid: rec.xid,
    totalLength: rec.raw.length,
    recordLength: rec.raw.length - imageBytes(rec),
    description: shortenFile(desc),
    blocks: rec.blocks.map((ref) => ({
      id: ref.id,
      relation: `${ref.spcOid}/${ref.dbOid}/${ref.relNumber}`,
      fork: forkName(ref.fork),
      block: ref.blkno,
      init: ref.willInit,
      image: ref.hasImage ? (ref.applyImage ? 'apply' : 'verify') : null,
    })),
  };
}
