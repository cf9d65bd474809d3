/** A second fault while the first is being mended, and faults of single directions of the network. */
import { setTimeout as sleep } from 'node:timers/promises';
import { gone } from '../../src/cluster/daemon-process.js';
import type { RebuildStatus } from '../../src/net/node-status.js';
import { eventually } from '../helpers/cluster.js';
import { PRIMARY, signalIfThere, type ChaosCluster } from './cluster.js';
import { FAULTS, type FaultContext } from './faults.js';
import { conduct, watched, type Hit, type RoundOptions, type RoundResult } from './round.js';
import type { Workload } from './workload.js';

export interface Combined {
  /** fault/target, as in the matrix. */
  readonly name: string;
  run(cluster: ChaosCluster, load: Workload, options: RoundOptions): Promise<RoundResult>;
}

const SESSIONS_GO_ON = { endsSessions: false, namedBy: null };

interface Script {
  /** Whether commits go on all the while. */
  readonly alwaysWorks: boolean;
  play(context: FaultContext, load: Workload): Promise<Hit>;
}

const combined = (name: string, { alwaysWorks, play }: Script): Combined => ({
  name,
  run: (cluster, load, options) =>
    conduct(cluster, load, options, async (context) => ({ hits: [await play(context, load)], alwaysWorks })),
});

const fault = (name: string): (typeof FAULTS)[number] => FAULTS.find((one) => one.name === name)!;
const kill = (context: FaultContext, party: string): Promise<void> => fault('kill -9').begin(context, party);
const wipe = (context: FaultContext, party: string): Promise<void> =>
  fault('wiped disk').begin(context, party);

/** A fault of the network alone: some flows are other than they should be for a while. */
function network(
  name: string,
  alwaysWorks: boolean,
  breakIt: (context: FaultContext, nodes: string[]) => string[],
  holdMs = 14_000,
): Combined {
  return combined(name, {
    alwaysWorks,
    play: async (context, load) => {
      const { cluster, random, tell } = context;
      const nodes = random.shuffle(cluster.nodeIds);
      let hit: string[] = [];
      return watched(context, load, nodes, SESSIONS_GO_ON, {
        async harm() {
          const before = cluster.net.bites;
          hit = breakIt(context, nodes);
          tell(`${name}: ${hit.join(', ')}`);
          await Promise.all([
            sleep(holdMs),
            alwaysWorks ? load.progress(50) : null,
            cluster.net.hasBitten(before),
          ]);
        },
        mend: () => Promise.resolve(cluster.net.heal()),
      });
    },
  });
}

const rebuildOf = async (cluster: ChaosCluster, id: string): Promise<RebuildStatus | null> => {
  const client = await cluster.tool(id);
  try {
    return (await client.status()).rebuild;
  } finally {
    client.close();
  }
};

