import { promises as fs } from 'node:fs';
import http from 'node:http';
import type { Registry } from 'prom-client';
import { DbError, errorMessage } from '../engine/errors.js';
import { formatLsn, INVALID_LSN, parseLsn, type Lsn } from '../engine/lsn.js';
import type { ComputeStatus } from './status.js';
import type { StopMode } from './supervisor.js';

export interface Controlled {
  status(): ComputeStatus;
  /** Begins a stop; does not wait for its end. */
  stop(mode: StopMode): void;
  /** Has PostgreSQL read its settings; a replica's are the volume's, as of `from` at least. Resolves with where they are in the volume. */
  reload(from: Lsn): Promise<Lsn>;
  /** Makes a replica the primary, whatever becomes of the present one. Does not wait. */
  promote(): void;
  /** Stops a primary in order and lets replica `successor` follow it. Does not wait for that. */
  handOver(successor: string): Promise<void>;
}

/** Commands and collectors; none stays. */
const CONNECTIONS_MAX = 64;

/**
 * The daemon's HTTP side. On the control socket (in the cluster's 0700 folder, which is the authority to use it): GET /status,
 * POST /stop?mode=, /reload?from=LSN, /promote, /handover?to=. There and, if wanted, on a loopback port: GET /metrics, GET /healthz.
 */
export class ControlServer {
  private readonly servers: http.Server[] = [];

  constructor(
    private readonly daemon: Controlled,
    private readonly registry: Registry,
    /** What is not HTTP. */
    private readonly onRefused: (where: string, err: DbError) => void = () => undefined,
  ) {}

  async listenOnSocket(path: string): Promise<void> {
    await fs.rm(path, { force: true });
    await this.listen({ path }, true);
    await fs.chmod(path, 0o600);
  }

  async listenOnPort(port: number): Promise<void> {
    await this.listen({ port, host: '127.0.0.1' }, false);
  }

  async close(): Promise<void> {
    for (const server of this.servers) {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    }
  }

  private async listen(
    where: { path: string } | { port: number; host: string },
    control: boolean,
  ): Promise<void> {
    const limits = { headersTimeout: 5000, requestTimeout: 5000, connectionsCheckingInterval: 1000 };
    const server = http.createServer(limits, (request, response) => {
      this.answer(request, response, control).catch((err: unknown) => {
        const { code, hint } = err instanceof DbError ? err : { code: 'INTERNAL', hint: undefined };
        send(response, err instanceof DbError && err.reaction === 'usage' ? 400 : 500, {
          error: { code, message: errorMessage(err), hint },
        });
      });
    });
    server.maxConnections = CONNECTIONS_MAX;
    const name = 'path' in where ? where.path : `port ${where.port}`;
    server.on('clientError', (err, socket) => {
      this.onRefused(name, new DbError('NET_BAD_HTTP', err.message, { cause: err }));
      if (socket.writable)
        socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n', () => socket.destroy());
      else socket.destroy();
    });
    server.on('drop', () =>
      this.onRefused(name, new DbError('NET_BUSY', `more than ${CONNECTIONS_MAX} connections`)),
    );
    await new Promise<void>((resolve, reject) => {
      server.once('error', (cause) =>
        reject(new DbError('COMPUTE_LISTEN', `could not listen on ${name}: ${cause.message}`, { cause })),
      );
      server.listen(where, () => resolve());
    });
    this.servers.push(server);
  }

  private async answer(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    control: boolean,
  ): Promise<void> {
    const [pathname = '', query = ''] = (request.url ?? '').split('?', 2);
    const route = `${request.method} ${pathname}`;
    if (route === 'GET /metrics') {
      const text = await this.registry.metrics();
      response.writeHead(200, { 'content-type': this.registry.contentType });
      response.end(text);
    } else if (route === 'GET /healthz') {
      const { state, problem } = this.daemon.status();
      const healthy = state === 'running' || state === 'throttled';
      send(response, healthy ? 200 : 503, {
        status: healthy ? 'ok' : 'unavailable',
        reasons: healthy ? [] : [problem ?? state],
        state,
      });
    } else if (control && route === 'GET /status') {
      send(response, 200, this.daemon.status());
    } else if (control && route === 'POST /stop') {
      const mode = new URLSearchParams(query).get('mode') ?? 'fast';
      if (mode !== 'smart' && mode !== 'fast' && mode !== 'immediate')
        throw new DbError('USAGE_STOP_MODE', `unrecognized shutdown mode "${mode}"`);
      this.daemon.stop(mode);
      send(response, 200, { stopping: mode });
    } else if (control && route === 'POST /reload') {
      const from = new URLSearchParams(query).get('from');
      const at = await this.daemon.reload(from === null ? INVALID_LSN : parseLsn(from));
      send(response, 200, { reloaded: true, lsn: formatLsn(at) });
    } else if (control && route === 'POST /promote') {
      this.daemon.promote();
      send(response, 200, { promoting: true });
    } else if (control && route === 'POST /handover') {
      await this.daemon.handOver(new URLSearchParams(query).get('to') ?? '');
      send(response, 200, { handingOver: true });
    } else {
      send(response, 404, {
        error: { code: 'USAGE_NO_ROUTE', message: `nothing at ${route.slice(0, 200)}` },
      });
    }
  }
}

function send(response: http.ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}
