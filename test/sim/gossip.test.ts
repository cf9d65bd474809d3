// The real gossip state machine under a seeded simulation: 10 to 200 members with clocks of their own, a network that drops, delays,
// duplicates, reorders and partitions, crashes and restarts. Proves, per seed: news reach all in O(log n) rounds; nobody is taken for
// dead without loss; a death is known to all within a bounded time; the wrongly suspected refute; a restarted member is back under a higher
// incarnation; what is held of a member never goes back within one incarnation; whatever happened, a healed network agrees.
// GOSSIP_SEEDS=n sets how many seeds of the last part, SEED=n replays one.
import assert from 'node:assert/strict';
import { suspicionRounds } from '../../src/engine/gossip/index.js';
import { GossipSim, ROUND, stateAt, type GossipSimOptions } from './gossip-run.js';

/** Rounds for news to be everywhere, per log2 of the members. */
const SPREAD = 2;
const SIZES = [10, 50, 100, 200];

/** A run whose failure says how to have it again. */
function simulate(options: GossipSimOptions, play: (sim: GossipSim) => void): GossipSim {
  const sim = new GossipSim(options);
  try {
    play(sim);
    return sim;
  } catch (err) {
    throw new Error(
      `seed ${options.seed} failed (${(err as Error).message}); replay with SEED=${options.seed}; options ${JSON.stringify(options)}`,
      { cause: err },
    );
  }
}

/** Each member's progress now; how many rounds until every live member has heard of at least that much of each other. */
function spread(sim: GossipSim, limit: number): number {
  const truth = new Map(sim.live.map(({ id, progress }) => [id, progress]));
  const waiting = new Set(sim.live);
  return sim.rounds('news of all at all', limit, () => {
    for (const member of waiting) {
      const views = new Map(member.gossip!.view(member.now).members.map((view) => [view.id, view]));
      if ([...truth].every(([id, progress]) => id === member.id || (views.get(id)?.epoch ?? -1) >= progress))
        waiting.delete(member);
    }
    return waiting.size === 0;
  });
}

/** Detection in rounds: someone's turn to probe it, a failed round, the suspicion, and word of it going round. */
function deathBound(nodes: number): number {
  return 6 + 1 + suspicionRounds(nodes) + SPREAD * Math.log2(nodes);
}

