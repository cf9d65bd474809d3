/** What `aurora initdb` and `aurora import` share: flags of a new cluster, and that a signal undoes what was made. */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { Flags } from '@oclif/core';
import { DbError } from '../engine/errors.js';
import type { TlsFiles } from '../net/tls.js';
import type { ClusterOptions, CreatedCluster } from './create.js';
import { Interrupt } from './interrupt.js';
import { clusterLayout } from './layout.js';
import { Manifest } from './manifest.js';
import { terminalProgress } from './progress.js';

export const newClusterFlags = {
  port: Flags.integer({
    char: 'p',
    description: 'port that PostgreSQL will listen on',
    env: 'PGPORT',
    default: 5432,
    min: 1,
    max: 65535,
    helpValue: 'PORT',
  }),
  'storage-nodes': Flags.integer({
    description: 'number of storage nodes, each with a copy',
    default: 3,
    min: 1,
    max: 9,
    helpValue: 'N',
  }),
  'write-quorum': Flags.integer({
    description: 'copies that must be on disk before a commit returns (default: a majority; 4 of 6)',
    min: 1,
    helpValue: 'W',
  }),
  'read-quorum': Flags.integer({
    description: 'nodes that must answer an election (default: N - W + 1)',
    min: 1,
    helpValue: 'R',
  }),
  zones: Flags.integer({
    description: 'spread the storage nodes over N zones, named 1 to N',
    min: 1,
    max: 9,
    helpValue: 'N',
    exclusive: ['zone'],
  }),
  zone: Flags.string({
    description: 'a zone to spread the storage nodes over; may be given several times',
    multiple: true,
    helpValue: 'ZONE',
  }),
  tls: Flags.boolean({
    description: "encrypt what daemons say to each other, with a certificate authority of the cluster's own",
  }),
  'tls-ca': Flags.string({
    description: 'the same with given certificates: file with those of the authorities (PEM)',
    helpValue: 'FILE',
    dependsOn: ['tls-cert', 'tls-key'],
    exclusive: ['tls'],
  }),
  'tls-cert': Flags.string({
    description: 'file with the certificate of all members of this cluster (PEM)',
    helpValue: 'FILE',
    dependsOn: ['tls-ca'],
  }),
  'tls-key': Flags.string({
    description: 'file with its private key (PEM, mode 0600)',
    helpValue: 'FILE',
    dependsOn: ['tls-ca'],
  }),
  'pg-bindir': Flags.string({
    description: "bin directory of your own PostgreSQL 18 (default: the package's)",
    helpValue: 'DIR',
  }),
  'run-as': Flags.string({
    description: 'account that PostgreSQL runs as when this is run as root',
    helpValue: 'ACCOUNT',
  }),
};

interface NewClusterFlagValues {
  port: number;
  'storage-nodes': number;
  'write-quorum'?: number | undefined;
  'read-quorum'?: number | undefined;
  zones?: number | undefined;
  zone?: string[] | undefined;
  'pg-bindir'?: string | undefined;
  'run-as'?: string | undefined;
  tls: boolean;
  'tls-ca'?: string | undefined;
  'tls-cert'?: string | undefined;
  'tls-key'?: string | undefined;
}

/** `say` gets the steps, and how far an import has come when there is no terminal. */
export function clusterOptions(
  root: string,
  flags: NewClusterFlagValues,
  say: (line: string) => void,
): ClusterOptions {
  const progress = terminalProgress(say);
  return {
    root,
    port: flags.port,
    storageNodes: flags['storage-nodes'],
    writeQuorum: flags['write-quorum'],
    readQuorum: flags['read-quorum'],
    zones: zoneNames(flags),
    pgBindir: flags['pg-bindir'],
    runAs: flags['run-as'],
    tls: flags.tls ? 'own' : givenTls(flags['tls-ca'], flags['tls-cert'], flags['tls-key']),
    progress: (line) => {
      progress.end();
      say(`${line} ...`);
    },
    onImport: (nodeId, { pagesDone, pagesTotal }) => {
      if (pagesDone >= pagesTotal) progress.end();
      else
        progress.report({
          what: `storage node ${nodeId}`,
          done: pagesDone,
          total: pagesTotal,
          unit: 'pages',
        });
    },
  };
}

/** The three files that flags name, or null when none is named. */
export function givenTls(ca?: string, cert?: string, key?: string): TlsFiles | null {
  if (ca === undefined || cert === undefined || key === undefined) return null;
  return { caFile: path.resolve(ca), certFile: path.resolve(cert), keyFile: path.resolve(key) };
}

/** Throws USAGE_ZONE. */
function zoneNames(flags: NewClusterFlagValues): string[] {
  const names = flags.zone ?? Array.from({ length: flags.zones ?? 0 }, (_, i) => String(i + 1));
  for (const name of names)
    if (!/^[A-Za-z0-9_.-]{1,32}$/.test(name))
      throw new DbError('USAGE_ZONE', `"${name}" is no name for a zone`, {
        hint: 'Up to 32 letters, digits, "_", "." and "-".',
      });
  if (names.length > flags['storage-nodes'])
    throw new DbError(
      'USAGE_ZONE',
      `${flags['storage-nodes']} storage nodes do not fill ${names.length} zones`,
    );
  return names;
}

/** `create` that a signal undoes, at its next step or, when the last one is done, afterwards. Throws INTERRUPTED, and as `create`. */
export async function createOrUndo<T extends ClusterOptions>(
  options: T,
  create: (options: T) => Promise<CreatedCluster>,
): Promise<CreatedCluster> {
  const interrupt = new Interrupt();
  const existed = existsSync(options.root);
  try {
    const created = await create({
      ...options,
      progress: (line: string) => {
        interrupt.check();
        options.progress?.(line);
      },
      onImport: (...args: Parameters<NonNullable<ClusterOptions['onImport']>>) => {
        interrupt.check();
        options.onImport?.(...args);
      },
    });
    if (interrupt.caught !== null) removeCluster(created.root, existed);
    return created;
  } finally {
    interrupt.release();
    // Whatever failed, perhaps initdb by the same ^C: that it was interrupted is what to say.
    interrupt.check();
  }
}

/** Of a cluster that never ran: its directory (or what is in it, if that was there before), and what lies outside of it. */
function removeCluster(root: string, keepDirectory: boolean): void {
  const manifest = Manifest.open(clusterLayout(root));
  const { socketDir } = manifest.volume;
  manifest.close();
  if (path.dirname(socketDir) !== root) rmSync(path.dirname(socketDir), { recursive: true, force: true });
  if (!keepDirectory) rmSync(root, { recursive: true, force: true });
  else for (const name of readdirSync(root)) rmSync(path.join(root, name), { recursive: true, force: true });
}
