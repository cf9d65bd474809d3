/**
 * The fold that makes the control state from the log: what PostgreSQL's startup process would know after replaying a record
 * (xlog_redo, ApplyWalRecord and the redo functions of the other resource managers, 18). Two things differ on purpose, because a start
 * from here is a clean start and not a recovery: a CLOG truncation moves oldestXid at once (pages before it are gone), and
 * the commit timestamp limits follow each commit.
 */
import { errorMessage } from '../errors.js';
import { Rmgr, type WalRecord } from '../wal/types.js';
import { CHECKPOINT_SIZE, parseCheckpoint } from './checkpoint.js';
import {
  MultiXactOp,
  offsetsPageInitialisedBy,
  parseMultiXactCreate,
  parseMultiXactTruncate,
  parseZeroPage,
} from './multixact-record.js';
import { RecordReader } from './record-reader.js';
import type { CheckPoint, ControlState } from './state.js';
import { parseAssignment, parsePrepare, parseXactEnd, XACT_OPMASK, XactOp } from './xact-record.js';
import { fullXidNear, multiPrecedes, nextXidPast, xidOf, xidPrecedes } from './xid.js';

const XlogOp = {
  checkpointShutdown: 0x00,
  checkpointOnline: 0x10,
  nextOid: 0x30,
  parameterChange: 0x60,
  fpwChange: 0x80,
  endOfRecovery: 0x90,
  checkpointRedo: 0xe0,
} as const;
const CLOG_TRUNCATE = 0x10;
const COMMIT_TS_TRUNCATE = 0x10;
const RUNNING_XACTS = 0x10;

/**
 * Moves `state` past `rec`, in place. Throws REDO_BAD_RECORD when the record's main data are not what its type demands (the state may then be half
 * moved: drop it).
 */
export function advance(state: ControlState, rec: WalRecord): void {
  const cp = state.checkpoint;
  if (rec.xid !== 0) cp.nextXid = nextXidPast(cp.nextXid, rec.xid);
  switch (rec.rmid) {
    case Rmgr.XLOG:
      advanceXlog(state, rec);
      break;
    case Rmgr.Transaction:
      advanceTransaction(state, rec);
      break;
    case Rmgr.MultiXact:
      advanceMultiXact(state, rec);
      break;
    case Rmgr.CLOG:
      if ((rec.info & 0xf0) === CLOG_TRUNCATE) clogTruncate(cp, rec);
      break;
    case Rmgr.CommitTs:
      if ((rec.info & 0xf0) === COMMIT_TS_TRUNCATE) commitTsTruncate(cp, rec);
      break;
    case Rmgr.Standby:
      if ((rec.info & 0xf0) === RUNNING_XACTS) runningXacts(cp, rec);
      break;
  }
  state.lastRecordLsn = rec.startLsn;
  state.lastRecordEnd = rec.endLsn;
}

function advanceXlog(state: ControlState, rec: WalRecord): void {
  const cp = state.checkpoint;
  switch (rec.info & 0xf0) {
    case XlogOp.checkpointShutdown:
    case XlogOp.checkpointOnline:
      return checkpointRecord(state, rec, (rec.info & 0xf0) === XlogOp.checkpointOnline);
    case XlogOp.nextOid:
      cp.nextOid = onlyU32(rec, 'NEXTOID');
      return;
    case XlogOp.parameterChange:
      return parameterChange(state, rec);
    case XlogOp.fpwChange: {
      const r = new RecordReader(rec, 'FPW_CHANGE');
      cp.fullPageWrites = r.u8() !== 0;
      r.end();
      return;
    }
    case XlogOp.endOfRecovery: {
      const r = new RecordReader(rec, 'END_OF_RECOVERY');
      r.skip(8);
      cp.thisTimeLineId = r.u32();
      cp.prevTimeLineId = r.u32();
      cp.walLevel = r.u32();
      r.skip(4);
      r.end();
      return;
    }
    case XlogOp.checkpointRedo:
      cp.walLevel = onlyU32(rec, 'CHECKPOINT_REDO');
      return;
  }
}

