/** The redo tables of all resource managers, flattened for lookup by (rmid, xl_info). */
import { formatLsn } from '../lsn.js';
import { DbError } from '../errors.js';
import { Rmgr, type WalRecord } from '../wal/types.js';
import { brinTable } from './brin.js';
import { btreeTable } from './btree.js';
import { genericTable } from './generic.js';
import { ginTable } from './gin.js';
import { gistTable } from './gist.js';
import { hashTable } from './hash.js';
import { heapTable } from './heap.js';
import { INIT_PAGE } from './heap-records.js';
import { heap2Table } from './heap2.js';
import { noEffectTables } from './no-effect.js';
import { sequenceTable } from './sequence.js';
import { spgistTable } from './spgist.js';
import type { RedoOp, RmgrTable } from './types.js';
import { xlogTable } from './xlog.js';

export const redoTables: readonly RmgrTable[] = [
  xlogTable,
  ...noEffectTables,
  heap2Table,
  heapTable,
  btreeTable,
  hashTable,
  ginTable,
  gistTable,
  sequenceTable,
  spgistTable,
  brinTable,
  genericTable,
];

/** RM_MIN_CUSTOM_ID: ids from here up to 255 belong to extensions (access/rmgr.h). */
const FIRST_CUSTOM_RMID = 128;

/** xl_info bits that every resource manager may set: XLR_SPECIAL_REL_UPDATE, XLR_CHECK_CONSISTENCY. */
const COMMON_INFO = 0x03;

/** Indexed by rmid << 8 | xl_info: exactly the combinations that PostgreSQL 18 writes. */
const opByInfo: readonly (RedoOp | undefined)[] = flatten(redoTables);

function flatten(tables: readonly RmgrTable[]): (RedoOp | undefined)[] {
  const flat = new Array<RedoOp | undefined>(256 << 8).fill(undefined);
  for (const table of tables) {
    for (const [key, op] of Object.entries(table.ops)) {
      const opcode = Number(key);
      const free = (op.infoBits ?? 0) | COMMON_INFO;
      if ((opcode & ~table.opMask) !== 0 || (free & table.opMask) !== 0)
        throw new Error(
          `redo table ${table.name}: opcode 0x${opcode.toString(16)} of ${op.name} overlaps its flags`,
        );
      for (let info = 0; info < 256; info++)
        if ((info & ~free) === opcode) flat[(table.rmid << 8) | info] = op;
    }
  }
  return flat;
}

/** The table entry for a record. Throws REDO_CUSTOM_RMGR or REDO_UNKNOWN_RECORD, with the record's LSN. */
export function redoOpOf(rec: WalRecord): RedoOp {
  return opByInfo[(rec.rmid << 8) | rec.info] ?? refuse(rec);
}

function refuse(rec: WalRecord): never {
  const at = formatLsn(rec.startLsn);
  const info = `0x${rec.info.toString(16).padStart(2, '0')}`;
  if (rec.rmid >= FIRST_CUSTOM_RMID) {
    throw new DbError(
      'REDO_CUSTOM_RMGR',
      `cannot replay the record at ${at}: custom resource manager ${rec.rmid} of an extension (info ${info})`,
      {
        reaction: 'usage',
        hint:
          'Only the extension itself knows what its records mean. It cannot be used here: take its library out of shared_preload_libraries ' +
          'of the server that writes this log, and drop what stores data by it.',
        details: { rmid: rec.rmid },
      },
    );
  }
  const table = redoTables.find((t) => t.rmid === rec.rmid);
  throw new DbError(
    'REDO_UNKNOWN_RECORD',
    table
      ? `cannot replay the record at ${at}: ${table.name} has no record type with info ${info}`
      : `cannot replay the record at ${at}: unknown resource manager ${rec.rmid} (info ${info})`,
  );
}

/** `Heap/INSERT+INIT`: resource manager and record type as pg_waldump prints them; numbers where unknown. */
export function recordTypeName(rec: WalRecord): string {
  const op = opByInfo[(rec.rmid << 8) | rec.info];
  const table = redoTables.find((t) => t.rmid === rec.rmid);
  const rmgr = table?.name ?? (rec.rmid < FIRST_CUSTOM_RMID ? `rmgr ${rec.rmid}` : `custom${rec.rmid}`);
  if (op === undefined || table === undefined) return `${rmgr}/0x${rec.info.toString(16).padStart(2, '0')}`;
  const init = rec.rmid !== Rmgr.Transaction && ((op.infoBits ?? 0) & rec.info & INIT_PAGE) !== 0;
  return `${rmgr}/${op.name}${init ? '+INIT' : ''}`;
}
