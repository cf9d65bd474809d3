/** Heap and Heap2 records (heapdesc.c). */
import { EMPTY } from '../decode.js';
import type { WalRecord } from '../types.js';
import { flag, hex2, invalidations, list, offsetList, relText, type RmgrDesc } from './text.js';

const INFOBITS = ['IS_MULTI', 'LOCK_ONLY', 'EXCL_LOCK', 'KEYSHR_LOCK', 'KEYS_UPDATED'];

/** `key: [A, B]` for the set bits, lowest first. */
function bits(value: number, names: readonly string[], key: string): string {
  return `${key}: [${names.filter((_, bit) => value & (1 << bit)).join(', ')}]`;
}

function update({ mainData: d }: WalRecord): string {
  return (
    `old_xmax: ${d.readUInt32LE(0)}, old_off: ${d.readUInt16LE(4)}, ${bits(d.readUInt8(6), INFOBITS, 'old_infobits')}, ` +
    `flags: ${hex2(d.readUInt8(7))}, new_xmax: ${d.readUInt32LE(8)}, new_off: ${d.readUInt16LE(12)}`
  );
}

/** DELETE, LOCK and LOCK_UPDATED begin alike: xmax u32, offnum u16, infobits u8, flags u8. */
function xmaxOff({ mainData: d }: WalRecord): string {
  return (
    `xmax: ${d.readUInt32LE(0)}, off: ${d.readUInt16LE(4)}, ${bits(d.readUInt8(6), INFOBITS, 'infobits')}, ` +
    `flags: ${hex2(d.readUInt8(7))}`
  );
}

function truncate({ mainData: d }: WalRecord): string {
  const count = d.readUInt32LE(4);
  return (
    `${bits(d.readUInt8(8), ['CASCADE', 'RESTART_SEQS'], 'flags')}, nrelids: ${count}, relids:` +
    list(count, (i) => String(d.readUInt32LE(12 + 4 * i)))
  );
}

function inplace({ mainData: d }: WalRecord): string {
  return (
    `off: ${d.readUInt16LE(0)}` +
    invalidations(d, 20, d.readInt32LE(16), {
      dbOid: d.readUInt32LE(4),
      tsOid: d.readUInt32LE(8),
      initFile: d.readUInt8(12) !== 0,
    })
  );
}

const insert = ({ mainData: d }: WalRecord): string =>
  `off: ${d.readUInt16LE(0)}, flags: ${hex2(d.readUInt8(2))}`;

export const heapDesc: RmgrDesc = {
  name: 'Heap',
  opMask: 0xf0,
  ops: {
    0x00: { name: 'INSERT', text: insert },
    0x80: { name: 'INSERT+INIT', text: insert },
    0x10: { name: 'DELETE', text: xmaxOff },
    0x20: { name: 'UPDATE', text: update },
    0xa0: { name: 'UPDATE+INIT', text: update },
    0x40: { name: 'HOT_UPDATE', text: update },
    0xc0: { name: 'HOT_UPDATE+INIT', text: update },
    0x30: { name: 'TRUNCATE', text: truncate },
    0x50: { name: 'HEAP_CONFIRM', text: ({ mainData: d }) => `off: ${d.readUInt16LE(0)}` },
    0x60: { name: 'LOCK', text: xmaxOff },
    0x70: { name: 'INPLACE', text: inplace },
  },
};

const PRUNE = {
  isCatalogRel: 0x02,
  conflictHorizon: 0x08,
  freezePlans: 0x10,
  redirections: 0x20,
  deadItems: 0x40,
  nowUnused: 0x80,
} as const;

/** xl_heap_prune: reason u8, flags u8, [conflict horizon u32]; lists in block 0's data, in the order of their flags. */
function prune(rec: WalRecord): string {
  const d = rec.mainData;
  const flags = d.readUInt8(1);
  const horizon = flags & PRUNE.conflictHorizon ? `snapshotConflictHorizon: ${d.readUInt32LE(2)}` : '';
  const data = rec.blocks[0]?.id === 0 ? rec.blocks[0].data : EMPTY;
  return `${horizon}, isCatalogRel: ${flag(flags & PRUNE.isCatalogRel)}${data.length > 0 ? pruneLists(data, flags) : ''}`;
}

