/**
 * Records without block references that change files, SLRUs and cluster state: Storage, CLOG, Database, Tablespace, MultiXact,
 * RelMap, Standby, CommitTs, ReplicationOrigin, LogicalMessage (smgrdesc.c, clogdesc.c, dbasedesc.c, tblspcdesc.c,
 * mxactdesc.c, relmapdesc.c, standbydesc.c, committsdesc.c, replorigindesc.c, logicalmsgdesc.c).
 */
import type { WalRecord } from '../types.js';
import { cstringAt, invalidations, lsnAt, readRel, relPath, u32List, type RmgrDesc } from './text.js';

export const smgrDesc: RmgrDesc = {
  name: 'Storage',
  opMask: 0xf0,
  ops: {
    0x10: { name: 'CREATE', text: ({ mainData: d }) => relPath(readRel(d, 0), d.readInt32LE(12)) },
    0x20: {
      name: 'TRUNCATE',
      text: ({ mainData: d }) =>
        `${relPath(readRel(d, 4))} to ${d.readUInt32LE(0)} blocks flags ${d.readInt32LE(16)}`,
    },
  },
};

export const clogDesc: RmgrDesc = {
  name: 'CLOG',
  opMask: 0xf0,
  ops: {
    0x00: { name: 'ZEROPAGE', text: ({ mainData: d }) => `page ${d.readBigInt64LE(0)}` },
    0x10: {
      name: 'TRUNCATE',
      text: ({ mainData: d }) => `page ${d.readBigInt64LE(0)}; oldestXact ${d.readUInt32LE(8)}`,
    },
  },
};

function dropDatabase({ mainData: d }: WalRecord): string {
  const count = d.readInt32LE(4);
  let out = 'dir';
  for (let i = 0; i < count; i++) out += ` ${d.readUInt32LE(8 + 4 * i)}/${d.readUInt32LE(0)}`;
  return out;
}

export const databaseDesc: RmgrDesc = {
  name: 'Database',
  opMask: 0xf0,
  ops: {
    0x00: {
      name: 'CREATE_FILE_COPY',
      text: ({ mainData: d }) =>
        `copy dir ${d.readUInt32LE(12)}/${d.readUInt32LE(8)} to ${d.readUInt32LE(4)}/${d.readUInt32LE(0)}`,
    },
    0x10: {
      name: 'CREATE_WAL_LOG',
      text: ({ mainData: d }) => `create dir ${d.readUInt32LE(4)}/${d.readUInt32LE(0)}`,
    },
    0x20: { name: 'DROP', text: dropDatabase },
  },
};

export const tablespaceDesc: RmgrDesc = {
  name: 'Tablespace',
  opMask: 0xf0,
  ops: {
    0x00: { name: 'CREATE', text: ({ mainData: d }) => `${d.readUInt32LE(0)} "${cstringAt(d, 4)}"` },
    0x10: { name: 'DROP', text: ({ mainData: d }) => String(d.readUInt32LE(0)) },
  },
};

const MEMBER_STATUS = ['keysh', 'sh', 'fornokeyupd', 'forupd', 'nokeyupd', 'upd'];

function createMultiXact({ mainData: d }: WalRecord): string {
  const count = d.readInt32LE(8);
  let out = `${d.readUInt32LE(0)} offset ${d.readUInt32LE(4)} nmembers ${count}: `;
  for (let i = 0; i < count; i++) {
    const at = 12 + 8 * i;
    out += `${d.readUInt32LE(at)} (${MEMBER_STATUS[d.readInt32LE(at + 4)] ?? 'unk'}) `;
  }
  return out;
}

export const multiXactDesc: RmgrDesc = {
  name: 'MultiXact',
  opMask: 0xf0,
  ops: {
    0x00: { name: 'ZERO_OFF_PAGE', text: ({ mainData: d }) => String(d.readBigInt64LE(0)) },
    0x10: { name: 'ZERO_MEM_PAGE', text: ({ mainData: d }) => String(d.readBigInt64LE(0)) },
    0x20: { name: 'CREATE_ID', text: createMultiXact },
    0x30: {
      name: 'TRUNCATE_ID',
      text: ({ mainData: d }) =>
        `offsets [${d.readUInt32LE(4)}, ${d.readUInt32LE(8)}), members [${d.readUInt32LE(12)}, ${d.readUInt32LE(16)})`,
    },
  },
};

