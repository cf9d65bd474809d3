// The classic trap of replicated logs, step by step: bytes that a majority holds, and that a newer epoch may still cut away. Counting
// copies is not enough; the copies must be of the present epoch. Real acceptors and writers, no network.
import assert from 'node:assert/strict';
import { INVALID_LSN, lsn } from '../../../src/engine/lsn.js';
import { Acceptor } from '../../../src/engine/quorum/acceptor.js';
import { QuorumConfig } from '../../../src/engine/quorum/config.js';
import { WriterCore } from '../../../src/engine/quorum/writer.js';

const at = (n: number) => lsn(1000 + n);
const config = new QuorumConfig({ voters: ['a', 'b', 'c'], writeQuorum: 2, readQuorum: 2 });
type Nodes = Record<'a' | 'b' | 'c', Acceptor>;
type Id = keyof Nodes;

/** Elects a writer by these nodes, and lets it lead from its donor's whole log. */
function elect(nodes: Nodes, epoch: number, by: Id[]): WriterCore {
  const writer = new WriterCore({ config, writerId: `w${epoch}`, epoch });
  for (const id of by) writer.onPromiseAnswer(id, nodes[id].promise(writer.promiseRequest()).answer);
  writer.lead(writer.donor!.scl);
  return writer;
}

/** The node adopts the writer's epoch, durably, and the writer learns of it. */
function adopt(nodes: Nodes, writer: WriterCore, id: Id): void {
  const message = writer.startEpoch(id)!;
  const step = nodes[id].startEpoch(message);
  assert.ok(step.kind === 'adopt');
  nodes[id].durable(lsn(Math.min(nodes[id].state.scl, step.cutAt)), writer.epoch);
  writer.onStartEpochAnswer(id, nodes[id].startEpochAnswer(message));
}

/** The writer streams all it has to the node, which appends it, and makes durable the part up to `synced`. */
function stream(nodes: Nodes, writer: WriterCore, id: Id, synced: number): void {
  const step = nodes[id].append(writer.nextAppend(id, 1e6)!);
  assert.equal(step.kind, 'write');
  nodes[id].durable(at(synced), writer.epoch);
  writer.onAppendAnswer(id, nodes[id].appendAnswer(writer.epoch)!);
}

/**
 * Epoch 1 wrote up to 100: a holds it, b has it appended but only 80 synced, c holds 80. Epoch 3 was then elected by b and c, wrote up to 90 on
 * c alone, and died. Now b's sync completes: a and b, a majority, hold the bytes of epoch 1 up to 100.
 */
function trap(): Nodes {
  const imported = () =>
    Acceptor.create({ history: [{ epoch: 0, startLsn: at(0) }], scl: at(0), damaged: false });
  const nodes: Nodes = { a: imported(), b: imported(), c: imported() };
  const first = elect(nodes, 1, ['a', 'b', 'c']);
  for (const id of ['a', 'b', 'c'] as const) adopt(nodes, first, id);
  first.appended(at(80), at(80));
  for (const id of ['a', 'b', 'c'] as const) stream(nodes, first, id, 80);
  assert.equal(first.commitLsn, at(80));
  first.appended(at(100), at(100));
  stream(nodes, first, 'a', 100);
  stream(nodes, first, 'b', 80);
  assert.equal(first.commitLsn, at(80));
  const third = elect(nodes, 3, ['b', 'c']);
  assert.equal(third.startLsn, at(80));
  adopt(nodes, third, 'c');
  third.appended(at(90), at(90));
  stream(nodes, third, 'c', 90);
  nodes.b.durable(at(100), 1);
  first.onAppendAnswer('b', nodes.b.appendAnswer(1)!);
  assert.deepEqual([first.phase, first.commitLsn], ['fenced', at(80)]);
  return nodes;
}

describe('bytes of an older epoch on a majority', () => {
  it('are not committed by a new writer as long as a newer log could replace them', () => {
    const nodes = trap();
    const fifth = elect(nodes, 5, ['a', 'b']);
    assert.equal(fifth.startLsn, at(100));
    assert.equal(
      fifth.commitLsn,
      INVALID_LSN,
      'two promises for a log up to 100 are not two copies of epoch 5',
    );
    adopt(nodes, fifth, 'a');
    assert.equal(fifth.commitLsn, INVALID_LSN);
    // The fifth writer dies here. c's log is of epoch 3, newer than b's: it wins, and the bytes of epoch 1 beyond 80 go.
    const sixth = elect(nodes, 6, ['b', 'c']);
    assert.equal(sixth.startLsn, at(90));
    for (const id of ['a', 'b', 'c'] as const) adopt(nodes, sixth, id);
    assert.deepEqual([nodes.a.state.logEnd, nodes.b.state.logEnd], [at(80), at(80)]);
  });

  it('are committed, and stay, once a write quorum has adopted the epoch that took them over', () => {
    const nodes = trap();
    const fifth = elect(nodes, 5, ['a', 'b']);
    for (const id of ['a', 'b'] as const) adopt(nodes, fifth, id);
    assert.equal(fifth.commitLsn, at(100), 'without any append of its own');
    const sixth = elect(nodes, 6, ['b', 'c']);
    assert.equal(sixth.startLsn, at(100));
  });
});
