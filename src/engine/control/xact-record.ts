/**
 * Main data of the Transaction resource manager's records (access/xact.h, rmgrdesc/xactdesc.c ParseCommitRecord). Both the effects and the control state
 * need it, so it is parsed here once.
 */
import { DbError } from '../errors.js';
import { formatLsn, INVALID_LSN, type Lsn } from '../lsn.js';
import type { RelFileLocator, WalRecord } from '../wal/types.js';
import { RecordReader } from './record-reader.js';
import { parseTwoPhaseState, type TwoPhaseState } from './twophase.js';

/** info & XACT_OPMASK. */
export const XACT_OPMASK = 0x70;
export const XactOp = {
  commit: 0x00,
  prepare: 0x10,
  abort: 0x20,
  commitPrepared: 0x30,
  abortPrepared: 0x40,
  assignment: 0x50,
  invalidations: 0x60,
} as const;

const HAS_INFO = 0x80;
const XINFO = {
  dbInfo: 0x001,
  subxacts: 0x002,
  relFileLocators: 0x004,
  invals: 0x008,
  twophase: 0x010,
  origin: 0x020,
  gid: 0x080,
  droppedStats: 0x100,
} as const;
/** Bits that say something without adding a chunk: AE locks, apply feedback, update relcache file, force sync commit. */
const XINFO_FLAGS = (0x040 | (1 << 29) | (1 << 30) | (1 << 31)) >>> 0;
const XINFO_KNOWN = (Object.values(XINFO).reduce((all, bit) => all | bit, 0) | XINFO_FLAGS) >>> 0;

/** End of a transaction: COMMIT, ABORT, COMMIT_PREPARED or ABORT_PREPARED. */
export interface XactEnd {
  readonly committed: boolean;
  /** The transaction's id: the record's own, or the prepared one's. */
  readonly xid: number;
  readonly prepared: boolean;
  readonly subxacts: readonly number[];
  readonly droppedRels: readonly RelFileLocator[];
  /** 8 bytes as stored (i64 microseconds since 2000): the origin's commit time if there is one, else ours. A view into the record. */
  readonly timestamp: Buffer;
  /** 0 without an origin. */
  readonly originLsn: Lsn;
}

const NONE: readonly never[] = [];

/** Throws REDO_BAD_RECORD. */
export function parseXactEnd(rec: WalRecord): XactEnd {
  const op = rec.info & XACT_OPMASK;
  const committed = op === XactOp.commit || op === XactOp.commitPrepared;
  const prepared = op === XactOp.commitPrepared || op === XactOp.abortPrepared;
  const r = new RecordReader(rec, committed ? 'COMMIT' : 'ABORT');
  let timestamp = r.bytes(8);
  const xinfo = rec.info & HAS_INFO ? r.u32() : 0;
  if ((xinfo & ~XINFO_KNOWN) !== 0) throw r.bad(`unknown xinfo bits 0x${xinfo.toString(16)}`);
  if (xinfo & XINFO.dbInfo) r.skip(8);
  const subxacts = xinfo & XINFO.subxacts ? r.xids(r.count(4)) : NONE;
  const droppedRels = xinfo & XINFO.relFileLocators ? readRelations(r) : NONE;
  if (xinfo & XINFO.droppedStats) r.skip(r.count(16) * 16);
  if (xinfo & XINFO.invals) {
    if (!committed) throw r.bad('an abort with invalidation messages');
    r.skip(r.count(16) * 16);
  }
  let xid = rec.xid;
  if (xinfo & XINFO.twophase) {
    xid = r.u32();
    if (xinfo & XINFO.gid) r.cstring();
  } else if (prepared) {
    throw r.bad('end of a prepared transaction without its id');
  }
  let originLsn = INVALID_LSN;
  if (xinfo & XINFO.origin) {
    originLsn = r.lsn();
    const originTime = r.bytes(8);
    if (committed) timestamp = originTime;
  }
  r.end();
  if (xid === 0) throw r.bad('no transaction id');
  return { committed, xid, prepared, subxacts, droppedRels, timestamp, originLsn };
}

function readRelations(r: RecordReader): RelFileLocator[] {
  const rels: RelFileLocator[] = [];
  for (let n = r.count(12); n > 0; n--) rels.push(r.relation());
  return rels;
}

/** A PREPARE record's state. Throws REDO_BAD_RECORD. */
export function parsePrepare(rec: WalRecord): TwoPhaseState {
  const where = `record PREPARE at ${formatLsn(rec.startLsn)}`;
  try {
    return parseTwoPhaseState(rec.mainData, where);
  } catch (err) {
    if (!(err instanceof DbError)) throw err;
    const message = err.message.includes(where) ? err.message : `${where}: ${err.message}`;
    throw new DbError('REDO_BAD_RECORD', message, { cause: err });
  }
}

/** xids of the subtransactions in an ASSIGNMENT record. Throws REDO_BAD_RECORD. */
export function parseAssignment(rec: WalRecord): number[] {
  const r = new RecordReader(rec, 'ASSIGNMENT');
  r.skip(4);
  const xids = r.xids(r.count(4));
  r.end();
  return xids;
}
