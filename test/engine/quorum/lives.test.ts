// A node that lost its memory and votes again (lives.ts), rule by rule: what it must know first, and what its earlier lives said that must not count.
import assert from 'node:assert/strict';
import { INVALID_LSN, lsn } from '../../../src/engine/lsn.js';
import { Acceptor } from '../../../src/engine/quorum/acceptor.js';
import { QuorumConfig, rejoinQuorumOf } from '../../../src/engine/quorum/config.js';
import type { AppendAnswer, EpochHistory, StartEpoch } from '../../../src/engine/quorum/types.js';
import { WriterCore } from '../../../src/engine/quorum/writer.js';

const at = (n: number) => lsn(1000 + n);
const history = (...entries: [number, number][]): EpochHistory =>
  entries.map(([epoch, start]) => ({ epoch, startLsn: at(start) }));
const start = (epoch: number, from: number, extra: Partial<StartEpoch> = {}): StartEpoch => ({
  epoch,
  writerId: `w${epoch}`,
  handshake: 1,
  history: history([0, 0], [epoch, from]),
  ...extra,
});
const config = new QuorumConfig({ voters: ['a', 'b', 'n'], writeQuorum: 2, readQuorum: 2 });
const NEEDED = config.rejoinQuorum;

const voter = () => Acceptor.create({ history: history([0, 0]), scl: at(100), damaged: false });
const amnesic = () => Acceptor.recover(null, null, INVALID_LSN);

/** Adopts an epoch, durably. */
function adopt(node: Acceptor, message: StartEpoch): void {
  if (node.startEpoch(message).kind === 'adopt') node.durable(node.state.logEnd, message.epoch);
}
function hold(node: Acceptor, epoch: number, end: number): void {
  const { logEnd } = node.state;
  node.append({ epoch, begin: logEnd, end: at(end), commitLsn: INVALID_LSN });
  node.durable(at(end), epoch);
}
function register(node: Acceptor, peers: Record<string, Acceptor>, id = 'n'): void {
  for (const [name, peer] of Object.entries(peers)) {
    const { request } = node.registration(id, `token of ${id}`) ?? {};
    if (request) node.registered(name, peer.register(request).answer, NEEDED);
  }
}

