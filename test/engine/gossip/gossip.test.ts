// The parts of gossip on their own: joining news is commutative, associative and idempotent, so that no order of messages matters; messages
// keep their bounds whatever a member knows, and fit the wire; what breaks a bound is refused whole; any sound message, however
// wild its claims, leaves the machine within its bounds and its own word above everybody's.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { isDbError } from '../../../src/engine/errors.js';
import { lsn } from '../../../src/engine/lsn.js';
import { digestOf, emptyVector, fitNews, isNewer, join } from '../../../src/engine/gossip/member.js';
import { Gossip, ADDRESS_BYTES_MAX, COUNTER_MAX, ID_BYTES_MAX, MEMBERS_MAX, MESSAGE_KINDS, STATUSES, type GossipMessage, type LocalState, type MemberNews } from '../../../src/engine/gossip/index.js'; // prettier-ignore
import { gossipBody, gossipMessage } from '../../../src/net/gossip-codec.js';
import * as m from '../../../src/net/messages.js';

const STATE: LocalState = {
  epoch: 1,
  scl: lsn(1),
  commitLsn: lsn(1),
  appliedLsn: lsn(1),
  gcLsn: lsn(0),
  load: 0,
  condition: 'ok',
};

/** A version of an incarnation has one content: what the laws ask for. */
const newsOf = (id: string, incarnation: number, status: (typeof STATUSES)[number], version: number): MemberNews => ({
  id,
  incarnation,
  status,
  vector: { ...emptyVector(`${id}:1`), version, scl: lsn(incarnation * 1000 + version) },
}); // prettier-ignore

const anyNews = (ids: fc.Arbitrary<string>, countMax = 4): fc.Arbitrary<MemberNews> =>
  fc.tuple(ids, fc.nat(countMax), fc.constantFrom(...STATUSES), fc.nat(countMax)).map((parts) => newsOf(...parts)); // prettier-ignore

const ids = fc.constantFrom('a', 'b', 'c', 'self', 'd');

const anyMessage: fc.Arbitrary<GossipMessage> = fc
  .record({
    kind: fc.constantFrom(...MESSAGE_KINDS),
    seq: fc.nat(0xffff_ffff),
    target: ids,
    digest: fc.uniqueArray(anyNews(ids, 100_000).map(digestOf), { maxLength: 5, selector: ({ id }) => id }),
    news: fc.array(anyNews(ids, 100_000), { maxLength: 5 }),
    wants: fc.array(ids, { maxLength: 5 }),
  })
  .map((message) => ({
    ...message,
    target: ['ping-req', 'relayed-ack'].includes(message.kind) ? message.target : '',
    digest: message.kind === 'ping' ? message.digest : [],
    wants: message.kind === 'ack' ? message.wants : [],
  }));

function machine(id = 'self', seeds: string[] = ['a', 'b']): Gossip {
  return new Gossip({
    id,
    address: `${id}:1`,
    incarnation: 10_000,
    seeds: seeds.map((seed) => ({ id: seed, address: `${seed}:1` })),
    intervalMs: 1000,
    random: () => 0.5,
    nowMs: 0,
  });
}

const message = (kind: GossipMessage['kind'], parts: Partial<GossipMessage> = {}): GossipMessage => ({
  kind,
  seq: 1,
  target: '',
  digest: [],
  news: [],
  wants: [],
  ...parts,
});

describe('gossip: news', () => {
  const one = anyNews(fc.constant('x'));

  it('join in any order, any number of times, to the same', () => {
    fc.assert(
      fc.property(one, one, one, (a, b, c) => {
        assert.deepEqual(join(a, b), join(b, a));
        assert.deepEqual(join(join(a, b), c), join(a, join(b, c)));
        assert.equal(join(a, a), a);
        const both = join(a, b);
        assert.equal(join(both, b), both);
      }),
    );
  });

  it('are newer exactly when joining them changes something', () => {
    fc.assert(
      fc.property(one, one, (a, b) => {
        assert.equal(isNewer(digestOf(b), digestOf(a)), join(a, b) !== a);
      }),
    );
  });

  it('a higher incarnation outdoes death, and a suspicion outdoes any version of life', () => {
    assert.equal(join(newsOf('x', 1, 'dead', 9), newsOf('x', 2, 'alive', 1)).status, 'alive');
    const suspect = join(newsOf('x', 2, 'alive', 9), newsOf('x', 2, 'suspect', 1));
    assert.deepEqual([suspect.status, suspect.vector.version], ['suspect', 9]);
  });
});

