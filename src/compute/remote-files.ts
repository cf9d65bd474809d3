import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { BLCKSZ, RELSEG_SIZE } from '../engine/page/constants.js';

export interface FileOwner {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Creates files whose blocks are all in storage: sparse, of full size, with an all-REMOTE map beside them (see
 * pagein/PROTOCOL.md). Synchronous: a data directory has some 1500 such files, before postgres runs.
 */
export class RemoteFiles {
  private readonly known = new Set<string>();

  /**
   * `mapsDir` must lie outside `dataDir`. `owner`: whom postgres runs as, when that is not us; applies to each file and
   * folder made here.
   */
  constructor(
    private readonly dataDir: string,
    private readonly mapsDir: string,
    private readonly owner: FileOwner | null = null,
  ) {
    this.mkdir(mapsDir);
  }

  /**
   * One fork of a relation, in segments of 1 GiB (or an SLRU segment). `relPath` is the first segment's path below the
   * data directory; no part of it may exist yet. A fork of zero blocks is an empty local file.
   */
  create(relPath: string, nblocks: number): void {
    let segno = 0;
    for (let left = nblocks; segno === 0 || left > 0; left -= RELSEG_SIZE, segno++) {
      const rel = segno === 0 ? relPath : `${relPath}.${segno}`;
      const blocks = Math.min(left, RELSEG_SIZE);
      this.sparse(path.join(this.dataDir, rel), blocks * BLCKSZ);
      if (blocks > 0) this.sparse(path.join(this.mapsDir, rel), blocks);
    }
  }

  private sparse(file: string, size: number): void {
    this.mkdir(path.dirname(file));
    const fd = fs.openSync(file, 'wx', 0o600);
    try {
      if (size > 0) fs.ftruncateSync(fd, size);
      if (this.owner) fs.fchownSync(fd, this.owner.uid, this.owner.gid);
    } finally {
      fs.closeSync(fd);
    }
  }

  private mkdir(dir: string): void {
    if (this.known.has(dir)) return;
    if (!fs.existsSync(dir)) {
      const parent = path.dirname(dir);
      if (parent !== dir) this.mkdir(parent);
      fs.mkdirSync(dir, { mode: 0o700 });
      if (this.owner) fs.chownSync(dir, this.owner.uid, this.owner.gid);
    }
    this.known.add(dir);
  }
}

/** `createRemoteFile` for a single file; a data directory is faster made with one RemoteFiles. */
export function createRemoteFile(
  dataDir: string,
  mapsDir: string,
  relPath: string,
  nblocks: number,
  owner: FileOwner | null = null,
): void {
  new RemoteFiles(dataDir, mapsDir, owner).create(relPath, nblocks);
}

/**
 * Asks the file system to place each folder made in `dir` from now on away from the others (ext4's "top of directory
 * hierarchies" flag). A data directory that is thrown away and made again is thousands of files deleted and created, and ext4
 * searches past every inode of the group that was freed in the last minutes: 1 ms a file instead of 25 us. With this on the
 * parent, and a new name for each data directory, they come out of a fresh group. Only ever a matter of speed: other file
 * systems have no such flag and no such search, so failing is nothing to report. Resolves to whether it was set.
 */
export function spreadFolders(dir: string): Promise<boolean> {
  return new Promise((resolve) => {
    execFile('chattr', ['+T', dir], (err) => resolve(err === null));
  });
}

/** What the agent needs to know of the maps, to read ahead of a scan. */
export interface RemoteMaps {
  /** The first run of blocks in [first, first + count) that are still in storage only; null when there is none. */
  remoteRun(relPath: string, first: number, count: number): { first: number; count: number } | null;
}

/** The maps of a data directory as they are on disk now. */
export class MapFiles implements RemoteMaps {
  constructor(private readonly mapsDir: string) {}

  remoteRun(relPath: string, first: number, count: number): { first: number; count: number } | null {
    const marks = this.read(relPath, first, count);
    const start = marks.indexOf(REMOTE);
    if (start < 0) return null;
    let end = start + 1;
    while (end < marks.length && marks[end] === REMOTE) end++;
    return { first: first + start, count: end - start };
  }

  /** Map bytes from `first` on; shorter at the map's end, empty when the file has no map (it is local). */
  private read(relPath: string, first: number, count: number): Buffer {
    let fd: number;
    try {
      fd = fs.openSync(path.join(this.mapsDir, relPath), 'r');
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0);
      throw err;
    }
    try {
      const marks = Buffer.allocUnsafe(count);
      return marks.subarray(0, fs.readSync(fd, marks, 0, count, first));
    } finally {
      fs.closeSync(fd);
    }
  }
}

const REMOTE = 0;
