/** A whole cluster for end-to-end tests: real daemons, real PostgreSQL, in a temporary folder, removed at the end. */
import { execFile } from 'node:child_process';
import { promises as fs, readdirSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { createCluster } from '../../src/cluster/create.js';
import { endDaemon, gone, isAlive, runningPid } from '../../src/cluster/daemon-process.js';
import { clusterLayout, type ClusterLayout } from '../../src/cluster/layout.js';
import { Manifest, type StorageNodeInfo } from '../../src/cluster/manifest.js';
import { freePort } from '../../src/cluster/ports.js';
import { startComputeNamed, stopComputeNamed } from '../../src/cluster/replicas.js';
import {
  computeDaemonName,
  startCluster,
  startStorageNode,
  storageDaemonName,
} from '../../src/cluster/start.js';
import { clusterStatus, type ClusterReport } from '../../src/cluster/status.js';
import { stopCluster, type StopMode } from '../../src/cluster/stop.js';
import { loadSecret } from '../../src/net/secret.js';
import { StorageClient } from '../../src/net/storage-client.js';

const run = promisify(execFile);

/** For what takes a second: tests run beside others, on machines with few cores. */
export const PATIENCE_MS = 60_000;

export interface TestClusterOptions {
  storageNodes?: number;
  writeQuorum?: number;
  /** Settings on PostgreSQL's command line at each start. */
  settings?: Record<string, string>;
  /** More options for PostgreSQL's initdb. */
  initdbArgs?: string[];
  /** TLS between the daemons, with an authority of the cluster's own. */
  tls?: boolean;
  /** The superuser's, which TCP connections then need. */
  password?: string;
}

export class TestCluster {
  readonly layout: ClusterLayout;
  port = 0;
  socketDir = '';
  computeDir = '';
  superuser = '';
  private clients = new Set<pg.Client>();

  private constructor(
    readonly root: string,
    private readonly options: TestClusterOptions,
  ) {
    this.layout = clusterLayout(path.join(root, 'c'));
  }

  /** Creates (not starts) a cluster. */
  static async create(options: TestClusterOptions = {}): Promise<TestCluster> {
    const root = await fs.mkdtemp(path.join(os.tmpdir(), 'oa-e2e-'));
    await fs.chmod(root, 0o711);
    const cluster = new TestCluster(root, options);
    try {
      cluster.port = await freePort();
      await createCluster({
        root: cluster.layout.root,
        port: cluster.port,
        storageNodes: options.storageNodes ?? 3,
        writeQuorum: options.writeQuorum,
        authLocal: 'trust',
        authHost: options.password === undefined ? 'trust' : 'scram-sha-256',
        password: options.password ?? null,
        tls: options.tls ? 'own' : null,
        initdbArgs: ['-E', 'UTF8', '--locale', 'C', ...(options.initdbArgs ?? [])],
      });
      cluster.withManifest((manifest) => {
        cluster.socketDir = manifest.volume.socketDir;
        cluster.superuser = manifest.volume.superuser;
        cluster.computeDir = manifest.computes[0]!.dir;
      });
      return cluster;
    } catch (err) {
      await fs.rm(root, { recursive: true, force: true });
      throw err;
    }
  }

  /** Created and started. */
  static async start(options: TestClusterOptions = {}): Promise<TestCluster> {
    const cluster = await TestCluster.create(options);
    try {
      await cluster.start();
      return cluster;
    } catch (err) {
      const log = await cluster.logs();
      await cluster.destroy();
      throw new Error(`the cluster did not start: ${(err as Error).message}\n${log}`, { cause: err });
    }
  }

  async start(): Promise<void> {
    await startCluster({
      root: this.layout.root,
      timeoutMs: PATIENCE_MS,
      wait: true,
      settings: this.options.settings ?? {},
    });
  }

  async stop(mode: StopMode = 'fast'): Promise<void> {
    await this.dropClients();
    await stopCluster({ root: this.layout.root, mode, timeoutMs: PATIENCE_MS, wait: true });
  }

  /** The primary alone, in order; storage and replicas go on. */
  async stopPrimary(): Promise<void> {
    await this.dropClients();
    await stopComputeNamed({ root: this.layout.root, name: 'primary', mode: 'fast', timeoutMs: 60_000 });
  }

  async startPrimary(settings: Record<string, string>): Promise<void> {
    await startComputeNamed({ root: this.layout.root, name: 'primary', timeoutMs: 60_000, settings });
  }

  status(): Promise<ClusterReport> {
    return clusterStatus(this.layout.root);
  }

  /** A connected client; ended by stop() and destroy(). An idle client that loses its server says nothing. */
  async client(database = 'postgres', user = this.superuser): Promise<pg.Client> {
    const client = new pg.Client({ host: this.socketDir, port: this.port, user, database });
    client.on('error', () => this.clients.delete(client));
    await client.connect();
    this.clients.add(client);
    return client;
  }

  /** Runs SQL in a session of its own; the last statement's rows. */
  async sql(text: string, database = 'postgres'): Promise<Record<string, unknown>[]> {
    const client = await this.client(database);
    try {
      const result = (await client.query(text)) as pg.QueryResult | pg.QueryResult[];
      return (Array.isArray(result) ? result[result.length - 1]! : result).rows as Record<string, unknown>[];
    } finally {
      this.clients.delete(client);
      await client.end();
    }
  }

  /** The real psql: a stock libpq client. */
  async psql(args: string[], database = 'postgres'): Promise<string> {
    const { stdout } = await run(
      'psql',
      [
        '-X',
        '-h',
        this.socketDir,
        '-p',
        String(this.port),
        '-U',
        this.superuser,
        '-v',
        'ON_ERROR_STOP=1',
        '-d',
        database,
        ...args,
      ],
      { maxBuffer: 64 * 1024 * 1024 },
    );
    return stdout;
  }

  get storageNodes(): StorageNodeInfo[] {
    return this.withManifest((manifest) => manifest.storageNodes);
  }

  computePid(): number | null {
    return runningPid(this.layout.run, computeDaemonName('primary'));
  }

  postgresPid(): number | null {
    return postmasterOf(this.computeDir);
  }

  /** kill -9 of the compute daemon and of the postmaster; returns when both are gone. */
  async killCompute(): Promise<void> {
    const pids = [this.computePid(), this.postgresPid()].filter(
      (pid): pid is number => pid !== null && isAlive(pid),
    );
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    for (const pid of pids) if (!(await gone(pid, PATIENCE_MS))) throw new Error(`pid ${pid} does not die`);
    this.clients.clear();
  }

  /** Removes all that the compute has on disk; it must not run. */
  eraseCompute(): void {
    for (const name of readdirSync(this.computeDir))
      rmSync(path.join(this.computeDir, name), { recursive: true, force: true });
  }

  storagePid(id: string): number | null {
    return runningPid(this.layout.run, storageDaemonName(id));
  }

  async killStorage(id: string, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (!(await endDaemon(this.layout.run, storageDaemonName(id), signal, PATIENCE_MS)))
      throw new Error(`storage node ${id} does not end`);
  }

  async startStorage(id: string): Promise<void> {
    const manifest = Manifest.open(this.layout);
    try {
      const node = manifest.storageNodes.find((n) => n.id === id)!;
      await startStorageNode(this.layout, manifest, manifest.volume, node, PATIENCE_MS);
    } finally {
      manifest.close();
    }
  }

  /** A tool's connection to a storage node, for as long as `use` takes. */
  async withNode<T>(id: string, use: (client: StorageClient) => Promise<T>): Promise<T> {
    const node = this.storageNodes.find((n) => n.id === id)!;
    const volumeId = this.withManifest((manifest) => manifest.volume.volumeId);
    const secret = loadSecret(this.layout.secret);
    const client = await StorageClient.connect(node, { secret, volumeId, role: 'tool', clientId: 'test' });
    try {
      return await use(client);
    } finally {
      client.close();
    }
  }

  /** amcheck over everything: every B-tree index with heapallindexed, every heap. Throws on the first finding. */
  async amcheck(database = 'postgres'): Promise<{ indexes: number; heaps: number }> {
    const client = await this.client(database);
    try {
      await client.query('create extension if not exists amcheck');
      const indexes = await client.query(
        `select count(*)::int as n from (select bt_index_check(c.oid, true) from pg_class c join pg_index i on i.indexrelid = c.oid
         where c.relam = 403 and c.relkind = 'i' and c.relpersistence = 'p' and i.indisvalid and i.indisready) s`,
      );
      const findings = await client.query(
        `select c.oid::regclass::text as rel, v.* from pg_class c, lateral verify_heapam(c.oid) v where c.relkind in ('r', 't', 'm') and c.relpersistence = 'p'`,
      );
      if (findings.rows.length > 0)
        throw new Error(`verify_heapam: ${JSON.stringify(findings.rows.slice(0, 5))}`);
      const heaps = await client.query(
        `select count(*)::int as n from pg_class where relkind in ('r', 't', 'm') and relpersistence = 'p'`,
      );
      return { indexes: indexes.rows[0].n as number, heaps: heaps.rows[0].n as number };
    } finally {
      this.clients.delete(client);
      await client.end();
    }
  }

  /** Tails of all daemon logs, for failure messages. */
  async logs(lines = 15): Promise<string> {
    const dir = path.join(this.layout.root, 'log');
    const names = await fs.readdir(dir).catch(() => []);
    const tails = names.map(
      (name) =>
        `== ${name}\n${readFileSync(path.join(dir, name), 'utf8').trimEnd().split('\n').slice(-lines).join('\n')}`,
    );
    for (const compute of this.withManifest((manifest) => manifest.computes)) {
      const log = await fs.readFile(path.join(compute.dir, 'postgresql.log'), 'utf8').catch(() => '');
      tails.push(`== PostgreSQL of ${compute.name}\n${log.trimEnd().split('\n').slice(-lines).join('\n')}`);
    }
    return tails.join('\n');
  }

  /** Ends every process of the cluster and removes it. */
  async destroy(): Promise<void> {
    await this.dropClients();
    const compute = this.computePid();
    if (compute !== null || this.postgresPid() !== null) await this.killCompute();
    await this.killComputes();
    for (const node of this.storageNodes) await this.killStorage(node.id);
    await fs.rm(this.root, { recursive: true, force: true });
  }

  /** Every compute's daemon and postmaster, also one that is paused. */
  private async killComputes(): Promise<void> {
    for (const { name, dir } of this.withManifest((manifest) => manifest.computes)) {
      const pids = [runningPid(this.layout.run, computeDaemonName(name)), postmasterOf(dir)];
      for (const pid of pids) {
        if (pid === null || !isAlive(pid)) continue;
        process.kill(pid, 'SIGKILL');
        await gone(pid, 10_000);
      }
    }
  }

  private async dropClients(): Promise<void> {
    const clients = [...this.clients];
    this.clients.clear();
    // A session whose server has died cannot be ended in order; there is nothing to report about that.
    await Promise.allSettled(clients.map((client) => client.end()));
  }

  withManifest<T>(use: (manifest: Manifest) => T): T {
    const manifest = Manifest.open(this.layout);
    try {
      return use(manifest);
    } finally {
      manifest.close();
    }
  }
}

/** Pid of the postmaster in the data directory of a compute; null when there is none. */
function postmasterOf(computeDir: string): number | null {
  try {
    return Number(readFileSync(path.join(computeDir, 'pgdata', 'postmaster.pid'), 'utf8').split('\n')[0]);
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw err;
  }
}

/** Waits until `probe` gives something truthy; fails with `what` after the deadline. For states that have no event to wait for. */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | null | undefined | false> | T | null | undefined | false,
  timeoutMs = PATIENCE_MS,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
