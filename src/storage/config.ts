import { readFileSync } from 'node:fs';
import path from 'node:path';
import { DbError, errorMessage } from '../engine/errors.js';
import type { PageStoreOptions } from '../engine/pages/types.js';
import { environmentSettings } from '../net/environment-settings.js';
import { PAGES_MAX } from '../net/messages.js';
import { isRoutes, type Routes } from '../net/routes.js';
import type { DiskConfig } from './disk-guard.js';
import type { ScrubConfig } from './scrub-service.js';
import { parseConfiguration, type Configuration } from '../engine/quorum/membership.js';
import { requireTls, tlsFilesOf, type TlsFiles } from '../net/tls.js';
import type { RetentionConfig, VacuumConfig } from './vacuum-service.js';

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
  /** With it the node speaks TLS only, to peers too; its certificate must be of `node:<nodeId>`. Required off the loopback interface. */
  tls: TlsFiles | null;
  /** Accepts plain text on an address that other machines can reach. */
  allowPlaintext: boolean;
  /** Another port, on loopback and without TLS, for /metrics and /healthz only; null = none. */
  metricsPort: number | null;
  /** host:port that others reach this node at, when that is another than it listens on; '' = the same. */
  advertise: string;
  /** The other storage nodes of the volume, where no configuration says who they are. */
  peers: PeerConfig[];
  /** How this node reaches others; see Routes. */
  routes: Routes;
  /** Who holds the volume, as far as whoever starts the node knows; null: `peers` and `quorum`, for ever. */
  configuration: Configuration | null;
  /** Highest generation of the configuration that is known to be settled. */
  settled: number;
  /** For a node that knows no peer: members to ask, host:port. */
  join: string[];
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
  /** A node that lost its disk copies page images from a peer: at most so many bytes a second (0 = unlimited), so many pages at a time. */
  rebuild: { bytesPerSecond: number; batchPages: number };
  /** A round of gossip: one member is probed in it, and news are exchanged. */
  gossip: { intervalMs: number };
  retention: RetentionConfig;
  vacuum: VacuumConfig;
  disk: DiskConfig;
  /** A log file is ended when it has grown beyond this; old log goes by whole files. */
  logFileBytes: number;
  /**
   * redo_verify: compare every page image that wal_consistency_checking puts into the log with the page replayed here; ingest stops at the
   * first that differs. Each record is then replayed when it comes, whether or not anybody reads the page: for tests. The environment variable
   * AURORA_REDO_VERIFY (on, off) overrides it.
   */
  redoVerify: boolean;
  scrub: ScrubConfig;
  logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';
  /** '-' = standard output. */
  logFile: string;
  /** Gets {"pid", "port"} once the node serves; written whole or not at all. */
  readyFile: string;
}

export const STORAGE_DEFAULTS = {
  host: '127.0.0.1',
  port: 0,
  advertise: '',
  peers: [],
  routes: {},
  configuration: null,
  settled: 0,
  join: [],
  tls: null,
  allowPlaintext: false,
  metricsPort: null,
  quorum: { voters: 3, write: 2, read: 2 },
  pages: {},
  ingest: { sliceMs: 2, readBytes: 1024 * 1024, lingerMs: 50 },
  readWaitMs: 10_000,
  peerPollMs: 1000,
  rebuild: { bytesPerSecond: 64 * 1024 * 1024, batchPages: 128 },
  gossip: { intervalMs: 1000 },
  // Ten minutes outlast every pause of a daemon and every query that a replica may hold up; a gibibyte bounds what a bulk load adds in them.
  retention: { timeMs: 600_000, bytes: 1024 * 1024 * 1024, leaseMs: 60_000, peerMs: 3_600_000 },
  vacuum: {
    enabled: true,
    intervalMs: 5000,
    sliceMs: 2,
    dutyPercent: 10,
    passBytes: 64 * 1024 * 1024,
    passMs: 300_000,
  },
  disk: { reserveBytes: 64 * 1024 * 1024, checkMs: 1000 },
  logFileBytes: 64 * 1024 * 1024,
  redoVerify: false,
  // Once a day; a twentieth of the thread reads some gigabytes of pages in an hour.
  scrub: {
    enabled: true,
    intervalMs: 3_600_000,
    pagesIntervalMs: 86_400_000,
    dutyPercent: 5,
    batchPages: 256,
  },
  logLevel: 'info',
  logFile: '-',
  readyFile: '',
} as const satisfies Partial<StorageConfig>;