export const relMapDesc: RmgrDesc = {
  name: 'RelMap',
  opMask: 0xf0,
  ops: {
    0x00: {
      name: 'UPDATE',
      text: ({ mainData: d }) =>
        `database ${d.readUInt32LE(0)} tablespace ${d.readUInt32LE(4)} size ${d.readInt32LE(8)}`,
    },
  },
};

function standbyLocks({ mainData: d }: WalRecord): string {
  const count = d.readInt32LE(0);
  let out = '';
  for (let i = 0; i < count; i++) {
    const at = 4 + 12 * i;
    out += `xid ${d.readUInt32LE(at)} db ${d.readUInt32LE(at + 4)} rel ${d.readUInt32LE(at + 8)} `;
  }
  return out;
}

function runningXacts({ mainData: d }: WalRecord): string {
  const xacts = d.readInt32LE(0);
  const subxacts = d.readInt32LE(4);
  return (
    `nextXid ${d.readUInt32LE(12)} latestCompletedXid ${d.readUInt32LE(20)} oldestRunningXid ${d.readUInt32LE(16)}` +
    (xacts > 0 ? `; ${xacts} xacts:${u32List(d, 24, xacts)}` : '') +
    (d.readUInt8(8) !== 0 ? '; subxid overflowed' : '') +
    (subxacts > 0 ? `; ${subxacts} subxacts:${u32List(d, 24 + 4 * xacts, subxacts)}` : '')
  );
}

export const standbyDesc: RmgrDesc = {
  name: 'Standby',
  opMask: 0xf0,
  ops: {
    0x00: { name: 'LOCK', text: standbyLocks },
    0x10: { name: 'RUNNING_XACTS', text: runningXacts },
    0x20: {
      name: 'INVALIDATIONS',
      text: ({ mainData: d }) =>
        invalidations(d, 16, d.readInt32LE(12), {
          dbOid: d.readUInt32LE(0),
          tsOid: d.readUInt32LE(4),
          initFile: d.readUInt8(8) !== 0,
        }),
    },
  },
};

export const commitTsDesc: RmgrDesc = {
  name: 'CommitTs',
  opMask: 0xf0,
  ops: {
    0x00: { name: 'ZEROPAGE', text: ({ mainData: d }) => String(d.readBigInt64LE(0)) },
    0x10: {
      name: 'TRUNCATE',
      text: ({ mainData: d }) => `pageno ${d.readBigInt64LE(0)}, oldestXid ${d.readUInt32LE(8)}`,
    },
  },
};

export const replicationOriginDesc: RmgrDesc = {
  name: 'ReplicationOrigin',
  opMask: 0xf0,
  ops: {
    0x00: {
      name: 'SET',
      text: ({ mainData: d }) => `set ${d.readUInt16LE(8)}; lsn ${lsnAt(d, 0)}; force: ${d.readUInt8(10)}`,
    },
    0x10: { name: 'DROP', text: ({ mainData: d }) => `drop ${d.readUInt16LE(0)}` },
  },
};

/** Bytes of a message that are shown: of the longest ones (1 GB) PostgreSQL's tools make more text than a string here can hold. */
const MESSAGE_BYTES_SHOWN = 4 * 1024 * 1024;

/** xl_logical_message: dbId u32, transactional u8, pad 3, prefix_size u64, message_size u64, prefix with NUL, payload. */
function logicalMessage({ mainData: d }: WalRecord): string {
  const prefixSize = Number(d.readBigUInt64LE(8));
  const payload = d.subarray(24 + prefixSize);
  const bytes = payload
    .toString('hex', 0, MESSAGE_BYTES_SHOWN)
    .toUpperCase()
    .replace(/..(?=.)/g, '$& ');
  const more = payload.length > MESSAGE_BYTES_SHOWN ? ' ...' : '';
  return (
    `${d.readUInt8(4) ? 'transactional' : 'non-transactional'}, prefix "${cstringAt(d, 24)}"; ` +
    `payload (${d.readBigUInt64LE(16)} bytes): ${bytes}${more}`
  );
}

export const logicalMessageDesc: RmgrDesc = {
  name: 'LogicalMessage',
  opMask: 0xf0,
  ops: { 0x00: { name: 'MESSAGE', text: logicalMessage } },
};
