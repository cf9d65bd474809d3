/**
 * The primary and the memory of the storage nodes are lost together, as when a rack loses its power: nodes keep in memory only who lives. What is
 * left is what the replicas remember. One of the cases; both with ROUNDS (npm run soak:failover).
 */
import { strict as assert } from 'node:assert';
import { bankCluster } from '../helpers/bank-cluster.js';
import type { TestCluster } from '../helpers/cluster.js';
import { caughtUp, PATIENCE_MS, type Computes } from '../helpers/computes.js';
import type { WatchedBank } from '../helpers/watched-bank.js';

describe('failover after a blackout', function () {
  this.timeout(PATIENCE_MS * 4);
  let cluster: TestCluster;
  let computes: Computes;
  let bank: WatchedBank;

  bankCluster({ r1: { failover: true } }, (made) => ({ cluster, computes, bank } = made));

  const CASES: Record<string, { from: string; to: string; nodes: string[]; soak?: true }> = {
    'all storage nodes': { from: 'primary', to: 'r1', nodes: ['1', '2', '3'] },
    'two storage nodes of three': { from: 'r1', to: 'primary', nodes: ['2', '3'], soak: true },
  };
  for (const [what, { from, to, nodes, soak }] of Object.entries(CASES)) {
    if (soak && process.env['ROUNDS'] === undefined) continue;
    it(`a primary that dies with ${what} is followed once they are back, without a person`, async () => {
      await bank.loadUntilBroken(from, async () => {
        const deaths = [computes.kill(from), ...nodes.map((id) => cluster.killStorage(id))];
        await Promise.all(deaths);
        for (const id of nodes) await cluster.startStorage(id);
        const first = await bank.firstWrite([to], performance.now());
        assert.equal(first.name, to);
        console.log(
          `      first write elsewhere ${Math.round(first.ms)} ms after the storage nodes were back`,
        );
      });
      await computes.start(from);
      await computes.is(from, 'replica');
      const [writer, reader] = [await computes.client(to), await computes.client(from)];
      await caughtUp(writer, reader);
      for (const client of [writer, reader]) await bank.auditBy(client);
      await Promise.all([writer.end(), reader.end()]);
    });
  }
});
