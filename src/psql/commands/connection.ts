/** \connect, \conninfo, \password, \encoding. */
import { resolveConnection, type ResolvedConnection } from '../connection.js';
import {
  isConnectionString,
  parseConnectionString,
  type ConnectionParameters,
} from '../connection-string.js';
import { errorMessage, isDbError } from '../../engine/errors.js';
import { tableOf } from '../print/types.js';
import { afterFailover, openWire } from '../reconnect.js';
import { execute } from '../run.js';
import type { Session } from '../session.js';
import { parseBoolean } from '../settings.js';
import type { SlashCommand, SlashContext, SlashResult } from '../slash.js';
import type { Wire } from '../wire.js';

/** An argument of \connect; "-" and nothing mean "as before". */
function connectArg(context: SlashContext): string | undefined {
  const arg = context.quotedArg('name-as-is', true);
  if (!arg || (arg.quote === '' && (arg.text === '' || arg.text === '-'))) return undefined;
  return arg.text;
}

async function runConnect(context: SlashContext): Promise<SlashResult> {
  const { session } = context;
  let dbname = connectArg(context);
  let reuse: boolean | null = null;
  if (dbname?.startsWith('-reuse-previous=')) {
    const word = dbname.slice('-reuse-previous='.length);
    reuse = parseBoolean(word);
    if (reuse === null) {
      session.error(`unrecognized value "${word}" for "-reuse-previous": Boolean expected`);
      return 'error';
    }
    dbname = connectArg(context);
  }
  const [user, host, port] = [connectArg(context), connectArg(context), connectArg(context)];
  const isString = dbname !== undefined && isConnectionString(dbname);
  if (isString && (user ?? host ?? port) !== undefined) {
    session.error('Do not give user, host, or port separately when using a connection string');
    return 'error';
  }
  let previous = (reuse ?? !isString) ? session.target : null;
  if ((reuse ?? !isString) && !previous) {
    session.error('No database connection exists to re-use parameters from');
    return 'error';
  }
  try {
    if (previous && !isString && (host ?? port) === undefined) previous = afterFailover(session, previous);
    const target = nextTarget(session, previous, { dbname, user, host, port }, isString);
    return await switchTo(session, target);
  } catch (err) {
    if (!isDbError(err)) throw err;
    return connectFailed(session, errorMessage(err));
  }
}

interface ConnectArgs {
  dbname: string | undefined;
  user: string | undefined;
  host: string | undefined;
  port: string | undefined;
}

/** What was said now, over what we were connected to. */
function nextTarget(
  session: Session,
  previous: ResolvedConnection | null,
  args: ConnectArgs,
  isString: boolean,
): ResolvedConnection {
  const { env } = session.io;
  if (!previous) return resolveConnection({ ...args, applicationName: 'psql' }, env, session.fallback);
  const given: ConnectionParameters = isString ? parseConnectionString(args.dbname!) : {};
  const bare = resolveConnection(
    {
      ...args,
      host: args.host ?? given.host ?? previous.host,
      port: args.port ?? given.port ?? previous.port,
      user: args.user ?? given.user ?? previous.user,
      applicationName: 'psql',
    },
    withoutTarget(env),
    null,
  );
  const sameServer = bare.host === previous.host && bare.port === previous.port;
  const namesDatabase = isString ? given.dbname : args.dbname;
  const servers = sameServer ? previous.servers : bare.servers;
  return {
    ...previous,
    host: servers[0]!.host,
    port: servers[0]!.port,
    servers,
    user: bare.user,
    database: namesDatabase ? bare.database : previous.database,
    password: bare.password ?? (sameServer && bare.user === previous.user ? previous.password : undefined),
    wish: given.target_session_attrs === undefined ? previous.wish : bare.wish,
    balance: given.load_balance_hosts === undefined ? previous.balance : bare.balance,
    ssl: given.sslmode === undefined ? previous.ssl : bare.ssl,
    parameters: { ...previous.parameters, ...given },
    extra: { ...previous.extra, ...(isString ? bare.extra : {}) },
  };
}

/** The environment without what would stand in the way of the previous connection's parameters. */
function withoutTarget(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const names = ['PGHOST', 'PGHOSTADDR', 'PGPORT', 'PGUSER', 'PGDATABASE', 'PGPASSWORD'];
  return Object.fromEntries(Object.entries(env).filter(([name]) => !names.includes(name)));
}

async function switchTo(session: Session, target: ResolvedConnection): Promise<SlashResult> {
  const { wire: oldWire, target: oldTarget } = session;
  const wire = await openWire(session, target);
  session.adopt(wire, target);
  if (!session.settings.quiet) {
    const moved = !oldWire || oldTarget!.host !== target.host || oldTarget!.port !== target.port;
    session.say(`You are now connected to database "${target.database}" as user "${target.user}"${moved ? where(wire, target) : ''}.\n`); // prettier-ignore
  }
  await oldWire?.close();
  return 'done';
}

