/** Btree records (nbtdesc.c). */
import { EMPTY } from '../decode.js';
import type { WalRecord } from '../types.js';
import { flag, fullXidAt, list, offsetList, relText, type RmgrDesc } from './text.js';

function blockData(rec: WalRecord): Buffer {
  return rec.blocks[0]?.id === 0 ? rec.blocks[0].data : EMPTY;
}

const insert = ({ mainData: d }: WalRecord): string => `off: ${d.readUInt16LE(0)}`;

const split = ({ mainData: d }: WalRecord): string =>
  `level: ${d.readUInt32LE(0)}, firstrightoff: ${d.readUInt16LE(4)}, ` +
  `newitemoff: ${d.readUInt16LE(6)}, postingoff: ${d.readUInt16LE(8)}`;

/** Block data of DELETE and VACUUM: deleted offsets, updated offsets, per update a count and posting-list indexes. */
function deletions(data: Buffer, deleted: number, updated: number): string {
  if (data.length === 0) return '';
  const updatedAt = 2 * deleted;
  let at = updatedAt + 2 * updated;
  const update = (i: number): string => {
    const tids = data.readUInt16LE(at);
    const out = `{ off: ${data.readUInt16LE(updatedAt + 2 * i)}, nptids: ${tids}, ptids:${offsetList(data, at + 2, tids)} }`;
    at += 2 + 2 * tids;
    return out;
  };
  return `, deleted:${offsetList(data, 0, deleted)}, updated:${list(updated, update)}`;
}

function vacuum(rec: WalRecord): string {
  const deleted = rec.mainData.readUInt16LE(0);
  const updated = rec.mainData.readUInt16LE(2);
  return `ndeleted: ${deleted}, nupdated: ${updated}${deletions(blockData(rec), deleted, updated)}`;
}

function remove(rec: WalRecord): string {
  const d = rec.mainData;
  const deleted = d.readUInt16LE(4);
  const updated = d.readUInt16LE(6);
  return (
    `snapshotConflictHorizon: ${d.readUInt32LE(0)}, ndeleted: ${deleted}, nupdated: ${updated}, ` +
    `isCatalogRel: ${flag(d.readUInt8(8))}${deletions(blockData(rec), deleted, updated)}`
  );
}

const unlink = ({ mainData: d }: WalRecord): string =>
  `left: ${d.readUInt32LE(0)}, right: ${d.readUInt32LE(4)}, level: ${d.readUInt32LE(8)}, safexid: ${fullXidAt(d, 16)}, ` +
  `leafleft: ${d.readUInt32LE(24)}, leafright: ${d.readUInt32LE(28)}, leaftopparent: ${d.readUInt32LE(32)}`;

const markHalfDead = ({ mainData: d }: WalRecord): string =>
  `topparent: ${d.readUInt32LE(16)}, leaf: ${d.readUInt32LE(4)}, left: ${d.readUInt32LE(8)}, right: ${d.readUInt32LE(12)}`;

const reuse = ({ mainData: d }: WalRecord): string =>
  `rel: ${relText(d, 0)}, snapshotConflictHorizon: ${fullXidAt(d, 16)}, isCatalogRel: ${flag(d.readUInt8(24))}`;

export const btreeDesc: RmgrDesc = {
  name: 'Btree',
  opMask: 0xf0,
  ops: {
    0x00: { name: 'INSERT_LEAF', text: insert },
    0x10: { name: 'INSERT_UPPER', text: insert },
    0x20: { name: 'INSERT_META', text: insert },
    0x30: { name: 'SPLIT_L', text: split },
    0x40: { name: 'SPLIT_R', text: split },
    0x50: { name: 'INSERT_POST', text: insert },
    0x60: { name: 'DEDUP', text: ({ mainData: d }) => `nintervals: ${d.readUInt16LE(0)}` },
    0x70: { name: 'DELETE', text: remove },
    0x80: { name: 'UNLINK_PAGE', text: unlink },
    0x90: { name: 'UNLINK_PAGE_META', text: unlink },
    0xa0: { name: 'NEWROOT', text: ({ mainData: d }) => `level: ${d.readUInt32LE(4)}` },
    0xb0: { name: 'MARK_PAGE_HALFDEAD', text: markHalfDead },
    0xc0: { name: 'VACUUM', text: vacuum },
    0xd0: { name: 'REUSE_PAGE', text: reuse },
    0xe0: {
      name: 'META_CLEANUP',
      text: (rec) => `last_cleanup_num_delpages: ${blockData(rec).readUInt32LE(20)}`,
    },
  },
};
