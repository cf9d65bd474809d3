/** A PostgreSQL data directory's relation files as pages in memory: the base that WAL is replayed onto, and what it is compared with. */
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { BLCKSZ } from '../../src/engine/page/constants.js';
import { vmBlockOf, vmClearFrom, VM_HEAPBLOCKS_PER_PAGE } from '../../src/engine/page/vm.js';
import { ForkNumber, type RelFileLocator } from '../../src/engine/wal/types.js';

const FORK_OF: Record<string, number> = { '': 0, _fsm: 1, _vm: 2, _init: 3 };
const DEFAULT_SPC = 1663;
const GLOBAL_SPC = 1664;

export function forkKey(rel: RelFileLocator, fork: number): string {
  return `${rel.spcOid}/${rel.dbOid}/${rel.relNumber}/${fork}`;
}

/** Pages by fork and block number; a hole in a fork's array is a page of zeros. */
export class PageMap {
  readonly forks = new Map<string, Buffer[]>();

  /** Reads every permanent relation file of base/ and global/. */
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

  /** The page to change; made of zeros if it does not exist. */
  page(rel: RelFileLocator, fork: number, blkno: number): Buffer {
    const pages = this.fork(rel, fork);
    while (pages.length <= blkno) pages.push(Buffer.alloc(BLCKSZ));
    return pages[blkno]!;
  }

  fork(rel: RelFileLocator, fork: number): Buffer[] {
    const key = forkKey(rel, fork);
    let pages = this.forks.get(key);
    if (pages === undefined) this.forks.set(key, (pages = []));
    return pages;
  }

  /** Storage TRUNCATE: the heap, and its visibility map as far as it covers blocks that go. */
  truncate(rel: RelFileLocator, nblocks: number): void {
    const main = this.fork(rel, ForkNumber.main);
    if (main.length > nblocks) main.length = nblocks;
    const vm = this.forks.get(forkKey(rel, ForkNumber.vm));
    if (vm === undefined) return;
    const last = vmBlockOf(nblocks);
    const partial = nblocks % VM_HEAPBLOCKS_PER_PAGE !== 0;
    if (partial && vm[last]) vmClearFrom(vm[last], nblocks);
    if (vm.length > last + (partial ? 1 : 0)) vm.length = last + (partial ? 1 : 0);
  }

  /** CREATE DATABASE ... STRATEGY FILE_COPY. */
  copyDatabase(fromDb: number, toDb: number): void {
    for (const [key, pages] of [...this.forks]) {
      const [spc, db, rel, fork] = key.split('/');
      if (Number(db) === fromDb)
        this.forks.set(
          `${spc}/${toDb}/${rel}/${fork}`,
          pages.map((p) => Buffer.from(p)),
        );
    }
  }
}
