/** Who follows a primary that is gone: only when a read quorum finds it so, the first in line first, and never after a stop on purpose. */
import assert from 'node:assert/strict';
import {
  DEFAULT_FAILOVER_TIMES as TIMES,
  hasEnded,
  judge,
  mergeReports,
  otherPrimary,
  primaryOf,
  type NodeReport,
} from '../../../src/engine/computes/policy.js';
import { ComputeRegistry } from '../../../src/engine/computes/registry.js';
import { computeOfWriter, writerIdOf, type KnownCompute } from '../../../src/engine/computes/types.js';
import { lsn } from '../../../src/engine/lsn.js';
import { knownCompute as compute } from '../../helpers/known-compute.js';

const primary = (more: Partial<KnownCompute> = {}): KnownCompute =>
  compute('p', { role: 'primary', ...more });
const gone = (more: Partial<KnownCompute> = {}): KnownCompute => primary({ ageMs: 60_000, ...more });

/** One report a list of computes. */
function reports(...lists: KnownCompute[][]): NodeReport[] {
  return lists.map((computes, i) => ({
    nodeId: String(i + 1),
    sinceMs: 5,
    heardForMs: 60_000,
    view: { promisedEpoch: 3, promisedTo: 'p:x', commitLsn: lsn(100), computes },
  }));
}

const kindOf = (list: NodeReport[], name = 'a', remembered: KnownCompute | null = null): string =>
  judge(list, name, 2, TIMES, remembered).kind;

