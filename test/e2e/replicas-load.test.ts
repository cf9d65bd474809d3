/**
 * TPC-B by pgbench on the primary while its fleet grows from one replica to two and five. Whoever reads on a replica meanwhile sees whole
 * transactions in order, nothing of what was not committed, and all that was committed before an LSN that it has waited for. At the end of each stage every
 * replica equals the primary, passes amcheck, and has each transfer that pgbench counted.
 *
 * LOAD_MS: all stages together. RATE: transactions a second, 0 for as many as it can (npm run soak:replicas: an hour).
 */
import { strict as assert } from 'node:assert';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { load, pgbench, type Server } from '../bench/pgbench.js';
import { TestCluster } from '../helpers/cluster.js';
import { caughtUp, Computes, PATIENCE_MS } from '../helpers/computes.js';

const LOAD_MS = Number(process.env['LOAD_MS'] ?? 120_000);
const RATE = Number(process.env['RATE'] ?? 25);
const FLEETS = [1, 2, 5];
/** Between two looks at a replica: they are not what the processors are for. */
const PAUSE_MS = RATE > 0 ? 1000 : 100;

const SNAPSHOT = `select (select sum(abalance)::bigint from pgbench_accounts) as accounts, (select sum(tbalance)::bigint from pgbench_tellers) as tellers,
  (select sum(bbalance)::bigint from pgbench_branches) as branches, coalesce((select sum(delta)::bigint from pgbench_history), 0) as moved,
  (select count(*)::int from pgbench_history) as n,
  (select count(*)::int from pgbench_history h left join pgbench_accounts a using (aid) left join pgbench_tellers t on t.tid = h.tid where a.aid is null or t.tid is null) as orphans`;
const DIGEST = `select (select md5(string_agg(a::text, ',' order by aid)) from pgbench_accounts a) as accounts,
  (select md5(string_agg(h::text, ',' order by mtime, aid, tid)) from pgbench_history h) as history, (select n from tick) as tick`;
const AMCHECK = `select (select count(bt_index_check(c.oid, true))::int from pg_class c join pg_index i on i.indexrelid = c.oid
    where c.relam = 403 and c.relpersistence = 'p' and i.indisvalid) as indexes,
  (select count(*)::int from pg_class c, lateral verify_heapam(c.oid) v where c.relkind in ('r', 't', 'm') and c.relpersistence = 'p') as broken`;

const transfers = async (client: pg.Client): Promise<number> =>
  (await client.query('select count(*)::int as n from pgbench_history')).rows[0].n as number;

describe('replicas under TPC-B load', function () {
  this.timeout(PATIENCE_MS * 4 + LOAD_MS * 2);
  let cluster: TestCluster;
  let computes: Computes;
  let counted = 0;
  const names: string[] = [];

  before(async () => {
    cluster = await TestCluster.start();
    computes = new Computes(cluster);
    await pgbench(target(), ['-i', '-q', '-s', '1', '--foreign-keys']);
    await cluster.sql(
      'create extension amcheck; create table tick (n int not null); insert into tick values (0)',
    );
  });

  after(async () => {
    await computes?.close();
    await cluster?.destroy();
  });

  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await cluster.logs(40));
  });

  const target = (): Server => ({
    host: cluster.socketDir,
    port: cluster.port,
    user: cluster.superuser,
  });

  /** Looks at one replica until `stop`; how often it did. */
  async function readAlong(name: string, stop: AbortSignal): Promise<number> {
    const primary = await cluster.client();
    const replica = await computes.client(name);
    let before = 0;
    let looks = 0;
    for (; !stop.aborted; looks++) {
      // Every third look is one of a client that waits for what it knows to be committed.
      const known = looks % 3 === 0 ? await transfers(primary) : 0;
      if (known > 0) await caughtUp(primary, replica);
      const { rows } = await replica.query(SNAPSHOT);
      const { accounts, tellers, branches, moved, n, orphans } = rows[0];
      assert.deepEqual(
        [accounts, tellers, branches],
        [moved, moved, moved],
        `${name} shows a part of a transaction`,
      );
      assert.equal(orphans, 0, `a foreign key does not hold on ${name}`);
      assert.ok(n >= before, `${name} went back: ${n} transfers after ${before}`);
      assert.ok(n >= known, `${name} shows ${n} transfers after it had replayed ${known}`);
      const now = await transfers(primary);
      assert.ok(n <= now, `${name} showed ${n} transfers when the primary had ${now}`);
      before = n as number;
      await sleep(PAUSE_MS, undefined, { signal: stop }).catch(() => undefined);
    }
    await Promise.all([primary.end(), replica.end()]);
    return looks;
  }

  /** One number that each write raises, read back on the replica at once. */
  async function readOwnWrites(name: string, stop: AbortSignal): Promise<void> {
    const primary = await cluster.client();
    const replica = await computes.client(name);
    while (!stop.aborted) {
      const written = (await primary.query('update tick set n = n + 1 returning n')).rows[0].n as number;
      await caughtUp(primary, replica);
      const { rows } = await replica.query('select n from tick');
      assert.equal(
        rows[0].n,
        written,
        `${name} does not show what was written before the LSN that it has replayed`,
      );
      await sleep(PAUSE_MS, undefined, { signal: stop }).catch(() => undefined);
    }
    await Promise.all([primary.end(), replica.end()]);
  }

  for (const fleet of FLEETS) {
    it(`${fleet} of them show nothing but what was committed, and end as the primary`, async () => {
      const seconds = Math.ceil(LOAD_MS / FLEETS.length / 1000);
      const stop = new AbortController();
      const loading = load(target(), { clients: 4, seconds, ...(RATE > 0 ? { rate: RATE } : {}) }).finally(
        () => stop.abort(),
      );
      const readers: Promise<unknown>[] = [];
      try {
        while (names.length < fleet) {
          const name = `r${names.length + 1}`;
          await computes.add(name);
          names.push(name);
        }
        readers.push(
          ...names.map((name) => readAlong(name, stop.signal)),
          readOwnWrites(names.at(-1)!, stop.signal),
        );
        // One that found something wrong is heard at once.
        await Promise.race([loading, Promise.all(readers)]);
      } finally {
        counted += (await loading).transactions;
        stop.abort();
        for (const looks of await Promise.all(readers)) assert.notEqual(looks, 0);
      }
      await agree();
    });
  }

  async function agree(): Promise<void> {
    const primary = await cluster.client();
    assert.equal(await transfers(primary), counted, 'each transfer that pgbench counted is there');
    assert.ok(counted > 0);
    const expected = (await primary.query(DIGEST)).rows[0];
    for (const name of names) {
      const replica = await computes.client(name);
      await caughtUp(primary, replica);
      assert.deepEqual((await replica.query(DIGEST)).rows[0], expected, `${name} differs from the primary`);
      const { indexes, broken } = (await replica.query(AMCHECK)).rows[0];
      assert.ok(indexes > 100);
      assert.equal(broken, 0, `verify_heapam found something on ${name}`);
      await replica.end();
    }
    await primary.end();
  }
});
