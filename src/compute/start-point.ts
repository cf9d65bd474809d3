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
import type { StorageClient } from '../net/storage-client.js';
import type { ReadRouter } from './read-router.js';
import { STATISTICS_FILE } from './volume-files.js';

const XLOG_CHECKPOINT_SHUTDOWN = 0x00;
const READ_BYTES = 4 * 1024 * 1024;

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

/** The WAL segment in which PostgreSQL goes on: the real log up to X, then the checkpoint record. */
export async function startSegment(
  reader: ReadRouter,
  point: StartPoint,
  recoveryLsn: Lsn,
): Promise<{ name: string; bytes: Buffer; segmentSize: number }> {
  const { segmentSize, checkpoint } = point.state;
  // The record may have to begin in a segment of its own, when X is the end of one.
  const segmentStart = lsn(Math.floor((point.lsn - 1) / segmentSize) * segmentSize);
  const before =
    recoveryLsn > segmentStart ? await readLog(reader, segmentStart, recoveryLsn) : Buffer.alloc(0);
  const record = point.checkpoint.bytes.subarray(Math.max(segmentStart - recoveryLsn, 0));
  return {
    name: walFileName(checkpoint.thisTimeLineId, segmentStart, segmentSize),
    bytes: Buffer.concat([before, record]),
    segmentSize,
  };
}

/** Log bytes [begin, end) from any node that has them. */
async function readLog(reader: ReadRouter, begin: Lsn, end: Lsn): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let at: number = begin; at < end;) {
    const from = lsn(at);
    const piece = await reader.read(
      'log',
      async (client: StorageClient) =>
        (await client.readLog({ begin: from, end, maxBytes: READ_BYTES })).bytes,
    );
    parts.push(piece);
    at += piece.length;
  }
  return Buffer.concat(parts);
}

/** Whether the log's last record is the statistics that a clean stop handed over: only then are they true at X. */
export async function endsWithStatistics(
  reader: ReadRouter,
  state: ControlState,
  recoveryLsn: Lsn,
): Promise<boolean> {
  if (state.lastRecordLsn === 0) return false;
  const decoder = new WalStreamDecoder({ startLsn: state.lastRecordLsn, segmentSize: state.segmentSize });
  decoder.push(await readLog(reader, state.lastRecordLsn, recoveryLsn));
  const record = decoder.next();
  if (record?.rmid !== Rmgr.LogicalMessage) return false;
  const marker = Buffer.from(`${FILE_MESSAGE_PREFIX}\0{"name":"${STATISTICS_FILE}"`);
  return record.mainData.subarray(24, 24 + marker.length).equals(marker);
}
