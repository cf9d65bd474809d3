/** The three set-ups that are compared: each answers on a unix socket, and each can be stopped and removed. */
import { spawn, type ChildProcess } from 'node:child_process';
import { appendFileSync, promises as fs, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { credentials, findPostgres, giveTo, runInitdb, type PgInstall } from '../../src/compute/postgres.js';
import { TestCluster } from '../helpers/cluster.js';

export interface Target {
  name: string;
  host: string;
  port: number;
  user: string;
  destroy(): Promise<void>;
}

/** The same for all: what a user would set first. */
export const SHARED_SETTINGS = {
  shared_buffers: '512MB',
  max_connections: '100',
  max_wal_size: '4GB',
  checkpoint_timeout: '15min',
};

export class Instance {
  child: ChildProcess | null = null;

  constructor(
    readonly install: PgInstall,
    readonly dir: string,
    readonly socketDir: string,
    readonly port: number,
  ) {}

  async start(settings: Record<string, string>): Promise<void> {
    const args = Object.entries({
      ...SHARED_SETTINGS,
      listen_addresses: '',
      unix_socket_directories: this.socketDir,
      port: String(this.port),
      ...settings,
    }).flatMap(([k, v]) => ['-c', `${k}=${v}`]);
    const child = spawn(path.join(this.install.bindir, 'postgres'), ['-D', this.dir, ...args], {
      ...credentials(this.install),
      cwd: '/',
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    await new Promise<void>((resolve, reject) => {
      child.stderr!.on('data', (chunk: Buffer) => {
        said = (said + chunk.toString()).slice(-8000);
        if (/ready to accept (read-only )?connections/.test(said)) resolve();
      });
      child.once('exit', (code) => reject(new Error(`postgres exited with ${code}: ${said}`)));
    });
    this.child = child;
  }

  async stop(signal: NodeJS.Signals = 'SIGINT'): Promise<void> {
    const child = this.child;
    if (!child || child.exitCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill(signal);
    await gone;
    this.child = null;
  }
}

export async function newInstance(root: string, name: string, port: number): Promise<Instance> {
  const install = await findPostgres();
  await giveTo(install, root);
  const dir = path.join(root, name);
  await runInitdb(install, dir, [
    '-U',
    'postgres',
    '-A',
    'trust',
    '--no-data-checksums',
    '-E',
    'UTF8',
    '--locale',
    'C',
  ]);
  return new Instance(install, dir, root, port);
}

export const scratch = (): Promise<string> => fs.mkdtemp(path.join(os.tmpdir(), 'oa-bench-'));

/** One PostgreSQL 18 with its defaults: fsync on. `restart` and `crash` serve the comparison of cold starts. */
export async function singlePostgres(
  settings: Record<string, string> = {},
): Promise<Target & { instance: Instance; settings: Record<string, string> }> {
  const root = await scratch();
  const instance = await newInstance(root, 'single', 5432);
  await instance.start(settings);
  return {
    name: 'PostgreSQL 18, single, fsync',
    host: root,
    port: 5432,
    user: 'postgres',
    instance,
    settings,
    async destroy() {
      await instance.stop('SIGQUIT');
      await fs.rm(root, { recursive: true, force: true });
    },
  };
}

/** PostgreSQL 18 with two synchronous standbys, ANY 1: what replication with one failure to spare costs there. */
export async function withTwoStandbys(): Promise<Target> {
  const root = await scratch();
  const primary = await newInstance(root, 'primary', 5432);
  await fs.writeFile(
    path.join(primary.dir, 'pg_hba.conf'),
    'local all all trust\nlocal replication all trust\n',
  );
  const standbys: Instance[] = [];
  for (const [i, name] of ['s1', 's2'].entries()) {
    const dir = path.join(root, name);
    await fs.cp(primary.dir, dir, { recursive: true });
    for (const entry of ['', ...(await fs.readdir(dir, { recursive: true }))])
      await giveTo(primary.install, path.join(dir, entry));
    await fs.chmod(dir, 0o700);
    writeFileSync(path.join(dir, 'standby.signal'), '');
    await giveTo(primary.install, path.join(dir, 'standby.signal'));
    appendFileSync(
      path.join(dir, 'postgresql.conf'),
      `\nprimary_conninfo = 'host=${root} port=5432 user=postgres application_name=${name}'\n`,
    );
    standbys.push(new Instance(primary.install, dir, root, 5433 + i));
  }
  await primary.start({ synchronous_standby_names: 'ANY 1 (s1, s2)', wal_keep_size: '4GB' });
  for (const standby of standbys) await standby.start({ hot_standby: 'on' });
  return {
    name: 'PostgreSQL 18, two synchronous standbys (ANY 1)',
    host: root,
    port: 5432,
    user: 'postgres',
    async destroy() {
      for (const server of [primary, ...standbys]) await server.stop('SIGQUIT');
      await fs.rm(root, { recursive: true, force: true });
    },
  };
}

export async function openAurora(): Promise<Target & { cluster: TestCluster }> {
  const cluster = await TestCluster.start({ settings: { ...SHARED_SETTINGS } });
  return {
    name: 'OpenAurora, 3 storage nodes, 2/3',
    host: cluster.socketDir,
    port: cluster.port,
    user: cluster.superuser,
    cluster,
    destroy: () => cluster.destroy(),
  };
}

export async function connect(target: Target, database = 'postgres'): Promise<pg.Client> {
  const client = new pg.Client({ host: target.host, port: target.port, user: target.user, database });
  client.on('error', () => undefined); // a server that ends takes its sessions along; whoever uses one hears of it
  await client.connect();
  return client;
}
