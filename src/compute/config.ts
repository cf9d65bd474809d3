import { readFileSync } from 'node:fs';
import path from 'node:path';
import { DEFAULT_FAILOVER_TIMES } from '../engine/computes/policy.js';
import { COMPUTE_ROLES, type ComputeRole } from '../engine/computes/types.js';
import { DbError, errorMessage } from '../engine/errors.js';
import { environmentSettings } from '../net/environment-settings.js';
import { isRoutes, routed, type Routes } from '../net/routes.js';
import type { ThrottleOptions } from './throttle.js';
import { parseConfiguration, type Configuration } from '../engine/quorum/membership.js';
import { requireTls, tlsFilesOf, type TlsFiles } from '../net/tls.js';
import { MAX_SOCKET_DIR } from './cluster-dirs.js';
import type { StorageNodeEndpoint } from './storage-links.js';

/** What a compute daemon is told at start; a JSON file. */
export interface ComputeConfig {
  volumeId: string;
  /** Unique among the computes of the volume. */
  name: string;
  /** What it is at its start; a failover or a switchover may make it the other. */
  role: ComputeRole;
  /** A replica's: whether, and before which others, it follows a primary that is gone. */
  failover: { enabled: boolean; priority: number; silentMs: number; cutOffMs: number; turnMs: number };
  /** A primary that finds another one alive at its start becomes its replica, rather than take over from it. */
  yields: boolean;
  /** The compute's folder: a cache, may be deleted while it is stopped. */
  dir: string;
  /** 0700 folder of PostgreSQL's socket, the page agent's and the daemon's control socket. */
  socketDir: string;
  host: string;
  port: number;
  secretFile: string;
  /** With it only TLS is spoken to storage nodes; its certificate must be of `compute:<name>`. Required when a node is on another machine. */
  tls: TlsFiles | null;
  /** Accepts plain text to storage nodes on other machines. */
  allowPlaintext: boolean;
  storage: StorageNodeEndpoint[];
  quorum: { voters: number; write: number; read: number };
  /** How this compute reaches storage nodes; see Routes. */
  routes: Routes;
  /** Goes before `storage` and `quorum`; null: those, for ever. */
  configuration: Configuration | null;
  superuser: string;
  pgBindir: string | null;
  runAs: string | null;
  /** More settings for PostgreSQL's command line. */
  settings: Record<string, string>;
  /** PostgreSQL's log; default: in `dir`. */
  postgresLog: string | null;
  /** Port for /metrics and /healthz on loopback; null = only on the control socket. */
  metricsPort: number | null;
  logLevel: string;
  /** How long a start may wait for storage nodes. */
  electTimeoutMs: number;
  /** When the storage nodes are behind with their pages, writers are slowed; see throttle.ts. */
  backPressure: ThrottleOptions;
}

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

const DEFAULT_FAILOVER = { enabled: false, priority: 50, ...DEFAULT_FAILOVER_TIMES };

const DEFAULTS = {
  role: 'primary',
  yields: false,
  host: '127.0.0.1',
  configuration: null,
  routes: {},
  tls: null,
  allowPlaintext: false,
  pgBindir: null,
  runAs: null,
  settings: {},
  postgresLog: null,
  metricsPort: null,
  logLevel: 'info',
  electTimeoutMs: 30_000,
  // What a node works off in some seconds: so long may the next start wait for it after a crash.
  backPressure: { lagBytes: 64 * 1024 * 1024, bytesPerSecondMin: 256 * 1024 },
};

/**
 * Reads and checks the file. AURORA_COMPUTE_SETTINGS, a JSON object, goes before what is in it, for experiments.
 * Throws USAGE_CONFIG naming the file and the field.
 */
