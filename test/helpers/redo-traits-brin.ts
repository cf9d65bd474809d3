import { BRIN_EVACUATE_PAGE, brinFlags } from '../../src/engine/page/brin.js';
import { restoreImage } from '../../src/engine/wal/image.js';
import type { BlockRef, WalRecord } from '../../src/engine/wal/types.js';

const TUPLE_PLACEHOLDER = 0x40;

/** Traits of BRIN records: which page of the range map (they are numbered from 1 on), what the tuple is, where it goes. */
export function brinTraits(rec: WalRecord, type: string): string[] {
  const op = type.replace('+INIT', '');
  const traits: string[] = [];
  const [first, second, third] = rec.blocks;
  switch (op) {
    case 'BRIN/INSERT':
      if (second!.blkno > 1) traits.push(`${op} in a later page of the range map`);
      if (isPlaceholder(first!)) traits.push(`${op} of a placeholder`);
      break;
    case 'BRIN/UPDATE':
      if (second!.blkno > 1) traits.push(`${op} in a later page of the range map`);
      if (first!.blkno < third!.blkno) traits.push(`${op} to an earlier page`);
      if (isEvacuated(rec, third!)) traits.push(`${op} moves a tuple out of the way of the range map`);
      break;
    case 'BRIN/SAMEPAGE_UPDATE':
      if (isPlaceholder(first!)) traits.push(`${op} of a placeholder`);
      break;
    case 'BRIN/REVMAP_EXTEND':
      if (second!.blkno > 1) traits.push(`${op} beyond the first page`);
      break;
    case 'BRIN/DESUMMARIZE':
      if (first!.blkno > 1) traits.push(`${op} in a later page of the range map`);
      break;
  }
  return traits;
}

function isPlaceholder({ data }: BlockRef): boolean {
  return data.length > 4 && (data[4]! & TUPLE_PLACEHOLDER) !== 0;
}

/** The flag is not logged, but the record's image of the page shows it. */
function isEvacuated(rec: WalRecord, block: BlockRef): boolean {
  return block.hasImage && (brinFlags(restoreImage(block, rec.startLsn)) & BRIN_EVACUATE_PAGE) !== 0;
}
