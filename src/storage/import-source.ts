/** Reading a cleanly stopped PostgreSQL 18 data directory: checks, its last checkpoint, and what files it consists of. */
import type { Dirent } from 'node:fs';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import {
  assertSupportedCluster,
  DbState,
  DEFAULT_TABLESPACE,
  GLOBAL_TABLESPACE,
  parseControlFile,
  parseRelationFileName,
  TABLESPACE_VERSION_DIR,
  type ControlFile,
} from '../engine/control/index.js';
import { CHECKPOINT_SIZE } from '../engine/control/checkpoint.js';
import { DbError } from '../engine/errors.js';
import { formatLsn, type Lsn } from '../engine/lsn.js';
import { BLCKSZ, PG_MAJOR, RELSEG_SIZE } from '../engine/page/constants.js';
import { openWalDirectory } from '../engine/wal/segments.js';
import { WalStreamDecoder } from '../engine/wal/stream.js';
import { ForkNumber, Rmgr } from '../engine/wal/types.js';

/** Bytes of WAL that surely hold a checkpoint record and the page headers inside it. */
const CHECKPOINT_SPAN = 512;
const CHECKPOINT_SHUTDOWN = 0x00;
const LOG_PIECE = 1024 * 1024;
/** Where pg_control keeps its copy of the checkpoint. */
const CHECKPOINT_COPY_AT = 40;

/** A directory of relation files. */
export interface DatabaseDirectory {
  /** Relative to the data directory. */
  readonly dir: string;
  readonly spcOid: number;
  /** 0 for global/. */
  readonly dbOid: number;
}

export interface RelationFiles {
  readonly relNumber: number;
  readonly fork: number;
  readonly nblocks: number;
  /** Segment files from the first on, absolute. */
  readonly files: readonly string[];
}

export interface SourceCluster {
  readonly dataDir: string;
  readonly control: ControlFile;
  /** End of the shutdown checkpoint record: the state of all files is that at this LSN. */
  readonly lsn: Lsn;
  /** The log to import: from the start of the segment that holds the checkpoint up to `lsn`. */
  readonly log: { readonly begin: Lsn; readonly end: Lsn };
  readonly directories: readonly DatabaseDirectory[];
  /** Of in-place tablespaces. */
  readonly tablespaces: readonly number[];
  /** Names of replication slots: they do not become part of the volume. */
  readonly slots: readonly string[];
}

/**
 * Checks that `dataDir` can be imported, without reading its relations. Throws IMPORT_* and CONTROL_* (reaction usage, with a
 * hint), and WAL_* when the end of its log is damaged.
 */
export async function openSourceCluster(dataDir: string): Promise<SourceCluster> {
  const control = await readControl(dataDir);
  const { lsn, log } = await readCheckpoint(dataDir, control);
  const { directories, tablespaces } = await findDirectories(dataDir);
  const slots = (await list(path.join(dataDir, 'pg_replslot'))).map((entry) => entry.name);
  return { dataDir, control, lsn, log, directories, tablespaces, slots };
}

async function readControl(dataDir: string): Promise<ControlFile> {
  const version = (await readOptional(path.join(dataDir, 'PG_VERSION')))?.toString().trim();
  if (version !== String(PG_MAJOR)) {
    const what = version === undefined ? 'not a PostgreSQL data directory' : `of PostgreSQL ${version}`;
    throw refusal(
      'IMPORT_NOT_A_CLUSTER',
      `${dataDir} is ${what}`,
      `Give the data directory of PostgreSQL ${PG_MAJOR}.`,
    );
  }
  if (await exists(path.join(dataDir, 'postmaster.pid')))
    throw refusal(
      'IMPORT_RUNNING',
      `a server may be running in ${dataDir}: postmaster.pid exists`,
      STOP_HINT,
    );
  for (const name of ['backup_label', 'recovery.signal', 'standby.signal']) {
    if (await exists(path.join(dataDir, name)))
      throw refusal(
        'IMPORT_NOT_CLEAN',
        `${dataDir} is a backup or a standby: it holds ${name}`,
        'Let it finish its recovery (pg_ctl promote), then stop it cleanly.',
      );
  }
  const file = await readOptional(path.join(dataDir, 'global', 'pg_control'));
  if (file === null)
    throw refusal(
      'IMPORT_NOT_A_CLUSTER',
      `${dataDir} has no global/pg_control`,
      'Give a complete data directory.',
    );
  const control = parseControlFile(file);
  assertSupportedCluster(control);
  if (control.dbState !== DbState.shutdowned)
    throw refusal('IMPORT_NOT_CLEAN', `the cluster in ${dataDir} was not shut down cleanly`, STOP_HINT);
  return control;
}

