import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { NodeStatus } from '../net/node-status.js';

/** GET /metrics (Prometheus text) and GET /healthz (200 while the node serves, 503 while it stops or cannot write). */
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
  const { id, state, voter, learnerReason, ingestError, writeError, disk } = node.status();
  const healthy = state === 'running' && writeError === null;
  response
    .writeHead(healthy ? 200 : 503, { 'content-type': 'application/json' })
    .end(
      `${JSON.stringify({ status: healthy ? 'ok' : 'unavailable', id, state, voter, learnerReason, ingestError, writeError, disk })}\n`,
    );
}
