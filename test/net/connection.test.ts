// The network layer over real sockets: nobody without the secret gets in, and bad input ends its own connection only.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { WebSocket } from 'ws';
import { DbError, isDbError } from '../../src/engine/errors.js';
import type { Lsn } from '../../src/engine/lsn.js';
import { ConnectionKeeper } from '../../src/net/keeper.js';
import * as m from '../../src/net/messages.js';
import type { NodeStatus } from '../../src/net/node-status.js';
import { FrameServer, type FrameServerOptions, type Session } from '../../src/net/server.js';
import { StorageClient, type StorageClientOptions } from '../../src/net/storage-client.js';
import { FaultNet } from '../chaos/fault-net.js';

const secret = randomBytes(32);
const STATUS = { id: 'n1' } as NodeStatus;

describe('net: connections', () => {
  const running: { close(): Promise<void> | void }[] = [];
  afterEach(async () => {
    for (const one of running.splice(0).reverse()) await one.close();
  });

  async function serve(
    overrides: Partial<FrameServerOptions> = {},
  ): Promise<{ port: number; refused: DbError[]; sessions: Session[]; server: FrameServer }> {
    const refused: DbError[] = [];
    const sessions: Session[] = [];
    const server = new FrameServer({
      host: '127.0.0.1',
      port: 0,
      secret,
      volumeId: 'vol',
      nodeId: 'n1',
      onHttp: (_, response) => response.end('ok'),
      onSession: (session) => {
        sessions.push(session);
        session.connection.on('frame', (frame) => {
          if (m.isFrameOf(frame, m.GetStatus))
            session.connection.send(m.Status, { status: STATUS }, frame.requestId);
          if (m.isFrameOf(frame, m.Append))
            session.connection.send(m.Ack, { epoch: frame.body.epoch, scl: (frame.body.begin + frame.body.bytes.length) as Lsn, learner: '', appliedLsn: 0 as Lsn, life: 0, generation: 0 }); // prettier-ignore
          if (m.isFrameOf(frame, m.GetLogTail))
            session.connection.fail(new DbError('LOG_DAMAGED', 'at 0/1', { hint: 'wait' }), frame.requestId);
        });
      },
      onRefused: (_, err) => refused.push(err),
      ...overrides,
    });
    const port = await server.listen();
    running.push({ close: () => server.closeAll() });
    return { port, refused, sessions, server };
  }

  const options: StorageClientOptions = { secret, volumeId: 'vol', role: 'compute', clientId: 'c1' };

  async function connect(
    port: number,
    overrides: Partial<StorageClientOptions> = {},
  ): Promise<StorageClient> {
    const client = await StorageClient.connect({ host: '127.0.0.1', port }, { ...options, ...overrides });
    running.push({ close: () => client.destroy() });
    return client;
  }

  async function raw(port: number): Promise<{ ws: WebSocket; failure: Promise<string> }> {
    const ws = new WebSocket(`ws://127.0.0.1:${port}/`, { perMessageDeflate: false });
    running.push({ close: () => ws.terminate() });
    let code = '';
    ws.on('message', (data) => {
      const frame = m.decodeFrame(data as Buffer);
      if (m.isFrameOf(frame, m.Failure)) code = frame.body.code;
    });
    ws.on('error', () => undefined);
    const failure = once(ws, 'close').then(() => code);
    await once(ws, 'open');
    return { ws, failure };
  }

  const code = (expected: string) => (err: unknown) => isDbError(err, expected);

  it('authenticate both ways and answer requests, overlapping ones too', async () => {
    const { port, sessions } = await serve();
    const client = await connect(port);
    assert.equal(client.nodeId, 'n1');
    assert.deepEqual([sessions[0]!.role, sessions[0]!.clientId], ['compute', 'c1']);
    const [a, b] = await Promise.all([client.status(), client.status()]);
    assert.deepEqual([a, b], [STATUS, STATUS]);
    await assert.rejects(client.logTail(), (err) => isDbError(err, 'LOG_DAMAGED') && err.hint === 'wait' && err.reaction === 'corrupt'); // prettier-ignore
    client.append({ epoch: 3, begin: 100 as Lsn, commitLsn: 0 as Lsn, bytes: Buffer.alloc(28) });
    const [ack] = await once(client, 'ack');
    assert.deepEqual(ack, {
      kind: 'accepted',
      epoch: 3,
      scl: 128,
      learner: null,
      appliedLsn: 0,
      life: 0,
      generation: 0,
    });
  });

  it('refuse a wrong secret on either side, a wrong volume, a wrong node', async () => {
    const { port, refused, sessions } = await serve();
    await assert.rejects(connect(port, { secret: randomBytes(32) }), code('NET_AUTH'));
    await assert.rejects(connect(port, { volumeId: 'other' }), code('NET_WRONG_VOLUME'));
    await assert.rejects(connect(port, { nodeId: 'n2' }), code('NET_WRONG_NODE'));
    assert.deepEqual(refused.map((err) => err.code), ['NET_AUTH', 'NET_WRONG_VOLUME', 'NET_WRONG_NODE']); // prettier-ignore
    assert.equal(sessions.length, 0);
  });

  it('refuse a server that answers with a guessed or reflected code', async () => {
    // An impostor that lets everybody in and echoes the client's own code as its proof.
    const { WebSocketServer } = await import('ws');
    const wss = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    running.push({ close: () => wss.close() });
    await once(wss, 'listening');
    wss.on('connection', (ws) =>
      ws.on('message', (data) => {
        const frame = m.decodeFrame(data as Buffer);
        if (m.isFrameOf(frame, m.Hello)) ws.send(m.encodeFrame(m.Challenge, { nodeId: 'n1', nonce: frame.body.nonce })); // prettier-ignore
        if (m.isFrameOf(frame, m.Authenticate)) ws.send(m.encodeFrame(m.Welcome, { mac: frame.body.mac }));
      }),
    );
    await assert.rejects(connect((wss.address() as net.AddressInfo).port), code('NET_AUTH'));
  });

  it('do nothing for a stranger: requests before the handshake end the connection', async () => {
    const { port, sessions } = await serve();
    const { ws, failure } = await raw(port);
    ws.send(m.encodeFrame(m.GetStatus, {}, 1));
    assert.equal(await failure, 'NET_PROTOCOL');
    assert.equal(sessions.length, 0);
  });

  it('give a stranger kilobytes, not megabytes, and not forever', async () => {
    const patient = await serve();
    const flood = await raw(patient.port);
    flood.ws.send(Buffer.alloc(8 * 1024 * 1024));
    await flood.failure;
    assert.equal(patient.refused[0]!.code, 'NET_FRAME_TOO_LONG');
    const hasty = await serve({ handshakeTimeoutMs: 100 });
    await (
      await raw(hasty.port)
    ).failure;
    assert.equal(hasty.refused[0]!.code, 'NET_TIMEOUT');
  });

  it('answer garbage, text, other versions and cut frames with a code and go on serving others', async () => {
    const { port } = await serve();
    const bystander = await connect(port);
    const hello = m.encodeFrame(m.Hello, { volumeId: 'vol', role: 'tool', clientId: '', nodeId: '', nonce: randomBytes(32) }); // prettier-ignore
    const version = Buffer.from(hello);
    version[0] = 9;
    for (const [bad, expected] of [
      [randomBytes(5), 'WIRE_SHORT'],
      ['hello', 'WIRE_TEXT'],
      [version, 'WIRE_VERSION'],
      [hello.subarray(0, hello.length - 4), 'WIRE_SHORT'],
      [Buffer.concat([hello, hello]), 'WIRE_TRAILING'],
      [m.encodeFrame(m.ReadLog, { begin: 0 as Lsn, end: 0 as Lsn, maxBytes: 0, epoch: 0 }).fill(0xff, m.HEADER_BYTES), 'WIRE_BAD_VALUE'], // prettier-ignore
    ] as const) {
      const { ws, failure } = await raw(port);
      ws.send(bad);
      assert.equal(await failure, expected);
    }
    assert.deepEqual(await bystander.status(), STATUS);
  });

  it('cut an authenticated peer that sends a frame beyond the limit, by its length alone', async () => {
    const { port, sessions } = await serve();
    const client = await connect(port);
    const reasons: (DbError | null)[] = [];
    sessions[0]!.connection.on('close', (reason) => reasons.push(reason));
    const closed = once(client, 'close');
    // The header of a 65 MiB message, and nothing after it: refused without waiting for the body.
    const header = Buffer.from([0x82, 0xff, 0, 0, 0, 0, 4, 0x10, 0, 0, 0, 0, 0, 0]);
    const socket = (client as unknown as { connection: { ws: { _socket: net.Socket } } }).connection.ws
      ._socket;
    socket.write(header);
    await closed;
    assert.equal(reasons[0]?.code, 'NET_FRAME_TOO_LONG');
  });

  it('speak plain HTTP on the same port and refuse what is neither', async () => {
    const { port, refused } = await serve();
    assert.equal(await (await fetch(`http://127.0.0.1:${port}/x`)).text(), 'ok');
    const socket = net.connect(port, '127.0.0.1');
    socket.resume();
    socket.write(Buffer.from([0, 1, 2, 3, 255, 254, 10, 10]));
    await once(socket, 'close');
    assert.equal(refused[0]!.code, 'NET_BAD_HTTP');
  });

  it('reject what is outstanding when the connection ends, and say why', async () => {
    const { port, server } = await serve({ onSession: () => undefined });
    const client = await connect(port);
    const never = client.status();
    const late = assert.rejects(client.status(20), code('NET_TIMEOUT'));
    await late;
    setTimeout(() => void server.closeAll(), 10);
    await assert.rejects(never, code('NET_CLOSED'));
    await assert.rejects(client.status(), code('NET_CLOSED'));
    await assert.rejects(connect(port), code('NET_CONNECT'));
  });

  it('notice a peer that fell silent without closing', async () => {
    const frozen = net.createServer((socket) => socket.pause());
    frozen.listen(0, '127.0.0.1');
    await once(frozen, 'listening');
    running.push({ close: () => void frozen.close() });
    const { port } = frozen.address() as net.AddressInfo;
    await assert.rejects(connect(port, { connectTimeoutMs: 100 }), code('NET_TIMEOUT'));
    const given = connect(port, { signal: AbortSignal.timeout(20) });
    await assert.rejects(given, code('NET_CLOSED'));
  });

  it('keep a peer that speaks when somebody sets the clock, and notice one that is cut off all the same', async () => {
    const { port } = await serve();
    const network = new FaultNet();
    running.push({ close: () => network.close() });
    const { port: proxied } = await network.link('client', 'node', { host: '127.0.0.1', port });
    const client = await connect(proxied, { keepAlive: { pingMs: 10, deadMs: 2000 } });
    const wallClock = Date.now;
    try {
      for (const hours of [5, -5]) {
        Date.now = () => wallClock() + hours * 3_600_000;
        const begun = performance.now();
        while (performance.now() - begun < 100) await client.status();
        assert.ok(client.isOpen, `cut when the clock jumped by ${hours} h`);
      }
      const closed = once(client, 'close') as Promise<[DbError | null]>;
      network.set('node', 'client', 'drop');
      Date.now = () => wallClock() - 10 * 3_600_000;
      assert.equal((await closed)[0]?.code, 'NET_DEAD');
    } finally {
      Date.now = wallClock;
    }
  });

  it('say in one line that a port is taken', async () => {
    const { port } = await serve();
    await assert.rejects(serve({ port }), (err) => isDbError(err, 'NET_PORT_IN_USE') && err.message === `port ${port} on 127.0.0.1 is already in use`); // prettier-ignore
  });

  it('keep a connection: connect again after a loss, back off while the node is away, ask one that refuses us only now and then', async () => {
    const { port, sessions } = await serve();
    const waits: number[] = [];
    const opened: StorageClient[] = [];
    let next: (() => void) | undefined;
    const keeper = new ConnectionKeeper({ host: '127.0.0.1', port }, options, {
      onOpen: (client) => {
        opened.push(client);
        next?.();
      },
    }, { random: () => 1, sleep: async (ms) => void waits.push(ms) }); // prettier-ignore
    running.push({ close: () => keeper.close() });
    const until = (count: number): Promise<void> =>
      new Promise((resolve) => {
        next = () => opened.length >= count && resolve();
        next();
      });
    await until(1);
    sessions[0]!.connection.destroy();
    await until(2);
    assert.deepEqual(await keeper.client!.status(), STATUS);
    await keeper.close();
    assert.equal(opened[1]!.isOpen, false);

    // Refused: said once, and tried again now and then, for the reason may be put right.
    const refusals: string[] = [];
    const secret = randomBytes(32);
    const slow: number[] = [];
    await new Promise<void>((resolve) => {
      const wrong = new ConnectionKeeper({ host: '127.0.0.1', port }, { ...options, secret }, {
        onOpen: () => resolve(),
        onRefused: (err) => void refusals.push(err.code),
      }, { random: () => 1, refusedMs: 7777, sleep: async (ms) => {
        if (slow.push(ms) === 3) options.secret.copy(secret);
      } }); // prettier-ignore
      running.push({ close: () => wrong.close() });
    });
    assert.deepEqual([refusals, slow], [['NET_AUTH'], [7777, 7777, 7777]]);

    const away = net.createServer();
    away.listen(0, '127.0.0.1');
    await once(away, 'listening');
    const awayPort = (away.address() as net.AddressInfo).port;
    await new Promise((resolve) => away.close(resolve));
    waits.length = 0;
    await new Promise<void>((resolve) => {
      const alone = new ConnectionKeeper({ host: '127.0.0.1', port: awayPort }, options, { onOpen: () => undefined }, { backoffMsMin: 50, backoffMsMax: 2000, random: () => 1, sleep: async (ms) => {
        if (waits.push(ms) < 7) return;
        resolve();
        void alone.close();
      } }); // prettier-ignore
    });
    assert.deepEqual(waits, [100, 200, 400, 800, 1600, 2000, 2000]);
  });
});
