/**
 * A storage node without a cluster's folder beside it: on another host, say. Its folder holds all there is of it: node.json (how it was started), node/ (log,
 * pages, identity), run/ and log/. It finds the others through the members that it is told to join, and is added with `aurora storage add ID --at`.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DbError, errorMessage } from '../engine/errors.js';
import type { NodeStatus } from '../net/node-status.js';
import { loadSecret } from '../net/secret.js';
import { TlsCredentials, type TlsFiles } from '../net/tls.js';
import { StorageClient } from '../net/storage-client.js';
import { endpointOf } from '../storage/config.js';
import { endDaemon, runningPid, signalTo, startDaemon } from './daemon-process.js';
import { Interrupt } from './interrupt.js';
import { storageDaemonName } from './start.js';

const ASK_MS = 3000;

/** node.json; also what the daemon is told, beside its folder. */
export interface LoneNode {
  readonly volumeId: string;
  readonly nodeId: string;
  readonly host: string;
  readonly port: number;
  readonly advertise: string;
  readonly join: readonly string[];
  readonly secretFile: string;
  /** From "aurora cert issue node:ID"; null: plain text, on loopback only. */
  readonly tls: TlsFiles | null;
}

const fileOf = (dir: string): string => path.join(dir, 'node.json');
const runDirOf = (dir: string): string => path.join(dir, 'run');

/** Whether this is the folder of such a node. */
export function isLoneNode(dir: string): boolean {
  return existsSync(fileOf(dir));
}

/** Throws CLUSTER_NODE when it cannot be read. */
export function readLoneNode(dir: string): LoneNode {
  try {
    return JSON.parse(readFileSync(fileOf(dir), 'utf8')) as LoneNode;
  } catch (cause) {
    throw new DbError('CLUSTER_NODE', `could not read ${fileOf(dir)}: ${errorMessage(cause)}`, { cause });
  }
}

/**
 * Starts a node in its folder, which is made, or given other addresses when it is that node's already. When a new one does not start, or a signal
 * comes meanwhile, nothing is left of it. Throws USAGE_ADDRESS, USAGE_DIR, CLUSTER_NODE for another node's folder, INTERRUPTED, and as startLoneNode.
 */
export async function joinLoneNode(dir: string, node: LoneNode, timeoutMs: number): Promise<{ pid: number }> {
  const isNew = !isLoneNode(dir);
  const existed = existsSync(dir);
  prepareLoneNode(dir, node);
  const name = storageDaemonName(node.nodeId);
  const interrupt = new Interrupt(() => {
    const pid = runningPid(runDirOf(dir), name);
    if (pid !== null) signalTo(pid, 'SIGTERM');
  });
  try {
    const started = await startLoneNode(dir, timeoutMs);
    interrupt.check();
    return started;
  } catch (err) {
    if (isNew || interrupt.caught !== null) await endDaemon(runDirOf(dir), name, 'SIGTERM', timeoutMs);
    if (isNew)
      for (const name of existed ? readdirSync(dir).map((file) => path.join(dir, file)) : [dir])
        rmSync(name, { recursive: true, force: true });
    interrupt.check();
    throw err;
  } finally {
    interrupt.release();
  }
}

function prepareLoneNode(dir: string, node: LoneNode): void {
  for (const address of [`${node.host}:${node.port}`, node.advertise, ...node.join])
    if (!endpointOf(address))
      throw new DbError('USAGE_ADDRESS', `"${address}" is no address`, { hint: 'Write it as HOST:PORT.' });
  if (isLoneNode(dir)) {
    const { volumeId, nodeId } = readLoneNode(dir);
    if (volumeId !== node.volumeId || nodeId !== node.nodeId)
      throw new DbError('CLUSTER_NODE', `"${dir}" belongs to storage node ${nodeId} of volume ${volumeId}`);
  }
  if (!isLoneNode(dir) && existsSync(dir) && readdirSync(dir).length > 0)
    throw new DbError('USAGE_DIR', `directory "${dir}" exists but is not empty`, {
      hint: "Give the node a folder of its own. What is in it already is not a storage node's.",
    });
  loadSecret(node.secretFile);
  if (node.tls) TlsCredentials.load(node.tls).assertOf(`node:${node.nodeId}`);
  mkdirSync(runDirOf(dir), { recursive: true, mode: 0o700 });
  writeFileSync(`${fileOf(dir)}.new`, `${JSON.stringify(node, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${fileOf(dir)}.new`, fileOf(dir));
}

/** Throws what the node says, and CLUSTER_RUNNING. */
export async function startLoneNode(dir: string, timeoutMs: number): Promise<{ pid: number }> {
  const node = readLoneNode(dir);
  const name = storageDaemonName(node.nodeId);
  const runDir = runDirOf(dir);
  const pid = runningPid(runDir, name);
  if (pid !== null)
    throw new DbError('CLUSTER_RUNNING', `storage node ${node.nodeId} runs already (PID: ${pid})`);
  const config = { ...node, dir: path.join(dir, 'node') };
  const logFile = path.join(dir, 'log', `${name}.log`);
  return startDaemon({ kind: 'storage', name, runDir, logFile, config }, timeoutMs);
}

/** False when it did not run. Throws CLUSTER_TIMEOUT. */
export async function stopLoneNode(dir: string, timeoutMs: number): Promise<boolean> {
  const { nodeId } = readLoneNode(dir);
  const name = storageDaemonName(nodeId);
  if (runningPid(runDirOf(dir), name) === null) return false;
  if (!(await endDaemon(runDirOf(dir), name, 'SIGTERM', timeoutMs)))
    throw new DbError('CLUSTER_TIMEOUT', `storage node ${nodeId} does not shut down`);
  return true;
}

/** What the node says of itself; null when it does not run. Throws NET_*. */
export async function loneNodeStatus(dir: string): Promise<NodeStatus | null> {
  const node = readLoneNode(dir);
  if (runningPid(runDirOf(dir), storageDaemonName(node.nodeId)) === null) return null;
  const client = await StorageClient.connect(node, {
    secret: loadSecret(node.secretFile),
    tls: node.tls ? TlsCredentials.load(node.tls) : null,
    volumeId: node.volumeId,
    role: 'tool',
    clientId: 'status',
    nodeId: node.nodeId,
    connectTimeoutMs: ASK_MS,
  });
  try {
    return await client.status(ASK_MS);
  } finally {
    client.close();
  }
}