/** A shutdown checkpoint is believed exactly; an online one was gathered while others went on, so most of it is a minimum. */
function checkpointRecord(state: ControlState, rec: WalRecord, online: boolean): void {
  if (rec.mainData.length !== CHECKPOINT_SIZE)
    throw new RecordReader(rec, 'CHECKPOINT').bad(
      `${rec.mainData.length} bytes of main data, not ${CHECKPOINT_SIZE}`,
    );
  const said = checkpointIn(rec);
  const cp = state.checkpoint;
  cp.redo = said.redo;
  cp.time = said.time;
  cp.thisTimeLineId = said.thisTimeLineId;
  cp.prevTimeLineId = said.prevTimeLineId;
  cp.fullPageWrites = said.fullPageWrites;
  cp.walLevel = said.walLevel;
  cp.oldestActiveXid = said.oldestActiveXid;
  if (online) {
    cp.nextXid = Math.max(cp.nextXid, said.nextXid);
    advanceNextMulti(cp, said.nextMulti, said.nextMultiOffset);
    if (xidPrecedes(cp.oldestXid, said.oldestXid)) setOldestXid(cp, said.oldestXid, said.oldestXidDb);
    if (state.parameters.trackCommitTimestamp && said.oldestCommitTsXid !== 0) {
      if (xidPrecedes(cp.oldestCommitTsXid, said.oldestCommitTsXid))
        cp.oldestCommitTsXid = said.oldestCommitTsXid;
      if (xidPrecedes(cp.newestCommitTsXid, said.newestCommitTsXid))
        cp.newestCommitTsXid = said.newestCommitTsXid;
    }
  } else {
    cp.nextXid = said.nextXid;
    cp.nextOid = said.nextOid;
    cp.nextMulti = said.nextMulti;
    cp.nextMultiOffset = said.nextMultiOffset;
    setOldestXid(cp, said.oldestXid, said.oldestXidDb);
    cp.oldestCommitTsXid = said.oldestCommitTsXid;
    cp.newestCommitTsXid = said.newestCommitTsXid;
  }
  if (multiPrecedes(cp.oldestMulti, said.oldestMulti)) {
    cp.oldestMulti = said.oldestMulti;
    cp.oldestMultiDb = said.oldestMultiDb;
  }
  state.lastCheckpoint = { lsn: rec.startLsn, online, checkpoint: said };
}

/** parseCheckpoint() does not know where its bytes come from. */
function checkpointIn(rec: WalRecord): CheckPoint {
  try {
    return parseCheckpoint(rec.mainData);
  } catch (err) {
    throw new RecordReader(rec, 'CHECKPOINT').bad(errorMessage(err));
  }
}

function setOldestXid(cp: CheckPoint, xid: number, db: number): void {
  cp.oldestXid = xid;
  cp.oldestXidDb = db;
}

function parameterChange(state: ControlState, rec: WalRecord): void {
  const p = state.parameters;
  const next = parseParameterChange(rec);
  const { checkpoint: cp } = state;
  if (next.trackCommitTimestamp && !p.trackCommitTimestamp && cp.oldestCommitTsXid === 0) {
    cp.oldestCommitTsXid = cp.newestCommitTsXid = xidOf(cp.nextXid);
  } else if (!next.trackCommitTimestamp) {
    cp.oldestCommitTsXid = cp.newestCommitTsXid = 0;
  }
  state.parameters = next;
}

/** Parses a PARAMETER_CHANGE record. Throws REDO_BAD_RECORD. */
export function parseParameterChange(rec: WalRecord): ControlState['parameters'] {
  const r = new RecordReader(rec, 'PARAMETER_CHANGE');
  const parsed = {
    maxConnections: r.u32(),
    maxWorkerProcesses: r.u32(),
    maxWalSenders: r.u32(),
    maxPreparedXacts: r.u32(),
    maxLocksPerXact: r.u32(),
    walLevel: r.u32(),
    walLogHints: r.u8() !== 0,
    trackCommitTimestamp: r.u8() !== 0,
  };
  r.skip(2);
  r.end();
  return parsed;
}

