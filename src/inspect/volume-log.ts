/** A running volume's committed log as a WAL source, over the network. */
import { setTimeout as sleep } from 'node:timers/promises';
import { DbError, isDbError } from '../engine/errors.js';
import { formatLsn, lsn, type Lsn } from '../engine/lsn.js';
import type { WalSource } from '../engine/wal/reader.js';
import type { VolumeTool } from './volume.js';

/** A follower's question to a node is answered by the next commit, or after this time. */
const FOLLOW_WAIT_MS = 1000;

export class VolumeLogSource implements WalSource {
  readonly start: Lsn;
  /** The log begins where the first cluster was imported, at a record boundary, until old log is given up. */
  readonly firstRecord?: Lsn;

  private constructor(
    private readonly volume: VolumeTool,
    readonly segmentSize: number,
    readonly systemId: bigint,
  ) {
    this.start = volume.logStart;
    if (volume.logIsWhole) this.firstRecord = this.start;
  }

  static async open(volume: VolumeTool): Promise<VolumeLogSource> {
    // Of the applied position: the log beyond may be what nobody can decode, and is to be shown just then.
    const { segmentSize, systemIdentifier } = await volume.ask((client, { appliedLsn }) =>
      client.controlState({ lsn: appliedLsn }),
    );
    return new VolumeLogSource(volume, segmentSize, BigInt(systemIdentifier));
  }

  /** Only what is committed: what lies beyond may still be cut off by another writer. */
  get end(): Lsn {
    return this.volume.commitLsn;
  }

  async read(begin: Lsn, end: Lsn): Promise<Buffer> {
    const upTo = lsn(Math.min(end, this.end));
    if (upTo <= begin) return Buffer.alloc(0);
    return this.volume.ask(async (client) => {
      const { bytes } = await client.readLog({ begin, end: upTo });
      if (bytes.length === 0)
        throw new DbError(
          'NODE_BEHIND',
          `node ${client.nodeId} does not have the log at ${formatLsn(begin)} yet`,
        );
      return bytes;
    });
  }

  async waitForMore(_at: Lsn, signal: AbortSignal): Promise<void> {
    const before = this.end;
    await this.volume.refresh();
    if (this.end > before || signal.aborted) return;
    const timer = new AbortController();
    const stopped = new Promise<void>((resolve) =>
      signal.addEventListener('abort', () => resolve(), { once: true, signal: timer.signal }),
    );
    try {
      await Promise.race([this.nextCommit(timer.signal), stopped]);
      if (!signal.aborted) await this.volume.refresh();
    } finally {
      timer.abort();
    }
  }

  async close(): Promise<void> {
    this.volume.close();
  }

  /** A node applies what is committed as soon as it hears of it, so that is what to wait for. */
  private async nextCommit(signal: AbortSignal): Promise<void> {
    const next = lsn(this.end + 1);
    try {
      await this.volume.ask((client) => client.waitApplied({ lsn: next, timeoutMs: FOLLOW_WAIT_MS }));
    } catch (err) {
      if (!isDbError(err) || err.code === 'INSPECT_NO_NODE') throw err;
      // Nothing new in time, or a node whose ingest has stopped: then time must do.
      if (err.code !== 'NODE_BEHIND')
        await sleep(FOLLOW_WAIT_MS, undefined, { signal }).catch(() => undefined);
    }
  }
}
