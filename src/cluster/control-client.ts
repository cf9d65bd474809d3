import http from 'node:http';
import { DbError, errorMessage } from '../engine/errors.js';

/** Asks a compute daemon over its control socket (HTTP on a unix socket in the cluster's 0700 folder). */
export async function controlRequest<T>(
  socketPath: string,
  method: 'GET' | 'POST',
  path: string,
  timeoutMs: number,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const request = http.request({ socketPath, method, path, timeout: timeoutMs }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        try {
          const body = JSON.parse(text) as T & { error?: { code: string; message: string; hint?: string } };
          if (response.statusCode === 200) return resolve(body);
          const { code, message, hint } = body.error ?? { code: 'NET_CONTROL', message: text };
          reject(new DbError(code, message, hint === undefined ? {} : { hint }));
        } catch (cause) {
          reject(
            new DbError(
              'NET_CONTROL',
              `the compute daemon answered with something that is not JSON: ${text.slice(0, 200)}`,
              { cause },
            ),
          );
        }
      });
    });
    request.on('timeout', () =>
      request.destroy(new DbError('NET_TIMEOUT', `the compute daemon did not answer within ${timeoutMs} ms`)),
    );
    request.on('error', (cause) =>
      reject(
        cause instanceof DbError
          ? cause
          : new DbError('NET_CONTROL', `cannot reach the compute daemon: ${errorMessage(cause)}`, { cause }),
      ),
    );
    request.end();
  });
}
