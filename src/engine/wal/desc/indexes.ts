/** Hash, Gin, Gist, SPGist and BRIN records, Sequence and Generic (hashdesc.c ... genericdesc.c). */
import { EMPTY } from '../decode.js';
import type { WalRecord } from '../types.js';
import { blockIdAt, flag, formatG, fullXidAt, relText, type RmgrDesc } from './text.js';

const u16 = (rec: WalRecord, at: number): number => rec.mainData.readUInt16LE(at);
const u32 = (rec: WalRecord, at: number): number => rec.mainData.readUInt32LE(at);
const bool = (rec: WalRecord, at: number): boolean => rec.mainData.readUInt8(at) !== 0;

export const hashDesc: RmgrDesc = {
  name: 'Hash',
  opMask: 0xf0,
  ops: {
    0x00: {
      name: 'INIT_META_PAGE',
      text: (r) => `num_tuples ${formatG(r.mainData.readDoubleLE(0))}, fillfactor ${u16(r, 12)}`,
    },
    0x10: { name: 'INIT_BITMAP_PAGE', text: (r) => `bmsize ${u16(r, 0)}` },
    0x20: { name: 'INSERT', text: (r) => `off ${u16(r, 0)}` },
    0x30: { name: 'ADD_OVFL_PAGE', text: (r) => `bmsize ${u16(r, 0)}, bmpage_found ${flag(bool(r, 2))}` },
    0x40: {
      name: 'SPLIT_ALLOCATE_PAGE',
      text: (r) => {
        const flags = r.mainData.readUInt8(8);
        return `new_bucket ${u32(r, 0)}, meta_page_masks_updated ${flag(flags & 1)}, issplitpoint_changed ${flag(flags & 2)}`;
      },
    },
    0x50: { name: 'SPLIT_PAGE' },
    0x60: {
      name: 'SPLIT_COMPLETE',
      text: (r) => `old_bucket_flag ${u16(r, 0)}, new_bucket_flag ${u16(r, 2)}`,
    },
    0x70: { name: 'MOVE_PAGE_CONTENTS', text: (r) => `ntups ${u16(r, 0)}, is_primary ${flag(bool(r, 2))}` },
    0x80: {
      name: 'SQUEEZE_PAGE',
      text: (r) =>
        `prevblkno ${u32(r, 0)}, nextblkno ${u32(r, 4)}, ntups ${u16(r, 8)}, is_primary ${flag(bool(r, 10))}`,
    },
    0x90: {
      name: 'DELETE',
      text: (r) => `clear_dead_marking ${flag(bool(r, 0))}, is_primary ${flag(bool(r, 1))}`,
    },
    0xa0: { name: 'SPLIT_CLEANUP' },
    0xb0: { name: 'UPDATE_META_PAGE', text: (r) => `ntuples ${formatG(r.mainData.readDoubleLE(0))}` },
    0xc0: {
      name: 'VACUUM_ONE_PAGE',
      text: (r) =>
        `ntuples ${u16(r, 4)}, snapshotConflictHorizon ${u32(r, 0)}, isCatalogRel ${flag(bool(r, 6))}`,
    },
  },
};

const GIN_ISDATA = 0x01;
const GIN_ISLEAF = 0x02;
const GIN_SPLIT_ROOT = 0x04;

/** Block 0's image as Gin's texts mention it; null without an image. */
function ginImage(rec: WalRecord): string | null {
  const block = rec.blocks[0];
  if (block === undefined || block.id !== 0 || !block.hasImage) return null;
  return block.applyImage ? ' (full page image)' : ' (full page image, for WAL verification)';
}

/** nactions u16, then segno u8, action u8 and what the action carries. */
function ginRecompress(data: Buffer): string {
  const count = data.readUInt16LE(0);
  let out = ` ${count} segments:`;
  let at = 2;
  for (let i = 0; i < count; i++) {
    const segment = data.readUInt8(at);
    const action = data.readUInt8(at + 1);
    at += 2;
    if (action === 1) {
      out += ` ${segment} (delete)`;
    } else if (action === 2 || action === 3) {
      const bytes = data.readUInt16LE(at + 6);
      at += 8 + bytes + (bytes % 2);
      out += ` ${segment} (${action === 2 ? 'insert' : 'replace'})`;
    } else if (action === 4) {
      const items = data.readUInt16LE(at);
      at += 2 + 6 * items;
      out += ` ${segment} (add ${items} items)`;
    } else {
      return `${out} ${segment} unknown action ${action} ???`;
    }
  }
  return out;
}

