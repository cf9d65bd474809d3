// The storage node's side of the quorum, rule by rule. What many nodes make of these rules together is test/sim's subject.
import assert from 'node:assert/strict';
import { isDbError } from '../../../src/engine/errors.js';
import { INVALID_LSN, lsn } from '../../../src/engine/lsn.js';
import { Acceptor } from '../../../src/engine/quorum/acceptor.js';
import type { IdentityRecord, LogState } from '../../../src/engine/quorum/acceptor.js';
import type { EpochHistory, StartEpoch } from '../../../src/engine/quorum/types.js';

const at = (n: number) => lsn(1000 + n);
const history = (...entries: [epoch: number, start: number][]): EpochHistory =>
  entries.map(([epoch, start]) => ({ epoch, startLsn: at(start) }));
const log = (end: number, ...entries: [number, number][]): LogState => ({
  history: history(...entries),
  scl: at(end),
  damaged: false,
});
const start = (epoch: number, ...entries: [number, number][]): StartEpoch => ({
  epoch,
  writerId: `w${epoch}`,
  handshake: 1,
  history: history(...entries),
});
const bug = (code: string) => (err: unknown) => isDbError(err, code) && err.reaction === 'bug';

/** A node whose log ends at 100, of epoch 0, and that promised, adopted and synced epoch 1 from there. */
function inEpoch1(): Acceptor {
  const node = Acceptor.create(log(100, [0, 0]));
  node.promise({ epoch: 1, writerId: 'w1' });
  const step = node.startEpoch(start(1, [0, 0], [1, 100]));
  assert.equal(step.kind, 'adopt');
  node.durable(at(100), 1);
  return node;
}
const append = (node: Acceptor, epoch: number, begin: number, end: number, commit = -1000) =>
  node.append({ epoch, begin: at(begin), end: at(end), commitLsn: at(commit) });

