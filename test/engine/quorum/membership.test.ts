// Configurations: which may follow which, what a node does about an older and a newer one, and how a leading writer changes over: it counts only what
// carries its own generation, and settles it when all that it had committed is committed there, too.
import assert from 'node:assert/strict';
import { isDbError } from '../../../src/engine/errors.js';
import { INVALID_LSN, lsn } from '../../../src/engine/lsn.js';
import { Acceptor } from '../../../src/engine/quorum/acceptor.js';
import { defaultQuorum } from '../../../src/engine/quorum/config.js';
import {
  checkStep,
  parseConfiguration,
  quorumOf,
  type Configuration,
} from '../../../src/engine/quorum/membership.js';
import { WriterCore } from '../../../src/engine/quorum/writer.js';

const at = (n: number) => lsn(1000 + n);
const code = (wanted: string) => (err: unknown) => isDbError(err, wanted);

/** `a b c` vote; `(d)` is a member without a vote. */
function configuration(generation: number, ids: string, extra: Partial<Configuration> = {}): Configuration {
  const members = ids.split(' ').map((text) => {
    const voter = !text.startsWith('(');
    return { id: text.replace(/[()]/g, ''), host: 'h', port: 1, zone: '', voter };
  });
  const quorum = defaultQuorum(members.filter(({ voter }) => voter).length);
  return { generation, members, ...quorum, ...extra };
}

describe('configuration', () => {
  it('of one node more or less may follow, for every number of copies, and with it all that its safety needs', () => {
    const ids = 'abcdefghi'.split('');
    for (let n = 1; n < ids.length; n++) {
      const [small, large] = [ids.slice(0, n).join(' '), ids.slice(0, n + 1).join(' ')];
      checkStep(configuration(1, small), configuration(2, large));
      checkStep(configuration(1, large), configuration(2, small));
      checkStep(configuration(1, small), configuration(2, `${small} (${ids[n]})`));
    }
  });

  it('may not follow when quorums could miss each other, or a generation is left out', () => {
    const unsafe = (from: Configuration, to: Configuration, why: RegExp): void =>
      assert.throws(() => checkStep(from, to), (err) => isDbError(err, 'MEMBER_UNSAFE_STEP') && why.test(err.message)); // prettier-ignore
    unsafe(configuration(1, 'a b c'), configuration(2, 'a b d'), /write quorums/);
    unsafe(configuration(1, 'a b c'), configuration(2, 'a b c d e'), /share no node/);
    unsafe(configuration(1, 'a b c'), configuration(3, 'a b c d'), /not the next/);
    checkStep(configuration(1, 'a b c d e f'), configuration(2, 'a b c d e g')); // 4 of 6 and 4 of 6 out of 7
  });

  it('from outside is checked, piece by piece', () => {
    const good = configuration(1, 'a b c');
    assert.deepEqual(parseConfiguration(JSON.parse(JSON.stringify(good))), good);
    const [first] = good.members;
    for (const bad of [
      null,
      { ...good, generation: 0 },
      { ...good, generation: 1.5 },
      { ...good, members: [] },
      { ...good, members: Array.from({ length: 33 }, (_, i) => ({ ...first, id: `n${i}` })) },
      { ...good, members: [...good.members, first] },
      { ...good, members: [{ ...first, id: '../x' }] },
      { ...good, members: [{ ...first, port: 70_000 }] },
      { ...good, members: [{ ...first, voter: 1 }] },
      { ...good, writeQuorum: '2' },
    ])
      assert.throws(() => parseConfiguration(bad), code('MEMBER_BAD_CONFIGURATION'), JSON.stringify(bad));
    assert.throws(() => parseConfiguration({ ...good, writeQuorum: 1 }), code('USAGE_BAD_QUORUM'));
  });
});