export const COMBINED: readonly Combined[] = [
  network('one way/a node is not heard', true, ({ cluster }, [node]) => {
    for (const other of cluster.parties) if (other !== node) cluster.net.set(node!, other, 'drop');
    return [node!];
  }),
  network('one way/a node does not hear', true, ({ cluster }, [node]) => {
    for (const other of cluster.parties) if (other !== node) cluster.net.set(other, node!, 'drop');
    return [node!];
  }),
  network('partition/two nodes of each other', true, ({ cluster }, [a, b]) => {
    cluster.net.between(a!, [b!], 'drop');
    return [a!, b!];
  }),
  network('partition/primary sees one node', false, ({ cluster }, [a, b]) => {
    cluster.net.between(PRIMARY, [a!, b!], 'drop');
    return [a!, b!];
  }),
  network('slow network/one node', true, ({ cluster }, [node]) => {
    cluster.net.between(node!, cluster.parties, 300);
    return [node!];
  }),

  combined('connections reset again and again/all', {
    alwaysWorks: false,
    play: (context, load) =>
      watched(context, load, context.cluster.nodeIds, SESSIONS_GO_ON, {
        async harm() {
          const { cluster, random } = context;
          const before = cluster.net.bites;
          for (let i = 0; i < 30; i++) {
            const node = cluster.nodeIds[random.below(3)]!;
            const flow = random.below(3) === 0 ? 'drop' : 'cut';
            cluster.net.between(node, cluster.parties, flow);
            await sleep(random.between(20, 400));
            cluster.net.heal();
          }
          await cluster.net.hasBitten(before + 15);
        },
        mend: () => Promise.resolve(context.cluster.net.heal()),
      }),
  }),

  combined('kill -9 within an election/one node', {
    alwaysWorks: false,
    play: async (context, load) => {
      const { cluster, random, tell } = context;
      const victim = cluster.nodeIds[random.below(3)]!;
      let starting: Promise<void> = Promise.resolve();
      return watched(
        context,
        load,
        [victim, PRIMARY],
        { endsSessions: true, namedBy: null },
        {
          async harm() {
            const before = (await cluster.base.status()).volume.epoch!;
            await kill(context, PRIMARY);
            starting = cluster.startPrimary();
            const client = await cluster.tool(victim);
            try {
              await eventually('the victim promises an epoch', async () => (await client.status()).promisedEpoch > before); // prettier-ignore
            } finally {
              client.close();
            }
            tell(`kill -9: ${victim}, which has just promised`);
            await kill(context, victim);
            await starting;
          },
          mend: () => cluster.startNode(victim),
        },
      );
    },
  }),

  combined('kill -9 within a rebuild/the source', {
    alwaysWorks: false,
    play: async (context, load) => {
      const { cluster, random, tell } = context;
      const lost = cluster.nodeIds[random.below(3)]!;
      let source = '';
      return watched(context, load, [lost], SESSIONS_GO_ON, {
        async harm() {
          await wipe(context, lost);
          await cluster.startNode(lost);
          const rebuild = await eventually('the rebuild has a source', async () => {
            const status = await rebuildOf(cluster, lost);
            return status && status.peer !== '' && status.pagesDone > 0 ? status : null;
          });
          source = rebuild.peer;
          tell(`kill -9: ${source}, with ${rebuild.pagesDone} of ${rebuild.pagesTotal} pages copied`);
          await kill(context, source);
          await sleep(random.between(500, 3000));
          tell(`kill -9: ${lost}`);
          await kill(context, lost);
        },
        async mend() {
          await cluster.startNode(lost);
          await cluster.startNode(source);
        },
      });
    },
  }),

  combined('kill -9 at a switch of the WAL segment/one node', {
    alwaysWorks: true,
    play: async (context, load) => {
      const { cluster, random, tell } = context;
      const victim = cluster.nodeIds[random.below(3)]!;
      const client = await cluster.base.client();
      try {
        return await watched(context, load, [victim], SESSIONS_GO_ON, {
          async harm() {
            const pid = cluster.pidsOf(victim)[0]!;
            const switched = client.query('select pg_switch_wal()');
            await sleep(random.between(0, 30));
            signalIfThere(pid, 'SIGKILL');
            tell(`kill -9: ${victim}`);
            await switched;
            if (!(await gone(pid, 20_000))) throw new Error(`pid ${pid} does not die`);
            await client.query('select pg_switch_wal()');
            await load.progress(50);
          },
          mend: () => cluster.startNode(victim),
        });
      } finally {
        await client.end();
      }
    },
  }),

  combined('kill -9 on a full disk/one node', {
    alwaysWorks: true,
    play: async (context, load) => {
      const { cluster, random, tell } = context;
      const victim = cluster.nodeIds[random.below(3)]!;
      return watched(context, load, [victim], SESSIONS_GO_ON, {
        async harm() {
          await fault('full disk').begin(context, victim);
          await eventually('the disk is full', () => {
            const { writesRefused, roomTold } = cluster.faultsOf(victim).bites();
            return writesRefused > 0 || roomTold > 0;
          });
          await kill(context, victim);
          const started = await cluster.startNode(victim).then(
            () => 'it starts all the same',
            (err: Error) => `it does not start: ${err.message}`,
          );
          tell(`on a full disk ${started}`);
          await load.progress(50);
        },
        async mend() {
          cluster.faultsOf(victim).setRoom(null);
          if (cluster.base.storagePid(victim) === null) await cluster.startNode(victim);
        },
      });
    },
  }),
];
