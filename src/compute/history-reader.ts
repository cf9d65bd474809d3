/**
 * Durable log of an epoch's history: only from nodes that have adopted it, for the log of any other may have been written by a writer that
 * never committed it.
 */
import type { Logger } from 'pino';
import { DbError, errorMessage } from '../engine/errors.js';
import { formatLsn, lsn, type Lsn } from '../engine/lsn.js';
import type { WriterCore } from '../engine/quorum/writer.js';
import type { StorageLinks } from './storage-links.js';

export class HistoryReader {
  constructor(
    private readonly core: WriterCore,
    private readonly links: StorageLinks,
    private readonly log: Logger,
    /** Asked of a node at a time. */
    private readonly pieceBytes: number,
  ) {}

  /** All of [begin, end). Throws NODE_NONE_READABLE. */
  async read(begin: Lsn, end: Lsn): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let at = begin; at < end;) {
      const bytes = await this.piece(at, end, null);
      if (!bytes)
        throw new DbError(
          'NODE_NONE_READABLE',
          `no storage node could serve the log from ${formatLsn(at)} on`,
          { hint: 'Look at the storage nodes with: aurora status' },
        );
      parts.push(bytes);
      at = lsn(at + bytes.length);
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }

  /** Some log from `begin` on, from the first node that has it, but for `except`; null if none can be asked. */
  async piece(begin: Lsn, end: Lsn, except: string | null): Promise<Buffer | null> {
    for (const nodeId of this.core.sources(begin)) {
      const source = nodeId === except ? undefined : this.links.client(nodeId);
      if (!source) continue;
      try {
        const { bytes } = await source.readLog({
          begin,
          end,
          maxBytes: this.pieceBytes,
          epoch: this.core.epoch,
        });
        if (bytes.length > 0) return bytes;
      } catch (err) {
        this.log.warn(
          { node: nodeId, lsn: formatLsn(begin), err: errorMessage(err) },
          'log cannot be read from a storage node',
        );
      }
    }
    return null;
  }
}