describe('Acceptor', () => {
  it('promises only newer epochs, and again to the same writer, with a record to persist each first time', () => {
    const node = Acceptor.create(log(100, [0, 0]));
    const first = node.promise({ epoch: 3, writerId: 'a' });
    assert.equal(first.answer.granted, true);
    assert.deepEqual(first.persist, {
      promisedEpoch: 3,
      promisedTo: 'a',
      amnesia: false,
      floor: { epoch: 0, scl: at(100) },
    });
    const again = node.promise({ epoch: 3, writerId: 'a' });
    assert.deepEqual([again.answer.granted, again.persist], [true, null]);
    for (const request of [
      { epoch: 3, writerId: 'b' },
      { epoch: 2, writerId: 'a' },
    ]) {
      const { answer, persist } = node.promise(request);
      assert.deepEqual([answer.granted, answer.promisedEpoch, persist], [false, 3, null]);
    }
  });

  it('fences: after a promise the older epoch gets refusals only, even for bytes already on their way to the disk', () => {
    const node = inEpoch1();
    assert.equal(append(node, 1, 100, 150).kind, 'write');
    node.promise({ epoch: 2, writerId: 'w2' });
    node.durable(at(150), 1);
    assert.deepEqual(node.appendAnswer(1), { kind: 'refused', epoch: 1, promisedEpoch: 2 });
    assert.deepEqual(append(node, 1, 150, 160), {
      kind: 'answer',
      answer: { kind: 'refused', epoch: 1, promisedEpoch: 2 },
    });
    const late = node.startEpoch(start(1, [0, 0], [1, 100]));
    assert.ok(late.kind === 'answer' && !late.answer.accepted && late.answer.promisedEpoch === 2);
    assert.deepEqual(append(node, 2, 150, 160), {
      kind: 'answer',
      answer: { kind: 'not-started', epoch: 2 },
    });
  });

  it('gives its uncommitted tail only to the writer whose promise is the newest', () => {
    const node = inEpoch1();
    assert.deepEqual([node.servesTail(1), node.servesTail(2)], [true, false]);
    node.promise({ epoch: 2, writerId: 'w2' });
    assert.deepEqual([node.servesTail(1), node.servesTail(2)], [false, true]);
    assert.equal(Acceptor.recover(null, null, INVALID_LSN).servesTail(0), false);
  });

  it('answers an append by what is durable, skips what it has, and names a gap', () => {
    const node = inEpoch1();
    assert.deepEqual(append(node, 1, 100, 150), { kind: 'write', skip: 0, begin: at(100), end: at(150) });
    assert.deepEqual(node.appendAnswer(1), { kind: 'accepted', epoch: 1, scl: at(100), learner: null });
    assert.deepEqual(append(node, 1, 120, 170), { kind: 'write', skip: 30, begin: at(150), end: at(170) });
    assert.deepEqual(append(node, 1, 100, 160), { kind: 'write', skip: 60, begin: at(170), end: at(170) });
    assert.deepEqual(append(node, 1, 180, 190), {
      kind: 'answer',
      answer: { kind: 'gap', epoch: 1, expected: at(170) },
    });
    node.durable(at(170), 1);
    assert.deepEqual(node.appendAnswer(1), { kind: 'accepted', epoch: 1, scl: at(170), learner: null });
    assert.throws(() => node.durable(at(171), 1), bug('QUORUM_BAD_SCL'));
  });

  it('cuts at the common point of the histories and answers nothing before that is durable', () => {
    const cases: [own: LogState, theirs: [number, number][], cut: number][] = [
      [log(150, [0, 0], [1, 100]), [[0, 0], [1, 100], [3, 130]], 130],
      [log(150, [0, 0], [1, 100]), [[0, 0], [2, 120], [3, 200]], 100],
      [log(150, [0, 0], [1, 100]), [[0, 0], [1, 100], [3, 200]], 150],
      [log(90, [0, 0], [1, 100]), [[0, 0], [3, 80]], 80],
      [log(90, [0, 0], [1, 100]), [[0, 0], [1, 100], [3, 300]], 90],
      [log(150, [0, 0]), [[0, 0], [1, 100], [2, 100], [3, 100]], 100],
    ]; // prettier-ignore
    for (const [own, theirs, cut] of cases) {
      const identity: IdentityRecord = {
        promisedEpoch: 2,
        promisedTo: 'x',
        amnesia: false,
        floor: { epoch: 0, scl: at(0) },
      };
      const node = Acceptor.recover(identity, own, INVALID_LSN);
      const message = start(3, ...theirs);
      const step = node.startEpoch(message);
      assert.ok(step.kind === 'adopt');
      assert.equal(step.cutAt, at(cut), JSON.stringify(theirs));
      assert.equal(node.appendAnswer(3), null);
      assert.equal(node.startEpochAnswer(message).accepted, false);
      node.durable(own.scl, own.history.at(-1)!.epoch);
      assert.equal(node.appendAnswer(3), null, 'the disk still shows the old log');
      node.durable(at(cut), 3);
      assert.deepEqual(node.startEpochAnswer(message), {
        epoch: 3, handshake: 1, accepted: true, promisedEpoch: 3, learner: null, scl: at(cut),
      }); // prettier-ignore
      assert.deepEqual(node.state.history, message.history);
    }
  });

  it('does not take the old log on disk for the new one, though it is longer', () => {
    const node = inEpoch1();
    append(node, 1, 100, 200);
    node.durable(at(200), 1);
    node.startEpoch(start(2, [0, 0], [1, 100], [2, 120]));
    append(node, 2, 120, 300);
    node.durable(at(200), 1); // a sync of before the cut ends now
    assert.equal(node.state.scl, at(120));
    node.durable(at(300), 2);
    assert.equal(node.state.scl, at(300));
  });

  it('refuses histories that cannot be: out of order, of another epoch, of another volume, two starts, cutting committed log', () => {
    const node = inEpoch1();
    append(node, 1, 100, 200, 180);
    node.durable(at(200), 1);
    assert.equal(node.readableLsn, at(180));
    for (const entries of [
      [
        [0, 0],
        [1, 100],
        [1, 120],
      ],
      [
        [2, 90],
        [1, 100],
      ],
      [
        [0, 0],
        [1, 100],
        [3, 200],
      ],
    ] as [number, number][][])
      assert.throws(() => node.startEpoch(start(2, ...entries)), bug('QUORUM_BAD_HISTORY'));
    assert.throws(() => node.startEpoch(start(2, [2, 0])), bug('QUORUM_BAD_HISTORY'));
    assert.throws(() => node.startEpoch(start(2, [0, 0], [1, 101], [2, 200])), bug('QUORUM_BAD_HISTORY'));
    assert.throws(() => node.startEpoch(start(2, [0, 0], [1, 100], [2, 179])), bug('QUORUM_COMMITTED_CUT'));
    assert.equal(node.state.promisedEpoch, 1, 'a refused message changes nothing');
    assert.equal(node.startEpoch(start(2, [0, 0], [1, 100], [2, 180])).kind, 'adopt');
  });

  it('takes a commit LSN only for an epoch in its history, never back, and never beyond its own log', () => {
    const node = inEpoch1();
    append(node, 1, 100, 150);
    node.durable(at(150), 1);
    node.commitNotice({ epoch: 7, commitLsn: at(140) });
    assert.equal(node.readableLsn, at(100));
    node.commitNotice({ epoch: 1, commitLsn: at(400) });
    assert.equal(node.readableLsn, at(150));
    node.commitNotice({ epoch: 1, commitLsn: at(120) });
    assert.equal(node.state.commitLsn, at(400));
    const other = Acceptor.create(log(100, [0, 0]));
    other.startEpoch(start(5, [0, 0], [5, 100]));
    append(other, 5, 100, 200, 150);
    assert.equal(
      other.state.commitLsn,
      at(100),
      'the disk still has the old history: peers would take it for a commit of epoch 0',
    );
    other.durable(at(100), 5);
    append(other, 5, 200, 200, 150);
    assert.equal(other.state.commitLsn, at(150));
    assert.throws(() => other.commitNotice({ epoch: 0, commitLsn: at(151) }), bug('QUORUM_COMMITTED_CUT'));
  });

  it('comes back as a voter when identity and log agree, else as a learner, for good', () => {
    const identity = inEpoch1().identity;
    const ok = log(120, [0, 0], [1, 100]);
    assert.equal(Acceptor.recover(identity, ok, INVALID_LSN).state.learner, null);
    assert.equal(
      Acceptor.recover(identity, { ...ok, damaged: true }, INVALID_LSN).state.learner,
      'damaged-log',
    );
    const amnesic: [string, IdentityRecord | null, LogState | null][] = [
      ['no identity', null, ok],
      ['no log', identity, null],
      ['shorter log than it had', identity, log(99, [0, 0])],
      ['older history than it had', { ...identity, floor: { epoch: 1, scl: at(100) } }, log(500, [0, 0])],
      ['log of an epoch beyond its promise', identity, log(500, [0, 0], [2, 100])],
      ['amnesia before', { ...identity, amnesia: true }, ok],
    ];
    for (const [why, id, state] of amnesic) {
      const node = Acceptor.recover(id, state, INVALID_LSN);
      assert.equal(node.state.learner, 'amnesia', why);
      assert.equal(node.identity.amnesia, true, why);
      const { answer, persist } = node.promise({ epoch: 99, writerId: 'w' });
      assert.deepEqual([answer.granted, answer.learner, persist], [false, 'amnesia', null], why);
      node.setDamaged(false);
      assert.equal(node.state.learner, 'amnesia', `${why}: healing bytes does not bring promises back`);
    }
  });

  it('follows the log as a learner, and says so in every answer', () => {
    const node = Acceptor.recover(null, null, INVALID_LSN);
    const message = start(4, [0, 0], [4, 100]);
    const step = node.startEpoch(message);
    assert.ok(step.kind === 'adopt' && step.cutAt === at(0) && step.persist.amnesia);
    node.durable(at(0), 4);
    assert.equal(node.startEpochAnswer(message).learner, 'amnesia');
    assert.equal(append(node, 4, 0, 50).kind, 'write');
    node.durable(at(50), 4);
    assert.deepEqual(node.appendAnswer(4), { kind: 'accepted', epoch: 4, scl: at(50), learner: 'amnesia' });
  });

  it('keeps a floor that holds whether a crash comes before or after the cut is durable', () => {
    const before = log(200, [0, 0]);
    const identity = {
      promisedEpoch: 3,
      promisedTo: 'w3',
      amnesia: false,
      floor: { epoch: 0, scl: at(200) },
    };
    const node = Acceptor.recover(identity, before, INVALID_LSN);
    const step = node.startEpoch(start(5, [0, 0], [3, 100], [5, 300]));
    assert.ok(step.kind === 'adopt');
    for (const state of [before, log(100, [0, 0], [3, 100], [5, 300])])
      assert.equal(Acceptor.recover(step.persist, state, INVALID_LSN).state.learner, null);
  });

  it('keeps that floor while several adopted histories are on their way to the disk', () => {
    const identity = {
      promisedEpoch: 3,
      promisedTo: 'w3',
      amnesia: false,
      floor: { epoch: 0, scl: at(200) },
    };
    const disk = log(200, [0, 0], [2, 190]);
    const node = Acceptor.recover(identity, disk, INVALID_LSN);
    node.startEpoch(start(5, [0, 0], [4, 100], [5, 100]));
    const second = node.startEpoch(start(6, [0, 0], [4, 100], [5, 100], [6, 100]));
    assert.ok(second.kind === 'adopt');
    const { persist } = node.promise({ epoch: 7, writerId: 'w7' });
    for (const record of [second.persist, persist, node.identity])
      assert.equal(Acceptor.recover(record, disk, INVALID_LSN).state.learner, null);
    node.durable(at(100), 6);
    assert.deepEqual(node.identity.floor, { epoch: 6, scl: at(100) });
  });
});
