import os from 'node:os';
import pg from 'pg';
import { DbError, errorMessage } from '../engine/errors.js';

/** Where and as whom to connect, as libpq's programs are told: flags, then environment, then the cluster of AURORA_HOME. */
export interface ConnectionOptions {
  host?: string | undefined;
  port?: number | undefined;
  user?: string | undefined;
  /** A database name, or a connection URI or "key=value" string, as libpq takes it in this place. */
  dbname?: string | undefined;
  /** -W: ask before connecting. */
  forcePassword?: boolean;
  /** -w: never ask. */
  neverPassword?: boolean;
  askPassword?: (user: string) => Promise<string>;
  applicationName?: string;
  /** Sees each client before it connects. */
  onClient?: (client: pg.Client) => void;
}

/** A cluster that this machine knows, as a place to connect to when nothing else is said. */
export interface DefaultServer {
  host: string;
  port: number;
  user: string;
}

export interface ResolvedConnection {
  host: string;
  port: number;
  user: string;
  database: string;
  password: string | undefined;
  /** Options of the connection string that are not about where to connect. */
  extra: pg.ClientConfig;
}

/** Puts together what to connect to. Throws USAGE_CONNECTION on a malformed string. */
export function resolveConnection(
  options: ConnectionOptions,
  env: NodeJS.ProcessEnv,
  fallback: DefaultServer | null,
): ResolvedConnection {
  const given = parseConnectionString(options.dbname);
  const usesFallback = options.host === undefined && given.host === undefined && !env['PGHOST'];
  const server = usesFallback ? fallback : null;
  const host = options.host ?? given.host ?? (env['PGHOST'] || undefined) ?? server?.host ?? 'localhost';
  const port = options.port ?? given.port ?? (Number(env['PGPORT']) || undefined) ?? server?.port ?? 5432;
  const user =
    options.user ?? given.user ?? (env['PGUSER'] || undefined) ?? server?.user ?? os.userInfo().username;
  const database = given.database ?? (env['PGDATABASE'] || undefined) ?? user;
  const password = given.password ?? (env['PGPASSWORD'] || undefined);
  const mode = given.sslmode ?? env['PGSSLMODE'];
  const extra: pg.ClientConfig = {};
  if (mode === 'require') extra.ssl = { rejectUnauthorized: false };
  else if (mode === 'verify-ca' || mode === 'verify-full') extra.ssl = true;
  const optionsText = [given.options ?? env['PGOPTIONS'] ?? '', ...settingsFromEnv(env)].join(' ').trim();
  if (optionsText) extra.options = optionsText;
  const timeout = Number(given.connectTimeout ?? env['PGCONNECT_TIMEOUT']);
  if (timeout > 0) extra.connectionTimeoutMillis = timeout * 1000;
  extra.application_name = given.applicationName ?? env['PGAPPNAME'] ?? options.applicationName ?? 'aurora';
  return { host, port, user, database, password, extra };
}

/** Settings that libpq takes from the environment. */
function settingsFromEnv(env: NodeJS.ProcessEnv): string[] {
  const names = { PGDATESTYLE: 'datestyle', PGTZ: 'timezone', PGGEQO: 'geqo' };
  return Object.entries(names).flatMap(([variable, setting]) => {
    const value = env[variable];
    return value ? [`-c ${setting}=${value.replace(/[\\\s]/g, '\\$&')}`] : [];
  });
}

/** Connects; asks for a password when the server wants one and asking is allowed. Throws PSQL_CONNECT in psql's words. */
export async function connect(target: ResolvedConnection, options: ConnectionOptions): Promise<pg.Client> {
  let { password } = target;
  if (options.forcePassword && options.askPassword) password = await options.askPassword(target.user);
  for (let asked = options.forcePassword ?? false; ; asked = true) {
    const { host, port, user, database, extra } = target;
    const client = new pg.Client({
      ...extra,
      host,
      port,
      user,
      database,
      ...(password === undefined ? {} : { password }),
    });
    options.onClient?.(client);
    try {
      await client.connect();
      return client;
    } catch (err) {
      await client.end().catch(() => undefined); // the failure to report is the one before
      const wantsPassword =
        /password/i.test(errorMessage(err)) && (password === undefined || password === '');
      if (asked || !wantsPassword || options.neverPassword || !options.askPassword)
        throw connectError(target, err);
      password = await options.askPassword(user);
    }
  }
}

const REASONS: Record<string, string> = {
  ECONNREFUSED: 'Connection refused',
  ENOENT: 'No such file or directory',
  EACCES: 'Permission denied',
  ETIMEDOUT: 'Connection timed out',
  EHOSTUNREACH: 'No route to host',
  ENETUNREACH: 'Network is unreachable',
  ECONNRESET: 'Connection reset by peer',
};

