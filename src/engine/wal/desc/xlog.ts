/** XLOG records (xlogdesc.c). */
import type { WalRecord } from '../types.js';
import { cstringAt, fullXidAt, lsnAt, timestampAt, type RmgrDesc } from './text.js';

const WAL_LEVELS = ['minimal', 'replica', 'logical'];

function walLevel(value: number): string {
  return WAL_LEVELS[value] ?? '?';
}

/** struct CheckPoint, 88 bytes. */
function checkpoint(rec: WalRecord, kind: string): string {
  const d = rec.mainData;
  const u = (at: number): number => d.readUInt32LE(at);
  return (
    `redo ${lsnAt(d, 0)}; tli ${u(8)}; prev tli ${u(12)}; fpw ${d[16] ? 'true' : 'false'}; ` +
    `wal_level ${walLevel(d.readInt32LE(20))}; xid ${fullXidAt(d, 24)}; oid ${u(32)}; multi ${u(36)}; offset ${u(40)}; ` +
    `oldest xid ${u(44)} in DB ${u(48)}; oldest multi ${u(52)} in DB ${u(56)}; ` +
    `oldest/newest commit timestamp xid: ${u(72)}/${u(76)}; oldest running xid ${u(80)}; ${kind}`
  );
}

function parameterChange({ mainData: d }: WalRecord): string {
  const i = (at: number): number => d.readInt32LE(at);
  const onOff = (at: number): string => (d.readUInt8(at) ? 'on' : 'off');
  return (
    `max_connections=${i(0)} max_worker_processes=${i(4)} max_wal_senders=${i(8)} max_prepared_xacts=${i(12)} ` +
    `max_locks_per_xact=${i(16)} wal_level=${walLevel(i(20))} wal_log_hints=${onOff(24)} track_commit_timestamp=${onOff(25)}`
  );
}

function endOfRecovery({ mainData: d }: WalRecord): string {
  return (
    `tli ${d.readUInt32LE(8)}; prev tli ${d.readUInt32LE(12)}; time ${timestampAt(d, 0)}; ` +
    `wal_level ${walLevel(d.readInt32LE(16))}`
  );
}

export const xlogDesc: RmgrDesc = {
  name: 'XLOG',
  opMask: 0xf0,
  ops: {
    0x00: { name: 'CHECKPOINT_SHUTDOWN', text: (rec) => checkpoint(rec, 'shutdown') },
    0x10: { name: 'CHECKPOINT_ONLINE', text: (rec) => checkpoint(rec, 'online') },
    0x20: { name: 'NOOP' },
    0x30: { name: 'NEXTOID', text: (rec) => String(rec.mainData.readUInt32LE(0)) },
    0x40: { name: 'SWITCH' },
    0x50: { name: 'BACKUP_END', text: (rec) => lsnAt(rec.mainData, 0) },
    0x60: { name: 'PARAMETER_CHANGE', text: parameterChange },
    0x70: { name: 'RESTORE_POINT', text: (rec) => cstringAt(rec.mainData, 8) },
    0x80: { name: 'FPW_CHANGE', text: (rec) => (rec.mainData.readUInt8(0) ? 'true' : 'false') },
    0x90: { name: 'END_OF_RECOVERY', text: endOfRecovery },
    0xa0: { name: 'FPI_FOR_HINT' },
    0xb0: { name: 'FPI' },
    0xd0: {
      name: 'OVERWRITE_CONTRECORD',
      text: ({ mainData: d }) => `lsn ${lsnAt(d, 0)}; time ${timestampAt(d, 8)}`,
    },
    0xe0: { name: 'CHECKPOINT_REDO', text: (rec) => `wal_level ${walLevel(rec.mainData.readInt32LE(0))}` },
  },
};
