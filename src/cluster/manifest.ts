import { existsSync } from 'node:fs';
import Database from 'better-sqlite3';
import { DbError, errorMessage } from '../engine/errors.js';
import type { ClusterLayout } from './layout.js';

/** Format of cluster.db; a change adds a number and a migration. */
const FORMAT = 1;

export interface VolumeInfo {
  readonly volumeId: string;
  /** PostgreSQL's system identifier, decimal. */
  readonly systemId: string;
  readonly superuser: string;
  readonly copies: number;
  readonly writeQuorum: number;
  readonly readQuorum: number;
  /** The user's own PostgreSQL, or null for the packaged one. */
  readonly pgBindir: string | null;
  readonly runAs: string | null;
  /** Folder of the unix sockets, 0700. */
  readonly socketDir: string;
  readonly createdAt: string;
  /** Storage nodes compare what they replay with the page images in the log; default off. */
  readonly redoVerify?: boolean;
}

export interface StorageNodeInfo {
  readonly id: string;
  readonly host: string;
  readonly port: number;
  readonly dir: string;
}

export interface ComputeInfo {
  readonly name: string;
  readonly role: 'primary';
  readonly port: number;
  readonly dir: string;
}

/** The cluster's manifest: which nodes and computes make up the volume. Small, changed rarely, durable at each change. */
export class Manifest {
  private constructor(private readonly db: Database.Database) {}

  static create(
    layout: ClusterLayout,
    volume: VolumeInfo,
    nodes: readonly StorageNodeInfo[],
    compute: ComputeInfo,
  ): void {
    const db = open(layout.manifest);
    db.exec(`
      create table volume (format integer not null, info text not null) strict;
      create table storage_node (id text primary key, host text not null, port integer not null, dir text not null) strict;
      create table compute (name text primary key, role text not null, port integer not null, dir text not null) strict;
    `);
    db.transaction(() => {
      db.prepare('insert into volume values (?, ?)').run(FORMAT, JSON.stringify(volume));
      const addNode = db.prepare('insert into storage_node values (@id, @host, @port, @dir)');
      for (const node of nodes) addNode.run(node);
      db.prepare('insert into compute values (@name, @role, @port, @dir)').run(compute);
    })();
    db.close();
  }

  /** Throws CLUSTER_MISSING when there is no cluster here, CLUSTER_FORMAT when another release made it. */
  static open(layout: ClusterLayout): Manifest {
    if (!existsSync(layout.manifest)) {
      throw new DbError('CLUSTER_MISSING', `directory "${layout.root}" is not an OpenAurora cluster`, {
        hint: `Create one with: aurora initdb -D ${layout.root}`,
      });
    }
    try {
      const db = open(layout.manifest);
      const row = db.prepare('select format from volume').get() as { format: number } | undefined;
      if (row?.format === FORMAT) return new Manifest(db);
      db.close();
      throw new DbError(
        'CLUSTER_FORMAT',
        `cluster "${layout.root}" has format ${row?.format ?? 'unknown'}, this release reads ${FORMAT}`,
      );
    } catch (cause) {
      if (cause instanceof DbError) throw cause;
      throw new DbError('CLUSTER_MANIFEST', `could not read ${layout.manifest}: ${errorMessage(cause)}`, {
        cause,
      });
    }
  }

  get volume(): VolumeInfo {
    return JSON.parse(
      (this.db.prepare('select info from volume').get() as { info: string }).info,
    ) as VolumeInfo;
  }

  get storageNodes(): StorageNodeInfo[] {
    return this.db
      .prepare('select id, host, port, dir from storage_node order by id')
      .all() as StorageNodeInfo[];
  }

  get computes(): ComputeInfo[] {
    return this.db.prepare('select name, role, port, dir from compute order by name').all() as ComputeInfo[];
  }

  setNodePort(id: string, port: number): void {
    this.db.prepare('update storage_node set port = ? where id = ?').run(port, id);
  }

  setComputePort(name: string, port: number): void {
    this.db.prepare('update compute set port = ? where name = ?').run(port, name);
  }

  /** The superuser that the daemons work through has another name now. */
  setSuperuser(superuser: string): void {
    this.setVolume({ ...this.volume, superuser });
  }

  setRedoVerify(redoVerify: boolean): void {
    this.setVolume({ ...this.volume, redoVerify });
  }

  close(): void {
    this.db.close();
  }

  private setVolume(info: VolumeInfo): void {
    this.db.prepare('update volume set info = ?').run(JSON.stringify(info));
  }
}

function open(file: string): Database.Database {
  const db = new Database(file);
  db.pragma('journal_mode = DELETE');
  db.pragma('synchronous = FULL');
  return db;
}
