/**
 * The replica's WAL sender, against a walreceiver of our own making: what PostgreSQL's asks is answered as PostgreSQL does, every byte of
 * log arrives once and ends within a record only at the end of a WAL page; what no walreceiver would send ends the connection with a code.
 */
import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import { once } from 'node:events';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { pino } from 'pino';
import { LagMeter } from '../../src/compute/lag-meter.js';
import { ReplicationClient } from '../../src/compute/replication-client.js';
import {
  encodeFeedback,
  FrontendReader,
  parseCommand,
  parseStandbyMessage,
} from '../../src/compute/replication-codec.js';
import { ReplicationServer, type CommittedSource } from '../../src/compute/replication-server.js';
import { lsn, type Lsn } from '../../src/engine/lsn.js';
import { isDbError } from '../../src/engine/errors.js';

const PAGE = 8192;
const BEGIN = lsn(0x1000000);

/** Log whose bytes tell where they are, given out in pieces of odd sizes. */
class Source implements CommittedSource {
  commitLsn: Lsn = lsn(BEGIN + 700_000);
  async *read(
    begin: Lsn,
    signal: AbortSignal,
  ): AsyncGenerator<{ begin: Lsn; bytes: Buffer; commitLsn: Lsn }> {
    for (let at: number = begin; at < this.commitLsn && !signal.aborted;) {
      const limit = at + 300_000;
      const end = Math.min(limit - (limit % PAGE), this.commitLsn);
      yield { begin: lsn(at), bytes: bytesAt(at, end), commitLsn: this.commitLsn };
      at = end;
    }
    if (!signal.aborted) await once(signal, 'abort');
  }
}

function bytesAt(begin: number, end: number): Buffer {
  const out = Buffer.alloc(end - begin);
  for (let i = 0; i < out.length; i++) out[i] = (begin + i) % 251;
  return out;
}

