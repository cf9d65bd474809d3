/** Waiting until a writer's log is committed. */
import type { EventEmitter } from 'node:events';
import { DbError } from '../engine/errors.js';
import { formatLsn, type Lsn } from '../engine/lsn.js';
import type { VolumeWriterEvents } from './volume-writer.js';

/** So long a donor that was lost may take to connect anew before another election does without it. */
const ORPHANED_MS = 1000;
const ORPHANED_LOOK_MS = 100;
const HINT = 'Start the missing storage nodes; look at them with: aurora status';

/** What of a VolumeWriter matters here. */
export interface Committing extends EventEmitter<VolumeWriterEvents> {
  readonly epoch: number;
  readonly startLsn: Lsn;
  readonly commitLsn: Lsn;
  readonly fencedBy: DbError | null;
  readonly isClosed: boolean;
  readonly isOrphaned: boolean;
  readonly quorum: { readonly voters: number; readonly connected: number; readonly needed: number };
}

/** Resolves once the log is committed up to `target`. Rejects with EPOCH_FENCED, COMPUTE_STOPPED, or QUORUM_LOST after the timeout. */
export async function committed(writer: Committing, target: Lsn, timeoutMs: number): Promise<void> {
  if (writer.commitLsn >= target) return;
  await new Promise<void>((resolve, reject) => {
    const done = (err?: DbError): void => {
      clearTimeout(timer);
      writer.off('commit', onCommit);
      writer.off('fenced', done);
      writer.off('closed', onClosed);
      if (err) reject(err);
      else resolve();
    };
    const onCommit = (at: Lsn): void => {
      if (at >= target) done();
    };
    const onClosed = (): void => done(new DbError('COMPUTE_STOPPED', 'the compute stopped writing'));
    const timer = setTimeout(() => done(quorumLost(writer)), timeoutMs);
    writer.on('commit', onCommit);
    writer.on('fenced', done);
    writer.on('closed', onClosed);
    if (writer.fencedBy) done(writer.fencedBy);
    else if (writer.isClosed) onClosed();
  });
}

function quorumLost({ quorum: { voters, connected, needed } }: Committing): DbError {
  return new DbError(
    'QUORUM_LOST',
    `no write quorum: ${connected} of ${voters} storage nodes are connected, ${needed} must hold the log`,
    { hint: HINT },
  );
}

/** As committed(), for the first record of the epoch. Rejects with EPOCH_ORPHANED when a new election should be tried instead (WriterCore.isOrphaned()). */
export async function begun(writer: Committing, target: Lsn, timeoutMs: number): Promise<void> {
  let sinceMs: number | null = null;
  let look: NodeJS.Timeout | undefined;
  const orphaned = new Promise<never>((_, reject) => {
    look = setInterval(() => {
      const now = performance.now();
      if (!writer.isOrphaned) sinceMs = null;
      else if (now - (sinceMs ??= now) >= ORPHANED_MS)
        reject(
          new DbError(
            'EPOCH_ORPHANED',
            `epoch ${writer.epoch} cannot begin: no storage node that is connected has the log up to ${formatLsn(writer.startLsn)}`,
            { reaction: 'retry', hint: HINT },
          ),
        );
    }, ORPHANED_LOOK_MS);
  });
  try {
    await Promise.race([committed(writer, target, timeoutMs), orphaned]);
  } finally {
    clearInterval(look);
  }
}
