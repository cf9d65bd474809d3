/** Records in words, as pg_waldump and pg_walinspect print them: every resource manager and record type of PostgreSQL 18. */
import { DbError } from '../errors.js';
import { formatLsn } from '../lsn.js';
import { BLCKSZ } from '../page/constants.js';
import { btreeDesc } from './desc/btree.js';
import { heap2Desc, heapDesc } from './desc/heap.js';
import {
  brinDesc,
  genericDesc,
  ginDesc,
  gistDesc,
  hashDesc,
  sequenceDesc,
  spgistDesc,
} from './desc/indexes.js';
import {
  clogDesc,
  commitTsDesc,
  databaseDesc,
  logicalMessageDesc,
  multiXactDesc,
  relMapDesc,
  replicationOriginDesc,
  smgrDesc,
  standbyDesc,
  tablespaceDesc,
} from './desc/system.js';
import { forkName, type RmgrDesc } from './desc/text.js';
import { xactDesc } from './desc/xact.js';
import { xlogDesc } from './desc/xlog.js';
import { BKPIMAGE_COMPRESSED, BKPIMAGE_LZ4, BKPIMAGE_PGLZ } from './format.js';
import type { BlockRef, WalRecord } from './types.js';

/** By resource manager id (rmgrlist.h). */
const RMGRS: readonly RmgrDesc[] = [
  xlogDesc,
  xactDesc,
  smgrDesc,
  clogDesc,
  databaseDesc,
  tablespaceDesc,
  multiXactDesc,
  relMapDesc,
  standbyDesc,
  heap2Desc,
  heapDesc,
  btreeDesc,
  hashDesc,
  ginDesc,
  gistDesc,
  sequenceDesc,
  spgistDesc,
  brinDesc,
  commitTsDesc,
  replicationOriginDesc,
  genericDesc,
  logicalMessageDesc,
];

/** All built-in resource managers in the order of their ids, with the names of their record types (+INIT variants too). */
export const RMGR_RECORD_TYPES: readonly { rmid: number; name: string; types: readonly string[] }[] =
  RMGRS.map((rmgr, rmid) => ({ rmid, name: rmgr.name, types: Object.values(rmgr.ops).map((op) => op.name) }));

export interface RecordDescription {
  /** Resource manager, e.g. `Heap`; `custom128` for extensions'. */
  readonly rmgr: string;
  /** Record type, e.g. `INSERT+INIT`; `UNKNOWN (c0)` when there is none. */
  readonly name: string;
  /** What PostgreSQL prints after the name; may be empty. Times are in UTC. */
  readonly desc: string;
  /** pg_walinspect's block_ref: `blkref #0: rel 1663/5/1259 fork main blk 3 (FPW); hole: ...`; empty without blocks. */
  readonly blockRefs: string;
}

export function rmgrName(rmid: number): string {
  return RMGRS[rmid]?.name ?? `custom${String(rmid).padStart(3, '0')}`;
}

/** Id of a resource manager by its name, in any case; -1 when there is none. */
export function rmgrByName(name: string): number {
  const wanted = name.toLowerCase();
  const custom = /^custom(\d{3})$/.exec(wanted);
  if (custom) return Number(custom[1]);
  return RMGRS.findIndex((rmgr) => rmgr.name.toLowerCase() === wanted);
}

/** Name of the record type that `info` (xl_info) means for `rmid`. */
export function recordTypeName(rmid: number, info: number): string {
  const rmgr = RMGRS[rmid];
  return rmgr?.ops[info & rmgr.opMask]?.name ?? `UNKNOWN (${(info & 0xf0).toString(16)})`;
}

/** Throws WAL_BAD_RECORD when the record's contents end before its description does. */
export function describeRecord(rec: WalRecord): RecordDescription {
  const rmgr = RMGRS[rec.rmid];
  const op = rmgr?.ops[rec.info & rmgr.opMask];
  let desc = rmgr === undefined ? `rmid: ${rec.rmid}` : '';
  if (op?.text) {
    try {
      desc = op.text(rec);
    } catch (err) {
      if (!(err instanceof RangeError)) throw err;
      throw new DbError(
        'WAL_BAD_RECORD',
        `WAL record at ${formatLsn(rec.startLsn)} is too short for a ${rmgr!.name}/${op.name} record`,
        { cause: err, details: { lsn: rec.startLsn } },
      );
    }
  }
  return {
    rmgr: rmgrName(rec.rmid),
    name: recordTypeName(rec.rmid, rec.info),
    desc,
    blockRefs: rec.blocks.map((block) => (block.id > 0 ? ' ' : '') + detailedBlockRef(block)).join(''),
  };
}

function detailedBlockRef(block: BlockRef): string {
  const ref =
    `blkref #${block.id}: rel ${block.spcOid}/${block.dbOid}/${block.relNumber} ` +
    `fork ${forkName(block.fork)} blk ${block.blkno}`;
  if (!block.hasImage) return ref;
  const image =
    `${ref} (FPW${block.applyImage ? '' : ' for WAL verification'}); ` +
    `hole: offset: ${block.holeOffset}, length: ${block.holeLength}`;
  const method = block.imageInfo & BKPIMAGE_COMPRESSED;
  if (method === 0) return image;
  const saved = BLCKSZ - block.holeLength - (block.image?.length ?? 0);
  const name = method === BKPIMAGE_PGLZ ? 'pglz' : method === BKPIMAGE_LZ4 ? 'lz4' : 'zstd';
  return `${image}, compression saved: ${saved}, method: ${name}`;
}

/** pg_waldump's short form, with its leading comma: `, blkref #0: rel 1663/5/1259 blk 3 FPW`. */
function shortBlockRef(block: BlockRef): string {
  const fork = block.fork === 0 ? '' : ` fork ${forkName(block.fork)}`;
  const image = !block.hasImage ? '' : block.applyImage ? ' FPW' : ' FPW for WAL verification';
  return (
    `, blkref #${block.id}: rel ${block.spcOid}/${block.dbOid}/${block.relNumber}${fork} ` +
    `blk ${block.blkno}${image}`
  );
}

/** Bytes of page images in the record (what pg_waldump counts as FPI size). */
export function imageBytes(rec: WalRecord): number {
  let bytes = 0;
  for (const block of rec.blocks) if (block.image !== null) bytes += block.image.length;
  return bytes;
}

/** The record on one line, as pg_waldump prints it (LSNs with eight low digits, as there). Throws as describeRecord. */
export function formatRecord(rec: WalRecord): string {
  const { rmgr, name, desc } = describeRecord(rec);
  const own = String(rec.raw.length - imageBytes(rec)).padStart(6);
  const total = String(rec.raw.length).padStart(6);
  return (
    `rmgr: ${rmgr.padEnd(11)} len (rec/tot): ${own}/${total}, tx: ${String(rec.xid).padStart(10)}, ` +
    `lsn: ${paddedLsn(rec.startLsn)}, prev ${paddedLsn(rec.prevLsn)}, ` +
    `desc: ${name} ${desc}${rec.blocks.map(shortBlockRef).join('')}`
  );
}

function paddedLsn(value: number): string {
  const [high, low] = formatLsn(value).split('/') as [string, string];
  return `${high}/${low.padStart(8, '0')}`;
}
