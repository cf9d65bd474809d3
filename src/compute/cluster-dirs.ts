import path from 'node:path';

/** Where one compute keeps things. All of it may be deleted while it is stopped: a compute has no state of its own. */
export interface ComputeDirs {
  readonly root: string;
  /** PostgreSQL's data directory, made anew from storage at every start. */
  readonly data: string;
  /** Remote maps of the page-in library, beside the data directory so that a copy of it is a plain PostgreSQL one. */
  readonly maps: string;
  readonly agentSocket: string;
  /** The managed pg_hba and pg_ident files. */
  readonly managed: string;
  readonly postgresLog: string;
}

export function computeDirs(root: string, socketDir: string): ComputeDirs {
  return {
    root,
    data: path.join(root, 'pgdata'),
    maps: path.join(root, 'maps'),
    managed: path.join(root, 'managed'),
    agentSocket: path.join(socketDir, '.s.aurora-agent'),
    postgresLog: path.join(root, 'postgresql.log'),
  };
}

/** sun_path holds 108 bytes with its NUL; PostgreSQL's socket file name in a folder is the longest that we put there. */
export const MAX_SOCKET_DIR = 107 - '/.s.PGSQL.65535.lock'.length;
