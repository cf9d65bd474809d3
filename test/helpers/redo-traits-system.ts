/** Variants of the records outside index access methods: see traitsOf(). */
import { ForkNumber, type WalRecord } from '../../src/engine/wal/types.js';

/** xinfo of COMMIT, ABORT and their PREPARED kin (xact.h). */
const XINFO: readonly (readonly [number, string])[] = [
  [0x001, 'with a database'],
  [0x002, 'with subtransactions'],
  [0x004, 'drops files'],
  [0x008, 'invalidates caches'],
  [0x010, 'of a prepared transaction'],
  [0x020, 'with an origin'],
  [0x040, 'with exclusive locks'],
  [0x080, 'with a name'],
  [0x100, 'drops statistics'],
  [2 ** 29, 'wants feedback'],
  [2 ** 30, 'invalidates the relation cache file'],
  [2 ** 31, 'forced to be synchronous'],
];

/** Counts in the head of a PREPARE record (TwoPhaseFileHeader). */
const PREPARED: readonly (readonly [number, string])[] = [
  [28, 'with subtransactions'],
  [32, 'drops files at commit'],
  [36, 'drops files at rollback'],
  [40, 'drops statistics at commit'],
  [44, 'drops statistics at rollback'],
  [48, 'invalidates caches'],
  [56, 'with an origin'],
];

const FORK_NAMES = new Map<number, string>(Object.entries(ForkNumber).map(([name, fork]) => [fork, name]));

/** `type` without "+INIT". */
export function systemTraits(rec: WalRecord, type: string): string[] {
  const data = rec.mainData;
  switch (type) {
    case 'Transaction/COMMIT':
    case 'Transaction/ABORT':
    case 'Transaction/COMMIT_PREPARED':
    case 'Transaction/ABORT_PREPARED': {
      if ((rec.info & 0x80) === 0) return [`${type} without any detail`];
      const xinfo = data.readUInt32LE(8);
      return XINFO.filter(([bit]) => (xinfo & bit) !== 0).map(([, what]) => `${type} ${what}`);
    }
    case 'Transaction/PREPARE':
      return PREPARED.filter(([at]) => data.readUInt32LE(at) !== 0).map(([, what]) => `${type} ${what}`);
    case 'MultiXact/CREATE_ID':
      return multixactTraits(data, type);
    case 'Storage/CREATE':
      return [`${type} of fork ${FORK_NAMES.get(data.readUInt32LE(12))}`];
    case 'Storage/TRUNCATE':
      return [data.readUInt32LE(16) === 7 ? `${type} of all forks` : `${type} of the visibility map alone`];
    case 'XLOG/FPI':
    case 'XLOG/FPI_FOR_HINT': {
      const block = rec.blocks[0]!;
      const several = rec.blocks.length > 1 ? [`${type} of several blocks`] : [];
      return [
        `${type} of fork ${FORK_NAMES.get(block.fork)}${block.applyImage ? '' : ', no image'}`,
        ...several,
      ];
    }
    case 'Heap/LOCK':
      return [`${type} ${lockStrength(data[6]!)}`];
    case 'Heap/DELETE':
    case 'Heap/UPDATE':
    case 'Heap/HOT_UPDATE':
      return oldRowTraits(type, data[7]!);
    case 'Heap2/VISIBLE':
      return [
        ...((data[4]! & 2) !== 0 ? [`${type} all-frozen`] : [`${type} all-visible only`]),
        ...(rec.blocks[0]!.blkno > 0 ? [`${type} on a later map page`] : []),
      ];
    case 'Heap2/PRUNE_VACUUM_SCAN':
      return freezeTraits(rec, type);
    default:
      return [];
  }
}

const MEMBERS_PER_PAGE = 1636;

function multixactTraits(data: Buffer, type: string): string[] {
  const traits: string[] = [];
  const first = data.readUInt32LE(4);
  const count = data.readUInt32LE(8);
  if (count > 2) traits.push(`${type} of more than two members`);
  if (Math.floor(first / MEMBERS_PER_PAGE) !== Math.floor((first + count - 1) / MEMBERS_PER_PAGE))
    traits.push(`${type} with members on two pages`);
  for (let i = 0; i < count; i++)
    if (data.readUInt32LE(16 + i * 8) >= 4) traits.push(`${type} with an update`);
  return traits;
}

function lockStrength(infobits: number): string {
  const strength = infobits & 0x0c;
  if ((infobits & 0x01) !== 0) return 'by several';
  if (strength === 0x08) return 'FOR KEY SHARE';
  if (strength === 0x0c) return 'FOR SHARE';
  return (infobits & 0x10) !== 0 ? 'FOR UPDATE' : 'FOR NO KEY UPDATE';
}

function oldRowTraits(type: string, flags: number): string[] {
  const [row, key] = type === 'Heap/DELETE' ? [0x02, 0x04] : [0x04, 0x08];
  if ((flags & row) !== 0) return [`${type} with the old row`];
  return (flags & key) !== 0 ? [`${type} with the old key`] : [];
}

/** xlhp_freeze_plan is 12 bytes, the first of them at 4: xmax u32, t_infomask2 u16, t_infomask u16. */
function freezeTraits(rec: WalRecord, type: string): string[] {
  const plans = rec.blocks[0]!.data;
  if ((rec.mainData[1]! & 0x10) === 0 || plans.length === 0) return []; // an image stands for the plans
  const traits = new Set<string>();
  for (let i = 0; i < plans.readUInt16LE(0); i++) {
    const infomask = plans.readUInt16LE(4 + i * 12 + 6);
    if (plans.readUInt32LE(4 + i * 12) === 0) traits.add(`${type} freeze leaves no locker or updater`);
    else if ((infomask & 0x1000) !== 0) traits.add(`${type} freeze makes a smaller multixact`);
    else traits.add(`${type} freeze keeps one updater`);
  }
  return [...traits];
}
