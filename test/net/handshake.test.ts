// The challenge-response against one who reads and writes every byte but does not know the secret: a recorded exchange is worth nothing to
// either side, nor is one side's code, a cut code, or one made for another node, volume or role. (Bytes relayed as they are: tls.test.ts.)
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type net from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import { isDbError } from '../../src/engine/errors.js';
import {
  MAC_BYTES,
  NONCE_BYTES,
  handshakeMac,
  newNonce,
  sameMac,
  type Handshake,
} from '../../src/net/auth.js';
import * as m from '../../src/net/messages.js';
import type { Shape } from '../../src/net/wire.js';
import { FrameServers } from './frame-server.js';

/** Frames of one exchange, in the order that they were seen. */
interface Recording {
  fromClient: Buffer[];
  fromNode: Buffer[];
}

describe('net: handshake', () => {
  const servers = new FrameServers();
  afterEach(() => servers.close());
  const code = (expected: string) => (err: unknown) => isDbError(err, expected);

  /** A WebSocket server that does with each client what `play` says. */
  async function impostor(play: (ws: WebSocket) => void): Promise<number> {
    const wss = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    servers.defer(() => void wss.close());
    wss.on('connection', (ws) => {
      servers.defer(() => ws.terminate());
      ws.on('error', () => undefined);
      play(ws);
    });
    await once(wss, 'listening');
    return (wss.address() as net.AddressInfo).port;
  }

  async function open(port: number): Promise<WebSocket> {
    const ws = new WebSocket(`ws://127.0.0.1:${port}/`, { perMessageDeflate: false });
    servers.defer(() => ws.terminate());
    ws.on('error', () => undefined);
    await once(ws, 'open');
    return ws;
  }

  /** Passes everything on, in both directions, and keeps it. */
  async function recorder(target: number): Promise<{ port: number; recording: Recording }> {
    const recording: Recording = { fromClient: [], fromNode: [] };
    const port = await impostor((client) => {
      const opened = open(target);
      client.on('message', (data: Buffer) => {
        recording.fromClient.push(data);
        void opened.then((node) => node.send(data));
      });
      void opened.then((node) =>
        node.on('message', (data: Buffer) => {
          recording.fromNode.push(data);
          client.send(data);
        }),
      );
    });
    return { port, recording };
  }

  async function recorded(): Promise<Recording> {
    const { port } = await servers.serve();
    const tap = await recorder(port);
    const client = await servers.connect(tap.port);
    await client.status();
    return tap.recording;
  }

  const decoded = <S extends Shape>(frame: Buffer, message: m.Message<S>) => {
    const found = m.decodeFrame(frame);
    assert.ok(m.isFrameOf(found, message));
    return found.body;
  };

  /** Sends frames, one after each answer, and returns the code that the node refuses with. */
  async function refusalOf(port: number, frames: readonly Buffer[]): Promise<string> {
    const ws = await open(port);
    let failure = '';
    let at = 0;
    ws.on('message', (data: Buffer) => {
      const frame = m.decodeFrame(data);
      if (m.isFrameOf(frame, m.Failure)) failure = frame.body.code;
      else if (frames[at]) ws.send(frames[at++]!);
    });
    ws.send(frames[at++]!);
    await once(ws, 'close');
    return failure;
  }

  it('replayed to the node, a whole exchange gets no further than the challenge', async () => {
    const { fromClient } = await recorded();
    const again = await servers.serve();
    assert.equal(await refusalOf(again.port, fromClient), 'NET_AUTH');
    assert.equal(again.sessions.length, 0);
  });

  it('replayed to the client, a whole exchange is noticed by the last message', async () => {
    const { fromNode } = await recorded();
    const seen: string[] = [];
    const port = await impostor((ws) => {
      let at = 0;
      ws.on('message', (data: Buffer) => {
        seen.push(m.decodeFrame(data).message.name);
        ws.send(fromNode[at++]!);
      });
    });
    await assert.rejects(servers.connect(port), code('NET_AUTH'));
    assert.deepEqual(seen, ['Hello', 'Authenticate']); // and nothing after it
  });

  it('reflected: a challenge passed back to another node, or a code passed back to its maker, proves nothing', async () => {
    // Connects to the node as a client and answers its challenge with what the node itself says on a second connection.
    const { port, sessions, nextRefusal } = await servers.serve();
    const first = await open(port);
    const nonce = newNonce();
    const hello = { volumeId: 'vol', role: 'peer', clientId: '1', nodeId: '', nonce };
    first.send(m.encodeFrame(m.Hello, hello));
    const challenge = decoded((await once(first, 'message'))[0] as Buffer, m.Challenge);
    const second = await open(port);
    second.send(m.encodeFrame(m.Hello, { ...hello, nonce: challenge.nonce }));
    const other = decoded((await once(second, 'message'))[0] as Buffer, m.Challenge);
    // A node proves nothing before the client has: all that there is to reflect are nonces.
    first.send(m.encodeFrame(m.Authenticate, { mac: other.nonce }));
    assert.equal(await nextRefusal(), 'NET_AUTH');
    assert.equal(sessions.length, 0);
    const echo = await impostor((ws) =>
      ws.on('message', (data: Buffer) => {
        const frame = m.decodeFrame(data);
        if (m.isFrameOf(frame, m.Hello)) ws.send(m.encodeFrame(m.Challenge, { nodeId: '1', nonce: frame.body.nonce })); // prettier-ignore
        if (m.isFrameOf(frame, m.Authenticate)) ws.send(m.encodeFrame(m.Welcome, { mac: frame.body.mac }));
      }),
    );
    await assert.rejects(servers.connect(echo), code('NET_AUTH'));
  });

  it('cut, lengthened or empty, a code is none', async () => {
    const { port, sessions } = await servers.serve();
    const about = about1();
    for (const length of [0, 1, MAC_BYTES - 1, MAC_BYTES + 1]) {
      // The right code in a wrong length: only one who knows the secret can make it, and it is refused still.
      const ws = await open(port);
      ws.send(m.encodeFrame(m.Hello, { ...about, nodeId: '', nonce: about.clientNonce }));
      const { nonce } = decoded((await once(ws, 'message'))[0] as Buffer, m.Challenge);
      const whole = Buffer.concat([handshakeMac(servers.secret, 'client', { ...about, nodeNonce: nonce }), Buffer.alloc(1)]); // prettier-ignore
      ws.send(m.encodeFrame(m.Authenticate, { mac: whole.subarray(0, length) }));
      assert.equal(decoded((await once(ws, 'message'))[0] as Buffer, m.Failure).code, 'NET_AUTH');
    }
    for (const length of [0, NONCE_BYTES - 1, NONCE_BYTES + 1]) {
      const hello = m.encodeFrame(m.Hello, { ...about, nodeId: '', nonce: Buffer.alloc(length) });
      assert.equal(await refusalOf(port, [hello]), 'NET_PROTOCOL');
    }
    assert.equal(sessions.length, 0);
    const short = await impostor((ws) =>
      ws.on('message', (data: Buffer) => {
        const isHello = m.isFrameOf(m.decodeFrame(data), m.Hello);
        ws.send(isHello ? m.encodeFrame(m.Challenge, { nodeId: '1', nonce: newNonce() }) : m.encodeFrame(m.Welcome, { mac: Buffer.alloc(0) })); // prettier-ignore
      }),
    );
    await assert.rejects(servers.connect(short), code('NET_AUTH'));
    assert.ok(
      !sameMac(Buffer.alloc(0), Buffer.alloc(MAC_BYTES)) && !sameMac(Buffer.alloc(31), Buffer.alloc(32)),
    );
  });

  it('a client that wants one node proves nothing to another, so nobody can lend its proof to that one', async () => {
    const node2 = await servers.serve({ nodeId: '2' });
    const proofs: string[] = [];
    // Sits at node 1's address and passes all on to node 2.
    const port = await impostor((client) => {
      void open(node2.port).then((node) => {
        node.send(m.encodeFrame(m.Hello, { ...about1(), nodeId: '', nonce: newNonce() }));
        node.on('message', (data: Buffer) => client.send(data));
        client.on('message', (data: Buffer) => {
          const { name } = m.decodeFrame(data).message;
          if (name === 'Hello') return;
          proofs.push(name);
          node.send(data);
        });
      });
    });
    await assert.rejects(servers.connect(port, { nodeId: '1' }), code('NET_WRONG_NODE'));
    assert.deepEqual(proofs, []);
    // What the client asks for, the honest node refuses before there is a proof.
    await assert.rejects(servers.connect(node2.port, { nodeId: '1' }), code('NET_WRONG_NODE'));
    assert.equal(node2.sessions.length, 0);
  });

  it('every fact of the exchange is in the code: none can be exchanged for another', () => {
    const about = about1();
    const variants: Partial<Handshake>[] = [
      {},
      { volumeId: 'vol2' },
      { role: 'peer' },
      { clientId: 'other' },
      { wantedId: '1' },
      { nodeId: '2' },
      { clientNonce: Buffer.alloc(NONCE_BYTES, 3) },
      { nodeNonce: Buffer.alloc(NONCE_BYTES, 3) },
      { clientNonce: about.nodeNonce, nodeNonce: about.clientNonce },
      { channel: Buffer.alloc(32, 1) },
      { volumeId: 'volcompute', role: '' as 'tool' }, // the same letters, divided otherwise
      { clientId: 'primary1', nodeId: '' },
    ];
    const codes = new Set<string>();
    for (const variant of variants)
      for (const side of ['client', 'node'] as const)
        codes.add(handshakeMac(servers.secret, side, { ...about, ...variant }).toString('hex'));
    codes.add(handshakeMac(Buffer.alloc(32), 'client', about).toString('hex'));
    assert.equal(codes.size, 2 * variants.length + 1);
  });

  function about1(): Handshake {
    return {
      volumeId: 'vol',
      role: 'compute',
      clientId: 'primary',
      wantedId: '',
      nodeId: '1',
      clientNonce: Buffer.alloc(NONCE_BYTES, 1),
      nodeNonce: Buffer.alloc(NONCE_BYTES, 2),
      channel: Buffer.alloc(0),
    };
  }
});
