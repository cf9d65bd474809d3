/** A replica's eye on the primary: it promotes once, when its turn has come, and only voters that answer now have a say. */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { Beacon } from '../../src/compute/beacon.js';
import { FailoverWatch } from '../../src/compute/failover-watch.js';
import { DEFAULT_FAILOVER_TIMES } from '../../src/engine/computes/policy.js';
import { lsn } from '../../src/engine/lsn.js';
import { eventually } from '../helpers/cluster.js';
import { knownCompute as compute } from '../helpers/known-compute.js';
import { silent } from './fake-storage.js';

class FakeBeacon extends EventEmitter {
  nodes: string[] = [];
  computes = [
    compute('p', { role: 'primary', ageMs: 60_000 }),
    compute('a', { priority: 90 }),
    compute('b', { priority: 10 }),
  ];
  reports(): unknown[] {
    const view = { promisedEpoch: 1, promisedTo: 'p:1', commitLsn: lsn(1), computes: this.computes };
    return this.nodes.map((nodeId) => ({ nodeId, sinceMs: 0, heardForMs: 0, view }));
  }
  news(...nodes: string[]): void {
    this.nodes = nodes;
    this.emit('news');
  }
}

describe('failover watch', () => {
  const promoted: string[] = [];
  const watch = (beacon: FakeBeacon, name: string, voters: string[]): FailoverWatch =>
    new FailoverWatch(
      beacon as unknown as Beacon,
      {
        name,
        quorum: () => ({ voters, readQuorum: 2 }),
        times: { ...DEFAULT_FAILOVER_TIMES, turnMs: 100 },
        log: silent,
      },
      (why) => promoted.push(`${name}: ${why}`),
    );

  beforeEach(() => promoted.splice(0));

  it('counts voters only, as the volume has them now', () => {
    const beacon = new FakeBeacon();
    const voters = ['1', '2'];
    watch(beacon, 'a', voters);
    beacon.news('1', '3', '4');
    assert.deepEqual(promoted, [], 'nodes without a vote say nothing');
    voters.push('3');
    beacon.news('1', '3', '4');
    beacon.news('1', '3', '4');
    assert.deepEqual(promoted, ['a: p is gone, its epoch 3 is followed'], 'once');
  });

  it('leaves the first in line its turn, and forgets a primary that is back', async () => {
    const beacon = new FakeBeacon();
    const second = watch(beacon, 'b', ['1', '2', '3']);
    beacon.news('1', '2');
    assert.deepEqual(promoted, []);
    beacon.computes[0] = compute('p', { role: 'primary' });
    beacon.news('1', '2');
    beacon.computes[0] = compute('p', { role: 'primary', ageMs: 60_000 });
    await eventually('its own turn has come', () => {
      beacon.news('1', '2');
      return promoted.length > 0;
    });
    second.close();
    assert.equal(promoted.length, 1);
  });
});
