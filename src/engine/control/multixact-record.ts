/** Main data of MultiXact records (access/multixact.h), and what of it concerns the existence of offsets pages. */
import { OFFSETS_PER_PAGE } from '../pages/effects/slru.js';
import type { WalRecord } from '../wal/types.js';
import { RecordReader } from './record-reader.js';
import type { ControlState } from './state.js';
import { nextMultiXid } from './xid.js';

export const MultiXactOp = {
  zeroOffPage: 0x00,
  zeroMemPage: 0x10,
  createId: 0x20,
  truncateId: 0x30,
} as const;

/** Highest MultiXactStatus (Update). */
const MAX_STATUS = 5;

export interface MultiXactCreate {
  readonly multi: number;
  /** Position of the first member in pg_multixact/members; u32, wraps around. */
  readonly offset: number;
  readonly xids: readonly number[];
  /** MultiXactStatus of each member, 0..5. */
  readonly statuses: readonly number[];
}

/** Throws REDO_BAD_RECORD. */
export function parseMultiXactCreate(rec: WalRecord): MultiXactCreate {
  const r = new RecordReader(rec, 'CREATE_ID');
  const multi = r.u32();
  const offset = r.u32();
  const n = r.count(8);
  const xids: number[] = [];
  const statuses: number[] = [];
  for (let i = 0; i < n; i++) {
    xids.push(r.u32());
    const status = r.u32();
    if (status > MAX_STATUS) throw r.bad(`member ${i} has status ${status}`);
    statuses.push(status);
  }
  r.end();
  return { multi, offset, xids, statuses };
}

export interface MultiXactTruncate {
  readonly oldestMultiDb: number;
  readonly startOffset: number;
  readonly endOffset: number;
  readonly startMember: number;
  readonly endMember: number;
}

/** `startOffset`/`endOffset` are multixact ids, the others positions among the members. Throws REDO_BAD_RECORD. */
export function parseMultiXactTruncate(rec: WalRecord): MultiXactTruncate {
  const r = new RecordReader(rec, 'TRUNCATE_ID');
  const parsed = {
    oldestMultiDb: r.u32(),
    startOffset: r.u32(),
    endOffset: r.u32(),
    startMember: r.u32(),
    endMember: r.u32(),
  };
  r.end();
  return parsed;
}

/** Page number of a ZEROPAGE record of any SLRU (i64). Throws REDO_BAD_RECORD. */
export function parseZeroPage(rec: WalRecord, name: string): number {
  const r = new RecordReader(rec, name);
  const pageno = r.u64();
  r.end();
  return pageno;
}

/**
 * The page of pg_multixact/offsets that replay of a CREATE_ID initialises ahead of its ZERO_OFF_PAGE record, null if none (RecordNewMultiXact).
 *
 * Since 18.2 a CREATE_ID also stores where the *next* multixact's members start, which may lie on the next page. 18.2 and later log that page's
 * ZERO_OFF_PAGE before; 18.0 and 18.1 after. PostgreSQL tells them apart by the last page that a ZERO_OFF_PAGE initialised and, before it has
 * seen one, by looking at the file. We have no file to look at: an unknown page is "touched" (made if missing), which comes to the same.
 */
export function offsetsPageInitialisedBy(
  multi: number,
  tracked: ControlState['multixactOffsets'],
): number | null {
  const page = Math.floor(multi / OFFSETS_PER_PAGE);
  const nextPage = Math.floor(nextMultiXid(multi) / OFFSETS_PER_PAGE);
  if (nextPage === page) return null;
  return tracked.lastInitialized === -1 || tracked.lastInitialized === page ? nextPage : null;
}
