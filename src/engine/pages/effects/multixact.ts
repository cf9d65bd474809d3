/** Effects of MultiXact records (multixact.c multixact_redo, RecordNewMultiXact, PerformMembersTruncation, 18). */
import {
  MultiXactOp,
  offsetsPageInitialisedBy,
  parseMultiXactCreate,
  parseMultiXactTruncate,
  parseZeroPage,
  type MultiXactCreate,
} from '../../control/multixact-record.js';
import { unknownRecord } from '../../control/record-reader.js';
import { nextMultiXid } from '../../control/xid.js';
import type { WalRecord } from '../../wal/types.js';
import {
  membersDelta,
  MEMBERS_PER_PAGE,
  offsetsDelta,
  OFFSETS_PER_PAGE,
  SLRU_PAGES_PER_SEGMENT,
  slruMaxPage,
  TOUCH_PAGE_DELTA,
  ZERO_PAGE_DELTA,
} from './slru.js';
import { NO_EFFECTS, type Effect, type EffectContext } from './types.js';

export function multiXactEffects(rec: WalRecord, ctx: EffectContext): readonly Effect[] {
  const tracked = ctx.control.multixactOffsets;
  switch (rec.info & 0xf0) {
    case MultiXactOp.zeroOffPage: {
      const pageno = parseZeroPage(rec, 'ZERO_OFF_PAGE');
      if (tracked.preInitialized === pageno) return NO_EFFECTS; // CREATE_ID made it, and has written to it
      return [{ kind: 'slru', slru: 'multixact_offsets', pageno, delta: ZERO_PAGE_DELTA }];
    }
    case MultiXactOp.zeroMemPage: {
      const pageno = parseZeroPage(rec, 'ZERO_MEM_PAGE');
      return [{ kind: 'slru', slru: 'multixact_members', pageno, delta: ZERO_PAGE_DELTA }];
    }
    case MultiXactOp.createId:
      return createEffects(parseMultiXactCreate(rec), tracked);
    case MultiXactOp.truncateId:
      return truncateEffects(rec);
    default:
      throw unknownRecord(rec, 'MultiXact');
  }
}

function createEffects(
  created: MultiXactCreate,
  tracked: EffectContext['control']['multixactOffsets'],
): Effect[] {
  const { multi, offset, xids } = created;
  const effects: Effect[] = [];
  const slru = 'multixact_offsets';
  const initialised = offsetsPageInitialisedBy(multi, tracked);
  if (initialised !== null) {
    const delta = tracked.lastInitialized === -1 ? TOUCH_PAGE_DELTA : ZERO_PAGE_DELTA;
    effects.push({ kind: 'slru', slru, pageno: initialised, delta });
  }
  const next = nextMultiXid(multi);
  const nextStart = (offset + xids.length) >>> 0 || 1; // 0 would mean "not set"
  const page = Math.floor(multi / OFFSETS_PER_PAGE);
  const nextPage = Math.floor(next / OFFSETS_PER_PAGE);
  if (page === nextPage) {
    const delta = offsetsDelta([
      [multi, offset],
      [next, nextStart],
    ]);
    effects.push({ kind: 'slru', slru, pageno: page, delta });
  } else {
    effects.push({ kind: 'slru', slru, pageno: page, delta: offsetsDelta([[multi, offset]]) });
    effects.push({ kind: 'slru', slru, pageno: nextPage, delta: offsetsDelta([[next, nextStart]]) });
  }
  pushMembers(effects, created);
  return effects;
}

/** Members may go on to further pages, and from the last possible one, which is shorter, to page 0. */
function pushMembers(effects: Effect[], { offset, xids, statuses }: MultiXactCreate): void {
  let at = offset;
  for (let i = 0; i < xids.length;) {
    const pageEnd = Math.min((Math.floor(at / MEMBERS_PER_PAGE) + 1) * MEMBERS_PER_PAGE, 0x1_0000_0000);
    const n = Math.min(xids.length - i, pageEnd - at);
    effects.push({
      kind: 'slru',
      slru: 'multixact_members',
      pageno: Math.floor(at / MEMBERS_PER_PAGE),
      delta: membersDelta(at, xids.slice(i, i + n), statuses.slice(i, i + n)),
    });
    i += n;
    at = (at + n) % 0x1_0000_0000;
  }
}

/** Members go by a range of segments, [start, end), which may wrap: their space can be full, so that "before" has no meaning there. */
function truncateEffects(rec: WalRecord): Effect[] {
  const { startMember, endMember, endOffset } = parseMultiXactTruncate(rec);
  const slru = 'multixact_members';
  const effects: Effect[] = [];
  const start = segmentStart(startMember);
  const end = segmentStart(endMember);
  if (start < end) {
    effects.push({ kind: 'slruDrop', slru, firstPage: start, endPage: end });
  } else if (start > end) {
    effects.push({ kind: 'slruDrop', slru, firstPage: start, endPage: slruMaxPage(slru) + 1 });
    if (end > 0) effects.push({ kind: 'slruDrop', slru, firstPage: 0, endPage: end });
  }
  const before = endOffset <= 1 ? 0xffff_ffff : endOffset - 1; // the page of endOffset itself may not exist yet
  effects.push({
    kind: 'slruTruncate',
    slru: 'multixact_offsets',
    cutoffPage: Math.floor(before / OFFSETS_PER_PAGE),
  });
  return effects;
}

/** First page of the segment with the member at position `offset`. */
function segmentStart(offset: number): number {
  const page = Math.floor(offset / MEMBERS_PER_PAGE);
  return page - (page % SLRU_PAGES_PER_SEGMENT);
}
