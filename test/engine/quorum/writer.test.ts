// The compute's side of the quorum, rule by rule: who is elected, which log it takes over, what counts as committed, when it is fenced.
import assert from 'node:assert/strict';
import { isDbError } from '../../../src/engine/errors.js';
import { INVALID_LSN, lsn } from '../../../src/engine/lsn.js';
import { QuorumConfig } from '../../../src/engine/quorum/config.js';
import type {
  AppendAnswer,
  EpochHistory,
  LearnerReason,
  PromiseAnswer,
} from '../../../src/engine/quorum/types.js';
import { WriterCore } from '../../../src/engine/quorum/writer.js';

const at = (n: number) => lsn(1000 + n);
const IDS = ['a', 'b', 'c', 'd', 'e', 'f'];
const config = (v: number, vw: number, vr: number) =>
  new QuorumConfig({ voters: IDS.slice(0, v), writeQuorum: vw, readQuorum: vr });
const history = (...entries: [number, number][]): EpochHistory =>
  entries.map(([epoch, start]) => ({ epoch, startLsn: at(start) }));

function grant(
  scl: number,
  entries: [number, number][] = [[0, 0]],
  extra: Partial<PromiseAnswer> = {},
): PromiseAnswer {
  return {
    epoch: 5, writerId: 'w', granted: true, promisedEpoch: 5, learner: null,
    scl: at(scl), commitLsn: INVALID_LSN, history: history(...entries), ...extra,
  }; // prettier-ignore
}
const writer = (quorum = config(3, 2, 2)) => new WriterCore({ config: quorum, writerId: 'w', epoch: 5 });

/** Leads from 100 on; nobody has adopted the epoch yet. */
function leading(quorum = config(3, 2, 2)): WriterCore {
  const core = writer(quorum);
  for (const id of IDS.slice(0, quorum.electQuorum)) core.onPromiseAnswer(id, grant(100));
  core.lead(at(100));
  return core;
}
function started(core: WriterCore, id: string, scl = 100, learner: LearnerReason | null = null): void {
  const { handshake } = core.startEpoch(id)!;
  core.onStartEpochAnswer(id, {
    epoch: 5,
    handshake,
    accepted: true,
    promisedEpoch: 5,
    learner,
    scl: at(scl),
  });
}
const ack = (scl: number, learner: LearnerReason | null = null): AppendAnswer => ({
  kind: 'accepted',
  epoch: 5,
  scl: at(scl),
  learner,
});

describe('QuorumConfig', () => {
  it('refuses quorums that do not overlap', () => {
    for (const [v, vw, vr] of [
      [3, 1, 3],
      [3, 2, 1],
      [6, 3, 4],
      [6, 4, 2],
      [3, 4, 1],
      [0, 0, 0],
      [3, 2.5, 2],
    ] as const)
      assert.throws(
        () => config(v, vw, vr),
        (e) => isDbError(e, 'USAGE_BAD_QUORUM'),
        `${v}/${vw}/${vr}`,
      );
    assert.throws(
      () => new QuorumConfig({ voters: ['a', 'a', 'b'], writeQuorum: 2, readQuorum: 2 }),
      (e) => isDbError(e, 'USAGE_BAD_QUORUM'),
    );
    assert.deepEqual(
      [config(3, 2, 2), config(6, 4, 3), config(1, 1, 1)].map((c) => c.electQuorum),
      [2, 4, 1],
    );
  });
});

