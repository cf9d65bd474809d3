import type { WalRecord } from '../../src/engine/wal/types.js';

/** Traits of Generic records: how many pages, and whether by image or by fragments. */
export function genericTraits(rec: WalRecord): string[] {
  const traits = new Set<string>();
  if (rec.blocks.length > 1) traits.add('Generic of several pages');
  for (const block of rec.blocks) {
    if (block.applyImage) traits.add('Generic image');
    const fragments = fragmentCount(block.data);
    if (fragments === 1) traits.add('Generic delta of one fragment');
    if (fragments > 1) traits.add('Generic delta of several fragments');
    if (!block.applyImage && fragments === 0) traits.add('Generic page without a change');
  }
  return [...traits];
}

function fragmentCount(delta: Buffer): number {
  let count = 0;
  for (let at = 0; at < delta.length; at += 4 + delta.readUInt16LE(at + 2)) count++;
  return count;
}
