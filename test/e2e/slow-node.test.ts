/**
 * A storage node that hangs does not slow the readers: a page that it does not give is asked of another node after the time in which most reads are done
 * (the hedge), and soon it is not asked any more. Measured at the client, each read a block that PostgreSQL does not have.
 */
import { strict as assert } from 'node:assert';
import http from 'node:http';
import type pg from 'pg';
import { controlSocketPath } from '../../src/compute/control-path.js';
import { eventually, TestCluster } from '../helpers/cluster.js';

const BLOCKS = 2400;
const READS = 300;
/** What a loaded machine may add to the hedge, which is the 95th percentile of reads and 5 ms at least. */
const SLACK_MS = 100;

describe('e2e: slow storage node', function () {
  this.timeout(120_000);
  let cluster: TestCluster;
  let client: pg.Client;
  const order: number[] = [];

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

  function metrics(): Promise<string> {
    const socketPath = controlSocketPath(cluster.socketDir, 'primary');
    return new Promise((resolve, reject) => {
      http
        .get({ socketPath, path: '/metrics' }, (response) => {
          const parts: Buffer[] = [];
          response.on('data', (part: Buffer) => parts.push(part));
          response.on('end', () => resolve(Buffer.concat(parts).toString()));
        })
        .on('error', reject);
    });
  }

  async function reads(): Promise<Record<string, number>> {
    const found = [...(await metrics()).matchAll(/^aurora_compute_node_reads_total\{node="(\d)"\} (\d+)$/gm)];
    return Object.fromEntries(found.map(([, node, n]) => [node!, Number(n)]));
  }

  const p99 = (times: number[]): number => times[Math.floor(times.length * 0.99)]!;

  it('costs its readers no more than the hedge, and loses its share of the reads', async () => {
    const before = await reads();
    const healthy = await read(READS);
    const between = await reads();
    // A node that was given up in between is in neither: it has no share.
    const share = (id: string, from: Record<string, number>, to: Record<string, number>): number => {
      const since = (node: string): number => Math.max(0, (to[node] ?? 0) - (from[node] ?? 0));
      return since(id) / ['1', '2', '3'].reduce((sum, node) => sum + since(node), 0);
    };
    for (const id of ['1', '2', '3']) assert.ok(between[id]! > 0, `node ${id} was never asked`);
    process.kill(cluster.storagePid('2')!, 'SIGSTOP');
    const stopped = await read(READS);
    const after = await reads();
    process.kill(cluster.storagePid('2')!, 'SIGCONT');
    const figure = (times: number[]): string => `p50 ${times[times.length >> 1]!.toFixed(1)}, p99 ${p99(times).toFixed(1)}, longest ${times.at(-1)!.toFixed(1)} ms`; // prettier-ignore
    console.log(`      all nodes: ${figure(healthy)}, shares ${['1', '2', '3'].map((id) => (100 * share(id, before, between)).toFixed(0)).join(' ')} %\n      one stopped: ${figure(stopped)}, with ${(100 * share('2', between, after)).toFixed(1)} % of the reads`); // prettier-ignore
    assert.ok(
      p99(stopped) < 3 * p99(healthy) + SLACK_MS,
      `p99 went from ${p99(healthy)} to ${p99(stopped)} ms`,
    );
    assert.ok(stopped.at(-1)! < 3000, `a read took ${stopped.at(-1)} ms`);
    assert.ok(share('2', between, after) < 0.15, `the stopped node had ${share('2', between, after)}`);
    assert.match(await metrics(), /^aurora_compute_node_hedges_total\{node="\d"\} [1-9]/m);
  });

  it('is asked again when it is back', async () => {
    await eventually(
      'reads of node 2',
      async () => {
        const before = await reads();
        await read(40);
        const after = await reads();
        return (after['2'] ?? 0) > (before['2'] ?? 0);
      },
      40_000,
    );
  });
});