describe('WriterCore', () => {
  it('is elected by enough voters that grant, each once, learners and strangers aside', () => {
    const core = writer(config(6, 4, 3));
    core.onPromiseAnswer('a', grant(100));
    core.onPromiseAnswer('a', grant(100));
    core.onPromiseAnswer('b', grant(100, [[0, 0]], { learner: 'amnesia' }));
    core.onPromiseAnswer('c', grant(100, [[0, 0]], { granted: false }));
    core.onPromiseAnswer('d', grant(100, [[0, 0]], { epoch: 4 }));
    core.onPromiseAnswer('d', grant(100, [[0, 0]], { writerId: 'other' }));
    for (const id of ['d', 'e']) core.onPromiseAnswer(id, grant(100));
    assert.equal(core.phase, 'electing');
    core.onPromiseAnswer('f', grant(100));
    assert.equal(core.phase, 'elected');
    const other = writer(config(6, 4, 3));
    for (const id of ['u', 'v', 'w', 'x']) other.onPromiseAnswer(id, grant(100)); // no members
    assert.equal(other.phase, 'electing');
  });

  it('takes over from the newest epoch, then the longest log, and not from an epoch that a log never reached', () => {
    const core = writer(config(6, 4, 3));
    core.onPromiseAnswer('a', grant(900, [[0, 0], [1, 50]])); // prettier-ignore
    core.onPromiseAnswer('b', grant(300, [[0, 0], [1, 50], [3, 200]])); // prettier-ignore
    core.onPromiseAnswer('c', grant(350, [[0, 0], [1, 50], [3, 200]])); // prettier-ignore
    core.onPromiseAnswer('d', grant(800, [[0, 0], [1, 50], [4, 850]])); // prettier-ignore
    assert.equal(core.donor?.nodeId, 'c');
    assert.throws(
      () => core.lead(at(351)),
      (e) => isDbError(e, 'QUORUM_BAD_START'),
    );
    assert.throws(
      () => core.lead(at(199)),
      (e) => isDbError(e, 'QUORUM_BAD_START'),
    );
    core.lead(at(340));
    assert.deepEqual(core.history, history([0, 0], [1, 50], [3, 200], [5, 340]));
    assert.deepEqual(core.startEpoch('a'), { epoch: 5, writerId: 'w', handshake: 1, history: core.history });
  });

  it('picks another donor when one is gone, as long as enough promises remain', () => {
    const core = writer();
    core.onPromiseAnswer('a', grant(100));
    core.onPromiseAnswer('b', grant(200));
    core.onPromiseAnswer('c', grant(300));
    core.dropGrant('c');
    assert.equal(core.donor?.nodeId, 'b');
    core.dropGrant('b');
    assert.equal(core.phase, 'electing');
    core.onPromiseAnswer('c', grant(300));
    assert.equal(core.donor?.nodeId, 'c');
  });

  it('commits nothing before a write quorum has adopted the epoch and holds the log up to its start', () => {
    const core = leading();
    core.appended(at(150), at(150));
    assert.equal(core.commitLsn, INVALID_LSN);
    started(core, 'a');
    started(core, 'b', 60);
    core.onAppendAnswer('a', ack(150));
    assert.equal(core.commitLsn, INVALID_LSN, 'b is in the epoch but not at its start');
    core.onAppendAnswer('b', ack(100));
    assert.equal(core.commitLsn, at(100), 'the tail commits without a first append');
    core.onAppendAnswer('b', ack(120));
    assert.equal(core.commitLsn, at(100), 'only at the end of a record');
    core.onAppendAnswer('b', ack(150));
    assert.deepEqual(core.commitNotice(), { epoch: 5, commitLsn: at(150) });
    core.onAppendAnswer('b', ack(130));
    assert.equal(core.commitLsn, at(150));
  });

  it('counts Vw voters: not learners, not other epochs, each node once', () => {
    const core = leading(config(6, 4, 3));
    core.appended(at(200), at(200));
    for (const id of ['a', 'b', 'c']) started(core, id, 200);
    started(core, 'd', 200, 'amnesia');
    started(core, 'e', 200, 'damaged-log');
    core.onAppendAnswer('a', ack(200));
    core.onAppendAnswer('f', { ...ack(200), epoch: 4 } as AppendAnswer);
    assert.equal(core.commitLsn, INVALID_LSN);
    core.onAppendAnswer('e', ack(200));
    assert.equal(core.commitLsn, at(200), 'healed: it counts again');
  });

  it('streams from where each node is: after the handshake, over gaps, again on request', () => {
    const core = leading();
    core.appended(at(300), at(290));
    assert.equal(core.nextAppend('a', 50), null, 'not before the handshake');
    started(core, 'a', 40);
    const next = (): number[] => {
      const { begin, end } = core.nextAppend('a', 50)!;
      return [begin - 1000, end - 1000];
    };
    assert.deepEqual([next(), next()], [[40, 90], [90, 140]]); // prettier-ignore
    core.onAppendAnswer('a', { kind: 'gap', epoch: 5, expected: at(70) });
    assert.deepEqual(next(), [70, 120]);
    core.onAppendAnswer('a', ack(120));
    core.resend('a');
    assert.deepEqual(next(), [120, 170]);
    core.onAppendAnswer('a', ack(300));
    assert.deepEqual(next(), [300, 300], 'a heartbeat');
    core.onAppendAnswer('a', { kind: 'not-started', epoch: 5 });
    assert.equal(core.nextAppend('a', 50), null);
    assert.deepEqual(core.sources(at(100)), []);
  });

  it('shakes hands again with a node that came back, and stops counting one that lost what it acknowledged', () => {
    const core = leading();
    core.appended(at(200), at(200));
    started(core, 'a', 100);
    core.onAppendAnswer('a', ack(200));
    const old = core.startEpoch('a')!.handshake;
    core.reconnected('a');
    core.onStartEpochAnswer('a', {
      epoch: 5,
      handshake: old,
      accepted: true,
      promisedEpoch: 5,
      learner: null,
      scl: at(100),
    });
    assert.deepEqual(
      [core.progress('a').started, core.progress('a').regressed],
      [false, false],
      'a late answer says nothing',
    );
    started(core, 'a', 199);
    assert.equal(core.progress('a').regressed, true);
    started(core, 'b', 200);
    assert.equal(core.commitLsn, INVALID_LSN);
    started(core, 'c', 200);
    assert.equal(core.commitLsn, at(200));
  });

  it('is fenced by any answer that knows a newer epoch, in any phase, and stays so', () => {
    const refusals: ((core: WriterCore) => void)[] = [
      (core) => core.onPromiseAnswer('c', grant(100, [[0, 0]], { granted: false, promisedEpoch: 9 })),
      (core) => core.onStartEpochAnswer('c', { epoch: 5, handshake: 1, accepted: false, promisedEpoch: 9, learner: null, scl: at(0) }),
      (core) => core.onAppendAnswer('c', { kind: 'refused', epoch: 5, promisedEpoch: 9 }),
    ]; // prettier-ignore
    for (const refuse of refusals) {
      const core = leading();
      core.appended(at(200), at(200));
      for (const id of ['a', 'b']) started(core, id);
      refuse(core);
      assert.deepEqual([core.phase, core.highestEpochSeen], ['fenced', 9]);
      for (const id of ['a', 'b']) core.onAppendAnswer(id, ack(200));
      core.appended(at(300), at(300));
      assert.equal(core.commitLsn, at(100));
      assert.deepEqual([core.startEpoch('a'), core.nextAppend('a', 10), core.donor], [null, null, null]);
    }
    const electing = writer();
    refusals[0]!(electing);
    for (const id of ['a', 'b']) electing.onPromiseAnswer(id, grant(100));
    assert.equal(electing.phase, 'fenced');
  });
});
