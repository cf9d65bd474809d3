/** A door to a PostgreSQL that calls itself an older one: Debian 12's pg_dump refuses to talk to a server that is newer than itself. */
import net from 'node:net';
import path from 'node:path';

const READY_FOR_QUERY = 'Z'.charCodeAt(0);
const PARAMETER_STATUS = 'S'.charCodeAt(0);

export interface OlderServer {
  /** Folder of the door's socket; its port is the server's. */
  readonly socketDir: string;
  close(): Promise<void>;
}

/** Listens in `socketDir` and passes everything on to the server's socket but for the version that it reports at the start. */
export async function openOlderServer(
  server: { socketDir: string; port: number },
  socketDir: string,
  version: string,
): Promise<OlderServer> {
  const sockets = new Set<net.Socket>();
  const door = net.createServer((client) => {
    const upstream = net.connect(path.join(server.socketDir, `.s.PGSQL.${server.port}`));
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => other.destroy()); // the other side learns of it by its end
      socket.on('close', () => {
        sockets.delete(socket);
        other.end();
      });
    }
    client.pipe(upstream);
    let pending = Buffer.alloc(0);
    const onStart = (chunk: Buffer): void => {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= 5 && pending.length >= 1 + pending.readUInt32BE(1)) {
        const end = 1 + pending.readUInt32BE(1);
        const message = pending.subarray(0, end);
        pending = pending.subarray(end);
        client.write(withVersion(message, version));
        if (message[0] !== READY_FOR_QUERY) continue;
        upstream.off('data', onStart);
        client.write(pending);
        upstream.pipe(client);
        return;
      }
    };
    upstream.on('data', onStart);
  });
  await new Promise<void>((resolve) => door.listen(path.join(socketDir, `.s.PGSQL.${server.port}`), resolve));
  return {
    socketDir,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => door.close(resolve));
    },
  };
}

function withVersion(message: Buffer, version: string): Buffer {
  if (message[0] !== PARAMETER_STATUS || !message.toString('latin1', 5).startsWith('server_version\0'))
    return message;
  const body = Buffer.from(`server_version\0${version}\0`);
  const head = Buffer.from([PARAMETER_STATUS, 0, 0, 0, 0]);
  head.writeUInt32BE(4 + body.length, 1);
  return Buffer.concat([head, body]);
}
