/**
 * The writer over nodes that answer by hand: what counts as committed, what a node that was away or fell behind is sent, and that
 * a fenced or closed writer says and keeps nothing.
 */
import assert from 'node:assert/strict';
import { BACKLOG_BYTES_MAX, VolumeWriter } from '../../src/compute/volume-writer.js';
import { DbError, isDbError } from '../../src/engine/errors.js';
import { lsn, type Lsn } from '../../src/engine/lsn.js';
import { QuorumConfig } from '../../src/engine/quorum/config.js';
import { WriterCore } from '../../src/engine/quorum/writer.js';
import { buildLog, SEGMENT, type Placed } from '../engine/wal/log-builder.js';
import { FakeLinks, FakeNode, settle, silent } from './fake-storage.js';

const BASE = lsn(SEGMENT);
const X = lsn(SEGMENT + 8192 + 64);
const config = new QuorumConfig({ voters: ['1', '2', '3'], writeQuorum: 2, readQuorum: 2 });
const MIB = 1024 * 1024;

describe('VolumeWriter', () => {
  let nodes: FakeNode[];
  let links: FakeLinks;
  let writer: VolumeWriter;
  let records: Placed[];
  let bytes: Buffer;
  let commits: Lsn[];

  const node = (id: string): FakeNode => nodes.find((n) => n.id === id)!;
  const append = (from: number, to: number): void => writer.append(lsn(X + from), bytes.subarray(from, to));
  const hasAll = (n: FakeNode): boolean =>
    n.log.subarray(X - BASE).equals(bytes.subarray(0, writer.endLsn - X));

  beforeEach(async () => {
    nodes = ['1', '2', '3'].map((id) => new FakeNode(id, BASE, X));
    links = new FakeLinks();
    const core = new WriterCore({ config, writerId: 'w', epoch: 1 });
    for (const n of nodes) core.onPromiseAnswer(n.id, n.promise(core.promiseRequest()));
    core.lead(X);
    for (const n of nodes) links.up(n);
    writer = new VolumeWriter(core, links.asLinks(), silent, SEGMENT);
    commits = [];
    writer.on('commit', (at) => commits.push(at));
    ({ bytes, records } = buildLog(
      X,
      Array.from({ length: 6 }, (_, i) => ({ mainData: Buffer.alloc(3000, i) })),
    ));
    await settle();
  });
  afterEach(() => writer.close());

  it('commits what a write quorum holds, and only up to the end of a record', async () => {
    for (const n of nodes) n.autoAck = false;
    const half = records[1]!.endLsn - X + 100;
    append(0, half);
    await settle();
    assert.equal(writer.commitLsn, X, 'the log up to X is committed by the nodes that adopted the epoch');
    links.client('1')!.ack();
    await settle();
    assert.equal(writer.commitLsn, X, 'one node of three');
    links.client('3')!.ack();
    await settle();
    assert.equal(writer.commitLsn, records[1]!.endLsn);
    assert.deepEqual(writer.lastRecord, { start: records[1]!.startLsn, end: records[1]!.endLsn });
    assert.equal(writer.uncommittedBytes, 100);
    assert.equal(writer.backlogBytes, 0, 'a half record is no backlog: nothing can commit it yet');
    assert.ok(nodes.every(hasAll));
  });

  it('acknowledgements of less than was sent commit only that much', async () => {
    for (const n of nodes) n.autoAck = false;
    for (const { endLsn } of records) append(writer.endLsn - X, endLsn - X);
    await settle();
    links.client('1')!.ack(records[2]!.endLsn);
    links.client('2')!.ack(lsn(records[4]!.endLsn - 8));
    await settle();
    assert.equal(writer.commitLsn, records[2]!.endLsn);
    links.client('3')!.ack(records[4]!.endLsn);
    await settle();
    assert.equal(writer.commitLsn, records[3]!.endLsn);
    assert.deepEqual(
      commits.filter((at, i) => i > 0 && at <= commits[i - 1]!),
      [],
    );
  });

  it('a node that lost a message says so and is sent what it lacks', async () => {
    append(0, 5000);
    await settle();
    node('2').cut(lsn(X + 1000)); // as if later appends overtook a lost one
    append(5000, 9000);
    await settle();
    assert.ok(hasAll(node('2')));
    const expected = node('2').appends.find((a, i) => i > 0 && a.begin === X + 1000);
    assert.ok(expected, 'sent again from where the node said');
  });

  it('a node that comes back gets all that it missed; its former connection is heard no more', async () => {
    append(0, 4000);
    await settle();
    const former = links.down('2');
    append(4000, 12_000);
    await settle();
    assert.equal(writer.commitLsn, records.findLast((r) => r.endLsn <= X + 12_000)!.endLsn);
    links.up(node('2'));
    await settle();
    assert.ok(hasAll(node('2')));
    for (const event of ['ack', 'gap', 'refused', 'notStarted'])
      assert.equal(former.listenerCount(event), 0, event);
    append(12_000, bytes.length);
    await settle();
    assert.ok(nodes.every(hasAll));
  });

  it('appends during a node being told the epoch reach it without waiting for a heartbeat', async () => {
    links.down('3');
    append(0, 4000);
    await settle();
    links.up(node('3')); // its answer comes a turn later
    append(4000, 6000);
    await Promise.resolve().then(() => append(6000, 8000));
    await settle();
    append(8000, 9000);
    await settle();
    assert.ok(hasAll(node('3')));
    assert.ok(
      node('3').appends.every((a) => a.bytes.length > 0),
      'no heartbeat was needed',
    );
  });

  it('a node that forgot the epoch is told again', async () => {
    append(0, 4000);
    await settle();
    node('1').history = [{ epoch: 0, startLsn: BASE }];
    append(4000, 8000);
    await settle();
    append(8000, 9000);
    await settle();
    assert.equal(node('1').history.at(-1)!.epoch, 1);
    assert.ok(hasAll(node('1')));
  });

  it('a node that cannot start the epoch is tried again, and not cut off', async () => {
    node('3').failing.startEpoch = new DbError('NODE_LOST_LOG', 'it lost its log');
    links.down('3');
    const client = links.up(node('3'));
    await settle();
    append(0, 9000);
    await settle();
    assert.ok(client.isOpen, 'it may still serve reads');
    assert.equal(node('3').appends.filter((a) => a.begin > X).length, 0);
    node('3').failing = {};
    await new Promise((resolve) => setTimeout(resolve, 1100)); // a heartbeat
    await settle();
    assert.ok(hasAll(node('3')));
  });

  it('a learner does not count', async () => {
    node('2').learner = 'damaged-log';
    links.down('3');
    append(0, 9000);
    await settle();
    assert.equal(writer.commitLsn, X);
  });

  it('once fenced it commits nothing more, sends nothing more, and says so to those who wait', async () => {
    for (const n of nodes) n.autoAck = false;
    append(0, 4000);
    const fenced = new Promise<DbError>((resolve) => writer.once('fenced', resolve));
    const waiting = assert.rejects(writer.committed(records[0]!.endLsn, 10_000), (err) =>
      isDbError(err, 'EPOCH_FENCED'),
    );
    node('1').promise({ epoch: 2, writerId: 'other' });
    append(4000, 5000);
    assert.equal((await fenced).reaction, 'fence');
    await waiting;
    assert.equal(writer.fencedBy?.code, 'EPOCH_FENCED');
    const sent = nodes.map((n) => n.appends.length);
    append(5000, 6000);
    links.client('2')!.ack();
    links.client('3')!.ack();
    await settle();
    assert.equal(writer.commitLsn, X);
    assert.deepEqual(
      nodes.map((n) => n.appends.length),
      sent,
    );
    await assert.rejects(writer.committed(records[0]!.endLsn, 10_000), (err) =>
      isDbError(err, 'EPOCH_FENCED'),
    );
  });

  it('without a quorum a wait ends with QUORUM_LOST, or with the writer', async () => {
    links.down('2');
    links.down('3');
    append(0, 4000);
    await settle();
    await assert.rejects(
      writer.committed(records[0]!.endLsn, 50),
      (err) => isDbError(err, 'QUORUM_LOST') && /1 of 3/.test(err.message),
    );
    assert.ok(writer.stalledForMs >= 40);
    const waiting = assert.rejects(writer.committed(records[0]!.endLsn, 10_000), (err) =>
      isDbError(err, 'COMPUTE_STOPPED'),
    );
    writer.close();
    await waiting;
    await assert.rejects(writer.committed(records[0]!.endLsn, 10_000), (err) =>
      isDbError(err, 'COMPUTE_STOPPED'),
    );
  });

  it('leaves no listener on connections that outlive it', () => {
    writer.close();
    writer.close();
    for (const client of links.connected()) assert.deepEqual(client.eventNames(), []);
    assert.deepEqual(links.eventNames(), []);
  });

  it('refuses bytes that do not follow the log', () => {
    assert.throws(
      () => writer.append(lsn(X + 8), Buffer.alloc(8)),
      (err) => isDbError(err, 'BUG_LOG_GAP'),
    );
  });

  it('reads log from nodes that have adopted the epoch, whoever of them fails', async () => {
    append(0, 9000);
    await settle();
    const stranger = new FakeNode('3', BASE, lsn(X + 20_000)); // holds other bytes, written by a writer that lost
    stranger.promised = 1;
    stranger.failing.startEpoch = new DbError('NET_TIMEOUT', 'slow');
    links.down('3');
    links.up(stranger);
    await settle();
    node('1').failing.readLog = new DbError('LOG_DAMAGED', 'damaged');
    const got = await writer.readLog(lsn(X - 64), lsn(X + 9000));
    assert.ok(got.equals(Buffer.concat([Buffer.alloc(64), bytes.subarray(0, 9000)])));
    assert.equal(stranger.reads, 0);
    node('2').failing.readLog = new DbError('NET_CLOSED', 'gone');
    await assert.rejects(writer.readLog(X, lsn(X + 8)), (err) => isDbError(err, 'NODE_NONE_READABLE'));
  });

  it('keeps a bounded log for a node that lags; what is older comes from another node', async () => {
    const big = buildLog(
      X,
      Array.from({ length: 80 }, (_, i) => ({ mainData: Buffer.alloc(MIB, i) })),
    );
    const first = big.records[0]!.endLsn - X;
    links.client('3')!.bufferedAmount = 1e9; // its socket takes nothing more
    for (const { startLsn, endLsn } of big.records) {
      const from = startLsn === big.records[0]!.startLsn ? 0 : writer.endLsn - X;
      writer.append(writer.endLsn, big.bytes.subarray(from, endLsn - X));
      await settle(2);
    }
    await settle();
    assert.equal(writer.commitLsn, big.records.at(-1)!.endLsn);
    assert.ok(node('3').scl < X + first + 4 * MIB, 'nothing was sent into a full socket');
    assert.equal(node('1').reads + node('2').reads, 0);
    links.client('3')!.bufferedAmount = 0;
    links.client('3')!.ack(); // any sign of life
    for (let i = 0; i < 400 && node('3').scl < writer.endLsn; i++) await settle(5);
    assert.equal(node('3').scl, writer.endLsn);
    assert.ok(
      node('3')
        .log.subarray(X - BASE)
        .equals(big.bytes),
    );
    const fetched = node('1').reads + node('2').reads;
    assert.ok(fetched >= 80 - 64 - 2 && fetched < 30, `${fetched} MiB were fetched from other nodes`);
  });

  it('counts as backlog only what could be committed', async () => {
    for (const id of ['1', '2', '3']) links.down(id);
    const one = buildLog(X, [{}, { mainData: Buffer.alloc(40 * MIB) }, {}]);
    const part = one.bytes.length - 100 * 1024;
    writer.append(X, one.bytes.subarray(0, part));
    assert.ok(writer.uncommittedBytes > BACKLOG_BYTES_MAX);
    assert.equal(writer.backlogBytes, one.records[0]!.endLsn - X);
    writer.append(writer.endLsn, one.bytes.subarray(part));
    assert.ok(writer.backlogBytes > BACKLOG_BYTES_MAX);
  });
});
