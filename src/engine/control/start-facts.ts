/**
 * What must exist in a data directory for PostgreSQL to start cleanly from a control state. Startup reads the page of the next transaction, multixact and
 * member (TrimCLOG, TrimMultiXact), and whatever lies between the oldest id still in use and the next one may be looked up at any
 * time. A recovery would read an absent page as zeros; a clean start fails, so absent ones have to be written as zeros.
 */
import {
  COMMIT_TS_PER_PAGE,
  MEMBERS_PER_PAGE,
  OFFSETS_PER_PAGE,
  slruMaxPage,
  XACTS_PER_PAGE,
} from '../pages/effects/slru.js';
import type { SlruName } from '../pages/effects/types.js';
import type { ControlState } from './state.js';
import { nextMultiXid, xidOf } from './xid.js';

/** Pages first to last, inclusive; where last < first the range goes on from the SLRU's last page to page 0. */
export interface SlruPageRange {
  readonly slru: SlruName;
  readonly firstPage: number;
  readonly lastPage: number;
}

/** Ranges of SLRU pages in use. Members older than the next one are not listed: where they start is only known from the offsets pages. */
export function slruPagesInUse(state: ControlState): SlruPageRange[] {
  const cp = state.checkpoint;
  const ranges: SlruPageRange[] = [];
  const add = (slru: SlruName, perPage: number, oldest: number, next: number): void => {
    if (oldest === next && next % perPage === 0) return; // nothing yet on the page of `next`
    const last = next % perPage === 0 ? (next === 0 ? 0xffff_ffff : next - 1) : next;
    ranges.push({ slru, firstPage: Math.floor(oldest / perPage), lastPage: Math.floor(last / perPage) });
  };
  add('xact', XACTS_PER_PAGE, cp.oldestXid, xidOf(cp.nextXid));
  const nextMulti = cp.nextMulti === 0 ? nextMultiXid(0xffff_ffff) : cp.nextMulti;
  add('multixact_offsets', OFFSETS_PER_PAGE, cp.oldestMulti, nextMulti);
  add('multixact_members', MEMBERS_PER_PAGE, cp.nextMultiOffset, cp.nextMultiOffset);
  if (state.parameters.trackCommitTimestamp && cp.oldestCommitTsXid !== 0)
    add('commit_ts', COMMIT_TS_PER_PAGE, cp.oldestCommitTsXid, xidOf(cp.nextXid));
  return ranges;
}

/** The pages in use that `exists` denies: to be written as zeros. */
export function absentSlruPages(
  state: ControlState,
  exists: (slru: SlruName, pageno: number) => boolean,
): { slru: SlruName; pageno: number }[] {
  const absent: { slru: SlruName; pageno: number }[] = [];
  for (const { slru, firstPage, lastPage } of slruPagesInUse(state)) {
    const maxPage = slruMaxPage(slru);
    for (let pageno = firstPage; ; pageno = pageno === maxPage ? 0 : pageno + 1) {
      if (!exists(slru, pageno)) absent.push({ slru, pageno });
      if (pageno === lastPage) break;
    }
  }
  return absent;
}
