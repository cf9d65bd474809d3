/**
 * effectsOf(): all that a WAL record does beyond its block references. One file per group of resource managers; each checks the length of what it
 * parses and throws REDO_BAD_RECORD, or REDO_UNKNOWN_RECORD, with the record's LSN.
 */
import { parseParameterChange } from '../../control/advance.js';
import { DO_NOT_REPLICATE_ID } from '../../control/files.js';
import { parseZeroPage } from '../../control/multixact-record.js';
import { RecordReader, unknownRecord } from '../../control/record-reader.js';
import { xidOf } from '../../control/xid.js';
import { implicitVmClears } from '../../redo/vm-clear.js';
import { Rmgr, type WalRecord } from '../../wal/types.js';
import { databaseEffects, relMapEffects, tablespaceEffects } from './clusterwide.js';
import { logicalMessageEffects } from './files.js';
import { multiXactEffects } from './multixact.js';
import { slruMaxPage, slruPageOf, slruPagePrecedes, TOUCH_PAGE_DELTA, ZERO_PAGE_DELTA } from './slru.js';
import { storageEffects } from './storage.js';
import { NO_EFFECTS, type Effect, type EffectContext, type SlruName } from './types.js';
import { transactionEffects } from './xact.js';

export * from './types.js';
export {
  applySlruDelta,
  slruDeltaIsWhole,
  SLRU_DIRECTORY,
  SLRU_PAGES_PER_SEGMENT,
  slruPagePrecedes,
  slruSegmentName,
  slruSegmentPrecedes,
} from './slru.js';

const XLOG_PARAMETER_CHANGE = 0x60;
const ZEROPAGE = 0x00;
const TRUNCATE = 0x10;
const ORIGIN_SET = 0x00;
const ORIGIN_DROP = 0x10;

/**
 * The effects of `rec`, which must have passed assertReplayable(); a shared empty array for most records. `ctx.control` is the state before `rec`.
 * Throws REDO_BAD_RECORD, REDO_UNKNOWN_RECORD, and REDO_UNSUPPORTED for a tablespace outside the data directory.
 */
export function effectsOf(rec: WalRecord, ctx: EffectContext): readonly Effect[] {
  switch (rec.rmid) {
    case Rmgr.Heap:
    case Rmgr.Heap2:
      return vmEffects(rec);
    case Rmgr.Btree:
    case Rmgr.Sequence:
    case Rmgr.Hash:
    case Rmgr.Gin:
    case Rmgr.Gist:
    case Rmgr.SPGist:
    case Rmgr.BRIN:
    case Rmgr.Generic:
    case Rmgr.Standby:
      return NO_EFFECTS;
    case Rmgr.XLOG:
      return (rec.info & 0xf0) === XLOG_PARAMETER_CHANGE ? parameterChangeEffects(rec, ctx) : NO_EFFECTS;
    case Rmgr.Transaction:
      return transactionEffects(rec, ctx);
    case Rmgr.Storage:
      return storageEffects(rec);
    case Rmgr.CLOG:
      return clogEffects(rec, ctx);
    case Rmgr.Database:
      return databaseEffects(rec);
    case Rmgr.Tablespace:
      return tablespaceEffects(rec);
    case Rmgr.MultiXact:
      return multiXactEffects(rec, ctx);
    case Rmgr.RelMap:
      return relMapEffects(rec);
    case Rmgr.CommitTs:
      return commitTsEffects(rec);
    case Rmgr.ReplicationOrigin:
      return originEffects(rec);
    case Rmgr.LogicalMessage:
      return logicalMessageEffects(rec, ctx);
    default:
      throw unknownRecord(rec, `resource manager ${rec.rmid}`);
  }
}

function vmEffects(rec: WalRecord): readonly Effect[] {
  const clears = implicitVmClears(rec);
  if (clears.length === 0) return NO_EFFECTS;
  return clears.map(({ rel, heapBlk, bits }) => ({ kind: 'vmClear', rel, heapBlk, bits }));
}

/** clog.c clog_redo: a truncation that would take the page in use is a wrap-around gone wrong, and is left undone (SimpleLruTruncate). */
function clogEffects(rec: WalRecord, ctx: EffectContext): readonly Effect[] {
  switch (rec.info & 0xf0) {
    case ZEROPAGE:
      return [zeroPage('xact', parseZeroPage(rec, 'CLOG ZEROPAGE'))];
    case TRUNCATE: {
      const r = new RecordReader(rec, 'CLOG TRUNCATE');
      const cutoffPage = r.u64();
      r.skip(8);
      r.end();
      const current = slruPageOf('xact', xidOf(ctx.control.checkpoint.nextXid));
      if (slruPagePrecedes('xact', current, cutoffPage)) return NO_EFFECTS;
      return [{ kind: 'slruTruncate', slru: 'xact', cutoffPage }];
    }
    default:
      throw unknownRecord(rec, 'CLOG');
  }
}

/** commit_ts.c commit_ts_redo. */
function commitTsEffects(rec: WalRecord): Effect[] {
  switch (rec.info & 0xf0) {
    case ZEROPAGE:
      return [zeroPage('commit_ts', parseZeroPage(rec, 'COMMIT_TS ZEROPAGE'))];
    case TRUNCATE: {
      const r = new RecordReader(rec, 'COMMIT_TS TRUNCATE');
      const cutoffPage = r.u64();
      r.skip(4);
      r.end();
      return [{ kind: 'slruTruncate', slru: 'commit_ts', cutoffPage }];
    }
    default:
      throw unknownRecord(rec, 'CommitTs');
  }
}

/** commit_ts.c CommitTsParameterChange: switching it on makes the page of the next xid exist, switching it off empties all. */
function parameterChangeEffects(rec: WalRecord, ctx: EffectContext): readonly Effect[] {
  const before = ctx.control.parameters.trackCommitTimestamp;
  const after = parseParameterChange(rec).trackCommitTimestamp;
  const slru = 'commit_ts';
  if (after && !before) {
    const pageno = slruPageOf(slru, xidOf(ctx.control.checkpoint.nextXid));
    return [{ kind: 'slru', slru, pageno, delta: TOUCH_PAGE_DELTA }];
  }
  if (before && !after) return [{ kind: 'slruDrop', slru, firstPage: 0, endPage: slruMaxPage(slru) + 1 }];
  return NO_EFFECTS;
}

/** origin.c replorigin_redo. */
function originEffects(rec: WalRecord): readonly Effect[] {
  switch (rec.info & 0xf0) {
    case ORIGIN_SET: {
      const r = new RecordReader(rec, 'SET');
      const remoteLsn = r.lsn();
      const id = r.u16();
      const force = r.u8() !== 0;
      r.skip(5);
      r.end();
      return id === DO_NOT_REPLICATE_ID ? NO_EFFECTS : [{ kind: 'origin', id, remoteLsn, force }];
    }
    case ORIGIN_DROP: {
      const r = new RecordReader(rec, 'DROP');
      const id = r.u16();
      r.end();
      return [{ kind: 'originDrop', id }];
    }
    default:
      throw unknownRecord(rec, 'ReplicationOrigin');
  }
}

function zeroPage(slru: SlruName, pageno: number): Effect {
  return { kind: 'slru', slru, pageno, delta: ZERO_PAGE_DELTA };
}
