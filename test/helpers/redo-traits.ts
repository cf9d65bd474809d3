import { implicitVmClears } from '../../src/engine/redo/index.js';
import { Rmgr, type WalRecord } from '../../src/engine/wal/types.js';
import { brinTraits } from './redo-traits-brin.js';
import { genericTraits } from './redo-traits-generic.js';
import { ginTraits } from './redo-traits-gin.js';
import { gistTraits } from './redo-traits-gist.js';
import { hashTraits } from './redo-traits-hash.js';
import { spgistTraits } from './redo-traits-spgist.js';
import { systemTraits } from './redo-traits-system.js';

/** Variants within a record type whose redo takes another path. */
export function traitsOf(rec: WalRecord, type: string): string[] {
  const data = rec.mainData;
  const traits: string[] = [];
  const bit = (name: string, flags: number, mask: number): void => {
    if ((flags & mask) !== 0) traits.push(`${type.replace('+INIT', '')} ${name}`);
  };
  if (implicitVmClears(rec).length > 0) traits.push(`${type} clears VM`);
  traits.push(...systemTraits(rec, type.replace('+INIT', '')));
  if (rec.rmid === Rmgr.BRIN) traits.push(...brinTraits(rec, type));
  if (rec.rmid === Rmgr.Generic) traits.push(...genericTraits(rec));
  switch (type.replace('+INIT', '')) {
    case 'Heap/INSERT':
      bit('speculative', data[2]!, 0x04);
      break;
    case 'Heap/DELETE':
      bit('super', data[7]!, 0x08);
      bit('partition move', data[7]!, 0x10);
      break;
    case 'Heap/UPDATE':
    case 'Heap/HOT_UPDATE':
      bit('prefix', data[7]!, 0x20);
      bit('suffix', data[7]!, 0x40);
      if (rec.blocks.length === 2) traits.push('Heap/UPDATE across pages');
      break;
    case 'Heap/LOCK':
      bit('multixact', data[6]!, 0x01);
      break;
    case 'Heap2/MULTI_INSERT':
      bit('frozen', data[0]!, 0x20);
      break;
    case 'Heap2/PRUNE_ON_ACCESS':
    case 'Heap2/PRUNE_VACUUM_SCAN':
    case 'Heap2/PRUNE_VACUUM_CLEANUP':
      bit('freeze', data[1]!, 0x10);
      bit('redirect', data[1]!, 0x20);
      bit('dead', data[1]!, 0x40);
      bit('unused', data[1]!, 0x80);
      if ((data[1]! & 0x84) === 0x80) traits.push(`${type} without cleanup lock`);
      break;
    case 'Btree/SPLIT_L':
    case 'Btree/SPLIT_R':
      if (data.readUInt16LE(8) !== 0) traits.push('Btree/SPLIT of a posting list');
      if (data.readUInt32LE(0) > 0) traits.push(`${type} of an internal page`);
      break;
    case 'Btree/DELETE':
      if (data.readUInt16LE(6) > 0) traits.push(`${type} updates posting lists`);
      break;
    case 'Btree/VACUUM':
      if (data.readUInt16LE(2) > 0) traits.push(`${type} updates posting lists`);
      break;
    case 'Btree/UNLINK_PAGE':
      if (data.readUInt32LE(8) > 0) traits.push(`${type} of an internal page`);
      break;
  }
  traits.push(...gistTraits(rec, type));
  traits.push(...hashTraits(rec, type));
  traits.push(...spgistTraits(rec, type));
  traits.push(...ginTraits(rec, type));
  return traits;
}
