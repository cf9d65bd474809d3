import { accessSync, chmodSync, constants } from 'node:fs';
import Database from 'better-sqlite3';
import { readPrimaryNote } from '../compute/primary-note.js';
import type { ComputeRole } from '../engine/computes/types.js';
import { DbError, errorMessage } from '../engine/errors.js';
import { checkStep, parseConfiguration, votersOf, type Configuration } from '../engine/quorum/index.js';
import { clusterDenied, type ClusterLayout } from './layout.js';
import type { ClusterTls } from './tls.js';

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
  /** Absent: as created, all nodes vote (generation 1). */
  readonly membership?: MembershipInfo;
  /** Daemons speak TLS; absent: plain text on loopback. */
  readonly tls?: ClusterTls;
}

/** Who holds the volume, without addresses (those are the storage nodes'). */
export interface MembershipInfo {
  readonly generation: number;
  readonly members: readonly { readonly id: string; readonly zone: string; readonly voter: boolean }[];
  /** Highest generation that a writer has settled, as far as the commands have heard (engine/quorum/membership.ts). */
  readonly settled: number;
  /** Names of former nodes, which are not given again. */
  readonly retired: readonly string[];
  /** A replacement that is under way: the new node, by the old one's name. */
  readonly replacing?: Readonly<Record<string, string>>;
}

export interface StorageNodeInfo {
  readonly id: string;
  readonly host: string;
  readonly port: number;
  /** '' = on another host, where this cluster's commands do not start it. */
  readonly dir: string;
}

export interface ComputeInfo {
  readonly name: string;
  readonly role: ComputeRole;
  readonly port: number;
  readonly dir: string;
}

/** What a compute was given when it was added; the first one has the defaults. */
export interface ComputeOptions {
  /** Whether it may follow a primary that is gone, and before which others (0 to 100). */
  readonly failover: boolean;
  readonly priority: number;
  /** Settings for its PostgreSQL's command line. */
  readonly settings: Readonly<Record<string, string>>;
}

const DEFAULT_COMPUTE: ComputeOptions = { failover: true, priority: 50, settings: {} };

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
    chmodSync(layout.manifest, 0o600); // and with it SQLite's journals
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
    try {
      accessSync(layout.manifest, constants.R_OK);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'EACCES') throw clusterDenied(layout.root, cause);
      throw new DbError('CLUSTER_MISSING', `directory "${layout.root}" is not an OpenAurora cluster`, {
        hint: `Create one with: aurora initdb -D ${layout.root}`,
        cause,
      });
    }
    try {
      const db = open(layout.manifest);
      const row = db.prepare('select format from volume').get() as { format: number } | undefined;
      if (row?.format === FORMAT) return new Manifest(db).withRoles();
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

  /** The primary first, then the replicas by name. */
  get computes(): ComputeInfo[] {
    return this.db
      .prepare(`select name, role, port, dir from compute order by role <> 'primary', name`)
      .all() as ComputeInfo[];
  }

  computeOptions(name: string): ComputeOptions {
    if (!this.hasOptions()) return DEFAULT_COMPUTE;
    const row = this.db.prepare('select info from compute_options where name = ?').get(name) as
      { info: string } | undefined;
    return row
      ? { ...DEFAULT_COMPUTE, ...(JSON.parse(row.info) as Partial<ComputeOptions>) }
      : DEFAULT_COMPUTE;
  }

  addReplica(compute: Omit<ComputeInfo, 'role'>, options: ComputeOptions): void {
    this.db.transaction(() => {
      // Clusters that never had a replica do without the table.
      this.db.exec(
        'create table if not exists compute_options (name text primary key, info text not null) strict',
      );
      this.db.prepare(`insert into compute values (@name, 'replica', @port, @dir)`).run(compute);
      this.db
        .prepare('insert or replace into compute_options values (?, ?)')
        .run(compute.name, JSON.stringify(options));
    })();
  }

  removeCompute(name: string): void {
    this.db.transaction(() => {
      this.db.prepare('delete from compute where name = ?').run(name);
      if (this.hasOptions()) this.db.prepare('delete from compute_options where name = ?').run(name);
    })();
  }

  /** A failover or a switchover goes on without us: takes over which compute is the primary since. */
  private withRoles(): this {
    const note = readPrimaryNote(this.volume.socketDir);
    const named = this.computes.find((compute) => compute.name === note?.name);
    if (named?.role === 'replica') this.setPrimary(named.name);
    return this;
  }

  /** One compute is the primary, all others are replicas. */
  setPrimary(name: string): void {
    this.db
      .prepare(`update compute set role = case when name = ? then 'primary' else 'replica' end`)
      .run(name);
  }

  get membership(): MembershipInfo {
    const members = this.storageNodes.map(({ id }) => ({ id, zone: '', voter: true }));
    return this.volume.membership ?? { generation: 1, members, settled: 1, retired: [] };
  }

  /** What daemons are told of who holds the volume. */
  get configuration(): Configuration {
    const { writeQuorum, readQuorum } = this.volume;
    const { generation, members } = this.membership;
    const nodes = new Map(this.storageNodes.map((node) => [node.id, node]));
    const withAddress = members.map(({ id, zone, voter }) => {
      const { host, port } = nodes.get(id)!;
      return { id, host, port, zone, voter };
    });
    return { generation, members: withAddress, writeQuorum, readQuorum };
  }

  /**
   * Hands out the next generation: durable on return, and only if `next` follows what is here now. `node`: one that is new. Throws
   * CLUSTER_CHANGED when another command was faster, MEMBER_UNSAFE_STEP.
   */
  change(next: Configuration, extra: { node?: StorageNodeInfo; replaces?: string } = {}): void {
    const { node, replaces } = extra;
    this.db
      .transaction(() => {
        const before = this.configuration;
        if (next.generation !== before.generation + 1)
          throw new DbError(
            'CLUSTER_CHANGED',
            `the cluster is at generation ${before.generation} of its members: another command has changed it`,
          );
        checkStep(before, parseConfiguration(next));
        if (node) this.db.prepare('insert into storage_node values (@id, @host, @port, @dir)').run(node);
        const { membership } = this;
        const replacing =
          node && replaces ? { ...membership.replacing, [replaces]: node.id } : membership.replacing;
        this.setVolume({
          ...this.volume,
          copies: votersOf(next).length,
          writeQuorum: next.writeQuorum,
          readQuorum: next.readQuorum,
          membership: {
            ...membership,
            generation: next.generation,
            members: next.members.map(({ id, zone, voter }) => ({ id, zone, voter })),
            ...(replacing && { replacing }),
          },
        });
      })
      .immediate();
  }

  setSettled(generation: number): void {
    const { membership } = this;
    if (generation > membership.settled)
      this.setVolume({ ...this.volume, membership: { ...membership, settled: generation } });
  }

  /** A node that is no member any more, and does not run. */
  forgetNode(id: string): void {
    this.db.transaction(() => {
      const { membership } = this;
      const replacing = Object.fromEntries(
        Object.entries(membership.replacing ?? {}).filter(([old]) => old !== id),
      );
      this.db.prepare('delete from storage_node where id = ?').run(id);
      this.setVolume({
        ...this.volume,
        membership: { ...membership, retired: [...membership.retired, id], replacing },
      });
    })();
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

  private hasOptions(): boolean {
    return this.db.prepare(`select 1 from sqlite_master where name = 'compute_options'`).get() !== undefined;
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
