/** The log of a node that may be running, for tools: nothing is written, cut, synced or locked. */
import path from 'node:path';
import { DbError } from '../errors.js';
import type { Lsn } from '../lsn.js';
import type { Damage, Extents } from './extents.js';
import { LogFiles } from './files.js';
import { HEADER_AREA, fileSequence, parseFileHeader } from './format.js';
import { nodeFs } from './fs.js';
import type { LogFs } from './fs.js';
import { LogReader } from './reader.js';
import { recoverLog, type LogOwner, type Recovered } from './recover.js';

const ATTEMPTS = 5;

/** What a log folder held when it was opened. What a running node appends afterwards is not seen. */
export class ReadOnlyLog {
  readonly startLsn: Lsn;
  readonly endLsn: Lsn;
  /** Whether the log begins where the node's pages were imported, at a record boundary; else old log was given up, at no special place. */
  readonly fromImport: boolean;
  /** Set when the newest file ends with an incomplete write: a crash, or a write under way right now. */
  readonly tornTail: { readonly file: string; readonly offset: number } | null;
  private readonly extents: Extents;
  private readonly reader: LogReader;

  private constructor(
    readonly owner: LogOwner,
    private readonly files: LogFiles,
    found: Recovered,
  ) {
    this.startLsn = found.startLsn;
    this.endLsn = found.extents.end;
    this.fromImport = found.history[0]?.startLsn === found.startLsn;
    this.tornTail = found.tornTail;
    this.extents = found.extents;
    this.reader = new LogReader(this.extents, files, () => undefined);
  }

  /**
   * Reads and checks all files of `dir`. Throws USAGE_LOG_DIRECTORY when it holds no log, LOG_DAMAGED when not even its beginning is
   * known, LOG_BAD_VERSION.
   */
  static async open(dir: string, fs: LogFs = nodeFs): Promise<ReadOnlyLog> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await ReadOnlyLog.openNow(dir, fs);
      } catch (err) {
        // A running node removes old files: they were listed, and then they were not there.
        if ((err as NodeJS.ErrnoException).code !== 'ENOENT' || attempt === ATTEMPTS) throw err;
      }
    }
  }

  private static async openNow(dir: string, fs: LogFs): Promise<ReadOnlyLog> {
    const owner = await ownerOf(fs, dir);
    const found = await recoverLog(fs, dir, owner);
    if (!found) throw noLog(dir);
    return new ReadOnlyLog(
      owner,
      new LogFiles(fs, dir, owner, 0, found.lastSequence, found.lastOffset),
      found,
    );
  }

  /** Stretches that cannot be read. */
  get damages(): readonly Damage[] {
    return this.extents.damages;
  }

  /** The bytes of [begin, end), which must lie in the log. Throws LOG_DAMAGED with file, LSN and offset. */
  async read(begin: Lsn, end: Lsn): Promise<Buffer> {
    return Buffer.concat(await this.reader.read(begin, end));
  }

  close(): void {
    this.files.close();
  }
}

/** Volume and node as the first file with an intact header names them; recovery checks that all others agree. */
async function ownerOf(fs: LogFs, dir: string): Promise<LogOwner> {
  const names = (await fs.list(dir)).filter((name) => fileSequence(name) !== null).sort();
  if (names.length === 0) throw noLog(dir);
  for (const name of names) {
    const file = path.join(dir, name);
    const fd = await fs.open(file, 'r');
    try {
      const area = Buffer.alloc(HEADER_AREA);
      const header = parseFileHeader(area.subarray(0, await fs.read(fd, area, 0)), file);
      if (header) return { volumeId: header.volumeId, nodeId: header.nodeId };
    } finally {
      fs.close(fd);
    }
  }
  throw new DbError('LOG_DAMAGED', `no file in ${dir} has an intact header`);
}

function noLog(dir: string): DbError {
  return new DbError('USAGE_LOG_DIRECTORY', `no log files in ${dir}`, {
    hint: "Name a storage node's folder, or the log folder in it.",
  });
}
