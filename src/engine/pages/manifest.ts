/** What a data directory as of an LSN consists of, besides the pages and the control state. */
import { readLsn, type Lsn } from '../lsn.js';
import { FactClass, nameOfId } from './facts.js';
import type { StoreParts } from './parts.js';
import type { BranchId, DataDirManifest } from './types.js';

export function readManifest(parts: StoreParts, branch: BranchId, at: Lsn): DataDirManifest {
  const list = (factClass: number) => parts.facts.list(branch, factClass, at);
  return {
    lsn: at,
    relations: parts.forks.list(branch, at),
    databases: list(FactClass.database).map(({ id }) => ({
      dbOid: id.readUInt32BE(0),
      spcOid: id.readUInt32BE(4),
    })),
    tablespaces: list(FactClass.tablespace).map(({ id }) => id.readUInt32BE(0)),
    relmaps: list(FactClass.relmap).map(({ id, data }) => ({
      spcOid: id.readUInt32BE(0),
      dbOid: id.readUInt32BE(4),
      data,
    })),
    slrus: parts.facts.allSlruPages(branch, at),
    twoPhase: list(FactClass.twoPhase).map(({ data }) => ({
      fullXid: readLsn(data, 0),
      data: data.subarray(8),
    })),
    origins: list(FactClass.origin).map(({ id, data }) => ({
      id: id.readUInt32BE(0),
      remoteLsn: readLsn(data, 0),
    })),
    files: list(FactClass.file).map(({ id, data }) => ({ name: nameOfId(id), content: data })),
  };
}
