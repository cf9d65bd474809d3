import { DbError } from '../engine/errors.js';
import type { DataDirManifest } from '../engine/pages/types.js';
import type { SlruName } from '../engine/pages/effects/types.js';
import { bytes, list, lsn, str, struct, u32, u64, u8 } from './wire.js';

/** The body of a GetManifest answer: one struct of lists, little-endian, cut into Part messages by the sender. */
const relation = struct('ManifestRelation', {
  spcOid: u32,
  dbOid: u32,
  relNumber: u32,
  fork: u8,
  nblocks: u32,
});
const database = struct('ManifestDatabase', { dbOid: u32, spcOid: u32 });
const tablespace = struct('ManifestTablespace', { oid: u32 });
const relmap = struct('ManifestRelmap', { spcOid: u32, dbOid: u32, data: bytes });
const range = struct('ManifestRange', { first: u32, last: u32 });
const slru = struct('ManifestSlru', { slru: str, ranges: list(range) });
const twoPhase = struct('ManifestTwoPhase', { fullXid: u64, data: bytes });
const origin = struct('ManifestOrigin', { id: u32, remoteLsn: lsn });
const file = struct('ManifestFile', { name: str, content: bytes });
const manifest = struct('Manifest', {
  lsn,
  relations: list(relation),
  databases: list(database),
  tablespaces: list(tablespace),
  relmaps: list(relmap),
  slrus: list(slru),
  twoPhase: list(twoPhase),
  origins: list(origin),
  files: list(file),
});

const SLRU_NAMES: readonly SlruName[] = ['xact', 'multixact_offsets', 'multixact_members', 'commit_ts'];

/** Throws WIRE_BAD_VALUE for a name that is not an SLRU of PostgreSQL. */
export function slruName(name: string): SlruName {
  const found = SLRU_NAMES.find((known) => known === name);
  if (!found) throw new DbError('WIRE_BAD_VALUE', `no SLRU is called "${name}"`);
  return found;
}

export function encodeManifest(value: DataDirManifest): Buffer {
  return manifest.encode({
    ...value,
    tablespaces: value.tablespaces.map((oid) => ({ oid })),
    slrus: value.slrus.map(({ slru: name, ranges }) => ({
      slru: name,
      ranges: ranges.map(([first, last]) => ({ first, last })),
    })),
    relations: [...value.relations],
    databases: [...value.databases],
    relmaps: [...value.relmaps],
    twoPhase: [...value.twoPhase],
    origins: [...value.origins],
    files: [...value.files],
  });
}

/** Buffers in the result are views into `buf`. Throws WIRE_*. */
export function decodeManifest(buf: Buffer): DataDirManifest {
  const decoded = manifest.decode(buf);
  return {
    ...decoded,
    tablespaces: decoded.tablespaces.map(({ oid }) => oid),
    slrus: decoded.slrus.map((entry) => ({
      slru: slruName(entry.slru),
      ranges: entry.ranges.map(({ first, last }) => [first, last] as const),
    })),
  };
}
