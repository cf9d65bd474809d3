/** The end of a differential test of redo: replayed relations against the files of the server that wrote the log. */
import { formatLsn, readPageLsn, type Lsn } from '../../src/engine/lsn.js';
import { isNewPage, PD_ALL_VISIBLE, pdFlags } from '../../src/engine/page/header.js';
import { heapTuple } from '../../src/engine/page/heap.js';
import { comparePages } from '../../src/engine/redo/verify.js';
import { ForkNumber, Rmgr, type RelFileLocator } from '../../src/engine/wal/types.js';
import type { PlainPostgres } from './plain-postgres.js';
import { forkKey, type PageMap } from './redo-pages.js';
import { diff } from './redo-replay.js';
import { ginDifference } from './redo-traits-gin.js';
import { gistDifference } from './redo-traits-gist.js';
import { asLogged as spgistAsLogged } from './redo-traits-spgist.js';

/** A relation to compare; its resource manager says how its pages are masked. */
export interface ComparedRelation extends RelFileLocator {
  readonly name: string;
  readonly database: string;
  readonly rmid: number;
  /** Of a sequence. */
  readonly increment: bigint;
}

interface CatalogRow {
  name: string;
  relkind: string;
  amname: string | null;
  file: string;
  db: string;
  increment: string | null;
}

/** Which resource manager's mask serves pages of an access method. */
const RMGR_OF_AM: Readonly<Record<string, number>> = {
  heap: Rmgr.Heap,
  btree: Rmgr.Btree,
  hash: Rmgr.Hash,
  gin: Rmgr.Gin,
  gist: Rmgr.Gist,
  spgist: Rmgr.SPGist,
  brin: Rmgr.BRIN,
  bloom: Rmgr.Generic,
};

/** Every permanent table, index and sequence of the databases, with its file; ask before the server stops. */
export async function permanentRelations(
  pg: PlainPostgres,
  databases: readonly string[],
): Promise<ComparedRelation[]> {
  const relations: ComparedRelation[] = [];
  for (const database of databases) {
    const rows = await pg.sql(
      `SELECT c.oid::regclass::text AS name, c.relkind, a.amname, pg_relation_filenode(c.oid)::int8::text AS file,
              CASE WHEN c.relisshared THEN 0 ELSE d.oid END::int8::text AS db, s.seqincrement::text AS increment
         FROM pg_class c LEFT JOIN pg_am a ON a.oid = c.relam LEFT JOIN pg_sequence s ON s.seqrelid = c.oid, pg_database d
        WHERE d.datname = current_database() AND c.relpersistence = 'p' AND c.relkind IN ('r', 't', 'm', 'i', 'S')`,
      database,
    );
    for (const row of rows as unknown as CatalogRow[]) {
      const dbOid = Number(row.db);
      const rmid = row.relkind === 'S' ? Rmgr.Sequence : RMGR_OF_AM[row.amname ?? 'heap'];
      if (rmid === undefined) throw new Error(`${row.name}: unknown access method ${row.amname}`);
      relations.push({
        name: row.name,
        database,
        rmid,
        increment: BigInt(row.increment ?? 0),
        spcOid: dbOid === 0 ? 1664 : 1663,
        dbOid,
        relNumber: Number(row.file),
      });
    }
  }
  return relations;
}

export interface FileComparison {
  pages: number;
  vmPages: number;
  differences: string[];
}

const ZERO = Buffer.alloc(8192);

/**
 * Main forks are compared after masking, but pd_lsn and PD_ALL_VISIBLE exactly; visibility maps bit by bit. A page of zeros is as
 * good as none: file extension is not logged. `hintLsns`: see ReplayReport.
 *
 * In the databases `copiedByWal` (CREATE DATABASE ... STRATEGY wal_log) map bits may be missing, never set in excess: PostgreSQL logs
 * every copied page as one with a standard layout (bufmgr.c, RelationCopyStorageUsingBuffer), and a map page's whole map then falls
 * into the hole. A standby starts with an empty map there too.
 */
