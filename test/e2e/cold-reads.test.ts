/**
 * A table several times larger than shared_buffers, read after a start from an erased disk: what is fetched from storage is what the queries
 * touch. The counts come from the page agent (`status().computes[0].pages`), the server's own view from pg_stat_io.
 */
import { strict as assert } from 'node:assert';
import type pg from 'pg';
import { TestCluster } from '../helpers/cluster.js';

const BUFFERS_MB = 16;
const ROWS = 144_000;
/** Rows of a block: about 900 bytes each. */
const ROWS_PER_BLOCK = 8;
const RANGE_ROWS = 4000;

interface Pages {
  blocksServed: number;
  blocksFetched: number;
  blocksPrefetched: number;
  prefetchHits: number;
}

describe('e2e: cold reads', function () {
  this.timeout(120_000);
  let cluster: TestCluster;
  let client: pg.Client;
  let blocks = 0;
  let updated = 0;

  before(async () => {
    cluster = await TestCluster.start({
      settings: {
        shared_buffers: `${BUFFERS_MB}MB`,
        autovacuum: 'off',
        max_parallel_workers_per_gather: '0',
      },
    });
    await cluster.sql(`create table big (id int primary key, n int not null, filler text not null);
      alter table big alter filler set storage plain;
      insert into big select g, g % 1000, repeat(md5(g::text), 27) from generate_series(1, ${ROWS}) g`);
    await cluster.sql('vacuum (analyze, freeze) big');
    blocks = Number((await cluster.sql(`select pg_relation_size('big') / 8192 as n`))[0]!['n']);
    assert.ok(blocks * 8192 > 6 * BUFFERS_MB * 1024 * 1024, `only ${blocks} blocks`);
    await startCold();
  });
  after(async () => cluster?.destroy());
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await cluster?.logs());
  });

  async function startCold(): Promise<void> {
    await cluster.stop();
    cluster.eraseCompute();
    await cluster.start();
    client = await cluster.client();
    // The catalogs that planning reads are not what is counted here.
    for (const query of [
      'select * from big where id = 1',
      'update big set n = n where id < 0',
      'select sum(n) from big',
    ])
      await client.query(`explain ${query}`);
  }

  async function pages(): Promise<Pages> {
    return (await cluster.status()).computes[0]!.pages!;
  }

  /** Runs the query and tells what the agent was asked for meanwhile. */
  async function fetching(
    what: string,
    query: string,
  ): Promise<{ rows: Record<string, unknown>[]; pages: Pages }> {
    const before = await pages();
    const begun = performance.now();
    const { rows } = (await client.query(query)) as { rows: Record<string, unknown>[] };
    const ms = Math.round(performance.now() - begun);
    const after = await pages();
    const delta = {
      blocksServed: after.blocksServed - before.blocksServed,
      blocksFetched: after.blocksFetched - before.blocksFetched,
      blocksPrefetched: after.blocksPrefetched - before.blocksPrefetched,
      prefetchHits: after.prefetchHits - before.prefetchHits,
    };
    console.log(
      `      ${what}: ${delta.blocksServed} of ${blocks} blocks served, ${delta.blocksFetched} fetched on demand, ${delta.blocksPrefetched} ahead (${delta.prefetchHits} used), ${ms} ms`,
    );
    return { rows, pages: delta };
  }

  it('an index lookup fetches a handful of blocks', async () => {
    const { rows, pages: got } = await fetching(
      'one row by its key',
      'select id, n from big where id = 77777',
    );
    assert.deepEqual(rows, [{ id: 77777, n: 777 }]);
    assert.ok(got.blocksServed >= 2, 'index and heap must have come from storage');
    assert.ok(got.blocksServed <= 8 && got.blocksFetched + got.blocksPrefetched <= 16, JSON.stringify(got));
    const again = await fetching('the same row again', 'select id, n from big where id = 77777');
    assert.equal(again.pages.blocksServed, 0);
  });

  it('a range fetches in proportion', async () => {
    const { rows, pages: got } = await fetching(
      `${RANGE_ROWS} rows by key range`,
      `select count(*)::int as count, sum(n)::int as sum from big where id between 100001 and ${100_000 + RANGE_ROWS}`,
    );
    assert.deepEqual(rows, [{ count: RANGE_ROWS, sum: (RANGE_ROWS / 1000) * 499_500 }]);
    const touched = RANGE_ROWS / ROWS_PER_BLOCK;
    assert.ok(got.blocksServed >= touched && got.blocksServed < touched * 1.3, JSON.stringify(got));
    assert.ok(got.blocksFetched + got.blocksPrefetched < touched * 2, 'reading ahead must know when to stop');
  });

  it('writes to blocks that are still in storage', async () => {
    const before = await pages();
    const { rowCount } = await client.query(
      'update big set n = n + 1000 where id % 16000 = 1 and id = any (array(select 1 + 16000 * g from generate_series(0, 8) g))',
    );
    updated = rowCount ?? 0;
    await client.query(`delete from big where id = 32003; insert into big values (32003, 3, 'put back')`);
    await client.query(`insert into big values (${ROWS + 1}, 0, 'new')`);
    const got = (await pages()).blocksServed - before.blocksServed;
    assert.equal(updated, 9);
    assert.ok(got > 0 && got < 120, `${got} blocks served for 12 changed rows`);
  });

  it('a full scan reads ahead, and its sums are right', async () => {
    await client.query("select pg_stat_reset_shared('io')");
    const { rows, pages: got } = await fetching(
      'a full scan',
      'select count(*)::int as count, sum(n)::bigint::text as sum, min(length(filler)) as short from big',
    );
    assert.deepEqual(rows, [expectedSums()]);
    assert.ok(got.blocksServed > blocks * 0.9 && got.blocksServed <= blocks + 50, JSON.stringify(got));
    assert.ok(got.prefetchHits > blocks * 0.7, `only ${got.prefetchHits} blocks had been read ahead`);
    assert.ok(got.blocksFetched + got.blocksPrefetched < blocks * 1.05, 'nothing may be fetched twice');
    await client.query('select pg_stat_force_next_flush()');
    const io = await client.query<{ mb: number }>(
      `select (sum(read_bytes) / 1048576)::float8 as mb from pg_stat_io where object = 'relation'`,
    );
    const mb = io.rows[0]!.mb;
    console.log(`      pg_stat_io: ${mb.toFixed(0)} MB read by a server with ${BUFFERS_MB} MB of buffers`);
    assert.ok(mb > (blocks / 128) * 0.8);
  });

  /** 0..999 for each thousand rows, and what was added above. */
  function expectedSums(): object {
    return { count: ROWS + 1, sum: String((ROWS / 1000) * 499_500 + updated * 1000), short: 3 };
  }

  it('a second scan fetches nothing: the disk has it all', async () => {
    const { rows, pages: got } = await fetching(
      'the same scan again',
      'select count(*)::int as count, sum(n)::bigint::text as sum, min(length(filler)) as short from big',
    );
    assert.deepEqual(rows, [expectedSums()]);
    assert.equal(got.blocksServed, 0);
  });

  it('what was written to cold blocks is in storage after kill -9', async () => {
    await cluster.killCompute();
    cluster.eraseCompute();
    await cluster.start();
    client = await cluster.client();
    const { rows } = await client.query(
      `select count(*)::int as n, sum(n)::int as sum from big where id = any (array(select 1 + 16000 * g from generate_series(0, 8) g))`,
    );
    assert.deepEqual(rows, [{ n: 9, sum: 9 * 1001 }]);
    assert.deepEqual(
      (await client.query(`select n, filler from big where id in (32003, ${ROWS + 1}) order by id`)).rows,
      [
        { n: 3, filler: 'put back' },
        { n: 0, filler: 'new' },
      ],
    );
    await client.query(`create extension amcheck; select bt_index_check('big_pkey')`);
  });
});
