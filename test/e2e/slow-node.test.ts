/**
 * A storage node that hangs does not slow the readers: a page that it does not give is asked of another node after the time in which most reads are done
 * (the hedge), and soon it is not asked any more. Measured at the client, each read a block that PostgreSQL does not have.
 */
import { strict as assert } from 'node:assert';
import type pg from 'pg';
import { eventually, TestCluster } from '../helpers/cluster.js';
import { metricsOfCompute } from '../helpers/prometheus.js';

const BLOCKS = 6007;
const READS = 300;
/** What a loaded machine may add to the hedge, which is the 95th percentile of reads and 5 ms at least. */
const SLACK_MS = 100;

describe('e2e: slow storage node', function () {
  this.timeout(120_000);
  let cluster: TestCluster;
  let client: pg.Client;
  const order: number[] = [];
  /** The node that hangs: the one that most reads go to. */
  let slow = '';

  before(async () => {
    cluster = await TestCluster.start({ settings: { autovacuum: 'off' } });
    await cluster.sql(`create table cold (id int, filler char(1000)) with (fillfactor = 10);
      insert into cold select g, g::text from generate_series(1, ${BLOCKS}) g`);
    const [{ blocks }] = (await cluster.sql("select pg_relation_size('cold') / 8192 as blocks")) as [
      { blocks: string },
    ];
    assert.ok(Number(blocks) >= BLOCKS, `${blocks} blocks`);
    await cluster.stop();
    cluster.eraseCompute();
    await cluster.start();
    client = await cluster.client();
    // Never the next block: nothing is to be read ahead.
    for (let i = 0, block = 7; i < BLOCKS; i++, block = (block + 509) % BLOCKS) order.push(block);
    await client.query("select 1 from cold where ctid = '(1,1)'");
  });
  after(async () => {
    for (const { id } of cluster?.storageNodes ?? []) {
      const pid = cluster.storagePid(id);
      if (pid !== null) process.kill(pid, 'SIGCONT');
    }
    await cluster?.destroy();
  });

  /** Times of so many reads of absent blocks in milliseconds, ascending. */
  async function read(count: number): Promise<number[]> {
    const times: number[] = [];
    for (const block of order.splice(0, count)) {
      const begun = performance.now();
      await client.query(`select filler from cold where ctid = '(${block},1)'`);
      times.push(performance.now() - begun);
    }
    return times.sort((a, b) => a - b);
  }

  const metrics = (): Promise<string> => metricsOfCompute(cluster.socketDir, 'primary');

  async function reads(): Promise<Record<string, number>> {
    const found = [...(await metrics()).matchAll(/^aurora_compute_node_reads_total\{node="(\d)"\} (\d+)$/gm)];
    return Object.fromEntries(found.map(([, node, n]) => [node!, Number(n)]));
  }

  const p99 = (times: number[]): number => times[Math.floor(times.length * 0.99)]!;

  it('costs its readers no more than the hedge, and loses its share of the reads', async () => {
    // A node's first reads are slow, and what is known of it then must fade: soon no node is without its share.
    await eventually(
      'reads of every node',
      async () => {
        const before = await reads();
        await read(40);
        const after = await reads();
        return ['1', '2', '3'].every((id) => after[id]! - before[id]! >= 4);
      },
      20_000,
    );
    const before = await reads();
    const healthy = await read(READS);
    const between = await reads();
    // A node that was given up in between is in neither: it has no share.
    const share = (id: string, from: Record<string, number>, to: Record<string, number>): number => {
      const since = (node: string): number => Math.max(0, (to[node] ?? 0) - (from[node] ?? 0));
      return since(id) / ['1', '2', '3'].reduce((sum, node) => sum + since(node), 0);
    };
    const shares = ['1', '2', '3'].map((id) => share(id, before, between));
    for (const [i, part] of shares.entries())
      assert.ok(part > 0.03, `node ${i + 1} had ${part} of the reads`);
    slow = String(shares.indexOf(Math.max(...shares)) + 1);
    process.kill(cluster.storagePid(slow)!, 'SIGSTOP');
    const stopped = await read(READS);
    const after = await reads();
    process.kill(cluster.storagePid(slow)!, 'SIGCONT');
    const figure = (times: number[]): string => `p50 ${times[times.length >> 1]!.toFixed(1)}, p99 ${p99(times).toFixed(1)}, longest ${times.at(-1)!.toFixed(1)} ms`; // prettier-ignore
    console.log(`      all nodes: ${figure(healthy)}, shares ${shares.map((part) => (100 * part).toFixed(0)).join(' ')} %\n      one stopped: ${figure(stopped)}, with ${(100 * share(slow, between, after)).toFixed(1)} % of the reads`); // prettier-ignore
    assert.ok(
      p99(stopped) < 3 * p99(healthy) + SLACK_MS,
      `p99 went from ${p99(healthy)} to ${p99(stopped)} ms`,
    );
    assert.ok(stopped.at(-1)! < 3000, `a read took ${stopped.at(-1)} ms`);
    assert.ok(share(slow, between, after) < 0.15, `the stopped node had ${share(slow, between, after)}`);
    assert.match(await metrics(), /^aurora_compute_node_hedges_total\{node="\d"\} [1-9]/m);
  });

  it('is asked again when it is back', async () => {
    await eventually(
      'reads of the node that hung',
      async () => {
        const before = await reads();
        await read(40);
        const after = await reads();
        return (after[slow] ?? 0) > (before[slow] ?? 0);
      },
      40_000,
    );
  });
});