function ginInsert(rec: WalRecord): string {
  const flags = u16(rec, 0);
  let out = `isdata: ${flag(flags & GIN_ISDATA)} isleaf: ${flag(flags & GIN_ISLEAF)}`;
  if (!(flags & GIN_ISLEAF)) out += ` children: ${blockIdAt(rec.mainData, 2)}/${blockIdAt(rec.mainData, 6)}`;
  const image = ginImage(rec);
  if (image !== null) return out + image;
  const data = rec.blocks[0]?.data ?? EMPTY;
  if (!(flags & GIN_ISDATA)) return `${out} isdelete: ${flag(data.readUInt8(2))}`;
  if (flags & GIN_ISLEAF) return out + ginRecompress(data);
  return `${out} pitem: ${blockIdAt(data, 2)}-${blockIdAt(data, 6)}/${data.readUInt16LE(10)}`;
}

function ginSplit(rec: WalRecord): string {
  const flags = u16(rec, 24);
  return `isrootsplit: ${flag(flags & GIN_SPLIT_ROOT)} isdata: ${flag(flags & GIN_ISDATA)} isleaf: ${flag(flags & GIN_ISLEAF)}`;
}

export const ginDesc: RmgrDesc = {
  name: 'Gin',
  opMask: 0xf0,
  ops: {
    0x10: { name: 'CREATE_PTREE' },
    0x20: { name: 'INSERT', text: ginInsert },
    0x30: { name: 'SPLIT', text: ginSplit },
    0x40: { name: 'VACUUM_PAGE' },
    0x50: { name: 'DELETE_PAGE' },
    0x60: { name: 'UPDATE_META_PAGE' },
    0x70: { name: 'INSERT_LISTPAGE' },
    0x80: { name: 'DELETE_LISTPAGE', text: (r) => `ndeleted: ${r.mainData.readInt32LE(56)}` },
    0x90: {
      name: 'VACUUM_DATA_LEAF_PAGE',
      text: (r) => ginImage(r) ?? ginRecompress(r.blocks[0]?.data ?? EMPTY),
    },
  },
};

export const gistDesc: RmgrDesc = {
  name: 'Gist',
  opMask: 0xf0,
  ops: {
    0x00: { name: 'PAGE_UPDATE' },
    0x10: {
      name: 'DELETE',
      text: (r) =>
        `delete: snapshotConflictHorizon ${u32(r, 0)}, nitems: ${u16(r, 4)}, isCatalogRel ${flag(bool(r, 6))}`,
    },
    0x20: {
      name: 'PAGE_REUSE',
      text: (r) =>
        `rel ${relText(r.mainData, 0)}; blk ${u32(r, 12)}; snapshotConflictHorizon ${fullXidAt(r.mainData, 16)}, ` +
        `isCatalogRel ${flag(bool(r, 24))}`,
    },
    0x30: { name: 'PAGE_SPLIT', text: (r) => `page_split: splits to ${u16(r, 18)} pages` },
    0x60: {
      name: 'PAGE_DELETE',
      text: (r) => `deleteXid ${fullXidAt(r.mainData, 0)}; downlink ${u16(r, 8)}`,
    },
    0x70: { name: 'ASSIGN_LSN' },
  },
};

/** ` (word)` for each set byte. */
function spgFlags(rec: WalRecord, flags: readonly (readonly [number, string])[]): string {
  return flags.map(([at, word]) => (bool(rec, at) ? ` (${word})` : '')).join('');
}