function advanceTransaction(state: ControlState, rec: WalRecord): void {
  const cp = state.checkpoint;
  switch (rec.info & XACT_OPMASK) {
    case XactOp.commit:
    case XactOp.abort:
    case XactOp.commitPrepared:
    case XactOp.abortPrepared: {
      const end = parseXactEnd(rec);
      cp.nextXid = nextXidPast(cp.nextXid, end.xid);
      passAll(cp, end.subxacts);
      if (end.committed && state.parameters.trackCommitTimestamp) {
        const newest = end.subxacts[end.subxacts.length - 1] ?? end.xid;
        if (xidPrecedes(cp.newestCommitTsXid, newest)) cp.newestCommitTsXid = newest;
      }
      return;
    }
    case XactOp.prepare: {
      const prepared = parsePrepare(rec);
      cp.nextXid = nextXidPast(cp.nextXid, prepared.xid);
      return passAll(cp, prepared.subxacts);
    }
    case XactOp.assignment:
      return passAll(cp, parseAssignment(rec));
  }
}

function passAll(cp: CheckPoint, xids: readonly number[]): void {
  for (const xid of xids) cp.nextXid = nextXidPast(cp.nextXid, xid);
}

function advanceMultiXact(state: ControlState, rec: WalRecord): void {
  const cp = state.checkpoint;
  const tracked = state.multixactOffsets;
  switch (rec.info & 0xf0) {
    case MultiXactOp.zeroOffPage: {
      const pageno = parseZeroPage(rec, 'ZERO_OFF_PAGE');
      if (tracked.preInitialized !== pageno) tracked.lastInitialized = pageno;
      tracked.preInitialized = -1;
      return;
    }
    case MultiXactOp.createId: {
      const created = parseMultiXactCreate(rec);
      const initialised = offsetsPageInitialisedBy(created.multi, tracked);
      tracked.preInitialized = initialised ?? -1;
      if (initialised !== null) tracked.lastInitialized = initialised;
      const { multi, offset, xids } = created;
      advanceNextMulti(cp, (multi + 1) >>> 0, (offset + xids.length) >>> 0);
      return passAll(cp, xids);
    }
    case MultiXactOp.truncateId: {
      const truncated = parseMultiXactTruncate(rec);
      cp.oldestMulti = truncated.endOffset;
      cp.oldestMultiDb = truncated.oldestMultiDb;
      return;
    }
  }
}

function advanceNextMulti(cp: CheckPoint, multi: number, offset: number): void {
  if (multiPrecedes(cp.nextMulti, multi)) cp.nextMulti = multi;
  if (multiPrecedes(cp.nextMultiOffset, offset)) cp.nextMultiOffset = offset;
}

function clogTruncate(cp: CheckPoint, rec: WalRecord): void {
  const r = new RecordReader(rec, 'CLOG TRUNCATE');
  r.skip(8);
  const xid = r.u32();
  const db = r.u32();
  r.end();
  if (xidPrecedes(cp.oldestXid, xid)) setOldestXid(cp, xid, db);
}

function commitTsTruncate(cp: CheckPoint, rec: WalRecord): void {
  const r = new RecordReader(rec, 'COMMIT_TS TRUNCATE');
  r.skip(8);
  const xid = r.u32();
  r.end();
  if (cp.oldestCommitTsXid !== 0 && xidPrecedes(cp.oldestCommitTsXid, xid)) cp.oldestCommitTsXid = xid;
}

function runningXacts(cp: CheckPoint, rec: WalRecord): void {
  const r = new RecordReader(rec, 'RUNNING_XACTS');
  const top = r.u32();
  const sub = r.u32();
  r.skip(4);
  const next = r.u32();
  cp.oldestActiveXid = r.u32();
  r.skip(4);
  r.skip((top + sub) * 4);
  r.end();
  const full = fullXidNear(cp.nextXid, next);
  if (full > cp.nextXid) cp.nextXid = full;
}

function onlyU32(rec: WalRecord, name: string): number {
  const r = new RecordReader(rec, name);
  const value = r.u32();
  r.end();
  return value;
}
