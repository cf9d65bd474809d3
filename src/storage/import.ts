/**
 * Import of a cleanly stopped PostgreSQL 18 data directory into a storage node: initdb's result, or an existing cluster.
 *
 * All its files are the state at one LSN, the end of the shutdown checkpoint record. They become the base of the page store; the log
 * of the node begins with the bytes of the WAL segment that holds the record, up to that LSN, so that the first compute can go on
 * in the middle of the segment.
 */
import { promises as fs } from 'node:fs';
import path from 'node:path';
import {
  initialControlState,
  parseOrigins,
  parseRelmap,
  parseTwoPhaseFile,
  parseTwoPhaseFileName,
  type ControlFile,
  type ControlState,
} from '../engine/control/index.js';
import type { Lsn } from '../engine/lsn.js';
import { BLCKSZ } from '../engine/page/constants.js';
import {
  SLRU_DIRECTORY,
  SLRU_PAGES_PER_SEGMENT,
  slruMaxPage,
  slruPageOf,
} from '../engine/pages/effects/slru.js';
import type { SlruName } from '../engine/pages/effects/types.js';
import type { BaseImport } from '../engine/pages/types.js';
import type { RelFileLocator } from '../engine/wal/types.js';
import {
  exists,
  list,
  readLog,
  readOptional,
  refusal,
  relationsIn,
  type DatabaseDirectory,
  type RelationFiles,
  type SourceCluster,
} from './import-source.js';

export { openSourceCluster, type SourceCluster } from './import-source.js';

/** Files outside WAL that belong to the volume. */
const VOLUME_FILES = [
  'postgresql.conf',
  'postgresql.auto.conf',
  'pg_hba.conf',
  'pg_ident.conf',
  'pg_stat/pgstat.stat',
] as const;
const READ_BLOCKS = 128;
const ZERO_BLOCK = Buffer.alloc(BLCKSZ);

/** What receives the imported state. */
export interface ImportTarget {
  readonly pages: BaseImport;
  /** Contiguous pieces of the initial log, from a WAL segment's start up to the import LSN; each buffer is the target's to keep. */
  appendLog(begin: Lsn, bytes: Buffer): void | Promise<void>;
}

export interface ImportProgress {
  readonly pagesDone: number;
  readonly pagesTotal: number;
}

export interface ImportResult {
  /** All pages are the state at this LSN; the log ends here. */
  readonly lsn: Lsn;
  readonly control: ControlState;
  /** Forks of relations. */
  readonly forks: number;
  /** Pages of relations and SLRUs. */
  readonly pages: number;
  /** Replication slots that were left behind. */
  readonly slots: readonly string[];
}

/**
 * Feeds `cluster` to `target`, reading each file once in pieces of 1 MiB, and finishes the base import. Throws IMPORT_BAD_FILE, RELMAP_BAD, TWOPHASE_BAD,
 * ORIGIN_BAD for damaged files, and whatever the target throws; the target is then to be thrown away.
 */
export async function importCluster(
  cluster: SourceCluster,
  target: ImportTarget,
  onProgress?: (progress: ImportProgress) => void,
): Promise<ImportResult> {
  const { dataDir, control: controlFile, lsn } = cluster;
  const run = new ImportRun(cluster, target.pages, onProgress);
  await run.relations();
  await run.slrus();
  await run.smallFiles();
  await readLog(cluster, (begin, bytes) => target.appendLog(begin, bytes));
  if (await exists(path.join(dataDir, 'postmaster.pid')))
    throw refusal(
      'IMPORT_RUNNING',
      `a server was started in ${dataDir} during the import`,
      'Stop it and start over.',
    );
  const control = initialControlState(controlFile, lsn, run.lastOffsetsPage(controlFile));
  target.pages.finish(control, controlFile.checkpointLsn);
  return { lsn, control, forks: run.forks, pages: run.pagesDone, slots: cluster.slots };
}

class ImportRun {
  forks = 0;
  pagesDone = 0;
  private pagesTotal = 0;
  private readonly offsetsPages = new Set<number>();
  private readonly buffer = Buffer.allocUnsafe(READ_BLOCKS * BLCKSZ);

  constructor(
    private readonly cluster: SourceCluster,
    private readonly pages: BaseImport,
    private readonly onProgress: ((progress: ImportProgress) => void) | undefined,
  ) {}

  async relations(): Promise<void> {
    const { dataDir, directories, tablespaces } = this.cluster;
    for (const oid of tablespaces) this.pages.tablespace(oid);
    const found: [DatabaseDirectory, RelationFiles[]][] = [];
    for (const directory of directories) {
      const relations = await relationsIn(dataDir, directory.dir);
      for (const relation of relations) this.pagesTotal += relation.nblocks;
      found.push([directory, relations]);
    }
    for (const [directory, relations] of found) {
      await this.directory(directory);
      for (const relation of relations) await this.relation(directory, relation);
    }
  }

  /** Only a database's own directory has PG_VERSION; elsewhere it would keep its tablespace from being dropped. */
  private async directory({ dir, spcOid, dbOid }: DatabaseDirectory): Promise<void> {
    const at = path.join(this.cluster.dataDir, dir);
    if (dbOid !== 0 && (await exists(path.join(at, 'PG_VERSION')))) this.pages.database(dbOid, spcOid);
    const map = await readOptional(path.join(at, 'pg_filenode.map'));
    if (map === null) return;
    parseRelmap(map, `${dir}/pg_filenode.map`);
    this.pages.relmap(spcOid, dbOid, map);
  }

