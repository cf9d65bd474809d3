/**
 * The redo driver: everything about applying a record to a page that does not depend on the record's type. It follows
 * XLogReadBufferForRedoExtended (access/transam/xlogutils.c, PostgreSQL 18):
 *   image to apply   restored whatever the page holds; pd_lsn := end of record, except that a new page (pd_upper 0) keeps 0;
 *                    a few record types change the restored page further (RedoOp.afterImage)
 *   WILL_INIT        the page is zeroed and built by the handler, whatever it held
 *   new page         left alone ('notfound'): PostgreSQL expects the relation to be truncated or dropped later
 *   pd_lsn >= end    left alone ('skipped')
 *   else             the handler edits it and pd_lsn := end of record
 */
import { DbError } from '../errors.js';
import { formatLsn, readPageLsn, writePageLsn } from '../lsn.js';
import { BLCKSZ } from '../page/constants.js';
import { restoreImage } from '../wal/image.js';
import { ForkNumber, type BlockRef, type WalRecord } from '../wal/types.js';
import { redoOpOf, recordTypeName } from './tables.js';
import type { RedoContext, RedoOp } from './types.js';

/** What applyRecord() did, in the words of XLogRedoAction. 'notfound' is worth counting: see there. */
export type RedoResult = 'applied' | 'restored' | 'skipped' | 'notfound';

const PD_UPPER = 14;

/**
 * Applies one record to one page that it references. `page` is 8192 bytes, all zero if it does not exist yet; it is changed in place.
 *
 * 'notfound' means that a delta met a page that was never written: nothing is changed. That is legal only if the block is
 * truncated away or dropped later in the log, or if the page's history before the record was not given.
 *
 * Throws REDO_* and WAL_* (damaged image), naming record and block; `page` may then be half changed and must be thrown away.
 */
export function applyRecord(page: Buffer, rec: WalRecord, block: BlockRef, ctx: RedoContext): RedoResult {
  if (page.length !== BLCKSZ) throw new RangeError(`a page has ${BLCKSZ} bytes, not ${page.length}`);
  const op = redoOpOf(rec);
  try {
    op.check?.(rec);
    return applyChecked(page, rec, block, ctx, op);
  } catch (err) {
    throw located(err, rec, block);
  }
}

/** As applyRecord(), for a record that has just passed assertReplayable(): its form is not checked again for each of its blocks. */
export function applyReplayable(page: Buffer, rec: WalRecord, block: BlockRef, ctx: RedoContext): RedoResult {
  try {
    return applyChecked(page, rec, block, ctx, redoOpOf(rec));
  } catch (err) {
    throw located(err, rec, block);
  }
}

function applyChecked(
  page: Buffer,
  rec: WalRecord,
  block: BlockRef,
  ctx: RedoContext,
  op: RedoOp,
): RedoResult {
  if (block.applyImage) {
    restoreImage(block, rec.startLsn, page);
    if (page.readUInt16LE(PD_UPPER) !== 0) writePageLsn(page, rec.endLsn);
    if (((op.afterImage ?? 0) & (1 << block.id)) !== 0) op.redo(page, rec, block, ctx);
    return 'restored';
  }
  if (op.leaves?.(rec, block) === true) return 'skipped';
  if (block.willInit) {
    page.fill(0);
  } else if (page.readUInt16LE(PD_UPPER) === 0 && op.createsBlock !== block.id) {
    return 'notfound';
  } else if (readPageLsn(page) >= rec.endLsn) {
    return 'skipped';
  }
  op.redo(page, rec, block, ctx);
  if (op.keepsLsn !== true) writePageLsn(page, rec.endLsn);
  return 'applied';
}

/**
 * Refuses what could not be replayed, so that ingest can stop before it: a record of an extension's own resource manager
 * (REDO_CUSTOM_RMGR), or a type or flag that PostgreSQL 18 does not write (REDO_UNKNOWN_RECORD, REDO_BAD_RECORD).
 */
export function assertReplayable(rec: WalRecord): void {
  const op = redoOpOf(rec);
  try {
    op.check?.(rec);
  } catch (err) {
    throw located(err, rec);
  }
}

/** Whether replay of `rec` may change `block`: some records reference blocks that they leave alone (RedoOp.leaves). */
export function changesBlock(rec: WalRecord, block: BlockRef): boolean {
  return block.applyImage || redoOpOf(rec).leaves?.(rec, block) !== true;
}

/** Adds record and block to what a handler threw. A RangeError is a read or write that Buffer's own bounds checks refused. */
function located(err: unknown, rec: WalRecord, block?: BlockRef): unknown {
  const isDb = err instanceof DbError;
  if (!isDb && !(err instanceof RangeError)) return err;
  const where = block ? `, block ${blockName(block)}` : '';
  return new DbError(
    isDb ? err.code : 'REDO_BAD_RECORD',
    `${err.message} (record ${recordTypeName(rec)} at ${formatLsn(rec.startLsn)}${where})`,
    { cause: err, ...(isDb ? { reaction: err.reaction, hint: err.hint } : {}) },
  );
}

const forkSuffix = new Map<number, string>(
  Object.entries(ForkNumber).map(([name, fork]) => [fork, fork === ForkNumber.main ? '' : `_${name}`]),
);

/** `spc/db/rel[_fork] blk n` for messages. */
function blockName(block: BlockRef): string {
  const fork = forkSuffix.get(block.fork) ?? `_fork${block.fork}`;
  return `${block.spcOid}/${block.dbOid}/${block.relNumber}${fork} blk ${block.blkno}`;
}
