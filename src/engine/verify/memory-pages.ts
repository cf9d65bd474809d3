/** Pages in memory over a base that is read as needed. What the log touched stays in memory until it is dropped. */
import { BLCKSZ } from '../page/constants.js';
import { ForkNumber, type RelFileLocator } from '../wal/types.js';
import type { BasePages, Database, VerifyPages } from './types.js';

const FORKS = Object.values(ForkNumber);

export function forkKey(rel: RelFileLocator, fork: number): string {
  return `${rel.spcOid}/${rel.dbOid}/${rel.relNumber}/${fork}`;
}

/** Nothing exists yet, and that is known: every page begins as zeros. */
export const EMPTY_BASE: BasePages = {
  size: () => null,
  read: () => Buffer.alloc(BLCKSZ),
  list: () => [],
};

export class MemoryPages implements VerifyPages {
  /** By forkKey(). A hole in an array is a page still in the base or, without one, a page that nobody knows. */
  readonly forks = new Map<string, Buffer[]>();
  /** Without a base: forks that are known nevertheless, because the log made or emptied them. */
  private readonly begun = new Set<string>();

  /** `base` null: it is not known what there was before the log. */
  constructor(private readonly base: BasePages | null) {}

  /** The fork's pages, none if it does not exist. */
  fork(rel: RelFileLocator, fork: number): Buffer[] {
    const key = forkKey(rel, fork);
    let pages = this.forks.get(key);
    if (pages === undefined) {
      pages = new Array<Buffer>(this.base?.size(rel, fork) ?? 0);
      this.forks.set(key, pages);
    }
    return pages;
  }

  page(rel: RelFileLocator, fork: number, blkno: number, whole = false): Buffer | null {
    const pages = this.fork(rel, fork);
    const held = pages[blkno];
    if (held !== undefined) return held;
    const known = this.base !== null || this.begun.has(forkKey(rel, fork));
    if (!known && !whole) return null;
    const page =
      !whole && this.base !== null && blkno < pages.length
        ? this.base.read(rel, fork, blkno)
        : Buffer.alloc(BLCKSZ);
    if (known) while (pages.length < blkno) pages.push(Buffer.alloc(BLCKSZ));
    return (pages[blkno] = page);
  }

  existing(rel: RelFileLocator, fork: number, blkno: number): Buffer | null {
    return blkno < this.fork(rel, fork).length ? this.page(rel, fork, blkno) : null;
  }

  create(rel: RelFileLocator, fork: number): void {
    if (this.fork(rel, fork).length === 0) this.begun.add(forkKey(rel, fork));
  }

  truncate(rel: RelFileLocator, fork: number, nblocks: number): void {
    const pages = this.fork(rel, fork);
    if (pages.length > nblocks) pages.length = nblocks;
  }

  drop(rel: RelFileLocator): void {
    for (const fork of FORKS) this.empty(forkKey(rel, fork));
  }

  dropDatabase(database: Database): void {
    for (const key of this.keysOf(database)) this.empty(key);
  }

  copyDatabase(from: Database, to: Database): void {
    for (const key of this.keysOf(from)) {
      const [relNumber, fork] = key.split('/').slice(2).map(Number) as [number, number];
      const source = { ...from, relNumber };
      const pages = this.fork(source, fork);
      const copy = new Array<Buffer>(pages.length);
      for (let blkno = 0; blkno < pages.length; blkno++) {
        const page = pages[blkno] ?? this.base?.read(source, fork, blkno);
        if (page !== undefined) copy[blkno] = Buffer.from(page);
      }
      const copyKey = forkKey({ spcOid: to.spcOid, dbOid: to.dbOid, relNumber }, fork);
      this.forks.set(copyKey, copy);
      if (!this.begun.has(key)) this.begun.delete(copyKey);
    }
  }

  /** From here on the fork is known to be empty, whatever the base says. */
  private empty(key: string): void {
    this.forks.set(key, []);
    this.begun.add(key);
  }

  private keysOf(database: Database): Set<string> {
    const prefix = `${database.spcOid}/${database.dbOid}/`;
    const keys = new Set([...this.forks.keys()].filter((key) => key.startsWith(prefix)));
    for (const found of this.base?.list(database) ?? []) keys.add(forkKey(found, found.fork));
    return keys;
  }
}
