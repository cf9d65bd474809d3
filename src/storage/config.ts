import { readFileSync } from 'node:fs';
import path from 'node:path';
import { DbError, errorMessage } from '../engine/errors.js';
import type { PageStoreOptions } from '../engine/pages/types.js';

export interface PeerConfig {
  id: string;
  host: string;
  port: number;
}

/** What a storage node is told at start; a JSON file in production. Relative paths are relative to that file. */
export interface StorageConfig {
  volumeId: string;
  nodeId: string;
  /** The node's folder: identity.db, log/, pages/, node.log. */
  dir: string;
  host: string;
  /** 0 = any free port; see `readyFile`. */
  port: number;
  secretFile: string;
  /** The other storage nodes of the volume. */
  peers: PeerConfig[];
  /** Copies, write quorum, read quorum. */
  quorum: { voters: number; write: number; read: number };
  pages: PageStoreOptions;
  ingest: {
    /** Longest stretch of replay before pending network work gets its turn. */
    sliceMs: number;
    /** Log read ahead of the decoder at a time. */
    readBytes: number;
    /** How long an idle ingest lets small commits gather. */
    lingerMs: number;
  };
  /** How long a page read waits for ingest to reach its LSN before it fails with NODE_BEHIND. */
  readWaitMs: number;
  peerPollMs: number;
  scrub: { enabled: boolean; intervalMs: number };
  logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';
  /** '-' = standard output. */
  logFile: string;
  /** Gets {"pid", "port"} once the node serves; written whole or not at all. */
  readyFile: string;
}

export const STORAGE_DEFAULTS = {
  host: '127.0.0.1',
  port: 0,
  peers: [],
  quorum: { voters: 3, write: 2, read: 2 },
  pages: {},
  ingest: { sliceMs: 2, readBytes: 1024 * 1024, lingerMs: 50 },
  readWaitMs: 10_000,
  peerPollMs: 1000,
  scrub: { enabled: true, intervalMs: 3_600_000 },
  logLevel: 'info',
  logFile: '-',
  readyFile: '',
} as const satisfies Partial<StorageConfig>;

export type StorageConfigInput = Pick<StorageConfig, 'volumeId' | 'nodeId' | 'dir' | 'secretFile'> & {
  [K in keyof StorageConfig]?: K extends 'ingest' | 'scrub' | 'quorum'
    ? Partial<StorageConfig[K]>
    : StorageConfig[K];
};

/** Fills in defaults and checks. Throws USAGE_CONFIG. */
export function storageConfig(input: StorageConfigInput, baseDir = process.cwd()): StorageConfig {
  const config: StorageConfig = {
    ...STORAGE_DEFAULTS,
    ...input,
    peers: [...(input.peers ?? [])],
    quorum: { ...STORAGE_DEFAULTS.quorum, ...input.quorum },
    ingest: { ...STORAGE_DEFAULTS.ingest, ...input.ingest },
    scrub: { ...STORAGE_DEFAULTS.scrub, ...input.scrub },
  };
  for (const key of ['volumeId', 'nodeId', 'dir', 'secretFile', 'host'] as const)
    check(typeof config[key] === 'string' && config[key] !== '', key, 'a non-empty string');
  check(isPort(config.port), 'port', 'an integer from 0 to 65535');
  for (const peer of config.peers)
    check(
      typeof peer.id === 'string' &&
        peer.id !== config.nodeId &&
        typeof peer.host === 'string' &&
        isPort(peer.port),
      'peers',
      'a list of other nodes {id, host, port}',
    );
  const { voters, write, read } = config.quorum;
  check(
    Number.isInteger(voters) &&
      write <= voters &&
      read <= voters &&
      write + read > voters &&
      2 * write > voters,
    'quorum',
    'such that every two write quorums, and every read and write quorum, share a node',
  );
  for (const [key, value] of [
    ['ingest.sliceMs', config.ingest.sliceMs],
    ['ingest.readBytes', config.ingest.readBytes],
    ['readWaitMs', config.readWaitMs],
    ['peerPollMs', config.peerPollMs],
    ['scrub.intervalMs', config.scrub.intervalMs],
  ] as const)
    check(typeof value === 'number' && value > 0, key, 'a positive number');
  for (const key of ['dir', 'secretFile'] as const) config[key] = path.resolve(baseDir, config[key]);
  if (config.logFile !== '-') config.logFile = path.resolve(baseDir, config.logFile);
  if (config.readyFile !== '') config.readyFile = path.resolve(baseDir, config.readyFile);
  return config;
}

/** Throws USAGE_CONFIG with the file's name. */
export function loadStorageConfig(file: string): StorageConfig {
  let input: StorageConfigInput;
  try {
    input = JSON.parse(readFileSync(file, 'utf8')) as StorageConfigInput;
  } catch (cause) {
    throw new DbError(
      'USAGE_CONFIG',
      `cannot read the node's configuration ${file}: ${errorMessage(cause)}`,
      { cause },
    );
  }
  return storageConfig(input, path.dirname(path.resolve(file)));
}

function isPort(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 65535;
}

function check(condition: boolean, key: string, expected: string): void {
  if (!condition)
    throw new DbError('USAGE_CONFIG', `storage node configuration: "${key}" must be ${expected}`);
}
