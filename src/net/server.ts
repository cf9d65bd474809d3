import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import { DbError, errorMessage } from '../engine/errors.js';
import { NONCE_BYTES, handshakeMac, isRole, newNonce, sameMac, type Handshake } from './auth.js';
import { Connection, type KeepAlive } from './connection.js';
import * as m from './messages.js';
import type { Role } from './node-status.js';

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
  /** Plain HTTP on the same port (metrics, health). */
  onHttp(request: IncomingMessage, response: ServerResponse): void;
  onSession(session: Session): void;
  /** A connection that was refused or failed before it became a session. */
  onRefused(remote: string, err: DbError): void;
  handshakeTimeoutMs?: number;
  keepAlive?: KeepAlive;
  /** Connections that have not authenticated yet; more are refused. */
  handshakesMax?: number;
}

const DEFAULT_KEEP_ALIVE: KeepAlive = { pingMs: 2000, deadMs: 15_000 };

/** The listening end: HTTP and WebSocket on one port. Nothing reaches `onSession` before it has proved the cluster secret. */
export class FrameServer {
  private readonly http: Server;
  private readonly wss = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: m.FRAME_BYTES_MAX,
    clientTracking: true,
  });
  private handshakes = 0;
  private draining = false;

  constructor(private readonly options: FrameServerOptions) {
    this.http = createServer({ requestTimeout: 10_000, headersTimeout: 5000 }, (request, response) =>
      options.onHttp(request, response),
    );
    this.http.on('upgrade', (request, socket, head) => this.upgrade(request, socket, head));
    this.http.on('clientError', (err, socket) => {
      options.onRefused(remoteOf(socket), new DbError('NET_BAD_HTTP', err.message, { cause: err }));
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
      else socket.destroy();
    });
  }

  /** Resolves with the port. Throws NET_PORT_IN_USE, NET_LISTEN. */
  listen(): Promise<number> {
    const { host, port } = this.options;
    return new Promise((resolve, reject) => {
      this.http.once('error', (err: NodeJS.ErrnoException) => {
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
      this.http.listen(port, host, () => resolve((this.http.address() as AddressInfo).port));
    });
  }

  /** Stops accepting; connections stay until closeAll(). */
  drain(): void {
    this.draining = true;
    this.http.close();
  }

  /** Cuts what is left. */
  async closeAll(): Promise<void> {
    this.drain();
    for (const client of this.wss.clients) client.terminate();
    this.http.closeAllConnections();
    await new Promise<void>((resolve) =>
      this.http.listening ? this.http.once('close', resolve) : resolve(),
    );
  }

  private upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const remote = remoteOf(socket);
    if (this.draining || this.handshakes >= (this.options.handshakesMax ?? 64)) {
      this.options.onRefused(
        remote,
        new DbError('NET_BUSY', 'draining, or too many unauthenticated connections'),
      );
      socket.end('HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n');
      return;
    }
    this.wss.handleUpgrade(request, socket, head, (ws) => {
      (socket as Socket).setNoDelay(true);
      this.handshakes += 1;
      this.handshake(ws, socket as Socket, remote)
        .catch((err: unknown) => {
          const coded =
            err instanceof DbError ? err : new DbError('NET_PROTOCOL', errorMessage(err), { cause: err });
          this.options.onRefused(remote, coded);
        })
        .finally(() => {
          this.handshakes -= 1;
        });
    });
  }

  private async handshake(ws: WebSocket, socket: Socket, remote: string): Promise<void> {
    const { options } = this;
    const connection = new Connection(ws, remote, options.keepAlive ?? DEFAULT_KEEP_ALIVE);
    const limit = m.HANDSHAKE_BYTES_MAX + socket.bytesRead;
    const meter = (): void => {
      // The frame limit is for authenticated peers; a stranger gets a few kilobytes of our memory, not megabytes.
      if (socket.bytesRead > limit)
        connection.destroy(new DbError('NET_FRAME_TOO_LONG', 'too many bytes before authentication'));
    };
    socket.on('data', meter);
    const timer = setTimeout(
      () => connection.destroy(new DbError('NET_TIMEOUT', 'did not authenticate in time')),
      options.handshakeTimeoutMs ?? 5000,
    );
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
      const { role, clientId, nonce, volumeId } = hello.body;
      if (!isRole(role) || nonce.length !== NONCE_BYTES) throw new DbError('NET_PROTOCOL', 'malformed Hello');
      const about: Handshake = {
        volumeId,
        role,
        clientId,
        nodeId: options.nodeId,
        clientNonce: Buffer.from(nonce),
        nodeNonce: newNonce(),
      };
      connection.send(m.Challenge, { nodeId: options.nodeId, nonce: about.nodeNonce });
      const proof = await next();
      if (!m.isFrameOf(proof, m.Authenticate)) throw unexpected(proof);
      if (!sameMac(proof.body.mac, handshakeMac(options.secret, 'client', about)))
        throw new DbError('NET_AUTH', 'authentication failed: wrong cluster secret', { reaction: 'usage' });
      if (volumeId !== options.volumeId)
        throw new DbError('NET_WRONG_VOLUME', `this node belongs to another volume than ${volumeId}`, {
          reaction: 'usage',
        });
      if (hello.body.nodeId !== '' && hello.body.nodeId !== options.nodeId)
        throw new DbError('NET_WRONG_NODE', `this is node ${options.nodeId}, not ${hello.body.nodeId}`, {
          reaction: 'usage',
        });
      // The session listens before the client may speak.
      options.onSession({ connection, role, clientId, remote });
      connection.send(m.Welcome, { mac: handshakeMac(options.secret, 'node', about) });
    } catch (err) {
      connection.fail(err);
      connection.close(err instanceof DbError ? err : null);
      throw err;
    } finally {
      clearTimeout(timer);
      socket.off('data', meter);
    }
  }
}

function unexpected(frame: m.Frame): DbError {
  return new DbError('NET_PROTOCOL', `unexpected ${frame.message.name} before authentication`);
}

function remoteOf(socket: Duplex): string {
  const { remoteAddress, remotePort } = socket as Socket;
  return `${remoteAddress ?? '?'}:${remotePort ?? 0}`;
}
