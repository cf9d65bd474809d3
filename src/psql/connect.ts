/** Connects as libpq does: server after server, with and without TLS, until one answers that is as wished for. */
import pg from 'pg';
import { DbError, errorMessage } from '../engine/errors.js';
import type { ConnectionOptions, ResolvedConnection, ServerAddress, SessionWish } from './connection.js';
import { passwordFromFile } from './passfile.js';
import { tlsAttempts, tlsOptions } from './tls-options.js';

/**
 * Asks for a password when the server wants one and asking is allowed. The server that answered becomes the target's host and
 * port. Throws PSQL_CONNECT in psql's words: a line or two for each server that was tried.
 */
export async function connect(target: ResolvedConnection, options: ConnectionOptions): Promise<pg.Client> {
  let asked: string | undefined;
  if (options.forcePassword && options.askPassword) asked = await options.askPassword(target.user);
  for (;;) {
    const round = new Round(target, options, asked ?? target.password);
    const client = await round.run();
    if (client) {
      if (round.usedPassword !== null) target.password = round.usedPassword;
      return client;
    }
    const mayAsk = options.askPassword && !options.neverPassword && asked === undefined;
    if (!round.wantsPassword || !mayAsk)
      throw new DbError('PSQL_CONNECT', round.failures.join('\n'), { reaction: 'usage', cause: round.cause });
    asked = await options.askPassword!(target.user);
  }
}

/** Signals that the server asks for a password which nobody gave. */
class NoPassword extends Error {
  constructor() {
    super('fe_sendauth: no password supplied');
  }
}

/** "Not now" (starting, shutting down, in recovery): the one answer of a server after which another may be tried. */
const CANNOT_CONNECT_NOW = '57P03';
/** Refused for who and whence we are: with TLS, or without, it may be otherwise. */
const INVALID_AUTHORIZATION = '28000';

/** One walk over all servers with one password. */
class Round {
  readonly failures: string[] = [];
  wantsPassword = false;
  usedPassword: string | null = null;
  cause: unknown;
  /** A server said no: the others are not asked. */
  private isOver = false;

  constructor(
    private readonly target: ResolvedConnection,
    private readonly options: ConnectionOptions,
    private readonly password: string | undefined,
  ) {}

  async run(): Promise<pg.Client | null> {
    const { servers, balance, wish } = this.target;
    const order = balance ? shuffled(servers) : servers;
    const passes: SessionWish[] = wish === 'prefer-standby' ? ['standby', 'any'] : [wish];
    for (const pass of passes) {
      if (passes.length > 1 && pass === 'any') this.failures.length = 0; // they said only "no standby"
      for (const server of order) {
        const client = await this.tryServer(server, pass);
        if (client || this.isOver) return client;
      }
    }
    return null;
  }

  private async tryServer(server: ServerAddress, wish: SessionWish): Promise<pg.Client | null> {
    const ways = tlsAttempts(this.target.ssl, server.host);
    for (const [i, tls] of ways.entries()) {
      const attempt = await this.tryOnce(server, tls);
      if ('error' in attempt) {
        if (this.mayHelp(tls, attempt.error) && i + 1 < ways.length) {
          if (severityOf(attempt.error) !== undefined)
            this.failures.push(connectFailure(server, attempt.error));
          continue;
        }
        this.failed(server, attempt.error);
        return null;
      }
      const { client, parameters } = attempt;
      const problem = await sessionProblem(client, parameters, wish);
      if (problem === null) {
        this.target.host = server.host;
        this.target.port = server.port;
        return client;
      }
      await client.end();
      this.failures.push(`${where(server, null)}: ${problem}`);
      return null;
    }
    return null;
  }

  private async tryOnce(
    server: ServerAddress,
    tls: boolean,
  ): Promise<{ client: pg.Client; parameters: Map<string, string> } | { error: unknown }> {
    const { user, database, extra, ssl, parameters: given, env } = this.target;
    const client = new pg.Client({
      ...extra,
      host: server.hostaddr ?? server.host,
      port: server.port,
      user,
      database,
      password: () => this.passwordFor(server),
      ssl: tls ? tlsOptions(ssl, server.host, given, env) : false,
    });
    const parameters = new Map<string, string>();
    client.connection.on('parameterStatus', (message: { parameterName: string; parameterValue: string }) =>
      parameters.set(message.parameterName, message.parameterValue),
    );
    this.options.onClient?.(client);
    try {
      await client.connect();
      return { client, parameters };
    } catch (err) {
      await client.end().catch(() => undefined); // the failure to report is the one before
      return { error: err };
    }
  }

  /** Whether what failed with TLS (or without) may go well the other way. */
  private mayHelp(tls: boolean, err: unknown): boolean {
    if (severityOf(err) !== undefined) return (err as { code?: string }).code === INVALID_AUTHORIZATION;
    return tls && isTlsTrouble(err);
  }

