/** A stopped PostgreSQL data directory as the base of a verification: its relation files, read page by page as they are needed. */
import { closeSync, openSync, promises as fs, readdirSync, readSync, statSync } from 'node:fs';
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
import { DbError } from '../engine/errors.js';
import { formatLsn, type Lsn } from '../engine/lsn.js';
import { BLCKSZ, RELSEG_SIZE } from '../engine/page/constants.js';
import type { RedoContext } from '../engine/redo/index.js';
import type { BasePages, Database, ForkLocator } from '../engine/verify/index.js';
import { forkName } from '../engine/wal/desc/text.js';
import type { RelFileLocator, WalRecord } from '../engine/wal/types.js';

/** What replay begins with. */
export interface VerifyBase {
  readonly pages: BasePages;
  /** Pages are as of the end of the record that begins here, or of the one before it: replay begins with the first record at or after. */
  readonly from: Lsn;
  /** Decimal; of the cluster that wrote the pages. */
  readonly systemIdentifier: string;
  readonly redo: RedoContext;
  /** For messages: `data directory /x as of LSN y`. */
  readonly name: string;
  /** To be awaited before these records are replayed: sources that cannot be read synchronously fetch what they will need. */
  prepare?(records: readonly WalRecord[]): Promise<void>;
  close(): Promise<void>;
}

/** Files kept open. */
const MAX_OPEN = 64;

/** Throws USAGE_VERIFY_BASE, CONTROL_*. */
export async function openDataDirBase(dataDir: string): Promise<VerifyBase> {
  const control = await controlFileOf(dataDir);
  if (control === null)
    throw new DbError('USAGE_VERIFY_BASE', `"${dataDir}" is not a PostgreSQL data directory`, {
      hint: 'The base is a copy of the data directory, made while the server was stopped, before the log was written.',
    });
  assertSupportedCluster(control);
  if (control.dbState !== DbState.shutdowned)
    throw new DbError('USAGE_VERIFY_BASE', `the server of "${dataDir}" was not shut down cleanly`, {
      hint: 'Its files are not the state at one LSN. Stop the server, copy its data directory, and start it again.',
    });
  const pages = new DataDirPages(dataDir);
  return {
    pages,
    from: control.checkpointLsn,
    systemIdentifier: control.systemIdentifier,
    redo: redoContextOf(control),
    name: `data directory ${dataDir} as of LSN ${formatLsn(control.checkpointLsn)}`,
    close: async () => pages.close(),
  };
}

/** Null when there is none. Throws CONTROL_*. */
export async function controlFileOf(dataDir: string): Promise<ControlFile | null> {
  try {
    return parseControlFile(await fs.readFile(path.join(dataDir, 'global', 'pg_control')));
  } catch (err) {
    if (isAbsent(err)) return null;
    throw err;
  }
}

export function redoContextOf(control: ControlFile): RedoContext {
  return { walLogHints: control.parameters.walLogHints, checksums: control.dataChecksumVersion !== 0 };
}

class DataDirPages implements BasePages {
  private readonly sizes = new Map<string, number | null>();
  /** File descriptors by file, the one used longest ago first. */
  private readonly open = new Map<string, number>();

  constructor(private readonly dataDir: string) {}

  size(rel: RelFileLocator, fork: number): number | null {
    const file = this.file(rel, fork);
    let size = this.sizes.get(file);
    if (size === undefined) this.sizes.set(file, (size = this.measure(file)));
    return size;
  }

  read(rel: RelFileLocator, fork: number, blkno: number): Buffer {
    const segment = Math.floor(blkno / RELSEG_SIZE);
    const file = segmentFile(this.file(rel, fork), segment);
    const page = Buffer.allocUnsafeSlow(BLCKSZ);
    const bytes = readSync(this.descriptor(file), page, 0, BLCKSZ, (blkno - segment * RELSEG_SIZE) * BLCKSZ);
    if (bytes === BLCKSZ) return page;
    throw new DbError('VERIFY_BASE_CHANGED', `${file} ends before block ${blkno}`, {
      hint: 'Does a server run on the base directory?',
    });
  }

  list(database: Database): ForkLocator[] {
    const forks: ForkLocator[] = [];
    for (const name of namesIn(path.join(this.dataDir, directoryOf(database)))) {
      const file = parseRelationFileName(name);
      if (file?.segment === 0)
        forks.push({
          spcOid: database.spcOid,
          dbOid: database.dbOid,
          relNumber: file.relNumber,
          fork: file.fork,
        });
    }
    return forks;
  }

  close(): void {
    for (const fd of this.open.values()) closeSync(fd);
    this.open.clear();
  }

  private file(rel: RelFileLocator, fork: number): string {
    const suffix = fork === 0 ? '' : `_${forkName(fork)}`;
    return path.join(this.dataDir, directoryOf(rel), `${rel.relNumber}${suffix}`);
  }

  /** md.c: a fork ends with its first segment file of less than 1 GiB. */
  private measure(file: string): number | null {
    let blocks = 0;
    for (let segment = 0; ; segment++) {
      const bytes = statSync(segmentFile(file, segment), { throwIfNoEntry: false })?.size;
      if (bytes === undefined) return segment === 0 ? null : blocks;
      blocks += Math.floor(bytes / BLCKSZ);
      if (bytes < RELSEG_SIZE * BLCKSZ) return blocks;
    }
  }

  private descriptor(file: string): number {
    const known = this.open.get(file);
    const fd = known ?? openSync(file, 'r');
    this.open.delete(file);
    this.open.set(file, fd);
    if (this.open.size > MAX_OPEN) {
      const [oldest, oldestFd] = this.open.entries().next().value!;
      closeSync(oldestFd);
      this.open.delete(oldest);
    }
    return fd;
  }
}

function directoryOf({ spcOid, dbOid }: Database): string {
  if (spcOid === GLOBAL_TABLESPACE) return 'global';
  if (spcOid === DEFAULT_TABLESPACE) return `base/${dbOid}`;
  return `pg_tblspc/${spcOid}/${TABLESPACE_VERSION_DIR}/${dbOid}`;
}

function segmentFile(file: string, segment: number): string {
  return segment === 0 ? file : `${file}.${segment}`;
}

function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch (err) {
    if (isAbsent(err)) return [];
    throw err;
  }
}

function isAbsent(err: unknown): boolean {
  const code = (err as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ENOTDIR';
}