export type StorageConfigInput = Pick<StorageConfig, 'volumeId' | 'nodeId' | 'dir' | 'secretFile'> & {
  [K in keyof StorageConfig]?: K extends
    'ingest' | 'scrub' | 'quorum' | 'rebuild' | 'gossip' | 'retention' | 'vacuum' | 'disk'
    ? Partial<StorageConfig[K]>
    : StorageConfig[K];
};

/** Fills in defaults and checks. Throws USAGE_CONFIG. */
export function storageConfig(input: StorageConfigInput, baseDir = process.cwd()): StorageConfig {
  const config: StorageConfig = {
    ...STORAGE_DEFAULTS,
    ...input,
    peers: [...(input.peers ?? [])],
    configuration: input.configuration ? parseConfiguration(input.configuration) : null,
    join: [...(input.join ?? [])],
    quorum: { ...STORAGE_DEFAULTS.quorum, ...input.quorum },
    ingest: { ...STORAGE_DEFAULTS.ingest, ...input.ingest },
    rebuild: { ...STORAGE_DEFAULTS.rebuild, ...input.rebuild },
    gossip: { ...STORAGE_DEFAULTS.gossip, ...input.gossip },
    retention: { ...STORAGE_DEFAULTS.retention, ...input.retention },
    vacuum: { ...STORAGE_DEFAULTS.vacuum, ...input.vacuum },
    disk: { ...STORAGE_DEFAULTS.disk, ...input.disk },
    scrub: { ...STORAGE_DEFAULTS.scrub, ...input.scrub },
    redoVerify: redoVerifySetting(input.redoVerify),
  };
  check(typeof config.redoVerify === 'boolean', 'redoVerify', 'true or false');
  for (const key of ['volumeId', 'nodeId', 'dir', 'secretFile', 'host'] as const)
    check(typeof config[key] === 'string' && config[key] !== '', key, 'a non-empty string');
  check(isPort(config.port), 'port', 'an integer from 0 to 65535');
  check(config.metricsPort === null || isPort(config.metricsPort), 'metricsPort', 'a port number or null');
  check(typeof config.allowPlaintext === 'boolean', 'allowPlaintext', 'true or false');
  config.tls = tlsFilesOf(config.tls, (file) => path.resolve(baseDir, file));
  requireTls('host', config.host, config.tls, config.allowPlaintext);
  for (const peer of config.peers)
    check(
      typeof peer.id === 'string' &&
        peer.id !== config.nodeId &&
        typeof peer.host === 'string' &&
        isPort(peer.port),
      'peers',
      'a list of other nodes {id, host, port}',
    );
  check(isRoutes(config.routes, isPort), 'routes', 'an object of { host, port } by node id');
  for (const [id, { host }] of Object.entries(config.routes))
    requireTls(`route to ${id}:`, host, config.tls, config.allowPlaintext);
  for (const address of [...config.join, ...(config.advertise === '' ? [] : [config.advertise])])
    check(endpointOf(address) !== null, 'join, advertise', 'addresses HOST:PORT');
  for (const address of config.join)
    requireTls('join:', endpointOf(address)!.host, config.tls, config.allowPlaintext);
  check(Number.isInteger(config.settled) && config.settled >= 0, 'settled', 'a generation');
  for (const peer of config.peers)
    requireTls(`peer ${peer.id}:`, peer.host, config.tls, config.allowPlaintext);
  const { bytesPerSecond, batchPages } = config.rebuild;
  check(
    typeof bytesPerSecond === 'number' && bytesPerSecond >= 0,
    'rebuild.bytesPerSecond',
    'a number of bytes, 0 for no limit',
  );
  check(
    Number.isInteger(batchPages) && batchPages >= 1 && batchPages <= PAGES_MAX,
    'rebuild.batchPages',
    `an integer from 1 to ${PAGES_MAX}`,
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
    ['gossip.intervalMs', config.gossip.intervalMs],
    ['retention.timeMs', config.retention.timeMs],
    ['retention.bytes', config.retention.bytes],
    ['retention.leaseMs', config.retention.leaseMs],
    ['retention.peerMs', config.retention.peerMs],
    ['vacuum.intervalMs', config.vacuum.intervalMs],
    ['vacuum.sliceMs', config.vacuum.sliceMs],
    ['vacuum.passBytes', config.vacuum.passBytes],
    ['vacuum.passMs', config.vacuum.passMs],
    ['disk.reserveBytes', config.disk.reserveBytes],
    ['disk.checkMs', config.disk.checkMs],
    ['logFileBytes', config.logFileBytes],
    ['scrub.intervalMs', config.scrub.intervalMs],
    ['scrub.pagesIntervalMs', config.scrub.pagesIntervalMs],
    ['scrub.dutyPercent', config.scrub.dutyPercent],
  ] as const)
    check(typeof value === 'number' && value > 0, key, 'a positive number');
  const { scrub } = config;
  check(scrub.dutyPercent <= 100, 'scrub.dutyPercent', 'more than 0 and at most 100');
  check(
    Number.isInteger(scrub.batchPages) && scrub.batchPages >= 1 && scrub.batchPages <= PAGES_MAX,
    'scrub.batchPages',
    `an integer from 1 to ${PAGES_MAX}`,
  );
  const { dutyPercent, enabled } = config.vacuum;
  check(dutyPercent > 0 && dutyPercent <= 100, 'vacuum.dutyPercent', 'more than 0 and at most 100');
  check(typeof enabled === 'boolean', 'vacuum.enabled', 'true or false');
  for (const key of ['dir', 'secretFile'] as const) config[key] = path.resolve(baseDir, config[key]);
  if (config.logFile !== '-') config.logFile = path.resolve(baseDir, config.logFile);
  if (config.readyFile !== '') config.readyFile = path.resolve(baseDir, config.readyFile);
  return config;
}

