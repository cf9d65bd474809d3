import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { buildControlFile, DbState, type ControlState } from '../engine/control/index.js';
import { DbError, errorMessage, isDbError } from '../engine/errors.js';
import { formatLsn, INVALID_LSN, lsn, type Lsn } from '../engine/lsn.js';
import { XLOG_BLCKSZ } from '../engine/page/constants.js';
import { WalStreamDecoder } from '../engine/wal/stream.js';
import { Rmgr } from '../engine/wal/types.js';
import { LeaseKeeper } from './lease-keeper.js';
import type { ReadRouter } from './read-router.js';
import { roomForAll, type Room } from './standby-room.js';
import type { StorageLinks } from './storage-links.js';
import { untilStopped } from './until-stopped.js';

const ASK_MS = 5000;
/** How long the primary has for a checkpoint that a replica needs. */
const CHECKPOINT_MS = 60_000;
const POLL_MS = 100;
/** Of no use to a standby: PostgreSQL refuses to begin from such a checkpoint. Of a cluster that was imported, or set up, with it; here it has another from its first start on. */
const WAL_LEVEL_MINIMAL = 0;
/**
 * More than the longest of the records that a checkpoint's redo LSN may point to, page headers included; and a WAL page on top, for a
 * piece of the log that is not all ends with a page, which may be in the middle of that record.
 */
const REDO_BYTES = XLOG_BLCKSZ + 512;
/** What a node may not know yet to be committed is known a moment later. */
const REDO_WAIT_MS = 1000;
/** With more log than this after the last checkpoint, a new one is cheaper than to replay all that. */
const REPLAY_BYTES_MAX = 256 * 1024 * 1024;

/** Where a replica's PostgreSQL begins to replay: at the redo LSN of a checkpoint in the log, its pages as of exactly there. */
export interface ReplicaPoint {
  /** The control state at `lsn`. */
  readonly state: ControlState;
  /** End of the record at the checkpoint's redo LSN, which changes no page: the data directory is as of this LSN. */
  readonly lsn: Lsn;
  readonly checkpointLsn: Lsn;
  readonly controlFile: Buffer;
  /** What PostgreSQL must have room for: of all that is logged by now, as far as storage tells. */
  readonly room: Room;
}

export interface ReplicaPointParts {
  name: string;
  links: StorageLinks;
  reader: ReadRouter;
  log: Logger;
  /** Asks the primary for a checkpoint after this LSN; INVALID_LSN: no more. */
  askCheckpoint(after: Lsn): void;
}

/**
 * Finds the newest checkpoint and takes a lease on history from its redo LSN on. When that history is gone already, or there is too much log
 * after it, the primary is asked for a new checkpoint. Throws NODE_NONE_READABLE, REPLICA_NO_CHECKPOINT.
 */
export async function findReplicaPoint(
  parts: ReplicaPointParts,
  stop: AbortSignal | undefined,
): Promise<{ point: ReplicaPoint; lease: LeaseKeeper }> {
  const deadline = performance.now() + CHECKPOINT_MS;
  let after: Lsn = INVALID_LSN;
  let why = 'no storage node tells of a checkpoint';
  try {
    for (;;) {
      const known = await untilStopped(lastCheckpoint(parts), stop);
      if (known?.checkpoint && known.checkpoint.redo > after) {
        const { checkpoint, commitLsn } = known;
        const found = await untilStopped(tryPoint(parts, checkpoint, commitLsn), stop);
        if ('point' in found) return found;
        why = found.why;
        // The nodes' horizon may move on while the primary makes its checkpoint, but never beyond it.
        after = checkpoint.redo;
      }
      if (known) parts.askCheckpoint(lsn(Math.max(after, 1)));
      if (performance.now() > deadline)
        throw new DbError('REPLICA_NO_CHECKPOINT', `${why}, and no primary made a new checkpoint`, {
          reaction: 'retry',
          hint: 'Start the primary: a replica begins at one of its checkpoints.',
        });
      await untilStopped(sleep(POLL_MS), stop);
    }
  } finally {
    parts.askCheckpoint(INVALID_LSN);
  }
}

interface CheckpointAt {
  segmentSize: number;
  lsn: Lsn;
  online: boolean;
  redo: Lsn;
  /** Of the newest log that is applied. */
  room: Room;
  found: NonNullable<ControlState['lastCheckpoint']>['checkpoint'];
}

