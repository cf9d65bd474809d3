/** Variants within SP-GiST's record types whose redo takes another path, and the page of which PostgreSQL logs only a part. */
import { BLCKSZ } from '../../src/engine/page/constants.js';
import { isNewPage } from '../../src/engine/page/header.js';
import { itemCount } from '../../src/engine/page/items.js';
import {
  SPGIST_LAST_USED_START,
  SPGIST_META_BLKNO,
  SPGIST_META_END,
  SPGIST_NULL_BLKNO,
  spgFlags,
  spgPageInit,
} from '../../src/engine/page/spgist.js';
import type { WalRecord } from '../../src/engine/wal/types.js';

export function spgistTraits(rec: WalRecord, type: string): string[] {
  const variants = variantsOf[type];
  return variants === undefined ? [] : variants(rec).map((name) => `${type} ${name}`);
}

/** The names whose condition holds. */
function met(conditions: Readonly<Record<string, boolean>>): string[] {
  return Object.keys(conditions).filter((name) => conditions[name]);
}

const variantsOf: Readonly<Record<string, (rec: WalRecord) => string[]>> = {
  'SPGist/ADD_LEAF': ({ mainData: data }) => {
    const [leaf, head, parent] = [2, 4, 6].map((at) => data.readUInt16LE(at));
    return met({
      'on a root': head === 0 && parent === 0,
      'into a chain': head !== 0 && head !== leaf,
      'in the place of a dead tuple': head === leaf,
      'starts a chain on a page in use': parent !== 0 && data[0] === 0,
      'starts a chain on a new page': data[0] === 1,
      'of a null on a root': data[1] === 1 && head === 0 && parent === 0,
      'of a null into a chain': data[1] === 1 && head !== 0,
    });
  },
  'SPGist/MOVE_LEAFS': ({ mainData: data }) =>
    met({
      'to a new page': data[2] === 1,
      'to a page in use': data[2] === 0,
      'of nulls': data[4] === 1,
      'of nulls to a new page': data[4] === 1 && data[2] === 1,
      'of one or two tuples': data.readUInt16LE(0) <= 2,
      'of more tuples': data.readUInt16LE(0) > 2,
      'in the place of a dead tuple': data[3] === 1,
      'without a transaction id': data.readUInt32LE(12) === 0,
    }),
  'SPGist/ADD_NODE': ({ mainData: data }) => {
    const parentBlk = data.readInt8(5);
    return met({
      'in place': parentBlk === -1,
      'with the parent on the old page': parentBlk === 0,
      'with the parent elsewhere': parentBlk === 2,
      'to a new page': data[4] === 1,
      'to a page in use': parentBlk !== -1 && data[4] === 0,
    });
  },
  'SPGist/SPLIT_TUPLE': ({ mainData: data }) =>
    met({
      'on one page': data[5] === 1,
      'to a new page': data[4] === 1,
      'to a page in use': data[5] === 0 && data[4] === 0,
    }),
  'SPGist/PICKSPLIT': pickSplitVariants,
  'SPGist/VACUUM_LEAF': ({ mainData: data }) => {
    const [dead, placeholders, moves, chains] = [0, 2, 4, 6].map((at) => data.readUInt16LE(at));
    return met({
      'makes dead tuples': dead! > 0,
      'makes placeholders': placeholders! > 0,
      'moves heads': moves! > 0,
      'links chains': chains! > 0,
      'does all four': dead! > 0 && placeholders! > 0 && moves! > 0 && chains! > 0,
    });
  },
  'SPGist/VACUUM_ROOT': ({ mainData: data, blocks }) =>
    met({
      'of one or two tuples': data.readUInt16LE(0) <= 2,
      'of more tuples': data.readUInt16LE(0) > 2,
      'of nulls': blocks[0]!.blkno === SPGIST_NULL_BLKNO,
    }),
  'SPGist/VACUUM_REDIRECT': ({ mainData: data }) => {
    const redirects = data.readUInt16LE(0) > 0;
    const first = data.readUInt16LE(2);
    return met({
      'keeps all items': redirects && first === 0,
      'drops items only': !redirects && first !== 0,
      'does both': redirects && first !== 0,
      'drops all items': first === 1,
      'of redirects without a transaction id': redirects && data.readUInt32LE(4) === 0,
    });
  },
};

function pickSplitVariants({ mainData: data, blocks }: WalRecord): string[] {
  const [deletes, inserts] = [data.readUInt16LE(2), data.readUInt16LE(4)];
  const selectors = data.subarray(28 + 2 * (deletes + inserts), 28 + 2 * deletes + 3 * inserts);
  const root = data[0] === 1;
  const dest = blocks.some((block) => block.id === 1);
  return met({
    'of a root': root && data[11] === 0,
    'of the root of nulls': root && data[11] === 1,
    'of an empty root': root && inserts === 0,
    'of nulls below the root': !root && data[11] === 1,
    'without a destination': !root && !dest && inserts > 0,
    'to a destination only': !root && dest && inserts > 0 && selectors.every((page) => page === 1),
    'to source and destination': selectors.includes(0) && selectors.includes(1),
    'on a new source': data[6] === 1 && inserts === 0,
    'on a new source with a tuple': data[6] === 1 && inserts > 0,
    'to a new destination': data[7] === 1,
    'to a destination in use': dest && data[7] === 0,
    'with its tuple beside the parent': data[12] === 1,
    'with its tuple on a new page': !root && data[10] === 1,
    'with its tuple on another page in use': !root && data[10] === 0 && data[12] === 0,
    'of one tuple or two': !root && deletes > 0 && deletes <= 2,
    'without a transaction id': data.readUInt32LE(20) === 0,
  });
}

/**
 * Two versions of a page for comparison, without what PostgreSQL changes and does not log, so that standbys do not have it either:
 *  - The metapage's cache of pages with room (spgutils.c, SpGistUpdateMetaPage). Whoever uses it tests the page that it finds there.
 *  - An empty page taken for an inner tuple whose parity it does not have: it is initialised, put into that cache and left (allocNewBuffer).
 *    It reaches the disk if VACUUM, which had emptied it, changed it since the last checkpoint; then with no LSN. Whoever uses an empty page
 *    initialises it first, and logs that.
 */
export function asLogged(ours: Buffer, theirs: Buffer, blkno: number): [Buffer, Buffer] {
  if (blkno === SPGIST_META_BLKNO) return [withoutLastUsedPages(ours), withoutLastUsedPages(theirs)];
  const unused = isUnloggedInit(theirs) && !isNewPage(ours) && itemCount(ours) === 0;
  return unused ? [ours, ours] : [ours, theirs];
}

function withoutLastUsedPages(page: Buffer): Buffer {
  return Buffer.from(page).fill(0, SPGIST_LAST_USED_START, SPGIST_META_END);
}

/** Whether the page is exactly what SpGistInitPage makes, without an LSN. */
export function isUnloggedInit(page: Buffer): boolean {
  const fresh = Buffer.alloc(BLCKSZ);
  spgPageInit(fresh, spgFlags(page));
  return page.equals(fresh);
}
