/**
 * State of a prepared transaction (access/transam/twophase.c). In the log it is the main data of a PREPARE record; the file
 * pg_twophase/<epoch><xid> holds the same bytes and a CRC-32C of them (files.ts). Parts, each padded to 8 bytes:
 *   header 72    0 magic u32   4 total_len u32 (file size)   8 xid   12 database   16 prepared_at i64   24 owner
 *               28 nsubxacts  32 ncommitrels  36 nabortrels  40 ncommitstats  44 nabortstats  48 ninvalmsgs (i32 each)
 *               52 initfileinval bool  54 gidlen u16 (with NUL)  56 origin_lsn  64 origin_timestamp i64
 *   gid, subxact xids, rels dropped at commit and at abort (12 each), stats (16 each), invalidations (16 each), then records of
 *   resource managers { len u32, rmid u8, pad, info u16 } + data up to one with rmid 0.
 */
import { DbError } from '../errors.js';
import { maxAlign, readLsn, type Lsn } from '../lsn.js';

const TWOPHASE_MAGIC = 0x57f94534;
const HEADER_SIZE = 72;
const CRC_SIZE = 4;

export interface TwoPhaseState {
  readonly xid: number;
  readonly database: number;
  readonly gid: string;
  readonly subxacts: readonly number[];
  readonly originLsn: Lsn;
}

/** Parses the state as logged (without CRC). Throws TWOPHASE_BAD. `where` names it in the message. */
export function parseTwoPhaseState(data: Buffer, where: string): TwoPhaseState {
  if (data.length < HEADER_SIZE) throw bad(where, `${data.length} bytes are less than a header`);
  if (data.readUInt32LE(0) !== TWOPHASE_MAGIC) throw bad(where, 'wrong magic number');
  const totalLength = data.readUInt32LE(4);
  if (totalLength !== data.length + CRC_SIZE)
    throw bad(where, `it has ${data.length} bytes, its header says ${totalLength - CRC_SIZE}`);
  const nsubxacts = data.readInt32LE(28);
  const gidLength = data.readUInt16LE(54);
  const counts = [32, 36, 40, 44, 48].map((at) => data.readInt32LE(at));
  const sizes = [12, 12, 16, 16, 16];
  if (nsubxacts < 0 || gidLength < 1 || counts.some((n) => n < 0))
    throw bad(where, 'negative counts in its header');
  const subxactsAt = HEADER_SIZE + maxAlign(gidLength);
  let end = subxactsAt + maxAlign(nsubxacts * 4);
  counts.forEach((n, i) => (end += maxAlign(n * sizes[i]!)));
  if (end > data.length) throw bad(where, `its parts need ${end} bytes, it has ${data.length}`);
  if (data[HEADER_SIZE + gidLength - 1] !== 0) throw bad(where, 'its identifier has no end');
  const subxacts: number[] = [];
  for (let i = 0; i < nsubxacts; i++) subxacts.push(data.readUInt32LE(subxactsAt + i * 4));
  return {
    xid: data.readUInt32LE(8),
    database: data.readUInt32LE(12),
    gid: data.toString('utf8', HEADER_SIZE, HEADER_SIZE + gidLength - 1),
    subxacts,
    originLsn: readLsn(data, 56),
  };
}

function bad(where: string, why: string): DbError {
  return new DbError('TWOPHASE_BAD', `invalid two-phase state (${where}): ${why}`, { reaction: 'corrupt' });
}