/** The newest checkpoint record that some node has applied: committed, that is. Null when no node answers. */
async function lastCheckpoint({
  links,
  reader,
}: ReplicaPointParts): Promise<{ checkpoint: CheckpointAt | null; commitLsn: Lsn } | null> {
  const statuses = await Promise.allSettled(links.connected().map((client) => client.status(ASK_MS)));
  const told = statuses.flatMap((status) => (status.status === 'fulfilled' ? [status.value] : []));
  const applied = Math.max(0, ...told.map((status) => status.appliedLsn));
  const commitLsn = lsn(Math.max(0, ...told.map((status) => status.commitLsn)));
  if (applied === 0) return null;
  const state = await reader.read('the last checkpoint', (node) =>
    node.controlState({ lsn: lsn(applied) }, ASK_MS),
  );
  const last = state.lastCheckpoint;
  if (!last) return { checkpoint: null, commitLsn };
  const { lsn: at, online, checkpoint: found } = last;
  return {
    checkpoint: {
      segmentSize: state.segmentSize,
      lsn: at,
      online,
      redo: found.redo,
      room: state.parameters,
      found,
    },
    commitLsn,
  };
}

async function tryPoint(
  parts: ReplicaPointParts,
  checkpoint: CheckpointAt,
  commitLsn: Lsn,
): Promise<{ point: ReplicaPoint; lease: LeaseKeeper } | { why: string }> {
  const { name, links, reader, log } = parts;
  if (commitLsn - checkpoint.redo > REPLAY_BYTES_MAX)
    return { why: `there is too much log after the last checkpoint, of ${formatLsn(checkpoint.redo)}` };
  let at: Lsn = checkpoint.redo;
  const lease = new LeaseKeeper(`replica ${name}`, links, () => at, log);
  try {
    await lease.take();
    at = await redoRecordEnd(reader, checkpoint);
    const state = await reader.read('the control state', (node) => node.controlState({ lsn: at }, ASK_MS));
    if (state.parameters.walLevel === WAL_LEVEL_MINIMAL) {
      lease.close();
      return { why: 'the database cluster was made with wal_level=minimal, as its last checkpoint says' };
    }
    const controlFile = buildControlFile(state, {
      checkpointLsn: checkpoint.lsn,
      checkpoint: checkpoint.found,
      timeSeconds: Math.floor(Date.now() / 1000),
      // As a standby that was stopped in order: it is consistent where its pages are, and needs no more than the log from there.
      dbState: DbState.shutdownedInRecovery,
      minRecoveryPoint: at,
    });
    const room = roomForAll(state.parameters, checkpoint.room);
    return { point: { state, lsn: at, checkpointLsn: checkpoint.lsn, controlFile, room }, lease };
  } catch (err) {
    lease.close();
    if (
      !isDbError(err) ||
      !/^(NODE_HISTORY_GONE|NODE_NONE_READABLE|LOG_GONE|PAGE_GONE_BY_GC)$/.test(err.code)
    )
      throw err;
    log.info(
      { lsn: formatLsn(checkpoint.redo), err: errorMessage(err) },
      'the last checkpoint is too old to begin from',
    );
    return { why: err.message };
  }
}

/** An online checkpoint's redo LSN is where a CHECKPOINT_REDO record starts, a shutdown checkpoint's where it starts itself. */
async function redoRecordEnd(reader: ReadRouter, { redo, online, segmentSize }: CheckpointAt): Promise<Lsn> {
  const record = await reader.read('the log at the checkpoint', async (node) => {
    const { bytes } = await node.readCommitted({ begin: redo, maxBytes: REDO_BYTES, waitMs: REDO_WAIT_MS });
    const decoder = new WalStreamDecoder({ startLsn: redo, segmentSize });
    decoder.push(bytes);
    const first = decoder.next();
    if (first) return first;
    throw new DbError('NODE_BEHIND', `node ${node.nodeId} does not know that log to be committed yet`);
  });
  const info = online ? 0xe0 : 0x00;
  if (record.rmid !== Rmgr.XLOG || (record.info & 0xf0) !== info)
    throw new DbError('WAL_BAD_RECORD', `there is no checkpoint's redo record at ${formatLsn(redo)}`);
  return record.endLsn;
}