function connectError(target: ResolvedConnection, err: unknown): DbError {
  const { host } = target;
  // A name with several addresses: one failure each.
  const failures = err instanceof AggregateError ? (err.errors as unknown[]) : [err];
  const message =
    (err as NodeJS.ErrnoException).code === 'ENOTFOUND'
      ? `could not translate host name "${host}" to address: Name or service not known`
      : failures.map((failure) => connectFailure(target, failure)).join('\n');
  return new DbError('PSQL_CONNECT', message, { reaction: 'usage', cause: err });
}

/** One failed attempt, in libpq's words. */
function connectFailure({ host, port }: ResolvedConnection, err: unknown): string {
  const { code, address, severity } = err as NodeJS.ErrnoException & { address?: string; severity?: string };
  const local = host.startsWith('/');
  const resolved = !local && address !== undefined && address !== host ? ` (${address})` : '';
  const where = local
    ? `connection to server on socket "${host}/.s.PGSQL.${port}" failed`
    : `connection to server at "${host}"${resolved}, port ${port} failed`;
  const reason = code === undefined ? undefined : REASONS[code];
  if (reason !== undefined) {
    const question = local
      ? 'Is the server running locally and accepting connections on that socket?'
      : 'Is the server running on that host and accepting TCP/IP connections?';
    return `${where}: ${reason}\n\t${question}`;
  }
  const noPassword = /password must be a (non-empty )?string/.test(errorMessage(err));
  if (noPassword) return `${where}: fe_sendauth: no password supplied`;
  return `${where}: ${severity ? `${severity}:  ` : ''}${errorMessage(err)}`;
}

interface Given {
  host?: string;
  port?: number;
  user?: string;
  password?: string;
  database?: string;
  sslmode?: string;
  options?: string;
  connectTimeout?: string;
  applicationName?: string;
}

const KEYWORDS: Record<string, keyof Given> = {
  host: 'host',
  hostaddr: 'host',
  port: 'port',
  user: 'user',
  password: 'password',
  dbname: 'database',
  sslmode: 'sslmode',
  options: 'options',
  connect_timeout: 'connectTimeout',
  application_name: 'applicationName',
};

/** libpq's rule: a value with "=" or a URI scheme is a connection string, anything else a database name. */
function parseConnectionString(text: string | undefined): Given {
  if (text === undefined) return {};
  if (/^postgres(ql)?:\/\//.test(text)) return parseUri(text);
  if (!text.includes('=')) return { database: text };
  const given: Given = {};
  const pair = /\s*(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|([^\s']*))\s*/gy;
  let at = 0;
  for (let match = pair.exec(text); match; match = pair.exec(text)) {
    set(given, match[1]!, match[2]?.replace(/\\(.)/g, '$1') ?? match[3] ?? '');
    at = pair.lastIndex;
  }
  if (at !== text.length)
    throw new DbError('USAGE_CONNECTION', `missing "=" after "${text.slice(at)}" in connection info string`);
  return given;
}

function parseUri(text: string): Given {
  const match =
    /^postgres(?:ql)?:\/\/(?:([^:@/]*)(?::([^@/]*))?@)?(?:(\[[^\]]+\]|[^:/?]*)(?::(\d*))?)?(?:\/([^?]*))?(?:\?(.*))?$/.exec(
      text,
    );
  if (!match)
    throw new DbError('USAGE_CONNECTION', `invalid connection URI: "${text.replace(/:[^:@/]*@/, ':***@')}"`);
  const given: Given = {};
  const [, user, password, host, port, database, query] = match;
  if (user) set(given, 'user', decodeURIComponent(user));
  if (password) set(given, 'password', decodeURIComponent(password));
  if (host) set(given, 'host', decodeURIComponent(host.replace(/^\[|\]$/g, '')));
  if (port) set(given, 'port', port);
  if (database) set(given, 'dbname', decodeURIComponent(database));
  for (const [key, value] of new URLSearchParams(query ?? '')) set(given, key, value);
  return given;
}

function set(given: Given, keyword: string, value: string): void {
  const key = KEYWORDS[keyword];
  if (!key) throw new DbError('USAGE_CONNECTION', `invalid connection option "${keyword}"`);
  if (key === 'port') given.port = parsePort(value);
  else given[key] = value;
}

/** A port as text. Throws USAGE_CONNECTION. */
export function parsePort(text: string): number {
  if (!/^\s*\d+\s*$/.test(text))
    throw new DbError('USAGE_CONNECTION', `invalid integer value "${text}" for connection option "port"`);
  const port = Number(text);
  if (port < 1 || port > 65535) throw new DbError('USAGE_CONNECTION', `invalid port number: "${text}"`);
  return port;
}
