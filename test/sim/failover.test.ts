// The real failover policy, watch and registry under a seeded simulation: computes that die, hang, are cut off from some nodes or all, silently or not, are
// stopped on purpose and come back; storage nodes that are restarted and forget who lives. Proves, per seed: nobody is promoted while the primary is heard
// by so many nodes that no read quorum misses it; one that was stopped on purpose is followed by nobody; and when all is mended there is one primary again,
// soon and for good, unless nobody is left who remembers that there was one. SIM_SEEDS=n sets how many seeds, SEED=n replays one.
import assert from 'node:assert/strict';
import { FailoverSim, type SimCompute } from './failover-run.js';

const CALM = 60_000;
const FAULTS_FOR = 90_000;

interface Tally {
  promotions: number;
  elections: number;
  forgotten: number;
}

function play(seed: number): Tally {
  const sim = new FailoverSim({ seed, nodes: [3, 3, 5, 6][seed % 4]!, computes: 2 + (seed % 4) });
  const { world } = sim;
  world.run(30_000);
  assert.equal(sim.primary?.name, 'c0', 'the first is the primary');
  assert.equal(sim.promotions.length, 0, 'a start without faults promotes nobody');

  const until = world.now + FAULTS_FOR;
  while (world.now < until) {
    fault(sim);
    world.run(world.now + world.between(200, 8000));
  }
  mendAll(sim);
  world.run(world.now + CALM);
  const forgotten = settled(sim);
  if (forgotten === 0) {
    blackout(sim);
    stopOnPurpose(sim);
  }
  return { promotions: sim.promotions.length, elections: sim.elections, forgotten };
}

function fault(sim: FailoverSim): void {
  const { world } = sim;
  const compute = world.chance(0.6) ? (sim.primary ?? world.pick(sim.computes)) : world.pick(sim.computes);
  const some = sim.nodes.filter(() => world.chance(0.6));
  const wasPrimary = compute.role === 'primary';
  switch (world.between(0, 5)) {
    case 0:
      if (!compute.isUp) return;
      compute.die();
      world.after(
        world.between(500, 20_000),
        () => compute.isUp || compute.start(wasPrimary ? 'primary' : 'replica'),
      );
      return;
    case 1:
      if (!compute.isUp) return;
      compute.paused = true;
      world.after(world.between(500, 15_000), () =>
        Object.assign(compute, { paused: false, aliveSince: world.now }),
      );
      return;
    case 2:
    case 3: {
      const silently = world.chance(0.5);
      for (const node of some) sim.cut(compute, node, silently);
      world.after(world.between(500, 20_000), () => some.forEach((node) => sim.mend(compute, node)));
      return;
    }
    case 4:
      sim.restartNode(world.pick(sim.nodes), world.between(200, 8000));
      return;
    default:
      // A blackout: the primary and what knows of it.
      if (!world.chance(0.3) || !compute.isUp) return;
      compute.die();
      for (const node of some) sim.restartNode(node, world.between(200, 5000));
      world.after(
        world.between(10_000, 30_000),
        () => compute.isUp || compute.start(wasPrimary ? 'primary' : 'replica'),
      );
  }
}

function mendAll(sim: FailoverSim): void {
  const { world } = sim;
  for (const compute of sim.computes)
    for (const node of sim.nodes) {
      sim.mend(compute, node);
      if (compute.paused) Object.assign(compute, { paused: false, aliveSince: world.now });
    }
  // Whoever is down comes back as a replica: that must not be what makes a primary.
  world.run(world.now + 8000);
  for (const compute of sim.computes) if (!compute.isUp) compute.start('replica');
}

/** Returns how many nobodies are left: 1 when no compute and no node knows of a primary, and so none is followed. */
function settled(sim: FailoverSim): number {
  const { world, primary } = sim;
  const last = sim.promotions.at(-1);
  assert.ok(!last || last.at < world.now - CALM / 3, `${last?.name} was promoted long after all was mended`);
  if (primary === null) {
    const knowing = sim.nodes.filter((node) =>
      node.registry.list(world.now).some((c) => c.role === 'primary'),
    );
    const may = sim.computes.filter((c) => c.failover);
    assert.ok(
      knowing.length === 0 || may.length === 0,
      `no primary, though node ${knowing.map(({ id }) => id).join(', ')} knows of one`,
    );
    return 1;
  }
  const said = (c: SimCompute): string => `${c.name} ${c.role} ${c.state}`;
  for (const compute of sim.computes)
    assert.equal(said(compute), `${compute.name} ${compute === primary ? 'primary' : 'replica'} running`);
  return 0;
}

/** The primary dies, and all storage nodes forget it: the replicas remember. */
function blackout(sim: FailoverSim): void {
  const { world } = sim;
  const former = sim.primary!;
  const before = sim.promotions.length;
  former.die();
  for (const node of sim.nodes) sim.restartNode(node, world.between(200, 3000));
  world.run(world.now + CALM / 2);
  const followed = sim.computes.some((c) => c.failover && c !== former) ? 1 : 0;
  assert.equal(
    sim.promotions.length - before,
    followed,
    'so many followed a primary that died in a blackout',
  );
  former.start(sim.primary ? 'replica' : 'primary');
  world.run(world.now + CALM / 2);
  settled(sim);
}

function stopOnPurpose(sim: FailoverSim): void {
  const { world } = sim;
  const before = sim.promotions.length;
  sim.primary!.stop();
  world.run(world.now + 5000);
  // Nor when a read quorum of nodes forgets it, or all of them do.
  const forgetting = world.chance(0.5) ? sim.readQuorum : sim.nodes.length;
  for (const node of sim.nodes.slice(0, forgetting)) sim.restartNode(node, 500);
  world.run(world.now + CALM);
  assert.equal(sim.promotions.length, before, 'a primary that was stopped on purpose was followed');
}

describe('failover simulation', () => {
  const only = process.env['SEED'];
  const first = Number(only ?? 1);
  const count = only ? 1 : Number(process.env['SIM_SEEDS'] ?? 100);

  it(`holds over ${count} seeds`, function () {
    this.timeout(Math.max(60_000, count * 1000));
    const totals: Tally = { promotions: 0, elections: 0, forgotten: 0 };
    for (let seed = first; seed < first + count; seed++) {
      try {
        const tally = play(seed);
        for (const key of Object.keys(totals) as (keyof Tally)[]) totals[key] += tally[key];
      } catch (err) {
        throw new Error(`seed ${seed} failed: ${(err as Error).message}; replay with SEED=${seed}`, {
          cause: err,
        });
      }
    }
    if (only) return;
    assert.ok(totals.promotions > count, JSON.stringify(totals)); // else it proves nothing
    assert.ok(totals.forgotten < count / 10, JSON.stringify(totals));
  });
});
