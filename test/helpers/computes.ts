/** Several computes of one test cluster: replicas, whoever is the primary, and clients of each. */
import pg from 'pg';
import { gone, isAlive, runningPid } from '../../src/cluster/daemon-process.js';
import { Manifest } from '../../src/cluster/manifest.js';
import { addReplica, startComputeNamed } from '../../src/cluster/replicas.js';
import { computeDaemonName } from '../../src/cluster/start.js';
import type { ComputeReport } from '../../src/cluster/status.js';
import { formatLsn, parseLsn } from '../../src/engine/lsn.js';
import { eventually, type TestCluster } from './cluster.js';

/** Patience for anything that a loaded machine may take its time for. */
export const PATIENCE_MS = 60_000;

export interface ReplicaOptions {
  failover?: boolean;
  priority?: number;
  settings?: Record<string, string>;
}

export class Computes {
  private readonly clients = new Set<pg.Client>();

  constructor(readonly cluster: TestCluster) {}

  async add(name: string, options: ReplicaOptions = {}): Promise<number> {
    const { port } = await addReplica({
      root: this.cluster.layout.root,
      name,
      start: true,
      timeoutMs: PATIENCE_MS,
      failover: options.failover ?? false,
      priority: options.priority ?? 50,
      settings: options.settings ?? {},
    });
    return port;
  }

  async start(name: string): Promise<void> {
    await startComputeNamed({ root: this.cluster.layout.root, name, timeoutMs: PATIENCE_MS });
  }

  port(name: string): number {
    const manifest = Manifest.open(this.cluster.layout);
    try {
      return manifest.computes.find((compute) => compute.name === name)!.port;
    } finally {
      manifest.close();
    }
  }

  /** A connected client; ended by close(). One that loses its server says nothing. */
  async client(name: string, database = 'postgres'): Promise<pg.Client> {
    const { socketDir: host, superuser: user } = this.cluster;
    const client = new pg.Client({ host, port: this.port(name), user, database });
    client.on('error', () => this.clients.delete(client));
    await client.connect();
    this.clients.add(client);
    return client;
  }

  async report(name: string): Promise<ComputeReport> {
    return (await this.cluster.status()).computes.find((compute) => compute.name === name)!;
  }

  pid(name: string): number | null {
    return runningPid(this.cluster.layout.run, computeDaemonName(name));
  }

  /** Pids of a compute's daemon and of its postmaster, as far as they run. */
  async pids(name: string): Promise<number[]> {
    const { pid, postgresPid } = await this.report(name);
    return [pid, postgresPid].filter((p): p is number => p !== null && isAlive(p));
  }

  async kill(name: string): Promise<void> {
    const pids = await this.pids(name);
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    for (const pid of pids) if (!(await gone(pid, PATIENCE_MS))) throw new Error(`pid ${pid} does not die`);
  }

  /** Waits until the compute is what it should be. */
  is(name: string, role: string, timeoutMs = PATIENCE_MS): Promise<ComputeReport> {
    return eventually(
      `compute ${name} is a ${role} that runs`,
      async () => {
        const report = await this.report(name);
        return report?.role === role && report.state === 'running' ? report : null;
      },
      timeoutMs,
    );
  }

  async close(): Promise<void> {
    const clients = [...this.clients];
    this.clients.clear();
    await Promise.allSettled(clients.map((client) => client.end()));
  }
}

/** The recipe for reading one's own writes: the primary's LSN after the commit, awaited on the replica. */
export async function caughtUp(primary: pg.Client, replica: pg.Client): Promise<void> {
  const { rows } = await primary.query('select pg_current_wal_flush_lsn()::text as lsn');
  const target = parseLsn(rows[0].lsn as string);
  await eventually(
    `the replica has replayed ${formatLsn(target)}`,
    async () => {
      const answer = await replica.query('select pg_last_wal_replay_lsn()::text as lsn');
      return parseLsn(answer.rows[0].lsn as string) >= target;
    },
    PATIENCE_MS,
  );
}