describe('failover policy', () => {
  it('takes a successor for ended only when a read quorum of fresh answers has not heard of it', () => {
    const [a, dead] = [compute('a'), compute('a', { ageMs: 1500, connected: false })];
    const ended = (list: NodeReport[]): boolean => hasEnded(list, 'a', 2, TIMES);
    assert.equal(ended(reports([dead], [dead])), true);
    assert.equal(ended(reports([], [])), true);
    assert.equal(ended(reports([dead], [dead], [a])), false, 'one node has heard of it');
    assert.equal(ended(reports([compute('a', { ageMs: 1500 })], [dead])), false, 'its connection stands');
    assert.equal(ended(reports([dead])), false, 'too few answer');
    const [one, two] = reports([dead], [dead]);
    assert.equal(ended([one!, { ...two!, sinceMs: 10_000 }]), false, 'an answer of long ago');
  });

  it('stays with a primary that lives, or is seen by enough nodes', () => {
    const a = compute('a');
    assert.equal(kindOf(reports([primary(), a], [primary(), a], [primary(), a])), 'stay');
    assert.equal(kindOf(reports([gone(), a], [primary(), a], [primary(), a])), 'stay');
    assert.equal(kindOf(reports([gone(), a], [gone(), a], [primary(), a])), 'gone');
  });

  it('needs a read quorum of answers that are of now', () => {
    const [one, two] = reports([gone(), compute('a')], [gone(), compute('a')]);
    assert.equal(kindOf([one!]), 'stay');
    assert.equal(kindOf([one!, { ...two!, sinceMs: 10_000 }]), 'stay');
    assert.equal(kindOf([one!, two!]), 'gone');
    assert.equal(
      kindOf(reports([compute('a')], [compute('a')])),
      'stay',
      'a primary that nobody has ever seen',
    );
  });

  it('believes in a death sooner when the connection broke as well', () => {
    const silent = primary({ ageMs: 2000 });
    const cutOff = primary({ ageMs: 2000, connected: false });
    const a = compute('a');
    assert.equal(kindOf(reports([silent, a], [silent, a])), 'stay');
    assert.equal(kindOf(reports([cutOff, a], [cutOff, a])), 'gone');
    const blink = primary({ ageMs: 200, connected: false });
    assert.equal(kindOf(reports([blink, a], [blink, a])), 'stay');
  });

  it('lines up by priority, then by name; one that is starting comes last, who may not follow or is dead has no place', () => {
    const line = [
      gone(),
      compute('a', { priority: 10 }),
      compute('b', { priority: 90 }),
      compute('c', { priority: 90 }),
      compute('never', { priority: 100, failover: false }),
      compute('starting', { priority: 100, state: 'starting' }),
      compute('dead', { priority: 100, ageMs: 20_000 }),
    ];
    const after = (name: string): number | null => {
      const verdict = judge(reports(line, line), name, 2, TIMES, null);
      return verdict.kind === 'gone' ? verdict.afterMs : null;
    };
    assert.deepEqual(['b', 'c', 'a', 'never', 'starting'].map(after), [
      0,
      TIMES.turnMs,
      2 * TIMES.turnMs,
      null,
      3 * TIMES.turnMs,
    ]);
  });

  it('leaves alone a primary that was stopped on purpose, and the one who is on the way', () => {
    const a = compute('a');
    const stopped = gone({ resigned: 'stopped' });
    assert.equal(kindOf(reports([stopped, a], [stopped, a])), 'stay');
    const promoting = compute('b', { state: 'promoting' });
    assert.equal(kindOf(reports([gone(), a, promoting], [gone(), a, promoting])), 'stay');
    assert.equal(kindOf(reports([gone(), a, promoting], [gone(), a], [gone(), a])), 'gone', 'it is cut off');
    const handing = primary({ resigned: 'handover', successor: 'a' });
    assert.equal(kindOf(reports([handing, a], [handing, a])), 'successor');
    assert.equal(kindOf(reports([handing, compute('b')], [handing, compute('b')]), 'b'), 'stay');
    const lost = gone({ resigned: 'handover', successor: 'x' });
    assert.equal(kindOf(reports([lost, a], [lost, a])), 'gone', 'handed over to nobody, and then it died');
  });

  it('the second in line keeps its turn while the first is on its way, also when few have heard of that', () => {
    const first = compute('b', { priority: 90 });
    const after = (...lists: KnownCompute[][]): number => {
      const verdict = judge(reports(...lists), 'a', 2, TIMES, null);
      return verdict.kind === 'gone' ? verdict.afterMs : NaN;
    };
    const a = compute('a');
    assert.equal(after([gone(), a, first], [gone(), a, first]), TIMES.turnMs);
    for (const role of ['replica', 'primary'] as const) {
      const onItsWay = compute('b', { priority: 90, role, state: 'promoting', ageMs: 1, epoch: 0 });
      assert.equal(after([gone(), a, onItsWay], [gone(), a], [gone(), a]), TIMES.turnMs, role);
      const dead = { ...onItsWay, ageMs: 60_000 };
      assert.equal(after([gone(), a, dead], [gone(), a, dead], [gone(), a, dead]), 0, `${role}, dead`);
    }
  });

  it('leaves alone a primary that has just arrived, though some nodes were asked before it had', () => {
    const a = compute('a');
    const before = compute('b', { ageMs: 200 });
    const onItsWay = compute('b', { role: 'primary', state: 'promoting', epoch: 0, ageMs: 100 });
    const arrived = compute('b', { role: 'primary', epoch: 4, ageMs: 1 });
    assert.equal(kindOf(reports([gone(), a, arrived], [gone(), a, onItsWay], [gone(), a, before])), 'stay');
    assert.equal(kindOf(reports([gone(), a, onItsWay], [gone(), a, before], [gone(), a])), 'stay');
    // But one that reaches a single node cannot write: the two others have not heard of it for long.
    const unheard = { ...arrived, ageMs: 60_000 };
    assert.equal(kindOf(reports([gone(), a, arrived], [gone(), a, unheard], [gone(), a, unheard])), 'gone');
  });

  it('misses a primary that nodes which were restarted do not know, once they have heard nothing for long enough', () => {
    const a = compute('a');
    const nodes = (...heardForMs: number[]): NodeReport[] =>
      reports(...heardForMs.map(() => [a])).map((report, i) => ({ ...report, heardForMs: heardForMs[i]! }));
    const [knows] = reports([gone(), a]);
    const enough = 2 * TIMES.silentMs;
    const long = enough + 1;
    // Two of three restarted, with the primary: the third remembers it.
    assert.equal(kindOf([knows!, ...nodes(enough)]), 'stay', 'it may be connecting again');
    assert.equal(kindOf([knows!, ...nodes(long)]), 'gone');
    const [stopped] = reports([gone({ resigned: 'stopped' }), a]);
    assert.equal(kindOf([stopped!, ...nodes(long, long)]), 'stay', 'it was stopped on purpose');
    assert.equal(kindOf([...reports([primary(), a]), ...nodes(long)]), 'stay', 'one of two hears it');
    // All of them: only the replica itself remembers.
    const last = primary();
    assert.equal(kindOf(nodes(long, long)), 'stay', 'nobody remembers any');
    assert.equal(kindOf(nodes(long, long), 'a', last), 'gone');
    assert.equal(kindOf(nodes(long, 100), 'a', last), 'stay');
    assert.equal(kindOf(nodes(long, long), 'a', { ...last, resigned: 'stopped' }), 'stay');
    assert.equal(
      kindOf(nodes(long, long), 'a', { ...last, epoch: 2 }),
      'stay',
      'another one was elected since',
    );
    const back = reports([primary({ ageMs: 10 }), a]);
    assert.equal(kindOf([...back, ...nodes(long)], 'a', last), 'stay', 'it is back, at one node so far');
  });

  it('takes the newest word of each compute, and the newest epoch of two primaries', () => {
    const merged = mergeReports(reports([primary({ ageMs: 500 })], [primary({ ageMs: 20, epoch: 4 })]));
    assert.deepEqual(
      merged.map(({ epoch, ageMs }) => [epoch, ageMs]),
      [[4, 25]],
    );
    assert.equal(primaryOf([primary({ epoch: 3 }), compute('n', { role: 'primary', epoch: 5 })])?.name, 'n');
    assert.equal(otherPrimary(reports([primary()]), 'p', TIMES), null);
    assert.equal(otherPrimary(reports([primary()]), 'a', TIMES)?.name, 'p');
    assert.equal(otherPrimary(reports([gone()]), 'a', TIMES), null);
  });
});