export const spgistDesc: RmgrDesc = {
  name: 'SPGist',
  opMask: 0xf0,
  ops: {
    0x10: {
      name: 'ADD_LEAF',
      text: (r) =>
        `off: ${u16(r, 2)}, headoff: ${u16(r, 4)}, parentoff: ${u16(r, 6)}, nodeI: ${u16(r, 8)}` +
        spgFlags(r, [
          [0, 'newpage'],
          [1, 'nulls'],
        ]),
    },
    0x20: {
      name: 'MOVE_LEAFS',
      text: (r) =>
        `nmoves: ${u16(r, 0)}, parentoff: ${u16(r, 6)}, nodeI: ${u16(r, 8)}` +
        spgFlags(r, [
          [2, 'newpage'],
          [3, 'replacedead'],
          [4, 'nulls'],
        ]),
    },
    0x30: {
      name: 'ADD_NODE',
      text: (r) =>
        `off: ${u16(r, 0)}, newoff: ${u16(r, 2)}, parentBlk: ${r.mainData.readInt8(5)}, ` +
        `parentoff: ${u16(r, 6)}, nodeI: ${u16(r, 8)}${spgFlags(r, [[4, 'newpage']])}`,
    },
    0x40: {
      name: 'SPLIT_TUPLE',
      text: (r) =>
        `prefixoff: ${u16(r, 0)}, postfixoff: ${u16(r, 2)}` +
        spgFlags(r, [
          [4, 'newpage'],
          [5, 'same'],
        ]),
    },
    0x50: {
      name: 'PICKSPLIT',
      text: (r) =>
        `ndelete: ${u16(r, 2)}, ninsert: ${u16(r, 4)}, inneroff: ${u16(r, 8)}, parentoff: ${u16(r, 14)}, nodeI: ${u16(r, 16)}` +
        spgFlags(r, [
          [12, 'innerIsParent'],
          [11, 'nulls'],
          [0, 'isRootSplit'],
        ]),
    },
    0x60: {
      name: 'VACUUM_LEAF',
      text: (r) =>
        `ndead: ${u16(r, 0)}, nplaceholder: ${u16(r, 2)}, nmove: ${u16(r, 4)}, nchain: ${u16(r, 6)}`,
    },
    0x70: { name: 'VACUUM_ROOT', text: (r) => `ndelete: ${u16(r, 0)}` },
    0x80: {
      name: 'VACUUM_REDIRECT',
      text: (r) =>
        `ntoplaceholder: ${u16(r, 0)}, firstplaceholder: ${u16(r, 2)}, snapshotConflictHorizon: ${u32(r, 4)}, ` +
        `isCatalogRel: ${flag(bool(r, 8))}`,
    },
  },
};

const brinInsert = (r: WalRecord): string =>
  `heapBlk ${u32(r, 0)} pagesPerRange ${u32(r, 4)} offnum ${u16(r, 8)}`;
const brinUpdate = (r: WalRecord): string =>
  `heapBlk ${u32(r, 4)} pagesPerRange ${u32(r, 8)} old offnum ${u16(r, 0)}, new offnum ${u16(r, 12)}`;

export const brinDesc: RmgrDesc = {
  name: 'BRIN',
  opMask: 0xf0,
  ops: {
    0x00: { name: 'CREATE_INDEX', text: (r) => `v${u16(r, 4)} pagesPerRange ${u32(r, 0)}` },
    0x10: { name: 'INSERT', text: brinInsert },
    0x90: { name: 'INSERT+INIT', text: brinInsert },
    0x20: { name: 'UPDATE', text: brinUpdate },
    0xa0: { name: 'UPDATE+INIT', text: brinUpdate },
    0x30: { name: 'SAMEPAGE_UPDATE', text: (r) => `offnum ${u16(r, 0)}` },
    0x40: { name: 'REVMAP_EXTEND', text: (r) => `targetBlk ${u32(r, 0)}` },
    0x50: {
      name: 'DESUMMARIZE',
      text: (r) => `pagesPerRange ${u32(r, 0)}, heapBlk ${u32(r, 4)}, page offset ${u16(r, 8)}`,
    },
  },
};

export const sequenceDesc: RmgrDesc = {
  name: 'Sequence',
  opMask: 0xf0,
  ops: { 0x00: { name: 'LOG', text: (r) => `rel ${relText(r.mainData, 0)}` } },
};

/** Main data of a Generic record is always empty in PostgreSQL 18: its deltas travel as block data, and are not printed. */
export const genericDesc: RmgrDesc = { name: 'Generic', opMask: 0x00, ops: { 0x00: { name: 'Generic' } } };
