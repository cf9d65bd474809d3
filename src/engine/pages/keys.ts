/**
 * Keys of the page store. Big-endian throughout, so that byte order is scan order; LSNs are inverted, so that a forward scan from (page, LSN)
 * meets the newest version at or before that LSN first, then the older ones.
 *
 *   marker    00 branch:4                                                     applied LSN, start of the last record
 *   format    01                                                              version of this layout
 *   horizon   02 branch:4                                                     see horizon.ts
 *   clock     03 branch:4                                                     see retention.ts
 *   rebuild   04 branch:4 part:1                                              see rebuild.ts
 *   page      10 branch:4 spc:4 db:4 rel:4 fork:1 block:4 ~lsn:8 kind:1       31 bytes
 *   slru      20 branch:4 slru:1 page:4 ~lsn:8 kind:1                         19 bytes
 *   fork      30 branch:4 spc:4 db:4 rel:4 fork:1 ~lsn:8                      26 bytes, see forks.ts
 *   fact      40 branch:4 class:1 id:* ~lsn:8                                 see facts.ts
 *
 * `kind` sorts what one record, and the coalescer after it, say about one page at one LSN: the lowest is met first, and a base ends the search.
 */
import { INVALID_LSN, lsn, type Lsn } from '../lsn.js';
import type { SlruName } from './effects/types.js';
import type { BranchId, VersionKind } from './types.js';
import type { RelFileLocator } from '../wal/types.js';

export const KeySpace = {
  marker: 0x00,
  format: 0x01,
  horizon: 0x02,
  clock: 0x03,
  rebuild: 0x04,
  page: 0x10,
  slru: 0x20,
  fork: 0x30,
  fact: 0x40,
} as const;

/** Version kinds by their byte in the key. */
export const Kind = {
  coalesced: 0,
  zero: 1,
  image: 2,
  init: 3,
  delta: 4,
  vmClear: 5,
  vmTruncate: 6,
  slruDelta: 7,
  /** Several deltas under the LSN of the oldest, see runs.ts. */
  run: 8,
} as const;
/** A version of a kind below this says what the page is without those before it. */
export const FIRST_DELTA_KIND = Kind.delta;

/** Of all kinds but runs, which are told of delta by delta. */
export const kindNames: readonly VersionKind[] = [
  'coalesced',
  'zero',
  'image',
  'init',
  'delta',
  'vmClear',
  'vmTruncate',
  'slruDelta',
];

export const LSN_BYTES = 8;
/** space, branch, spc, db, rel, fork. */
export const REL_PREFIX = 18;
export const FORK_KEY = REL_PREFIX + LSN_BYTES;
const PAGE_LSN_AT = REL_PREFIX + 4;
const SLRU_LSN_AT = 10;

const TWO_32 = 0x1_0000_0000;
const MAX_U32 = 0xffff_ffff;

/** Writes an LSN so that newer ones sort first. */
export function writeInvertedLsn(key: Buffer, value: number, at: number): void {
  const high = Math.floor(value / TWO_32);
  key.writeUInt32BE(MAX_U32 - high, at);
  key.writeUInt32BE(MAX_U32 - (value - high * TWO_32), at + 4);
}

export function readInvertedLsn(key: Buffer, at: number): Lsn {
  return lsn((MAX_U32 - key.readUInt32BE(at)) * TWO_32 + (MAX_U32 - key.readUInt32BE(at + 4)));
}

/**
 * A reusable key of one versioned page (a relation's or an SLRU's): the prefix that names the page is set once, LSN and kind vary.
 * RocksDB copies keys at the call, so one buffer serves for all.
 */
export class VersionedKey {
  constructor(
    readonly bytes: Buffer,
    private readonly lsnAt: number,
  ) {}

  set(at: number, kind: number): Buffer {
    writeInvertedLsn(this.bytes, at, this.lsnAt);
    this.bytes[this.lsnAt + LSN_BYTES] = kind;
    return this.bytes;
  }

  /** Key of the first (newest) version at or before `at`. */
  newest(at: number): Buffer {
    return this.set(at, 0);
  }

  /** Exclusive end of a scan that is to include all versions at or after `at`. */
  endOf(at: number): Buffer {
    return this.set(at, 0xff);
  }

  /** The bytes that name the page, as a map key. */
  name(): string {
    return this.bytes.toString('latin1', 0, this.lsnAt);
  }
}

export function versionLsn(key: Buffer): Lsn {
  return readInvertedLsn(key, key.length - LSN_BYTES - 1);
}

export function versionKind(key: Buffer): number {
  return key[key.length - 1]!;
}

export function writeRelPrefix(
  key: Buffer,
  space: number,
  branch: BranchId,
  rel: RelFileLocator,
  fork: number,
): void {
  key[0] = space;
  key.writeUInt32BE(branch, 1);
  key.writeUInt32BE(rel.spcOid, 5);
  key.writeUInt32BE(rel.dbOid, 9);
  key.writeUInt32BE(rel.relNumber, 13);
  key[17] = fork;
}

export class PageVersionKey extends VersionedKey {
  constructor() {
    super(Buffer.allocUnsafe(PAGE_LSN_AT + LSN_BYTES + 1), PAGE_LSN_AT);
  }

  setPage(branch: BranchId, rel: RelFileLocator, fork: number, blkno: number): this {
    writeRelPrefix(this.bytes, KeySpace.page, branch, rel, fork);
    this.bytes.writeUInt32BE(blkno, REL_PREFIX);
    return this;
  }

  /** Moves to another block of the same fork. */
  setBlock(blkno: number): this {
    this.bytes.writeUInt32BE(blkno, REL_PREFIX);
    return this;
  }
}

/** Part of the format: never renumber. */
const slruNumbers: Record<SlruName, number> = {
  xact: 0,
  multixact_offsets: 1,
  multixact_members: 2,
  commit_ts: 3,
};
export const slruNames = Object.keys(slruNumbers) as readonly SlruName[];

export function slruNumber(slru: SlruName): number {
  return slruNumbers[slru];
}

export class SlruVersionKey extends VersionedKey {
  constructor() {
    super(Buffer.alloc(SLRU_LSN_AT + LSN_BYTES + 1), SLRU_LSN_AT);
    this.bytes[0] = KeySpace.slru;
  }

  setPage(branch: BranchId, slru: SlruName, pageno: number): this {
    this.bytes.writeUInt32BE(branch, 1);
    this.bytes[5] = slruNumbers[slru];
    this.bytes.writeUInt32BE(pageno, 6);
    return this;
  }
}

export function markerKey(branch: BranchId): Buffer {
  return branchKey(KeySpace.marker, branch);
}

/** Key of what there is once for each branch; the prefix of all keys of a space that belong to it. */
export function branchKey(space: number, branch: BranchId): Buffer {
  const key = Buffer.alloc(5);
  key[0] = space;
  key.writeUInt32BE(branch, 1);
  return key;
}

export const FORMAT_KEY = Buffer.from([KeySpace.format]);

/** The first key after all that begin with `prefix`. */
export function prefixEnd(prefix: Buffer): Buffer {
  let length = prefix.length;
  while (prefix[length - 1] === 0xff) length--;
  const end = Buffer.from(prefix.subarray(0, length));
  end[length - 1]!++;
  return end;
}

/** Below every real LSN: nothing hides a page's older versions. */
export const OLDEST: Lsn = INVALID_LSN;