const STOP_HINT = 'Start it if it crashed, then stop it: pg_ctl stop -m fast -D DATADIR.';

/** Decodes the record that pg_control names: it must be there, whole, and say what pg_control says. */
async function readCheckpoint(
  dataDir: string,
  control: ControlFile,
): Promise<Pick<SourceCluster, 'lsn' | 'log'>> {
  const { checkpointLsn: at, segmentSize } = control;
  const directory = await openWalDirectory(path.join(dataDir, 'pg_wal'));
  const pieces: Buffer[] = [];
  try {
    if (directory.segmentSize !== segmentSize || directory.systemId.toString() !== control.systemIdentifier)
      throw refusal(
        'IMPORT_WRONG_WAL',
        `pg_wal of ${dataDir} belongs to another cluster`,
        'Is pg_wal complete?',
      );
    const end = (at + CHECKPOINT_SPAN) as Lsn;
    for (let next = at; next < end;) {
      const piece = await directory.read(next, end);
      if (piece.length === 0) break;
      pieces.push(piece);
      next = (next + piece.length) as Lsn;
    }
  } finally {
    await directory.close();
  }
  const decoder = new WalStreamDecoder({
    startLsn: at,
    segmentSize,
    systemId: BigInt(control.systemIdentifier),
    timeline: control.checkpoint.thisTimeLineId,
  });
  decoder.push(Buffer.concat(pieces));
  const rec = decoder.next();
  const copy = control.image.subarray(CHECKPOINT_COPY_AT, CHECKPOINT_COPY_AT + CHECKPOINT_SIZE);
  if (
    rec === null ||
    rec.startLsn !== at ||
    rec.rmid !== Rmgr.XLOG ||
    (rec.info & 0xf0) !== CHECKPOINT_SHUTDOWN ||
    !rec.mainData.equals(copy) ||
    control.checkpoint.redo !== at
  ) {
    throw refusal(
      'IMPORT_NOT_CLEAN',
      `the WAL of ${dataDir} holds no shutdown checkpoint at ${formatLsn(at)}, where pg_control has one`,
      STOP_HINT,
    );
  }
  const begin = (at - (at % segmentSize)) as Lsn;
  return { lsn: rec.endLsn, log: { begin, end: rec.endLsn } };
}

async function findDirectories(dataDir: string): Promise<Pick<SourceCluster, 'directories' | 'tablespaces'>> {
  const directories: DatabaseDirectory[] = [{ dir: 'global', spcOid: GLOBAL_TABLESPACE, dbOid: 0 }];
  const tablespaces: number[] = [];
  for (const dbOid of await oidsIn(dataDir, 'base'))
    directories.push({ dir: `base/${dbOid}`, spcOid: DEFAULT_TABLESPACE, dbOid });
  for (const entry of await list(path.join(dataDir, 'pg_tblspc'))) {
    if (!entry.isDirectory() || !isOid(entry.name)) {
      throw refusal(
        'IMPORT_TABLESPACE',
        `tablespace ${entry.name} of ${dataDir} lies outside the data directory`,
        'Move its relations into pg_default (ALTER DATABASE ... SET TABLESPACE, ALTER TABLE ALL IN TABLESPACE ...) and drop it.',
      );
    }
    const spcOid = Number(entry.name);
    tablespaces.push(spcOid);
    const dir = `pg_tblspc/${spcOid}/${TABLESPACE_VERSION_DIR}`;
    for (const dbOid of await oidsIn(dataDir, dir))
      directories.push({ dir: `${dir}/${dbOid}`, spcOid, dbOid });
  }
  return { directories, tablespaces };
}

async function oidsIn(dataDir: string, dir: string): Promise<number[]> {
  const entries = await list(path.join(dataDir, dir));
  return entries
    .filter((entry) => entry.isDirectory() && isOid(entry.name))
    .map((entry) => Number(entry.name));
}

