import type { Lsn } from '../engine/lsn.js';
import type { PageSource } from './page-agent.js';
import { parseDataPath } from './page-path.js';
import type { ReadRouter } from './read-router.js';

/**
 * Answers the page agent from the volume, at the LSN that the data directory was made for. True for replicas too: replay reads, or writes as
 * a whole, every block that it changes.
 */
export class VolumeSource implements PageSource {
  constructor(
    private readonly reader: ReadRouter,
    /** A block still absent here has not changed since this LSN, so its bytes there are its bytes now. */
    private readonly lsn: Lsn,
    private readonly storeFile: (name: string, content: Buffer) => Promise<void>,
  ) {}

  async fetch(path: string, firstBlock: number, count: number): Promise<Buffer> {
    const file = parseDataPath(path);
    const at = file.firstBlock + firstBlock;
    const { lsn } = this;
    if (file.kind === 'slru')
      return this.reader.readPages(path, (node) =>
        node.getSlruPages({ slru: file.slru, pageno: at, count, lsn }),
      );
    return this.reader.readPages(path, (node) =>
      node.getPages({ ...file.rel, fork: file.fork, blkno: at, count, lsn }),
    );
  }

  putFile(name: string, content: Buffer): Promise<void> {
    return this.storeFile(name, content);
  }
}