  private async relation({ spcOid, dbOid }: DatabaseDirectory, files: RelationFiles): Promise<void> {
    const rel: RelFileLocator = { spcOid, dbOid, relNumber: files.relNumber };
    this.pages.relation(rel, files.fork, files.nblocks);
    this.forks++;
    let blkno = 0;
    for (const file of files.files)
      blkno += await this.eachBlock(file, (page, n) => {
        if (!page.equals(ZERO_BLOCK)) this.pages.page({ ...rel, fork: files.fork, blkno: blkno + n }, page);
      });
    if (blkno !== files.nblocks)
      throw refusal(
        'IMPORT_RUNNING',
        `${files.files[0]} changed during the import`,
        'Stop the server and start over.',
      );
  }

  async slrus(): Promise<void> {
    for (const [slru, dir] of Object.entries(SLRU_DIRECTORY) as [SlruName, string][]) {
      for (const entry of await list(path.join(this.cluster.dataDir, dir))) {
        if (!/^[0-9A-F]{4,6}$/.test(entry.name)) continue;
        const first = parseInt(entry.name, 16) * SLRU_PAGES_PER_SEGMENT;
        await this.eachBlock(path.join(this.cluster.dataDir, dir, entry.name), (page, n) => {
          this.pages.slruPage(slru, first + n, page);
          if (slru === 'multixact_offsets') this.offsetsPages.add(first + n);
        });
      }
    }
  }

  async smallFiles(): Promise<void> {
    const { dataDir } = this.cluster;
    for (const { name } of await list(path.join(dataDir, 'pg_twophase'))) {
      const fullXid = parseTwoPhaseFileName(name);
      if (fullXid === null) continue;
      const file = await fs.readFile(path.join(dataDir, 'pg_twophase', name));
      this.pages.twoPhase(fullXid, parseTwoPhaseFile(file, `pg_twophase/${name}`));
    }
    const origins = await readOptional(path.join(dataDir, 'pg_logical', 'replorigin_checkpoint'));
    if (origins !== null)
      for (const { id, remoteLsn } of parseOrigins(origins)) this.pages.origin(id, remoteLsn);
    for (const name of VOLUME_FILES) {
      const content = await readOptional(path.join(dataDir, name));
      if (content !== null) this.pages.file(name, content);
    }
  }

  /** The newest page of pg_multixact/offsets: that of the next multixact, or the one after it where it exists already. */
  lastOffsetsPage(control: ControlFile): number {
    const page = slruPageOf('multixact_offsets', control.checkpoint.nextMulti);
    const following = page === slruMaxPage('multixact_offsets') ? 0 : page + 1;
    return this.offsetsPages.has(following) ? following : page;
  }

  /** Calls `use` with each 8192-byte block (valid during the call) and its number in the file; returns how many there were. */
  private async eachBlock(file: string, use: (page: Buffer, blkno: number) => void): Promise<number> {
    const handle = await fs.open(file, 'r');
    let blkno = 0;
    try {
      for (;;) {
        const bytes = await fill(handle, this.buffer, blkno * BLCKSZ);
        if (bytes % BLCKSZ !== 0)
          throw refusal('IMPORT_BAD_FILE', `${file} ends in the middle of a page`, 'The source is damaged.');
        for (let at = 0; at < bytes; at += BLCKSZ) use(this.buffer.subarray(at, at + BLCKSZ), blkno++);
        this.pagesDone += bytes / BLCKSZ;
        this.onProgress?.({
          pagesDone: this.pagesDone,
          pagesTotal: Math.max(this.pagesTotal, this.pagesDone),
        });
        if (bytes < this.buffer.length) return blkno;
      }
    } finally {
      await handle.close();
    }
  }
}

/** Reads until the buffer is full or the file ends. */
async function fill(handle: fs.FileHandle, buffer: Buffer, position: number): Promise<number> {
  let have = 0;
  while (have < buffer.length) {
    const { bytesRead } = await handle.read(buffer, have, buffer.length - have, position + have);
    if (bytesRead === 0) break;
    have += bytesRead;
  }
  return have;
}

/**
 * Makes the folder `dir` by filling `<dir>.partial` and renaming it: after a crash there is either all of it or, under another name,
 * a remainder which the next attempt removes. `build` must leave its own files synced and closed. Throws IMPORT_TARGET_EXISTS.
 */
export async function buildFolder<T>(dir: string, build: (partialDir: string) => Promise<T>): Promise<T> {
  if ((await list(dir)).length > 0 || ((await exists(dir)) && !(await fs.stat(dir)).isDirectory()))
    throw refusal(
      'IMPORT_TARGET_EXISTS',
      `${dir} exists and is not empty`,
      'Choose another folder, or remove it.',
    );
  const partial = `${dir}.partial`;
  await fs.rm(partial, { recursive: true, force: true });
  await fs.mkdir(partial, { recursive: true, mode: 0o700 });
  try {
    const result = await build(partial);
    await syncDirectories(partial);
    if (await exists(dir)) await fs.rmdir(dir);
    await fs.rename(partial, dir);
    await syncDirectory(path.dirname(dir));
    return result;
  } catch (err) {
    await fs.rm(partial, { recursive: true, force: true });
    throw err;
  }
}

/** Syncs the entries of a directory and of those below it (not the contents of files). */
async function syncDirectories(dir: string): Promise<void> {
  for (const entry of await list(dir))
    if (entry.isDirectory()) await syncDirectories(path.join(dir, entry.name));
  await syncDirectory(dir);
}

async function syncDirectory(dir: string): Promise<void> {
  const handle = await fs.open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