  private failed(server: ServerAddress, err: unknown): void {
    this.cause = err;
    const isAnswer = severityOf(err) !== undefined;
    const isNoPassword = err instanceof NoPassword;
    if (isNoPassword || (isAnswer && this.noPasswordGiven && /password/i.test(errorMessage(err))))
      this.wantsPassword = true;
    this.isOver ||= isNoPassword || (isAnswer && (err as { code?: string }).code !== CANNOT_CONNECT_NOW);
    this.failures.push(connectFailure(server, err));
  }

  private get noPasswordGiven(): boolean {
    return this.usedPassword === null || this.usedPassword === '';
  }

  /** Called when a server asks for one. */
  private passwordFor({ host, port }: ServerAddress): string {
    const { user, database, parameters, env } = this.target;
    const place = { host, port, database, user };
    const password =
      this.password ??
      passwordFromFile(place, parameters.passfile, env, (message) => this.options.warn?.(message));
    if (password === null || password === '') throw new NoPassword();
    this.usedPassword = password;
    return password;
  }
}

function shuffled<T>(list: readonly T[]): T[] {
  const mixed = [...list];
  for (let i = mixed.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [mixed[i], mixed[j]] = [mixed[j]!, mixed[i]!];
  }
  return mixed;
}

/** Why this server is not what was wished for; null when it is. */
async function sessionProblem(
  client: pg.Client,
  parameters: Map<string, string>,
  wish: SessionWish,
): Promise<string | null> {
  if (wish === 'any' || wish === 'prefer-standby') return null;
  const standby = await isOn(client, parameters, 'in_hot_standby', 'pg_catalog.pg_is_in_recovery()');
  if (wish === 'primary') return standby ? 'server is in hot standby mode' : null;
  if (wish === 'standby') return standby ? null : 'server is not in hot standby mode';
  const setting = "pg_catalog.current_setting('default_transaction_read_only')";
  const readOnly = standby || (await isOn(client, parameters, 'default_transaction_read_only', setting));
  if (wish === 'read-write') return readOnly ? 'session is read-only' : null;
  return readOnly ? null : 'session is not read-only';
}

/** A setting that servers since PostgreSQL 14 report by themselves, and that others must be asked for. */
async function isOn(
  client: pg.Client,
  parameters: Map<string, string>,
  name: string,
  expression: string,
): Promise<boolean> {
  const known = parameters.get(name);
  if (known !== undefined) return known === 'on';
  const { rows } = await client.query<{ value: string }>(`SELECT ${expression}::pg_catalog.text AS value`);
  return rows[0]!.value === 'on' || rows[0]!.value === 'true';
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

/** Set on what the server said itself. */
function severityOf(err: unknown): string | undefined {
  return (err as { severity?: string }).severity;
}

/** The server takes no TLS, or the two could not agree on it. */
function isTlsTrouble(err: unknown): boolean {
  return /SSL|TLS/i.test(`${(err as NodeJS.ErrnoException).code ?? ''} ${errorMessage(err)}`);
}

function where({ host, hostaddr, port }: ServerAddress, address: string | null): string {
  const shown = hostaddr ?? host;
  if (shown.startsWith('/')) return `connection to server on socket "${shown}/.s.PGSQL.${port}" failed`;
  const resolved = address !== null && address !== shown ? ` (${address})` : '';
  return `connection to server at "${shown}"${resolved}, port ${port} failed`;
}

/** A failed attempt in libpq's words; a name with several addresses has one failure each. */
function connectFailure(server: ServerAddress, err: unknown): string {
  const { code } = err as NodeJS.ErrnoException;
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return `could not translate host name "${server.host}" to address: ${code === 'ENOTFOUND' ? 'Name or service not known' : 'Temporary failure in name resolution'}`;
  const failures = err instanceof AggregateError ? (err.errors as unknown[]) : [err];
  return failures.map((failure) => oneFailure(server, failure)).join('\n');
}

function oneFailure(server: ServerAddress, err: unknown): string {
  const { code, address, severity } = err as NodeJS.ErrnoException & { address?: string; severity?: string };
  const isSocket = server.host.startsWith('/');
  const place = where(server, isSocket ? null : (address ?? null));
  const reason = code === undefined ? undefined : REASONS[code];
  if (reason !== undefined) {
    const question = isSocket
      ? 'Is the server running locally and accepting connections on that socket?'
      : 'Is the server running on that host and accepting TCP/IP connections?';
    return `${place}: ${reason}\n\t${question}`;
  }
  if (/does not support SSL/.test(errorMessage(err)))
    return `${place}: server does not support SSL, but SSL was required`;
  return `${place}: ${severity ? `${severity}:  ` : ''}${errorMessage(err)}`;
}
