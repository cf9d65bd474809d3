import { setImmediate as turn } from 'node:timers/promises';
import { DbError } from '../engine/errors.js';
import type { Lsn } from '../engine/lsn.js';
import { BLCKSZ } from '../engine/page/constants.js';
import type { SlruName } from '../engine/pages/effects/types.js';
import type { DataDirManifest, PageReader, VersionInfo } from '../engine/pages/types.js';
import { PAGES_MAX } from '../net/messages.js';
import type { IngestLoop } from './ingest-loop.js';

/** Pages built before other work gets its turn. */
const PAGES_PER_TURN = 32;

interface ForkAt {
  spcOid: number;
  dbOid: number;
  relNumber: number;
  fork: number;
  lsn: Lsn;
}

/**
 * Pages and metadata at an LSN. Every call waits, for a bounded time, until the node has applied that far. Throws NODE_BEHIND,
 * INGEST_STOPPED, and what the page store throws.
 */
export class PageService {
  pagesServed = 0;

  constructor(
    private readonly pages: PageReader,
    private readonly ingest: IngestLoop,
    private readonly waitMs: number,
  ) {}

  async getPages(run: ForkAt & { blkno: number; count: number }): Promise<Buffer> {
    checkRange(run.blkno, run.count);
    await this.ingest.waitApplied(run.lsn, this.waitMs);
    const { spcOid, dbOid, relNumber } = run;
    return this.inTurns(run.count, (done, count) =>
      this.pages.getPages({ spcOid, dbOid, relNumber }, run.fork, run.blkno + done, count, run.lsn),
    );
  }

  async getSlruPages(run: { slru: SlruName; pageno: number; count: number; lsn: Lsn }): Promise<Buffer> {
    checkRange(run.pageno, run.count);
    await this.ingest.waitApplied(run.lsn, this.waitMs);
    return this.inTurns(run.count, (done, count) => {
      const out = Buffer.alloc(count * BLCKSZ); // a page that does not exist reads as zeros
      for (let i = 0; i < count; i++)
        this.pages.getSlruPage(run.slru, run.pageno + done + i, run.lsn)?.copy(out, i * BLCKSZ);
      return out;
    });
  }

  async relationSize(fork: ForkAt): Promise<number | null> {
    await this.ingest.waitApplied(fork.lsn, this.waitMs);
    return this.pages.relationSize(fork, fork.fork, fork.lsn);
  }

  async manifest(lsn: Lsn): Promise<DataDirManifest> {
    await this.ingest.waitApplied(lsn, this.waitMs);
    return this.pages.manifest(lsn);
  }

  async versions(page: ForkAt & { blkno: number }): Promise<VersionInfo[]> {
    await this.ingest.waitApplied(page.lsn, this.waitMs);
    return this.pages.versions(page, page.lsn);
  }

  /** `build` makes `count` pages from the `done`th on. A short run is one buffer, made in one go. */
  private async inTurns(total: number, build: (done: number, count: number) => Buffer): Promise<Buffer> {
    this.pagesServed += total;
    if (total <= PAGES_PER_TURN) return build(0, total);
    const parts: Buffer[] = [];
    for (let done = 0; done < total; done += PAGES_PER_TURN) {
      if (done > 0) await turn();
      parts.push(build(done, Math.min(PAGES_PER_TURN, total - done)));
    }
    return Buffer.concat(parts);
  }
}

/** Numbers of pages are 32 bits long. */
const PAGE_NUMBERS = 2 ** 32;

function checkRange(first: number, count: number): void {
  if (count < 1 || count > PAGES_MAX)
    throw new DbError('USAGE_PAGE_COUNT', `${count} pages asked for at once, 1 to ${PAGES_MAX} can be`);
  if (first + count > PAGE_NUMBERS)
    throw new DbError('USAGE_PAGE_COUNT', `there are no ${count} pages from page ${first} on`);
}