describe('gossip simulation', function () {
  this.timeout(60_000);
  const replay = process.env['SEED'];
  const seedsOf = (count: number): number[] =>
    replay ? [Number(replay)] : Array.from({ length: count }, (_, i) => i + 1);

  for (const nodes of SIZES) {
    it(`${nodes} members: news are everywhere within ${SPREAD} log2(n) rounds, and nobody dies`, () => {
      for (const seed of seedsOf(nodes > 10 ? 1 : 3)) {
        simulate({ seed, nodes, seeds: 3 }, (sim) => {
          const limit = SPREAD * Math.log2(nodes);
          // From knowing three others to knowing all: a start is two spreads, of the members and of their news.
          const meeting = sim.rounds('all know all', 2 * limit, () => sim.agreed());
          const rounds = spread(sim, limit);
          assert.deepEqual(sim.deaths(), []);
          console.log(
            `      n=${nodes} seed=${seed}: all met after ${meeting} rounds; spread in ${rounds} of ${limit.toFixed(1)} rounds`,
          );
        });
      }
    });

    it(`${nodes} members: a crash is known to all within ${deathBound(nodes).toFixed(0)} rounds, a restart soon after`, () => {
      for (const seed of seedsOf(nodes > 10 ? 1 : 3)) {
        simulate({ seed, nodes }, (sim) => {
          sim.run(4);
          const victim = sim.ids[seed % nodes]!;
          const member = sim.member(victim);
          const before = member.gossip!.incarnation;
          member.crash();
          const suspected = sim.rounds('suspected by someone', 8, () => sim.live.some(({ events }) => events.some((e) => e.id === victim && e.to === 'suspect'))); // prettier-ignore
          const died = sim.rounds('dead to all', deathBound(nodes), () => sim.allSee(victim, 'dead'));
          assert.deepEqual(sim.deaths((id) => id !== victim), []); // prettier-ignore
          member.start(sim.ids);
          const back = sim.rounds('alive to all', SPREAD * Math.log2(nodes) + 2, () => sim.allSee(victim, 'alive')); // prettier-ignore
          assert.ok(sim.live.every((m) => m.id === victim || m.view(victim)!.incarnation > before));
          console.log(
            `      n=${nodes} seed=${seed}: suspected after ${suspected}, dead to all after ${suspected + died}, back after ${back} rounds`,
          );
        });
      }
    });
  }

  it('nobody is suspected for long delays, duplicates and skewed clocks alone', () => {
    for (const seed of seedsOf(5)) {
      const faults = { duplicateRate: 0.2, delayMin: 5, delayTail: 60 };
      simulate({ seed, nodes: 12, faults, drift: 0.2, encode: true }, (sim) => {
        sim.run(100);
        assert.deepEqual(sim.deaths(), []);
        assert.ok(sim.agreed());
      });
    }
  });

  it('a member that was cut off for less than the suspicion refutes: nobody takes it for dead', () => {
    let refutations = 0;
    for (const seed of seedsOf(20)) {
      simulate({ seed, nodes: 8, encode: true }, (sim) => {
        sim.run(5);
        const victim = sim.ids[seed % 8]!;
        const before = sim.member(victim).gossip!.incarnation;
        sim.world.partition(new Map(sim.ids.map((id) => [id, id === victim ? 1 : 0])));
        sim.run(3);
        const suspected = sim.live.some((member) => member.view(victim)?.state === 'suspect');
        sim.heal();
        sim.rounds('all alive again', suspicionRounds(8) + 8, () => sim.agreed());
        assert.deepEqual(sim.deaths((id) => id === victim), []); // prettier-ignore
        if (suspected) assert.ok(sim.member(victim).gossip!.incarnation > before);
        refutations += sim.member(victim).gossip!.counters.refutations;
      });
    }
    if (!replay) assert.ok(refutations >= 15, `only ${refutations} refutations in 20 runs`);
  });

  it('two members that cannot reach each other, while the others can, are vouched for: nobody is suspected', () => {
    for (const seed of seedsOf(3)) {
      simulate({ seed, nodes: 6, encode: true }, (sim) => {
        sim.run(5);
        sim.world.partition(new Map([['node-2', 0], ['node-5', 1]])); // prettier-ignore
        sim.run(60);
        assert.deepEqual(sim.live.flatMap(({ events }) => events.filter(({ to }) => to !== 'alive')), []); // prettier-ignore
        assert.ok(sim.member('node-2').gossip!.counters.indirectProbes > 10);
      });
    }
  });

  it('a stopped member (SIGSTOP) dies to the others, refutes when it goes on, and takes none of them for dead', () => {
    for (const seed of seedsOf(10)) {
      simulate({ seed, nodes: 3, encode: true }, (sim) => {
        sim.run(5);
        const stopped = sim.member('node-2');
        const before = stopped.gossip!.incarnation;
        stopped.paused = true;
        sim.rounds('dead to the others', 10, () => sim.allSee('node-2', 'dead'));
        sim.run(20);
        stopped.resume();
        sim.rounds('alive to all', 5, () => sim.agreed());
        assert.ok(stopped.gossip!.incarnation > before && stopped.gossip!.counters.refutations > 0);
        assert.deepEqual(stopped.events.filter((event) => event.to === 'dead'), []); // prettier-ignore
      });
    }
  });

  it('halves that took each other for dead find together when the partition ends', () => {
    for (const seed of seedsOf(3)) {
      simulate({ seed, nodes: 40 }, (sim) => {
        sim.run(3);
        sim.world.partition(new Map(sim.ids.map((id, i) => [id, i % 2])));
        sim.rounds('each half alone', 40, () => sim.live.every((m) => m.gossip!.view(m.now).members.filter((v) => v.state === 'dead').length === 20)); // prettier-ignore
        sim.heal();
        const rounds = sim.rounds('one again', 4 * Math.log2(40), () => sim.agreed());
        console.log(`      n=40 seed=${seed}: one again after ${rounds} rounds`);
      });
    }
  });

  it('a member that lost its memory, and counts its starts anew, is alive again to all', () => {
    for (const seed of seedsOf(5)) {
      simulate({ seed, nodes: 6, encode: true }, (sim) => {
        const member = sim.member('node-4');
        for (let life = 0; life < 3; life++) {
          sim.run(4);
          member.crash();
          member.start(sim.ids);
        }
        sim.run(4);
        const before = member.gossip!.incarnation;
        member.crash();
        member.start(sim.ids, 1);
        member.progress = 0;
        sim.rounds('alive to all', 10, () => sim.agreed() && sim.live.every((m) => m.view('node-4')!.incarnation > before)); // prettier-ignore
      });
    }
  });

  it('a member that leaves is gone to all and dead to nobody', () => {
    for (const seed of seedsOf(5)) {
      simulate({ seed, nodes: 20 }, (sim) => {
        sim.run(4);
        const leaver = sim.member('node-7');
        sim.send('node-7', leaver.gossip!.leave());
        leaver.crash();
        sim.rounds('left to all', SPREAD * Math.log2(20), () => sim.allSee('node-7', 'left'));
        sim.run(20);
        assert.ok(sim.allSee('node-7', 'left'));
        assert.deepEqual(sim.deaths(), []);
      });
    }
  });

  it('holds its invariants through random faults, and agrees once they end', function () {
    const seeds = seedsOf(Number(process.env['GOSSIP_SEEDS'] ?? 50));
    this.timeout(60_000 + seeds.length * 500);
    let [messages, deaths, bytesMax] = [0, 0, 0];
    for (const seed of seeds) {
      const nodes = 3 + (seed % 10);
      const faults = { dropRate: [0, 0.1, 0.4][seed % 3]!, duplicateRate: 0.1, delayTail: [20, 200, 1500][seed % 4] ?? 20 }; // prettier-ignore
      const sim = simulate({ seed, nodes, faults, drift: 0.2, encode: true }, (run) => {
        chaos(run, 40);
        run.heal();
        for (const id of run.ids) {
          const member = run.member(id);
          if (!member.gossip) member.start(run.ids);
          else if (member.paused) member.resume();
        }
        run.rounds('agreement after healing', 8 * Math.log2(nodes) + 8, () => run.agreed());
        spread(run, SPREAD * Math.log2(nodes) + 2);
        for (const member of run.live)
          for (const view of member.gossip!.view(member.now).members) {
            const { epoch, scl, appliedLsn, gcLsn, load } = stateAt(view.epoch);
            const whole = [view.epoch, view.scl, view.appliedLsn, view.gcLsn, view.load];
            assert.deepEqual(whole, [epoch, scl, appliedLsn, gcLsn, load], 'a vector of two versions');
          }
      });
      messages += sim.messages;
      deaths += sim.deaths().length;
      bytesMax = Math.max(bytesMax, sim.bytesMax);
    }
    console.log(`      ${seeds.length} seeds, ${messages} messages, longest ${bytesMax} bytes, ${deaths} deaths noted`); // prettier-ignore
    if (!replay) assert.ok(deaths > seeds.length, 'a simulation in which nobody dies proves nothing');
  });
});

/** So many rounds of crashes, restarts, pauses and partitions. */
function chaos(sim: GossipSim, rounds: number): void {
  const { world } = sim;
  const end = world.now + rounds * ROUND;
  while (world.now < end) {
    const member = sim.member(world.pick(sim.ids));
    const kind = world.pick(['crash', 'start', 'start', 'pause', 'resume', 'resume', 'partition', 'join'] as const); // prettier-ignore
    if (kind === 'crash') member.crash();
    else if (kind === 'start' && !member.gossip) member.start(sim.ids);
    else if (kind === 'pause' && member.gossip) member.paused = true;
    else if (kind === 'resume' && member.paused) member.resume();
    else if (kind === 'partition') world.partition(new Map(sim.ids.map((id) => [id, world.between(0, 1)])));
    else if (kind === 'join') world.partition(new Map());
    sim.run(world.random() * 3);
  }
}
