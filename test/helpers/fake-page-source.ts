/** A page source for tests: serves blocks out of another data directory's files, and keeps book. */
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DbError } from '../../src/engine/errors.js';
import { BLCKSZ } from '../../src/engine/page/constants.js';
import type { PageSource } from '../../src/compute/page-agent.js';

export class FakePageSource implements PageSource {
  /** How often each block was asked for, by "path:block". */
  readonly asked = new Map<string, number>();
  readonly files = new Map<string, string>();
  /** Pretended network time of each fetch. */
  delayMs = 0;
  /** Set: every fetch fails with it. */
  failure: Error | null = null;
  /** Set: putFile fails with it. */
  putFailure: Error | null = null;
  fetches = 0;

  constructor(private readonly originalDir: string) {}

  async fetch(relPath: string, firstBlock: number, count: number): Promise<Buffer> {
    this.fetches++;
    for (let b = firstBlock; b < firstBlock + count; b++) {
      const key = `${relPath}:${b}`;
      this.asked.set(key, (this.asked.get(key) ?? 0) + 1);
    }
    // Not a reason for the test run to stay up, when nobody waits for the answer any more.
    if (this.delayMs > 0) await sleep(this.delayMs, undefined, { ref: false });
    if (this.failure) throw this.failure;
    const handle = await fs.open(path.join(this.originalDir, relPath));
    try {
      const pages = Buffer.alloc(count * BLCKSZ);
      const { bytesRead } = await handle.read(pages, 0, pages.length, firstBlock * BLCKSZ);
      if (bytesRead !== pages.length)
        throw new DbError('TEST_BEYOND_END', `${relPath} has no blocks ${firstBlock}+${count}`);
      return pages;
    } finally {
      await handle.close();
    }
  }

  putFile(name: string, content: Buffer): Promise<void> {
    if (this.putFailure) return Promise.reject(this.putFailure);
    this.files.set(name, content.toString());
    return Promise.resolve();
  }

  /** Blocks of one file (a segment) that were asked for. */
  blocksOf(relPath: string): number {
    return [...this.asked.keys()].filter((key) => key.startsWith(`${relPath}:`)).length;
  }

  /** Blocks asked for more than once. */
  repeated(): string[] {
    return [...this.asked].filter(([, n]) => n > 1).map(([key]) => key);
  }
}
