import { connect, type ResolvedConnection } from './connection.js';
import { isDbError } from '../engine/errors.js';
import { EXIT_LOST, PsqlExit, type Session } from './session.js';
import { Wire } from './wire.js';

/** Connects, asking for a password where the session allows it; the server and the password that worked are kept in `target`. Throws PSQL_CONNECT. */
export async function openWire(session: Session, target: ResolvedConnection): Promise<Wire> {
  const wires: Wire[] = []; // one for each attempt: a password may have to be asked for
  const always = session.passwordMode === 'always';
  const client = await connect(target, {
    forcePassword: always,
    neverPassword: session.passwordMode === 'never',
    askPassword: async (user) => {
      const answer = await session.ask(always ? 'Password: ' : `Password for user ${user}: `, false);
      return answer ?? '';
    },
    onClient: (attempt) => wires.push(Wire.attach(attempt)),
    warn: (message) => session.io.stderr.write(`${message}\n`),
  });
  return wires.find((wire) => wire.client === client)!;
}

/** Where to go again: to the primary of the cluster that was connected to without saying where, though another compute may be that by now. */
export function afterFailover(session: Session, target: ResolvedConnection): ResolvedConnection {
  const before = session.fallback;
  if (!before || target.host !== before.host || target.port !== before.port) return target;
  const now = session.findFallback() ?? before;
  session.fallback = now;
  const { host, port } = now;
  return { ...target, host, port, servers: [{ host, hostaddr: null, port }] };
}

const SERVER_GONE =
  'server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally\n\tbefore or while processing the request.';

/**
 * After the server went away: a script ends with status 2; at a prompt we try once to get back in, else go on unconnected.
 */
export async function serverGone(session: Session): Promise<void> {
  session.info(SERVER_GONE);
  if (!session.isInteractive) {
    session.error('connection to server was lost');
    throw new PsqlExit(EXIT_LOST);
  }
  session.io.stderr.write('The connection to the server was lost. Attempting reset: ');
  const target = afterFailover(session, session.target!);
  try {
    const wire = await openWire(session, target);
    session.io.stderr.write('Succeeded.\n');
    session.adopt(wire, target);
  } catch (err) {
    if (!isDbError(err)) throw err;
    session.io.stderr.write('Failed.\n');
    session.disown();
  }
}