describe('gossip: bounds', () => {
  const longId = (i: number): string => `${i}-`.padEnd(ID_BYTES_MAX, 'x');
  const flood = Array.from({ length: MEMBERS_MAX + 50 }, (_, i) => {
    const news = newsOf(longId(i), 1, 'alive', 1);
    return { ...news, vector: { ...news.vector, address: 'h'.repeat(ADDRESS_BYTES_MAX) } };
  });

  it('a machine that knows as many members as it may, with the longest names, still sends what others accept and a frame holds', () => {
    const gossip = machine();
    for (const news of flood) gossip.receive('a', message('news', { news: [news] }), 0);
    assert.equal(gossip.view(0).members.length, MEMBERS_MAX);
    assert.equal(gossip.counters.membersRefused, 53); // self and two seeds have their place
    const receiver = machine('b', ['self']);
    const out = gossip.tick(1000, STATE);
    const ping = message('ping', { digest: [digestOf(newsOf('nobody', 0, 'dead', 0))] });
    out.push(...gossip.receive('b', ping, 1000));
    out.push(...gossip.receive('b', message('ack', { wants: flood.slice(0, MEMBERS_MAX).map(({ id }) => id) }), 1000)); // prettier-ignore
    assert.deepEqual(out.map((one) => one.message.kind), ['ping', 'ack', 'news']); // prettier-ignore
    for (const { message: sent } of out) {
      const frame = m.encodeFrame(m.Gossip, gossipBody(sent));
      assert.ok(frame.length < m.GOSSIP_BYTES_MAX, `${sent.kind} of ${frame.length} bytes`);
      const { body } = m.decodeFrame(frame);
      const arrived = gossipMessage(body as m.BodyOf<typeof m.Gossip>);
      assert.deepEqual(arrived, sent);
      receiver.receive('self', arrived, 0);
    }
  });

  it('what does not fit one message comes with the next ones', () => {
    const all = flood.slice(0, 400);
    const sender = new Gossip({ id: 'self', address: 'self:1', incarnation: 1, seeds: [], intervalMs: 1000, nowMs: 0, random: Math.random }); // prettier-ignore
    for (const news of all) sender.receive('a', message('news', { news: [news] }), 0);
    const receiver = machine('b', ['self']);
    let exchanges = 0;
    for (; receiver.view(0).members.length < 402 && exchanges < 20; exchanges++) {
      const ping = receiver.tick((exchanges + 1) * 5000, STATE).find((out) => out.message.kind === 'ping');
      for (const { message: answer } of sender.receive('b', ping?.message ?? message('ping'), 0))
        receiver.receive('self', answer, (exchanges + 1) * 5000);
    }
    assert.ok(exchanges > 1 && exchanges < 20, `${exchanges} exchanges`);
  });

  it('fitNews takes each member once', () => {
    const news = newsOf('x', 1, 'alive', 1);
    assert.deepEqual(fitNews([news, news]), [news]);
  });

  const sound = newsOf('c', 1, 'alive', 1);
  const bad: [string, GossipMessage][] = [
    ['an empty id', message('news', { news: [{ ...sound, id: '' }] })],
    ['an id that is too long', message('news', { news: [{ ...sound, id: 'x'.repeat(ID_BYTES_MAX + 1) }] })],
    ['an id that would write to a terminal', message('news', { news: [{ ...sound, id: 'a\x1b[2J' }] })],
    ['an incarnation that cannot be counted to', message('news', { news: [{ ...sound, incarnation: COUNTER_MAX + 1 }] })], // prettier-ignore
    [
      'a negative version',
      message('news', { news: [{ ...sound, vector: { ...sound.vector, version: -1 } }] }),
    ],
    ['a load above all', message('news', { news: [{ ...sound, vector: { ...sound.vector, load: 1001 } }] })],
    ['an address that is too long', message('news', { news: [{ ...sound, vector: { ...sound.vector, address: 'h'.repeat(ADDRESS_BYTES_MAX + 1) } }] })], // prettier-ignore
    ['too much news', message('news', { news: flood.slice(0, 400) })],
    ['too long a digest', message('ping', { digest: flood.map(digestOf) })],
    ['a digest where none belongs', message('ack', { digest: [digestOf(sound)] })],
    ['a digest with a member twice', message('ping', { digest: [digestOf(sound), digestOf(sound)] })],
    ['wants where none belong', message('news', { wants: ['a'] })],
    ['a ping-req without a target', message('ping-req')],
    ['a fraction', message('ping', { seq: 1.5 })],
  ];
  for (const [what, wrong] of bad)
    it(`${what} is refused, and nothing of the message counts`, () => {
      const gossip = machine();
      const mixed = { ...wrong, news: [newsOf('d', 1, 'alive', 1), ...wrong.news] };
      assert.throws(() => gossip.receive('a', mixed, 0), (err) => isDbError(err, 'GOSSIP_BAD_MESSAGE')); // prettier-ignore
      assert.deepEqual(gossip.view(0).members.map(({ id }) => id), ['a', 'b', 'self']); // prettier-ignore
    });

  it('a frame longer than any gossip is refused before it is decoded', () => {
    const frame = m.encodeFrame(m.Gossip, gossipBody(message('news')));
    const long = Buffer.concat([frame, Buffer.alloc(m.GOSSIP_BYTES_MAX)]);
    assert.throws(() => m.decodeFrame(long), (err) => isDbError(err, 'WIRE_TOO_LONG')); // prettier-ignore
  });
});

