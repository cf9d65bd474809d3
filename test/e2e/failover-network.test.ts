/**
 * A primary that lives and is cut off from storage nodes by the network alone: a replica follows it without a person, what it could not make
 * durable is nowhere, and once the network is mended it is a replica by itself. Two of the faults; all with ROUNDS (npm run soak:failover).
 */
import { strict as assert } from 'node:assert';
import { promote } from '../../src/cluster/promote.js';
import { FaultNet, type Address, type Flow } from '../chaos/fault-net.js';
import { bankCluster } from '../helpers/bank-cluster.js';
import { TestCluster } from '../helpers/cluster.js';
import { caughtUp, PATIENCE_MS, type Computes } from '../helpers/computes.js';
import { withEnvironment } from '../helpers/storage-settings.js';
import type { WatchedBank } from '../helpers/watched-bank.js';

/** The compute whose connections go through the proxies, and who follows it. */
const OLD = 'primary';
const HEIR = 'r1';

interface Fault {
  /** From the primary to storage nodes, and back. */
  there: Flow;
  back: Flow;
  nodes: readonly string[];
  /** Only in the soak. */
  soak?: true;
}

describe('failover: the network', function () {
  this.timeout(PATIENCE_MS * 4);
  const net = new FaultNet();
  let cluster: TestCluster;
  let computes: Computes;
  let bank: WatchedBank;

  const start = async (): Promise<TestCluster> => {
    const created = await TestCluster.create();
    try {
      for (const { id } of created.storageNodes) await created.startStorage(id);
      const routes: Record<string, Address> = {};
      for (const { id, host, port } of created.storageNodes)
        routes[id] = await net.link(OLD, id, { host, port });
      await withEnvironment({ AURORA_COMPUTE_SETTINGS: JSON.stringify({ routes }) }, () => created.start());
      return created;
    } catch (err) {
      await created.destroy();
      throw err;
    }
  };
  after(() => net.heal());
  bankCluster(
    { [HEIR]: { failover: true }, r2: { failover: false } },
    (made) => ({ cluster, computes, bank } = made),
    start,
  );
  after(() => net.close());

  const FAULTS: Record<string, Fault> = {
    'connections are reset, and refused': { there: 'cut', back: 'cut', nodes: ['1', '2', '3'], soak: true },
    'nothing arrives any more': { there: 'drop', back: 'drop', nodes: ['1', '2', '3'] },
    'nothing arrives any more at two nodes of three': { there: 'drop', back: 'drop', nodes: ['2', '3'] },
    'it is not heard, but hears': { there: 'drop', back: 'pass', nodes: ['1', '2', '3'], soak: true },
    'it is heard, but hears nothing': { there: 'pass', back: 'drop', nodes: ['1', '2', '3'], soak: true },
  };
  for (const [what, fault] of Object.entries(FAULTS)) {
    if (fault.soak && process.env['ROUNDS'] === undefined) continue;
    it(`a primary that is cut off (${what}) is followed, and comes back as a replica`, async () => {
      const ghost = bank.nextId++;
      const stale = await computes.client(OLD);
      await stale.query('begin');
      await stale.query('insert into journal values ($1, 1, 2, 0)', [ghost]);
      let committed: Promise<boolean> | undefined;
      await bank.loadUntilBroken(OLD, async () => {
        const { bites } = net;
        const since = performance.now();
        for (const node of fault.nodes) {
          net.set(OLD, node, fault.there);
          net.set(node, OLD, fault.back);
        }
        await net.hasBitten(bites);
        committed = stale.query('commit').then(
          () => true,
          () => false,
        );
        const { ms } = await bank.firstWrite([HEIR], since);
        console.log(`      first write elsewhere after ${Math.round(ms)} ms`);
        net.heal();
        await computes.is(OLD, 'replica');
      });
      assert.equal(await committed, false, 'a primary that was cut off let a transaction commit');
      const [writer, reader] = [await computes.client(HEIR), await computes.client(OLD)];
      await caughtUp(writer, reader);
      // What some node has heard may have happened without an answer, as with any server that is lost; the rest must not.
      const unheard = fault.there !== 'pass' && fault.nodes.length === cluster.storageNodes.length;
      if (!unheard) bank.unsureOf(ghost);
      for (const client of [writer, reader]) await bank.auditBy(client);
      await Promise.all([writer.end(), reader.end()]);
      // For the next fault: back to the one behind the proxies.
      await promote({ root: cluster.layout.root, name: OLD, force: false, timeoutMs: PATIENCE_MS });
      await computes.is(OLD, 'primary');
      await computes.is(HEIR, 'replica');
    });
  }
});
