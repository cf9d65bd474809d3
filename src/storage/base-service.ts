import { setImmediate as turn } from 'node:timers/promises';
import { DbError } from '../engine/errors.js';
import type { Lsn } from '../engine/lsn.js';
import { basePages, baseRows, baseSlruPages, type BaseImage, type BaseRow } from '../engine/pages/base.js';
import type { SlruName } from '../engine/pages/effects/types.js';
import type { PageStore } from '../engine/pages/store.js';
import { PAGES_MAX } from '../net/messages.js';
import type { IngestLoop } from './ingest-loop.js';

/** Pages built before other work gets its turn. */
const PAGES_PER_TURN = 32;

interface Run {
  blkno: number;
  count: number;
  lsn: Lsn;
}

/** What a peer is rebuilt from. Every call waits, for a bounded time, until the node has applied that far. Throws NODE_BEHIND, INGEST_STOPPED, PAGE_GONE_BY_GC. */
export class BaseService {
  constructor(
    private readonly pages: PageStore,
    private readonly ingest: IngestLoop,
    private readonly waitMs: number,
  ) {}

  async rows(at: Lsn): Promise<BaseRow[]> {
    await this.ingest.waitApplied(at, this.waitMs);
    return baseRows(this.pages, at);
  }

  relation(
    run: Run & { spcOid: number; dbOid: number; relNumber: number; fork: number },
  ): Promise<BaseImage[]> {
    return this.inTurns(run, (first, count) => basePages(this.pages, run, run.fork, first, count, run.lsn));
  }

  slru(run: Run & { slru: SlruName }): Promise<BaseImage[]> {
    return this.inTurns(run, (first, count) => baseSlruPages(this.pages, run.slru, first, count, run.lsn));
  }

  private async inTurns(
    run: Run,
    build: (first: number, count: number) => BaseImage[],
  ): Promise<BaseImage[]> {
    if (run.count < 1 || run.count > PAGES_MAX)
      throw new DbError('USAGE_PAGE_COUNT', `${run.count} pages asked for at once, 1 to ${PAGES_MAX} can be`);
    await this.ingest.waitApplied(run.lsn, this.waitMs);
    const images: BaseImage[] = [];
    for (let done = 0; done < run.count; done += PAGES_PER_TURN) {
      if (done > 0) await turn();
      images.push(...build(run.blkno + done, Math.min(PAGES_PER_TURN, run.count - done)));
    }
    return images;
  }
}