describe('gossip: a machine among liars', () => {
  it('keeps its own word above everybody’s, never goes back, and stays within its bounds, whatever sound messages say', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(ids, anyMessage, fc.nat(3000)), { maxLength: 40 }), (steps) => {
        const gossip = machine();
        let now = 0;
        let incarnation = gossip.incarnation;
        for (const [from, incoming, passes] of steps) {
          now += passes;
          const out = [...gossip.receive(from, incoming, now), ...gossip.tick(now, STATE)];
          assert.ok(gossip.incarnation >= incarnation);
          incarnation = gossip.incarnation;
          for (const item of [...incoming.news, ...incoming.digest])
            if (item.id === 'self' && from !== 'self')
              assert.ok(item.incarnation <= incarnation, 'someone is ahead of its own incarnation');
          const self = gossip.view(now).members.find((member) => member.self)!;
          assert.equal(self.state, 'alive');
          assert.ok(out.length <= 8);
          for (const { to, message: sent } of out) {
            assert.notEqual(to, 'self');
            machine('other', []).receive('self', sent, 0); // throws on a message that is not sound
          }
        }
      }),
    );
  });

  it('takes on only so many probes for others, and answers for them once', () => {
    const gossip = machine();
    const asked = Array.from({ length: 100 }, (_, i) => gossip.receive('b', message('ping-req', { seq: i + 1, target: 'a' }), 0)).flat(); // prettier-ignore
    assert.equal(asked.length, 64);
    const { seq } = asked[0]!.message;
    assert.deepEqual(gossip.receive('b', message('ack', { seq }), 0), [], 'not the one that was probed');
    const [answer] = gossip.receive('a', message('ack', { seq }), 0);
    assert.deepEqual([answer?.to, answer?.message.kind, answer?.message.seq, answer?.message.target], ['b', 'relayed-ack', 1, 'a']); // prettier-ignore
    assert.deepEqual(gossip.receive('a', message('ack', { seq }), 0), []);
  });

  it('after a pause (SIGSTOP, a jump of the clock) takes nobody for dead whom it had no time to hear', () => {
    const gossip = machine();
    const [ping] = gossip.tick(0, STATE);
    for (let now = 200; now <= 1200; now += 200) gossip.tick(now, STATE);
    const stateOf = (now: number): string =>
      gossip.view(now).members.find(({ id }) => id === ping!.to)!.state;
    gossip.receive('b', message('news', { news: [newsOf('a', 1, 'suspect', 1), newsOf('b', 1, 'suspect', 1)] }), 1200); // prettier-ignore
    const late = 1200 + 3_600_000;
    gossip.tick(late, STATE);
    gossip.tick(late + 200, STATE);
    assert.equal(stateOf(late + 200), 'suspect');
    for (let now = late + 400; now < late + 8000; now += 200) gossip.tick(now, STATE);
    assert.equal(stateOf(late + 8000), 'dead');
  });

  it('tells a rumour unasked, so many times and no more', () => {
    const gossip = machine();
    const news = [newsOf('c', 1, 'alive', 1)];
    gossip.receive('a', message('news', { news }), 0);
    const pings: GossipMessage[] = [];
    for (let now = 500; pings.length < 12; now += 500)
      for (const { to, message: sent } of gossip.tick(now, STATE)) {
        pings.push(sent);
        gossip.receive(to, message('ack', { seq: sent.seq }), now);
      }
    const told = pings.map((ping) => ping.news.some(({ id }) => id === 'c'));
    assert.deepEqual(told, [...Array(7).fill(true), ...Array(5).fill(false)]); // 3 log2(4 members + 1), rounded up
  });

  it('probes through others what does not answer itself', () => {
    const gossip = machine();
    const [ping] = gossip.tick(0, STATE);
    const target = ping!.to;
    assert.deepEqual(gossip.tick(200, STATE), []);
    const [request] = gossip.tick(500, STATE);
    assert.deepEqual([request?.message.kind, request?.message.target], ['ping-req', target]);
    gossip.receive(request!.to, message('relayed-ack', { seq: request!.message.seq, target }), 700);
    gossip.tick(1000, STATE);
    gossip.tick(1400, STATE);
    assert.deepEqual([gossip.counters.rounds, gossip.counters.probesFailed], [2, 0]);
  });
});
