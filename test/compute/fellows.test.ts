/** What a compute makes of the others: who follows it, and that of two which were promoted at the same time one gives way, to one that lives. */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { Beacon } from '../../src/compute/beacon.js';
import { Fellows } from '../../src/compute/fellows.js';
import type { StorageLinks } from '../../src/compute/storage-links.js';
import type { TermContext } from '../../src/compute/term-start.js';
import { DEFAULT_FAILOVER_TIMES } from '../../src/engine/computes/policy.js';
import type { ComputeBeat, ComputesView, KnownCompute } from '../../src/engine/computes/types.js';
import { lsn } from '../../src/engine/lsn.js';
import { knownCompute } from '../helpers/known-compute.js';
import { silent } from './fake-storage.js';

/** A storage node as far as computes are concerned. */
class Node {
  constructor(
    readonly nodeId: string,
    public promisedEpoch: number,
    public promisedTo: string,
    public computes_: KnownCompute[],
  ) {}
  readonly isOpen = true;
  private get view(): ComputesView {
    const { promisedEpoch, promisedTo, computes_: computes } = this;
    return { promisedEpoch, promisedTo, commitLsn: lsn(100), computes };
  }
  beat = (): Promise<ComputesView> => Promise.resolve(this.view);
  computes = (): Promise<ComputesView> => Promise.resolve(this.view);
}

describe('fellow computes', () => {
  let nodes: Node[];
  let beacon: Beacon;
  let fellows: Fellows;

  /** A compute named "a", whose nodes know `others`; the newest epoch is promised as told. */
  async function among(others: KnownCompute[], epoch = 3, to = 'p:1'): Promise<void> {
    nodes = ['1', '2', '3'].map((id) => new Node(id, epoch, to, others));
    const links = Object.assign(new EventEmitter(), { connected: () => nodes, configuration: null });
    beacon = new Beacon(links as unknown as StorageLinks, silent, () => ({}) as ComputeBeat);
    const config = { name: 'a', failover: DEFAULT_FAILOVER_TIMES, quorum: { write: 2, read: 2 }, storage: [{ id: '1' }, { id: '2' }, { id: '3' }] }; // prettier-ignore
    fellows = new Fellows({ config, links, log: silent } as unknown as TermContext, beacon);
    beacon.on('news', () => fellows.hear('primary'));
    beacon.start();
    await fellows.answered(new AbortController().signal);
  }
  afterEach(() => beacon.close());

  it('gives way to one that was promised a newer epoch and lives', async () => {
    for (const b of [
      knownCompute('b', { role: 'primary', state: 'running' }),
      knownCompute('b', { state: 'promoting' }),
    ]) {
      // prettier-ignore
      await among([b], 5, 'b:x');
      assert.equal(await fellows.overtaken(4), true);
      assert.equal(await fellows.overtaken(5), false, 'seen when it was promoted: that one is overruled');
      beacon.close();
    }
  });

  it('goes on when the newest promise is its own, or of one that is gone or does not want to be the primary', async () => {
    await among([knownCompute('b', { role: 'primary' })], 5, 'a:x');
    assert.equal(await fellows.overtaken(2), false);
    for (const b of [
      knownCompute('b', { role: 'primary', ageMs: 60_000 }),
      knownCompute('b', { state: 'starting' }),
    ]) {
      // prettier-ignore
      beacon.close();
      await among([b], 5, 'b:x');
      assert.equal(await fellows.overtaken(2), false, JSON.stringify(b));
    }
  });

  it('waits for a successor that has just started to be heard of, but not for one that is none', async () => {
    await among([knownCompute('b', { state: 'starting' })]);
    const soon = fellows.follows('b');
    for (const node of nodes) node.computes_ = [knownCompute('b')];
    assert.equal(await soon, true);
    assert.equal(await fellows.follows('nobody'), false);
  });

  it('is fenced by a member of its cluster, or by a stranger', async () => {
    await among([knownCompute('b')], 7, 'b:x');
    assert.equal(await fellows.fencedByMember(), true);
    for (const node of nodes) node.promisedTo = 'stranger:x';
    assert.equal(await fellows.fencedByMember(), false);
  });
});
