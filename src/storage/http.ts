import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { DbError } from '../engine/errors.js';
import { formatLsn } from '../engine/lsn.js';
import type { NodeStatus } from '../net/node-status.js';

/**
 * GET /metrics (Prometheus text) and GET /healthz: 200 while the node serves, also when it does less than it should ("degraded", with the
 * reasons); 503 while it stops or cannot write.
 */
export function serveHttp(
  request: IncomingMessage,
  response: ServerResponse,
  node: { metrics: Registry; status(): NodeStatus },
  logger: Logger,
): void {
  const url = request.url?.split('?')[0];
  if (request.method !== 'GET' || (url !== '/metrics' && url !== '/healthz')) {
    response.writeHead(404, { 'content-type': 'text/plain' }).end('GET /metrics or /healthz\n');
    return;
  }
  if (url === '/metrics') {
    node.metrics.metrics().then(
      (text) => response.writeHead(200, { 'content-type': node.metrics.contentType }).end(text),
      (err: unknown) => {
        logger.error({ err }, 'metrics failed');
        response.writeHead(500).end();
      },
    );
    return;
  }
  const status = node.status();
  const { id, state, voter, learnerReason, ingestError, writeError, disk } = status;
  const { healthy, reasons } = health(status);
  const word = !healthy ? 'unavailable' : reasons.length > 0 ? 'degraded' : 'ok';
  response
    .writeHead(healthy ? 200 : 503, { 'content-type': 'application/json' })
    .end(
      `${JSON.stringify({ status: word, reasons, id, state, voter, learnerReason, ingestError, writeError, disk })}\n`,
    );
}

/** What a node does not do that it should, in words; `healthy` while it takes log and serves pages. */
export function health(status: NodeStatus): { healthy: boolean; reasons: string[] } {
  const { state, disk, writeError, ingestError, learnerReason, damaged } = status;
  const reasons: string[] = [];
  if (state === 'draining') reasons.push('stopping');
  if (disk.problem !== null) reasons.push(`disk full: ${disk.problem}`);
  if (writeError !== null) reasons.push(`cannot write the log: ${writeError}`);
  if (ingestError) reasons.push(`replay stopped at ${formatLsn(ingestError.lsn)}: ${ingestError.code}`);
  if (learnerReason !== null) reasons.push(`learner, does not vote: ${learnerReason}`);
  if (damaged.length > 0) reasons.push(`damaged stretches of log: ${damaged.length}`);
  return { healthy: state === 'running' && writeError === null, reasons };
}

/** /metrics and /healthz on a loopback port of their own, for health checks and collectors without a certificate. */
export class HttpPort {
  private readonly server: Server;

  constructor(listener: RequestListener) {
    const limits = { headersTimeout: 5000, requestTimeout: 5000, connectionsCheckingInterval: 1000 };
    this.server = createServer(limits, listener);
    this.server.maxConnections = 64;
  }

  /** Throws NET_PORT_IN_USE, NET_LISTEN. */
  async listen(port: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', (cause: NodeJS.ErrnoException) => {
        const code = cause.code === 'EADDRINUSE' ? 'NET_PORT_IN_USE' : 'NET_LISTEN';
        reject(new DbError(code, `metrics port ${port}: ${cause.message}`, { reaction: 'usage', cause }));
      });
      this.server.listen(port, '127.0.0.1', () => resolve());
    });
  }

  close(): void {
    this.server.close();
    this.server.closeAllConnections();
  }
}