function where(wire: Wire, { host, port }: ResolvedConnection): string {
  if (host.startsWith('/')) return ` via socket in "${host}" at port "${port}"`;
  const address = remoteAddress(wire);
  return address !== undefined && address !== host
    ? ` on host "${host}" (address "${address}") at port "${port}"`
    : ` on host "${host}" at port "${port}"`;
}

function remoteAddress(wire: Wire): string | undefined {
  return (wire.client.connection.stream as { remoteAddress?: string }).remoteAddress;
}

/** A script must not go on against the wrong database: there the old connection is closed. */
async function connectFailed(session: Session, message: string): Promise<SlashResult> {
  if (session.isInteractive) {
    session.info(message);
    if (session.wire) session.info('Previous connection kept');
    return 'error';
  }
  session.error(`\\connect: ${message}`);
  const old = session.wire;
  session.disown();
  session.target = null;
  await old?.close();
  return 'error';
}

async function runConninfo({ session }: SlashContext): Promise<SlashResult> {
  const { wire, target } = session;
  if (!wire || !target) {
    session.say('You are currently not connected to a database.\n');
    return 'done';
  }
  const isSocket = target.host.startsWith('/');
  const address = remoteAddress(wire);
  const stream = wire.client.connection.stream as {
    encrypted?: boolean;
    getProtocol?: () => string | null;
    getCipher?: () => { name: string };
    alpnProtocol?: string | false | null;
  };
  const isEncrypted = stream.encrypted === true;
  const rows = [
    ['Database', target.database],
    ['Client User', target.user],
    isSocket ? ['Socket Directory', target.host] : ['Host', target.host],
    ...(!isSocket && address !== undefined && address !== target.host ? [['Host Address', address]] : []),
    ['Server Port', String(target.port)],
    ['Options', String(target.extra.options ?? '')],
    ['Protocol Version', '3.0'],
    ['Password Used', String(wire.usedPassword)],
    ['GSSAPI Authenticated', 'false'],
    ['Backend PID', String(wire.processId)],
    ['SSL Connection', String(isEncrypted)],
    ...(isEncrypted
      ? [
          ['SSL Library', 'OpenSSL'],
          ['SSL Protocol', stream.getProtocol?.() ?? 'unknown'],
          ['SSL Cipher', stream.getCipher?.().name ?? 'unknown'],
          ['SSL Compression', 'false'],
          ['ALPN', stream.alpnProtocol || 'none'],
        ]
      : []),
    ['Superuser', wire.parameters.get('is_superuser') ?? 'unknown'],
    ['Hot Standby', wire.parameters.get('in_hot_standby') ?? 'unknown'],
  ];
  const table = tableOf(['Parameter', 'Value'], ['l', 'l'], rows);
  await session.printTable({ ...table, title: 'Connection Information' });
  return 'done';
}

async function runPassword(context: SlashContext): Promise<SlashResult> {
  const { session } = context;
  let user = context.arg('name', true);
  if (user === null) {
    const result = await execute(session, 'SELECT CURRENT_USER');
    if (!result) return 'error';
    user = result.rows[0]![0]!;
  }
  const password = await session.ask(`Enter new password for user "${user}": `, false);
  const again = password === null ? null : await session.ask('Enter it again: ', false);
  if (password === null || again === null) return 'error';
  if (password !== again) {
    session.error("Passwords didn't match.");
    return 'error';
  }
  const client = session.client;
  if (!client) return 'error';
  const { scramVerifier } = await import('../scram-verifier.js'); // the server, and its log, never see the password
  const secret = scramVerifier(password);
  const sql = `ALTER USER ${client.escapeIdentifier(user)} PASSWORD ${client.escapeLiteral(secret)}`;
  return (await execute(session, sql, { hidden: true })) ? 'done' : 'error';
}

/** Results are read as UTF-8, so no other client encoding can be had. */
function runEncoding(context: SlashContext): SlashResult {
  const { session } = context;
  const name = context.arg();
  if (name === null) {
    session.say(`${session.wire?.parameters.get('client_encoding') ?? 'UTF8'}\n`);
    return 'done';
  }
  if (/^utf-?8$|^unicode$/i.test(name)) return 'done';
  session.error(`${name}: only client encoding UTF8 is supported`);
  return 'error';
}

export const connectionCommands: Record<string, SlashCommand> = {
  c: { run: runConnect },
  connect: { run: runConnect },
  conninfo: { run: runConninfo },
  password: { run: runPassword },
  encoding: { run: runEncoding },
};