describe('a node and configurations', () => {
  const node = (known: Configuration): Acceptor => {
    const made = Acceptor.create({ history: [{ epoch: 0, startLsn: at(0) }], scl: at(100), damaged: false });
    made.configure(known, known.generation);
    return made;
  };

  it('learns a newer one from a writer, durably, and keeps it over a restart', () => {
    const acceptor = node(configuration(1, 'a b c'));
    const newer = configuration(2, 'a b c (d)');
    const { persist, answer } = acceptor.promise({ epoch: 1, writerId: 'w', configuration: newer });
    assert.ok(answer.granted && answer.generation === 2);
    assert.equal(persist?.membership?.configuration.generation, 2);
    const log = { history: [{ epoch: 0, startLsn: at(0) }], scl: at(100), damaged: false };
    const again = Acceptor.recover(persist, log, INVALID_LSN);
    assert.deepEqual([again.membership.current, again.membership.isSettled], [newer, false]);
  });

  it('grants nothing and starts nothing for a writer of an older one, and tells it the newer', () => {
    const now = configuration(2, 'a b c d');
    const acceptor = node(now);
    for (const older of [configuration(1, 'a b c'), undefined]) {
      const { persist, answer } = acceptor.promise({ epoch: 7, writerId: 'w', configuration: older });
      assert.deepEqual([persist, answer.granted, answer.configuration], [null, false, now]);
      const history = [
        { epoch: 0, startLsn: at(0) },
        { epoch: 7, startLsn: at(100) },
      ];
      const step = acceptor.startEpoch({
        epoch: 7,
        writerId: 'w',
        handshake: 1,
        history,
        configuration: older,
      });
      assert.ok(step.kind === 'answer' && !step.answer.accepted && step.answer.configuration === now);
    }
    assert.equal(acceptor.state.promisedEpoch, 0);
  });

  it('refuses one that may not follow its own, and a second form of its own', () => {
    const acceptor = node(configuration(1, 'a b c'));
    assert.throws(() => acceptor.configure(configuration(2, 'a b d'), 0), code('MEMBER_UNSAFE_STEP'));
    assert.throws(() => acceptor.configure(configuration(1, 'a b d'), 0), code('QUORUM_CONFIGURATION_CLASH'));
    assert.equal(acceptor.configure(configuration(1, 'a b c'), 1), null);
  });

  it('that lost its memory registers only with voters of one settled configuration, and anew with each other one', () => {
    const [first, second] = [configuration(1, 'a b n'), configuration(2, 'a b n (d)')];
    const lost = Acceptor.recover(null, null, INVALID_LSN);
    lost.configure(first, 1);
    const peers = { a: node(first), b: node(first) };
    const register = (): void => {
      for (const [id, peer] of Object.entries(peers)) {
        const asked = lost.registration('n', 'token');
        if (asked) lost.registered(id, peer.register(asked.request).answer, 2);
      }
    };
    register();
    assert.equal(lost.registration('n', 'token'), null); // registered
    peers.a.configure(second, 0);
    lost.configure(second, 0);
    register();
    assert.ok(lost.registration('n', 'token'), 'not settled');
    peers.a.configure(second, 2);
    register();
    assert.ok(lost.registration('n', 'token'), 'b holds the former one');
    peers.b.configure(second, 2);
    register();
    assert.equal(lost.registration('n', 'token'), null);
  });
});

describe('a writer and configurations', () => {
  const history = [{ epoch: 0, startLsn: at(0) }];
  function elected(known: Configuration): WriterCore {
    const core = new WriterCore({ config: quorumOf(known), writerId: 'w', epoch: 5 });
    for (const id of ['a', 'b'])
      core.onPromiseAnswer(id, { epoch: 5, writerId: 'w', granted: true, promisedEpoch: 5, learner: null, scl: at(100), commitLsn: at(0), history, generation: known.generation }); // prettier-ignore
    return core;
  }
  const started = (
    core: WriterCore,
    id: string,
    scl: number,
    generation: number,
    newer?: Configuration,
  ): void =>
    core.onStartEpochAnswer(id, {
      epoch: 5,
      handshake: core.startEpoch(id)!.handshake,
      accepted: !newer,
      promisedEpoch: 5,
      learner: null,
      scl: at(scl),
      generation,
      configuration: newer,
    });
  const ack = (core: WriterCore, id: string, scl: number, generation: number): void =>
    core.onAppendAnswer(id, { kind: 'accepted', epoch: 5, scl: at(scl), learner: null, generation });

  it('that is not elected yet counts no grant of another generation, and is to be given up for a newer one', () => {
    const core = new WriterCore({ config: quorumOf(configuration(1, 'a b c')), writerId: 'w', epoch: 5 });
    const newer = configuration(2, 'a b c d');
    for (const id of ['a', 'b', 'c'])
      core.onPromiseAnswer(id, { epoch: 5, writerId: 'w', granted: true, promisedEpoch: 5, learner: null, scl: at(100), commitLsn: at(0), history, generation: 2, configuration: newer }); // prettier-ignore
    assert.deepEqual([core.phase, core.newer], ['electing', newer]);
  });

  it('that leads takes over a newer one, and commits and settles only with what is answered in it', () => {
    const core = elected(configuration(1, 'a b c'));
    core.lead(at(100));
    for (const id of ['a', 'b']) started(core, id, 100, 1);
    assert.deepEqual([core.commitLsn, core.settled], [at(100), 1]);
    core.appended(at(200), at(200));
    const newer = configuration(2, 'a b c d');
    ack(core, 'a', 200, 2); // holds the newer one: does not count, and is asked
    assert.deepEqual([core.commitLsn, core.progress('a').started], [at(100), false]);
    started(core, 'a', 200, 2, newer);
    assert.deepEqual([core.quorum.generation, core.quorum.writeQuorum, core.settled], [2, 3, 1]);
    ack(core, 'b', 200, 1); // late, of the former
    for (const id of ['a', 'b']) started(core, id, 200, 2);
    assert.deepEqual([core.commitLsn, core.settled], [at(100), 1]);
    started(core, 'd', 100, 2);
    assert.deepEqual([core.commitLsn, core.settled], [at(100), 2]); // all that was committed before is, here too
    ack(core, 'd', 200, 2);
    assert.equal(core.commitLsn, at(200));
  });

  it('does not count a member without a vote, nor hear one that is no member any more', () => {
    const core = elected(configuration(1, 'a b c'));
    core.lead(at(100));
    started(core, 'a', 100, 1, configuration(2, 'a b (d)'));
    for (const id of ['a', 'd']) started(core, id, 100, 2);
    assert.equal(core.settled, -1);
    assert.equal(core.startEpoch('c'), null);
    ack(core, 'c', 100, 2);
    started(core, 'b', 100, 2);
    assert.equal(core.settled, 2);
  });
});
