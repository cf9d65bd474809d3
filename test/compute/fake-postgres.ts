/** A server that speaks just enough of the replication protocol for a client to stream from it, or says whatever a test wants. */
import { promises as fs } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { readLsnBE, writeLsnBE, type Lsn } from '../../src/engine/lsn.js';

export function message(type: string, body: Buffer = Buffer.alloc(0)): Buffer {
  const out = Buffer.alloc(5 + body.length);
  out.write(type, 0, 'latin1');
  out.writeInt32BE(4 + body.length, 1);
  body.copy(out, 5);
  return out;
}

export const AUTH_OK = message('R', Buffer.alloc(4));
export const READY = message('Z', Buffer.from('I'));
export const COPY_BOTH = message('W', Buffer.from([0, 0, 0]));

export function row(...columns: string[]): Buffer {
  const parts = columns.map((column) => {
    const bytes = Buffer.from(column);
    const length = Buffer.alloc(4);
    length.writeInt32BE(bytes.length);
    return Buffer.concat([length, bytes]);
  });
  const count = Buffer.alloc(2);
  count.writeInt16BE(columns.length);
  return message('D', Buffer.concat([count, ...parts]));
}

export function refusal(sqlstate: string, text: string): Buffer {
  return message('E', Buffer.from(`SFATAL\0C${sqlstate}\0M${text}\0\0`));
}

export function walData(begin: Lsn, bytes: Buffer): Buffer {
  const header = Buffer.alloc(25);
  header[0] = 0x77;
  writeLsn(header, begin);
  return message('d', Buffer.concat([header, bytes]));
}

function writeLsn(buf: Buffer, value: Lsn): void {
  writeLsnBE(buf, value, 1);
}

export class FakePostgres {
  readonly sockets: net.Socket[] = [];
  /** Flush positions that clients have reported, in order. */
  readonly flushed: Lsn[] = [];
  readonly commands: string[] = [];

  private constructor(
    readonly socketDir: string,
    private readonly server: net.Server,
  ) {}

  get port(): number {
    return 5432;
  }

  /** `serve` gets each new connection. */
  static async listen(serve: (socket: net.Socket, postgres: FakePostgres) => void): Promise<FakePostgres> {
    const dir = await fs.mkdtemp(path.join(os.tmpdir(), 'oa-fake-'));
    const server = net.createServer((socket) => {
      fake.sockets.push(socket);
      socket.on('error', () => undefined); // clients under test hang up as they like
      serve(socket, fake);
    });
    const fake = new FakePostgres(dir, server);
    await new Promise<void>((resolve) => server.listen({ path: path.join(dir, '.s.PGSQL.5432') }, resolve));
    return fake;
  }

  /** A well-behaved walsender of system `systemId`: `onStream` gets the socket and where to stream from. */
  static walsender(
    systemId: string,
    onStream: (socket: net.Socket, from: string) => void,
  ): Promise<FakePostgres> {
    return FakePostgres.listen((socket, fake) => {
      let pending = Buffer.alloc(0);
      let started = false;
      socket.on('data', (chunk: Buffer) => {
        pending = Buffer.concat([pending, chunk]);
        for (;;) {
          const head = started ? 1 : 0; // the startup packet has no type byte
          if (pending.length < head + 4) return;
          const end = head + pending.readInt32BE(head);
          if (pending.length < end) return;
          const type = started ? String.fromCharCode(pending[0]!) : 'startup';
          const body = pending.subarray(head + 4, end);
          pending = pending.subarray(end);
          started = true;
          if (type === 'startup') socket.write(Buffer.concat([AUTH_OK, READY]));
          else if (type === 'd' && body[0] === 0x72) fake.flushed.push(readLsnBE(body, 9));
          else if (type === 'Q')
            fake.answer(socket, body.toString('latin1', 0, body.length - 1), systemId, onStream);
        }
      });
    });
  }

  private answer(
    socket: net.Socket,
    command: string,
    systemId: string,
    onStream: (socket: net.Socket, from: string) => void,
  ): void {
    // prettier-ignore
    this.commands.push(command);
    if (command === 'IDENTIFY_SYSTEM') socket.write(Buffer.concat([row(systemId, '1', '0/1'), READY]));
    else if (command.startsWith('CREATE_REPLICATION_SLOT')) socket.write(READY);
    else {
      socket.write(COPY_BOTH);
      onStream(socket, /PHYSICAL (\S+)/.exec(command)![1]!);
    }
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
    await fs.rm(this.socketDir, { recursive: true, force: true });
  }
}
