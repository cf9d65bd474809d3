import { DbError } from '../engine/errors.js';
import { DEFAULT_TABLESPACE, GLOBAL_TABLESPACE, TABLESPACE_VERSION_DIR } from '../engine/control/names.js';
import { RELSEG_SIZE } from '../engine/page/constants.js';
import {
  SLRU_DIRECTORY,
  SLRU_PAGES_PER_SEGMENT,
  slruSegmentName,
  type SlruName,
} from '../engine/pages/effects/index.js';
import { ForkNumber, type RelFileLocator } from '../engine/wal/types.js';

/** What a file of the data directory holds, in the volume's terms. `firstBlock` is the block (or SLRU page) at its byte 0. */
export type FileContents =
  | { kind: 'relation'; rel: RelFileLocator; fork: number; firstBlock: number }
  | { kind: 'slru'; slru: SlruName; firstBlock: number };

const FORK_SUFFIX = ['', '_fsm', '_vm', '_init'] as const;
const RELATION = new RegExp(
  `^(?:global|base/(?<db>\\d+)|pg_tblspc/(?<spc>\\d+)/${TABLESPACE_VERSION_DIR}/(?<spcDb>\\d+))/(?<rel>\\d+)(?:_(?<fork>fsm|vm|init))?(?:\\.(?<seg>\\d+))?$`,
);
const SLRU =
  /^(?<dir>pg_xact|pg_multixact\/offsets|pg_multixact\/members|pg_commit_ts)\/(?<seg>[0-9A-F]{4,6})$/;

/** Reads a path relative to the data directory. Throws COMPUTE_BAD_PATH for anything that is not a page file. */
export function parseDataPath(relPath: string): FileContents {
  const relation = RELATION.exec(relPath)?.groups;
  if (relation) {
    const spcOid = relation['spc']
      ? Number(relation['spc'])
      : relation['db']
        ? DEFAULT_TABLESPACE
        : GLOBAL_TABLESPACE;
    const rel = {
      spcOid,
      dbOid: Number(relation['db'] ?? relation['spcDb'] ?? 0),
      relNumber: Number(relation['rel']),
    };
    const fork = relation['fork'] ? ForkNumber[relation['fork'] as keyof typeof ForkNumber] : ForkNumber.main;
    return { kind: 'relation', rel, fork, firstBlock: Number(relation['seg'] ?? 0) * RELSEG_SIZE };
  }
  const slru = SLRU.exec(relPath)?.groups;
  if (slru) {
    const name = (Object.keys(SLRU_DIRECTORY) as SlruName[]).find(
      (key) => SLRU_DIRECTORY[key] === slru['dir'],
    )!;
    return { kind: 'slru', slru: name, firstBlock: parseInt(slru['seg']!, 16) * SLRU_PAGES_PER_SEGMENT };
  }
  throw new DbError('COMPUTE_BAD_PATH', `not a relation or SLRU file of a data directory: "${relPath}"`);
}

/** Directory of a database in a tablespace, relative to the data directory. */
export function databaseDir(spcOid: number, dbOid: number): string {
  if (spcOid === GLOBAL_TABLESPACE) return 'global';
  if (spcOid === DEFAULT_TABLESPACE) return `base/${dbOid}`;
  return `pg_tblspc/${spcOid}/${TABLESPACE_VERSION_DIR}/${dbOid}`;
}

/** Path of a relation fork's first segment file, relative to the data directory. */
export function relationPath(rel: RelFileLocator, fork: number): string {
  return `${databaseDir(rel.spcOid, rel.dbOid)}/${rel.relNumber}${FORK_SUFFIX[fork] ?? ''}`;
}

export function slruSegmentPath(slru: SlruName, pageno: number): string {
  return `${SLRU_DIRECTORY[slru]}/${slruSegmentName(pageno)}`;
}
