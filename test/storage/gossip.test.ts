// Three storage nodes in processes of their own: who is killed is suspected, then dead to the others within the bound, and back under a
// higher incarnation; who is stopped for ten seconds dies to the others, contradicts when it goes on, and takes nobody for dead itself;
// who stops in order has left. What a node tells of its peers is what they tell of themselves. Malformed gossip changes nothing.
import assert from 'node:assert/strict';
import { suspicionRounds, type GossipView, type MemberView } from '../../src/engine/gossip/index.js';
import { gossipBody } from '../../src/net/gossip-codec.js';
import * as m from '../../src/net/messages.js';
import type { StorageClient } from '../../src/net/storage-client.js';
import { TestVolume } from './volume.js';

const INTERVAL_MS = 500;
/** Of three: a probe's turn comes within three rounds, fails after one, then the suspicion; one more for word of it, and one of slack. */
const DEATH_MS = (3 + 1 + suspicionRounds(3) + 2) * INTERVAL_MS;
/** For a machine that is busy with other things. */
const SLACK_MS = 3000;
const IDS = ['n1', 'n2', 'n3'];

describe('gossip between storage nodes', function () {
  this.timeout(90_000);
  let volume: TestVolume;
  const clients = new Map<string, StorageClient>();

  before(async () => {
    volume = await TestVolume.create(IDS, []);
    await Promise.all(IDS.map((id) => start(id)));
  });
  after(() => volume?.destroy());

  async function start(id: string): Promise<void> {
    await volume.spawn(id, { gossip: { intervalMs: INTERVAL_MS } });
    clients.set(id, await volume.client(id));
  }

  const view = (id: string): Promise<GossipView> => clients.get(id)!.gossipView(5000);

  async function member(viewer: string, id: string): Promise<MemberView> {
    const found = (await view(viewer)).members.find((one) => one.id === id);
    assert.ok(found, `${viewer} does not know ${id}`);
    return found;
  }

  /** Until all viewers have `id` in `state`; the milliseconds that it took and the states passed through. */
  async function until(
    viewers: string[],
    id: string,
    state: string,
    limitMs: number,
  ): Promise<{ ms: number; passed: Set<string> }> {
    const begun = performance.now();
    const passed = new Set<string>();
    for (;;) {
      const seen = await Promise.all(viewers.map(async (viewer) => (await member(viewer, id)).state));
      for (const one of seen) passed.add(one);
      const ms = performance.now() - begun;
      if (seen.every((one) => one === state)) return { ms, passed };
      assert.ok(ms < limitMs, `${id} is ${seen.join(', ')} to ${viewers.join(', ')} after ${Math.round(ms)} ms, not ${state}`); // prettier-ignore
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }

  async function allAlive(): Promise<void> {
    for (const id of IDS) await until(IDS, id, 'alive', 10_000);
  }

  it('know each other, and of each what it says of itself', async () => {
    await allAlive();
    const status = await clients.get('n2')!.status();
    for (const viewer of IDS) {
      // A member is known before it has said anything of itself.
      const begun = performance.now();
      while ((await member(viewer, 'n2')).scl !== status.scl) {
        assert.ok(performance.now() - begun < 10_000, `no news of n2 at ${viewer}`);
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
      const { epoch, scl, commitLsn, appliedLsn, gcLsn, address, newsAgeMs, load } = await member(
        viewer,
        'n2',
      );
      assert.deepEqual(
        [scl, commitLsn, appliedLsn, gcLsn, epoch],
        [status.scl, status.commitLsn, status.appliedLsn, status.gcLsn, status.history.at(-1)?.epoch],
      );
      assert.equal(address, `127.0.0.1:${volume.node('n2').endpoint.port}`);
      assert.ok(newsAgeMs! < 5 * INTERVAL_MS && load >= 0 && load <= 1000, `${newsAgeMs} ms, load ${load}`);
    }
  });

  it('a killed node (kill -9) is suspect, then dead within the bound; restarted it is alive under a higher incarnation', async () => {
    const before = await member('n1', 'n3');
    await volume.kill('n3', 'SIGKILL');
    const { ms, passed } = await until(['n1', 'n2'], 'n3', 'dead', DEATH_MS + SLACK_MS);
    assert.ok(passed.has('suspect'), [...passed].join());
    assert.equal((await member('n2', 'n3')).incarnation, before.incarnation);
    console.log(`      dead to both after ${Math.round(ms)} ms of ${DEATH_MS}`);
    await start('n3');
    const back = await until(['n1', 'n2'], 'n3', 'alive', 4 * INTERVAL_MS + SLACK_MS);
    assert.ok((await member('n1', 'n3')).incarnation > before.incarnation);
    console.log(`      alive to both ${Math.round(back.ms)} ms after its start`);
    await allAlive();
  });

  it('a node that is stopped for ten seconds dies to the others, refutes, and suspects none to death', async () => {
    const before = await member('n1', 'n2');
    const deathsBefore = await deaths('n2');
    const process = volume.node('n2').process!;
    const begun = performance.now();
    process.kill('SIGSTOP');
    try {
      await until(['n1', 'n3'], 'n2', 'dead', DEATH_MS + SLACK_MS);
      await new Promise((resolve) => setTimeout(resolve, 10_000 - (performance.now() - begun)));
    } finally {
      process.kill('SIGCONT');
    }
    clients.set('n2', await volume.client('n2')); // the silence may have cost the connection
    const { ms } = await until(['n1', 'n3'], 'n2', 'alive', 4 * INTERVAL_MS + SLACK_MS);
    console.log(`      alive to both ${Math.round(ms)} ms after SIGCONT`);
    const after = await member('n1', 'n2');
    assert.ok(after.incarnation > before.incarnation);
    await allAlive();
    assert.match(await metrics('n2'), /^aurora_gossip_refutations_total\{[^}]*\} [1-9]/m);
    assert.equal(await deaths('n2'), deathsBefore);
  });

  it('a node that stops in order has left, and is nobody’s suspect', async () => {
    await volume.kill('n3', 'SIGTERM');
    await until(['n1', 'n2'], 'n3', 'left', 3 * INTERVAL_MS);
    await new Promise((resolve) => setTimeout(resolve, 4 * INTERVAL_MS));
    const { passed } = await until(['n1', 'n2'], 'n3', 'left', INTERVAL_MS);
    assert.deepEqual([...passed], ['left']);
    await start('n3');
    await allAlive();
  });

  it('malformed gossip is counted and changes nothing; a tool may not gossip', async () => {
    const news = { id: 'n3', incarnation: 10 ** 6, status: 'dead', vector: (await member('n1', 'n3')) } as const; // prettier-ignore
    const lie = { kind: 'news', seq: 0, target: '', digest: [], news: [news], wants: ['n1'] } as const;
    const before = await member('n1', 'n3');
    const peer = await volume.client('n1', 'peer');
    peer.sendEncoded(m.encodeFrame(m.Gossip, gossipBody(lie)));
    await peer.status();
    assert.match(await metrics('n1'), /^aurora_gossip_messages_refused_total\{[^}]*\} 1$/m);
    assert.deepEqual((await member('n1', 'n3')).incarnation, before.incarnation);
    const closed = new Promise((resolve) => clients.get('n1')!.once('close', resolve));
    clients.get('n1')!.sendEncoded(m.encodeFrame(m.Gossip, gossipBody({ ...lie, wants: [] })));
    await closed;
    clients.set('n1', await volume.client('n1'));
    assert.equal((await member('n1', 'n3')).state, 'alive');
  });

  /** How often it has taken a member for dead. */
  async function deaths(id: string): Promise<number> {
    return Number(/^aurora_gossip_deaths_total\{[^}]*\} (\d+)$/m.exec(await metrics(id))![1]);
  }

  async function metrics(id: string): Promise<string> {
    const { host, port } = volume.node(id).endpoint;
    return (await fetch(`http://${host}:${port}/metrics`)).text();
  }
});
