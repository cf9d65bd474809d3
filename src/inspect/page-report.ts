/** Fetches a page, its relation's size and its version chain from a volume. */
import { DbError, isDbError } from '../engine/errors.js';
import { formatLsn, type Lsn } from '../engine/lsn.js';
import { forkName } from '../engine/wal/desc/text.js';
import { decodePage, type DecodedPage } from './page-decode.js';
import type { InspectedRelation } from './relation.js';
import type { VolumeTool } from './volume.js';

export interface PageReport {
  relation: { name: string | null; spcOid: number; dbOid: number; relNumber: number };
  fork: string;
  block: number;
  /** Blocks of the fork at `lsn`. */
  blocks: number;
  lsn: string;
  page: DecodedPage;
  versions: { lsn: string; kind: string; bytes: number; record?: string }[];
  /** Why there is no version chain. */
  versionsProblem: string | null;
}

/** `at`: as of which LSN; default: all that is committed. Throws USAGE_LSN, USAGE_RELATION, USAGE_BLOCK, and what the nodes say. */
export async function pageReport(
  volume: VolumeTool,
  relation: InspectedRelation,
  fork: number,
  blkno: number,
  at: Lsn | undefined,
): Promise<PageReport> {
  const lsn = at ?? volume.commitLsn;
  if (lsn > volume.commitLsn)
    throw new DbError(
      'USAGE_LSN',
      `LSN ${formatLsn(lsn)} is not committed yet: the log is committed up to ${formatLsn(volume.commitLsn)}`,
    );
  try {
    return await reportAt(volume, relation, fork, blkno, lsn);
  } catch (err) {
    if (!isDbError(err, 'INGEST_STOPPED')) throw err;
    const { code, message, details } = err;
    const applied = formatLsn(volume.appliedLsn);
    throw new DbError(code, message, {
      hint: `Pages can be inspected up to LSN ${applied}: --lsn ${applied}`,
      cause: err,
      details,
    });
  }
}

async function reportAt(
  volume: VolumeTool,
  relation: InspectedRelation,
  fork: number,
  blkno: number,
  lsn: Lsn,
): Promise<PageReport> {
  const { rel } = relation;
  const name = relation.name ?? `${rel.spcOid}/${rel.dbOid}/${rel.relNumber}`;
  return volume.ask(async (client) => {
    const blocks = await client.relationSize({ ...rel, fork, lsn });
    if (blocks === null)
      throw new DbError(
        'USAGE_RELATION',
        `relation ${name} has no ${forkName(fork)} fork at LSN ${formatLsn(lsn)}`,
      );
    if (blkno >= blocks)
      throw new DbError(
        'USAGE_BLOCK',
        `block ${blkno} is out of range: the ${forkName(fork)} fork of ${name} has ${blocks} blocks at LSN ${formatLsn(lsn)}`,
      );
    const page = await client.getPages({ ...rel, fork, blkno, count: 1, lsn });
    const { versions, problem } = await chain(() => client.pageVersions({ ...rel, fork, blkno, lsn }));
    return {
      relation: { name: relation.name, ...rel },
      fork: forkName(fork),
      block: blkno,
      blocks,
      lsn: formatLsn(lsn),
      page: decodePage(page, { fork, blkno, kind: relation.kind, attributes: relation.attributes }),
      versions: versions.map((v) => ({ ...v, lsn: formatLsn(v.lsn) })),
      versionsProblem: problem,
    };
  });
}

/** A page without stored versions (never logged) is still a page. */
async function chain<T>(read: () => Promise<T[]>): Promise<{ versions: T[]; problem: string | null }> {
  try {
    return { versions: await read(), problem: null };
  } catch (err) {
    if (!isDbError(err) || !err.code.startsWith('PAGE_')) throw err;
    return { versions: [], problem: err.message };
  }
}
