/** `aurora storage list`, `status`, `start` and `stop` of the storage nodes of a local cluster. */
import { DbError } from '../engine/errors.js';
import { endDaemon, runningPid } from './daemon-process.js';
import { clusterLayout } from './layout.js';
import { whileStarting, type StartHooks } from './lock.js';
import { Manifest, type StorageNodeInfo } from './manifest.js';
import { startStorageNode, storageDaemonName } from './start.js';

/** What the manifest says of a node; nobody is asked. */
export interface ListedNode {
  id: string;
  zone: string;
  member: 'voter' | 'joining' | 'leaving';
  host: string;
  port: number;
  pid: number | null;
  /** '' = on another host. */
  dir: string;
}

export interface StorageList {
  generation: number;
  copies: number;
  writeQuorum: number;
  readQuorum: number;
  nodes: ListedNode[];
}

/** Throws CLUSTER_MISSING. */
export function listStorageNodes(root: string): StorageList {
  const layout = clusterLayout(root);
  const manifest = Manifest.open(layout);
  try {
    const { volume, membership } = manifest;
    const nodes = manifest.storageNodes.map(({ id, host, port, dir }): ListedNode => {
      const member = membership.members.find((m) => m.id === id);
      return {
        id,
        zone: member?.zone ?? '',
        member: !member ? 'leaving' : member.voter ? 'voter' : 'joining',
        host,
        port,
        pid: runningPid(layout.run, storageDaemonName(id)),
        dir,
      };
    });
    const { copies, writeQuorum, readQuorum } = volume;
    return { generation: membership.generation, copies, writeQuorum, readQuorum, nodes };
  } finally {
    manifest.close();
  }
}

/** Starts one node, or all that do not run. Resolves with those started. Throws USAGE_NO_NODE, CLUSTER_BUSY, and what a node says. */
export async function startStorageNodes(
  root: string,
  id: string | undefined,
  timeoutMs: number,
  progress?: (line: string) => void,
  hooks?: StartHooks,
): Promise<string[]> {
  const layout = clusterLayout(root);
  const manifest = Manifest.open(layout);
  try {
    chosen(manifest, id);
    return await whileStarting(layout, { timeoutMs, progress, hooks }, async () => {
      const due = chosen(manifest, id).filter(
        (node) => runningPid(layout.run, storageDaemonName(node.id)) === null,
      );
      for (const node of due) {
        progress?.(`starting storage node ${node.id}`);
        await startStorageNode(layout, manifest, manifest.volume, node, timeoutMs);
      }
      return due.map((node) => node.id);
    });
  } finally {
    manifest.close();
  }
}

/** Stops one node, or all that run. Resolves with those stopped. Throws USAGE_NO_NODE, CLUSTER_TIMEOUT. */
export async function stopStorageNodes(
  root: string,
  id: string | undefined,
  timeoutMs: number,
  progress?: (line: string) => void,
): Promise<string[]> {
  const layout = clusterLayout(root);
  const manifest = Manifest.open(layout);
  try {
    const due = chosen(manifest, id).filter(
      (node) => runningPid(layout.run, storageDaemonName(node.id)) !== null,
    );
    for (const node of due) {
      progress?.(`stopping storage node ${node.id}`);
      if (!(await endDaemon(layout.run, storageDaemonName(node.id), 'SIGTERM', timeoutMs)))
        throw new DbError('CLUSTER_TIMEOUT', `storage node ${node.id} does not shut down`);
    }
    return due.map((node) => node.id);
  } finally {
    manifest.close();
  }
}

function chosen(manifest: Manifest, id: string | undefined): StorageNodeInfo[] {
  const all = manifest.storageNodes;
  if (id === undefined) return all.filter((node) => node.dir !== '');
  const node = all.find((candidate) => candidate.id === id);
  if (!node)
    throw new DbError('USAGE_NO_NODE', `there is no storage node ${id}`, {
      hint: `There are ${all.map((candidate) => candidate.id).join(', ')}.`,
    });
  if (node.dir === '')
    throw new DbError('USAGE_NODE_ELSEWHERE', `storage node ${id} is on another host, ${node.host}`, {
      hint: 'Start and stop it there, with: aurora storage start -D NODEDIR',
    });
  return [node];
}
