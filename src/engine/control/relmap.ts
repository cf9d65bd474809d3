/**
 * pg_filenode.map (utils/cache/relmapper.c): which file holds each of the catalogs that cannot say so in pg_class. 524 bytes:
 * magic i32 0x592717, number of mappings i32 (up to 64), 64 x { oid u32, relfilenumber u32 }, CRC-32C u32 of bytes 0..519.
 */
import { DbError } from '../errors.js';
import { crc32c } from '../wal/crc32c.js';

export const RELMAP_SIZE = 524;
const RELMAP_MAGIC = 0x592717;
const MAX_MAPPINGS = 64;
const CRC_AT = 520;

export interface RelMapping {
  readonly oid: number;
  readonly relNumber: number;
}

/** Parses and verifies a map. Throws RELMAP_BAD. `where` names it in the message. */
export function parseRelmap(data: Buffer, where: string): RelMapping[] {
  const count = checkShape(data, where);
  if (crc32c(data.subarray(0, CRC_AT)) !== data.readUInt32LE(CRC_AT))
    throw bad(where, 'its checksum does not match its contents');
  const mappings: RelMapping[] = [];
  for (let i = 0; i < count; i++)
    mappings.push({ oid: data.readUInt32LE(8 + i * 8), relNumber: data.readUInt32LE(12 + i * 8) });
  return mappings;
}

/** A copy of a map as logged, with its CRC computed afresh as PostgreSQL does on replay. Throws RELMAP_BAD. */
export function sealRelmap(data: Buffer, where: string): Buffer {
  checkShape(data, where);
  const sealed = Buffer.from(data);
  sealed.writeUInt32LE(crc32c(sealed.subarray(0, CRC_AT)), CRC_AT);
  return sealed;
}

function checkShape(data: Buffer, where: string): number {
  if (data.length !== RELMAP_SIZE) throw bad(where, `it has ${data.length} bytes, not ${RELMAP_SIZE}`);
  if (data.readInt32LE(0) !== RELMAP_MAGIC) throw bad(where, 'wrong magic number');
  const count = data.readInt32LE(4);
  if (count < 0 || count > MAX_MAPPINGS) throw bad(where, `${count} mappings`);
  return count;
}

function bad(where: string, why: string): DbError {
  return new DbError('RELMAP_BAD', `invalid relation map (${where}): ${why}`, { reaction: 'corrupt' });
}
