/**
 * The shipper between a PostgreSQL and the volume: it reports as flushed only what a write quorum holds, stops reading while too much
 * is uncommitted (also after it had to connect anew, and never in the middle of one long record), and asks only for what the log lacks.
 */
import assert from 'node:assert/strict';
import type net from 'node:net';
import { BACKLOG_BYTES_MAX, VolumeWriter } from '../../src/compute/volume-writer.js';
import { Shipper } from '../../src/compute/shipper.js';
import { isDbError, type DbError } from '../../src/engine/errors.js';
import { formatLsn, lsn, parseLsn } from '../../src/engine/lsn.js';
import { QuorumConfig } from '../../src/engine/quorum/config.js';
import { WriterCore } from '../../src/engine/quorum/writer.js';
import { eventually } from '../helpers/cluster.js';
import { buildLog, SEGMENT } from '../engine/wal/log-builder.js';
import { FakePostgres, refusal, walData } from './fake-postgres.js';
import { FakeLinks, FakeNode, settle, silent } from './fake-storage.js';

const X = lsn(SEGMENT + 8192 + 64);
const SYSTEM = '7000000000000000001';
const CHUNK = 128 * 1024;
const MIB = 1024 * 1024;
const config = new QuorumConfig({ voters: ['1', '2', '3'], writeQuorum: 2, readQuorum: 2 });

