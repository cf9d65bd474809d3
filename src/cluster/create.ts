import { randomBytes, randomUUID } from 'node:crypto';
import { mkdirSync, promises as fs, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { MAX_SOCKET_DIR } from '../compute/cluster-dirs.js';
import { refuseCustomRmgrs } from '../compute/custom-rmgr.js';
import { ensurePagein, probePagein } from '../compute/pagein-build.js';
import {
  findPostgres,
  giveTo,
  pageinCacheDir,
  reachableBy,
  runInitdb,
  type PgInstall,
} from '../compute/postgres.js';
import { DbError, errorMessage } from '../engine/errors.js';
import { QuorumConfig, defaultQuorum } from '../engine/quorum/config.js';
import { createNode } from '../storage/create-node.js';
import { openSourceCluster, type ImportProgress } from '../storage/import.js';
import { checkAdoptedSettings, superuserOf } from './adopt.js';
import type { TlsFiles, TlsIdentity } from '../net/tls.js';
import { CertificateAuthority, hostNames } from './certificates.js';
import { clusterLayout, storageDir, type ClusterLayout } from './layout.js';
import { Manifest, type MembershipInfo, type StorageNodeInfo, type VolumeInfo } from './manifest.js';
import { freePort } from './ports.js';
import { readTemplate } from './templates.js';
import { checkGivenTls, type ClusterTls } from './tls.js';

/** What every new cluster has, wherever its data comes from. */
export interface ClusterOptions {
  root: string;
  port: number;
  storageNodes: number;
  writeQuorum?: number | undefined;
  readQuorum?: number | undefined;
  /** Names of failure domains that the nodes are spread over, in turn; none: no zones. */
  zones?: readonly string[] | undefined;
  superuser?: string | undefined;
  pgBindir?: string | undefined;
  runAs?: string | undefined;
  /** TLS between the daemons: with an authority of the cluster's own, or with given files. */
  tls?: 'own' | TlsFiles | null;
  progress?: (line: string) => void;
  /** How far the import into one storage node has come. */
  onImport?: (nodeId: string, progress: ImportProgress) => void;
}

export interface CreateOptions extends ClusterOptions {
  authLocal: string;
  authHost: string;
  /** Superuser's password, or null for none. */
  password: string | null;
  /** Passed on to PostgreSQL's initdb: encoding, locale, ... */
  initdbArgs: string[];
}

export interface AdoptOptions extends ClusterOptions {
  /** Data directory of a cleanly stopped PostgreSQL 18. It is only read. */
  pgdata: string;
}

export interface CreatedCluster {
  root: string;
  superuser: string;
  port: number;
  pgVersion: string;
  pages: number;
  /** Replication slots that did not become part of the volume. */
  slots: readonly string[];
}

/** The data directory to import. */
interface Prepared {
  pgdata: string;
  superuser: string;
}

const COMPUTE_NAME = 'primary';

/**
 * Makes a cluster: PostgreSQL's own initdb in a scratch folder, its result imported into the storage nodes, the manifest last.
 * On failure the directory is as it was. Throws CLUSTER_NOT_EMPTY, USAGE_*, CLUSTER_*.
 */
export function createCluster(options: CreateOptions): Promise<CreatedCluster> {
  return buildCluster(options, async (install, scratch) => {
    const superuser = options.superuser ?? install.runAs?.name ?? os.userInfo().username;
    options.progress?.(`creating a PostgreSQL ${install.version} database cluster`);
    const pgdata = path.join(scratch, 'pgdata');
    await initdbInto(install, pgdata, scratch, superuser, options);
    await refuseCustomRmgrs({ install, dataDir: pgdata, settings: {} }, 'Leave that library out.');
    return { pgdata, superuser };
  });
}

/**
 * Makes a cluster of an existing data directory: its databases, roles and settings files are the new cluster's. Throws CLUSTER_NOT_EMPTY, IMPORT_*,
 * CONTROL_UNSUPPORTED, USAGE_*, CLUSTER_*.
 */
export function adoptCluster(options: AdoptOptions): Promise<CreatedCluster> {
  const pgdata = path.resolve(options.pgdata);
  return buildCluster(options, async (install, scratch) => {
    options.progress?.(`checking ${pgdata}`);
    await openSourceCluster(pgdata); // what is wrong with it is said before anything is made of it
    await checkAdoptedSettings(install, pgdata, path.join(scratch, 'settings'));
    return { pgdata, superuser: options.superuser ?? (await superuserOf(pgdata)) };
  });
}

async function buildCluster(
  options: ClusterOptions,
  prepare: (install: PgInstall, scratch: string) => Promise<Prepared>,
): Promise<CreatedCluster> {
  const layout = clusterLayout(options.root);
  const existed = await assertEmpty(layout.root);
  const quorum = chooseQuorum(options);
  const say = options.progress ?? ((): void => undefined);
  const install = await findPostgres({ bindir: options.pgBindir, user: options.runAs });
  await probePagein(await ensurePagein(await pageinCacheDir(install)), install);
  const scratch = await fs.mkdtemp(path.join(os.tmpdir(), 'aurora-initdb-'));
  const made: string[] = [];
  try {
    await giveTo(install, scratch);
    await fs.mkdir(layout.root, { recursive: true, mode: 0o700 });
    const { pgdata, superuser } = await prepare(install, scratch);
    const volumeId = randomUUID();
    const tls = await prepareTls(layout, volumeId, quorum.voters, options.tls ?? null);
    writeFileSync(layout.secret, `${randomBytes(32).toString('hex')}\n`, { mode: 0o600, flag: 'wx' });
    mkdirSync(layout.run, { mode: 0o700 });
    const source = await openSourceCluster(pgdata);
    const nodes: StorageNodeInfo[] = [];
    let pages = 0;
    for (const id of quorum.voters) {
      const dir = storageDir(layout, id);
      await fs.mkdir(path.dirname(dir), { recursive: true, mode: 0o700 });
      say(`importing it into storage node ${id}`);
      const onProgress = (progress: ImportProgress): void => options.onImport?.(id, progress);
      const birth = { dir, nodeId: id, volumeId };
      pages = (await withUmask(0o077, () => createNode(birth, source, onProgress))).pages;
      nodes.push({ id, host: '127.0.0.1', port: await freePort(), dir });
    }
    const { computeDir, socketDir } = await computeFolders(layout, install, volumeId, made);
    const volume: VolumeInfo = {
      volumeId,
      systemId: source.control.systemIdentifier,
      superuser,
      copies: quorum.voters.length,
      writeQuorum: quorum.writeQuorum,
      readQuorum: quorum.readQuorum,
      pgBindir: options.pgBindir ? path.resolve(options.pgBindir) : null,
      runAs: options.runAs ?? null,
      socketDir,
      createdAt: new Date().toISOString(),
      membership: firstMembership(quorum.voters, options.zones ?? []),
      ...(tls ? { tls } : {}),
    };
    Manifest.create(layout, volume, nodes, {
      name: COMPUTE_NAME,
      role: 'primary',
      port: options.port,
      dir: computeDir,
    });
    const { slots } = source;
    return { root: layout.root, superuser, port: options.port, pgVersion: install.version, pages, slots };
  } catch (err) {
    for (const dir of made) await fs.rm(dir, { recursive: true, force: true });
    await undo(layout.root, existed);
    throw err;
  } finally {
    await fs.rm(scratch, { recursive: true, force: true });
  }
}

/** The members of a new volume. */
function firstMembership(ids: readonly string[], zones: readonly string[]): MembershipInfo {
  const zone = (i: number): string => (zones.length === 0 ? '' : zones[i % zones.length]!);
  const members = ids.map((id, i) => ({ id, zone: zone(i), voter: true }));
  return { generation: 1, members, settled: 1, retired: [] };
}

/** The authority and everybody's certificates, or the given files checked. Throws USAGE_TLS. */
async function prepareTls(
  layout: ClusterLayout,
  volumeId: string,
  nodeIds: readonly string[],
  wanted: 'own' | TlsFiles | null,
): Promise<ClusterTls | null> {
  if (wanted === null) return null;
  const others: TlsIdentity[] = [`compute:${COMPUTE_NAME}`, 'tool'];
  if (wanted !== 'own') {
    checkGivenTls(wanted, [...nodeIds.map((id): TlsIdentity => `node:${id}`), ...others]);
    return { kind: 'given', ...wanted };
  }
  const authority = await CertificateAuthority.create(layout.tls, volumeId);
  for (const id of nodeIds) await authority.issue(`node:${id}`, hostNames('127.0.0.1'));
  for (const identity of others) await authority.issue(identity, []);
  return { kind: 'own' };
}

/** Libraries make files too, and with no mode of their own. */
async function withUmask<T>(umask: number, work: () => Promise<T>): Promise<T> {
  const before = process.umask(umask);
  try {
    return await work();
  } finally {
    process.umask(before);
  }
}

function chooseQuorum(options: ClusterOptions): QuorumConfig {
  const copies = options.storageNodes;
  const write = options.writeQuorum ?? defaultQuorum(copies).writeQuorum;
  const read = options.readQuorum ?? copies - write + 1;
  return new QuorumConfig({
    voters: Array.from({ length: copies }, (_, i) => String(i + 1)),
    writeQuorum: write,
    readQuorum: read,
  });
}

/** True when the directory exists (and is empty), false when it does not. */
async function assertEmpty(root: string): Promise<boolean> {
  try {
    if ((await fs.readdir(root)).length > 0) {
      throw new DbError('CLUSTER_NOT_EMPTY', `directory "${root}" exists but is not empty`, {
        hint: `If you want to create a new cluster, either remove or empty the directory "${root}" or run aurora initdb with an argument other than "${root}".`,
      });
    }
    return true;
  } catch (err) {
    if (err instanceof DbError) throw err;
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw new DbError('CLUSTER_DIR', `could not access directory "${root}": ${errorMessage(err)}`, {
      cause: err,
    });
  }
}

async function undo(root: string, existed: boolean): Promise<void> {
  if (!existed) return fs.rm(root, { recursive: true, force: true });
  for (const name of await fs.readdir(root))
    await fs.rm(path.join(root, name), { recursive: true, force: true });
}

async function initdbInto(
  install: PgInstall,
  pgdata: string,
  scratch: string,
  superuser: string,
  options: CreateOptions,
): Promise<void> {
  const args = [
    '-U',
    superuser,
    `--auth-local=${options.authLocal}`,
    `--auth-host=${options.authHost}`,
    '--no-data-checksums',
    '--no-sync',
    '--no-instructions',
    ...options.initdbArgs,
  ];
  if (options.password !== null) {
    const file = path.join(scratch, 'pwfile');
    await fs.writeFile(file, `${options.password}\n`, { mode: 0o600 });
    await giveTo(install, file);
    args.push(`--pwfile=${file}`);
  }
  await runInitdb(install, pgdata, args);
  for (const name of ['postgresql.conf', 'pg_hba.conf'])
    await fs.appendFile(path.join(pgdata, name), `\n${await readTemplate(name)}`);
}

/**
 * Where the compute's cache and the sockets go: inside the cluster's directory, unless the account that runs PostgreSQL cannot get
 * there (a directory below /root, say) or the path is too long for a socket; then in a private folder in the temporary directory.
 */
async function computeFolders(
  layout: ClusterLayout,
  install: PgInstall,
  volumeId: string,
  made: string[],
): Promise<{ computeDir: string; socketDir: string }> {
  const { runAs } = install;
  // The account must be able to pass through the cluster's directory, not to look into it.
  if (runAs) await fs.chmod(layout.root, 0o711);
  const reachable = !runAs || (await canPass(runAs, layout.root));
  let base = layout.root;
  if (!reachable || Buffer.byteLength(path.join(layout.root, 'sockets')) > MAX_SOCKET_DIR) {
    base = path.join(os.tmpdir(), `aurora-${volumeId.slice(0, 8)}`);
    await fs.mkdir(base, { mode: 0o711 });
    made.push(base);
  }
  const socketDir = path.join(base, 'sockets');
  await fs.mkdir(socketDir, { mode: 0o700 });
  await giveTo(install, socketDir);
  const computeDir = path.join(reachable ? layout.root : base, 'compute', COMPUTE_NAME);
  await fs.mkdir(computeDir, { recursive: true, mode: 0o711 });
  await fs.chmod(path.dirname(computeDir), 0o711);
  return { computeDir, socketDir };
}

async function canPass(runAs: NonNullable<PgInstall['runAs']>, dir: string): Promise<boolean> {
  const probe = path.join(dir, '.probe');
  await fs.writeFile(probe, '', { mode: 0o644 });
  try {
    return await reachableBy(runAs, probe);
  } finally {
    await fs.rm(probe);
  }
}
