/** Effects of Database, Tablespace and RelMap records (dbcommands.c dbase_redo, tablespace.c tblspc_redo, relmapper.c relmap_redo, 18). */
import { RecordReader, unknownRecord } from '../../control/record-reader.js';
import { RELMAP_SIZE, sealRelmap } from '../../control/relmap.js';
import { DbError } from '../../errors.js';
import { formatLsn } from '../../lsn.js';
import type { WalRecord } from '../../wal/types.js';
import type { Effect } from './types.js';

const DbOp = { createFileCopy: 0x00, createWalLog: 0x10, drop: 0x20 } as const;
const TablespaceOp = { create: 0x00, drop: 0x10 } as const;
const RELMAP_UPDATE = 0x00;

export function databaseEffects(rec: WalRecord): Effect[] {
  switch (rec.info & 0xf0) {
    case DbOp.createFileCopy: {
      const r = new RecordReader(rec, 'CREATE_FILE_COPY');
      const target = { dbOid: r.u32(), spcOid: r.u32() };
      const copyFrom = { dbOid: r.u32(), spcOid: r.u32() };
      r.end();
      return [{ kind: 'dbCreate', ...target, copyFrom }];
    }
    case DbOp.createWalLog: {
      const r = new RecordReader(rec, 'CREATE_WAL_LOG');
      const target = { dbOid: r.u32(), spcOid: r.u32() };
      r.end();
      return [{ kind: 'dbCreate', ...target }];
    }
    case DbOp.drop: {
      const r = new RecordReader(rec, 'DROP');
      const dbOid = r.u32();
      const spcOids = r.xids(r.count(4));
      r.end();
      return [{ kind: 'dbDrop', dbOid, spcOids }];
    }
    default:
      throw unknownRecord(rec, 'Database');
  }
}

export function tablespaceEffects(rec: WalRecord): Effect[] {
  switch (rec.info & 0xf0) {
    case TablespaceOp.create: {
      const r = new RecordReader(rec, 'CREATE');
      const oid = r.u32();
      const location = r.cstring();
      r.end();
      if (location !== '') throw externalTablespace(rec, oid, location);
      return [{ kind: 'tablespaceCreate', oid }];
    }
    case TablespaceOp.drop: {
      const r = new RecordReader(rec, 'DROP');
      const oid = r.u32();
      r.end();
      return [{ kind: 'tablespaceDrop', oid }];
    }
    default:
      throw unknownRecord(rec, 'Tablespace');
  }
}

function externalTablespace(rec: WalRecord, oid: number, location: string): DbError {
  return new DbError(
    'REDO_UNSUPPORTED',
    `cannot replay the record at ${formatLsn(rec.startLsn)}: tablespace ${oid} lies outside the data directory, in "${location}"`,
    {
      reaction: 'usage',
      hint: "Only in-place tablespaces are supported: SET allow_in_place_tablespaces = on; CREATE TABLESPACE name LOCATION ''.",
    },
  );
}

export function relMapEffects(rec: WalRecord): Effect[] {
  if ((rec.info & 0xf0) !== RELMAP_UPDATE) throw unknownRecord(rec, 'RelMap');
  const r = new RecordReader(rec, 'UPDATE');
  const dbOid = r.u32();
  const spcOid = r.u32();
  const size = r.u32();
  if (size !== RELMAP_SIZE) throw r.bad(`a relation map of ${size} bytes, not ${RELMAP_SIZE}`);
  const data = r.bytes(RELMAP_SIZE);
  r.end();
  try {
    return [{ kind: 'relmap', spcOid, dbOid, data: sealRelmap(data, `database ${dbOid}`) }];
  } catch (err) {
    if (err instanceof DbError) throw r.bad(err.message);
    throw err;
  }
}
