import { isDbError } from '../engine/errors.js';
import { formatLsn, type Lsn } from '../engine/lsn.js';
import type { ControlState } from '../engine/control/index.js';
import { QuorumConfig } from '../engine/quorum/config.js';
import { quorumOf } from '../engine/quorum/membership.js';
import type { WriterCore } from '../engine/quorum/writer.js';
import { elect } from './election.js';
import { LeaseKeeper } from './lease-keeper.js';
import { makeStartPoint, type StartPoint } from './start-point.js';
import type { TermContext } from './term-start.js';
import { untilStopped } from './until-stopped.js';
import { VolumeWriter } from './volume-writer.js';

/** An epoch whose first record, the checkpoint that PostgreSQL starts from, is committed. */
export interface BegunEpoch {
  core: WriterCore;
  recoveryLsn: Lsn;
  state: ControlState;
  lease: LeaseKeeper;
  point: StartPoint;
  writer: VolumeWriter;
}

type EpochContext = Pick<TermContext, 'config' | 'links' | 'log'>;

/**
 * Is elected and commits the epoch's first record. When the donor dies after it was elected from, with log that no other node has, its epoch could only begin
 * once it is back: the others, if they are enough, elect once more and go on without that log, which was never committed.
 *
 * Throws as elect() and VolumeWriter.committed(), COMPUTE_STOPPED after `stop`, NODE_HISTORY_GONE.
 */
export async function beginEpoch(
  context: EpochContext,
  onFailure: (step: () => void) => void,
  stop?: AbortSignal,
): Promise<BegunEpoch> {
  const { config, links, log } = context;
  const deadline = performance.now() + config.electTimeoutMs;
  for (;;) {
    const { core, recoveryLsn, state } = await untilStopped(
      elect(links, knownQuorum(context), log, config.electTimeoutMs, config.name),
      stop,
    );
    // Before the first append of this epoch: until then no node can apply, and so give up, anything beyond X.
    const lease = new LeaseKeeper(`${config.name}, epoch ${core.epoch}`, links, () => recoveryLsn, log);
    onFailure(() => lease.close());
    await untilStopped(lease.take(), stop);
    const point = makeStartPoint(state, recoveryLsn, Math.floor(Date.now() / 1000));
    const writer = new VolumeWriter(core, links, log, state.segmentSize);
    onFailure(() => writer.close());
    writer.append(recoveryLsn, point.checkpoint.bytes);
    try {
      await untilStopped(writer.begun(point.lsn, config.electTimeoutMs), stop);
      return { core, recoveryLsn, state, lease, point, writer };
    } catch (err) {
      if (!isDbError(err, 'EPOCH_ORPHANED') || performance.now() > deadline) throw err;
      log.warn({ epoch: core.epoch, lsn: formatLsn(recoveryLsn) }, `${err.message}; electing again`);
      writer.close();
      lease.close();
    }
  }
}

/** Who votes, as far as this compute has heard. */
export function knownQuorum({ config, links }: Pick<TermContext, 'config' | 'links'>): QuorumConfig {
  if (links.configuration) return quorumOf(links.configuration);
  const { write, read } = config.quorum;
  return new QuorumConfig({ voters: config.storage.map((n) => n.id), writeQuorum: write, readQuorum: read });
}