export function loadComputeConfig(file: string): ComputeConfig {
  let raw: unknown;
  try {
    raw = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new DbError('USAGE_CONFIG', `cannot read the configuration ${file}: ${errorMessage(cause)}`, {
      cause,
    });
  }
  const bad = (field: string, want: string): DbError =>
    new DbError('USAGE_CONFIG', `${file}: "${field}" must be ${want}`);
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) throw bad('(root)', 'an object');
  const config = {
    ...DEFAULTS,
    ...raw,
    ...environmentSettings('AURORA_COMPUTE_SETTINGS'),
  } as ComputeConfig;
  config.backPressure = { ...DEFAULTS.backPressure, ...config.backPressure };
  config.failover = { ...DEFAULT_FAILOVER, ...config.failover };
  if (config.configuration !== null) {
    config.configuration = parseConfiguration(config.configuration);
    const { members, writeQuorum: write, readQuorum: read } = config.configuration;
    config.storage = members.map(({ id, host, port }) => ({ id, host, port }));
    config.quorum = { voters: members.length, write, read };
  }
  for (const field of ['volumeId', 'name', 'dir', 'socketDir', 'secretFile', 'superuser', 'host'] as const) {
    if (typeof config[field] !== 'string' || config[field] === '') throw bad(field, 'a non-empty string');
  }
  if (!/^[A-Za-z0-9_-]{1,32}$/.test(config.name)) throw bad('name', '1 to 32 letters, digits, "-" or "_"');
  for (const field of ['dir', 'socketDir', 'secretFile'] as const) {
    if (!path.isAbsolute(config[field])) throw bad(field, 'an absolute path');
  }
  if (!COMPUTE_ROLES.includes(config.role)) throw bad('role', COMPUTE_ROLES.join(' or '));
  if (typeof config.yields !== 'boolean' || typeof config.failover.enabled !== 'boolean')
    throw bad('yields and failover.enabled', 'true or false');
  const { priority, silentMs, cutOffMs, turnMs } = config.failover;
  if (!Number.isInteger(priority) || priority < 0 || priority > 100)
    throw bad('failover.priority', 'a whole number from 0 to 100');
  if (![silentMs, cutOffMs, turnMs].every((ms) => Number.isInteger(ms) && ms >= 100))
    throw bad('failover', 'times of 100 milliseconds or more');
  if (Buffer.byteLength(config.socketDir) > MAX_SOCKET_DIR)
    throw bad('socketDir', `at most ${MAX_SOCKET_DIR} bytes long (the limit of unix socket names)`);
  if (!isPort(config.port)) throw bad('port', 'a port number');
  if (config.metricsPort !== null && !isPort(config.metricsPort))
    throw bad('metricsPort', 'a port number or null');
  const { voters, write, read } = config.quorum ?? {};
  if (![voters, write, read].every((n) => Number.isInteger(n) && n > 0))
    throw bad('quorum', '{ voters, write, read } in whole numbers');
  if (!Array.isArray(config.storage) || config.storage.length !== voters)
    throw bad('storage', `a list of ${voters} nodes`);
  for (const node of config.storage) {
    if (typeof node?.id !== 'string' || typeof node.host !== 'string' || !isPort(node.port))
      throw bad('storage', 'a list of { id, host, port }');
  }
  if (!isRoutes(config.routes, isPort)) throw bad('routes', 'an object of { host, port } by node id');
  if (typeof config.allowPlaintext !== 'boolean') throw bad('allowPlaintext', 'true or false');
  config.tls = tlsFilesOf(config.tls, (name) => path.resolve(path.dirname(file), name));
  for (const node of routed(config.storage, config.routes))
    requireTls(`storage node ${node.id}:`, node.host, config.tls, config.allowPlaintext);
  if (new Set(config.storage.map((node) => node.id)).size !== voters)
    throw bad('storage', 'a list of nodes with different ids');
  for (const field of ['pgBindir', 'runAs', 'postgresLog'] as const) {
    if (config[field] !== null && typeof config[field] !== 'string') throw bad(field, 'text or null');
  }
  if (!LOG_LEVELS.includes(config.logLevel)) throw bad('logLevel', `one of ${LOG_LEVELS.join(', ')}`);
  if (!Number.isInteger(config.electTimeoutMs) || config.electTimeoutMs <= 0)
    throw bad('electTimeoutMs', 'a number of milliseconds above 0');
  for (const field of ['lagBytes', 'bytesPerSecondMin'] as const) {
    const value = config.backPressure[field];
    if (typeof value !== 'number' || !(value > 0)) throw bad(`backPressure.${field}`, 'a positive number');
  }
  if (
    typeof config.settings !== 'object' ||
    config.settings === null ||
    Array.isArray(config.settings) ||
    Object.values(config.settings).some((v) => typeof v !== 'string')
  )
    throw bad('settings', 'an object of strings');
  return config;
}

function isPort(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) > 0 && (value as number) < 65536;
}
