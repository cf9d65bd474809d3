/** A primary with readers that follow it, twice: OpenAurora with replicas, and PostgreSQL 18 with streaming standbys, each made while the primary runs. */
import { execFile } from 'node:child_process';
import { promises as fs, readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type pg from 'pg';
import { removeReplica } from '../../src/cluster/replicas.js';
import { eventually, TestCluster } from '../helpers/cluster.js';
import { Computes } from '../helpers/computes.js';
import { connect, Instance, newInstance, scratch, SHARED_SETTINGS, type Target } from './servers.js';

const run = promisify(execFile);
const SETTLE_MS = 900_000;
const REST_MS = 60_000;

/** What one reader cost to make. */
export interface Creation {
  /** From the wish for it to the answer of `query` on it. */
  readonly ms: number;
  /** Room that its directory takes on disk by then: all that was copied or fetched. */
  readonly diskBytes: number;
  /** Processor time of its daemon and its postmaster by then, which other work on the machine does not change; null: not known. */
  readonly cpuMs: number | null;
}

export interface Replicated extends Target {
  /** One more reader; `query` is the first that it answers. */
  add(query: string): Promise<Creation>;
  /** The one added last. */
  remove(): Promise<void>;
  /** A client of the reader added first. */
  reader(): Promise<pg.Client>;
  /** Returns once nothing of earlier work is left to do in the background. */
  settle(): Promise<void>;
}

export async function auroraWithReplicas(): Promise<Replicated> {
  const cluster = await TestCluster.start({ settings: { ...SHARED_SETTINGS } });
  const computes = new Computes(cluster);
  const names: string[] = [];
  return {
    name: 'OpenAurora',
    host: cluster.socketDir,
    port: cluster.port,
    user: cluster.superuser,
    async add(query) {
      const name = `r${names.length + 1}`;
      names.push(name);
      const begun = performance.now();
      await computes.add(name, { settings: { ...SHARED_SETTINGS } });
      const client = await computes.client(name);
      await client.query(query);
      const ms = performance.now() - begun;
      const used = (await computes.pids(name)).map(cpuMsOf);
      await client.end();
      return {
        ms,
        diskBytes: await diskBytes(path.join(path.dirname(cluster.computeDir), name)),
        cpuMs: used.reduce((sum, one) => sum + one, 0),
      };
    },
    async remove() {
      await removeReplica({
        root: cluster.layout.root,
        name: names.pop()!,
        mode: 'immediate',
        timeoutMs: SETTLE_MS,
      });
    },
    reader: () => computes.client(names[0]!),
    async settle() {
      await eventually(
        'every node has applied what is committed',
        async () => {
          const { storage, volume } = await cluster.status();
          return storage.every((node) => node.applied !== null && node.applied === volume.commitLsn);
        },
        SETTLE_MS,
      );
      await processorsRest();
    },
    async destroy() {
      await computes.close();
      await cluster.destroy();
    },
  };
}

/** One PostgreSQL with fsync; its standbys are asynchronous, as most are that serve reads. */
export async function postgresWithStandbys(): Promise<Replicated> {
  const root = await scratch();
  const primary = await newInstance(root, 'primary', 5432);
  await fs.writeFile(
    path.join(primary.dir, 'pg_hba.conf'),
    'local all all trust\nlocal replication all trust\n',
  );
  await primary.start({ wal_keep_size: '4GB' });
  const target = { name: 'PostgreSQL 18', host: root, port: primary.port, user: 'postgres' };
  const standbys: Instance[] = [];
  const at = (standby: Instance): Target => ({
    ...target,
    port: standby.port,
    destroy: () => Promise.resolve(),
  });
  return {
    ...target,
    async add(query) {
      const begun = performance.now();
      const standby = await copyOf(primary, root, primary.port + standbys.length + 1);
      standbys.push(standby);
      await standby.start({
        hot_standby: 'on',
        primary_conninfo: `host=${root} port=${primary.port} user=postgres application_name=s${standby.port}`,
      });
      const client = await connect(at(standby));
      await client.query(query);
      const ms = performance.now() - begun;
      await client.end();
      return { ms, diskBytes: await diskBytes(standby.dir), cpuMs: null };
    },
    async remove() {
      const standby = standbys.pop()!;
      await standby.stop('SIGQUIT');
      await fs.rm(standby.dir, { recursive: true, force: true });
    },
    reader: () => connect(at(standbys[0]!)),
    settle: processorsRest,
    async destroy() {
      for (const server of [primary, ...standbys]) await server.stop('SIGQUIT');
      await fs.rm(root, { recursive: true, force: true });
    },
  };
}

/** Until what no status tells of (compaction, autovacuum, writing back) is over: the processors have little to do. Other programs may keep them busy. */
async function processorsRest(): Promise<void> {
  let before = os.cpus();
  for (const deadline = performance.now() + REST_MS; performance.now() < deadline;) {
    await sleep(500);
    const now = os.cpus();
    const spent = (pick: (times: os.CpuInfo['times']) => number): number =>
      now.reduce((sum, { times }, i) => sum + pick(times) - pick(before[i]?.times ?? times), 0);
    const idle = spent((times) => times.idle);
    const all = spent(({ idle: rest, user, nice, sys, irq }) => rest + user + nice + sys + irq);
    if (idle > 0.9 * all) return;
    before = now;
  }
}

/** A base backup by PostgreSQL's own functions: what pg_basebackup does, without its way over a connection. */
async function copyOf(primary: Instance, root: string, port: number): Promise<Instance> {
  const dir = path.join(root, `standby${port}`);
  const client = await connect({
    name: 'primary',
    host: root,
    port: primary.port,
    user: 'postgres',
    destroy: () => Promise.resolve(),
  });
  try {
    await client.query(`select pg_backup_start('standby', true)`);
    // Files that come and go meanwhile are no error: the log has them (as for tar in PostgreSQL's own documentation).
    await run('cp', ['-a', primary.dir, dir]).catch((err: unknown) => {
      if (!/cannot (stat|open)/.test(String(err))) throw err;
    });
    const { rows } = await client.query('select labelfile from pg_backup_stop(false)');
    await fs.rm(path.join(dir, 'postmaster.pid'), { force: true });
    await fs.rm(path.join(dir, 'pg_wal'), { recursive: true });
    for (const made of ['pg_wal', 'pg_wal/archive_status', 'pg_wal/summaries'])
      await fs.mkdir(path.join(dir, made), { mode: 0o700 });
    await fs.writeFile(path.join(dir, 'backup_label'), rows[0].labelfile as string);
    await fs.writeFile(path.join(dir, 'standby.signal'), '');
  } finally {
    await client.end();
  }
  const { runAs } = primary.install;
  if (runAs) await run('chown', ['-R', `${runAs.uid}:${runAs.gid}`, dir]);
  return new Instance(primary.install, dir, root, port);
}

/** With that of the children that have ended (proc(5)), in the kernel's ticks of 10 ms. */
function cpuMsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks) * 10, 0);
}

async function diskBytes(dir: string): Promise<number> {
  const { stdout } = await run('du', ['-s', '--block-size=1', dir]);
  return Number(stdout.split('\t')[0]);
}
