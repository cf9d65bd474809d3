import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server as HttpServer,
  type ServerResponse,
} from 'node:http';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createServer as createTlsServer, type Server as TlsServer, type TLSSocket } from 'node:tls';
import { WebSocketServer, type WebSocket } from 'ws';
import { DbError, errorMessage } from '../engine/errors.js';
import { NONCE_BYTES, handshakeMac, isName, isRole, newNonce, sameMac, type Handshake } from './auth.js';
import { Connection, type KeepAlive } from './connection.js';
import * as m from './messages.js';
import type { Role } from './node-status.js';
import { Strangers, remoteOf, type Stranger } from './strangers.js';
import { channelOf, identitiesOf, identityError, type TlsCredentials } from './tls.js';

/** An authenticated connection as the server sees it. */
export interface Session {
  readonly connection: Connection;
  readonly role: Role;
  readonly clientId: string;
  readonly remote: string;
}

export interface FrameServerOptions {
  host: string;
  /** 0 = any free port. */
  port: number;
  secret: Buffer;
  volumeId: string;
  nodeId: string;
  /** With it, only TLS is spoken, and only with holders of a certificate of the cluster. */
  tls?: TlsCredentials | null;
  /** HTTP on the same port (metrics, health). */
  onHttp(request: IncomingMessage, response: ServerResponse): void;
  onSession(session: Session): void;
  /** A connection that was refused or failed before it became a session; each is told once. */
  onRefused(remote: string, err: DbError): void;
  /** The files of a renewed certificate are not usable; the old one stays. */
  onTlsProblem?(err: unknown): void;
  /** From the first packet to the end of the handshake. */
  handshakeTimeoutMs?: number;
  keepAlive?: KeepAlive;
  /** Connections that have not authenticated; the one waiting longest makes room for the next. */
  strangersMax?: number;
}

const DEFAULT_KEEP_ALIVE: KeepAlive = { pingMs: 2000, deadMs: 15_000 };
const HANDSHAKE_TIMEOUT_MS = 5000;
const STRANGERS_MAX = 256;
/** First byte of every TLS connection: a handshake record. No HTTP request begins so. */
const TLS_HANDSHAKE = 0x16;

/**
 * The listening end: WebSocket and HTTP on one port, within TLS when there is a certificate. Nothing reaches `onSession` before it has
 * proved the cluster secret, and nothing is parsed as HTTP before its certificate was checked.
 */