describe('Shipper', function () {
  this.timeout(20_000);
  let nodes: FakeNode[];
  let links: FakeLinks;
  let writer: VolumeWriter;
  let postgres: FakePostgres;
  let shipper: Shipper;
  let lost: DbError[];
  /** What PostgreSQL has to send, from X on. */
  let wal: Buffer;
  let streams: { socket: net.Socket; from: number }[];

  beforeEach(async () => {
    nodes = ['1', '2', '3'].map((id) => new FakeNode(id, lsn(SEGMENT), X));
    links = new FakeLinks();
    const core = new WriterCore({ config, writerId: 'w', epoch: 1 });
    for (const node of nodes) core.onPromiseAnswer(node.id, node.promise(core.promiseRequest()));
    core.lead(X);
    for (const node of nodes) links.up(node);
    writer = new VolumeWriter(core, links.asLinks(), silent, SEGMENT);
    await settle();
    streams = [];
    lost = [];
    postgres = await FakePostgres.walsender(SYSTEM, (socket, from) => {
      const at = parseLsn(from) - X;
      streams.push({ socket, from: at });
      for (let begin = at; begin < wal.length; begin += CHUNK)
        socket.write(walData(lsn(X + begin), wal.subarray(begin, begin + CHUNK)));
    });
    const options = {
      socketDir: postgres.socketDir,
      port: postgres.port,
      user: 'u',
      timeline: 1,
      log: silent,
    };
    shipper = new Shipper(writer, options, (err) => lost.push(err));
  });
  afterEach(async () => {
    shipper.close();
    writer.close();
    await postgres.close();
  });

  const records = (count: number, size: number): Buffer =>
    buildLog(
      X,
      Array.from({ length: count }, (_, i) => ({ mainData: Buffer.alloc(size, i) })),
    ).bytes;
  const down = (): void => ['1', '2', '3'].forEach((id) => links.down(id));
  const allUp = (): void => nodes.forEach((node) => links.up(node));
  const flushed = (): number => Math.max(0, ...postgres.flushed);

  it('reports as flushed what a write quorum holds, and not a byte more', async () => {
    for (const node of nodes) node.autoAck = false;
    wal = records(20, 5000);
    await shipper.start(SYSTEM);
    await eventually('all was sent', () => nodes.every((node) => node.scl === X + wal.length));
    links.client('1')!.ack();
    await settle();
    assert.ok(flushed() <= X, 'one node is no quorum');
    links.client('2')!.ack();
    await eventually('the commit is reported', () => flushed() === writer.commitLsn && flushed() > X);
    assert.ok(postgres.flushed.every((at) => at <= writer.commitLsn));
  });

  it('stops reading while too much waits, goes on when it is committed, and connects anew with the same care', async () => {
    wal = records(100, MIB);
    down();
    await shipper.start(SYSTEM);
    await eventually('it has stopped reading', () => writer.backlogBytes > BACKLOG_BYTES_MAX);
    const most = BACKLOG_BYTES_MAX + 4 * MIB;
    await new Promise((resolve) => setTimeout(resolve, 200)); // time in which it could read on
    assert.ok(writer.uncommittedBytes < most, `${writer.uncommittedBytes} bytes are held`);

    streams[0]!.socket.destroy(); // PostgreSQL ends the walsender while nothing is read from it
    allUp();
    await eventually('a part is committed', () => writer.backlogBytes === 0);
    await eventually('it has connected anew', () => streams.length === 2);
    assert.ok(streams[1]!.from > 0, 'what the log has is not asked for again');
    down();
    await new Promise((resolve) => setTimeout(resolve, 300)); // time in which it could read on
    assert.ok(writer.uncommittedBytes < most, `${writer.uncommittedBytes} bytes are held`);
    allUp();
    await eventually('all has come', () => writer.commitLsn === X + wal.length);
    assert.ok(nodes[0]!.log.subarray(X - SEGMENT).equals(wal));
    assert.deepEqual(lost, []);
  });

  it('a connection made anew while the former one was paused is paused too', async () => {
    wal = records(150, MIB);
    down();
    await shipper.start(SYSTEM);
    await eventually('it has stopped reading', () => writer.backlogBytes > BACKLOG_BYTES_MAX);
    const held = writer.uncommittedBytes;
    // The end of a paused connection is only seen by its owner; so it is the owner who connects again here.
    await shipper.start(SYSTEM);
    await new Promise((resolve) => setTimeout(resolve, 300)); // time in which it could read on
    assert.ok(writer.uncommittedBytes < held + 6 * MIB, `${writer.uncommittedBytes} bytes are held`);
  });

  it('one record longer than all limits comes through', async () => {
    wal = records(1, 40 * MIB);
    await shipper.start(SYSTEM);
    await eventually('it is committed', () => writer.commitLsn === X + wal.length);
    await eventually('and reported', () => flushed() === X + wal.length);
  });

  it('a fenced writer reports nothing', async () => {
    wal = records(20, 5000);
    nodes[0]!.promise({ epoch: 2, writerId: 'other' });
    const fenced = new Promise((resolve) => writer.once('fenced', resolve));
    for (const node of nodes.slice(1)) node.autoAck = false;
    await shipper.start(SYSTEM);
    await fenced;
    for (const id of ['2', '3']) links.client(id)!.ack();
    await settle();
    assert.equal(writer.commitLsn, X);
    assert.ok(flushed() <= X);
  });

  it('connects again when PostgreSQL ends its walsender', async () => {
    wal = records(3, 1000);
    await shipper.start(SYSTEM);
    await eventually('all has come', () => writer.endLsn === X + wal.length);
    streams[0]!.socket.end(refusal('57P01', 'terminating connection due to administrator command'));
    await eventually('it streams again', () => streams.length === 2);
    assert.equal(streams[1]!.from, wal.length);
  });

  it('refuses another system, and leaves no connection', async () => {
    wal = Buffer.alloc(0);
    await assert.rejects(shipper.start('7'), (err) => isDbError(err, 'COMPUTE_WRONG_SYSTEM'));
    await eventually('the connection has ended', () => postgres.sockets.every((socket) => socket.destroyed));
  });

  it('says which settings are to blame when PostgreSQL has no room for it', async () => {
    const full = await FakePostgres.listen((socket) => {
      socket.end(refusal('53300', 'number of requested standby connections exceeds "max_wal_senders"'));
    });
    const other = new Shipper(
      writer,
      { socketDir: full.socketDir, port: full.port, user: 'u', timeline: 1, log: silent },
      () => undefined,
    );
    try {
      await assert.rejects(
        other.start(SYSTEM),
        (err) => isDbError(err, 'NET_PG_REFUSED') && /max_wal_senders=/.test(err.hint ?? ''),
      );
    } finally {
      other.close();
      await full.close();
    }
  });

  it('gives up on a PostgreSQL that takes it no more, and says so once', async () => {
    wal = records(1, 100);
    await shipper.start(SYSTEM);
    await postgres.close();
    await eventually('it is reported', () => lost.length > 0);
    assert.equal(lost[0]!.code, 'COMPUTE_NO_STREAM');
    assert.equal(lost.length, 1);
    assert.equal(formatLsn(writer.endLsn), formatLsn(X + wal.length));
  });
});
