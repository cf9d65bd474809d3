/** Names that PostgreSQL gives to files and directories of a data directory. */
import { segmentFileName } from '../wal/segments.js';
import { ForkNumber } from '../wal/types.js';
import { CATALOG_VERSION_NO, PG_MAJOR } from '../page/constants.js';

export const DEFAULT_TABLESPACE = 1663;
export const GLOBAL_TABLESPACE = 1664;
/** Directory below pg_tblspc/<oid> that holds the databases: in-place tablespaces have it too. */
export const TABLESPACE_VERSION_DIR = `PG_${PG_MAJOR}_${CATALOG_VERSION_NO}`;

/** Name of the WAL segment file that holds position `at`. */
export function walFileName(timeline: number, at: number, segmentSize: number): string {
  return segmentFileName(timeline, Math.floor(at / segmentSize), segmentSize);
}

export interface RelationFileName {
  readonly relNumber: number;
  readonly fork: number;
  readonly segment: number;
}

const RELATION_FILE = /^([1-9][0-9]{0,9})(?:_(fsm|vm|init))?(?:\.([1-9][0-9]{0,5}))?$/;

/** What a file name in a database directory stands for; null if it is not a permanent relation's (temporary, map, version, cache). */
export function parseRelationFileName(name: string): RelationFileName | null {
  const match = RELATION_FILE.exec(name);
  if (!match) return null;
  const relNumber = Number(match[1]);
  if (relNumber > 0xffff_ffff) return null;
  const fork = match[2] === undefined ? ForkNumber.main : ForkNumber[match[2] as 'fsm' | 'vm' | 'init'];
  return { relNumber, fork, segment: match[3] === undefined ? 0 : Number(match[3]) };
}
