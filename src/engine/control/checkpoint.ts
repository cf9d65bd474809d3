/**
 * PostgreSQL's CheckPoint struct (catalog/pg_control.h, 18): main data of CHECKPOINT_SHUTDOWN and CHECKPOINT_ONLINE records, and a part of pg_control. 88
 * bytes, little-endian, zero padding:
 *    0 redo lsn            8 ThisTimeLineID u32    12 PrevTimeLineID u32     16 fullPageWrites bool   20 wal_level i32
 *   24 nextXid fxid       32 nextOid u32           36 nextMulti u32          40 nextMultiOffset u32
 *   44 oldestXid u32      48 oldestXidDB u32       52 oldestMulti u32        56 oldestMultiDB u32     64 time i64
 *   72 oldestCommitTsXid  76 newestCommitTsXid     80 oldestActiveXid u32
 */
import { DbError } from '../errors.js';
import { readLsn, writeLsn, type Lsn } from '../lsn.js';
import type { CheckPoint, ControlState } from './state.js';

export const CHECKPOINT_SIZE = 88;
const TWO_32 = 0x1_0000_0000;

/** Parses 88 bytes at `at`. Throws REDO_BAD_RECORD when they are not there or hold a number beyond 2^53. */
export function parseCheckpoint(buf: Buffer, at = 0): CheckPoint {
  if (buf.length - at < CHECKPOINT_SIZE)
    throw new DbError(
      'REDO_BAD_RECORD',
      `checkpoint: need ${CHECKPOINT_SIZE} bytes, have ${buf.length - at}`,
    );
  return {
    redo: readLsn(buf, at),
    thisTimeLineId: buf.readUInt32LE(at + 8),
    prevTimeLineId: buf.readUInt32LE(at + 12),
    fullPageWrites: buf[at + 16] !== 0,
    walLevel: buf.readInt32LE(at + 20),
    nextXid: readU64(buf, at + 24),
    nextOid: buf.readUInt32LE(at + 32),
    nextMulti: buf.readUInt32LE(at + 36),
    nextMultiOffset: buf.readUInt32LE(at + 40),
    oldestXid: buf.readUInt32LE(at + 44),
    oldestXidDb: buf.readUInt32LE(at + 48),
    oldestMulti: buf.readUInt32LE(at + 52),
    oldestMultiDb: buf.readUInt32LE(at + 56),
    time: readU64(buf, at + 64),
    oldestCommitTsXid: buf.readUInt32LE(at + 72),
    newestCommitTsXid: buf.readUInt32LE(at + 76),
    oldestActiveXid: buf.readUInt32LE(at + 80),
  };
}

/** The 88 bytes of a checkpoint. */
export function encodeCheckpoint(cp: CheckPoint): Buffer {
  const buf = Buffer.alloc(CHECKPOINT_SIZE);
  writeLsn(buf, cp.redo, 0);
  buf.writeUInt32LE(cp.thisTimeLineId, 8);
  buf.writeUInt32LE(cp.prevTimeLineId, 12);
  buf[16] = cp.fullPageWrites ? 1 : 0;
  buf.writeInt32LE(cp.walLevel, 20);
  writeU64(buf, cp.nextXid, 24);
  buf.writeUInt32LE(cp.nextOid, 32);
  buf.writeUInt32LE(cp.nextMulti, 36);
  buf.writeUInt32LE(cp.nextMultiOffset, 40);
  buf.writeUInt32LE(cp.oldestXid, 44);
  buf.writeUInt32LE(cp.oldestXidDb, 48);
  buf.writeUInt32LE(cp.oldestMulti, 52);
  buf.writeUInt32LE(cp.oldestMultiDb, 56);
  writeU64(buf, cp.time, 64);
  buf.writeUInt32LE(cp.oldestCommitTsXid, 72);
  buf.writeUInt32LE(cp.newestCommitTsXid, 76);
  buf.writeUInt32LE(cp.oldestActiveXid, 80);
  return buf;
}

/**
 * What a shutdown checkpoint record that starts at `recordLsn` says in this state; encodeCheckpoint() of it is the record's main data. `timeSeconds`
 * is Unix time. Transactions in flight are not mentioned: whatever clog does not call committed never happened.
 */
export function shutdownCheckpoint(state: ControlState, recordLsn: Lsn, timeSeconds: number): CheckPoint {
  const running = state.checkpoint;
  return {
    ...running,
    redo: recordLsn,
    prevTimeLineId: running.thisTimeLineId,
    time: timeSeconds,
    oldestActiveXid: 0,
  };
}

/** A little-endian u64 that must be exact as a number. Throws REDO_BAD_RECORD. */
export function readU64(buf: Buffer, at: number): number {
  const high = buf.readUInt32LE(at + 4);
  if (high > 0x1f_ffff)
    throw new DbError('REDO_BAD_RECORD', `number beyond 2^53: high word 0x${high.toString(16)}`);
  return high * TWO_32 + buf.readUInt32LE(at);
}

export function writeU64(buf: Buffer, value: number, at: number): void {
  buf.writeUInt32LE(value % TWO_32, at);
  buf.writeUInt32LE(Math.floor(value / TWO_32), at + 4);
}
