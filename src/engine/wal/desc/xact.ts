/** Transaction records (xactdesc.c). */
import { maxAlign } from '../../lsn.js';
import type { WalRecord } from '../types.js';
import {
  cstringAt,
  invalidations,
  lsnAt,
  readRel,
  relPath,
  timestampAt,
  u32List,
  type RmgrDesc,
} from './text.js';

const HAS_INFO = 0x80;
const XINFO = {
  dbInfo: 0x001,
  subxacts: 0x002,
  relations: 0x004,
  invalidations: 0x008,
  twoPhase: 0x010,
  origin: 0x020,
  gid: 0x080,
  droppedStats: 0x100,
  applyFeedback: 1 << 29,
  updateRelcacheFile: 1 << 30,
  forceSyncCommit: 1 << 31,
} as const;

/** `count` items of a fixed size at `at`. */
interface Items {
  at: number;
  count: number;
}

const NONE: Items = { at: 0, count: 0 };

/** Where the optional parts of a commit or abort record lie (ParseCommitRecord, ParseAbortRecord). */
interface Completion {
  xinfo: number;
  dbOid: number;
  tsOid: number;
  subxacts: Items;
  relations: Items;
  stats: Items;
  invalidations: Items;
  twoPhaseXid: number;
  /** Offset of origin_lsn, origin_timestamp; -1 without an origin. */
  origin: number;
}

function parseCompletion(rec: WalRecord, isCommit: boolean): Completion {
  const d = rec.mainData;
  let at = 8;
  const items = (size: number): Items => {
    const found = { at: at + 4, count: d.readInt32LE(at) };
    at += 4 + found.count * size;
    return found;
  };
  let xinfo = 0;
  if (rec.info & HAS_INFO) {
    xinfo = d.readUInt32LE(at);
    at += 4;
  }
  let dbOid = 0;
  let tsOid = 0;
  if (xinfo & XINFO.dbInfo) {
    dbOid = d.readUInt32LE(at);
    tsOid = d.readUInt32LE(at + 4);
    at += 8;
  }
  const subxacts = xinfo & XINFO.subxacts ? items(4) : NONE;
  const relations = xinfo & XINFO.relations ? items(12) : NONE;
  const stats = xinfo & XINFO.droppedStats ? items(16) : NONE;
  const inval = isCommit && xinfo & XINFO.invalidations ? items(16) : NONE;
  let twoPhaseXid = 0;
  if (xinfo & XINFO.twoPhase) {
    twoPhaseXid = d.readUInt32LE(at);
    at += 4;
    if (xinfo & XINFO.gid) at = d.indexOf(0, at) + 1;
  }
  const origin = xinfo & XINFO.origin ? at : -1;
  return { xinfo, dbOid, tsOid, subxacts, relations, stats, invalidations: inval, twoPhaseXid, origin };
}

function relations(d: Buffer, label: string, { at, count }: Items): string {
  if (count <= 0) return '';
  let out = `; ${label}:`;
  for (let i = 0; i < count; i++) out += ` ${relPath(readRel(d, at + 12 * i))}`;
  return out;
}

function subxacts(d: Buffer, { at, count }: Items): string {
  return count > 0 ? `; subxacts:${u32List(d, at, count)}` : '';
}

function droppedStats(d: Buffer, label: string, { at, count }: Items): string {
  if (count <= 0) return '';
  let out = `; ${label}dropped stats:`;
  for (let i = 0; i < count; i++) {
    const item = at + 16 * i;
    out += ` ${d.readInt32LE(item)}/${d.readUInt32LE(item + 4)}/${d.readBigUInt64LE(item + 8)}`;
  }
  return out;
}

/** origin_lsn u64, origin_timestamp i64 at `at`. */
function origin(rec: WalRecord, at: number): string {
  const d = rec.mainData;
  return `; origin: node ${rec.origin}, lsn ${lsnAt(d, at)}, at ${timestampAt(d, at + 8)}`;
}

function commit(rec: WalRecord): string {
  const d = rec.mainData;
  const c = parseCompletion(rec, true);
  const inval = { dbOid: c.dbOid, tsOid: c.tsOid, initFile: (c.xinfo & XINFO.updateRelcacheFile) !== 0 };
  return (
    (c.twoPhaseXid !== 0 ? `${c.twoPhaseXid}: ` : '') +
    timestampAt(d, 0) +
    relations(d, 'rels', c.relations) +
    subxacts(d, c.subxacts) +
    droppedStats(d, '', c.stats) +
    invalidations(d, c.invalidations.at, c.invalidations.count, inval) +
    (c.xinfo & XINFO.applyFeedback ? '; apply_feedback' : '') +
    (c.xinfo & XINFO.forceSyncCommit ? '; sync' : '') +
    (c.origin >= 0 ? origin(rec, c.origin) : '')
  );
}

function abort(rec: WalRecord): string {
  const d = rec.mainData;
  const c = parseCompletion(rec, false);
  return (
    (c.twoPhaseXid !== 0 ? `${c.twoPhaseXid}: ` : '') +
    timestampAt(d, 0) +
    relations(d, 'rels', c.relations) +
    subxacts(d, c.subxacts) +
    (c.origin >= 0 ? origin(rec, c.origin) : '') +
    droppedStats(d, '', c.stats)
  );
}

/** xl_xact_prepare (72 bytes), then gid and arrays, each padded to 8 bytes. */
function prepare(rec: WalRecord): string {
  const d = rec.mainData;
  let at = 72 + maxAlign(d.readUInt16LE(54));
  const items = (countAt: number, size: number): Items => {
    const found = { at, count: d.readInt32LE(countAt) };
    at += maxAlign(found.count * size);
    return found;
  };
  const subs = items(28, 4);
  const commitRels = items(32, 12);
  const abortRels = items(36, 12);
  const commitStats = items(40, 16);
  const abortStats = items(44, 16);
  const inval = items(48, 16);
  return (
    `gid ${cstringAt(d, 72)}: ${timestampAt(d, 16)}` +
    relations(d, 'rels(commit)', commitRels) +
    relations(d, 'rels(abort)', abortRels) +
    droppedStats(d, 'commit ', commitStats) +
    droppedStats(d, 'abort ', abortStats) +
    subxacts(d, subs) +
    invalidations(d, inval.at, inval.count, {
      dbOid: d.readUInt32LE(12),
      tsOid: 0,
      initFile: d.readUInt8(52) !== 0,
    }) +
    (rec.origin !== 0 ? origin(rec, 56) : '')
  );
}

export const xactDesc: RmgrDesc = {
  name: 'Transaction',
  opMask: 0x70,
  ops: {
    0x00: { name: 'COMMIT', text: commit },
    0x10: { name: 'PREPARE', text: prepare },
    0x20: { name: 'ABORT', text: abort },
    0x30: { name: 'COMMIT_PREPARED', text: commit },
    0x40: { name: 'ABORT_PREPARED', text: abort },
    0x50: {
      name: 'ASSIGNMENT',
      text: ({ mainData: d }) => `xtop ${d.readUInt32LE(0)}: subxacts:${u32List(d, 8, d.readInt32LE(4))}`,
    },
    0x60: {
      name: 'INVALIDATION',
      text: ({ mainData: d }) =>
        invalidations(d, 4, d.readInt32LE(0), { dbOid: 0, tsOid: 0, initFile: false }),
    },
  },
};
