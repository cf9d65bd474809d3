/** A frame server that answers GetStatus, and clients for it; all are closed by close(). */
import type { DbError } from '../../src/engine/errors.js';
import * as m from '../../src/net/messages.js';
import type { NodeStatus } from '../../src/net/node-status.js';
import { FrameServer, type FrameServerOptions, type Session } from '../../src/net/server.js';
import { StorageClient, type StorageClientOptions } from '../../src/net/storage-client.js';

export interface Served {
  port: number;
  server: FrameServer;
  refused: DbError[];
  sessions: Session[];
  /** The code of the next refusal that is not taken yet. */
  nextRefusal(): Promise<string>;
}

export class FrameServers {
  readonly secret = Buffer.from('a cluster secret for tests only');
  private readonly running: { close(): Promise<void> | void }[] = [];

  async serve(overrides: Partial<FrameServerOptions> = {}): Promise<Served> {
    const refused: DbError[] = [];
    const sessions: Session[] = [];
    let taken = 0;
    let tell: () => void = () => undefined;
    const server = new FrameServer({
      host: '127.0.0.1',
      port: 0,
      secret: this.secret,
      volumeId: 'vol',
      nodeId: '1',
      onHttp: (_, response) => response.end('metrics'),
      onSession: (session) => {
        sessions.push(session);
        session.connection.on('frame', (frame) => {
          if (m.isFrameOf(frame, m.GetStatus))
            session.connection.send(m.Status, { status: { id: '1' } as NodeStatus }, frame.requestId);
        });
      },
      onRefused: (_, err) => {
        refused.push(err);
        tell();
      },
      ...overrides,
    });
    const port = await server.listen();
    this.running.push({ close: () => server.closeAll() });
    const nextRefusal = async (): Promise<string> => {
      while (refused.length <= taken) await new Promise<void>((resolve) => (tell = resolve));
      return refused[taken++]!.code;
    };
    return { port, server, refused, sessions, nextRefusal };
  }

  async connect(port: number, overrides: Partial<StorageClientOptions> = {}): Promise<StorageClient> {
    const client = await StorageClient.connect(
      { host: '127.0.0.1', port },
      { secret: this.secret, volumeId: 'vol', role: 'compute', clientId: 'primary', ...overrides },
    );
    this.running.push({ close: () => client.destroy() });
    return client;
  }

  defer(close: () => Promise<void> | void): void {
    this.running.push({ close });
  }

  async close(): Promise<void> {
    for (const one of this.running.splice(0).reverse()) await one.close();
  }
}
