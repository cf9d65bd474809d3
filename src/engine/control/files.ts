/**
 * Small files of a data directory that carry state of the volume, each ending in a CRC-32C (u32) of all bytes before it:
 *   pg_twophase/<epoch><xid>           state of a prepared transaction as logged (twophase.ts)
 *   pg_logical/replorigin_checkpoint   magic u32, n x { id u16, 6 zero bytes, remote_lsn u64 } (replication/logical/origin.c)
 */
import { DbError } from '../errors.js';
import { readLsn, writeLsn, type Lsn } from '../lsn.js';
import { crc32c } from '../wal/crc32c.js';
import { parseTwoPhaseState } from './twophase.js';
import { epochOf, xidOf } from './xid.js';

const CRC_SIZE = 4;
const ORIGIN_MAGIC = 0x1257dade;
const ORIGIN_ENTRY_SIZE = 16;

/** Id of changes that must not be replicated: PostgreSQL never tracks progress for it (DoNotReplicateId). */
export const DO_NOT_REPLICATE_ID = 0xffff;

/** The content of a pg_twophase file for a state as logged. */
export function encodeTwoPhaseFile(data: Buffer): Buffer {
  return sealed(data);
}

/** The state in a pg_twophase file. Throws TWOPHASE_BAD; `where` names the file in the message. */
export function parseTwoPhaseFile(file: Buffer, where: string): Buffer {
  const data = unsealed(file);
  if (data === null) {
    throw new DbError('TWOPHASE_BAD', `two-phase state file ${where} is damaged: wrong checksum`, {
      reaction: 'corrupt',
    });
  }
  parseTwoPhaseState(data, where);
  return data;
}

/** Name of the file below pg_twophase: 8 hex digits of epoch, 8 of xid. */
export function twoPhaseFileName(fullXid: number): string {
  return hex8(epochOf(fullXid)) + hex8(xidOf(fullXid));
}

/** The full transaction id in such a name, null for any other name. */
export function parseTwoPhaseFileName(name: string): number | null {
  if (!/^[0-9A-F]{16}$/.test(name)) return null;
  return parseInt(name.slice(0, 8), 16) * 0x1_0000_0000 + parseInt(name.slice(8), 16);
}

export interface OriginProgress {
  readonly id: number;
  readonly remoteLsn: Lsn;
}

export function encodeOrigins(origins: readonly OriginProgress[]): Buffer {
  const body = Buffer.alloc(4 + origins.length * ORIGIN_ENTRY_SIZE);
  body.writeUInt32LE(ORIGIN_MAGIC, 0);
  origins.forEach((origin, i) => {
    body.writeUInt16LE(origin.id, 4 + i * ORIGIN_ENTRY_SIZE);
    writeLsn(body, origin.remoteLsn, 4 + i * ORIGIN_ENTRY_SIZE + 8);
  });
  return sealed(body);
}

/** Throws ORIGIN_BAD. */
export function parseOrigins(file: Buffer): OriginProgress[] {
  const body = unsealed(file);
  if (body === null || body.length % ORIGIN_ENTRY_SIZE !== 4 || body.readUInt32LE(0) !== ORIGIN_MAGIC)
    throw new DbError('ORIGIN_BAD', 'pg_logical/replorigin_checkpoint is damaged', { reaction: 'corrupt' });
  const origins: OriginProgress[] = [];
  for (let at = 4; at < body.length; at += ORIGIN_ENTRY_SIZE)
    origins.push({ id: body.readUInt16LE(at), remoteLsn: readLsn(body, at + 8) });
  return origins;
}

function sealed(body: Buffer): Buffer {
  const crc = Buffer.alloc(CRC_SIZE);
  crc.writeUInt32LE(crc32c(body), 0);
  return Buffer.concat([body, crc]);
}

/** What the checksum covers; null if it does not match. */
function unsealed(file: Buffer): Buffer | null {
  const length = file.length - CRC_SIZE;
  if (length < 0) return null;
  const body = file.subarray(0, length);
  return crc32c(body) === file.readUInt32LE(length) ? body : null;
}

function hex8(value: number): string {
  return value.toString(16).toUpperCase().padStart(8, '0');
}
