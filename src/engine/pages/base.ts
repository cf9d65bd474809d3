/**
 * A store's state as of one LSN, for another node to begin with: what remains when all history before it is removed (past.ts). Everything
 * keeps the LSN that it holds since, so that a reader of the past, say a compute whose data directory is older, gets from the copy what it gets here.
 */
import { DbError } from '../errors.js';
import { formatLsn, type Lsn } from '../lsn.js';
import { BLCKSZ } from '../page/constants.js';
import type { RelFileLocator } from '../wal/types.js';
import type { SlruName } from './effects/types.js';
import { FactClass } from './facts.js';
import { oldestVisible } from './forks.js';
import { goneError } from './horizon.js';
import { branchKey, FORK_KEY, KeySpace, LSN_BYTES, OLDEST, PageVersionKey, readInvertedLsn, SlruVersionKey } from './keys.js'; // prettier-ignore
import { newestOfEach } from './scan.js';
import type { PageStore } from './store.js';
import { MAIN_BRANCH } from './types.js';
import { encodeImage } from './values.js';

/** A fork's or a fact's newest version, as the store keeps it. */
export interface BaseRow {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** A page that was ever written: its image as of the wanted LSN, in the store's form (empty: zeros), and the LSN that it is so since. */
export interface BaseImage {
  readonly blkno: number;
  readonly version: Lsn;
  readonly image: Buffer;
}

const FACT_CLASS_AT = 5;

/** All forks and facts as of `at`, dropped ones too; not the control state. Throws PAGE_NOT_APPLIED, PAGE_GONE_BY_GC. */
export function baseRows(store: PageStore, at: Lsn): BaseRow[] {
  assertReadable(store, at);
  const rows: BaseRow[] = [];
  for (const space of [KeySpace.fork, KeySpace.fact])
    newestOfEach(store.parts.db, branchKey(space, MAIN_BRANCH), at, (key, value) => {
      if (!isControl(key)) rows.push({ key, value });
    });
  return rows;
}

/** Throws PAGE_BAD_IMPORT unless it is a row that baseRows() at `at` may give. */
export function checkBaseRow({ key, value }: BaseRow, at: Lsn): void {
  const known =
    (key[0] === KeySpace.fork && key.length === FORK_KEY) ||
    (key[0] === KeySpace.fact && key.length > FACT_CLASS_AT + LSN_BYTES && !isControl(key));
  if (!known || key.readUInt32BE(1) !== MAIN_BRANCH || value.length === 0)
    throw new DbError('PAGE_BAD_IMPORT', `a row of another store with the key ${key.toString('hex')}`);
  assertVersion(readInvertedLsn(key, key.length - LSN_BYTES), at);
}

export function assertVersion(version: Lsn, at: Lsn): void {
  if (version === 0 || version > at)
    throw new DbError(
      'PAGE_BAD_IMPORT',
      `a version at ${formatLsn(version)} in a state as of ${formatLsn(at)}`,
    );
}

/** Throws PAGE_NO_RELATION, PAGE_NOT_APPLIED, PAGE_GONE_BY_GC, REDO_* on damage. */
export function basePages(
  store: PageStore,
  rel: RelFileLocator,
  fork: number,
  first: number,
  count: number,
  at: Lsn,
): BaseImage[] {
  assertReadable(store, at);
  const version = store.parts.forks.asOf(MAIN_BRANCH, rel, fork, at);
  if (!version)
    throw new DbError(
      'PAGE_NO_RELATION',
      `relation ${rel.spcOid}/${rel.dbOid}/${rel.relNumber} fork ${fork} does not exist at ${formatLsn(at)}`,
      { reaction: 'usage' },
    );
  const key = new PageVersionKey().setPage(MAIN_BRANCH, rel, fork, first);
  const { spcOid, dbOid, relNumber } = rel;
  const images: BaseImage[] = [];
  for (let blkno = first; blkno < Math.min(first + count, version.nblocks); blkno++) {
    const page = { spcOid, dbOid, relNumber, fork, blkno };
    const built = store.parts.builder.build(key.setBlock(blkno), page, at, oldestVisible(version, blkno));
    if (built.version > 0) images.push({ blkno, version: built.version, image: imageOf(built.page) });
  }
  return images;
}

export function baseSlruPages(
  store: PageStore,
  slru: SlruName,
  first: number,
  count: number,
  at: Lsn,
): BaseImage[] {
  assertReadable(store, at);
  const key = new SlruVersionKey();
  const images: BaseImage[] = [];
  for (let pageno = first; pageno < first + count; pageno++) {
    const built = store.parts.builder.build(key.setPage(MAIN_BRANCH, slru, pageno), null, at, OLDEST);
    if (built.version > 0) images.push({ blkno: pageno, version: built.version, image: imageOf(built.page) });
  }
  return images;
}

/** The page is lent by the builder: what is kept of it must be a copy. */
function imageOf(page: Readonly<Buffer>): Buffer {
  const image = encodeImage(page);
  return image.length === BLCKSZ ? Buffer.from(image) : image;
}

function isControl(key: Buffer): boolean {
  return key[0] === KeySpace.fact && key[FACT_CLASS_AT] === FactClass.control;
}

function assertReadable(store: PageStore, at: Lsn): void {
  if (at > store.appliedLsn)
    throw new DbError('PAGE_NOT_APPLIED', `${formatLsn(at)} is not applied yet`, { reaction: 'retry' });
  if (at < store.horizon) throw goneError('a base', at, store.horizon);
  store.parts.forks.trim();
}
