/** What this proves: reads go to the nodes that answer soonest, a failed one is made good elsewhere, and a node that stalls costs no more than the hedge. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { ReadRouter } from '../../src/compute/read-router.js';
import { RecentLatencies } from '../../src/compute/recent-latencies.js';
import { DbError } from '../../src/engine/errors.js';
import type { StorageClient } from '../../src/net/storage-client.js';

/** As much of a client as the router looks at; `answer` is what a read of it does. */
class FakeClient {
  isOpen = true;
  asked = 0;
  constructor(
    readonly nodeId: string,
    public answer: () => Promise<string>,
  ) {}
}

const prompt = (name: string) => async (): Promise<string> => {
  await sleep(1);
  return name;
};
const never = (): Promise<string> => new Promise(() => undefined);

function set(...clients: FakeClient[]): {
  router: ReadRouter;
  read: () => Promise<string>;
  readPages: () => Promise<string>;
} {
  let seed = 7;
  const random = (): number => (seed = (seed * 48271) % 2147483647) / 2147483647;
  const router = new ReadRouter({ random });
  for (const client of clients) router.add(client as unknown as StorageClient);
  const ask = (client: StorageClient): Promise<string> => {
    const fake = client as unknown as FakeClient;
    fake.asked++;
    return fake.answer();
  };
  return {
    router,
    read: () => router.read('a test', ask),
    readPages: () => router.readPages('a test', ask),
  };
}

describe('ReadRouter', () => {
  it('spreads reads over nodes that are alike', async () => {
    const nodes = ['a', 'b', 'c'].map((name) => new FakeClient(name, prompt(name)));
    const { readPages } = set(...nodes);
    for (let i = 0; i < 40; i++) await Promise.all(Array.from({ length: 10 }, readPages));
    for (const node of nodes) assert.ok(node.asked > 30, `${node.nodeId} was asked ${node.asked} times`);
  });

  it('leaves a slow node alone, and counts reads per node', async () => {
    const slow = new FakeClient('slow', async () => {
      await sleep(20);
      return 'slow';
    });
    const fast = [new FakeClient('a', prompt('a')), new FakeClient('b', prompt('b'))];
    const { router, read } = set(slow, ...fast);
    for (let i = 0; i < 150; i++) await read();
    assert.ok(slow.asked < 10, `the slow node was asked ${slow.asked} times`);
    const shares = new Map(router.shares().map((share) => [share.nodeId, share.reads]));
    assert.equal(shares.get('slow'), slow.asked);
    assert.equal(
      [...shares.values()].reduce((sum, n) => sum + n),
      150,
    );
  });

  it('leaves a part of the reads to a node that is only a little slower', async () => {
    const taking = (ms: number) => async (): Promise<string> => {
      await sleep(ms);
      return String(ms);
    };
    const slower = new FakeClient('slower', taking(8));
    const { read } = set(slower, new FakeClient('a', taking(5)), new FakeClient('b', taking(5)));
    for (let i = 0; i < 150; i++) await read();
    assert.ok(slower.asked >= 10 && slower.asked < 60, `the slower node was asked ${slower.asked} times`);
  });

  it('asks another node when one fails, and that one last for a while', async () => {
    const bad = new FakeClient('bad', () => Promise.reject(new DbError('NODE_BEHIND', 'behind')));
    const good = new FakeClient('good', prompt('good'));
    const { read } = set(bad, good);
    for (let i = 0; i < 50; i++) assert.equal(await read(), 'good');
    assert.equal(bad.asked, 1);
  });

  it('does not repeat a mistake of the caller', async () => {
    const mistake = (): Promise<string> =>
      Promise.reject(new DbError('PAGE_NO_RELATION', 'no such relation', { reaction: 'usage' }));
    const nodes = [new FakeClient('a', mistake), new FakeClient('b', mistake)];
    const { read, router } = set(...nodes);
    await assert.rejects(read(), { code: 'PAGE_NO_RELATION' });
    assert.equal(nodes[0]!.asked + nodes[1]!.asked, 1);
    assert.ok(router.shares().every((share) => share.failures === 0));
  });

  it('says why when no node answers, and that none is connected', async () => {
    const { read } = set(
      new FakeClient('a', () => Promise.reject(new DbError('NODE_BEHIND', 'too far behind'))),
    );
    await assert.rejects(read(), { code: 'NODE_NONE_READABLE', message: /too far behind/ });
    await assert.rejects(set().read(), { code: 'NODE_NONE_READABLE', message: /none is connected/ });
  });

  it('a node that stalls costs page reads the hedge, and after a few it is not asked any more', async () => {
    const nodes = ['a', 'b', 'c'].map((name) => new FakeClient(name, prompt(name)));
    const { router, readPages } = set(...nodes);
    for (let i = 0; i < 20; i++) await Promise.all(Array.from({ length: 6 }, readPages));
    const [stalled] = nodes as [FakeClient, FakeClient, FakeClient];
    stalled.answer = never;
    const before = stalled.asked;
    const times: number[] = [];
    const timed = async (): Promise<void> => {
      const begun = performance.now();
      assert.notEqual(await readPages(), 'a');
      times.push(performance.now() - begun);
    };
    for (let i = 0; i < 40; i++) await Promise.all(Array.from({ length: 6 }, timed));
    assert.ok(stalled.asked > before, 'it was asked, so there was something to hedge');
    assert.ok(stalled.asked - before < 40, `still asked ${stalled.asked - before} times`);
    const hedges = router.shares().reduce((sum, share) => sum + share.hedges, 0);
    assert.ok(hedges >= stalled.asked - before, `${hedges} hedges`);
    times.sort((x, y) => x - y);
    assert.ok(times.at(-1)! < 500, `the slowest read took ${times.at(-1)!.toFixed(1)} ms`);
  });

  it('waits for the slow one when the hedge fails', async () => {
    const late = new FakeClient('late', async () => {
      await sleep(120);
      return 'late';
    });
    const bad = new FakeClient('bad', () => Promise.reject(new DbError('NODE_BEHIND', 'behind')));
    const { readPages } = set(late);
    const both = set(late, bad);
    assert.equal(await readPages(), 'late');
    assert.equal(await both.readPages(), 'late');
  });

  it('does not hedge reads of unknown size', async () => {
    const slow = async (): Promise<string> => {
      await sleep(100);
      return 'done';
    };
    const nodes = [new FakeClient('a', slow), new FakeClient('b', slow)];
    const { read } = set(...nodes);
    await read();
    assert.equal(nodes[0]!.asked + nodes[1]!.asked, 1);
  });
});

describe('RecentLatencies', () => {
  it('knows the 95th percentile of the last 256, once there are enough', () => {
    const recent = new RecentLatencies();
    assert.equal(recent.p95(), null);
    for (let i = 1; i <= 256; i++) recent.add(i);
    assert.equal(recent.p95(), 244);
    for (let i = 0; i < 256; i++) recent.add(1);
    assert.equal(recent.p95(), 1);
  });
});