export function compareWithFiles(
  ours: PageMap,
  theirs: PageMap,
  relations: readonly ComparedRelation[],
  hintLsns: ReadonlyMap<string, Lsn>,
  copiedByWal: readonly string[],
): FileComparison {
  const result: FileComparison = { pages: 0, vmPages: 0, differences: [] };
  for (const rel of relations) {
    const compareMap = copiedByWal.includes(rel.database) ? mapHasExcess : mapDiffers;
    forEachPage(ours, theirs, rel, ForkNumber.vm, (a, b, blkno) => {
      result.vmPages++;
      if (compareMap(a, b))
        result.differences.push(`${pageName(rel, ForkNumber.vm, blkno)}: visibility bits differ`);
    });
    forEachPage(ours, theirs, rel, ForkNumber.main, (a, b, blkno) => {
      result.pages++;
      const problem = comparePage(
        rel,
        a,
        b,
        blkno,
        hintLsns.get(`${forkKey(rel, ForkNumber.main)}:${blkno}`),
      );
      if (problem !== null) result.differences.push(`${pageName(rel, ForkNumber.main, blkno)}: ${problem}`);
    });
  }
  return result;
}

function forEachPage(
  ours: PageMap,
  theirs: PageMap,
  rel: RelFileLocator,
  fork: number,
  visit: (a: Buffer, b: Buffer, blkno: number) => void,
): void {
  const a = ours.forks.get(forkKey(rel, fork)) ?? [];
  const b = theirs.forks.get(forkKey(rel, fork)) ?? [];
  for (let blkno = 0; blkno < Math.max(a.length, b.length); blkno++)
    visit(a[blkno] ?? ZERO, b[blkno] ?? ZERO, blkno);
}

function pageName(rel: ComparedRelation, fork: number, blkno: number): string {
  return `${rel.database}.${rel.name} ${forkKey(rel, fork)} blk ${blkno}`;
}

function mapDiffers(ours: Buffer, theirs: Buffer): boolean {
  return ours.compare(theirs, 24, 8192, 24, 8192) !== 0;
}

function mapHasExcess(ours: Buffer, theirs: Buffer): boolean {
  return ours.subarray(24).some((byte, i) => (byte & ~theirs[24 + i]!) !== 0);
}

function comparePage(
  rel: ComparedRelation,
  ours: Buffer,
  theirs: Buffer,
  blkno: number,
  hintLsn: Lsn | undefined,
): string | null {
  if (isNewPage(ours) && isNewPage(theirs)) return null;
  if (rel.rmid === Rmgr.Sequence)
    [ours, theirs] = [asLogged(ours, rel.increment), asLogged(theirs, rel.increment)];
  if (rel.rmid === Rmgr.SPGist) [ours, theirs] = spgistAsLogged(ours, theirs, blkno);
  const mismatch = comparePages(rel.rmid, ours, theirs, blkno);
  if (mismatch !== null) return diff(mismatch);
  const masked = rel.rmid === Rmgr.Gist ? gistDifference(ours, theirs) : null;
  if (masked !== null) return masked;
  const gin = rel.rmid === Rmgr.Gin ? ginDifference(ours, theirs) : null;
  if (gin !== null) return gin;
  if (readPageLsn(ours) !== readPageLsn(theirs) && readPageLsn(theirs) !== hintLsn)
    return `pd_lsn ${formatLsn(readPageLsn(ours))}, theirs ${formatLsn(readPageLsn(theirs))}`;
  if ((pdFlags(ours) & PD_ALL_VISIBLE) !== (pdFlags(theirs) & PD_ALL_VISIBLE))
    return `pd_flags ${pdFlags(ours)}, theirs ${pdFlags(theirs)}`;
  return null;
}

/**
 * A sequence is logged log_cnt values ahead of what was handed out: what its page would be with all of them gone. An image of the page, as from
 * ALTER TABLE ... SET LOGGED, has them, too.
 */
function asLogged(page: Buffer, increment: bigint): Buffer {
  const copy = Buffer.from(page);
  const data = heapTuple(copy, 1).data;
  data.writeBigInt64LE(data.readBigInt64LE(0) + increment * data.readBigInt64LE(8), 0);
  data.writeBigInt64LE(0n, 8);
  return copy;
}