function pruneLists(data: Buffer, flags: number): string {
  let at = 0;
  let plans = { at: 0, count: 0 };
  if (flags & PRUNE.freezePlans) {
    plans = { at: 4, count: data.readUInt16LE(0) };
    at = 4 + 12 * plans.count;
  }
  const items = (bit: number, size: number): { at: number; count: number } => {
    if (!(flags & bit)) return { at: 0, count: 0 };
    const found = { at: at + 2, count: data.readUInt16LE(at) };
    at += 2 + size * found.count;
    return found;
  };
  const redirected = items(PRUNE.redirections, 4);
  const dead = items(PRUNE.deadItems, 2);
  const unused = items(PRUNE.nowUnused, 2);

  let out = `, nplans: ${plans.count}, nredirected: ${redirected.count}, ndead: ${dead.count}, nunused: ${unused.count}`;
  if (plans.count > 0) {
    let offsetsAt = at;
    const plan = (i: number): string => {
      const p = plans.at + 12 * i;
      const tuples = data.readUInt16LE(p + 10);
      const offsets = offsetList(data, offsetsAt, tuples);
      offsetsAt += 2 * tuples;
      return (
        `{ xmax: ${data.readUInt32LE(p)}, infomask: ${data.readUInt16LE(p + 6)}, ` +
        `infomask2: ${data.readUInt16LE(p + 4)}, ntuples: ${tuples}, offsets:${offsets} }`
      );
    };
    out += `, plans:${list(plans.count, plan)}`;
  }
  if (redirected.count > 0) {
    const pair = (i: number): string =>
      `${data.readUInt16LE(redirected.at + 4 * i)}->${data.readUInt16LE(redirected.at + 4 * i + 2)}`;
    out += `, redirected:${list(redirected.count, pair)}`;
  }
  if (dead.count > 0) out += `, dead:${offsetList(data, dead.at, dead.count)}`;
  if (unused.count > 0) out += `, unused:${offsetList(data, unused.at, unused.count)}`;
  return out;
}

/** xl_heap_multi_insert: flags u8, pad, ntuples u16, offsets (absent with +INIT). */
function multiInsert(rec: WalRecord): string {
  const d = rec.mainData;
  const count = d.readUInt16LE(2);
  const isInit = (rec.info & 0x80) !== 0;
  const hasData = rec.blocks[0]?.id === 0 && rec.blocks[0].data.length > 0;
  return (
    `ntuples: ${count}, flags: ${hex2(d.readUInt8(0))}` +
    (hasData && !isInit ? `, offsets:${offsetList(d, 4, count)}` : '')
  );
}

function newCid({ mainData: d }: WalRecord): string {
  const block = d.readUInt16LE(28) * 0x1_0000 + d.readUInt16LE(30);
  return (
    `rel: ${relText(d, 16)}, tid: ${block}/${d.readUInt16LE(32)}, ` +
    `cmin: ${d.readUInt32LE(4)}, cmax: ${d.readUInt32LE(8)}, combo: ${d.readUInt32LE(12)}`
  );
}

export const heap2Desc: RmgrDesc = {
  name: 'Heap2',
  opMask: 0xf0,
  ops: {
    0x00: { name: 'REWRITE' },
    0x10: { name: 'PRUNE_ON_ACCESS', text: prune },
    0x20: { name: 'PRUNE_VACUUM_SCAN', text: prune },
    0x30: { name: 'PRUNE_VACUUM_CLEANUP', text: prune },
    0x40: {
      name: 'VISIBLE',
      text: ({ mainData: d }) =>
        `snapshotConflictHorizon: ${d.readUInt32LE(0)}, flags: ${hex2(d.readUInt8(4))}`,
    },
    0x50: { name: 'MULTI_INSERT', text: multiInsert },
    0xd0: { name: 'MULTI_INSERT+INIT', text: multiInsert },
    0x60: { name: 'LOCK_UPDATED', text: xmaxOff },
    0x70: { name: 'NEW_CID', text: newCid },
  },
};