export class FrameServer {
  private readonly listener: Server;
  private readonly http: HttpServer;
  private readonly tls: TlsServer | null = null;
  private tlsGeneration = 0;
  private readonly wss = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: m.FRAME_BYTES_MAX,
  });
  private readonly sockets = new Set<Socket>();
  private readonly strangers: Strangers;
  /** Of the socket that HTTP is spoken on: the TLS one where there is TLS. */
  private readonly strangerOf = new WeakMap<Duplex, Stranger>();
  private draining = false;

  constructor(private readonly options: FrameServerOptions) {
    const limits = {
      max: options.strangersMax ?? STRANGERS_MAX,
      timeoutMs: options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS,
    };
    this.strangers = new Strangers(limits, (remote, err) => options.onRefused(remote, err));
    this.listener = createServer({ noDelay: true }, (socket) => this.accept(socket));
    this.http = createHttpServer((request, response) => {
      response.setHeader('connection', 'close'); // a scrape a connection: an idle one would count as a stranger
      options.onHttp(request, response);
    });
    this.http.on('upgrade', (request, socket, head) => this.upgrade(request, socket, head));
    this.http.on('clientError', (err: NodeJS.ErrnoException & { rawPacket?: Buffer }, socket) => {
      const coded =
        err.rawPacket?.[0] === TLS_HANDSHAKE
          ? new DbError('NET_TLS_NOT_SPOKEN', 'a TLS connection, but this node has no certificate')
          : new DbError('NET_BAD_HTTP', err.message, { cause: err });
      this.strangerOf.get(socket)?.refuse(coded);
      if (socket.writable) answer(socket, 400, coded.code, 'not a request');
      else socket.destroy();
    });
    this.wss.on('wsClientError', (err, socket) => {
      this.strangerOf.get(socket)?.refuse(new DbError('NET_BAD_HTTP', err.message, { cause: err }));
      answer(socket, 400, 'NET_BAD_HTTP', 'not a WebSocket');
    });
    if (options.tls) this.tls = this.tlsServer(options.tls);
  }

  /** Resolves with the port. Throws NET_PORT_IN_USE, NET_LISTEN. */
  listen(): Promise<number> {
    const { host, port } = this.options;
    return new Promise((resolve, reject) => {
      this.listener.once('error', (err: NodeJS.ErrnoException) => {
        reject(
          err.code === 'EADDRINUSE'
            ? new DbError('NET_PORT_IN_USE', `port ${port} on ${host} is already in use`, {
                reaction: 'usage',
                hint: 'Stop the program that holds it or choose another port.',
              })
            : new DbError('NET_LISTEN', `cannot listen on ${host}:${port}: ${err.message}`, {
                reaction: 'usage',
                cause: err,
              }),
        );
      });
      this.listener.listen(port, host, () => resolve((this.listener.address() as AddressInfo).port));
    });
  }

  /** Stops accepting; connections stay until closeAll(). */
  drain(): void {
    if (!this.draining) this.listener.close();
    this.draining = true;
  }

  /** Cuts what is left. */
  async closeAll(): Promise<void> {
    this.drain();
    for (const client of this.wss.clients) client.terminate();
    for (const socket of this.sockets) socket.destroy();
    await new Promise<void>((resolve) =>
      this.sockets.size > 0 || this.listener.listening ? this.listener.once('close', resolve) : resolve(),
    );
  }

  private accept(socket: Socket): void {
    this.sockets.add(socket);
    socket.on('close', () => this.sockets.delete(socket));
    socket.on('error', () => socket.destroy()); // those who speak on it hear of it by themselves
    const stranger = this.strangers.admit(socket);
    if (this.tls) this.acceptTls(socket, stranger, this.tls);
    else this.speakHttp(socket, stranger);
  }

  private speakHttp(socket: Socket, stranger: Stranger): void {
    this.strangerOf.set(socket, stranger);
    this.http.emit('connection', socket);
  }

  /** Looks at the first byte: plain text deserves a plain answer. */
  private acceptTls(socket: Socket, stranger: Stranger, tls: TlsServer): void {
    socket.once('data', (bytes: Buffer) => {
      if (bytes[0] !== TLS_HANDSHAKE) {
        stranger.refuse(new DbError('NET_TLS_REQUIRED', 'plain text where only TLS is spoken'));
        answer(socket, 426, 'NET_TLS_REQUIRED', 'only TLS is spoken here');
        return;
      }
      socket.pause();
      socket.unshift(bytes);
      this.renewed(tls);
      tls.emit('connection', socket);
    });
  }

  private tlsServer(credentials: TlsCredentials): TlsServer {
    // Certificates are judged below and not by the library, which would cut the connection without a word to either side.
    const server = createTlsServer({
      ...credentials.context,
      requestCert: true,
      rejectUnauthorized: false,
      handshakeTimeout: this.options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS,
    });
    server.on('tlsClientError', (err, socket) => {
      this.strangers
        .at(remoteOf(socket))
        ?.refuse(new DbError('NET_TLS_FAILED', `TLS: ${err.message}`, { cause: err }));
      socket.destroy();
    });
    server.on('secureConnection', (socket) => {
      const stranger = this.strangers.at(remoteOf(socket));
      if (!stranger) return void socket.destroy(); // gone meanwhile
      socket.on('error', () => socket.destroy());
      const refusal = memberError(socket);
      if (refusal === null) return this.speakHttp(socket, stranger);
      stranger.refuse(refusal);
      answer(socket, 403, refusal.code, refusal.message);
    });
    return server;
  }

  /** A certificate that was renewed on disk is used from here on. */
  private renewed(server: TlsServer): void {
    const credentials = this.options.tls!;
    try {
      credentials.refresh();
      if (credentials.generation === this.tlsGeneration) return;
      this.tlsGeneration = credentials.generation;
      server.setSecureContext(credentials.context);
    } catch (err) {
      this.options.onTlsProblem?.(err);
    }
  }

  private upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const stranger = this.strangerOf.get(socket);
    if (!stranger || this.draining) {
      stranger?.refuse(new DbError('NET_BUSY', 'the node is stopping'));
      answer(socket, 503, 'NET_BUSY', 'the node is stopping');
      return;
    }
    this.wss.handleUpgrade(request, socket, head, (ws) => {
      this.handshake(ws, socket as Socket, stranger).catch((err: unknown) => {
        stranger.refuse(
          err instanceof DbError ? err : new DbError('NET_PROTOCOL', errorMessage(err), { cause: err }),
        );
      });
    });
  }

  private async handshake(ws: WebSocket, socket: Socket, stranger: Stranger): Promise<void> {
    const { options } = this;
    const { remote } = stranger;
    const connection = new Connection(ws, remote, options.keepAlive ?? DEFAULT_KEEP_ALIVE);
    const limit = m.HANDSHAKE_BYTES_MAX + socket.bytesRead;
    const meter = (): void => {
      // The frame limit is for authenticated peers; a stranger gets a few kilobytes of our memory, not megabytes.
      if (socket.bytesRead > limit)
        connection.destroy(new DbError('NET_FRAME_TOO_LONG', 'too many bytes before authentication'));
    };
    socket.on('data', meter);
    const closed = new Promise<never>((_, reject) =>
      connection.once('close', (err) =>
        reject(err ?? new DbError('NET_CLOSED', 'closed during the handshake')),
      ),
    );
    closed.catch(() => undefined); // raced below
    const next = (): Promise<m.Frame> =>
      Promise.race([new Promise<m.Frame>((resolve) => connection.once('frame', resolve)), closed]);
    try {
      const hello = await next();
      if (!m.isFrameOf(hello, m.Hello)) throw unexpected(hello);
      const about = this.checkedHello(
        hello.body,
        this.tls ? channelOf(socket as TLSSocket) : Buffer.alloc(0),
      );
      connection.send(m.Challenge, { nodeId: options.nodeId, nonce: about.nodeNonce });
      const proof = await next();
      if (!m.isFrameOf(proof, m.Authenticate)) throw unexpected(proof);
      if (!sameMac(proof.body.mac, handshakeMac(options.secret, 'client', about)))
        throw new DbError('NET_AUTH', 'authentication failed: wrong cluster secret', { reaction: 'usage' });
      if (about.volumeId !== options.volumeId)
        throw new DbError('NET_WRONG_VOLUME', `this node belongs to another volume than ${about.volumeId}`, {
          reaction: 'usage',
        });
      if (this.tls) requireIdentity(socket as TLSSocket, about);
      stranger.settle();
      // The session listens before the client may speak.
      options.onSession({ connection, role: about.role, clientId: about.clientId, remote });
      connection.send(m.Welcome, { mac: handshakeMac(options.secret, 'node', about) });
    } catch (err) {
      connection.fail(err);
      connection.close(err instanceof DbError ? err : null);
      throw err;
    } finally {
      socket.off('data', meter);
    }
  }

  private checkedHello(hello: m.BodyOf<typeof m.Hello>, channel: Buffer): Handshake {
    const { volumeId, role, clientId, nodeId: wantedId, nonce } = hello;
    const { nodeId } = this.options;
    if (!isRole(role) || nonce.length !== NONCE_BYTES || ![volumeId, clientId, wantedId].every(isName))
      throw new DbError('NET_PROTOCOL', 'malformed Hello');
    // Before any proof: one that was meant for another node must not be made here. Which node this is, Challenge tells anybody.
    if (wantedId !== '' && wantedId !== nodeId)
      throw new DbError('NET_WRONG_NODE', `this is node ${nodeId}, not ${wantedId}`);
    return { volumeId, role, clientId, wantedId, nodeId, clientNonce: Buffer.from(nonce), nodeNonce: newNonce(), channel }; // prettier-ignore
  }
}