describe('lives of a node', () => {
  it('need as many others as every election with the node meets, and as every other loss leaves the notes with', () => {
    assert.equal(rejoinQuorumOf(3, 2, 2), 2);
    assert.equal(rejoinQuorumOf(6, 4, 3), 4);
    for (let v = 3; v <= 9; v++)
      for (let vr = 1; vr <= v; vr++) {
        const elect = Math.max(vr, Math.floor(v / 2) + 1);
        const vw = Math.max(v - vr + 1, Math.floor(v / 2) + 1);
        const needed = rejoinQuorumOf(v, vw, vr);
        assert.ok(needed + (elect - 1) > v - 1 && 2 * needed > v - 1, `${v} ${vr}`);
      }
  });

  it('begin durably: at the node before it asks, at its peers before they answer', () => {
    const node = amnesic();
    const first = node.registration('n', 'first')!;
    assert.deepEqual(first.request, { nodeId: 'n', life: 1, token: 'first' });
    assert.deepEqual(first.persist?.lives?.own, { life: 1, token: 'first' });
    assert.deepEqual(node.registration('n', 'second'), { persist: null, request: first.request });
    const peer = voter();
    const { persist, answer } = peer.register(first.request);
    assert.deepEqual(persist?.lives?.others, { n: { life: 1, token: 'first' } });
    assert.deepEqual([answer.life, answer.voter, peer.register(first.request).persist], [1, true, null]);
    assert.deepEqual(peer.promise({ epoch: 1, writerId: 'w' }).answer.lives, { n: 1 });
    const log = { history: history([0, 0]), scl: at(100), damaged: false };
    const again = Acceptor.recover(persist, log, INVALID_LSN);
    assert.deepEqual(again.promise({ epoch: 2, writerId: 'w' }).answer.lives, { n: 1 }, 'over a restart');
  });

  it('are registered with enough voters; what a learner answers proves nothing', () => {
    const node = amnesic();
    const learner = voter();
    learner.setDamaged(true);
    register(node, { a: voter(), b: learner });
    assert.notEqual(node.registration('n', ''), null);
    learner.setDamaged(false);
    register(node, { b: learner });
    assert.equal(node.registration('n', ''), null);
  });

  it('have numbers of their own: one that was taken is told by those who know it', () => {
    const [a, b] = [voter(), voter()];
    a.register({ nodeId: 'n', life: 3, token: 'an earlier disk' });
    const node = amnesic();
    register(node, { b, a });
    register(node, { b, a });
    assert.equal(node.registration('n', ''), null);
    assert.deepEqual(a.promise({ epoch: 1, writerId: 'w' }).answer.lives, { n: 4 });
  });

  it('make the node refuse every epoch that it may have promised, and vote only once it holds one', () => {
    const [a, b] = [voter(), voter()];
    a.promise({ epoch: 7, writerId: 'somebody' });
    const node = amnesic();
    register(node, { a, b });
    assert.equal(node.state.promisedEpoch, 7);
    node.rebase(at(100), history([0, 0]));
    node.durable(at(100), 0);
    assert.equal(node.rejoin(), null, 'an epoch below 7 proves nothing');
    assert.equal(node.startEpoch(start(6, 100)).kind, 'answer');
    adopt(node, start(8, 150));
    assert.equal(node.rejoin(), null, 'its log does not reach the start of epoch 8');
    hold(node, 8, 150);
    const record = node.rejoin();
    assert.deepEqual([record?.amnesia, node.state.learner], [false, null]);
    assert.equal(node.appendAnswer(8)?.kind, 'accepted');
    assert.equal((node.appendAnswer(8) as { life?: number }).life, 1);
  });

  it('wait, in the epoch that the node may have worked for, until its writer counts the new life only', () => {
    const [a, b] = [voter(), voter()];
    for (const peer of [a, b]) adopt(peer, start(5, 100));
    const node = amnesic();
    register(node, { a, b });
    node.rebase(at(100), history([0, 0], [5, 100]));
    node.durable(at(100), 5);
    hold(node, 5, 120);
    assert.equal(node.rejoin(), null);
    adopt(node, start(5, 100, { life: 0, commitLsn: at(110) }));
    assert.equal(node.rejoin(), null, 'the writer speaks of an earlier life');
    adopt(node, start(5, 100, { life: 1, commitLsn: at(130) }));
    assert.equal(node.rejoin(), null, 'something was committed that it does not hold');
    hold(node, 5, 130);
    assert.notEqual(node.rejoin(), null);
  });

  it('teach the node what its peers have noted of others, and of themselves', () => {
    const [a, b] = [voter(), voter()];
    a.register({ nodeId: 'x', life: 2, token: 'x' });
    const node = amnesic();
    register(node, { a, b });
    assert.deepEqual(node.identity.lives?.others, { x: { life: 2, token: 'x' } });
  });

  it('do not count a voter that lost its own disk after it had noted them', () => {
    const [a, b] = [voter(), voter()];
    const node = amnesic();
    register(node, { a });
    const lost = amnesic();
    const { request } = lost.registration('a', 'token of a')!;
    b.register(request);
    register(node, { b });
    assert.notEqual(node.registration('n', ''), null, 'what it noted may be lost with its disk');
  });

  it('keep an old promise from electing anybody, once one of the others knows of the new life', () => {
    const [a, b, n] = [voter(), voter(), voter()];
    const writer = new WriterCore({ config, writerId: 'w9', epoch: 9 });
    writer.onPromiseAnswer('n', n.promise(writer.promiseRequest()).answer);
    const node = amnesic(); // n, after it lost its disk
    register(node, { a, b });
    writer.onPromiseAnswer('a', a.promise(writer.promiseRequest()).answer);
    assert.equal(writer.phase, 'electing');
    writer.onPromiseAnswer('n', n.promise(writer.promiseRequest()).answer); // late, from the old disk
    assert.equal(writer.phase, 'electing');
    writer.onPromiseAnswer('b', b.promise(writer.promiseRequest()).answer);
    assert.equal(writer.phase, 'elected');
  });

  it('keep old acknowledgements from committing anything, once the writer knows of the new life', () => {
    const writer = new WriterCore({ config, writerId: 'w5', epoch: 5 });
    const nodes = { a: voter(), b: voter() };
    for (const [id, node] of Object.entries(nodes))
      writer.onPromiseAnswer(id, node.promise(writer.promiseRequest()).answer);
    writer.lead(at(100));
    writer.appended(at(200), at(200));
    const answer = (id: string, extra: object) =>
      writer.onStartEpochAnswer(id, {
        epoch: 5, handshake: writer.startEpoch(id)!.handshake, accepted: true, promisedEpoch: 5, learner: null, scl: at(100), ...extra,
      }); // prettier-ignore
    const ack = (id: string, end: number, extra: object) =>
      writer.onAppendAnswer(id, { kind: 'accepted', epoch: 5, scl: at(end), learner: null, ...extra } as AppendAnswer); // prettier-ignore
    answer('n', {});
    answer('a', {});
    ack('n', 200, {});
    assert.equal(writer.commitLsn, at(100));
    answer('n', { learner: 'amnesia', life: 1 });
    assert.deepEqual([writer.progress('n').started, writer.progress('n').scl], [false, INVALID_LSN]);
    const told = writer.startEpoch('n')!;
    assert.deepEqual([told.life, told.commitLsn], [1, at(100)]);
    answer('n', { learner: 'amnesia', life: 1 });
    ack('n', 200, {}); // of the old disk, late
    ack('a', 200, {});
    assert.equal(writer.commitLsn, at(100));
    ack('n', 200, { life: 1 });
    assert.equal(writer.commitLsn, at(200));
  });
});
