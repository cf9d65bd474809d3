/** Effects of Transaction records: clog, commit timestamps, dropped relations, prepared transactions, origins (xact.c xact_redo, 18). */
import { DO_NOT_REPLICATE_ID } from '../../control/files.js';
import { unknownRecord } from '../../control/record-reader.js';
import { parsePrepare, parseXactEnd, XACT_OPMASK, XactOp, type XactEnd } from '../../control/xact-record.js';
import { fullXidNear } from '../../control/xid.js';
import type { Lsn } from '../../lsn.js';
import type { WalRecord } from '../../wal/types.js';
import { commitTsDelta, slruPageOf, statusDelta, XactStatus } from './slru.js';
import { NO_EFFECTS, type Effect, type EffectContext, type SlruName } from './types.js';

export function transactionEffects(rec: WalRecord, ctx: EffectContext): readonly Effect[] {
  switch (rec.info & XACT_OPMASK) {
    case XactOp.commit:
    case XactOp.abort:
    case XactOp.commitPrepared:
    case XactOp.abortPrepared:
      return endEffects(rec, parseXactEnd(rec), ctx);
    case XactOp.prepare:
      return prepareEffects(rec, ctx);
    case XactOp.assignment:
    case XactOp.invalidations:
      return NO_EFFECTS;
    default:
      throw unknownRecord(rec, 'Transaction');
  }
}

function endEffects(rec: WalRecord, end: XactEnd, ctx: EffectContext): Effect[] {
  const effects: Effect[] = [];
  const status = end.committed ? XactStatus.committed : XactStatus.aborted;
  perPage('xact', end, effects, (xids) => statusDelta(status, xids));
  if (end.committed && ctx.control.parameters.trackCommitTimestamp)
    perPage('commit_ts', end, effects, (xids) => commitTsDelta(end.timestamp, rec.origin, xids));
  pushOrigin(effects, rec.origin, end.originLsn);
  for (const rel of end.droppedRels) effects.push({ kind: 'relDrop', rel });
  if (end.prepared) effects.push({ kind: 'twoPhaseDrop', xid: end.xid });
  return effects;
}

/** One delta for each page that the transaction and its subtransactions live on. */
function perPage(
  slru: SlruName,
  end: XactEnd,
  effects: Effect[],
  delta: (xids: readonly number[]) => Buffer,
): void {
  const page = slruPageOf(slru, end.xid);
  if (end.subxacts.length === 0) {
    effects.push({ kind: 'slru', slru, pageno: page, delta: delta([end.xid]) });
    return;
  }
  const pages = new Map<number, number[]>([[page, [end.xid]]]);
  for (const xid of end.subxacts) {
    const pageno = slruPageOf(slru, xid);
    const xids = pages.get(pageno);
    if (xids) xids.push(xid);
    else pages.set(pageno, [xid]);
  }
  for (const [pageno, xids] of pages) effects.push({ kind: 'slru', slru, pageno, delta: delta(xids) });
}

function prepareEffects(rec: WalRecord, ctx: EffectContext): Effect[] {
  const state = parsePrepare(rec);
  const effects: Effect[] = [
    {
      kind: 'twoPhasePut',
      fullXid: fullXidNear(ctx.control.checkpoint.nextXid, state.xid),
      data: Buffer.from(rec.mainData),
    },
  ];
  pushOrigin(effects, rec.origin, state.originLsn);
  return effects;
}

function pushOrigin(effects: Effect[], id: number, remoteLsn: Lsn): void {
  if (id !== 0 && id !== DO_NOT_REPLICATE_ID && remoteLsn !== 0)
    effects.push({ kind: 'origin', id, remoteLsn, force: false });
}
