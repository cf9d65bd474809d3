/**
 * Geometry of the four logged SLRUs, and the deltas of their pages. SLRU pages have no header, LSN or checksum; 32 of them make a segment file.
 *   xact                2 bits a transaction: 0 in progress, 1 committed, 2 aborted (access/transam/clog.c)
 *   multixact_offsets   u32 a multixact: where its members start (multixact.c)
 *   multixact_members   groups of 20 bytes: 4 status bytes, 4 xids; 409 groups, 12 bytes unused
 *   commit_ts           10 bytes a transaction: time i64, origin u16 (commit_ts.c)
 *
 * A delta is an opcode byte and its operands, little-endian; all entry numbers are positions within the page (u16):
 *   0 ZERO                                    the page becomes zeros
 *   1 TOUCH                                   nothing, except that the page exists from now on
 *   2 STATUS      status u8, entry...         transaction statuses
 *   3 OFFSETS     { entry, start u32 }...
 *   4 MEMBERS     entry, { xid u32, status u8 }...   consecutive members
 *   5 COMMIT_TS   time i64, origin u16, entry...
 */
import { DbError } from '../../errors.js';
import { BLCKSZ } from '../../page/constants.js';
import { xidPrecedes, multiPrecedes, FIRST_NORMAL_XID } from '../../control/xid.js';
import type { SlruName } from './types.js';

export const SLRU_PAGES_PER_SEGMENT = 32;
export const XACTS_PER_PAGE = BLCKSZ * 4;
export const COMMIT_TS_PER_PAGE = 819;
const COMMIT_TS_ENTRY = 10;
export const MEMBERS_PER_PAGE = 1636;
const MEMBER_GROUP = 20;
export const OFFSETS_PER_PAGE = 2048;

/** Entries of a page and the id space that they come from. */
const ENTRIES: Readonly<Record<SlruName, number>> = {
  xact: XACTS_PER_PAGE,
  multixact_offsets: OFFSETS_PER_PAGE,
  multixact_members: MEMBERS_PER_PAGE,
  commit_ts: COMMIT_TS_PER_PAGE,
};

export const SLRU_DIRECTORY: Readonly<Record<SlruName, string>> = {
  xact: 'pg_xact',
  multixact_offsets: 'pg_multixact/offsets',
  multixact_members: 'pg_multixact/members',
  commit_ts: 'pg_commit_ts',
};

/** The page that holds entry `id` (xid, multixact id or member position). */
export function slruPageOf(slru: SlruName, id: number): number {
  return Math.floor(id / ENTRIES[slru]);
}

/** The last page that an SLRU can have: that of id 0xFFFFFFFF. */
export function slruMaxPage(slru: SlruName): number {
  return slruPageOf(slru, 0xffff_ffff);
}

/** Name of the segment file that holds a page, below the SLRU's directory: at least 4 hex digits. */
export function slruSegmentName(pageno: number): string {
  return Math.floor(pageno / SLRU_PAGES_PER_SEGMENT)
    .toString(16)
    .toUpperCase()
    .padStart(4, '0');
}

/** Whether page `a` is older than page `b` in wrap-around order (CLOGPagePrecedes and its kin): all of a before all of b. */
export function slruPagePrecedes(slru: SlruName, a: number, b: number): boolean {
  const entries = ENTRIES[slru];
  const shift = slru === 'multixact_members' ? 0 : slru === 'multixact_offsets' ? 2 : FIRST_NORMAL_XID + 1;
  const precedes = slru === 'xact' || slru === 'commit_ts' ? xidPrecedes : multiPrecedes;
  const first = (a * entries + shift) >>> 0;
  const other = (b * entries + shift) >>> 0;
  return precedes(first, other) && precedes(first, (other + entries - 1) >>> 0);
}

/** Whether truncation to `cutoffPage` removes the segment that holds `pageno` (SlruMayDeleteSegment): both its ends precede it. */
export function slruSegmentPrecedes(slru: SlruName, pageno: number, cutoffPage: number): boolean {
  const first = pageno - (pageno % SLRU_PAGES_PER_SEGMENT);
  return (
    slruPagePrecedes(slru, first, cutoffPage) &&
    slruPagePrecedes(slru, first + SLRU_PAGES_PER_SEGMENT - 1, cutoffPage)
  );
}

const Op = { zero: 0, touch: 1, status: 2, offsets: 3, members: 4, commitTs: 5 } as const;

export const XactStatus = { inProgress: 0, committed: 1, aborted: 2, subCommitted: 3 } as const;

/** Shared: effects never change their deltas. */
export const ZERO_PAGE_DELTA: Buffer = Buffer.from([Op.zero]);
export const TOUCH_PAGE_DELTA: Buffer = Buffer.from([Op.touch]);

