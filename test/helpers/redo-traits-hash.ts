/** Variants within the record types of hash indexes. */
import { ForkNumber, Rmgr, type WalRecord } from '../../src/engine/wal/types.js';

export function hashTraits(rec: WalRecord, type: string): string[] {
  if (rec.rmid !== Rmgr.Hash) return [];
  const traits = variants(rec, new Set(rec.blocks.map((b) => b.id)));
  for (const block of rec.blocks) {
    if (!block.applyImage) continue;
    traits.push(`with an image of block ${block.id}`);
    if (
      (rec.info & 0xf0) === 0x80 &&
      block.id === 1 &&
      rec.mainData.readUInt16LE(8) === 0 &&
      rec.mainData[11] === 0
    )
      traits.push('with an image of a write page left alone');
  }
  return traits.map((trait) => `${type} ${trait}`);
}

function variants(rec: WalRecord, blocks: ReadonlySet<number>): string[] {
  const data = rec.mainData;
  switch (rec.info & 0xf0) {
    case 0x00: {
      const buckets = data.readDoubleLE(0) / data.readUInt16LE(12);
      const size =
        buckets > 512 ? 'with buckets in phases' : buckets > 2 ? 'with more buckets' : 'with 2 buckets';
      return [size, ...fork(rec)];
    }
    case 0x10:
      return fork(rec);
    case 0x30:
      return [blocks.has(2) ? 'of a free page' : blocks.has(3) ? 'with a bitmap page' : 'of a new page'];
    case 0x40:
      return [['alone', 'with masks', 'with a splitpoint', 'with masks and a splitpoint'][data[8]!]!];
    case 0x70:
      return [`to ${data[2] === 1 ? 'the primary page' : 'an overflow page'}`];
    case 0x80:
      return [
        `of ${data.readUInt16LE(8) > 0 ? 'some' : 'no'} tuples to ` +
          `${data[10] === 1 ? 'the primary page' : 'an overflow page'}, ${data[11] === 1 ? 'adjacent' : 'apart'}`,
        `${blocks.has(6) ? 'with' : 'without'} a new first free page`,
        ...(blocks.has(4) ? ['with a next page'] : []),
      ];
    case 0x90:
      return [
        `from ${data[1] === 1 ? 'the primary page' : 'an overflow page'}`,
        `${data[0] === 1 ? 'clears' : 'keeps'} the dead mark`,
      ];
    default:
      return [];
  }
}

function fork(rec: WalRecord): string[] {
  return [rec.blocks[0]!.fork === ForkNumber.init ? 'of an init fork' : 'of a main fork'];
}
