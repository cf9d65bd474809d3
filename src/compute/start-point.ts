import {
  buildControlFile,
  encodeCheckpoint,
  shutdownCheckpoint,
  type ControlState,
} from '../engine/control/index.js';
import { walFileName } from '../engine/control/names.js';
import { lsn, type Lsn } from '../engine/lsn.js';
import { FILE_MESSAGE_PREFIX } from '../engine/pages/effects/files.js';
import { WalStreamDecoder } from '../engine/wal/stream.js';
import { Rmgr } from '../engine/wal/types.js';
import { encodeRecord, placeRecord, recordStartAt, type PlacedRecord } from '../engine/wal/writer.js';
import { STATISTICS_FILE } from './volume-files.js';

const XLOG_CHECKPOINT_SHUTDOWN = 0x00;

/** Where and from what a PostgreSQL is started: a shutdown checkpoint of our own making at X, as if it had been stopped there. */
export interface StartPoint {
  readonly state: ControlState;
  /** The checkpoint record, laid out at X: the first bytes of the new epoch. */
  readonly checkpoint: PlacedRecord;
  /** C: end of the checkpoint record. The data directory is as of this LSN. */
  readonly lsn: Lsn;
  readonly controlFile: Buffer;
}

/** Writes the checkpoint that a PostgreSQL stopped cleanly at X would have written; transactions in flight at X never happened. */
export function makeStartPoint(state: ControlState, recoveryLsn: Lsn, timeSeconds: number): StartPoint {
  const { segmentSize } = state;
  const recordLsn = recordStartAt(recoveryLsn, segmentSize);
  const checkpoint = shutdownCheckpoint(state, recordLsn, timeSeconds);
  const raw = encodeRecord({
    rmid: Rmgr.XLOG,
    info: XLOG_CHECKPOINT_SHUTDOWN,
    xid: 0,
    prevLsn: state.lastRecordLsn,
    mainData: encodeCheckpoint(checkpoint),
  });
  const placed = placeRecord(raw, recoveryLsn, {
    segmentSize,
    systemId: BigInt(state.systemIdentifier),
    timeline: checkpoint.thisTimeLineId,
  });
  const controlFile = buildControlFile(state, { checkpointLsn: recordLsn, checkpoint, timeSeconds });
  return { state, checkpoint: placed, lsn: placed.endLsn, controlFile };
}

/** Bytes of a WAL segment file, from its start; the rest of the file is zeros. */
export interface WalSegment {
  readonly name: string;
  readonly bytes: Buffer;
}

/** Reads the log [begin, end). */
export type ReadLog = (begin: Lsn, end: Lsn) => Promise<Buffer>;

/**
 * The WAL segments in which PostgreSQL goes on: the real log up to X, then the checkpoint record, which may begin in one segment and end
 * in the next.
 */
export async function startSegments(
  readLog: ReadLog,
  point: StartPoint,
  recoveryLsn: Lsn,
): Promise<WalSegment[]> {
  const { segmentSize, checkpoint } = point.state;
  // When X is the end of a segment, the record begins in the next one.
  const first = lsn(Math.floor(recoveryLsn / segmentSize) * segmentSize);
  const before = recoveryLsn > first ? await readLog(first, recoveryLsn) : Buffer.alloc(0);
  const bytes = Buffer.concat([before, point.checkpoint.bytes]);
  const segments: WalSegment[] = [];
  for (let at = 0; at < bytes.length; at += segmentSize) {
    segments.push({
      name: walFileName(checkpoint.thisTimeLineId, lsn(first + at), segmentSize),
      bytes: bytes.subarray(at, at + segmentSize),
    });
  }
  return segments;
}

/** Whether the log's last record is the statistics that a clean stop handed over: only then are they true at X. */
export async function endsWithStatistics(
  readLog: ReadLog,
  state: ControlState,
  recoveryLsn: Lsn,
): Promise<boolean> {
  if (state.lastRecordLsn === 0) return false;
  const decoder = new WalStreamDecoder({ startLsn: state.lastRecordLsn, segmentSize: state.segmentSize });
  decoder.push(await readLog(state.lastRecordLsn, recoveryLsn));
  const record = decoder.next();
  if (record?.rmid !== Rmgr.LogicalMessage) return false;
  const marker = Buffer.from(`${FILE_MESSAGE_PREFIX}\0{"name":"${STATISTICS_FILE}"`);
  return record.mainData.subarray(24, 24 + marker.length).equals(marker);
}
