import { GIN_DATA, GIN_LEAF, ginFlags, ginRightlink } from '../../src/engine/page/gin.js';
import { pdPruneXid } from '../../src/engine/page/header.js';
import { restoreImage } from '../../src/engine/wal/image.js';
import { Rmgr, type BlockRef, type WalRecord } from '../../src/engine/wal/types.js';

const ACTIONS = ['', 'delete', 'insert', 'replace', 'additems'];

/** Variants within the record types of GIN: which tree and level, and what happens to the segments of a posting tree leaf. */
export function ginTraits(rec: WalRecord, type: string): string[] {
  if (rec.rmid !== Rmgr.Gin) return [];
  const main = rec.mainData;
  const block = rec.blocks[0]!;
  const images = rec.blocks.filter((b) => b.applyImage).map((b) => `${type} image of block ${b.id}`);
  switch (type) {
    case 'Gin/CREATE_PTREE':
      return main.length === 4 ? [`${type} without tids`] : [];
    case 'Gin/INSERT':
      return [...insertTraits(rec, type, block), ...images];
    case 'Gin/SPLIT': {
      const flags = main.readUInt16LE(24);
      return [
        `${type} of ${(flags & 4) !== 0 ? 'root ' : ''}${place(flags)}`,
        ...images.filter((i) => i.endsWith('3')),
      ];
    }
    case 'Gin/UPDATE_META_PAGE':
      return [...images, `${type} ${metaChange(main)}`];
    case 'Gin/INSERT_LISTPAGE':
      return [`${type} ${main.readUInt32LE(0) === 0xffffffff ? 'last' : 'with successor'}`];
    case 'Gin/DELETE_LISTPAGE':
      return [`${type} of ${main.readInt32LE(56) === 16 ? '16' : 'fewer'} pages`];
    case 'Gin/VACUUM_DATA_LEAF_PAGE':
      return [...actionTraits(type, block), ...images];
    case 'Gin/DELETE_PAGE':
      if (block.hasImage) {
        const leaf = (ginFlags(restoreImage(block, rec.startLsn)) & GIN_LEAF) !== 0;
        images.push(`${type} of ${leaf ? 'a leaf' : 'an internal page'}`);
      }
      return images;
    default:
      return [];
  }
}

function place(flags: number): string {
  return `${(flags & 1) !== 0 ? 'data' : 'entry'} ${(flags & 2) !== 0 ? 'leaf' : 'internal'}`;
}

function metaChange(main: Buffer): string {
  if (main.readInt32LE(80) > 0) return 'adds tuples';
  return main.readUInt32LE(72) !== 0xffffffff ? 'links pages' : 'alone';
}

function insertTraits(rec: WalRecord, type: string, block: BlockRef): string[] {
  const flags = rec.mainData.readUInt16LE(0);
  if (block.data.length === 0) return [];
  if (flags === 3) return actionTraits(type, block);
  const replaces = flags === 2 && block.data[2] === 1;
  return [`${type} into ${place(flags)}${replaces ? ', replacing' : ''}`];
}

function actionTraits(type: string, { data }: BlockRef): string[] {
  const seen = new Set<string>();
  const actions = data.length === 0 ? 0 : data.readUInt16LE(0);
  if (actions > 1) seen.add(`${type} several actions`);
  for (let i = 0, at = 2; i < actions; i++) {
    const action = ACTIONS[data[at + 1]!]!;
    seen.add(`${type} ${action}`);
    at += 2;
    if (action === 'additems') at += 2 + data.readUInt16LE(at) * 6;
    else if (action !== 'delete') at += 8 + ((data.readUInt16LE(at + 6) + 1) & ~1);
  }
  return [...seen];
}

/**
 * What the mask of GIN hides, but redo must get right: the transaction that deleted a page (the mask takes it for a hint), and the flags and the
 * right sibling of a deleted posting tree page, which scans that are on their way there still follow. Null if all is well.
 */
export function ginDifference(ours: Buffer, theirs: Buffer): string | null {
  if (pdPruneXid(ours) !== pdPruneXid(theirs))
    return `delete xid ${pdPruneXid(ours)}, theirs ${pdPruneXid(theirs)}`;
  if (ginFlags(ours) !== ginFlags(theirs))
    return `flags 0x${ginFlags(ours).toString(16)}, theirs 0x${ginFlags(theirs).toString(16)}`;
  const inTree = (ginFlags(ours) & GIN_DATA) !== 0;
  if (inTree && ginRightlink(ours) !== ginRightlink(theirs))
    return `right sibling ${ginRightlink(ours)}, theirs ${ginRightlink(theirs)}`;
  return null;
}
