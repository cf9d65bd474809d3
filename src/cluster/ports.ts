import net from 'node:net';
import { DbError } from '../engine/errors.js';

/** A TCP port that was free a moment ago. */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, host, resolve);
  });
  const { port } = server.address() as net.AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}

export async function portIsFree(port: number, host = '127.0.0.1'): Promise<boolean> {
  const server = net.createServer();
  return new Promise((resolve, reject) => {
    server.once('error', (err: NodeJS.ErrnoException) => {
      if (err.code === 'EADDRINUSE') resolve(false);
      else
        reject(
          new DbError('CLUSTER_PORT', `could not listen on ${host} port ${port}: ${err.message}`, {
            cause: err,
          }),
        );
    });
    server.listen(port, host, () => server.close(() => resolve(true)));
  });
}
