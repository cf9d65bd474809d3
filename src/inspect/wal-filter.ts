/** Which records `inspect wal` shows: pg_waldump's filters. */
import { DbError } from '../engine/errors.js';
import { rmgrByName, RMGR_RECORD_TYPES } from '../engine/wal/describe.js';
import { ForkNumber, type RelFileLocator, type WalRecord } from '../engine/wal/types.js';

export interface WalFilterOptions {
  rmgrs?: readonly string[] | undefined;
  relation?: string | undefined;
  block?: number | undefined;
  fork?: string | undefined;
  xid?: number | undefined;
  fullPage?: boolean | undefined;
}

/** A test for records. All conditions on blocks must hold for one and the same block reference. Throws USAGE_WAL_FILTER. */
export function walFilter(options: WalFilterOptions): (rec: WalRecord) => boolean {
  const { block, xid, fullPage = false } = options;
  const rmids = options.rmgrs && options.rmgrs.length > 0 ? new Set(options.rmgrs.map(rmgrId)) : null;
  const rel = options.relation === undefined ? null : parseRelation(options.relation);
  const fork = options.fork === undefined ? null : parseFork(options.fork);
  if (block !== undefined && rel === null)
    throw new DbError('USAGE_WAL_FILTER', 'option --block requires option --relation to be specified');
  const onBlocks = rel !== null || fork !== null;
  return (rec) => {
    if (rmids !== null && !rmids.has(rec.rmid)) return false;
    if (xid !== undefined && rec.xid !== xid) return false;
    if (fullPage && !rec.blocks.some((ref) => ref.hasImage)) return false;
    if (!onBlocks) return true;
    return rec.blocks.some(
      (ref) =>
        (rel === null ||
          (ref.spcOid === rel.spcOid && ref.dbOid === rel.dbOid && ref.relNumber === rel.relNumber)) &&
        (block === undefined || ref.blkno === block) &&
        (fork === null || ref.fork === fork),
    );
  };
}

function rmgrId(name: string): number {
  const id = rmgrByName(name);
  if (id >= 0) return id;
  throw new DbError('USAGE_WAL_FILTER', `resource manager "${name}" does not exist`, {
    hint: `There are: ${RMGR_RECORD_TYPES.map((rmgr) => rmgr.name).join(', ')}.`,
  });
}

/** `SPC/DB/REL`, as in pg_waldump and in block references. Throws USAGE_WAL_FILTER. */
export function parseRelation(text: string): RelFileLocator {
  const match = /^(\d{1,10})\/(\d{1,10})\/(\d{1,10})$/.exec(text);
  const [spcOid, dbOid, relNumber] = (match?.slice(1) ?? []).map(Number);
  if (spcOid === undefined || dbOid === undefined || !spcOid || !relNumber)
    throw new DbError('USAGE_WAL_FILTER', `invalid relation specification: "${text}"`, {
      hint: 'Expecting "tablespace OID/database OID/relation filenode".',
    });
  return { spcOid, dbOid, relNumber };
}

/** A fork's name or number. Throws USAGE_WAL_FILTER. */
export function parseFork(text: string): number {
  const named = (ForkNumber as Record<string, number>)[text];
  const fork = named ?? (/^[0-3]$/.test(text) ? Number(text) : undefined);
  if (fork !== undefined) return fork;
  throw new DbError('USAGE_WAL_FILTER', `invalid fork name: "${text}"`, {
    hint: `Valid fork names are ${Object.keys(ForkNumber).join(', ')}.`,
  });
}

/** Names of all resource managers, one a line. */
export function rmgrList(): string {
  return RMGR_RECORD_TYPES.map((rmgr) => rmgr.name).join('\n');
}