describe('replication server', () => {
  let dir: string;
  let server: ReplicationServer;

  beforeEach(async () => {
    dir = await fs.mkdtemp(path.join(os.tmpdir(), 'oa-repl-'));
    server = new ReplicationServer(new Source(), {
      socketPath: path.join(dir, 'relay', '.s.PGSQL.5000'),
      owner: null,
      systemId: '7000000000000000001',
      timeline: 1,
      serverVersion: '18.4',
      segmentSize: 16 * 1024 * 1024,
      log: pino({ level: 'silent' }),
    });
    await server.start();
  });

  afterEach(async () => {
    await server.close();
    await fs.rm(dir, { recursive: true, force: true });
  });

  const connect = (): Promise<ReplicationClient> =>
    ReplicationClient.connect({
      socketDir: path.join(dir, 'relay'),
      port: 5000,
      user: 'aurora',
      applicationName: 'r',
    });

  it('answers what a walreceiver asks', async () => {
    const client = await connect();
    assert.deepEqual(await client.identifySystem(), {
      systemId: 7000000000000000001n,
      timeline: 1,
      flushLsn: lsn(BEGIN + 700_000),
    });
    assert.deepEqual(await client.query('SHOW wal_segment_size'), [['16MB']]);
    await assert.rejects(client.query('TIMELINE_HISTORY 2'), { code: 'NET_PG_REFUSED' });
    await assert.rejects(client.query('START_REPLICATION 0/1000000 TIMELINE 2'), { code: 'NET_PG_REFUSED' });
    client.destroy();
  });

  it('streams every byte once, and hears positions and feedback', async () => {
    const socket = net.connect(path.join(dir, 'relay', '.s.PGSQL.5000'));
    socket.on('error', () => undefined); // closed by the server when it is closed
    socket.write(startup());
    socket.write(query('START_REPLICATION 0/1000000 TIMELINE 1'));
    const parts: Buffer[] = [];
    let at: number = BEGIN;
    for await (const body of copyData(socket)) {
      if (body[0] !== 0x77) continue;
      assert.equal(Number(body.readBigUInt64BE(1)), at, 'the pieces follow each other');
      const wal = Buffer.from(body.subarray(25));
      assert.ok(wal.length <= 128 * 1024);
      parts.push(wal);
      at += wal.length;
      if (at === BEGIN + 700_000) break;
      assert.equal(at % PAGE, 0, 'only at the end of a page may a piece end within a record');
    }
    assert.ok(Buffer.concat(parts).equals(bytesAt(BEGIN, BEGIN + 700_000)));
    const heard = Promise.all([once(server, 'status'), once(server, 'feedback')]);
    const again = net.connect(path.join(dir, 'relay', '.s.PGSQL.5000'));
    again.on('error', () => undefined);
    again.write(startup());
    again.write(query('START_REPLICATION 0/1000000 TIMELINE 1'));
    await once(again, 'data');
    const status = Buffer.alloc(5 + 34);
    status.write('d', 0);
    status.writeInt32BE(4 + 34, 1);
    status.write('r', 5);
    status.writeBigUInt64BE(3n, 6);
    status.writeBigUInt64BE(2n, 14);
    status.writeBigUInt64BE(1n, 22);
    again.write(Buffer.concat([status, encodeFeedback({ xmin: 2 ** 32 + 7, catalogXmin: 0 })]));
    const [[position], [feedback]] = (await heard) as [[unknown], [unknown]];
    assert.deepEqual(position, { written: 3, flushed: 2, applied: 1, replyRequested: false });
    assert.deepEqual(feedback, { xmin: 2 ** 32 + 7, catalogXmin: 0 });
    again.destroy();
  });

  it('ends a connection that is not a walreceiver’s', async () => {
    for (const bytes of [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.from([0, 0, 0, 9, 0, 3, 0, 0, 1]),
      Buffer.concat([startup('database')]),
      Buffer.concat([startup(), query('BASE_BACKUP')]),
      Buffer.concat([startup(), Buffer.from('Q\x7f\xff\xff\xff', 'latin1')]),
      Buffer.concat([startup(), query('START_REPLICATION 0/1000000 TIMELINE 1'), Buffer.from('Qd')]),
    ]) {
      const socket = net.connect(path.join(dir, 'relay', '.s.PGSQL.5000'));
      socket.on('error', () => undefined); // cut off is as good as closed
      socket.resume();
      socket.end(bytes);
      await once(socket, 'close');
    }
    const client = await connect();
    assert.equal((await client.identifySystem()).timeline, 1, 'and goes on serving');
    client.destroy();
  });

  it('survives any bytes: a message or a coded error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 1, max: 7 }), (bytes, step) => {
        const reader = new FrontendReader();
        try {
          for (let i = 0; i < bytes.length; i += step) {
            reader.push(Buffer.from(bytes.subarray(i, i + step)));
            reader.message();
          }
          parseStandbyMessage(Buffer.from(bytes));
          parseCommand(Buffer.from(bytes));
        } catch (err) {
          assert.ok(isDbError(err), String(err));
        }
      }),
      { seed: 18, numRuns: 500 },
    );
  });
});

describe('lag meter', () => {
  it('tells how long the oldest that is not replayed has waited', () => {
    const lag = new LagMeter();
    assert.equal(lag.ms(0), 0);
    lag.committed(lsn(10), 100);
    lag.committed(lsn(20), 200);
    lag.committed(lsn(15), 300);
    assert.equal(lag.ms(1000), 900);
    lag.replayed(lsn(10));
    assert.equal(lag.ms(1000), 800);
    lag.replayed(lsn(20));
    assert.equal(lag.ms(1000), 0);
  });
});

function startup(replication = 'true'): Buffer {
  const body = Buffer.from(`user\0aurora\0replication\0${replication}\0\0`);
  const head = Buffer.alloc(8);
  head.writeInt32BE(8 + body.length, 0);
  head.writeInt32BE(196608, 4);
  return Buffer.concat([head, body]);
}

function query(text: string): Buffer {
  const body = Buffer.from(`${text}\0`);
  const head = Buffer.alloc(5);
  head.write('Q', 0);
  head.writeInt32BE(4 + body.length, 1);
  return Buffer.concat([head, body]);
}

/** Bodies of the CopyData messages of a connection. */
async function* copyData(socket: net.Socket): AsyncGenerator<Buffer> {
  let pending = Buffer.alloc(0);
  for await (const chunk of socket) {
    pending = Buffer.concat([pending, chunk as Buffer]);
    while (pending.length >= 5 && pending.length > pending.readInt32BE(1)) {
      const end = 1 + pending.readInt32BE(1);
      if (pending[0] === 0x64) yield pending.subarray(5, end);
      pending = pending.subarray(end);
    }
  }
}
