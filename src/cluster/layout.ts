import path from 'node:path';
import { DbError } from '../engine/errors.js';

/** Where a cluster keeps things below its directory (`aurora initdb -D DIR`). */
export interface ClusterLayout {
  readonly root: string;
  /** Control-plane state: volume, nodes, computes (better-sqlite3). */
  readonly manifest: string;
  /** Cluster secret, 0600: authenticates daemons to each other. */
  readonly secret: string;
  readonly run: string;
  /** Certificates, when the cluster has an authority of its own (certificates.ts). */
  readonly tls: string;
}

export function clusterLayout(root: string): ClusterLayout {
  const dir = path.resolve(root);
  return {
    root: dir,
    manifest: path.join(dir, 'cluster.db'),
    secret: path.join(dir, 'secret'),
    run: path.join(dir, 'run'),
    tls: path.join(dir, 'tls'),
  };
}

export function storageDir(layout: ClusterLayout, nodeId: string): string {
  return path.join(layout.root, 'storage', nodeId);
}

export function daemonLog(layout: ClusterLayout, daemon: string): string {
  return path.join(layout.root, 'log', `${daemon}.log`);
}

/** CLUSTER_DENIED: without access to a cluster's files it must not look as if there were none. */
export function clusterDenied(root: string, cause: unknown): DbError {
  return new DbError('CLUSTER_DENIED', `could not access directory "${root}": Permission denied`, {
    hint: 'Run this as the account that the directory belongs to.',
    cause,
  });
}
