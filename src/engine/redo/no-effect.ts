/**
 * Resource managers whose records reference no block. Naming every opcode here is what keeps an unknown one from passing
 * silently; what these records do to SLRUs, relation files and so on is the business of the effects code.
 */
import { Rmgr } from '../wal/types.js';
import { noPageEffect, redoError, type RedoOp, type RmgrTable } from './types.js';

/** An operation that changes no page and therefore must not reference one. */
export function noEffect(name: string, infoBits = 0): RedoOp {
  return {
    name,
    redo: noPageEffect,
    infoBits,
    check(rec) {
      if (rec.blocks.length !== 0)
        throw redoError('REDO_BAD_RECORD', `${name} references ${rec.blocks.length} block(s), none expected`);
    },
  };
}

function noEffects(rmid: number, name: string, names: readonly (readonly [number, string])[]): RmgrTable {
  return {
    rmid,
    name,
    opMask: 0xf0,
    ops: Object.fromEntries(names.map(([op, opName]) => [op, noEffect(opName)])),
  };
}

/** xinfo word present: only COMMIT and ABORT (and their PREPARED kin) have one (xact.h XLOG_XACT_HAS_INFO). */
const HAS_INFO = 0x80;

export const transactionTable: RmgrTable = {
  rmid: Rmgr.Transaction,
  name: 'Transaction',
  opMask: 0x70,
  ops: {
    0x00: noEffect('COMMIT', HAS_INFO),
    0x10: noEffect('PREPARE'),
    0x20: noEffect('ABORT', HAS_INFO),
    0x30: noEffect('COMMIT_PREPARED', HAS_INFO),
    0x40: noEffect('ABORT_PREPARED', HAS_INFO),
    0x50: noEffect('ASSIGNMENT'),
    0x60: noEffect('INVALIDATION'),
  },
};

export const noEffectTables: readonly RmgrTable[] = [
  transactionTable,
  noEffects(Rmgr.Storage, 'Storage', [
    [0x10, 'CREATE'],
    [0x20, 'TRUNCATE'],
  ]),
  noEffects(Rmgr.CLOG, 'CLOG', [
    [0x00, 'ZEROPAGE'],
    [0x10, 'TRUNCATE'],
  ]),
  noEffects(Rmgr.Database, 'Database', [
    [0x00, 'CREATE_FILE_COPY'],
    [0x10, 'CREATE_WAL_LOG'],
    [0x20, 'DROP'],
  ]),
  noEffects(Rmgr.Tablespace, 'Tablespace', [
    [0x00, 'CREATE'],
    [0x10, 'DROP'],
  ]),
  noEffects(Rmgr.MultiXact, 'MultiXact', [
    [0x00, 'ZERO_OFF_PAGE'],
    [0x10, 'ZERO_MEM_PAGE'],
    [0x20, 'CREATE_ID'],
    [0x30, 'TRUNCATE_ID'],
  ]),
  noEffects(Rmgr.RelMap, 'RelMap', [[0x00, 'UPDATE']]),
  noEffects(Rmgr.Standby, 'Standby', [
    [0x00, 'LOCK'],
    [0x10, 'RUNNING_XACTS'],
    [0x20, 'INVALIDATIONS'],
  ]),
  noEffects(Rmgr.CommitTs, 'CommitTs', [
    [0x00, 'ZEROPAGE'],
    [0x10, 'TRUNCATE'],
  ]),
  noEffects(Rmgr.ReplicationOrigin, 'ReplicationOrigin', [
    [0x00, 'SET'],
    [0x10, 'DROP'],
  ]),
  noEffects(Rmgr.LogicalMessage, 'LogicalMessage', [[0x00, 'MESSAGE']]),
];
