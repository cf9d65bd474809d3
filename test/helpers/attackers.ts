/** What a hostile or broken program does to an open port: each attack is a connection's worth of it, made from a seeded source. */
import net from 'node:net';
import { WebSocket } from 'ws';
import type { Lsn } from '../../src/engine/lsn.js';
import * as m from '../../src/net/messages.js';
import { StorageClient, type StorageClientOptions } from '../../src/net/storage-client.js';
import { Random as Seeded } from './wal-damage.js';

export type Target = { readonly port: number; readonly host: string } | { readonly path: string };

/** With what noise is made of. */
export class Random extends Seeded {
  /** From `min` to `max`, both included. */
  int(min: number, max: number): number {
    return min + this.below(max - min + 1);
  }

  bytes(count: number): Buffer {
    return Buffer.from(Array.from({ length: count }, () => this.below(256)));
  }
}

/** Resolves when the other side has closed, or when it has not for so long, whereupon this side does. */
const PATIENCE_MS = 1000;
export const GARBAGE_KINDS = 9;
export const BAD_FRAME_KINDS = 7;

/** Opens, writes the pieces with pauses between them, and waits to be thrown out. Refused connections are the point, and no failure. */
export async function shout(target: Target, pieces: readonly Buffer[], pauseMs = 0): Promise<void> {
  const socket = net.connect(target);
  socket.on('error', () => undefined);
  socket.resume();
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  for (const piece of pieces) {
    if (socket.destroyed) break;
    socket.write(piece);
    if (pauseMs > 0) await Promise.race([closed, timer(pauseMs)]);
  }
  const patience = timer(PATIENCE_MS);
  await Promise.race([closed, patience]);
  socket.destroy();
}

