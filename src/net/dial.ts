import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { WebSocket } from 'ws';
import { DbError, errorMessage } from '../engine/errors.js';
import { NONCE_BYTES, handshakeMac, newNonce, sameMac, type Handshake } from './auth.js';
import { Connection, type KeepAlive } from './connection.js';
import * as m from './messages.js';
import type { Role } from './node-status.js';
import { channelOf, identityError, serverIdentityCheck, tlsFailure, type TlsCredentials } from './tls.js';
import type { Of, Shape } from './wire.js';

export interface Endpoint {
  host: string;
  port: number;
}

export interface DialOptions {
  secret: Buffer;
  volumeId: string;
  role: Role;
  /** Who we are, for the node's log and status (compute name, node id). */
  clientId: string;
  /** Speak TLS, and nothing else; null or absent: plain text. */
  tls?: TlsCredentials | null | undefined;
  /** Refuse any other node at this address; default: any node of the volume. */
  nodeId?: string;
  connectTimeoutMs?: number;
  keepAlive?: KeepAlive;
  /** Ends an attempt to connect; later it has no effect. */
  signal?: AbortSignal;
}

const DEFAULT_KEEP_ALIVE: KeepAlive = { pingMs: 2000, deadMs: 10_000 };

/**
 * The calling end: connects and authenticates. Throws NET_CONNECT, NET_TIMEOUT, NET_AUTH, NET_WRONG_VOLUME, NET_WRONG_NODE, NET_BUSY,
 * WIRE_VERSION, and NET_TLS_* when one side speaks TLS and the other does not, or a certificate is not good enough.
 */
export async function dial(
  endpoint: Endpoint,
  options: DialOptions,
): Promise<{ connection: Connection; nodeId: string }> {
  const where = `${endpoint.host}:${endpoint.port}`;
  const timeoutMs = options.connectTimeoutMs ?? 5000;
  const ws = new WebSocket(urlOf(endpoint, options.tls ? 'wss' : 'ws'), {
    perMessageDeflate: false,
    maxPayload: m.FRAME_BYTES_MAX,
    handshakeTimeout: timeoutMs,
    // Masks protect proxies from browsers. Between daemons they would cost a copy of every log byte; all zero is legal.
    generateMask: (mask) => mask.fill(0),
    ...tlsOptions(options),
  });
  const connection = new Connection(ws, `storage node ${where}`, options.keepAlive ?? DEFAULT_KEEP_ALIVE);
  let socket: TLSSocket | null = null;
  ws.once('upgrade', (response) => {
    if (options.tls) socket = response.socket as TLSSocket;
  });
  ws.once('unexpected-response', (request, response) => {
    connection.destroy(refusalOf(response, where));
    request.destroy();
  });
  const opened = new Promise<void>((resolve) => ws.once('open', () => resolve()));
  const closed = new Promise<never>((_, reject) =>
    connection.once('close', (err) => reject(err ?? new DbError('NET_CLOSED', `${where} was closed`))),
  );
  closed.catch(() => undefined); // raced below; later closes are the client's business
  const timer = setTimeout(
    () => connection.destroy(new DbError('NET_TIMEOUT', `no answer from ${where} within ${timeoutMs} ms`)),
    timeoutMs,
  );
  const abort = (): void =>
    connection.destroy(new DbError('NET_CLOSED', `connecting to ${where} was given up`));
  options.signal?.addEventListener('abort', abort, { once: true });
  try {
    await Promise.race([opened, closed]);
    return { connection, nodeId: await authenticate(connection, closed, options, socket) };
  } catch (err) {
    connection.destroy();
    throw err instanceof DbError && err.code === 'NET_FAILED' ? connectError(err, where) : err;
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener('abort', abort);
  }
}

function urlOf({ host, port }: Endpoint, scheme: string): string {
  return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}/`;
}

/** For tls.connect, below ws. */
function tlsOptions({ tls, nodeId }: DialOptions): object {
  if (!tls) return {};
  tls.refresh();
  return { ...tls.context, rejectUnauthorized: true, checkServerIdentity: serverIdentityCheck(nodeId) };
}

/** The node answered, but with no for an answer: the code is in a header. */
function refusalOf(response: IncomingMessage, where: string): DbError {
  const code = response.headers['x-aurora-code'];
  switch (code) {
    case 'NET_TLS_REQUIRED':
      return new DbError(code, `storage node ${where} speaks TLS only`, {
        hint: 'Give this side a certificate of the cluster ("tls" in its configuration): aurora cert issue',
      });
    case 'NET_TLS_CERTIFICATE':
    case 'NET_TLS_IDENTITY':
      return new DbError(code, `storage node ${where} does not accept our certificate`, {
        hint: "The node's log says why. Compare the authorities on both sides, and the dates: aurora cert list",
      });
    case 'NET_BUSY':
      return new DbError(code, `storage node ${where} takes no connections now`);
    default:
      return new DbError('NET_CONNECT', `cannot connect to ${where}: HTTP status ${response.statusCode}`);
  }
}

function connectError(err: DbError, where: string): DbError {
  const cause = err.cause instanceof Error ? err.cause : err;
  return (
    tlsFailure(cause, `storage node ${where}`) ??
    new DbError('NET_CONNECT', `cannot connect to ${where}: ${errorMessage(cause)}`, { cause: err })
  );
}

/** The client's half of auth.ts; returns the node's name. */
async function authenticate(
  connection: Connection,
  closed: Promise<never>,
  options: DialOptions,
  socket: TLSSocket | null,
): Promise<string> {
  const next = async <S extends Shape>(message: m.Message<S>): Promise<Of<S>> => {
    const frame = await Promise.race([
      new Promise<m.Frame>((resolve) => connection.once('frame', resolve)),
      closed,
    ]);
    if (!m.isFrameOf(frame, message))
      throw new DbError(
        'NET_PROTOCOL',
        `expected ${message.name} in the handshake, got ${frame.message.name}`,
      );
    return frame.body;
  };
  const { volumeId, role, clientId, secret, nodeId: wantedId = '' } = options;
  const clientNonce = newNonce();
  connection.send(m.Hello, { volumeId, role, clientId, nodeId: wantedId, nonce: clientNonce });
  const { nodeId, nonce: nodeNonce } = await next(m.Challenge);
  // Before our proof leaves: somebody could pass it on to the node that it names.
  if (wantedId !== '' && wantedId !== nodeId)
    throw new DbError('NET_WRONG_NODE', `${connection.peerName} says that it is not node ${wantedId}`);
  if (nodeNonce.length !== NONCE_BYTES)
    throw new DbError('NET_PROTOCOL', `${connection.peerName} sent a malformed Challenge`);
  if (socket) {
    const err = identityError(socket.getPeerCertificate(), `node:${nodeId}`, connection.peerName);
    if (err) throw err;
  }
  const channel = socket ? channelOf(socket) : Buffer.alloc(0);
  const about: Handshake = { volumeId, role, clientId, wantedId, nodeId, clientNonce, nodeNonce, channel };
  connection.send(m.Authenticate, { mac: handshakeMac(secret, 'client', about) });
  const welcome = await next(m.Welcome);
  if (!sameMac(welcome.mac, handshakeMac(secret, 'node', about)))
    throw new DbError('NET_AUTH', `${connection.peerName} does not know the cluster secret`, {
      reaction: 'usage',
    });
  return nodeId;
}