/** Sets the status of transactions that all live on one page. */
export function statusDelta(status: number, xids: readonly number[]): Buffer {
  const delta = Buffer.allocUnsafe(2 + xids.length * 2);
  delta[0] = Op.status;
  delta[1] = status;
  for (let i = 0; i < xids.length; i++) delta.writeUInt16LE(xids[i]! % XACTS_PER_PAGE, 2 + i * 2);
  return delta;
}

/** Sets where the members of multixacts start; all of them live on one page. */
export function offsetsDelta(entries: readonly (readonly [multi: number, start: number])[]): Buffer {
  const delta = Buffer.allocUnsafe(1 + entries.length * 6);
  delta[0] = Op.offsets;
  entries.forEach(([multi, start], i) => {
    delta.writeUInt16LE(multi % OFFSETS_PER_PAGE, 1 + i * 6);
    delta.writeUInt32LE(start, 3 + i * 6);
  });
  return delta;
}

/** Sets consecutive members from position `offset` on, all on one page. */
export function membersDelta(offset: number, xids: readonly number[], statuses: readonly number[]): Buffer {
  const delta = Buffer.allocUnsafe(3 + xids.length * 5);
  delta[0] = Op.members;
  delta.writeUInt16LE(offset % MEMBERS_PER_PAGE, 1);
  for (let i = 0; i < xids.length; i++) {
    delta.writeUInt32LE(xids[i]!, 3 + i * 5);
    delta[7 + i * 5] = statuses[i]!;
  }
  return delta;
}

/** Sets commit time (8 bytes as stored) and origin of transactions that all live on one page. */
export function commitTsDelta(time: Buffer, origin: number, xids: readonly number[]): Buffer {
  const delta = Buffer.allocUnsafe(11 + xids.length * 2);
  delta[0] = Op.commitTs;
  time.copy(delta, 1, 0, 8);
  delta.writeUInt16LE(origin, 9);
  for (let i = 0; i < xids.length; i++) delta.writeUInt16LE(xids[i]! % COMMIT_TS_PER_PAGE, 11 + i * 2);
  return delta;
}

/** Applies a delta to a page (8192 bytes), in place. Throws PAGE_BAD_DELTA. */
export function applySlruDelta(page: Buffer, delta: Buffer): void {
  switch (delta[0]) {
    case Op.zero:
      page.fill(0);
      return;
    case Op.touch:
      return;
    case Op.status:
      return applyStatus(page, delta);
    case Op.offsets:
      for (let at = 1; at < delta.length; at += 6)
        page.writeUInt32LE(delta.readUInt32LE(at + 2), entryAt(delta, at, OFFSETS_PER_PAGE) * 4);
      return;
    case Op.members:
      return applyMembers(page, delta);
    case Op.commitTs:
      for (let at = 11; at < delta.length; at += 2)
        delta.copy(page, entryAt(delta, at, COMMIT_TS_PER_PAGE) * COMMIT_TS_ENTRY, 1, 11);
      return;
    default:
      throw new DbError('PAGE_BAD_DELTA', `unknown SLRU delta ${delta[0] ?? '(empty)'}`);
  }
}

/** Whether the page's content before `delta` does not matter. */
export function slruDeltaIsWhole(delta: Buffer): boolean {
  return delta[0] === Op.zero;
}

function applyStatus(page: Buffer, delta: Buffer): void {
  const status = delta[1]! & 3;
  for (let at = 2; at < delta.length; at += 2) {
    const entry = entryAt(delta, at, XACTS_PER_PAGE);
    const shift = (entry & 3) * 2;
    page[entry >>> 2] = (page[entry >>> 2]! & ~(3 << shift)) | (status << shift);
  }
}

function applyMembers(page: Buffer, delta: Buffer): void {
  let entry = entryAt(delta, 1, MEMBERS_PER_PAGE);
  for (let at = 3; at < delta.length; at += 5, entry++) {
    if (entry >= MEMBERS_PER_PAGE)
      throw new DbError('PAGE_BAD_DELTA', `SLRU delta beyond entry ${MEMBERS_PER_PAGE}`);
    const group = (entry >>> 2) * MEMBER_GROUP;
    page[group + (entry & 3)] = delta[at + 4]!;
    page.writeUInt32LE(delta.readUInt32LE(at), group + 4 + (entry & 3) * 4);
  }
}

function entryAt(delta: Buffer, at: number, limit: number): number {
  const entry = delta.readUInt16LE(at);
  if (entry >= limit)
    throw new DbError('PAGE_BAD_DELTA', `SLRU delta for entry ${entry} of a page with ${limit}`);
  return entry;
}