/** Garbage that begins like something: HTTP, TLS, a page request, or nothing at all. */
export function garbage(random: Random, kind: number): Buffer[] {
  const noise = random.bytes(random.int(1, 4096));
  const line = (text: string): Buffer => Buffer.from(text, 'latin1');
  switch (kind) {
    case 0:
      return [noise];
    case 1:
      return [line('GET /'), noise, line(' HTTP/1.1\r\n\r\n')];
    case 2:
      return [
        line(
          `GET /metrics HTTP/1.1\r\nHost: x\r\n${'X-Long: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n'.repeat(2000)}\r\n`,
        ),
      ];
    case 3:
      return [line('POST /stop?mode=%ff HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n'), noise];
    case 4:
      return [
        line(
          'GET // HTTP/1.1\r\nHost: [\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 99\r\n\r\n',
        ),
      ];
    case 5:
      return [Buffer.from([0x16, 3, 1, 0xff, 0xff]), noise];
    case 6:
      return [agentRequest(random), noise];
    case 7:
      return [line('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), noise];
    default:
      return [line('OPTIONS * HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n'), noise];
  }
}

/** A request to the page agent whose fields lie. */
export function agentRequest(random: Random): Buffer {
  const name = random.pick([
    'base/5/1259',
    '../../etc/passwd',
    'base/5/\0',
    'global/1213',
    'x'.repeat(300),
    '',
    'pg_xact/FFFF',
  ]);
  const head = Buffer.alloc(16);
  head.writeUInt32LE(0x4950414f, 0);
  head.writeUInt8(1, 4);
  head.writeUInt8(random.int(0, 4), 5);
  head.writeUInt16LE(random.pick([name.length, 0, 0xffff]), 6);
  head.writeUInt32LE(random.pick([0, 1, 0xffff_ffff]), 8);
  head.writeUInt32LE(random.pick([0, 1, 129, 0x0100_0001, 0xffff_ffff]), 12);
  return Buffer.concat([head, Buffer.from(name, 'latin1')]);
}

/** A WebSocket that says something other than a handshake. */
export async function badFrames(
  target: { port: number; host: string },
  random: Random,
  kind: number,
): Promise<void> {
  const ws = new WebSocket(`ws://${target.host}:${target.port}/`, { perMessageDeflate: false });
  ws.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => ws.once('close', () => resolve()));
  await Promise.race([new Promise<void>((resolve) => ws.once('open', () => resolve())), closed]);
  const hello = m.encodeFrame(m.Hello, {
    volumeId: 'v',
    role: 'tool',
    clientId: 'x',
    nodeId: '',
    nonce: random.bytes(32),
  });
  const lie = Buffer.from(hello);
  lie.writeUInt8(random.int(0, 255), random.int(0, lie.length - 1));
  if (ws.readyState === WebSocket.OPEN) {
    if (kind === 0) ws.send(random.bytes(random.int(0, 200)));
    else if (kind === 1) ws.send('text');
    else if (kind === 2) ws.send(hello.subarray(0, random.int(1, hello.length - 1)));
    else if (kind === 3) ws.send(lie);
    else if (kind === 4) ws.send(Buffer.alloc(random.int(20_000, 2_000_000)));
    else if (kind === 5) {
      ws.send(hello);
      ws.send(m.encodeFrame(m.Authenticate, { mac: random.bytes(random.int(0, 64)) }));
    } else socketOf(ws).write(Buffer.from([0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]));
  }
  await Promise.race([closed, timer(PATIENCE_MS)]);
  ws.terminate();
}

/** One who knows the secret, and sends well-formed frames with fields that lie. */
export async function lyingClient(
  target: { port: number; host: string },
  options: StorageClientOptions,
  random: Random,
): Promise<void> {
  const client = await StorageClient.connect(target, { ...options, requestTimeoutMs: 2000 });
  const big = (): number => random.pick([0, 1, 7, 0xffff_ffff, random.int(0, 0xffff_ffff)]);
  const lsn = (): Lsn =>
    random.pick([0, 1, 8192, Number.MAX_SAFE_INTEGER, random.int(0, 0x7fff_ffff)]) as Lsn;
  const fork = (): { spcOid: number; dbOid: number; relNumber: number; fork: number } => ({
    spcOid: big(),
    dbOid: big(),
    relNumber: big(),
    fork: random.int(0, 255),
  });
  const requests: (() => Promise<unknown>)[] = [
    () => client.getPages({ ...fork(), blkno: big(), count: big(), lsn: lsn() }, 2000),
    () =>
      client.getSlruPages(
        {
          slru: random.pick(['xact', '', '../x', 'multixact_offsets']),
          pageno: big(),
          count: big(),
          lsn: lsn(),
        },
        2000,
      ),
    () => client.relationSize({ ...fork(), lsn: lsn() }),
    () => client.controlState({ lsn: lsn() }, 2000),
    () => client.manifest({ lsn: lsn() }, 2000),
    () => client.pageVersions({ ...fork(), blkno: big(), lsn: lsn() }),
    () => client.readLog({ begin: lsn(), end: lsn(), maxBytes: big(), epoch: big() }),
    () => client.logTail(2000, big()),
    () => client.waitApplied({ lsn: lsn(), timeoutMs: random.pick([0, 1000]) }),
    () => client.renewLease({ name: 'z'.repeat(random.int(0, 1000)), lsn: lsn() }, 2000),
    () => client.promise({ epoch: big(), writerId: 'evil' }),
    () => client.basePages({ ...fork(), blkno: big(), count: big(), lsn: lsn() }, 2000),
  ];
  await Promise.allSettled(Array.from({ length: 24 }, () => random.pick(requests)()));
  const code = random.int(1, 160);
  const frame = Buffer.concat([
    Buffer.from([m.PROTOCOL_VERSION, code, 0, 0]),
    random.bytes(random.int(8, 300)),
  ]);
  client.sendEncoded(frame);
  client.close();
}

/** Opens `count` connections and says next to nothing on them for `ms`; returns how many the other side ended. */
export async function holdOpen(target: Target, count: number, ms: number): Promise<number> {
  let ended = 0;
  const sockets = Array.from({ length: count }, () => {
    const socket = net.connect(target);
    socket.on('error', () => undefined);
    socket.once('close', () => (ended += 1));
    socket.resume();
    return socket;
  });
  for (let at = 0; at < ms; at += 100) {
    for (const socket of sockets) if (socket.writable) socket.write(at === 0 ? 'GET /' : 'x');
    await timer(100);
  }
  const gone = ended;
  for (const socket of sockets) socket.destroy();
  return gone;
}

function socketOf(ws: WebSocket): net.Socket {
  return (ws as unknown as { _socket: net.Socket })._socket;
}

/** Part of an attack, not of an expectation. */
function timer(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