/** HOST:PORT, [IPV6]:PORT; null when it is neither. */
export function endpointOf(address: string): { host: string; port: number } | null {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]]+)):(\d{1,5})$/.exec(address);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  return host !== undefined && port >= 1 && port <= 65_535 ? { host, port } : null;
}

/** Whether redo_verify is on: as the environment says, else as configured, else off. Throws USAGE_CONFIG. */
export function redoVerifySetting(configured: boolean | undefined): boolean {
  const said = process.env['AURORA_REDO_VERIFY'];
  if (said === undefined || said === '') return configured ?? STORAGE_DEFAULTS.redoVerify;
  if (said === 'on' || said === 'off') return said === 'on';
  throw new DbError(
    'USAGE_CONFIG',
    `environment variable AURORA_REDO_VERIFY must be on or off, not "${said}"`,
  );
}

/** AURORA_STORAGE_SETTINGS, a JSON object, goes before what is in the file, for experiments. Throws USAGE_CONFIG with the file's name. */
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
  return storageConfig(
    { ...input, ...environmentSettings('AURORA_STORAGE_SETTINGS') },
    path.dirname(path.resolve(file)),
  );
}

function isPort(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 65535;
}

function check(condition: boolean, key: string, expected: string): void {
  if (!condition)
    throw new DbError('USAGE_CONFIG', `storage node configuration: "${key}" must be ${expected}`);
}
