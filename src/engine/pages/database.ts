/** Database directories: what dropping one, and copying one file by file (CREATE DATABASE ... STRATEGY file_copy), means for the store. */
import type { Lsn } from '../lsn.js';
import { oldestVisible } from './forks.js';
import { FactClass, numberId } from './facts.js';
import { PageVersionKey } from './keys.js';
import type { StoreParts } from './parts.js';
import type { RocksBatch } from './rocks.js';
import type { BranchId, DatabaseEntry } from './types.js';
import type { PageWriter } from './writer.js';

const NEWEST = Number.MAX_SAFE_INTEGER as Lsn;
/** Pages put before the batch is written in the middle of a copy, so that it stays small: 4 MiB. */
const PAGES_PER_WRITE = 512;

/** Everything in one database's directory of one tablespace ceases to exist. The batch must be empty: it reads the store. */
export function dropDatabase(
  parts: StoreParts,
  batch: RocksBatch,
  pages: PageWriter,
  branch: BranchId,
  { spcOid, dbOid }: DatabaseEntry,
  at: Lsn,
): void {
  for (const rel of parts.forks.list(branch, NEWEST, spcOid, dbOid)) pages.relDrop(rel, at);
  for (const [factClass, id] of [
    [FactClass.relmap, numberId(spcOid, dbOid)],
    [FactClass.database, numberId(dbOid, spcOid)],
  ] as const)
    if (parts.facts.get(branch, factClass, id, NEWEST))
      parts.facts.put(batch, branch, factClass, id, at, null);
}

/**
 * Copies all of `source`, as it was before `at`, to `target` as images at `at`. Writes the batch in between: without its marker
 * that is unreachable, and a repetition after a crash writes the same again.
 */
export function copyDatabase(
  parts: StoreParts,
  batch: RocksBatch,
  pages: PageWriter,
  branch: BranchId,
  source: DatabaseEntry,
  target: DatabaseEntry,
  at: Lsn,
): void {
  const key = new PageVersionKey();
  const before = (at - 1) as Lsn;
  let put = 0;
  for (const from of parts.forks.list(branch, before, source.spcOid, source.dbOid)) {
    const rel = { spcOid: target.spcOid, dbOid: target.dbOid, relNumber: from.relNumber };
    pages.sized(rel, from.fork, from.nblocks, at);
    const version = parts.forks.asOf(branch, from, from.fork, before);
    for (let blkno = 0; version && blkno < from.nblocks; blkno++) {
      key.setPage(branch, from, from.fork, blkno);
      const built = parts.builder.build(key, { ...from, blkno }, before, oldestVisible(version, blkno));
      pages.page(rel, from.fork, blkno, built.page, at);
      if (++put % PAGES_PER_WRITE === 0) batch.write(false);
    }
  }
  const relmap = parts.facts.get(branch, FactClass.relmap, numberId(source.spcOid, source.dbOid), before);
  if (relmap)
    parts.facts.put(batch, branch, FactClass.relmap, numberId(target.spcOid, target.dbOid), at, relmap.data);
}
