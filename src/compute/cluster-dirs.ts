import { randomBytes } from 'node:crypto';
import { lstatSync, mkdirSync, promises as fs, renameSync, rmSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { spreadFolders } from './remote-files.js';

/** Where one compute keeps things. All of it may be deleted while it is stopped: a compute has no state of its own. */
export interface ComputeDirs {
  readonly root: string;
  /** Symbolic link to the data directory in use. */
  readonly current: string;
  readonly agentSocket: string;
  /** The managed pg_hba and pg_ident files. */
  readonly managed: string;
  readonly postgresLog: string;
}

/** The folders of one term, made anew from storage; the next term gets others. */
export interface TermDirs extends ComputeDirs {
  /** PostgreSQL's data directory. */
  readonly data: string;
  /** Remote maps of the page-in library, beside the data directory so that a copy of it is a plain PostgreSQL one. */
  readonly maps: string;
  /** See wal-gate.ts. */
  readonly walGate: string;
}

/** Folder of the sockets where replicas get their log; libpq names them after a port, so each replica uses its PostgreSQL's. */
export function relaySocketDir(socketDir: string): string {
  return path.join(socketDir, 'relay');
}

const TERM_PREFIX = 'term-';

export function computeDirs(root: string, socketDir: string, name: string): ComputeDirs {
  return {
    root,
    current: path.join(root, 'pgdata'),
    managed: path.join(root, 'managed'),
    agentSocket: path.join(socketDir, `.s.agent-${name}`),
    postgresLog: path.join(root, 'postgresql.log'),
  };
}

/**
 * Folders for a new term. A new name each time, and the file system asked to spread them: a data directory made where one was just
 * deleted costs ext4 a millisecond a file (see spreadFolders).
 */
export async function newTermDirs(dirs: ComputeDirs): Promise<TermDirs> {
  mkdirSync(dirs.root, { recursive: true, mode: 0o711 });
  await spreadFolders(dirs.root);
  const term = path.join(dirs.root, `${TERM_PREFIX}${randomBytes(4).toString('hex')}`);
  mkdirSync(term, { mode: 0o711 });
  const [data, maps, walGate] = ['data', 'maps', 'walgate'].map((name) => path.join(term, name)) as [
    string,
    string,
    string,
  ];
  return { ...dirs, data, maps, walGate };
}

/** Makes `dirs.current` name this term's data directory. */
export function publishTerm(dirs: TermDirs): void {
  const next = `${dirs.current}.new`;
  rmSync(next, { force: true });
  symlinkSync(path.relative(dirs.root, dirs.data), next);
  // A directory under that name can only be a stranger's; a link is replaced in one step.
  if (lstatSync(dirs.current, { throwIfNoEntry: false })?.isDirectory())
    rmSync(dirs.current, { recursive: true });
  renameSync(next, dirs.current);
}

/** Removes the folders of all other terms; nothing uses them any more. */
export async function removeOtherTerms(dirs: TermDirs): Promise<void> {
  const own = path.basename(path.dirname(dirs.data));
  for (const name of await fs.readdir(dirs.root)) {
    if (name.startsWith(TERM_PREFIX) && name !== own)
      await fs.rm(path.join(dirs.root, name), { recursive: true, force: true });
  }
}

/** sun_path holds 108 bytes with its NUL; PostgreSQL's socket file name in a folder is the longest that we put there. */
export const MAX_SOCKET_DIR = 107 - '/.s.agent-'.length - 32;