describe('compute registry', () => {
  const beat = compute('a');

  it('remembers the primary for as long as none has followed it, and forgets silent replicas', () => {
    const registry = new ComputeRegistry();
    const connection = {};
    registry.beat(beat, connection, 0);
    registry.beat(primary(), {}, 0);
    registry.disconnected(connection);
    assert.deepEqual(
      registry.list(1000).map(({ name, ageMs, connected }) => [name, ageMs, connected]),
      [
        ['a', 1000, false],
        ['p', 1000, true],
      ],
    );
    assert.deepEqual(
      registry.list(3_600_000).map((c) => c.name),
      ['p'],
    );
    registry.beat(compute('b', { role: 'primary', epoch: 4 }), {}, 3_600_000);
    assert.deepEqual(
      registry.list(3_600_000).map((c) => c.name),
      ['b'],
    );
  });

  it('has its limits', () => {
    const registry = new ComputeRegistry();
    for (let i = 0; i < 200; i++) registry.beat(compute(`c${i}`), {}, 0);
    assert.throws(() => registry.beat(compute('one more'), {}, 0), { code: 'NODE_BUSY' });
    registry.beat(compute('c7'), {}, 0);
  });

  it('names the compute in a writer id', () => {
    assert.equal(computeOfWriter(writerIdOf('r-1', 'abc:d')), 'r-1');
    assert.equal(computeOfWriter('6f1c'), null);
    assert.equal(computeOfWriter(writerIdOf('', 'x')), null);
  });
});