/** Null when the certificate is one of the cluster's. */
function memberError(socket: TLSSocket): DbError | null {
  const certificate = socket.getPeerCertificate();
  if (!socket.authorized) {
    // Typed as an error, it is OpenSSL's name for the reason.
    const reason =
      Object.keys(certificate ?? {}).length === 0 ? 'there is none' : String(socket.authorizationError);
    return new DbError('NET_TLS_CERTIFICATE', `the client's certificate is not valid here: ${reason}`);
  }
  return identitiesOf(certificate).length > 0
    ? null
    : new DbError('NET_TLS_IDENTITY', "the client's certificate is of nobody in this cluster");
}

/** A node's certificate speaks for that node only, a compute's for that compute; tools have the least rights, and any certificate will do. */
function requireIdentity(socket: TLSSocket, { role, clientId }: Handshake): void {
  if (role === 'tool') return;
  const kind = role === 'peer' ? 'node' : 'compute';
  const err = identityError(socket.getPeerCertificate(), `${kind}:${clientId}`, `${kind} ${clientId}`);
  if (err) throw err;
}

function unexpected(frame: m.Frame): DbError {
  return new DbError('NET_PROTOCOL', `unexpected ${frame.message.name} before authentication`);
}

const REASONS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  403: 'Forbidden',
  426: 'Upgrade Required',
  503: 'Service Unavailable',
};

/** The last that is said on a connection that does not become one; storage-client.ts reads the code. */
function answer(socket: Duplex, status: number, code: string, message: string): void {
  const body = `${JSON.stringify({ error: { code, message } })}\n`;
  const head = `HTTP/1.1 ${status} ${REASONS[status]}\r\nConnection: close\r\nContent-Type: application/json\r\nX-Aurora-Code: ${code}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n`;
  socket.end(head + body, () => socket.destroy());
}
