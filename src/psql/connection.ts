/** Where and as whom to connect, as libpq's programs are told: flags, then connection string, environment, and the cluster of AURORA_HOME. */
import os from 'node:os';
import type pg from 'pg';
import { DbError } from '../engine/errors.js';
import { parametersFromEnv, parseConnectionString, type ConnectionParameters } from './connection-string.js';
import { sslMode, type SslMode } from './tls-options.js';

export { connect } from './connect.js';

export interface ConnectionOptions {
  /** May be several, with commas between; so may ports. */
  host?: string | undefined;
  port?: number | string | undefined;
  user?: string | undefined;
  /** A database name, or a connection URI or "key=value" string, as libpq takes it in this place. */
  dbname?: string | undefined;
  /** -W: ask before connecting. */
  forcePassword?: boolean;
  /** -w: never ask. */
  neverPassword?: boolean;
  askPassword?: (user: string) => Promise<string>;
  applicationName?: string;
  /** Settings (-c NAME=VALUE) that the session begins with; those of the user come after them. */
  sessionOptions?: string;
  /** Sees each client before it connects. */
  onClient?: (client: pg.Client) => void;
  /** Hears what is wrong but does not stop us. */
  warn?: (message: string) => void;
}

/** A cluster that this machine knows, as a place to connect to when nothing else is said. */
export interface DefaultServer {
  host: string;
  port: number;
  user: string;
}

/** One server of possibly several: its name as given, the address in place of it (hostaddr), its port. */
export interface ServerAddress {
  host: string;
  hostaddr: string | null;
  port: number;
}

const SESSION_WISHES = ['any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby'] as const;
/** target_session_attrs: what the server must be, for it not to be passed over. */
export type SessionWish = (typeof SESSION_WISHES)[number];

export interface ResolvedConnection {
  /** The server that we are connected to, or the first that is tried. */
  host: string;
  port: number;
  user: string;
  database: string;
  password: string | undefined;
  /** Tried in this order, or in any (`balance`), until one answers that is as wished for. */
  servers: ServerAddress[];
  wish: SessionWish;
  balance: boolean;
  ssl: SslMode;
  /** The rest: certificates, password file. */
  parameters: ConnectionParameters;
  env: NodeJS.ProcessEnv;
  /** Options of the connection string that are not about where to connect. */
  extra: pg.ClientConfig;
}

/** Puts together what to connect to. Throws USAGE_CONNECTION on a malformed string. */
export function resolveConnection(
  options: ConnectionOptions,
  env: NodeJS.ProcessEnv,
  fallback: DefaultServer | null,
): ResolvedConnection {
  const string = options.dbname === undefined ? {} : parseConnectionString(options.dbname);
  const given: ConnectionParameters = { ...parametersFromEnv(env), ...definedOf(string) };
  const hostText = options.host ?? given.host;
  const usesFallback = hostText === undefined && given.hostaddr === undefined;
  const server = usesFallback ? fallback : null;
  const portText = options.port ?? given.port;
  const servers = serverAddresses(
    hostText ?? server?.host,
    given.hostaddr,
    portText === undefined ? (server?.port ?? 5432) : portText,
  );
  const { host, port } = servers[0]!;
  const user = options.user ?? given.user ?? server?.user ?? os.userInfo().username;
  return {
    host,
    port,
    user,
    database: given.dbname ?? user,
    password: given.password,
    servers,
    wish: choose('target_session_attrs', given.target_session_attrs, SESSION_WISHES),
    balance: choose('load_balance_hosts', given.load_balance_hosts, ['disable', 'random']) === 'random',
    ssl: sslMode(given),
    parameters: given,
    env,
    extra: clientOptions(given, env, options),
  };
}

/** Empty values in a string leave what the environment says. */
function definedOf(given: ConnectionParameters): ConnectionParameters {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== ''));
}

function choose<T extends string>(keyword: string, value: string | undefined, choices: readonly T[]): T {
  const chosen = choices.find((choice) => choice === (value ?? choices[0]));
  if (chosen === undefined) throw new DbError('USAGE_CONNECTION', `invalid ${keyword} value: "${value}"`);
  return chosen;
}

function clientOptions(
  given: ConnectionParameters,
  env: NodeJS.ProcessEnv,
  { applicationName, sessionOptions = '' }: ConnectionOptions,
): pg.ClientConfig {
  const extra: pg.ClientConfig = {};
  const optionsText = [sessionOptions, given.options ?? '', ...settingsFromEnv(env)].join(' ').trim();
  if (optionsText) extra.options = optionsText;
  if (given.connect_timeout !== undefined) {
    const seconds = integer('connect_timeout', given.connect_timeout);
    if (seconds > 0) extra.connectionTimeoutMillis = Math.max(seconds, 2) * 1000; // libpq's least
  }
  extra.application_name =
    given.application_name ?? applicationName ?? given.fallback_application_name ?? 'aurora';
  return extra;
}

/** Settings that libpq takes from the environment. */
function settingsFromEnv(env: NodeJS.ProcessEnv): string[] {
  const names = { PGDATESTYLE: 'datestyle', PGTZ: 'timezone', PGGEQO: 'geqo' };
  return Object.entries(names).flatMap(([variable, setting]) => {
    const value = env[variable];
    return value ? [`-c ${setting}=${value.replace(/[\\\s]/g, '\\$&')}`] : [];
  });
}

const DEFAULT_HOST = 'localhost';

/** Hosts, addresses and ports that belong together. */
function serverAddresses(
  hosts: string | undefined,
  hostaddrs: string | undefined,
  ports: string | number,
): ServerAddress[] {
  const addresses = hostaddrs?.split(',');
  const names = hosts?.split(',') ?? addresses ?? [DEFAULT_HOST];
  if (addresses && addresses.length !== names.length)
    throw usage(`could not match ${names.length} host names to ${addresses.length} hostaddr values`);
  const portList = String(ports).split(',');
  if (portList.length > 1 && portList.length !== names.length)
    throw usage(`could not match ${portList.length} port numbers to ${names.length} hosts`);
  return names.map((name, i) => ({
    host: name || addresses?.[i] || DEFAULT_HOST,
    hostaddr: addresses?.[i] || null,
    port: parsePort((portList.length > 1 ? portList[i] : portList[0]) || '5432'),
  }));
}

function usage(message: string): DbError {
  return new DbError('USAGE_CONNECTION', message);
}

function integer(keyword: string, text: string): number {
  if (!/^\s*[+-]?\d+\s*$/.test(text))
    throw usage(`invalid integer value "${text}" for connection option "${keyword}"`);
  return Number(text);
}

/** A port as text. Throws USAGE_CONNECTION. */
export function parsePort(text: string): number {
  const port = integer('port', text);
  if (port < 1 || port > 65535) throw usage(`invalid port number: "${text}"`);
  return port;
}
