/** A PostgreSQL data directory's relation files as pages in memory: the base that WAL is replayed onto, and what it is compared with. */
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { BLCKSZ } from '../../src/engine/page/constants.js';
import { EMPTY_BASE, forkKey, MemoryPages } from '../../src/engine/verify/index.js';

export { forkKey } from '../../src/engine/verify/index.js';

const FORK_OF: Record<string, number> = { '': 0, _fsm: 1, _vm: 2, _init: 3 };
const DEFAULT_SPC = 1663;
const GLOBAL_SPC = 1664;

/** Pages by fork and block number. */
export class PageMap extends MemoryPages {
  constructor() {
    super(EMPTY_BASE);
  }

  /** Reads every permanent relation file of base/ and global/, at once: the server may change them later. */
  static async fromDataDir(dataDir: string): Promise<PageMap> {
    const map = new PageMap();
    await map.readFolder(path.join(dataDir, 'global'), GLOBAL_SPC, 0);
    for (const name of await fs.readdir(path.join(dataDir, 'base')))
      if (/^\d+$/.test(name))
        await map.readFolder(path.join(dataDir, 'base', name), DEFAULT_SPC, Number(name));
    return map;
  }

  private async readFolder(folder: string, spcOid: number, dbOid: number): Promise<void> {
    for (const name of (await fs.readdir(folder)).sort()) {
      const match = /^(\d+)(_fsm|_vm|_init)?$/.exec(name);
      if (!match) {
        if (/^\d+(_[a-z]+)?\.\d+$/.test(name))
          throw new Error(`${folder}/${name}: relations over 1 GiB are not for this test`);
        continue;
      }
      const bytes = await fs.readFile(path.join(folder, name));
      const pages: Buffer[] = [];
      for (let at = 0; at + BLCKSZ <= bytes.length; at += BLCKSZ) pages.push(bytes.subarray(at, at + BLCKSZ));
      const rel = { spcOid, dbOid, relNumber: Number(match[1]) };
      this.forks.set(forkKey(rel, FORK_OF[match[2] ?? '']!), pages);
    }
  }
}