function isOid(name: string): boolean {
  return /^[1-9][0-9]{0,9}$/.test(name);
}

/** Reads the log to import in pieces of up to 1 MiB. Throws IMPORT_WRONG_WAL when its files end early. */
export async function readLog(
  cluster: SourceCluster,
  use: (begin: Lsn, bytes: Buffer) => void | Promise<void>,
): Promise<void> {
  const { begin, end } = cluster.log;
  const directory = await openWalDirectory(path.join(cluster.dataDir, 'pg_wal'));
  try {
    for (let at = begin; at < end;) {
      const bytes = await directory.read(at, Math.min(end, at + LOG_PIECE) as Lsn);
      if (bytes.length === 0)
        throw refusal(
          'IMPORT_WRONG_WAL',
          `the WAL of ${cluster.dataDir} ends at ${formatLsn(at)}, before its last checkpoint`,
          'Is pg_wal complete?',
        );
      await use(at, bytes);
      at = (at + bytes.length) as Lsn;
    }
  } finally {
    await directory.close();
  }
}

/**
 * The permanent relations in a directory, without the forks of unlogged ones that start empty from their init fork.
 * Temporary relations, caches and other files are left out. Throws IMPORT_BAD_FILE for sizes that no relation has.
 */
export async function relationsIn(dataDir: string, dir: string): Promise<RelationFiles[]> {
  const forks = new Map<string, { relNumber: number; fork: number; segments: Map<number, string> }>();
  const unlogged = new Set<number>();
  for (const entry of await list(path.join(dataDir, dir))) {
    const parsed = parseRelationFileName(entry.name);
    if (parsed === null || !entry.isFile()) continue;
    const { relNumber, fork, segment } = parsed;
    if (fork === ForkNumber.init) unlogged.add(relNumber);
    const key = `${relNumber}/${fork}`;
    const known = forks.get(key) ?? { relNumber, fork, segments: new Map<number, string>() };
    known.segments.set(segment, path.join(dataDir, dir, entry.name));
    forks.set(key, known);
  }
  const relations: RelationFiles[] = [];
  for (const { relNumber, fork, segments } of forks.values()) {
    if (fork !== ForkNumber.init && unlogged.has(relNumber)) continue;
    relations.push({ relNumber, fork, ...(await measure(segments)) });
  }
  return relations.sort((a, b) => a.relNumber - b.relNumber || a.fork - b.fork);
}

/** md.c: a fork ends with its first segment file of less than 1 GiB; leftovers behind a gap or a short one are not part of it. */
async function measure(segments: ReadonlyMap<number, string>): Promise<{ nblocks: number; files: string[] }> {
  const files: string[] = [];
  let nblocks = 0;
  for (let segment = 0; ; segment++) {
    const file = segments.get(segment);
    if (file === undefined) break;
    const { size } = await fs.stat(file);
    if (size % BLCKSZ !== 0 || size > RELSEG_SIZE * BLCKSZ)
      throw refusal(
        'IMPORT_BAD_FILE',
        `${file} has ${size} bytes, not a number of pages`,
        'The source is damaged.',
      );
    files.push(file);
    nblocks += size / BLCKSZ;
    if (size < RELSEG_SIZE * BLCKSZ) break;
  }
  return { nblocks, files };
}

/** A file's content, null if there is none. */
export async function readOptional(file: string): Promise<Buffer | null> {
  try {
    return await fs.readFile(file);
  } catch (err) {
    if (isAbsent(err)) return null;
    throw err;
  }
}

/** Entries of a directory by name; none if it does not exist. */
export async function list(dir: string): Promise<Dirent[]> {
  try {
    const entries = await fs.readdir(dir, { withFileTypes: true });
    return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch (err) {
    if (isAbsent(err)) return [];
    throw err;
  }
}

export async function exists(file: string): Promise<boolean> {
  try {
    await fs.lstat(file);
    return true;
  } catch (err) {
    if (isAbsent(err)) return false;
    throw err;
  }
}

function isAbsent(err: unknown): boolean {
  const code = (err as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ENOTDIR';
}

export function refusal(code: string, message: string, hint: string): DbError {
  return new DbError(code, message, { reaction: 'usage', hint });
}
