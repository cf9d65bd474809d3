/** Variants within GiST's record types whose redo takes another path, and what its mask hides but redo must get right. */
import { formatLsn } from '../../src/engine/lsn.js';
import {
  GIST_FOLLOW_RIGHT,
  GIST_NO_RIGHTLINK,
  GIST_ROOT_BLOCK,
  gistFlags,
  gistNsn,
} from '../../src/engine/page/gist.js';
import type { WalRecord } from '../../src/engine/wal/types.js';

export function gistTraits(rec: WalRecord, type: string): string[] {
  const traits: string[] = [];
  const note = (name: string, met: boolean): void => {
    if (met) traits.push(`${type} ${name}`);
  };
  switch (type) {
    case 'Gist/PAGE_UPDATE':
      updateTraits(rec, note);
      break;
    case 'Gist/DELETE':
      note('of one or two items', rec.mainData.readUInt16LE(4) <= 2);
      note('of more items', rec.mainData.readUInt16LE(4) > 2);
      break;
    case 'Gist/PAGE_SPLIT':
      splitTraits(rec, note);
      break;
    case 'Gist/PAGE_DELETE':
      note('with an image of the leaf only', imageOf(rec, 0) && !imageOf(rec, 1));
      note('with an image of the parent', imageOf(rec, 1));
      break;
  }
  return traits;
}

type Note = (name: string, met: boolean) => void;

function updateTraits(rec: WalRecord, note: Note): void {
  const deleted = rec.mainData.readUInt16LE(0);
  const inserted = rec.mainData.readUInt16LE(2);
  const completes = rec.blocks.length === 2;
  note('overwrites', deleted === 1 && inserted === 1);
  note('appends', deleted === 0);
  note('replaces one by more', deleted > 0 && inserted > 1);
  note('deletes one or two', deleted > 0 && deleted <= 2 && inserted === 0);
  note('deletes more', deleted > 2 && inserted === 0);
  note('completes a split', completes && deleted > 0);
  note('gives a page further right its downlink', completes && deleted === 0);
  note('completes a split after an image of the left half', completes && imageOf(rec, 1));
  note(
    'completes a split, with an image of the parent only',
    completes && imageOf(rec, 0) && !imageOf(rec, 1),
  );
}

function splitTraits(rec: WalRecord, note: Note): void {
  const main = rec.mainData;
  const pages = rec.blocks.filter((b) => b.id > 0);
  const root = pages[0]?.blkno === GIST_ROOT_BLOCK;
  const leaf = main[16] !== 0;
  const halves = pages.length - (root ? 1 : 0);
  const hasChild = rec.blocks[0]?.id === 0;
  note(
    root
      ? leaf
        ? 'of a root without children'
        : 'of a root with children'
      : leaf
        ? 'of a leaf'
        : 'of an inner page',
    true,
  );
  note('into three', halves === 3);
  note('into more than three', halves > 3);
  note('of the root into more than two', root && halves > 2);
  note('of a page that had a right sibling', main.readUInt32LE(0) !== GIST_NO_RIGHTLINK);
  note('of a page that was split before', main.readBigUInt64LE(8) > 1n);
  note('completes a split below', hasChild);
  note('completes a split below, of the root', hasChild && root);
  note('completes a split below after an image of the left half', imageOf(rec, 0));
}

function imageOf(rec: WalRecord, id: number): boolean {
  return rec.blocks.some((b) => b.id === id && b.applyImage);
}

/**
 * NSN and FOLLOW_RIGHT decide which way scans go, yet gist_mask hides them: in a record's image they are as before the record. On
 * disk nothing of that is left, so there they must be equal. Null when they are.
 */
export function gistDifference(ours: Buffer, theirs: Buffer): string | null {
  if (gistNsn(ours) !== gistNsn(theirs))
    return `NSN ${formatLsn(gistNsn(ours))}, theirs ${formatLsn(gistNsn(theirs))}`;
  if (((gistFlags(ours) ^ gistFlags(theirs)) & GIST_FOLLOW_RIGHT) !== 0)
    return `flags ${gistFlags(ours)}, theirs ${gistFlags(theirs)}`;
  return null;
}
