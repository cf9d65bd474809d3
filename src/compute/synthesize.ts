import { chownSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { RELSEG_SIZE } from '../engine/page/constants.js';
import { SLRU_PAGES_PER_SEGMENT, type SlruName } from '../engine/pages/effects/index.js';
import type { DataDirManifest, RelationFork } from '../engine/pages/types.js';
import { ForkNumber } from '../engine/wal/types.js';
import {
  absentSlruPages,
  encodeOrigins,
  encodeTwoPhaseFile,
  sealRelmap,
  TABLESPACE_VERSION_DIR,
  twoPhaseFileName,
  type ControlState,
} from '../engine/control/index.js';
import type { TermDirs } from './cluster-dirs.js';
import { databaseDir, relationPath, slruSegmentPath } from './page-path.js';
import type { RunAs } from './postgres.js';
import { RemoteFiles } from './remote-files.js';
import type { WalSegment } from './start-point.js';
import { STATISTICS_FILE } from './volume-files.js';

/** Directories of an empty PostgreSQL 18 data directory (initdb.c subdirs). */
const SUBDIRS = [
  'global', 'base', 'pg_wal', 'pg_wal/archive_status', 'pg_wal/summaries', 'pg_commit_ts', 'pg_dynshmem', 'pg_notify', 'pg_serial',
  'pg_snapshots', 'pg_subtrans', 'pg_twophase', 'pg_multixact', 'pg_multixact/members', 'pg_multixact/offsets', 'pg_replslot',
  'pg_tblspc', 'pg_stat', 'pg_stat_tmp', 'pg_xact', 'pg_logical', 'pg_logical/snapshots', 'pg_logical/mappings',
]; // prettier-ignore

export interface SynthesisInput {
  dirs: TermDirs;
  runAs: RunAs | null;
  manifest: DataDirManifest;
  state: ControlState;
  /** The 8192 bytes of global/pg_control. */
  controlFile: Buffer;
  /** The WAL segments up to the start checkpoint's end. */
  walSegments: readonly WalSegment[];
  /** Cumulative statistics are only true for the LSN of the clean stop that wrote them. */
  keepStatistics: boolean;
  /** Reads whole init forks of unlogged relations (a page or none each). */
  readFork(fork: RelationFork): Promise<Buffer>;
}

/**
 * Writes a PostgreSQL data directory as of the manifest's LSN, as after a clean shutdown: every page file is sparse, with a map
 * that says its blocks are in storage. Nothing is synced: it is a cache.
 * Costs some microseconds a file, whatever the size of the database.
 */
export async function synthesizeDataDir(
  input: SynthesisInput,
): Promise<{ files: number; remoteBlocks: number }> {
  const { dirs, manifest } = input;
  const writer = new Writer(dirs, input.runAs);
  writer.mkdir('', 0o700);
  for (const dir of SUBDIRS) writer.mkdir(dir);
  writer.write('PG_VERSION', '18\n');
  for (const oid of manifest.tablespaces) {
    writer.mkdir(`pg_tblspc/${oid}`);
    writer.mkdir(`pg_tblspc/${oid}/${TABLESPACE_VERSION_DIR}`);
  }
  for (const { spcOid, dbOid } of manifest.databases) {
    const dir = databaseDir(spcOid, dbOid);
    if (dir === 'global') continue;
    writer.mkdir(dir);
    writer.write(`${dir}/PG_VERSION`, '18\n');
  }
  for (const map of manifest.relmaps) {
    const file = `${databaseDir(map.spcOid, map.dbOid)}/pg_filenode.map`;
    writer.write(file, sealRelmap(map.data, file));
  }
  writeSlrus(writer, input);
  await writeRelations(writer, input);
  for (const { fullXid, data } of manifest.twoPhase)
    writer.write(`pg_twophase/${twoPhaseFileName(fullXid)}`, encodeTwoPhaseFile(data));
  writer.write('pg_logical/replorigin_checkpoint', encodeOrigins(manifest.origins));
  for (const { name, content } of manifest.files) {
    if (name !== STATISTICS_FILE || input.keepStatistics) writer.write(name, content);
  }
  for (const segment of input.walSegments) writer.wal(segment, input.state.segmentSize);
  writer.write('global/pg_control', input.controlFile);
  return { files: writer.files, remoteBlocks: writer.remoteBlocks };
}

/**
 * SLRU segment files, each as long as its last page. Pages that PostgreSQL looks up at a clean start must exist even if nothing
 * was ever logged for them: storage serves those as zeros.
 */
function writeSlrus(writer: Writer, { manifest, state }: SynthesisInput): void {
  const exists = (slru: SlruName, pageno: number): boolean =>
    manifest.slrus.some(
      (s) => s.slru === slru && s.ranges.some(([first, last]) => first <= pageno && pageno <= last),
    );
  const ends = new Map<string, { slru: SlruName; last: number }>();
  const cover = (slru: SlruName, pageno: number): void => {
    const path = slruSegmentPath(slru, pageno);
    const known = ends.get(path);
    if (!known || known.last < pageno) ends.set(path, { slru, last: pageno });
  };
  for (const { slru, ranges } of manifest.slrus) {
    for (const [first, last] of ranges) {
      for (let page = first; page <= last; page += SLRU_PAGES_PER_SEGMENT - (page % SLRU_PAGES_PER_SEGMENT)) {
        cover(slru, Math.min(last, page - (page % SLRU_PAGES_PER_SEGMENT) + SLRU_PAGES_PER_SEGMENT - 1));
      }
    }
  }
  for (const { slru, pageno } of absentSlruPages(state, exists)) cover(slru, pageno);
  for (const [path, { last }] of ends) writer.remote(path, (last % SLRU_PAGES_PER_SEGMENT) + 1);
}

/** Unlogged relations start empty: their main fork is a copy of the init fork, and they have no other fork. */
async function writeRelations(writer: Writer, input: SynthesisInput): Promise<void> {
  const unlogged = new Set(
    input.manifest.relations
      .filter((r) => r.fork === ForkNumber.init)
      .map((r) => `${r.spcOid}/${r.dbOid}/${r.relNumber}`),
  );
  for (const fork of input.manifest.relations) {
    if (fork.fork !== ForkNumber.init && unlogged.has(`${fork.spcOid}/${fork.dbOid}/${fork.relNumber}`))
      continue;
    writer.relation(fork);
    if (fork.fork === ForkNumber.init)
      writer.write(relationPath(fork, ForkNumber.main), fork.nblocks === 0 ? '' : await input.readFork(fork));
  }
}

class Writer {
  files = 0;
  remoteBlocks = 0;

  private readonly remoteFiles: RemoteFiles;

  constructor(
    private readonly dirs: TermDirs,
    private readonly runAs: RunAs | null,
  ) {
    this.remoteFiles = new RemoteFiles(dirs.data, dirs.maps, runAs);
  }

  mkdir(relPath: string, mode = 0o700): void {
    const dir = path.join(this.dirs.data, relPath);
    mkdirSync(dir, { recursive: true, mode });
    this.own(dir);
  }

  write(relPath: string, content: Buffer | string): void {
    const file = path.join(this.dirs.data, relPath);
    mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(file, content, { mode: 0o600 });
    this.own(file);
    this.files++;
  }

  relation(fork: RelationFork): void {
    this.remote(relationPath(fork, fork.fork), fork.nblocks);
  }

  wal({ name, bytes }: WalSegment, segmentSize: number): void {
    this.write(`pg_wal/${name}`, bytes);
    truncateSync(path.join(this.dirs.data, 'pg_wal', name), segmentSize);
  }

  /** A file whose blocks are all in storage. */
  remote(relPath: string, nblocks: number): void {
    this.remoteFiles.create(relPath, nblocks);
    this.files += 1 + Math.floor(Math.max(nblocks - 1, 0) / RELSEG_SIZE);
    this.remoteBlocks += nblocks;
  }

  private own(target: string): void {
    if (this.runAs) chownSync(target, this.runAs.uid, this.runAs.gid);
  }
}
